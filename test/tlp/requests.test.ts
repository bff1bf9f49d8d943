/** One transfer cut into requests, against a model of the formulas. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseLink, wireNs } from '../../src/base/link.js';
import {
  createMachine,
  encodeTlp,
  memoryDevice,
  type OptionInput,
  ready,
  splitRequest,
  type Tlp,
  type TransferInput,
  ZtlpError,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import {
  coverage,
  difference,
  type Enables,
  label,
  labels,
  type Piece,
  pattern,
  requestFor,
  thrownBy,
} from '../support/reference.js';
import { FOUR_GIB, LENGTHS, LIMITS, OFFSETS, PAGE, PLACE } from './split-support.js';

type Limit = (typeof LIMITS)[number];

type Policy = 'aligned' | 'greedy' | 'cocotbext';

type Op = 'read' | 'write';

/** Policies of each direction (timing.md 3, tlp.md 6). */
const POLICIES: readonly (readonly [Op, Policy])[] = [
  ['write', 'aligned'],
  ['write', 'greedy'],
  ['read', 'aligned'],
  ['read', 'greedy'],
  ['read', 'cocotbext'],
];

function optionsFor(op: Op, policy: Policy, limit: Limit): OptionInput {
  if (op === 'read') return { mrrs: limit, readSplit: policy };
  return { mps: limit, writeSplit: policy as 'aligned' | 'greedy' };
}

/** Bytes of the next request at `at` with `left` bytes to go. */
function pieceAt(at: number, left: number, limit: number, policy: Policy): number {
  const page = PAGE - (at % PAGE);
  const fits = limit - (at % 4);
  if (policy === 'greedy') return Math.min(left, fits, page);
  if (policy === 'aligned') return Math.min(left, limit - (at % limit), page);
  return Math.min(left <= fits ? left : Math.min(left, limit - (at % 128)), page);
}

/** The requests of one transfer by the formulas. */
function cutRequests({ at, bytes }: Piece, limit: number, policy: Policy): Piece[] {
  const pieces: Piece[] = [];
  for (let done = 0; done < bytes; ) {
    const size = pieceAt(at + done, bytes - done, limit, policy);
    pieces.push({ at: at + done, bytes: size });
    done += size;
  }
  return pieces;
}

/** L-24: no request asks for or carries more than the limit, none crosses 4 KiB. */
function breaksHardRule(tlp: Enables, limit: number): boolean {
  const inPage = Number(BigInt(tlp.address) % BigInt(PAGE));
  return 4 * tlp.length > limit || inPage + 4 * tlp.length > PAGE;
}

describe.each(BUILDS)('splits with the %s build', (variant) => {
  beforeAll(async () => ready(await readBuild(variant)));

  it.each(POLICIES)('L-24 every %s split %s follows the formulas around all borders', (op, policy) => {
    const wrong: string[] = [];
    for (const limit of LIMITS) {
      const options = optionsFor(op, policy, limit);
      for (const bytes of LENGTHS) {
        for (const at of OFFSETS) {
          const tlps = splitRequest({ op, address: at, bytes, options });
          const expected = cutRequests({ at, bytes }, limit, policy).map(requestFor);
          const found = difference(`${bytes} at ${at}, limit ${limit}`, labels(tlps), labels(expected));
          if (found !== undefined) wrong.push(found);
          if (tlps.some((tlp) => breaksHardRule(tlp, limit))) wrong.push(`${bytes} at ${at}: hard rule`);
        }
      }
    }
    expect(wrong.slice(0, 5)).toEqual([]);
  });

  it.each(POLICIES)('TLP-08 a random %s split %s ascends and covers each byte once', (op, policy) => {
    fc.assert(
      fc.property(
        PLACE,
        fc.integer({ min: 1, max: 3 * PAGE }),
        fc.constantFrom(...LIMITS),
        fc.constantFrom(0n, 2n ** 53n, 2n ** 64n - 2n ** 33n),
        (at, bytes, limit, high) => {
          const address = high + BigInt(at);
          const tlps = splitRequest({ op, address, bytes, options: optionsFor(op, policy, limit) });
          expect(coverage(tlps, address, bytes).every((count) => count === 1)).toBe(true);
          const expected = cutRequests({ at, bytes }, limit, policy).map(requestFor);
          expect(difference('split', labels(tlps, high), labels(expected))).toBeUndefined();
          const addresses = tlps.map((tlp) => BigInt(tlp.address));
          expect(addresses.every((next, n) => n === 0 || next > (addresses[n - 1] ?? next))).toBe(true);
          for (const tlp of tlps) {
            expect(breaksHardRule(tlp, limit)).toBe(false);
            expect(tlp.headerDw).toBe(BigInt(tlp.address) < BigInt(FOUR_GIB) ? 3 : 4);
            expect(tlp.type).toBe(op === 'read' ? 'MRd' : 'MWr');
            // The address bits below a dword stand for no hint.
            expect([tlp.ph, tlp.th, tlp.at, tlp.td, tlp.ep]).toEqual([0, false, 0, false, false]);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('TLP-08 the write policy leaves reads alone and the read policy writes', () => {
    for (const writeSplit of ['aligned', 'greedy'] as const) {
      for (const readSplit of ['aligned', 'greedy'] as const) {
        const options = { writeSplit, readSplit, mps: 128, mrrs: 256 } as const;
        const piece = { at: 0x73, bytes: 1000 };
        const of = (op: Op): string[] =>
          labels(splitRequest({ op, address: piece.at, bytes: piece.bytes, options }));
        expect(of('write')).toEqual(labels(cutRequests(piece, 128, writeSplit).map(requestFor)));
        expect(of('read')).toEqual(labels(cutRequests(piece, 256, readSplit).map(requestFor)));
      }
    }
  });

  it.each(POLICIES)(
    'TLP-08 a %s split %s of 1 MiB needs more requests than the ring holds and loses none',
    (op, policy) => {
      const address = FOUR_GIB - 0x8_0001;
      const bytes = 1 << 20;
      const tlps = splitRequest({ op, address, bytes, options: optionsFor(op, policy, 128) });
      expect(tlps.length).toBeGreaterThan(8192);
      const expected = cutRequests({ at: address, bytes }, 128, policy).map(requestFor);
      expect(tlps.length).toBe(expected.length);
      const wrong = tlps.findIndex((tlp, n) => label(tlp) !== label(expected[n] ?? tlp));
      expect(wrong).toBe(-1);
      expect(coverage(tlps, address, bytes).every((count) => count === 1)).toBe(true);
    },
  );

  it('TLP-08 a transfer may end at the last byte of the address space', () => {
    for (const op of ['read', 'write'] as const) {
      const high = 2n ** 64n - 4096n;
      const options = { mps: 256, mrrs: 256 } as const;
      const whole = splitRequest({ op, address: high, bytes: 4096, options });
      expect(whole.length).toBe(16);
      expect(coverage(whole, high, 4096).every((count) => count === 1)).toBe(true);
      expect(labels(splitRequest({ op, address: 2n ** 64n - 2n, bytes: 2 }), high)).toEqual(['ffc:1/c.0']);
    }
  });

  it('refuse a transfer that runs past the end of the address space', () => {
    const error = thrownBy(() => splitRequest({ op: 'write', address: 2n ** 64n - 4n, bytes: 8 }));
    expect(error).toBeInstanceOf(ZtlpError);
  });

  it('TLP-12 a transfer of no bytes is one request without enabled bytes', () => {
    for (const op of ['read', 'write'] as const) {
      for (const address of [0x1000, 0x1003, FOUR_GIB + 0xfff]) {
        const tlps = splitRequest({ op, address, bytes: 0 });
        expect(labels(tlps)).toEqual([
          label({ address: address - (address % 4), length: 1, firstBe: 0, lastBe: 0 }),
        ]);
      }
    }
  });

  it('TLP-10 4096 bytes at a page are one write with Length field 0 under MPS 4096, sixteen under 256', () => {
    const write = (mps: Limit): Tlp[] =>
      splitRequest({ op: 'write', address: 0x1000, bytes: 4096, options: { mps } });
    expect(labels(write(4096))).toEqual(['1000:1024/f.f']);
    const header = encodeTlp({ type: 'MWr', address: 0x1000, length: 1024 }, new Uint8Array(4096));
    expect((((header[2] ?? 0) & 3) << 8) | (header[3] ?? 0)).toBe(0);
    expect(write(256).length).toBe(16);
  });

  it('TLP-10 a strict store block of 4096 bytes is one write under MPS 4096, sixteen under 256', async () => {
    for (const [mps, count] of [
      [4096, 1],
      [256, 16],
    ] as const) {
      const machine = await createMachine({
        core: await readBuild(variant),
        platform: 's390x',
        slots: [{ device: memoryDevice(), options: { zpciMode: 'native', maxstbl: 4096, mps } }],
        hostMemoryBytes: PAGE,
      });
      const [fn] = machine.functions;
      if (fn === undefined) throw new Error('no function');
      const source = pattern(PAGE);
      machine.trace.start();
      const answer = machine.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0x1000, length: 4096, source });
      expect(answer.cc).toBe(0);
      const traced = machine.trace.take();
      expect(traced.length).toBe(count);
      const from = BigInt(fn.bars[0]?.address ?? 0) + 0x1000n;
      const tlps = traced.map(({ tlp }) => tlp);
      const lengths = traced.map(({ tlp, data }) => {
        const header = encodeTlp(tlp, data);
        return (((header[2] ?? 0) & 3) << 8) | (header[3] ?? 0);
      });
      expect(lengths).toEqual(count === 1 ? [0] : new Array<number>(16).fill(64));
      expect(coverage(tlps, from, PAGE).every((enabled) => enabled === 1)).toBe(true);
      expect(tlps.every(({ firstBe, lastBe }) => firstBe === 15 && lastBe === 15)).toBe(true);
      expect(Buffer.compare(Buffer.concat(traced.map(({ data }) => data)), source)).toBe(0);
      expect(Buffer.compare(fn.barMemory(0).subarray(0x1000, 0x2000), source)).toBe(0);
    }
  });

  it('L-17 4096 bytes at 0 take 16 writes, 4480 wire bytes, 568.75 ns on gen 3 x8, at 1 they take 17', () => {
    const at = (offset: number): Tlp[] =>
      splitRequest({ op: 'write', address: FOUR_GIB + offset, bytes: 4096 });
    expect(at(0).length).toBe(16);
    const wireBytes = at(0).reduce((sum, tlp) => sum + tlp.wireBytes, 0);
    expect(wireBytes).toBe(4480);
    expect(wireNs(parseLink('gen3x8'), wireBytes)).toBe(568.75);
    expect(at(1).length).toBe(17);
    // One of the cuts is the page border.
    expect(at(1).map(({ address }) => Number(address) - FOUR_GIB)).toContain(PAGE);
  });

  it('L-19 257 bytes take two writes of 308 wire bytes: 257 data, 3 padding, 48 around them', () => {
    const tlps = splitRequest({ op: 'write', address: FOUR_GIB, bytes: 257 });
    expect(labels(tlps, FOUR_GIB)).toEqual(['0:64/f.f', '100:1/1.0']);
    expect(tlps.reduce((sum, tlp) => sum + tlp.wireBytes, 0)).toBe(308);
  });

  it('L-20 and L-21 two bytes at 255 are one greedy write or two aligned ones, four at 4094 are two of either', () => {
    const count = (address: number, bytes: number, writeSplit: 'greedy' | 'aligned'): number =>
      splitRequest({ op: 'write', address, bytes, options: { writeSplit } }).length;
    expect([count(255, 2, 'greedy'), count(255, 2, 'aligned')]).toEqual([1, 2]);
    expect([count(4094, 4, 'greedy'), count(4094, 4, 'aligned')]).toEqual([2, 2]);
  });

  it('TLP-08 a greedy piece is shorter by the dword offset of its start: 256 bytes at 1 are two writes', () => {
    const tlps = splitRequest({ op: 'write', address: 1, bytes: 256, options: { writeSplit: 'greedy' } });
    expect(labels(tlps)).toEqual(['0:64/e.f', '100:1/1.0']);
  });

  it('carry requester, traffic class, attributes and tags into every request', () => {
    const input: TransferInput = {
      op: 'read',
      address: 0x100,
      bytes: 600,
      requester: 0xabcd,
      tc: 5,
      attr: { ro: true, ido: true },
      firstTag: 254,
      options: { mrrs: 128 },
    };
    const reads = splitRequest(input);
    expect(reads.map(({ tag }) => tag)).toEqual([254, 255, 0, 1, 2]);
    const writes = splitRequest({ ...input, op: 'write', options: { mps: 128 } });
    expect(writes.map(({ tag }) => tag)).toEqual([0, 0, 0, 0, 0]);
    for (const tlp of [...reads, ...writes]) {
      expect(tlp).toMatchObject({ requester: 0xabcd, tc: 5, at: 0, td: false, ep: false });
      expect(tlp.attr).toEqual({ ns: false, ro: true, ido: true });
    }
    const plain = splitRequest({ op: 'read', address: 0, bytes: 4 });
    expect(plain[0]).toMatchObject({
      requester: 0,
      tc: 0,
      tag: 0,
      attr: { ns: false, ro: false, ido: false },
    });
    const noSnoop = splitRequest({ op: 'write', address: 0, bytes: 4, attr: { ns: true } });
    expect(noSnoop[0]?.attr).toEqual({ ns: true, ro: false, ido: false });
  });

  it('refuse transfers with values that no request can have', () => {
    const good = { op: 'write', address: 0, bytes: 4 };
    const cases: readonly (readonly [object, string, string])[] = [
      [{ ...good, op: 'copy' }, 'invalid-value', 'op'],
      [{ ...good, bytes: -1 }, 'out-of-range', 'bytes'],
      [{ ...good, bytes: 1.5 }, 'out-of-range', 'bytes'],
      [{ ...good, bytes: (1 << 20) + 1 }, 'out-of-range', 'bytes'],
      [{ ...good, address: -1 }, 'invalid-value', 'address'],
      [{ ...good, address: 2n ** 64n }, 'invalid-value', 'address'],
      [{ ...good, requester: 0x1_0000 }, 'out-of-range', 'requester'],
      [{ ...good, tc: 8 }, 'out-of-range', 'tc'],
      [{ ...good, firstTag: 256 }, 'out-of-range', 'firstTag'],
      [{ ...good, options: { mps: 100 } }, 'invalid-value', 'mps'],
      [{ ...good, options: { mrrs: 8192 } }, 'invalid-value', 'mrrs'],
      [{ ...good, options: { writeSplit: 'cocotbext' } }, 'invalid-value', 'writeSplit'],
      [{ ...good, options: { mqs: 128 } }, 'unknown-name', 'mqs'],
    ];
    for (const [input, code, field] of cases) {
      expect(
        thrownBy(() => splitRequest(input as TransferInput)),
        field,
      ).toMatchObject({
        name: 'ZtlpError',
        code,
        field,
      });
    }
  });
});
