/** What domains write for each kind of unit, and which commands they give (iommu.md 2 to 4, zpci.md 5). */
import { describe, expect, it } from 'vitest';
import { AmdDomainUnit } from '../../src/iommu/amd-domain-unit.js';
import { Domain, type DomainKind } from '../../src/iommu/domain.js';
import type { DomainUnit } from '../../src/iommu/domain-unit.js';
import { MAIR } from '../../src/iommu/formats/lpae.js';
import { S390DomainUnit, type S390DomainUnitInput } from '../../src/iommu/s390-domain-unit.js';
import { SmmuDomainUnit, type SmmuDomainUnitInput } from '../../src/iommu/smmu-domain-unit.js';
import { PlainMemory } from '../../src/iommu/table-memory.js';
import { Notes, notedVtd } from './domain-lab.js';
import { amdReader, lpaeReader, vtdFirstReader } from './plain-readers.js';
import { CAP, ECAP, SC, SMTS } from './unit-lab.js';

const SID = 0x1234;
const FIRST_STAGE = (1n << 47n) | SMTS | (1n << 40n) | (19n << 35n) | ECAP;
const POINTER = 0xf_ffff_ffff_f000n;
/** 48-bit addresses: what no entry but the top one needs. */
const field = (word: bigint, high: number, low: number): bigint =>
  (word >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);

describe('VT-d entries', () => {
  const domainOf = (unit: DomainUnit, memory: PlainMemory, kind: DomainKind = 'unmanaged'): Domain =>
    new Domain({ kind, unit, memory });

  it('iommu.md 2.2: the context entry stands at bus and function, and is cleared', () => {
    const memory = new PlainMemory();
    const { unit, notes } = notedVtd(memory);
    const domain = domainOf(unit, memory);
    expect(notes.take()).toEqual(['on']);
    domain.attach({ sid: SID });
    const root = memory.read64(notes.root + 16n * 0x12n);
    const at = (root & POINTER) + 16n * 0x34n;
    expect([root & 0xfffn, memory.read64(notes.root + 16n * 0x12n + 8n)]).toEqual([1n, 0n]);
    const [low, high] = [memory.read64(at), memory.read64(at + 8n)];
    expect([field(low, 11, 0), field(high, 2, 0), field(high, 23, 8)]).toEqual([1n, 2n, 2n]);
    expect(notes.take()).toEqual([`contexts ${SID}`, 'domain 2']);
    domain.detach({ sid: SID });
    expect([memory.read64(at), memory.read64(at + 8n)]).toEqual([0n, 0n]);
    expect(notes.take()).toEqual([`contexts ${SID}`, 'domain 2']);
    domainOf(unit, memory, 'identity').attach({ sid: SID });
    expect([memory.read64(at), field(memory.read64(at + 8n), 23, 8)]).toEqual([1n | (2n << 2n), 1n]);
  });

  it('iommu.md 2.3: a first-stage PASID entry; enforcing sets PGSNP and drops what is kept', () => {
    const memory = new PlainMemory();
    const { unit, notes } = notedVtd(memory, {
      ecap: FIRST_STAGE | SC,
      mode: 'scalable',
      stage: 'first',
      pasidBits: 20,
    });
    const domain = domainOf(unit, memory);
    domain.map(0x20_0000, 0x4000_0000, 0x20_1000);
    domain.attach({ sid: SID, pasid: 0x12345 });
    expect(notes.root & 0xfffn).toBe(1n << 10n);
    // Functions 0 to 127 of the bus.
    const root = memory.read64((notes.root & POINTER) + 16n * 0x12n);
    const context = memory.read64((root & POINTER) + 32n * 0x34n);
    // Present, PASIDE, 2^(7 + 7) entries.
    expect([context & 0xfffn, memory.read64((root & POINTER) + 32n * 0x34n + 8n)]).toEqual([
      1n | 8n | (7n << 9n),
      0n,
    ]);
    const directory = memory.read64((context & POINTER) + 8n * BigInt(0x12345 >> 6));
    const at = (directory & POINTER) + 64n * BigInt(0x12345 & 63);
    const words = (): bigint[] => Array.from({ length: 8 }, (_, n) => memory.read64(at + 8n * BigInt(n)));
    const top = words()[2] as bigint;
    expect([directory & 0xfffn, words()]).toEqual([1n, [1n | (1n << 6n), 2n, top, 0n, 0n, 0n, 0n, 0n]]);
    expect(vtdFirstReader(4)((one) => memory.read64(one), top, 0x20_0123n)).toMatchObject({
      address: 0x4000_0123n,
    });
    notes.take();
    // Mappings do not matter: leaves have no bit for it.
    expect(domain.enforceCacheCoherency()).toBe(true);
    expect(words()[1]).toBe(2n | (1n << 24n));
    expect(notes.take()).toEqual([`contexts ${SID}`, 'domain 2']);
    const later = { sid: SID + 0x80 };
    domain.attach(later);
    const upper = memory.read64((notes.root & POINTER) + 16n * 0x12n + 8n);
    const own = memory.read64((upper & POINTER) + 32n * 0x34n);
    const entry = memory.read64((memory.read64(own & POINTER) & POINTER) + 8n);
    expect(entry).toBe(2n | (1n << 24n));
    domain.detach({ sid: SID, pasid: 0x12345 });
    expect(words().slice(0, 3)).toEqual([0n, 0n, 0n]);
  });

  it('names the smallest aligned block of pages, or the domain', () => {
    const memory = new PlainMemory();
    const { unit, notes } = notedVtd(memory);
    const domain = domainOf(unit, memory);
    domain.attach({ sid: SID });
    for (const [iova, bytes] of [
      [0x5000, 0x1000],
      [0x5000, 0x2000],
      [0x8000, 0x4000],
      [0x7f_ffff_f000n, 0x2000],
    ] as const) {
      domain.map(iova, 0x10_0000, bytes);
      notes.take();
      domain.unmap(iova, bytes);
      // The third argument of the call is the mask.
      expect([iova, notes.take()]).toEqual([
        iova,
        [
          {
            20480: bytes === 0x1000 ? 'pages 2 0x5000 0x0' : 'pages 2 0x5000 0x2',
            32768: 'pages 2 0x8000 0x2',
          }[Number(iova)] ?? 'domain 2',
        ],
      ]);
    }
    const { unit: coarse, notes: coarseNotes } = notedVtd(memory, { cap: CAP & ~(1n << 39n) });
    const other = domainOf(coarse, memory);
    other.attach({ sid: SID });
    other.map(0x5000, 0x5000, 0x1000);
    coarseNotes.take();
    other.unmap(0x5000, 0x1000);
    expect(coarseNotes.take()).toEqual(['domain 2']);
  });

  it('with caching mode a new mapping is dropped from caches, too', () => {
    const memory = new PlainMemory();
    const { unit, notes } = notedVtd(memory, { cap: CAP | (1n << 7n) });
    const domain = domainOf(unit, memory);
    domain.attach({ sid: SID });
    notes.take();
    domain.map(0x5000, 0x5000, 0x1000);
    expect(notes.take()).toEqual(['pages 2 0x5000 0x0']);
  });

  it('takes width, page sizes and numbers of domains from the registers', () => {
    const memory = new PlainMemory();
    const format = (cap: bigint): unknown => notedVtd(memory, { cap }).unit.format;
    expect(format(CAP)).toMatchObject({ width: 48, pages: [12, 21, 30] });
    expect(format(CAP & ~(1n << 10n))).toMatchObject({ width: 39 });
    expect(format(CAP & ~(1n << 35n))).toMatchObject({ pages: [12, 21] });
    expect(format(CAP & ~(3n << 34n))).toMatchObject({ pages: [12] });
    expect(() => format(CAP & ~(0x1fn << 8n))).toThrow(/SAGAW/);
    // ND 0: 16 domains, of which 0 and 1 are kept.
    const { unit } = notedVtd(memory, { cap: CAP & ~7n });
    for (let n = 0; n < 14; n++) domainOf(unit, memory).attach({ sid: n });
    expect(() => domainOf(unit, memory).attach({ sid: 14 })).toThrow(
      expect.objectContaining({ errno: 'ENOSPC' }),
    );
    // Numbers come back when the last function leaves, and when a unit refuses.
    const { unit: other } = notedVtd(memory, { cap: CAP & ~7n });
    for (let n = 0; n < 20; n++) {
      const domain = domainOf(other, memory);
      domain.attach({ sid: 1 });
      domain.detach({ sid: 1 });
      expect(() => domain.attach({ sid: 1, pasid: 1 })).toThrow(
        expect.objectContaining({ errno: 'EOPNOTSUPP' }),
      );
    }
    // Nothing is left behind.
    domainOf(unit, memory, 'blocked').attach({ sid: 14 });
  });

  it('iommu.md 2.1: takes no addresses beyond MGAW, whatever width its tables have', () => {
    const memory = new PlainMemory();
    const narrow = notedVtd(memory, { cap: (CAP & ~(0x3fn << 16n)) | (41n << 16n) }).unit;
    const wide = notedVtd(memory).unit;
    expect(narrow.format).toMatchObject({ width: 42, levels: 4 });
    const domain = domainOf(narrow, memory);
    const last = (1n << 42n) - 4096n;
    for (const iova of [last + 4096n, 1n << 45n])
      expect(() => domain.map(iova, 0, 4096)).toThrow(
        expect.objectContaining({ code: 'out-of-range', errno: 'ERANGE', field: 'iova' }),
      );
    expect(() => domain.map(last, 0, 8192)).toThrow(expect.objectContaining({ errno: 'ERANGE' }));
    domain.map(last, 0, 4096);
    expect([domain.lookUp(last)?.address, domain.lookUp(last + 4096n)]).toEqual([0n, null]);
    const dma = domainOf(narrow, memory, 'dma');
    expect(dma.mapDma(0, 4096, { limit: 2n ** 64n - 1n })).toBe(last);
    // What fits the narrow unit fits the other, and not the other way round.
    domain.attach({ sid: 1 });
    domain.attach({ sid: 1 }, wide);
    expect(() => domainOf(wide, memory).attach({ sid: 2 }, narrow)).toThrow(
      expect.objectContaining({ errno: 'EINVAL' }),
    );
  });

  it('refuses what the registers do not offer', () => {
    const memory = new PlainMemory();
    const offered = (input: Parameters<typeof notedVtd>[1]) => () => notedVtd(memory, input);
    expect(offered({ mode: 'scalable' })).toThrow(/ECAP.SMTS/);
    expect(offered({ mode: 'scalable', ecap: ECAP | SMTS, stage: 'first' })).toThrow(/ECAP.FLTS/);
    expect(offered({ stage: 'first', ecap: FIRST_STAGE })).toThrow(/^mode: /);
    const { unit } = notedVtd(memory, { ecap: ECAP & ~(1n << 6n) });
    expect(() => domainOf(unit, memory, 'identity').attach({ sid: 1 })).toThrow(
      expect.objectContaining({ errno: 'EOPNOTSUPP' }),
    );
    expect(() => domainOf(unit, memory).attach({ sid: 1, pasid: 5 })).toThrow(
      expect.objectContaining({ errno: 'EOPNOTSUPP' }),
    );
    const { unit: scalable } = notedVtd(memory, { mode: 'scalable', ecap: FIRST_STAGE });
    expect(() => domainOf(scalable, memory).attach({ sid: 1, pasid: 0x2000 })).toThrow(/^pasid: /);
    for (const fn of [{ sid: 0x1_0000 }, { sid: 1, pasid: 0 }, { sid: 1, pasid: 0x10_0000 }])
      expect(() => domainOf(scalable, memory).attach(fn)).toThrow(
        expect.objectContaining({ code: 'out-of-range' }),
      );
  });
});

describe('SMMU entries', () => {
  const make = (
    input: Partial<SmmuDomainUnitInput> = {},
  ): { memory: PlainMemory; notes: Notes; unit: SmmuDomainUnit } => {
    const memory = new PlainMemory();
    const notes = new Notes();
    return { memory, notes, unit: new SmmuDomainUnit({ hardware: notes, memory, ...input }) };
  };

  it('iommu.md 4.4: a stream of stage 1 and a descriptor for each PASID', () => {
    const { memory, notes, unit } = make({ width: 39, pasidBits: 4 });
    expect(notes.take()).toEqual(['streams 8', 'on']);
    const at = notes.root + 64n * 0x21n;
    expect(memory.read64(at)).toBe(1n);
    const plain = new Domain({ kind: 'unmanaged', unit, memory });
    const process = new Domain({ kind: 'unmanaged', unit, memory });
    plain.attach({ sid: 0x21 });
    process.attach({ sid: 0x21, pasid: 3 });
    const low = memory.read64(at);
    expect([field(low, 5, 0), field(low, 63, 59), field(memory.read64(at + 8n), 1, 0)]).toEqual([
      1n | (5n << 1n),
      4n,
      2n,
    ]);
    const table = low & 0xf_ffff_ffff_ffc0n;
    for (const [pasid, asid] of [
      [0n, 1n],
      [3n, 2n],
    ] as const) {
      const [word, root, upper, mair] = [0n, 8n, 16n, 24n].map((n) =>
        memory.read64(table + 64n * pasid + n),
      ) as [bigint, bigint, bigint, bigint];
      // T0SZ 25, V, EPD1, 44 bits (4), AA64, ASID.
      expect([
        field(word, 5, 0),
        field(word, 31, 30),
        field(word, 34, 32),
        field(word, 41, 41),
        field(word, 63, 48),
      ]).toEqual([25n, 3n, 4n, 1n, asid]);
      expect([root > 0n, upper, mair]).toEqual([true, 0n, MAIR]);
    }
    expect(notes.take()).toEqual(['config 33', 'asid 1', 'config 33', 'asid 2']);
    plain.detach({ sid: 0x21 });
    expect([field(memory.read64(at), 3, 0), memory.read64(table)]).toEqual([1n | (5n << 1n), 0n]);
    process.detach({ sid: 0x21, pasid: 3 });
    expect(memory.read64(at)).toBe(1n);
  });

  it('iommu.md 4.1: a stream of stage 2, with its start level and concatenated tables', () => {
    for (const [width, sl0, start] of [
      [48, 2n, 0],
      [44, 2n, 0],
      [43, 1n, 1],
      [40, 1n, 1],
      [39, 1n, 1],
      [34, 0n, 2],
      [30, 0n, 2],
    ] as const) {
      const outputWidth = width > 44 ? 48 : 44;
      const { memory, notes, unit } = make({ stage: 2, width, outputWidth });
      const domain = new Domain({ kind: 'unmanaged', unit, memory });
      const iova = (1n << BigInt(width)) - 0x1000n;
      domain.map(iova, 0x7000, 0x1000, { write: false });
      domain.attach({ sid: 3 });
      const words = [0n, 8n, 16n, 24n].map((n) => memory.read64(notes.root + 64n * 3n + n));
      const [low, , middle, root] = words as [bigint, bigint, bigint, bigint];
      // Config, S2VMID, S2T0SZ, S2SL0, S2PS, S2AA64 and S2R.
      expect([width, low, field(middle, 15, 0), field(middle, 37, 32)]).toEqual([
        width,
        1n | (6n << 1n),
        1n,
        BigInt(64 - width),
      ]);
      expect([
        width,
        field(middle, 39, 38),
        field(middle, 50, 48),
        field(middle, 51, 51),
        field(middle, 58, 58),
      ]).toEqual([width, sl0, width > 44 ? 5n : 4n, 1n, 1n]);
      expect(lpaeReader(2, width, start)((one) => memory.read64(one), root, iova)).toEqual({
        address: 0x7000n,
        lg2: 12,
        read: true,
        write: false,
        force: false,
      });
      notes.take();
      domain.unmap(iova, 0x1000);
      expect(notes.take()).toEqual(['asid undefined']);
    }
  });

  it('iommu.md 10: bypass and abort; pages are named one by one while they are few', () => {
    const { memory, notes, unit } = make();
    const at = notes.root + 64n * 5n;
    const identity = new Domain({ kind: 'identity', unit, memory });
    identity.attach({ sid: 5 });
    expect([memory.read64(at), memory.read64(at + 8n)]).toEqual([1n | (4n << 1n), 1n << 44n]);
    identity.detach({ sid: 5 });
    new Domain({ kind: 'blocked', unit, memory }).attach({ sid: 5 });
    expect(memory.read64(at)).toBe(1n);
    const domain = new Domain({ kind: 'unmanaged', unit, memory });
    domain.attach({ sid: 6 });
    notes.take();
    domain.map(0x5000, 0, 0x2000);
    domain.map(0x20_0000, 0x20_0000, 0x20_1000);
    domain.unmap(0x5000, 0x2000);
    domain.unmap(0x20_0000, 0x20_1000);
    expect(notes.take()).toEqual(['address 1 0x5000', 'address 1 0x6000', 'asid 1']);
  });

  it('refuses streams and PASIDs that there are not, and both uses of a stream at once', () => {
    const { memory, unit } = make({ pasidBits: 2 });
    const domain = new Domain({ kind: 'unmanaged', unit, memory });
    const identity = new Domain({ kind: 'identity', unit, memory });
    expect(() => domain.attach({ sid: 256 })).toThrow(/^sid: /);
    expect(() => domain.attach({ sid: 1, pasid: 4 })).toThrow(/4 context descriptors/);
    expect(() => identity.attach({ sid: 1, pasid: 1 })).toThrow(
      expect.objectContaining({ errno: 'EOPNOTSUPP' }),
    );
    identity.attach({ sid: 1 });
    expect(() => domain.attach({ sid: 1, pasid: 1 })).toThrow(expect.objectContaining({ errno: 'EBUSY' }));
    domain.attach({ sid: 2, pasid: 1 });
    expect(() => identity.attach({ sid: 2 })).toThrow(expect.objectContaining({ errno: 'EBUSY' }));
    expect(() => make({ stage: 2, width: 45 })).toThrow(/^width: /);
    expect(make({ stage: 2, outputWidth: 40 }).unit.format.width).toBe(40);
    for (const input of [{ stage: 3 as 1 }, { outputWidth: 43 }, { streamBits: 5 }, { pasidBits: 11 }])
      expect(() => make(input)).toThrow(expect.objectContaining({ field: Object.keys(input)[0] }));
  });
});

describe('AMD entries', () => {
  it('iommu.md 3: the device table entry of tables, identity and blocked', () => {
    const memory = new PlainMemory();
    const notes = new Notes();
    const unit = new AmdDomainUnit({ hardware: notes, memory, levels: 3, sizes: 'all' });
    expect(notes.take()).toEqual(['devices 256', 'on']);
    const at = notes.root + 32n * 0x21n;
    const words = (): bigint[] => Array.from({ length: 4 }, (_, n) => memory.read64(at + 8n * BigInt(n)));
    // Nothing passes before a domain says so.
    expect(words()).toEqual([3n, 0n, 0n, 0n]);
    const domain = new Domain({ kind: 'unmanaged', unit, memory });
    domain.map(0x4000, 0x1_0000, 0x4000, { write: false });
    domain.attach({ sid: 0x21 });
    const [low, high] = words() as [bigint, bigint];
    expect([low & ~POINTER, high]).toEqual([3n | (3n << 9n) | (3n << 61n), 1n]);
    // FC is there whether the domain enforces or not.
    expect(amdReader(3)((one) => memory.read64(one), low & POINTER, 0x5678n)).toEqual({
      address: 0x1_1678n,
      lg2: 14,
      read: true,
      write: false,
      force: true,
    });
    expect(notes.take()).toEqual(['device 33', 'pages 1 0x0 0xffffffffffffffff']);
    expect(domain.enforceCacheCoherency()).toBe(true);
    notes.take();
    domain.unmap(0x4000, 0x4000);
    expect(notes.take()).toEqual(['pages 1 0x4000 0x7fff']);
    domain.detach({ sid: 0x21 });
    expect(words()).toEqual([3n, 0n, 0n, 0n]);
    new Domain({ kind: 'identity', unit, memory }).attach({ sid: 0x21 });
    expect(words()).toEqual([3n | (3n << 61n), 0n, 0n, 0n]);
    expect(() => domain.attach({ sid: 256 })).toThrow(/^sid: /);
    expect(() => domain.attach({ sid: 1, pasid: 1 })).toThrow(
      expect.objectContaining({ errno: 'EOPNOTSUPP' }),
    );
  });
});

describe('s390', () => {
  const make = (
    input: Partial<S390DomainUnitInput> = {},
  ): { memory: PlainMemory; notes: Notes; unit: S390DomainUnit } => {
    const memory = new PlainMemory();
    const notes = new Notes();
    return { memory, notes, unit: new S390DomainUnit({ hardware: notes, ...input }) };
  };

  it('zpci.md 5.4: registers the anchor, and refreshes what is new and what is gone', () => {
    const { memory, notes, unit } = make({ range: { first: 0x1_0000_0000n, last: 0x1ff_ffff_ffffn } });
    const domain = new Domain({ kind: 'dma', unit, memory });
    domain.attach({ sid: 8 });
    expect(notes.take()).toEqual(['register 8 0x100000000 0x1ffffffffff']);
    expect([notes.root & 0xfffn, notes.root & 0x3000n]).toEqual([0x804n, 0n]);
    const iova = domain.mapDma(0x7000, 0x1000, { limit: 0x1_0000_0fffn });
    expect([iova, notes.take()]).toEqual([0x1_0000_0000n, ['refresh 8 0x100000000 0x100000fff']]);
    expect(() => domain.mapDma(0x7000, 0x1000)).toThrow(expect.objectContaining({ errno: 'ENOSPC' }));
    expect(domain.enforceCacheCoherency()).toBe(false);
    domain.unmapDma(iova);
    domain.detach({ sid: 8 });
    expect(notes.take()).toEqual(['refresh 8 0x100000000 0x100000fff', 'deregister 8']);
  });

  it('needs no refresh of what is new where the group says so, and has neither identity nor PASIDs', () => {
    const { memory, notes, unit } = make({ refreshesNew: false });
    const domain = new Domain({ kind: 'unmanaged', unit, memory });
    domain.attach({ sid: 8 });
    notes.take();
    domain.map(0x1000, 0x7000, 0x1000);
    expect(notes.take()).toEqual([]);
    domain.detach({ sid: 8 });
    new Domain({ kind: 'blocked', unit, memory }).attach({ sid: 8 });
    expect(notes.take()).toEqual(['deregister 8']);
    const refused = expect.objectContaining({ errno: 'EOPNOTSUPP' });
    expect(() => new Domain({ kind: 'identity', unit, memory }).attach({ sid: 9 })).toThrow(refused);
    expect(() => domain.attach({ sid: 9, pasid: 1 })).toThrow(refused);
  });
});
