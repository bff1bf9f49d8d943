/** AMD-Vi: device table, host tables (v1), windows, flags, events, what the unit keeps (iommu.md 3, 5, 14). */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Core } from '../../src/core/core.js';
import type { AmdOptions, AmdUnitInput } from '../../src/iommu/amd-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  AmdLab,
  DEVICES,
  DOMAIN,
  encoded,
  FORCE,
  next,
  PRESENT,
  READ,
  ROOT,
  RW,
  SID,
  WRITE,
} from './amd-lab.js';
import { plainAmd } from './plain-amd.js';
import { asFunction, hex, PAGE, RAM_END, UnitLab } from './unit-lab.js';

const OTHER = PAGE + 0x7000n;
const IOVA = 0x12_3456_7000n;
const LEAF = PRESENT | RW;

describe.each(BUILDS)('an AMD-Vi unit on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const lab = (input: AmdUnitInput = {}, options: Partial<AmdOptions> = {}): AmdLab =>
    new AmdLab(core, input, options);

  it('IOM-33: NextLevel 0 is a page of the natural size at every level of every mode', () => {
    for (let mode = 1; mode <= 6; mode++)
      for (let level = 1; level <= mode; level++) {
        const lg2 = BigInt(3 + 9 * level);
        const inPage = (1n << lg2) - 1n;
        const page = (3n << lg2) & ((1n << 52n) - 1n);
        // The last page of the address space, and the first.
        for (const iova of [0n, ((1n << BigInt(Math.min(64, 12 + 9 * mode))) - 1n) & ~inPage]) {
          const one = lab();
          one.device({ mode });
          one.map(iova, page | LEAF, { level, mode });
          const offset = 0x89_abcd_ef12_3456n & inPage;
          expect([mode, level, iova, one.go(iova | offset)]).toEqual([mode, level, iova, hex(page | offset)]);
          expect(one.unit.steps.filter(({ what }) => what.startsWith('level'))).toHaveLength(
            mode - level + 1,
          );
        }
      }
  });

  it('IOM-33: NextLevel 7 has its size in the address: larger than an entry here, smaller than one of the next level', () => {
    for (let level = 1; level <= 5; level++)
      for (let lg2 = 13; lg2 <= 52; lg2++) {
        const natural = 3 + 9 * level;
        const one = lab();
        one.device({ mode: 6 });
        const page = (5n << BigInt(lg2)) & ((1n << 52n) - 1n);
        one.map(0n, encoded(page, lg2) | LEAF | next(7), { level, mode: 6 });
        const offset = (1n << BigInt(natural)) - 0x10n;
        const isLegal = lg2 > natural && lg2 < natural + 9;
        expect([level, lg2, one.go(offset)]).toEqual([level, lg2, isLegal ? hex(page | offset) : 'event 2']);
        expect(one.events()).toEqual(isLegal ? [] : ['2/0x10']);
      }
    // 8 KiB: the offset in the page has bit 12.
    const one = lab();
    for (const at of [0n, 0x1000n]) one.map(at, encoded(PAGE & ~0x1fffn, 13) | LEAF | next(7));
    expect([one.go(0x123n), one.go(0x1123n)]).toEqual([
      hex((PAGE & ~0x1fffn) | 0x123n),
      hex((PAGE & ~0x1fffn) | 0x1123n),
    ]);
    expect(one.unit.translate({ sid: SID, address: 0n, isWrite: false })).toMatchObject({
      pageLg2: 13,
      iotlb: 'hit',
    });
  });

  it('IOM-33: IR and IW count in the device table entry and at every level', () => {
    const all = [
      [0n, 'event 2', 'event 2'],
      [READ, hex(PAGE), 'event 2'],
      [WRITE, 'event 2', hex(PAGE)],
      [RW, hex(PAGE), hex(PAGE)],
    ] as const;
    for (const [permissions, read, write] of all)
      for (const level of [1, 2, 3, 4, 5]) {
        const one = lab();
        const place = one.map(IOVA, PAGE | LEAF);
        if (level === 5) one.device({ permissions });
        else {
          const at = level === 1 ? place : one.map(IOVA, 0n, { level });
          const below = level === 1 ? PAGE | PRESENT : 0x8000n + 0x1000n * BigInt(4 - level);
          one.poke(at, below | PRESENT | permissions | next(level - 1));
        }
        expect([level, permissions, one.cold(IOVA), one.cold(IOVA, true)]).toEqual([
          level,
          permissions,
          read,
          write,
        ]);
        if (write === 'event 2') expect(one.events()).toEqual(['2/0x70']);
        one.cold(IOVA);
        if (read === 'event 2') expect(one.events()).toEqual(['2/0x50']);
      }
  });

  it('IOM-34: FC in a page takes No Snoop away, cold and warm; in a table it is reserved', () => {
    for (const force of [0n, FORCE]) {
      const one = lab();
      one.map(IOVA, PAGE | LEAF | force);
      for (const iotlb of ['miss', 'hit'])
        expect(one.unit.translate({ sid: SID, address: IOVA, isWrite: false })).toMatchObject({
          iotlb,
          forcesSnoop: force !== 0n,
          path: 'second-stage',
        });
    }
    const one = lab();
    one.map(IOVA, PAGE | LEAF);
    one.poke(ROOT, 0x8000n | LEAF | next(3) | FORCE);
    expect([one.go(IOVA), one.events()]).toEqual(['event 2', ['2/0x90']]);
  });

  it('iommu.md 3: a level may be skipped where the address has zeros, and only downwards', () => {
    for (const [from, to, address, expected] of [
      [4, 1, 0x12_3000n, hex(PAGE)],
      [4, 1, 0x20_0000n, 'event 2'],
      [4, 1, 0x40_0000_0000n, 'event 2'],
      [4, 2, 0x3fe0_0000n, hex(PAGE)],
      [4, 2, 0x4000_0000n, 'event 2'],
      [3, 1, 0x1f_f000n, hex(PAGE)],
      [3, 1, 0x20_0000n, 'event 2'],
      [2, 2, 0n, 'event 2'],
      [2, 3, 0n, 'event 2'],
    ] as const) {
      const one = lab();
      one.device({ mode: from });
      const index = (address >> BigInt(3 + 9 * from)) & 511n;
      one.poke(ROOT + 8n * index, 0x9000n | LEAF | next(to));
      const below = (address >> BigInt(3 + 9 * to)) & 511n;
      one.poke(0x9000n + 8n * below, PAGE | LEAF);
      if (to === 2) one.poke(0x9000n + 8n * below, 0xa000n | LEAF | next(1));
      one.poke(0xa000n, PAGE | LEAF);
      expect([from, to, address, one.go(address)]).toEqual([from, to, address, expected]);
      expect(one.events()).toEqual(expected === 'event 2' ? ['2/0x10'] : []);
    }
  });

  it('iommu.md 3: reserved bits and what is beyond the levels are page faults', () => {
    for (let bit = 52n; bit <= 58n; bit++) {
      const one = lab();
      one.map(IOVA, PAGE | LEAF | (1n << bit));
      expect([bit, one.cold(IOVA, true), one.events()]).toEqual([bit, 'event 2', ['2/0xb0']]);
    }
    // U, bit 63 and what software has.
    for (const bit of [1n, 2n, 3n, 4n, 7n, 8n, 59n, 63n]) {
      const one = lab();
      one.map(IOVA, PAGE | LEAF | (1n << bit));
      expect([bit, one.cold(IOVA)]).toEqual([bit, hex(PAGE)]);
    }
    const one = lab();
    expect([one.cold(IOVA), one.events()]).toEqual(['event 2', ['2/0x0']]);
    expect([one.cold(1n << 48n, true), one.events()]).toEqual(['event 2', ['2/0x20']]);
    one.map(IOVA, RAM_END | LEAF | next(1), { level: 2 });
    expect(one.cold(IOVA)).toBe('event 4');
    expect(one.unit.takeEvents().events).toEqual([
      { type: 4, sid: SID, domain: DOMAIN, address: Number(RAM_END) + 0x167 * 8, flags: 0 },
    ]);
  });

  it('iommu.md 3, 10: V, TV and Mode of a device table entry', () => {
    const one = lab();
    one.device({ valid: 0n, permissions: 0n });
    expect(one.cold(0xfd_1234_5678n, true)).toBe('0xfd12345678');
    one.device({ valid: 1n });
    expect([one.cold(IOVA), one.events()]).toEqual(['event 2', ['2/0x0']]);
    one.device({ mode: 0, permissions: READ });
    expect([one.cold(IOVA), one.cold(IOVA, true), one.events()]).toEqual([hex(IOVA), 'event 2', ['2/0x70']]);
    one.device({ mode: 7 });
    expect([one.cold(IOVA), one.events()]).toEqual(['event 1', ['1/0x0']]);
    for (const bit of [2n, 6n, 7n, 8n, 52n, 55n, 60n, 63n]) {
      one.device({ low: 1n << bit });
      expect([bit, one.cold(IOVA), one.events()]).toEqual([bit, 'event 1', ['1/0x80']]);
    }
    // SA: no page faults in the log, other events are.
    one.device({ middle: 1n << 34n });
    one.cold(0n);
    expect(one.unit.translate({ sid: SID, address: IOVA, isWrite: false })).toEqual({
      kind: 'fault',
      reason: 2,
      isRecorded: false,
    });
    expect(one.events()).toEqual([]);
    one.unit.isOn = false;
    expect(one.cold(IOVA)).toBe(hex(IOVA));
  });

  it('iommu.md 3: a device beyond the table, and a table that is not there', () => {
    const one = lab();
    one.map(IOVA, PAGE | LEAF);
    one.device({ sid: 127 });
    expect([one.cold(IOVA, false, 127), one.cold(IOVA, false, 128), one.events()]).toEqual([
      hex(PAGE),
      'event 2',
      ['2/0x0'],
    ]);
    one.unit.setDeviceTable(DEVICES, 2);
    one.device({ sid: 128 });
    expect(one.cold(IOVA, false, 128)).toBe(hex(PAGE));
    one.unit.setDeviceTable(RAM_END, 1);
    expect(one.cold(IOVA)).toBe('event 3');
    expect(one.unit.takeEvents().events[0]).toMatchObject({ type: 3, address: Number(RAM_END) + 32 * SID });
    expect(() => one.unit.setDeviceTable(0x1001n, 1)).toThrow(/4096/);
    expect(() => one.unit.setDeviceTable(0x1000n, 513)).toThrow(/512/);
  });

  it('iommu.md 3: the window of interrupts follows IntCtl, that of HyperTransport is refused', () => {
    const one = lab();
    const cases = [
      [0n, 'message', []],
      [1n, 'event 2', ['2/0x28']],
      [1n | (1n << 60n), 'message', []],
      [1n | (2n << 60n), 'message', []],
      [1n | (3n << 60n), 'event 1', ['1/0x28']],
    ] as const;
    for (const [high, expected, events] of cases)
      for (const valid of [0n, 3n]) {
        one.device({ valid, high });
        expect([high, one.cold(0xfee0_0000n, true), one.events()]).toEqual([high, expected, events]);
        expect([high, one.cold(0xfeef_fffcn), one.events()]).toEqual([high, 'event 8', ['8/0x0']]);
      }
    one.device({});
    for (const at of [0xfedf_f000n, 0xfef0_0000n, 0xfc_ffff_f000n, 0x100_0000_0000n]) {
      one.map(at, PAGE | LEAF);
      expect([at, one.cold(at)]).toEqual([at, hex(PAGE)]);
    }
    for (const at of [0xfd_0000_0000n, 0xff_ffff_f000n]) {
      one.map(at, PAGE | LEAF);
      expect([at, one.cold(at, true), one.events()]).toEqual([at, 'event 8', ['8/0x20']]);
    }
  });

  it('iommu.md 3: a PASID needs guest tables, which there are not', () => {
    const one = lab();
    one.map(IOVA, PAGE | LEAF);
    expect(one.unit.translate({ sid: SID, pasid: 1, address: IOVA, isWrite: false })).toMatchObject({
      reason: 2,
    });
    expect(one.events()).toEqual(['2/0x1']);
  });

  it('iommu.md 3: hardware sets the access bit with HAD 1, the dirty bit with HAD 3, as far as it can', () => {
    for (const hardwareFlags of ['none', 'access', 'dirty'] as const)
      for (const had of [0n, 1n, 2n, 3n]) {
        const one = lab({ hardwareFlags });
        one.device({ low: had << 7n });
        const place = one.map(IOVA, PAGE | LEAF);
        const isRefused =
          had === 2n || (had === 1n && hardwareFlags === 'none') || (had === 3n && hardwareFlags !== 'dirty');
        expect([had, one.go(IOVA)]).toEqual([had, isRefused ? 'event 1' : hex(PAGE)]);
        const accessed = !isRefused && had !== 0n ? 0x20n : 0n;
        expect(one.peek(place)).toBe(PAGE | LEAF | accessed);
        // A write to a page that has been read finds its entry once more.
        one.go(IOVA, true);
        expect(one.peek(place)).toBe(PAGE | LEAF | accessed | (!isRefused && had === 3n ? 0x40n : 0n));
        if (isRefused) continue;
        expect(one.unit.translate({ sid: SID, address: IOVA, isWrite: true })).toMatchObject({
          iotlb: 'hit',
        });
      }
    // A refused access leaves no mark.
    const one = lab({ hardwareFlags: 'dirty' });
    one.device({ low: 3n << 7n });
    const place = one.map(IOVA, PAGE | PRESENT | READ);
    expect([one.go(IOVA, true), one.peek(place)]).toEqual(['event 2', PAGE | PRESENT | READ]);
    expect(() => lab({ hardwareFlags: 'some' as 'none' })).toThrow(/none, access, dirty/);
  });

  it('iommu.md 3: a function that reads and then writes leaves the dirty bit', () => {
    const one = lab({ hardwareFlags: 'dirty' });
    one.device({ low: 3n << 7n });
    const place = one.map(IOVA, PAGE | LEAF);
    // Reads of another device's tables come between: what they found says nothing about this page.
    one.device({ sid: SID + 1, low: 3n << 7n, middle: 1n << 6n });
    asFunction(core, { sid: SID + 1, address: IOVA, isWrite: true });
    one.poke(place, PAGE | LEAF);
    one.unit.invalidateDomain();
    one.unit.invalidateDevices();
    asFunction(core, { sid: SID, address: IOVA, isWrite: false });
    expect(one.peek(place) & 0x60n).toBe(0x20n);
    asFunction(core, { sid: SID, address: IOVA, isWrite: true });
    expect(one.peek(place) & 0x60n).toBe(0x60n);
  });

  it('iommu.md 5: a changed page or device is seen after the command that covers it', () => {
    const drops: [string, boolean, (one: AmdLab) => void][] = [
      ['nothing', false, () => undefined],
      ['all', true, (one) => one.unit.invalidateDomain()],
      ['the domain', true, (one) => one.unit.invalidateDomain(DOMAIN)],
      ['another domain', false, (one) => one.unit.invalidateDomain(DOMAIN + 1)],
      ['the page', true, (one) => one.unit.invalidatePages(DOMAIN, IOVA + 0x123n)],
      ['another page', false, (one) => one.unit.invalidatePages(DOMAIN, IOVA + 0x1000n)],
      ['the page of another domain', false, (one) => one.unit.invalidatePages(DOMAIN + 1, IOVA)],
      ['32 KiB around it', true, (one) => one.unit.invalidatePages(DOMAIN, encoded(IOVA, 15), true)],
      [
        '32 KiB behind it',
        false,
        (one) => one.unit.invalidatePages(DOMAIN, encoded(IOVA + 0x8000n, 15), true),
      ],
      ['everything', true, (one) => one.unit.invalidatePages(DOMAIN, 0x7fff_ffff_ffff_f000n, true)],
      ['devices alone', false, (one) => one.unit.invalidateDevices()],
    ];
    for (const [name, isSeen, drop] of drops) {
      const one = lab();
      one.map(IOVA, PAGE | LEAF);
      one.go(IOVA);
      one.map(IOVA, OTHER | LEAF);
      drop(one);
      expect([name, one.go(IOVA)]).toEqual([name, hex(isSeen ? OTHER : PAGE)]);
    }
    const one = lab();
    one.map(IOVA, PAGE | LEAF);
    one.go(IOVA);
    one.device({ permissions: 0n });
    one.unit.invalidateDevices(SID + 1);
    expect(one.go(IOVA)).toBe(hex(PAGE));
    one.unit.invalidateDevices(SID);
    expect(one.go(IOVA)).toBe('event 2');
    // Another device of the domain finds the page, with what its own entry allows.
    one.device({ sid: 0x21, permissions: READ });
    expect(one.unit.translate({ sid: 0x21, address: IOVA, isWrite: false })).toMatchObject({
      iotlb: 'hit',
      permissions: { read: true, write: false },
    });
    expect(one.go(IOVA, true, 0x21)).toBe('event 2');
  });

  it('keeps the first events and counts the others', () => {
    const one = lab();
    for (let n = 0; n < 11; n++) one.go(BigInt(n) << 12n);
    const { events, count } = one.unit.takeEvents();
    expect([events.map(({ address }) => address), count]).toEqual([
      Array.from({ length: 8 }, (_, n) => n * 4096),
      11,
    ]);
    expect(one.unit.takeEvents()).toEqual({ events: [], count: 0 });
  });

  it('walks random tables as a plain walk does, cold and warm', () => {
    const one = lab();
    const PLACES = [ROOT, 0x8000n, 0x9000n, 0xa000n];
    const entry = fc.record({
      to: fc.constantFrom(
        ...PLACES,
        PAGE,
        OTHER,
        0x2000_0000n,
        0x1f_f000n,
        0x1_f000n,
        RAM_END,
        (1n << 52n) - 0x1000n,
      ),
      level: fc.nat(7),
      permissions: fc.constantFrom(RW, RW, RW, RW, READ, WRITE, 0n),
      extra: fc.constantFrom(
        PRESENT,
        PRESENT,
        PRESENT,
        PRESENT,
        PRESENT,
        0n,
        PRESENT | FORCE,
        PRESENT | (1n << 55n),
      ),
    });
    const slot = fc.record({ table: fc.constantFrom(...PLACES), index: fc.nat(2), entry });
    const access = fc.record({
      path: fc.array(fc.constantFrom(0, 0, 0, 1, 2), { minLength: 6, maxLength: 6 }),
      isWrite: fc.boolean(),
    });
    const seen = new Set<string>();
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.array(slot, { minLength: 8, maxLength: 12 }),
        fc.array(access, { minLength: 1, maxLength: 12 }),
        (mode, slots, accesses) => {
          for (const table of PLACES) for (let n = 0n; n < 3n; n++) one.poke(table + 8n * n, 0n);
          for (const { table, index, entry } of slots)
            one.poke(
              table + 8n * BigInt(index),
              entry.to | next(entry.level) | entry.permissions | entry.extra,
            );
          one.device({ mode });
          for (const { path, isWrite } of accesses) {
            const used = path.slice(6 - mode);
            const address = used.reduce((sum, index) => (sum << 9n) | BigInt(index), 0n) << 12n;
            const expected = plainAmd(one, mode, address, isWrite);
            seen.add(expected.startsWith('0x') ? 'page' : expected);
            expect(one.cold(address, isWrite)).toBe(expected.split(' with ')[0]);
            const [flags] = one.events();
            if (expected.startsWith('0x')) expect(one.go(address, isWrite)).toBe(expected);
            else expect(`${expected.split(' with ')[0]} with ${flags?.split('/')[1]}`).toBe(expected);
          }
        },
      ),
      { numRuns: 500, seed: 7 },
    );
    for (const kind of [
      'page',
      'event 2 with 0x0',
      'event 2 with 0x10',
      'event 2 with 0x90',
      'event 2 with 0x50',
      'event 4 with 0x0',
    ])
      expect(seen).toContain(kind);
  });

  it('answers garbage in tables, and never leaves memory', () => {
    const one = lab();
    const word = fc.oneof(
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      // Likely to be walked on: a table somewhere in the first 64 KiB.
      fc
        .record({ at: fc.nat(15), level: fc.nat(7) })
        .map(({ at, level }) => (BigInt(at) << 12n) | LEAF | next(level)),
    );
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 40, maxLength: 40 }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        fc.nat(6),
        (words, address, mode) => {
          words.forEach((value, n) => {
            one.poke(0x1_0000n + BigInt(n) * 8n, value);
            one.poke((BigInt(n % 16) << 12n) | (((address >> 12n) & 511n) << 3n), value);
          });
          one.device({ mode, root: ROOT });
          const answer = one.cold(address & ~0xfffn, (address & 1n) === 1n);
          expect(answer).toMatch(/^(0x[0-9a-f]+|event [1-8]|message)$/);
          expect(one.unit.steps.length).toBeLessThanOrEqual(3 + 6);
        },
      ),
      { numRuns: 500 },
    );
  });
});
