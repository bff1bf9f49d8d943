/** Whether a guest needs the instruction that flushes caches (WBINVD): by the required rule, and as Linux decides (iommu.md 9). */
import { invalid, needObject } from '../base/errors.js';

/** A device that a guest was given, with what is known about its No Snoop requests. */
export interface WbinvdDevice {
  /** For sentences. Left out: `device 0`, by place in the list. */
  readonly name?: string;
  /** The device is able to send No Snoop. */
  readonly nsCapable: boolean;
  /** Enable No Snoop, bit 11 of PCIe Device Control; a guest can set it. */
  readonly en: boolean;
  /** How many of the pages that the device reaches have No Snoop taken away. `some` lets it through. */
  readonly leafForce: 'all' | 'some' | 'none';
}

export interface WbinvdInput {
  readonly devices: readonly WbinvdDevice[];
  readonly platform: {
    /** The platform honours No Snoop at all. */
    readonly honour: boolean;
  };
}

/** What Linux knows about the IOMMU in front of a device. */
export interface WbinvdUnit {
  /** For sentences. Left out: `unit 0`, by place in the list. */
  readonly name?: string;
  /** IOMMU_CAP_ENFORCE_CACHE_COHERENCY. False where there is no unit: DMA through an emulated IOMMU. */
  readonly enforceCap: boolean;
}

export interface WbinvdAnswer {
  readonly answer: boolean;
  /** The condition and the device that decided, as a sentence. */
  readonly why: string;
}

export interface WbinvdComparison {
  /** By the required rule. */
  readonly needed: WbinvdAnswer;
  /** As Linux decides. */
  readonly linux: WbinvdAnswer;
  /** `needless`: Linux lets the guest flush without need; `missing`: it does not although data may be stale. */
  readonly difference: 'none' | 'needless' | 'missing';
}

const FORCES = ['all', 'some', 'none'] as const;

/**
 * The required rule: some device sends No Snoop, the IOMMU lets it through on at least one page, and the platform honours it.
 * Throws ZtlpError for what is no list or no object.
 */
export function wbinvdNeeded(input: WbinvdInput): WbinvdAnswer {
  needObject('input', input);
  const { devices, platform } = input;
  needObject('platform', platform);
  const named = nameAll(devices, 'device');
  for (const { leafForce, name } of named)
    if (!FORCES.includes(leafForce)) throw invalid(`leafForce of ${name}`, leafForce, FORCES.join(', '));
  const sending = named.filter(({ nsCapable, en }) => nsCapable && en);
  const first = sending.find(({ leafForce }) => leafForce !== 'all');
  if (first !== undefined && platform.honour) {
    const pages = first.leafForce === 'some' ? 'only some of its pages' : 'none of its pages';
    return yes(`${first.name} sends No Snoop, ${pages} force snooping, and the platform honours it`);
  }
  if (first !== undefined)
    return no(`the platform does not honour the No Snoop requests of ${first.name}: all DMA is coherent`);
  const [stopped] = sending;
  if (stopped !== undefined)
    return no(`every page that ${stopped.name} reaches forces snooping: its No Snoop does not get through`);
  const [silent] = named;
  if (silent === undefined) return no('there is no device');
  return no(
    silent.nsCapable
      ? `no device sends No Snoop: Enable No Snoop of ${silent.name} is clear`
      : `no device sends No Snoop: ${silent.name} is not able to`,
  );
}

/**
 * Linux 6.12: some device has no unit in front of it that can enforce coherency; nothing else is asked. Throws as
 * `wbinvdNeeded` does.
 */
export function wbinvdLinux(input: { readonly units: readonly WbinvdUnit[] }): WbinvdAnswer {
  needObject('input', input);
  const named = nameAll(input.units, 'unit');
  const first = named.find(({ enforceCap }) => !enforceCap);
  if (first !== undefined) return yes(`${first.name} cannot enforce cache coherency`);
  return named.length === 0
    ? no('there is no unit that lacks the capability')
    : no('every unit can enforce cache coherency');
}

/** Both answers for one guest, and how they differ. */
export function compareWbinvd(
  input: WbinvdInput & { readonly units: readonly WbinvdUnit[] },
): WbinvdComparison {
  const needed = wbinvdNeeded(input);
  const linux = wbinvdLinux(input);
  const difference = needed.answer === linux.answer ? 'none' : needed.answer ? 'missing' : 'needless';
  return { needed, linux, difference };
}

function nameAll<T extends { readonly name?: string }>(
  list: readonly T[],
  what: string,
): (T & { name: string })[] {
  if (!Array.isArray(list)) throw invalid(`${what}s`, list, 'a list');
  return list.map((one: T, n) => {
    needObject(`${what}s[${n}]`, one);
    return { ...one, name: one.name ?? `${what} ${n}` };
  });
}

function yes(why: string): WbinvdAnswer {
  return { answer: true, why };
}

function no(why: string): WbinvdAnswer {
  return { answer: false, why };
}
