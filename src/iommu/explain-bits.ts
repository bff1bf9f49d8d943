/** What the explanations of entries share: names of bits, sizes, and what a unit is that reads them. */
import { hex64 } from '../core/u64.js';
import { bits, type UnitKind } from './unit.js';

/** What decides how a unit takes an entry. */
export interface UnitFacts {
  readonly kind: UnitKind;
  /** VT-d: in scalable mode. */
  readonly isScalable: boolean;
  /** Follows QEMU 7.2 (vtdModel, smmuModel). */
  readonly isQemu: boolean;
  /** VT-d: address bits of the host; SMMU: of its outputs. */
  readonly width: number;
  /** VT-d: CAP and ECAP. */
  readonly cap: bigint;
  readonly ecap: bigint;
  /** SMMU: log2 of the substreams of a stream. */
  readonly substreamBits: number;
  /** SMMU, AMD: hardware can set access flags, and mark pages as dirty. */
  readonly setsAccess: boolean;
  readonly setsDirty: boolean;
}

/** What a walk has passed: what its later entries are is said by the structures before them. */
export interface Passed {
  readonly facts: UnitFacts;
  format: (entry: bigint, level: number, passed: Passed) => string;
  /** VT-d: entries of the first stage have EA (EAFE); those of the second have A and D (SSADE). */
  hasExtended: boolean;
  hasSecondFlags: boolean;
  /** SMMU: stream configuration; the next descriptor is an entry of a list of them; address bits that a context may name. */
  config: number;
  isList: boolean;
  outputs: number;
}

export type Explain = (entry: bigint, word: number, passed: Passed) => string;

/** Address bits of an entry, from 12 to 51. */
export const TABLE = 0x000f_ffff_ffff_f000n;
export const NOT_PRESENT = 'not present';

export function has(value: bigint, bit: number): boolean {
  return bits(value, bit, 1) === 1;
}

/** The names whose bit is set. */
export function flags(value: bigint, names: Readonly<Record<number, string>>): string[] {
  return Object.entries(names).flatMap(([bit, name]) => (has(value, Number(bit)) ? [name] : []));
}

/** The parts that are not empty, as a list in one line. */
export function listed(...parts: readonly (string | readonly string[])[]): string {
  return parts
    .flat()
    .filter((part) => part !== '')
    .join(', ');
}

/** `reserved: bits 11, 46-51` for the bits of `value` that stand in `mask`; empty where there are none. */
export function reserved(value: bigint, mask: bigint): string {
  const found: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (!has(value & mask, bit)) continue;
    const first = bit;
    while (bit < 63 && has(value & mask, bit + 1)) bit++;
    found.push(bit === first ? String(first) : `${first}-${bit}`);
  }
  if (found.length === 0) return '';
  return `reserved: ${found.length > 1 || found[0]?.includes('-') ? 'bits' : 'bit'} ${found.join(', ')}`;
}

/** `refused for A 0, S 1`: what a unit does not offer; empty where there is nothing. */
export function refusedFor(...reasons: readonly (string | false)[]): string {
  const found = reasons.filter((reason) => reason !== false);
  return found.length === 0 ? '' : `refused for ${found.join(' and ')}`;
}

/** Address bits above `width`. */
export function above(width: number): bigint {
  return TABLE & ~((1n << BigInt(width)) - 1n);
}

export function pageOrTable(entry: bigint, level: number, isPage: boolean): string {
  if (!isPage) return `table ${hex64(entry & TABLE)}`;
  return `${pageName(3 + 9 * level)} page ${hex64(entry & TABLE & ~inPage(level))}`;
}

/** Address bits within the page of an entry at `level`. */
export function inPage(level: number): bigint {
  return (1n << BigInt(3 + 9 * level)) - 1n;
}

/** `4 KiB`, `2 MiB`, from the logarithm of the bytes. */
export function pageName(lg2: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  return `${2 ** (lg2 % 10)} ${units[Math.floor(lg2 / 10)]}`;
}
