/** VT-d: which faults are told to whom: FPD, fault registers, endpoints that ask for translations (iommu.md 2.7, 7, 11). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import { type AtsCompletion, completionOf } from '../../src/iommu/ats.js';
import type { VtdRequest } from '../../src/iommu/vtd-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  A1,
  CAP_FIRST,
  DIRECTORY,
  DTE,
  ECAP_FIRST,
  FIRST,
  FIRST_TOP,
  GUEST,
  NESTED,
  NWFS,
  P,
  PAGE1,
  PASID_TABLE,
  PASIDE,
  PASS,
  RW1,
  ScalableLab,
  SECOND,
  SSADE,
  US,
} from './scalable-lab.js';
import {
  CAP,
  CONTEXT,
  DT,
  ECAP,
  hex,
  IOVA,
  LARGE,
  PAGE,
  RAM_END,
  READ,
  ROOT,
  RW,
  SC,
  SID,
  UnitLab,
} from './unit-lab.js';

const SNP = 1n << 11n;
const FPD = 2n;

describe.each(BUILDS)('faults of a VT-d unit on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  describe('legacy mode', () => {
    const TRANSLATED = { at: 'translated' } as const;
    /** Every reason: whether FPD keeps quiet about it (iommu.md 11.1), and how it comes about. */
    const reasons: [number, boolean, (one: UnitLab, low: bigint) => void, Partial<VtdRequest>?][] = [
      [1, false, (one) => one.poke(ROOT, CONTEXT)],
      [2, true, (one, low) => one.context({ low: low & ~1n })],
      [3, true, (one, low) => one.context({ low, aw: 7n })],
      [3, true, (one, low) => one.context({ low: low | (3n << 2n) })],
      [3, true, (one, low) => one.context({ low, top: RAM_END })],
      [4, true, () => undefined, { address: 1n << 48n }],
      [5, true, () => undefined, { address: IOVA + 0x1000n, isWrite: true }],
      [6, true, () => undefined, { address: IOVA + 0x1000n }],
      [7, true, (one) => one.map(IOVA, RAM_END | RW, { level: 3 })],
      [8, false, (one) => (one.unit.rootTable = RAM_END)],
      [9, false, (one) => one.poke(ROOT, RAM_END | 1n)],
      [0xa, false, (one) => one.poke(ROOT, CONTEXT | 3n)],
      [0xb, false, (one, low) => one.context({ low: low | 0x10n })],
      [0xc, true, (one) => one.map(IOVA, PAGE | RW | (1n << 50n))],
      [0xd, true, () => undefined, { at: 'translation' }],
      [0xd, true, () => undefined, TRANSLATED],
      [0xe, true, (one) => one.map(IOVA, 0xfee0_1000n | RW)],
      [0xe, true, (one, low) => one.context({ low: low | 4n }), { ...TRANSLATED, address: 0xfee0_0000n }],
    ];

    it.each(reasons)('IOM-25: FPD and reason %i: quiet %s', (reason, isQuiet, change, request = {}) => {
      for (const fpd of [0n, FPD])
        for (const warmth of ['cold', 'warm']) {
          const low = 1n | fpd;
          const one = UnitLab.on(core, { ecap: ECAP | DT });
          one.map(IOVA, PAGE | RW);
          one.context({ low });
          // The context is kept; what stands in a root or context entry counts from then on only when it is dropped.
          if (warmth === 'warm') expect(one.go(IOVA)).toBe(hex(PAGE));
          change(one, low);
          one.unit.invalidateIotlb();
          if (!(warmth === 'warm' && [4, 5, 6, 7, 0xc].includes(reason))) one.unit.invalidateContexts();
          const answer = one.unit.translate({ sid: SID, address: IOVA, isWrite: false, ...request });
          const isRecorded = !(isQuiet && fpd !== 0n);
          const where = [fpd, warmth];
          expect([...where, answer]).toEqual([...where, { kind: 'fault', reason, isRecorded }]);
          expect([...where, one.unit.faults.map((fault) => fault.reason)]).toEqual([
            ...where,
            isRecorded ? [reason] : [],
          ]);
          expect([...where, one.unit.faultStatus.pending]).toEqual([...where, isRecorded]);
        }
    });

    it('IOM-25: every reason is asked for', () => {
      const asked = new Set(reasons.map(([reason]) => reason));
      expect([...asked].sort((one, other) => one - other)).toEqual([
        1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe,
      ]);
    });

    it('IOM-27: records go round: behind the last register comes the first', () => {
      for (const records of [1, 2, 3]) {
        const one = UnitLab.on(core, { cap: CAP | (BigInt(records - 1) << 40n) });
        for (let fn = 0; fn < 8; fn++) one.context({ sid: SID | fn });
        const status = (): [number, number[]] => [
          (one.unit.faultStatusBits >> 8) & 0xff,
          Array.from({ length: records }, (_, n) => n).filter((n) => one.unit.faultRecord(n).isSet),
        ];
        for (let n = 0; n < 7; n++) {
          const sid = SID | (n % 8);
          one.go(IOVA, false, sid);
          // FRI names the register, and only it is set.
          expect([records, n, status()]).toEqual([records, n, [n % records, [n % records]]]);
          expect(one.unit.faultRecord(n % records).fault.sid).toBe(sid);
          one.unit.clearFault(n % records);
        }
        // As many as there are registers, from any of them on; one more is lost.
        for (let n = 0; n < records; n++) one.go(IOVA, false, SID | n);
        expect([records, one.unit.faults.length, one.unit.faultStatus.overflow]).toEqual([
          records,
          records,
          false,
        ]);
        expect(status()[0]).toBe(7 % records);
        one.go(IOVA, false, SID | 7);
        expect([records, one.unit.faults.length, one.unit.faultStatus.overflow]).toEqual([
          records,
          records,
          true,
        ]);
      }
    });
  });

  describe('scalable mode', () => {
    const ask = (one: ScalableLab, request: Partial<VtdRequest> = {}): AtsCompletion =>
      completionOf(
        one.lab.unit.translate({ sid: SID, address: IOVA, isWrite: false, at: 'translation', ...request }),
      );
    const none = { read: false, write: false, forcesSnoop: false, untranslatedOnly: false };

    it('IOM-22: a page of interrupts is 87: of the second stage, by its span or by the byte', () => {
      for (const interruptRangeCheck of ['span', 'byte'] as const) {
        const one = new ScalableLab(core, { options: { interruptRangeCheck } });
        one.pasid({ type: SECOND });
        for (const [page, expected] of [
          [0xfedf_f000n, hex(0xfedf_f000n)],
          [0xfee0_0000n, 'fault 87'],
          [0xfeef_f000n, 'fault 87'],
          [0xfef0_0000n, hex(0xfef0_0000n)],
        ] as const) {
          one.lab.map(IOVA, page | RW);
          expect([hex(page), one.cold(IOVA), one.cold(IOVA, { isWrite: true })]).toEqual([
            hex(page),
            expected,
            expected,
          ]);
        }
        expect(one.cold(IOVA)).toBe(hex(0xfef0_0000n));
        one.lab.map(0n, 0xc000_0000n | RW | LARGE, { level: 3 });
        expect(one.cold(0x1000n)).toBe(interruptRangeCheck === 'span' ? 'fault 87' : hex(0xc000_1000n));
        expect(one.cold(0x3ee0_0000n)).toBe('fault 87');
        expect(one.lab.unit.faults).toMatchObject([{ reason: 0x87, sid: SID }]);
      }
    });

    it('IOM-48: no access is a success that nobody hears of, whichever structure says so', () => {
      const cases: [number, (one: ScalableLab) => Partial<VtdRequest> | undefined, Partial<VtdRequest>?][] = [
        [0x51, (one) => void one.lab.poke(DIRECTORY, 0n)],
        [0x59, (one) => void one.lab.poke(PASID_TABLE + 64n * 63n, 0n)],
        [0x5d, (one) => void one.context({ rid: 63n | (1n << 20n) })],
        [0x71, (one) => void one.map(IOVA, 0n)],
        [0x79, (one) => void one.pasid({ type: SECOND })],
        [0x80, () => ({ address: 1n << 60n })],
        [0x81, (one) => void one.map(IOVA, PAGE | P | RW1)],
        [0x83, (one) => void one.pasid({ type: PASS }), { address: 1n << 50n }],
        [
          0x84,
          (one) => void one.pasid({ type: SECOND }),
          // Beyond what the tables translate.
          { address: 1n << 48n },
        ],
        [0x90, (one) => void one.pasid({ type: FIRST, high: 0n })],
      ];
      for (const [reason, change, extra = {}] of cases) {
        const one = new ScalableLab(core, { options: { passThroughWidthCheck: true } });
        one.pasid({ type: FIRST });
        one.map(IOVA, PAGE | PAGE1);
        const request = { ...change(one), ...extra };
        expect([reason, ask(one, request)]).toEqual([
          reason,
          { status: 'success', entry: { ...none, address: 0, pageLg2: 12 } },
        ]);
        expect([reason, one.lab.unit.faults]).toEqual([reason, []]);
        // The same access untranslated is this fault.
        const plain = one.cold(request.address === undefined ? IOVA : BigInt(request.address));
        expect(plain).toBe(`fault ${reason.toString(16)}`);
      }
    });

    it('iommu.md 6, 7: a PASID that is too large, or not to be used, is an unsupported request', () => {
      for (const [reason, pasid, low] of [
        [0x45, 5, DTE | 1n],
        [0x46, 0x2000, DTE | PASIDE | 1n],
        [0x48, 63, DTE | PASIDE | 1n],
      ] as const) {
        const one = new ScalableLab(core);
        one.pasid({ type: FIRST });
        one.pasid({ type: FIRST, pasid: 5 });
        one.map(IOVA, PAGE | PAGE1);
        one.context({ low });
        expect([reason, ask(one, { pasid })]).toEqual([reason, { status: 'unsupported-request' }]);
        expect([reason, one.lab.unit.faults]).toMatchObject([reason, [{ reason, pasid }]]);
      }
    });

    it('specification 4.2.3: NW takes the permission to write away in pass-through, too, on units that look', () => {
      for (const nwfs of [0n, NWFS])
        for (const noWrite of [false, true]) {
          const one = new ScalableLab(core, { cap: CAP_FIRST, ecap: (ECAP_FIRST & ~NWFS) | nwfs });
          one.pasid({ type: PASS });
          expect([nwfs, noWrite, ask(one, { noWrite })]).toMatchObject([
            nwfs,
            noWrite,
            { status: 'success', entry: { read: true, write: nwfs === 0n || !noWrite, pageLg2: 30 } },
          ]);
        }
    });

    it('specification 3.8.1: a table of the first stage that may not be written says nothing about those below', () => {
      for (const marked of [true, false]) {
        const one = new ScalableLab(core);
        one.pasid({ type: NESTED });
        one.map(IOVA, (GUEST + PAGE) | PAGE1, { offset: GUEST });
        // The second stage lets the top table be read, the others be written.
        for (let page = 0n; page < 0x10_0000n; page += 0x1000n)
          one.lab.map(GUEST + page, page | (page === FIRST_TOP ? READ : RW));
        one.lab.map(GUEST + PAGE, PAGE | RW);
        const top = one.place(IOVA, 4);
        if (marked) one.lab.poke(top, one.lab.peek(top) | A1);
        const below = [3, 2, 1].map((level) => one.place(IOVA, level, { offset: GUEST }));
        expect([marked, one.cold(IOVA)]).toEqual([marked, marked ? hex(PAGE) : 'fault 77']);
        expect([marked, below.map((place) => one.lab.peek(place) & A1)]).toEqual([
          marked,
          Array(3).fill(marked ? A1 : 0n),
        ]);
      }
      // With flags of its own the second stage has to let every table be written.
      const one = new ScalableLab(core);
      one.pasid({ type: NESTED, low: SSADE });
      one.map(IOVA, (GUEST + PAGE) | PAGE1 | A1, { offset: GUEST, table: PAGE1 | A1 });
      for (let page = 0n; page < 0x10_0000n; page += 0x1000n)
        one.lab.map(GUEST + page, page | (page === FIRST_TOP ? READ : RW));
      one.lab.map(GUEST + PAGE, PAGE | RW);
      expect(one.cold(IOVA)).toBe('fault 75');
    });
  });

  it('IOM-46: an answer without access takes back no N', () => {
    const one = UnitLab.on(core, { ecap: ECAP | DT | SC });
    one.context({ low: 1n | 4n });
    // The page at address 0, which answers without access have, too.
    one.map(IOVA, RW | SNP);
    const asks = (address: bigint): unknown =>
      completionOf(one.unit.translate({ sid: SID, address, isWrite: false, at: 'translation' }));
    const isFlagged = (): boolean =>
      'translatedNsViolation' in
      one.unit.translate({ sid: SID, address: 8n, isWrite: false, at: 'translated', noSnoop: true });
    expect(asks(IOVA)).toMatchObject({ entry: { address: 0n, forcesSnoop: true } });
    expect(isFlagged()).toBe(true);
    expect(asks(IOVA + 0x1000n)).toMatchObject({ entry: { address: 0, read: false, write: false } });
    expect(isFlagged()).toBe(true);
    // Neither does being told to write untranslated.
    expect(asks(0xfee0_0000n)).toMatchObject({ entry: { address: 0, untranslatedOnly: true } });
    expect(isFlagged()).toBe(true);
    one.map(IOVA, RW);
    one.unit.invalidateIotlb();
    expect(asks(IOVA)).toMatchObject({ entry: { address: 0n, forcesSnoop: false } });
    expect(isFlagged()).toBe(false);
  });

  it('IOM-14: a user may not write where a level says so, whichever it is', () => {
    const one = new ScalableLab(core);
    one.pasid({ type: FIRST });
    for (const level of [1, 2, 3, 4]) {
      one.map(IOVA, PAGE | PAGE1);
      const place = one.place(IOVA, level);
      const before = one.lab.peek(place);
      one.lab.poke(place, before & ~RW1);
      expect([level, one.cold(IOVA), one.cold(IOVA, { isWrite: true })]).toEqual([
        level,
        hex(PAGE),
        'fault 85',
      ]);
      one.lab.poke(place, before & ~US);
      expect([level, one.cold(IOVA)]).toEqual([level, 'fault 81']);
      one.lab.poke(place, before);
    }
  });
});
