/** Configuration space: identity, chains, bits that software cannot change, and BARs that show their sizes. */

import { ZtlpError } from '../../base/errors.js';
import type { ResolvedCapabilities } from '../../device/capabilities.js';
import { configOf } from '../../device/config.js';
import type { Device } from '../../device/define.js';
import type { Machine } from '../../machine/machine.js';
import { word32 } from '../../pci/capabilities.js';
import type { ConfigModel } from '../../pci/config-model.js';
import { ConfigSpace } from '../../pci/config-space.js';
import type { EnumeratedFunction } from '../../pci/enumerate.js';
import { type ConfigPort, probe } from '../../pci/probe.js';
import { CAP, EXT, REG } from '../../pci/registers.js';
import { type Check, Failed, type Kit, NotApplicable } from '../kit.js';
import type { MachineBench } from '../machine-bench.js';
import { plural } from '../text.js';

const ALL = 0xffff_ffff;
const INITIATE_FLR = 0x8000; // of Device Control
const RESERVED_COMMAND = 0xf800;
/** Status bits that a write of 1 clears: the errors. */
const ERRORS = 0xf900;

/** Identifiers of the capabilities that a definition may have. */
const CONVENTIONAL = { pm: CAP.PM, msi: CAP.MSI, pcie: CAP.PCIE, msix: CAP.MSIX } as const;
const EXTENDED = { aer: EXT.AER, ats: EXT.ATS, pri: EXT.PRI, pasid: EXT.PASID, sriov: EXT.SRIOV } as const;

export const config: Check = {
  id: 'config',
  title: 'configuration space',
  async run(kit) {
    const model = configOf(kit.device);
    const space = new ConfigSpace(model.save());
    const [problem] = space.problems;
    if (problem !== undefined) throw new Failed(problem);
    checkIdentity(kit.device, space);
    checkCapabilities(kit.device.capabilities, space);
    checkBits(model, readOnlyOf(space));
    checkStatus(model);
    const machine = await machineOf(kit);
    if (machine !== undefined) compareReads(machine);
    const count = space.capabilities.length + space.extendedCapabilities.length;
    const how = machine === undefined ? '' : ', read by TLPs';
    return `${model.size} bytes, ${plural(count, 'capability')}${how}`;
  },
};

/** Undefined for a device that is too large for a machine. */
async function machineOf(kit: Kit): Promise<MachineBench | undefined> {
  try {
    return await kit.machine('TLPs', true);
  } catch (error) {
    if (error instanceof NotApplicable) return undefined;
    throw error;
  }
}

const hex = (value: number, digits = 2): string => `0x${value.toString(16).padStart(digits, '0')}`;

function checkIdentity(device: Device, space: ConfigSpace): void {
  for (const key of ['vendorId', 'deviceId', 'classCode', 'revision'] as const) {
    if (space[key] !== device[key])
      throw new Failed(`${key} reads as ${hex(space[key])}, not ${hex(device[key])}`);
  }
  if (space.headerType !== 0) throw new Failed(`header type is ${space.headerType}, not 0`);
}

/** What the definition has is in the chains. */
function checkCapabilities(has: ResolvedCapabilities, space: ConfigSpace): void {
  const find = (ids: Readonly<Record<string, number>>, list: readonly { readonly id: number }[]): void => {
    for (const [name, id] of Object.entries(ids)) {
      if (has[name as keyof ResolvedCapabilities] === undefined || list.some((one) => one.id === id))
        continue;
      throw new Failed(`capability ${name} (id ${hex(id)}) is not in its chain`);
    }
  };
  find(CONVENTIONAL, space.capabilities);
  find(EXTENDED, space.extendedCapabilities);
}

/** Bits that no software can change, by register. */
function readOnlyOf(space: ConfigSpace): Map<number, number> {
  const fixed = new Map<number, number>([
    [REG.VENDOR_ID, ALL],
    [REG.REVISION, ALL],
    [REG.SUBSYSTEM_VENDOR_ID, ALL],
    [REG.CAPABILITIES, ALL],
    [REG.INTERRUPT_LINE, 0xff00], // the pin
  ]);
  for (const { offset } of space.capabilities) fixed.set(offset, 0xffff);
  for (const { offset } of space.extendedCapabilities) fixed.set(offset, ALL);
  return fixed;
}

/** Writes ones and zeros to each register: what is read-only stays, and zeros never set a bit. */
function checkBits(model: ConfigModel, fixed: ReadonlyMap<number, number>): void {
  const pcie = model.capability(CAP.PCIE);
  for (let at = 0; at < model.size; at += 4) {
    const before = model.read(at, 4);
    const ones = pcie !== undefined && at === pcie + 8 ? ALL - INITIATE_FLR : ALL;
    for (const value of [ones, 0]) {
      const old = model.read(at, 4);
      model.write(at, value, 4);
      const now = model.read(at, 4);
      const changed = ((now ^ before) & (fixed.get(at) ?? 0)) >>> 0;
      if (changed !== 0)
        throw new Failed(
          `configuration offset ${hex(at)}: a write of ${hex(value, 8)} changes read-only bits ${hex(changed, 8)}`,
        );
      if (value === 0 && (now & ~old) !== 0)
        throw new Failed(
          `configuration offset ${hex(at)}: a write of 0 sets bits ${hex((now & ~old) >>> 0, 8)}`,
        );
      if (at === REG.COMMAND && (now & RESERVED_COMMAND) !== 0)
        throw new Failed(`Command: reserved bits ${hex(now & RESERVED_COMMAND, 4)} can be set`);
    }
    model.write(at, before, 4);
  }
}

/** Errors in Status: a write of 0 leaves them, a write of 1 clears them. */
function checkStatus(model: ConfigModel): void {
  const before = model.read(REG.STATUS, 2);
  model.poke(REG.STATUS, before | ERRORS, 2);
  model.write(REG.STATUS, 0, 2);
  if (model.read(REG.STATUS, 2) !== (before | ERRORS)) throw new Failed('Status: a write of 0 changes it');
  model.write(REG.STATUS, ERRORS, 2);
  if ((model.read(REG.STATUS, 2) & ERRORS) !== 0)
    throw new Failed('Status: errors are not cleared by writing 1');
}

/** Configuration TLPs read what the function holds, in every width. */
function compareReads({ machine, fn }: MachineBench): void {
  const bytes = fn.config.save();
  for (let at = 0; at < fn.config.size; at += 4) {
    for (const [offset, width] of [
      [at, 4],
      [at, 2],
      [at + 2, 2],
      [at + 1, 1],
      [at + 3, 1],
    ] as const) {
      const held = fn.config.read(offset, width);
      const read = machine.config.read(fn.id, offset, width);
      if (read !== held)
        throw new Failed(
          `configuration offset ${hex(offset)}: CfgRd0 of ${width} gives ${hex(read)}, it holds ${hex(held)}`,
        );
    }
  }
  if (word32(bytes, 0) !== word32(fn.config.save(), 0)) throw new Failed('reads change configuration space');
}

export const bars: Check = {
  id: 'bars',
  title: 'BARs show their sizes',
  async run(kit) {
    const declared = shapesOf(kit.device);
    const model = configOf(kit.device);
    compareBars(declared, model, 'by itself');
    const bench = await machineOf(kit);
    if (bench === undefined) return `${plural(declared.size, 'BAR')}, without a machine`;
    const { machine, fn } = bench;
    compareBars(declared, machine.config, 'by TLPs', fn.id);
    const { functions, problem } = enumerated(machine);
    if (problem !== undefined)
      return `${plural(declared.size, 'BAR')}, sized by TLPs; not enumerated: ${problem}`;
    const found = functions.find(({ bdf }) => bdf === fn.id);
    if (found === undefined) throw new Failed('enumeration does not find the function');
    for (const { index, address, size } of found.bars) {
      if (address !== undefined && BigInt(address) % BigInt(size) !== 0n)
        throw new Failed(`BAR ${index}: enumeration puts ${size} bytes at 0x${address.toString(16)}`);
      const held = fn.config.bar(index)?.address;
      if (address !== undefined && BigInt(held ?? -1) !== BigInt(address))
        throw new Failed(`BAR ${index}: holds ${String(held)}, enumeration wrote ${String(address)}`);
    }
    return `${plural(declared.size, 'BAR')}, sized and enumerated by TLPs`;
  },
};

/** A window of the machine may be too small for the BARs, which is no mistake of the device. */
function enumerated(machine: Machine): {
  readonly functions: readonly EnumeratedFunction[];
  readonly problem?: string;
} {
  try {
    return { functions: machine.enumerate() };
  } catch (error) {
    if (error instanceof ZtlpError) return { functions: [], problem: error.message };
    throw error;
  }
}

/** Kind, size and flags of each BAR, in words, by number; 6 is the expansion ROM. */
function shapesOf({ bars, romSize }: Device): Map<number, string> {
  const shapes = new Map<number, string>();
  for (const bar of bars) {
    if (bar === undefined) continue;
    const kind = bar.space === 'io' ? 'io' : `memory${bar.bits}`;
    shapes.set(bar.index, shape(kind, bar.size, bar.prefetchable));
  }
  if (romSize !== undefined) shapes.set(6, shape('rom', romSize, false));
  return shapes;
}

function shape(kind: string, size: number | bigint, prefetchable: boolean): string {
  return `${kind} of ${size} bytes${prefetchable ? ', prefetchable' : ''}`;
}

function compareBars(
  declared: ReadonlyMap<number, string>,
  port: ConfigPort | ConfigModel,
  how: string,
  bdf = 0,
): void {
  const through: ConfigPort =
    'bars' in port
      ? {
          // Nobody answers behind the end.
          read: (_bdf, offset, width) => (offset < port.size ? port.read(offset, width) : ALL),
          write: (_bdf, offset, value, width) => {
            if (offset < port.size) port.write(offset, value, width);
          },
        }
      : port;
  const { bars: found, problems } = probe(through, bdf);
  const [problem] = problems;
  if (problem !== undefined) throw new Failed(problem);
  const sized = new Map(
    found.map(({ index, kind, size, prefetchable }) => [index, shape(kind, size, prefetchable)]),
  );
  for (const index of new Set([...declared.keys(), ...sized.keys()])) {
    const [is, should] = [sized.get(index) ?? 'nothing', declared.get(index) ?? 'nothing'];
    if (is !== should) throw new Failed(`BAR ${index} sizes as ${is} (${how}), the device has ${should}`);
  }
}
