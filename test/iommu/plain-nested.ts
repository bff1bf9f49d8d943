/** The first stage of VT-d once more, by itself or in a second one, on bigints: what an access finds, and which flags it sets. */
import { A1, A2, D1, D2, EA1, EAFE, NESTED, PWSNP, SSADE } from './scalable-lab.js';
import { hex, LARGE, RAM_END, TOP } from './unit-lab.js';

export interface PlainInput {
  /** FIRST or NESTED; bits of words 0, 1 and 2 of the PASID entry. */
  readonly type: bigint;
  readonly low: bigint;
  readonly high: bigint;
  readonly first: bigint;
  /** Top table of the first stage. */
  readonly top: bigint;
  readonly address: bigint;
  readonly isWrite: boolean;
}

export interface PlainOutcome {
  readonly outcome: string;
  /** Bits that are set, by the address of the entry. */
  readonly flags: ReadonlyMap<bigint, bigint>;
}

interface Used {
  readonly at: bigint;
  readonly entry: bigint;
}

class Refused extends Error {}

const ADDRESS = 0xf_ffff_ffff_f000n;
const SNP = 1n << 11n;
const TM = 1n << 62n;

function refuse(reason: number): never {
  throw new Refused(`fault ${reason.toString(16)}`);
}

function isOutside(at: bigint): boolean {
  return at + 8n > RAM_END;
}

/** Four levels of each stage, 48 address bits of the host and of the second stage, snoop control and device TLB. */
export function plainNested(read: (at: bigint) => bigint, input: PlainInput): PlainOutcome {
  const { type, low, high, first, top, address, isWrite } = input;
  const isNested = type === NESTED;
  const hasSecondFlags = isNested && (low & SSADE) !== 0n;
  const flags = new Map<bigint, bigint>();
  const mark = (at: bigint, bits: bigint): void => void flags.set(at, (flags.get(at) ?? 0n) | bits);

  /** The second stage: where `middle` is, the page's size, and the entries used. Level 0: the page, else a table of the first. */
  const second = (
    middle: bigint,
    level: number,
    wants: bigint,
  ): { to: bigint; lg2: bigint; used: Used[]; rights: bigint } => {
    if (!isNested) return { to: middle, lg2: 63n, used: [], rights: 3n };
    if (middle >> 48n !== 0n) refuse(0x74);
    const used: Used[] = [];
    let table = TOP;
    let rights = 3n;
    for (let at = 4; ; at--) {
      const lg2 = BigInt(3 + 9 * at);
      const place = table + 8n * ((middle >> lg2) & 511n);
      if (isOutside(place)) refuse(at === 4 ? 0x7b : 0x78);
      const entry = read(place);
      rights &= entry;
      if ((entry & wants) === 0n) {
        if (rights === 0n) refuse(0x79);
        refuse(level === 4 ? 0x75 : level > 0 ? 0x76 : isWrite ? 0x85 : 0x86);
      }
      const isLarge = at > 1 && (entry & LARGE) !== 0n;
      const isLeaf = at === 1 || isLarge;
      if ((entry & ADDRESS) >> 48n !== 0n || (!isLeaf && (entry & (SNP | TM)) !== 0n)) refuse(0x7a);
      if (isLarge && (at === 4 || (entry & ADDRESS & ((1n << lg2) - 1n)) !== 0n)) refuse(0x7a);
      used.push({ at: place, entry });
      if (!isLeaf) {
        table = entry & ADDRESS;
        continue;
      }
      if (level > 0 && hasSecondFlags && rights !== 3n) refuse(level === 4 ? 0x75 : 0x76);
      return { to: (entry & ADDRESS) | (middle & ((1n << lg2) - 1n)), lg2, used, rights };
    }
  };

  try {
    if (address >> 47n !== 0n) refuse(0x80);
    const stages: { used: Used[]; rights: bigint; entry: Used; isLeaf: boolean }[] = [];
    let table = top;
    for (let level = 4; ; level--) {
      const lg2 = BigInt(3 + 9 * level);
      const found = second(table + 8n * ((address >> lg2) & 511n), level, 1n);
      if (isOutside(found.to)) refuse(level === 4 ? 0x73 : 0x70);
      const entry = read(found.to);
      if ((entry & 1n) === 0n) refuse(0x71);
      if ((entry & 4n) === 0n) refuse(0x81);
      if (isWrite && (entry & 2n) === 0n) refuse(0x85);
      const isLarge = level > 1 && (entry & LARGE) !== 0n;
      const inPage = (1n << lg2) - 1n;
      if ((entry & ADDRESS) >> 48n !== 0n) refuse(0x72);
      if (isLarge && (level === 4 || (entry & ADDRESS & inPage & ~0x1000n) !== 0n)) refuse(0x72);
      const isLeaf = level === 1 || isLarge;
      stages.push({ used: found.used, rights: found.rights, entry: { at: found.to, entry }, isLeaf });
      if (!isLeaf) {
        table = entry & ADDRESS;
        continue;
      }
      const middle = (entry & ADDRESS & ~inPage) | (address & inPage);
      const last = second(middle, 0, isWrite ? 2n : 1n);
      const size = (1n << (last.lg2 < lg2 ? last.lg2 : lg2)) - 1n;
      const base = last.to & ~size;
      if (base <= 0xfeef_ffffn && base + size >= 0xfee0_0000n) refuse(0x87);
      const snoops = (high & PWSNP) !== 0n;
      const markSecond = (used: readonly Used[], isDirty: boolean): void => {
        for (const [n, { at, entry: value }] of used.entries()) {
          const needs = (A2 | (isDirty && n === used.length - 1 ? D2 : 0n)) & ~value;
          if (!hasSecondFlags || needs === 0n) continue;
          if (!snoops) refuse(0x7c);
          mark(at, needs);
        }
      };
      for (const one of stages) {
        const needs =
          (A1 | ((first & EAFE) !== 0n ? EA1 : 0n) | (isWrite && one.isLeaf ? D1 : 0n)) & ~one.entry.entry;
        markSecond(one.used, needs !== 0n);
        if (needs === 0n) continue;
        if ((one.rights & 2n) === 0n) refuse(0x77);
        if (!snoops) refuse(0x90);
        mark(one.entry.at, needs);
      }
      markSecond(last.used, isWrite);
      return { outcome: hex(last.to), flags };
    }
  } catch (error) {
    if (error instanceof Refused) return { outcome: error.message, flags: new Map() };
    throw error;
  }
}
