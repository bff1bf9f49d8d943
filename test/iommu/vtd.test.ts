/** VT-d: who a requester is, where its pages are, and what is refused (iommu.md 2, 14). */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { plainVtd } from './plain-vtd.js';
import {
  CAP,
  CONTEXT,
  DT,
  ECAP,
  hex,
  IOVA,
  LARGE,
  type LabInput,
  PAGE,
  RAM_END,
  READ,
  ROOT,
  RW,
  SC,
  SID,
  SMTS,
  TOP,
  UnitLab,
  WRITE,
} from './unit-lab.js';

const SNP = 1n << 11n;
const TM = 1n << 62n;

describe.each(BUILDS)('a VT-d unit on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const lab = (input: LabInput = {}): UnitLab => UnitLab.on(core, input);

  describe('pages', () => {
    it('IOM-04: a 4 KiB leaf translates every offset', () => {
      const one = lab();
      one.map(IOVA, PAGE | RW);
      for (const offset of [0n, 1n, 8n, 0x7ffn, 0xfffn]) {
        expect(one.go(IOVA + offset)).toBe(hex(PAGE + offset));
        expect(one.cold(IOVA + offset, true)).toBe(hex(PAGE + offset));
      }
    });

    it.each([
      ['IOM-05', 2, 0x2000_0000n, 21n],
      ['IOM-06', 3, 0x4000_0000n, 30n],
    ] as const)(
      '%s: a large page takes its low bits from the IOVA and has none of its own',
      (_id, level, to, lg2) => {
        const one = lab();
        const first = (IOVA >> lg2) << lg2;
        const mask = (1n << lg2) - 1n;
        one.map(first, to | RW | LARGE, { level });
        for (const offset of [0n, 0x1234n, mask]) expect(one.cold(first + offset)).toBe(hex(to + offset));
        for (let bit = 12n; bit < lg2; bit++) {
          one.map(first, to | RW | LARGE | (1n << bit), { level });
          expect([bit, one.cold(first)]).toEqual([bit, 'fault c']);
        }
        // Without the capability such an entry is reserved.
        const small = lab({ cap: CAP & ~(3n << 34n) });
        small.map(first, to | RW | LARGE, { level });
        expect(small.cold(first)).toBe('fault c');
      },
    );

    it('IOM-07: PS is reserved at level 4 and ignored at level 1', () => {
      const one = lab();
      one.map(IOVA, PAGE | RW | LARGE);
      expect(one.cold(IOVA)).toBe(hex(PAGE));
      one.map(IOVA, PAGE | RW | LARGE, { level: 4 });
      expect(one.cold(IOVA)).toBe('fault c');
    });

    it.each([0n, SC])(
      'IOM-08, IOM-09: SNP is reserved in tables, and in a leaf without snoop control (SC %s)',
      (sc) => {
        for (const level of [4, 3, 2]) {
          const one = lab({ ecap: ECAP | sc });
          one.map(IOVA, PAGE | RW);
          const at = one.map(IOVA, 0n, { level });
          one.poke(at, 0x8000n | RW | SNP);
          expect([level, one.cold(IOVA)]).toEqual([level, 'fault c']);
        }
        for (const [level, to] of [
          [1, PAGE],
          [2, 0x2000_0000n],
          [3, 0x4000_0000n],
        ] as const) {
          const one = lab({ ecap: ECAP | sc });
          one.map(IOVA, to | RW | SNP | (level === 1 ? 0n : LARGE), { level });
          expect([level, one.cold(IOVA).startsWith('0x')]).toEqual([level, sc !== 0n]);
          if (sc === 0n) continue;
          for (const repeat of ['miss', 'hit'])
            expect([repeat, one.unit.translate({ sid: SID, address: IOVA, isWrite: false })]).toMatchObject([
              repeat,
              { forcesSnoop: true },
            ]);
        }
      },
    );

    it('IOM-10: TM needs a device TLB in a leaf, and is reserved in tables', () => {
      for (const ecap of [ECAP, ECAP | DT]) {
        const one = lab({ ecap });
        one.map(IOVA, PAGE | RW | TM);
        expect(one.cold(IOVA)).toBe(ecap === ECAP ? 'fault c' : hex(PAGE));
        one.poke(TOP + 8n * ((IOVA >> 39n) & 511n), 0x8000n | RW | TM);
        expect(one.cold(IOVA)).toBe('fault c');
      }
    });

    it('IOM-11: bits that are ignored never fault', () => {
      for (const level of [1, 2, 3, 4])
        for (const bit of [2, 3, 4, 5, 6, 8, 9, 10, ...Array.from({ length: 10 }, (_, n) => 52 + n), 63]) {
          const one = lab();
          one.map(IOVA, PAGE | RW);
          let table = TOP;
          for (let at = 4; at > level; at--)
            table = one.peek(table + 8n * ((IOVA >> BigInt(12 + 9 * (at - 1))) & 511n)) & ~0xfffn;
          const place = table + 8n * ((IOVA >> BigInt(12 + 9 * (level - 1))) & 511n);
          one.poke(place, one.peek(place) | (1n << BigInt(bit)));
          expect([level, bit, one.cold(IOVA)]).toEqual([level, bit, hex(PAGE)]);
        }
    });

    it('IOM-12: address bits at or above the host width are reserved: C, B and A', () => {
      for (const bit of [39n, 40n, 47n, 51n]) {
        const narrow = { hostWidth: 39 };
        const leaf = lab(narrow);
        leaf.map(IOVA, PAGE | RW | (1n << bit));
        expect(leaf.cold(IOVA)).toBe('fault c');
        const table = lab(narrow);
        table.map(IOVA, PAGE | RW);
        table.map(IOVA, 0x8000n | RW | (1n << bit), { level: 4 });
        expect(table.cold(IOVA)).toBe('fault c');
        const context = lab(narrow);
        context.context({ low: 1n | (1n << bit) });
        expect(context.cold(IOVA)).toBe('fault b');
        const root = lab(narrow);
        root.poke(ROOT, CONTEXT | 1n | (1n << bit));
        expect(root.cold(IOVA)).toBe('fault a');
      }
    });

    it('IOM-13, IOM-14, IOM-15: the permission comes first, is needed at every level, and X grants nothing', () => {
      for (const level of [1, 2, 3, 4])
        for (const bits of [0n, READ, WRITE, RW, 4n]) {
          const one = lab();
          one.map(IOVA, PAGE | RW);
          let table = TOP;
          for (let at = 4; at > level; at--)
            table = one.peek(table + 8n * ((IOVA >> BigInt(12 + 9 * (at - 1))) & 511n)) & ~0xfffn;
          const place = table + 8n * ((IOVA >> BigInt(12 + 9 * (level - 1))) & 511n);
          const entry = (one.peek(place) & ~7n) | bits;
          for (const reserved of [0n, 1n << 49n]) {
            one.poke(place, entry | reserved);
            for (const isWrite of [false, true]) {
              const isAllowed = (bits & (isWrite ? WRITE : READ)) !== 0n;
              const expected = !isAllowed
                ? isWrite
                  ? 'fault 5'
                  : 'fault 6'
                : reserved === 0n
                  ? hex(PAGE)
                  : 'fault c';
              expect([level, bits, one.cold(IOVA, isWrite)]).toEqual([level, bits, expected]);
            }
          }
        }
    });

    it('IOM-16: IOVA 0 and the last page below the width translate, the first address above is 4', () => {
      for (const [aw, levels, width] of [
        [1n, 3, 39n],
        [2n, 4, 48n],
      ] as const) {
        const one = lab();
        one.context({ aw });
        one.map(0n, PAGE | RW, { levels });
        const last = (1n << width) - 0x1000n;
        one.map(last, (PAGE + 0x1000n) | RW, { levels });
        expect([one.cold(0n), one.cold(last + 0xfffn)]).toEqual([hex(PAGE), hex(PAGE + 0x1fffn)]);
        expect([one.cold(1n << width), one.cold(1n << 63n)]).toEqual(['fault 4', 'fault 4']);
      }
    });

    it('IOM-17, IOM-18: each 4 KiB piece of a transfer stands for itself', () => {
      const one = lab();
      one.map(IOVA, PAGE | RW);
      one.map(IOVA + 0x2000n, (PAGE + 0x9000n) | READ);
      const kinds = (isWrite: boolean, splitFault: 'perPage' | 'stopAtFirst' = 'perPage'): string[] => {
        const { unit } = splitFault === 'perPage' ? one : two;
        return unit
          .transfer({ sid: SID, address: IOVA + 0xff0n, isWrite }, 0x2020)
          .map(
            ({ bytes, answer }) =>
              `${bytes} ${answer.kind === 'translated' ? hex(BigInt(answer.address)) : answer.kind}`,
          );
      };
      expect(kinds(false)).toEqual([
        `16 ${hex(PAGE + 0xff0n)}`,
        '4096 fault',
        `4096 ${hex(PAGE + 0x9000n)}`,
        '16 fault',
      ]);
      expect(kinds(true)).toEqual([`16 ${hex(PAGE + 0xff0n)}`, '4096 fault', '4096 fault', '16 fault']);
      const two = lab({ options: { splitFault: 'stopAtFirst' } });
      two.map(IOVA, PAGE | RW);
      two.map(IOVA + 0x2000n, (PAGE + 0x9000n) | READ);
      expect(kinds(false, 'stopAtFirst')).toEqual([`16 ${hex(PAGE + 0xff0n)}`, '4096 fault']);
      const edge = lab();
      edge.map((1n << 48n) - 0x1000n, PAGE | RW);
      const over = edge.unit.transfer({ sid: SID, address: (1n << 48n) - 8n, isWrite: false }, 16);
      expect(over.map(({ answer }) => answer)).toMatchObject([
        { kind: 'translated' },
        { kind: 'fault', reason: 4 },
      ]);
    });
  });

  describe('requesters', () => {
    it('IOM-01: the bus is the index of 16-byte root entries, the devfn of 16-byte context entries', () => {
      const one = lab();
      one.map(IOVA, PAGE | RW);
      one.poke(ROOT + 0x35n * 16n, 0x3000n | 1n);
      one.poke(0x3000n + 0xa8n * 16n, TOP | 1n);
      one.poke(0x3000n + 0xa8n * 16n + 8n, 2n);
      expect(one.cold(IOVA, false, 0x35a8)).toBe(hex(PAGE));
      expect(one.cold(IOVA, false, 0x35a0)).toBe('fault 2');
      expect(one.cold(IOVA, false, 0x36a8)).toBe('fault 1');
    });

    it('IOM-03: AW 1, 2 and 3 are 3, 4 and 5 levels as far as SAGAW has them', () => {
      for (const sagaw of [0b0010n, 0b0100n, 0b1110n])
        for (let aw = 0n; aw < 8n; aw++) {
          const one = lab({ cap: (CAP & ~(31n << 8n) & ~(63n << 16n)) | (sagaw << 8n) | (56n << 16n) });
          one.context({ aw });
          const levels = Number(aw) + 2;
          const isOffered = aw >= 1n && aw <= 3n && ((sagaw >> aw) & 1n) === 1n;
          if (isOffered) one.map(IOVA, PAGE | RW, { levels });
          expect([sagaw, aw, one.cold(IOVA)]).toEqual([sagaw, aw, isOffered ? hex(PAGE) : 'fault 3']);
        }
    });

    it('IOM-19, IOM-20: translation types need their capability; pass-through leaves the address alone', () => {
      for (const ecap of [ECAP, ECAP | DT, ECAP & ~(1n << 6n)])
        for (const type of [0n, 1n, 2n, 3n]) {
          const one = lab({ ecap });
          one.map(IOVA, PAGE | RW);
          one.context({ low: 1n | (type << 2n) });
          const isOffered =
            type === 0n || (type === 1n && (ecap & DT) !== 0n) || (type === 2n && (ecap & 64n) !== 0n);
          const expected = !isOffered ? 'fault 3' : type === 2n ? hex(IOVA) : hex(PAGE);
          expect([ecap, type, one.cold(IOVA)]).toEqual([ecap, type, expected]);
        }
      // Beyond the width only where the option asks for it (iommu.md 10).
      for (const passThroughWidthCheck of [false, true]) {
        const one = lab({ options: { passThroughWidthCheck } });
        one.context({ low: 1n | (2n << 2n) });
        expect(one.cold(1n << 50n)).toBe(passThroughWidthCheck ? 'fault 4' : hex(1n << 50n));
      }
    });

    it('IOM-21: what is missing or out of memory has its own reason at each structure', () => {
      const outside = RAM_END;
      const cases: [string, (one: UnitLab) => void][] = [
        ['fault 1', (one) => one.poke(ROOT, CONTEXT)],
        ['fault a', (one) => one.poke(ROOT, CONTEXT | 1n | 2n)],
        ['fault a', (one) => one.poke(ROOT + 8n, 1n)],
        [
          'fault 8',
          (one) => {
            one.unit.rootTable = outside;
          },
        ],
        ['fault 9', (one) => one.poke(ROOT, outside | 1n)],
        ['fault 2', (one) => one.context({ low: 0n })],
        ['fault b', (one) => one.context({ low: 1n | 0x10n })],
        ['fault b', (one) => one.context({ high: 0x80n })],
        ['fault b', (one) => one.context({ high: 1n << 24n })],
        ['fault 3', (one) => one.context({ top: outside })],
        ['fault 7', (one) => one.map(IOVA, outside | RW, { level: 2 })],
        ['fault 7', (one) => one.map(IOVA, outside | RW, { level: 4 })],
        ['fault 6', (one) => one.map(IOVA, 0n)],
      ];
      for (const [expected, change] of cases) {
        const one = lab();
        one.map(IOVA, PAGE | RW);
        change(one);
        expect([expected, one.cold(IOVA)]).toEqual([expected, expected]);
      }
    });

    it('IOM-02, IOM-31, IOM-32: scalable mode takes half of a root entry, RID_PASID and a PASID entry of 64 bytes', () => {
      const one = lab({ ecap: ECAP | SMTS });
      one.map(IOVA, PAGE | RW);
      one.unit.rootTable = ROOT | (1n << 10n);
      const entry = (sid: number, type: bigint, pasid: bigint): void => {
        one.poke(ROOT, 0x2000n | 1n);
        one.poke(ROOT + 8n, 0x3000n | 1n);
        const context = (sid & 0x80 ? 0x3000n : 0x2000n) + BigInt(sid & 0x7f) * 32n;
        one.poke(context, 0x5000n | 1n);
        one.poke(context + 8n, pasid);
        one.poke(0x5000n + 8n * (pasid >> 6n), 0x6000n | 1n);
        one.poke(0x6000n + 64n * (pasid & 63n), TOP | (type << 6n) | (2n << 2n) | 1n);
        one.poke(0x6000n + 64n * (pasid & 63n) + 8n, 3n);
      };
      for (const sid of [0x20, 0x88])
        for (const pasid of [0n, 5n, 70n]) {
          entry(sid, 2n, pasid);
          expect([sid, pasid, one.cold(IOVA, false, sid)]).toEqual([sid, pasid, hex(PAGE)]);
          entry(sid, 4n, pasid);
          expect(one.cold(IOVA, false, sid)).toBe(hex(IOVA));
          for (const type of [0n, 5n, 6n, 7n]) {
            entry(sid, type, pasid);
            expect([type, one.cold(IOVA, false, sid)]).toEqual([type, 'fault 5b']);
          }
        }
    });

    it('IOM-61: SNP in a scalable leaf without snoop control: 7A by the specification, translated by QEMU 7.2', () => {
      for (const vtdModel of ['spec', 'qemu72'] as const) {
        const one = lab({ ecap: ECAP | SMTS, options: { vtdModel } });
        one.unit.rootTable = ROOT | (1n << 10n);
        one.poke(0x2000n + BigInt(SID) * 32n, 0x5000n | 1n);
        one.poke(0x2000n + BigInt(SID) * 32n + 8n, 0n);
        one.poke(0x5000n, 0x6000n | 1n);
        one.poke(0x6000n, TOP | (2n << 6n) | (2n << 2n) | 1n);
        one.map(IOVA, PAGE | RW | SNP);
        expect(one.cold(IOVA)).toBe(vtdModel === 'spec' ? 'fault 7a' : hex(PAGE));
      }
    });
  });

  describe('interrupts', () => {
    it('IOM-22: no page may lead to the interrupt range, by its span or by the byte', () => {
      for (const interruptRangeCheck of ['span', 'byte'] as const) {
        const one = lab({ options: { interruptRangeCheck } });
        one.map(IOVA, 0xfee0_1000n | RW);
        expect(one.cold(IOVA)).toBe('fault e');
        one.map(IOVA, 0xfed0_0000n | RW);
        expect(one.cold(IOVA)).toBe(hex(0xfed0_0000n));
        one.map(0n, 0xc000_0000n | RW | LARGE, { level: 3 });
        expect(one.cold(0x1000n)).toBe(interruptRangeCheck === 'span' ? 'fault e' : hex(0xc000_1000n));
        expect(one.cold(0x3ee0_0000n)).toBe('fault e');
      }
    });

    it('IOM-23, IOM-24: addresses in the range are not translated, those beside it are', () => {
      const one = lab();
      for (const at of [0xfedf_f000n, 0xfee0_0000n, 0xfeef_f000n, 0xfef0_0000n]) one.map(at, PAGE | RW);
      for (const at of [0xfee0_0000n, 0xfeef_ffffn]) {
        expect([one.cold(at, true), one.cold(at)]).toEqual(['message', 'refused']);
        expect(one.unit.faults).toEqual([]);
      }
      for (const at of [0xfedf_ffffn, 0xfef0_0000n]) expect(one.cold(at)).toBe(hex(PAGE | (at & 0xfffn)));
    });
  });

  it('walks random tables as a plain walk does, cold and warm, and never reads outside RAM', () => {
    const one = lab({ ecap: ECAP | SC });
    const entry = fc.record({
      to: fc.constantFrom(0x8000n, 0x9000n, 0xa000n, 0xb000n, TOP, 0x2000_0000n, 0x4000_0000n, RAM_END, PAGE),
      bits: fc.constantFrom(RW, RW, RW, READ, WRITE, 0n, RW | LARGE, RW | SNP, RW | LARGE | SNP, RW | TM),
    });
    const slot = fc.record({
      table: fc.constantFrom(TOP, 0x8000n, 0x9000n, 0xa000n, 0xb000n),
      index: fc.nat(3),
      entry,
    });
    const access = fc.record({
      path: fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }),
      isWrite: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(slot, { minLength: 8, maxLength: 20 }),
        fc.array(access, { minLength: 1, maxLength: 12 }),
        (slots, accesses) => {
          for (const table of [TOP, 0x8000n, 0x9000n, 0xa000n, 0xb000n])
            for (let n = 0n; n < 4n; n++) one.poke(table + 8n * n, 0n);
          for (const {
            table,
            index,
            entry: { to, bits },
          } of slots)
            one.poke(table + 8n * BigInt(index), to | bits);
          for (const { path, isWrite } of accesses) {
            const address = path.reduce((sum, index) => (sum << 9n) | BigInt(index), 0n) << 12n;
            expect(one.cold(address, isWrite)).toBe(plainVtd(one, address, isWrite));
            for (const step of one.unit.steps) expect(BigInt(step.address) < RAM_END + 0x1000n).toBe(true);
            const warm = plainVtd(one, address, isWrite);
            if (warm.startsWith('0x')) expect(one.go(address, isWrite)).toBe(warm);
          }
        },
      ),
      { numRuns: 400 },
    );
  });
});
