/** VT-d: every bit of every structure, one after another: reserved, or left alone (iommu.md 2.2 to 2.5, 14). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  DIRECTORY,
  ECAP_FIRST,
  FIRST,
  FIRST_TOP,
  NESTED,
  P,
  PAGE1,
  PASID_TABLE,
  PASIDE,
  SCALABLE_CONTEXT,
  ScalableLab,
  SECOND,
} from './scalable-lab.js';
import { CAP, CONTEXT, DT, ECAP, hex, IOVA, LARGE, ROOT, RW, SC, SID, TOP, UnitLab } from './unit-lab.js';

/** Small, so that there are address bits that the host has not. */
const HAW = 39;
const PAGE = 0x12_3456_7000n;

/** Bits `first` to `last`. */
function range(last: number, first: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, n) => first + n);
}
const ABOVE = range(63, HAW);
const ALL = range(63, 0);

/** A word of a structure: the bits that are reserved in it, and the fault that they are. */
interface Word {
  readonly name: string;
  readonly at: bigint;
  readonly reserved: readonly number[];
  /** Bits that have no say in where the request goes. */
  readonly ignored?: readonly number[];
  readonly fault: string;
}

describe.each(BUILDS)('reserved bits of VT-d structures on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  /** Sets each bit of each word in turn; the unit finds PAGE again when it is taken back. */
  function everyBit(one: UnitLab, go: () => string, words: readonly Word[]): void {
    expect(go()).toBe(hex(PAGE));
    for (const { name, at, reserved, ignored = [], fault } of words) {
      const before = one.peek(at);
      for (const bit of [...reserved, ...ignored]) {
        expect([name, bit, (before >> BigInt(bit)) & 1n]).toEqual([name, bit, 0n]);
        one.poke(at, before | (1n << BigInt(bit)));
        expect([name, bit, go()]).toEqual([name, bit, reserved.includes(bit) ? fault : hex(PAGE)]);
      }
      one.poke(at, before);
    }
    expect(go()).toBe(hex(PAGE));
  }

  it('IOM-12, IOM-21: root and context entries of legacy mode', () => {
    const one = UnitLab.on(core, { hostWidth: HAW });
    one.map(IOVA, PAGE | RW);
    const context = CONTEXT + 16n * BigInt(SID);
    everyBit(one, () => one.cold(IOVA), [
      { name: 'root', at: ROOT, reserved: [...range(11, 1), ...ABOVE], fault: 'fault a' },
      { name: 'root, upper word', at: ROOT + 8n, reserved: ALL, fault: 'fault a' },
      { name: 'context', at: context, reserved: [...range(11, 4), ...ABOVE], ignored: [1], fault: 'fault b' },
      {
        name: 'context, upper word',
        at: context + 8n,
        // 71 and 127 to 88; 70 to 67 are ignored, 87 to 72 name the domain, whose lowest bits are set.
        reserved: [7, ...range(63, 24)],
        ignored: [...range(6, 3), ...range(23, 11)],
        fault: 'fault b',
      },
    ]);
  });

  it('IOM-12: root, context and PASID directory entries of scalable mode', () => {
    for (const sid of [SID, 0x80 | SID]) {
      const isUpper = sid >= 0x80;
      const two = new ScalableLab(core, { hostWidth: HAW });
      const one = two.lab;
      two.pasid({ type: SECOND });
      one.map(IOVA, PAGE | RW);
      one.poke(ROOT, isUpper ? 0n : CONTEXT | 1n);
      one.poke(ROOT + 8n, isUpper ? CONTEXT | 1n : 0n);
      everyBit(one, () => two.cold(IOVA, { sid }), [
        {
          name: 'root',
          at: ROOT + (isUpper ? 8n : 0n),
          reserved: [...range(11, 1), ...ABOVE],
          fault: 'fault 3a',
        },
        {
          name: 'context',
          at: SCALABLE_CONTEXT,
          reserved: [...range(8, 5), ...ABOVE],
          // FPD, PRE (with DTE), PDTS.
          ignored: [1, 4, ...range(11, 9)],
          fault: 'fault 42',
        },
        { name: 'context, word 1', at: SCALABLE_CONTEXT + 8n, reserved: range(63, 21), fault: 'fault 42' },
        { name: 'context, word 2', at: SCALABLE_CONTEXT + 16n, reserved: ALL, fault: 'fault 42' },
        { name: 'context, word 3', at: SCALABLE_CONTEXT + 24n, reserved: ALL, fault: 'fault 42' },
        {
          name: 'directory',
          at: DIRECTORY,
          reserved: [...range(11, 2), ...ABOVE],
          ignored: [1],
          fault: 'fault 52',
        },
      ]);
    }
  });

  it('IOM-12: PASID entries, of each kind of tables and of pass-through', () => {
    for (const pasid of [63, 5]) {
      const entry = PASID_TABLE + 64n * BigInt(pasid);
      const words = (first: Partial<Word> = {}): Word[] => [
        {
          name: 'word 0',
          at: entry,
          reserved: [10, 11, ...ABOVE],
          // FPD; SSADE needs a capability, which the unit has.
          ignored: [1],
          fault: 'fault 5a',
        },
        // CD, EMTE, EMT, PWT, PCD and PAT count for memory types, which there are not.
        {
          name: 'word 1',
          at: entry + 8n,
          reserved: range(22, 16),
          ignored: [...range(31, 25), ...range(63, 32)],
          fault: 'fault 5a',
        },
        // NXE and SMEP add checks that no page here meets.
        {
          name: 'word 2',
          at: entry + 16n,
          reserved: range(11, 8),
          ignored: [5, 6],
          fault: 'fault 5a',
          ...first,
        },
        ...[3n, 4n, 5n, 6n, 7n].map((word) => ({
          name: `word ${word}`,
          at: entry + 8n * word,
          reserved: ALL,
          fault: 'fault 5a',
        })),
      ];
      for (const type of [SECOND, FIRST]) {
        const two = new ScalableLab(core, { hostWidth: HAW });
        two.pasid({ type, pasid });
        two.lab.map(IOVA, PAGE | RW);
        two.map(IOVA, PAGE | PAGE1);
        const go = (): string => two.cold(IOVA, pasid === 63 ? {} : { pasid });
        everyBit(two.lab, go, words());
      }
    }
    // SRE, SSADE, PWSNP and EAFE are reserved where the unit has not what they turn on.
    for (const [capability, word, bit] of [
      [31n, 2n, 0n],
      [45n, 0n, 9n],
      [48n, 1n, 23n],
      [34n, 2n, 7n],
    ] as const)
      for (const has of [true, false]) {
        const two = new ScalableLab(core, { ecap: has ? ECAP_FIRST : ECAP_FIRST & ~(1n << capability) });
        two.pasid({ type: FIRST, high: 0n });
        // Nothing is left to be marked: A and EA are set.
        two.map(IOVA, PAGE | PAGE1 | (1n << 5n) | (1n << 10n), { table: PAGE1 | (1n << 5n) | (1n << 10n) });
        const at = PASID_TABLE + 64n * 63n + 8n * word;
        two.lab.poke(at, two.lab.peek(at) | (1n << bit));
        expect([capability, has, two.cold(IOVA)]).toEqual([capability, has, has ? hex(PAGE) : 'fault 5a']);
      }
  });

  it('IOM-12, IOM-32: tables above the host width, and address widths that the unit has not', () => {
    for (const bit of ABOVE.map(BigInt)) {
      const two = new ScalableLab(core, { hostWidth: HAW });
      two.map(IOVA, PAGE | PAGE1);
      two.pasid({ type: FIRST, top: FIRST_TOP | (1n << bit) });
      expect([bit, two.cold(IOVA)]).toEqual([bit, 'fault 5b']);
    }
    // A unit of 3 and 4 levels: AW of 3 levels to 5, of a second stage alone and of one below the first.
    for (const type of [SECOND, NESTED])
      for (let aw = 0n; aw < 8n; aw++) {
        const two = new ScalableLab(core, { cap: (CAP & ~(31n << 8n)) | (1n << 10n) });
        two.pasid({ type });
        const at = PASID_TABLE + 64n * 63n;
        two.lab.poke(at, (two.lab.peek(at) & ~(7n << 2n)) | (aw << 2n));
        two.lab.map(IOVA, PAGE | RW);
        const seen = two.cold(IOVA);
        expect([type, aw, seen === 'fault 5b']).toEqual([type, aw, aw !== 2n]);
      }
  });

  it('IOM-05 to IOM-12: paging entries of the second stage, tables and pages of all sizes', () => {
    for (const isScalable of [false, true])
      for (const ecap of [0n, SC, DT, SC | DT])
        for (const [leaf, lg2] of [
          [1, 12],
          [2, 21],
          [3, 30],
        ] as const) {
          const input = { hostWidth: HAW, ecap: ((isScalable ? ECAP_FIRST : ECAP) & ~(SC | DT)) | ecap };
          const two = isScalable ? new ScalableLab(core, input) : undefined;
          const one = two?.lab ?? UnitLab.on(core, input);
          two?.pasid({ type: SECOND });
          two?.context({ low: PASIDE | 1n });
          // The page that makes IOVA lead to PAGE.
          const mask = (1n << BigInt(lg2)) - 1n;
          const address = (IOVA & ~mask) | (PAGE & mask);
          const place = one.map(address, (PAGE & ~mask) | RW | (leaf === 1 ? 0n : LARGE), { level: leaf });
          const fault = isScalable ? 'fault 7a' : 'fault c';
          const ignored = [...range(6, 2), ...range(10, 8), ...range(61, 52), 63];
          const tables: Word[] = [];
          for (let level = 4, table = TOP; level > leaf; level--) {
            const index = (address >> BigInt(12 + 9 * (level - 1))) & 511n;
            const entry = table + 8n * index;
            tables.push({
              name: `table at level ${level}`,
              at: entry,
              // PS where no page can be; below it makes a page of the entry, which the next test has.
              reserved: [...(level === 4 ? [7] : []), 11, ...range(51, HAW), 62],
              ignored,
              fault,
            });
            table = one.peek(entry) & 0xf_ffff_ffff_f000n;
          }
          const sc = (ecap & SC) !== 0n;
          const dt = (ecap & DT) !== 0n;
          const page: Word = {
            name: `page at level ${leaf}`,
            at: place,
            reserved: [
              ...(leaf === 1 ? [] : range(lg2 - 1, 12)),
              ...range(51, HAW),
              ...(sc ? [] : [11]),
              ...(dt ? [] : [62]),
            ],
            ignored: [...ignored, ...(leaf === 1 ? [7] : []), ...(sc ? [11] : []), ...(dt ? [62] : [])],
            fault,
          };
          everyBit(one, () => two?.cold(address) ?? one.cold(address), [...tables, page]);
        }
  });

  it('iommu.md 2.5: paging entries of the first stage, tables and pages of all sizes', () => {
    for (const first of [0n, 1n << 5n])
      for (const [leaf, lg2] of [
        [1, 12],
        [2, 21],
        [3, 30],
      ] as const) {
        const two = new ScalableLab(core, { hostWidth: HAW });
        two.pasid({ type: FIRST, first });
        const mask = (1n << BigInt(lg2)) - 1n;
        const address = (IOVA & ~mask) | (PAGE & mask);
        const place = two.map(address, (PAGE & ~mask) | PAGE1 | (leaf === 1 ? 0n : LARGE), { level: leaf });
        const above = range(51, HAW);
        // PWT, PCD; EA without EAFE, what is for software, and XD with and without NXE: nobody asks to execute.
        const ignored = [3, 4, 9, 10, 11, ...range(63, 52)];
        const words: Word[] = [];
        for (let level = 4; level > leaf; level--)
          words.push({
            name: `table at level ${level}`,
            at: two.place(address, level),
            reserved: [...(level === 4 ? [7] : []), ...above],
            ignored: [...ignored, 6, 8],
            fault: 'fault 72',
          });
        words.push({
          name: `page at level ${leaf}`,
          at: place,
          // Bit 12 of a large page is its PAT, bit 7 that of a small one.
          reserved: [...(leaf === 1 ? [] : range(lg2 - 1, 13)), ...above],
          ignored: [...ignored, 8, leaf === 1 ? 7 : 12],
          fault: 'fault 72',
        });
        // Accessed and dirty flags are set by the walk that comes first.
        for (const word of words)
          expect([word.name, two.cold(address, { isWrite: true })]).toEqual([word.name, hex(PAGE)]);
        everyBit(
          two.lab,
          () => two.cold(address),
          words.map((word) => ({
            ...word,
            ignored: (word.ignored ?? []).filter(
              (bit) => ((two.lab.peek(word.at) >> BigInt(bit)) & 1n) === 0n,
            ),
          })),
        );
      }
  });

  it('iommu.md 2.5: without its present bit an entry has no other', () => {
    const two = new ScalableLab(core, { hostWidth: HAW });
    two.pasid({ type: FIRST });
    const place = two.map(IOVA, PAGE | PAGE1);
    for (const bit of range(51, HAW)) {
      two.lab.poke(place, (PAGE | PAGE1 | (1n << BigInt(bit))) & ~P);
      expect([bit, two.cold(IOVA)]).toEqual([bit, 'fault 71']);
    }
  });
});
