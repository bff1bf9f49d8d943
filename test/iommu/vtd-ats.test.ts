/** ATS: what a VT-d unit answers endpoints, what it lets them send, and the cache of an endpoint (iommu.md 7, 14). */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import type { Core } from '../../src/core/core.js';
import {
  AddressTranslationCache,
  type AtsEntry,
  completionOf,
  decodeAtsEntry,
  encodeAtsEntry,
} from '../../src/iommu/ats.js';
import type { VtdRequest, VtdUnit } from '../../src/iommu/vtd-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  CAP_FIRST,
  D1,
  ECAP_FIRST,
  FIRST,
  NWFS,
  P,
  PAGE1,
  PASIDE,
  PASS,
  PGSNP,
  PWSNP,
  ScalableLab,
  SECOND,
  US,
} from './scalable-lab.js';
import {
  CAP,
  DT,
  ECAP,
  hex,
  IOVA,
  LARGE,
  type LabInput,
  PAGE,
  READ,
  RW,
  SC,
  SID,
  UnitLab,
  WRITE,
} from './unit-lab.js';

const SNP = 1n << 11n;
const ATS = 1n | (1n << 2n);
const NO_ACCESS = { read: false, write: false, address: 0, forcesSnoop: false, untranslatedOnly: false };

function completion(unit: VtdUnit, request: Partial<VtdRequest> = {}): ReturnType<typeof completionOf> {
  return completionOf(
    unit.translate({ sid: SID, address: IOVA, isWrite: false, at: 'translation', ...request }),
  );
}

function entryOf(unit: VtdUnit, request: Partial<VtdRequest> = {}): AtsEntry {
  const found = completion(unit, request);
  if (found.status !== 'success') throw new Error(found.status);
  return found.entry;
}

describe('entries of translation completions', () => {
  const entry = { read: true, write: false, forcesSnoop: true, untranslatedOnly: false };

  it('IOM-47: S and the address bits below it say the size', () => {
    for (const [pageLg2, expected] of [
      [12, 0x1_2345_6000n],
      [13, 0x1_2345_6800n],
      [16, 0x1_2345_7800n],
      [21, 0x1_234f_f800n & ~(1n << 20n)],
      [30, 0x1_1fff_f800n],
    ] as const) {
      const value = encodeAtsEntry({ ...entry, address: 0x1_2345_6000n, pageLg2 });
      expect(hex(value)).toBe(hex(expected | (1n << 10n) | 1n));
    }
    // Every bit of the size may not be 1; a size is 4 KiB at least.
    expect(() => decodeAtsEntry(0x7fff_ffff_ffff_f803n)).toThrow(ZtlpError);
    expect(() => encodeAtsEntry({ ...entry, address: 0, pageLg2: 11 })).toThrow(ZtlpError);
    expect(() => encodeAtsEntry({ ...entry, address: 0, pageLg2: 64 })).toThrow(ZtlpError);
  });

  it('IOM-47: what is encoded is decoded, and the size counts 1s from bit 12 up', () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, (1n << 64n) - 1n),
        fc.integer({ min: 12, max: 63 }),
        fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean()),
        (at, pageLg2, [read, write, forcesSnoop, untranslatedOnly]) => {
          const address = at - (at % 2n ** BigInt(pageLg2));
          const one = { address, pageLg2, read, write, forcesSnoop, untranslatedOnly };
          const value = encodeAtsEntry(one);
          expect(decodeAtsEntry(value)).toEqual(one);
          const bits = value.toString(2).padStart(64, '0').split('').reverse();
          expect([bits[0], bits[1], bits[2], bits[10]]).toEqual(
            [read, write, untranslatedOnly, forcesSnoop].map((bit) => (bit ? '1' : '0')),
          );
          const ones = bits.slice(12).indexOf('0');
          expect(bits[11] === '0' ? 12 : 13 + ones).toBe(pageLg2);
        },
      ),
    );
  });
});

describe('the address translation cache of an endpoint', () => {
  const entry: AtsEntry = {
    address: PAGE,
    pageLg2: 12,
    read: true,
    write: true,
    forcesSnoop: false,
    untranslatedOnly: false,
  };
  const reads = { isWrite: false, noSnoop: true };

  it('IOM-63: takes No Snoop away where N says so, and sends what has no translation nowhere', () => {
    const cache = new AddressTranslationCache(4);
    expect(cache.access(IOVA, reads)).toEqual({ kind: 'miss' });
    for (const forcesSnoop of [true, false]) {
      cache.store(IOVA, { ...entry, forcesSnoop });
      const noSnoop = !forcesSnoop;
      expect(cache.access(IOVA + 5n, reads)).toEqual({ kind: 'translated', address: PAGE + 5n, noSnoop });
    }
    cache.store(IOVA, { ...entry, write: false });
    expect(cache.access(IOVA, { ...reads, isWrite: true })).toEqual({ kind: 'denied' });
    cache.store(IOVA, { ...entry, read: false, untranslatedOnly: true });
    expect(cache.access(IOVA, { isWrite: true, noSnoop: false })).toEqual({
      kind: 'untranslated',
      address: IOVA,
      noSnoop: false,
    });
    const empty = new AddressTranslationCache(1);
    empty.store(IOVA, { ...entry, read: false, write: false });
    expect(empty.access(IOVA, reads)).toEqual({ kind: 'miss' });
    expect(() => new AddressTranslationCache(0)).toThrow(ZtlpError);
  });

  it('iommu.md 7: an invalidation drops what reaches into its range, of one PASID or of all', () => {
    const kinds = (first: bigint, last: bigint, pasid?: number | 'all'): string[] => {
      const cache = new AddressTranslationCache(8);
      cache.store(0x20_0000n, { ...entry, address: 0x4000_0000n, pageLg2: 21 });
      cache.store(0x40_0000n, entry);
      cache.store(0x40_0000n, entry, 7);
      cache.invalidate(first, last, pasid);
      return [
        cache.access(0x20_1234n, reads),
        cache.access(0x40_0000n, reads),
        cache.access(0x40_0000n, { ...reads, pasid: 7 }),
      ].map(({ kind }) => kind);
    };
    const all = 0xffff_ffff_ffff_ffffn;
    expect(kinds(0x3f_f000n, 0x3f_ffffn)).toEqual(['miss', 'translated', 'translated']);
    expect(kinds(0x40_0000n, 0x40_0fffn)).toEqual(['translated', 'miss', 'translated']);
    expect(kinds(0x40_0000n, 0x40_0fffn, 7)).toEqual(['translated', 'translated', 'miss']);
    expect(kinds(0x40_1000n, all)).toEqual(['translated', 'translated', 'translated']);
    expect(kinds(0n, all, 'all')).toEqual(['miss', 'miss', 'miss']);
    expect(() => kinds(1n, 0n)).toThrow(ZtlpError);
  });

  it('iommu.md 7: the newest of overlapping pages counts, and a full cache loses its oldest', () => {
    const cache = new AddressTranslationCache(2);
    cache.store(0n, { ...entry, address: 0x4000_0000n, pageLg2: 21 });
    cache.store(0x1000n, entry);
    expect([cache.access(0n, reads), cache.access(0x1000n, reads)]).toMatchObject([
      { address: 0x4000_0000n },
      { address: PAGE },
    ]);
    cache.store(0x2000n, { ...entry, address: 0x7000n });
    expect([
      cache.access(0n, reads),
      cache.access(0x1000n, reads),
      cache.access(0x2000n, reads),
    ]).toMatchObject([{ kind: 'miss' }, { address: PAGE }, { address: 0x7000n }]);
  });
});

describe.each(BUILDS)('ATS of a VT-d unit on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const lab = (input: LabInput = {}): UnitLab => {
    const one = UnitLab.on(core, { ecap: ECAP | DT | SC, ...input });
    one.context({ low: ATS });
    return one;
  };
  const translated = { sid: SID, isWrite: false, at: 'translated' } as const;

  it('iommu.md 7: an answer has the page, its size and the permissions that there are', () => {
    for (const bits of [READ, WRITE, RW])
      for (const [level, pageLg2] of [
        [1, 12],
        [2, 21],
        [3, 30],
      ] as const) {
        const one = lab();
        const page = 1n << 30n;
        const at = (IOVA >> 30n) << 30n;
        one.map(at, page | bits | (level === 1 ? 0n : LARGE), { level });
        for (const repeat of ['miss', 'hit'])
          expect([repeat, entryOf(one.unit, { address: at + 0x456n })]).toEqual([
            repeat,
            {
              address: page,
              pageLg2,
              read: (bits & READ) !== 0n,
              write: (bits & WRITE) !== 0n,
              forcesSnoop: false,
              untranslatedOnly: false,
            },
          ]);
      }
  });

  it('IOM-48: no access is a success without permissions, and not recorded', () => {
    const cases: [string, (one: UnitLab) => void, bigint][] = [
      ['nothing mapped', () => undefined, IOVA],
      ['above the width', () => undefined, 1n << 48n],
      [
        'levels with nothing in common',
        (one) => {
          const leaf = one.map(IOVA, PAGE | READ);
          const upper = one.map(IOVA, 0n, { level: 4 });
          one.poke(upper, 0x8000n | WRITE);
          one.poke(leaf, PAGE | READ);
        },
        IOVA,
      ],
    ];
    for (const [name, change, address] of cases) {
      const one = lab();
      change(one);
      expect([name, completion(one.unit, { address })]).toMatchObject([
        name,
        { status: 'success', entry: NO_ACCESS },
      ]);
      expect([name, one.unit.faults]).toEqual([name, []]);
      // The same access untranslated is a fault.
      expect(one.go(address)).toBe(address === IOVA ? 'fault 6' : 'fault 4');
    }
    const first = new ScalableLab(core);
    for (const [entry, pasid] of [
      [0n, undefined],
      [PAGE | P, undefined],
      [PAGE | PAGE1, 5],
    ] as const) {
      first.pasid({ type: FIRST });
      first.map(IOVA, entry);
      expect(completion(first.lab.unit, pasid === undefined ? {} : { pasid })).toMatchObject({
        status: 'success',
        entry: NO_ACCESS,
      });
      expect(first.lab.unit.faults).toEqual([]);
    }
  });

  it('specification 7.1.3: errors of tables abort a request, blocked ones are unsupported, and both are recorded', () => {
    const cases: [string, number, (one: UnitLab) => void][] = [
      ['completer-abort', 0xc, (one) => one.map(IOVA, PAGE | RW | (1n << 50n))],
      ['completer-abort', 0xe, (one) => one.map(IOVA, 0xfee0_0000n | RW)],
      ['completer-abort', 3, (one) => one.context({ low: ATS, aw: 7n })],
      ['unsupported-request', 2, (one) => one.context({ low: 0n })],
      ['unsupported-request', 0xd, (one) => one.context({})],
      ['unsupported-request', 0xd, (one) => one.context({ low: 1n | (2n << 2n) })],
    ];
    for (const [status, reason, change] of cases) {
      const one = lab();
      change(one);
      expect([reason, completion(one.unit)]).toEqual([reason, { status }]);
      expect(one.unit.faults).toMatchObject([{ reason }]);
    }
    const off = lab();
    off.unit.isOn = false;
    expect(completion(off.unit)).toEqual({ status: 'unsupported-request' });
    expect(off.unit.translate({ ...translated, address: PAGE })).toEqual({ kind: 'refused' });
    expect(() => off.unit.translate({ ...translated, at: 'both' as 'translated', address: PAGE })).toThrow(
      ZtlpError,
    );
  });

  it('iommu.md 7: translated requests pass from requesters that may translate, and go nowhere they could not lead', () => {
    const one = lab();
    expect(one.unit.translate({ ...translated, address: PAGE })).toMatchObject({
      kind: 'translated',
      address: Number(PAGE),
      path: 'translated',
      forcesSnoop: false,
    });
    expect(one.unit.translate({ ...translated, address: 1n << 48n })).toMatchObject({ reason: 4 });
    expect(one.unit.translate({ ...translated, address: 0xfee0_0000n, isWrite: true })).toMatchObject({
      reason: 0xe,
    });
    expect(one.unit.translate({ ...translated, address: PAGE, pasid: 1 })).toMatchObject({ reason: 0x31 });
    for (const type of [0n, 2n]) {
      one.context({ low: 1n | (type << 2n) });
      one.unit.invalidateContexts();
      expect(one.unit.translate({ ...translated, address: PAGE })).toMatchObject({
        kind: 'fault',
        reason: 0xd,
      });
    }
    const two = new ScalableLab(core, { ecap: ECAP_FIRST | SC });
    for (const pgsnp of [0n, PGSNP]) {
      two.pasid({ type: SECOND, high: PWSNP | pgsnp });
      two.lab.unit.invalidateContexts();
      const answer = two.lab.unit.translate({ ...translated, address: PAGE });
      expect(answer).toMatchObject({ path: 'translated', forcesSnoop: pgsnp !== 0n });
    }
    two.pasid({ type: SECOND, pasid: 5 });
    expect(two.go(1n << 48n, { at: 'translated' })).toBe('fault 83');
    expect(two.go(0xfee0_0000n, { at: 'translated' })).toBe('fault 87');
    expect(two.go(PAGE, { at: 'translated', pasid: 5 })).toBe('fault 49');
    two.context({ low: PASIDE | 1n });
    expect([two.cold(PAGE, { at: 'translated' }), two.cold(PAGE, { at: 'translation' })]).toEqual([
      'fault 44',
      'fault 44',
    ]);
    two.context({});
    const without = new ScalableLab(core, { ecap: ECAP_FIRST & ~DT });
    without.pasid({ type: SECOND });
    expect(without.cold(PAGE, { at: 'translated' })).toBe('fault 44');
  });

  it('IOM-63: N is the forced snoop of the page, and an endpoint that keeps to it sends no No Snoop', () => {
    for (const sc of [0n, SC])
      for (const snp of [0n, SNP]) {
        if (sc === 0n && snp !== 0n) continue;
        const one = lab({ ecap: ECAP | DT | sc });
        one.map(IOVA, PAGE | RW | snp);
        const entry = decodeAtsEntry(encodeAtsEntry(entryOf(one.unit)));
        expect([sc, snp, entry.forcesSnoop]).toEqual([sc, snp, snp !== 0n]);
        const cache = new AddressTranslationCache(16);
        cache.store(IOVA, entry);
        const sent = cache.access(IOVA + 8n, { isWrite: true, noSnoop: true });
        expect(sent).toEqual({ kind: 'translated', address: PAGE + 8n, noSnoop: snp === 0n });
        if (sent.kind !== 'translated') continue;
        const { address, noSnoop } = sent;
        const answer = one.unit.translate({ ...translated, address, noSnoop, isWrite: true });
        expect(answer).toMatchObject({ kind: 'translated', address: Number(PAGE) + 8 });
        expect(answer).not.toHaveProperty('translatedNsViolation');
      }
    const page = new ScalableLab(core, { ecap: ECAP_FIRST | SC });
    page.map(IOVA, PAGE | PAGE1);
    for (const pgsnp of [0n, PGSNP]) {
      page.pasid({ type: FIRST, high: PWSNP | pgsnp });
      page.lab.unit.invalidateIotlb();
      page.lab.unit.invalidateContexts();
      expect(entryOf(page.lab.unit).forcesSnoop).toBe(pgsnp !== 0n);
    }
  });

  it('IOM-46: a translated request with No Snoop is flagged where the last translation of the page had N', () => {
    const one = lab();
    one.map(IOVA, PAGE | RW | SNP);
    one.map(IOVA + 0x1000n, (PAGE + 0x1000n) | RW);
    const isFlagged = (address: bigint, noSnoop: boolean, sid = SID): boolean =>
      'translatedNsViolation' in one.unit.translate({ ...translated, sid, address, noSnoop });
    expect(isFlagged(PAGE, true)).toBe(false);
    entryOf(one.unit);
    entryOf(one.unit, { address: IOVA + 0x1000n });
    expect([isFlagged(PAGE + 8n, true), isFlagged(PAGE, false)]).toEqual([true, false]);
    expect(isFlagged(PAGE + 0x1000n, true)).toBe(false);
    // Of another requester nothing is known.
    one.context({ sid: 0x21, low: ATS });
    expect(isFlagged(PAGE, true, 0x21)).toBe(false);
    one.map(IOVA, PAGE | RW);
    one.unit.invalidateIotlb();
    entryOf(one.unit);
    expect(isFlagged(PAGE, true)).toBe(false);
  });

  it('specification 7.1.3: in the interrupt range endpoints are told to write untranslated', () => {
    for (const nwfs of [0n, NWFS]) {
      const one = lab({ ecap: ECAP | DT | nwfs });
      const at = { address: 0xfee0_0000n };
      const told = { read: false, write: true, untranslatedOnly: true };
      expect(entryOf(one.unit, at)).toMatchObject(told);
      expect(entryOf(one.unit, { ...at, noWrite: true })).toMatchObject(nwfs === 0n ? told : NO_ACCESS);
      one.context({});
      one.unit.invalidateContexts();
      expect(completion(one.unit, at)).toEqual({ status: 'unsupported-request' });
    }
  });

  it('specification 4.2.3: NW keeps the page clean and the answer without W, on units that look', () => {
    for (const nwfs of [0n, NWFS])
      for (const noWrite of [false, true]) {
        const one = new ScalableLab(core, { cap: CAP_FIRST, ecap: (ECAP_FIRST & ~NWFS) | nwfs });
        one.pasid({ type: FIRST });
        const leaf = one.map(IOVA, PAGE | PAGE1);
        const isKept = nwfs === 0n || !noWrite;
        for (const repeat of ['miss', 'hit']) {
          expect([repeat, entryOf(one.lab.unit, { noWrite })]).toMatchObject([
            repeat,
            { read: true, write: isKept },
          ]);
          expect(one.lab.peek(leaf) & D1).toBe(isKept ? D1 : 0n);
        }
        // Asked for again with write access, the page is marked.
        expect(entryOf(one.lab.unit)).toMatchObject({ write: true });
        expect(one.lab.peek(leaf) & D1).toBe(D1);
      }
    const readOnly = new ScalableLab(core);
    readOnly.pasid({ type: FIRST });
    const leaf = readOnly.map(IOVA, PAGE | P | US);
    expect(entryOf(readOnly.lab.unit)).toMatchObject({ read: true, write: false });
    expect(readOnly.lab.peek(leaf) & D1).toBe(0n);
  });

  it('specification 4.2.3: pass-through is answered with a region of the largest page', () => {
    for (const [cap, pageLg2] of [
      [CAP_FIRST, 30],
      [CAP_FIRST & ~(1n << 35n), 21],
      [CAP & ~(3n << 34n), 12],
    ] as const) {
      const one = new ScalableLab(core, { cap });
      one.pasid({ type: PASS });
      const address = (IOVA >> BigInt(pageLg2)) << BigInt(pageLg2);
      expect(entryOf(one.lab.unit)).toMatchObject({ address, pageLg2, read: true, write: true });
    }
  });
});
