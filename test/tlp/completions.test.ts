/** One read cut into completions, against a model of the formulas. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  decodeTlp,
  encodeTlp,
  type OptionInput,
  ready,
  splitCompletion,
  type Tlp,
  ZtlpError,
} from '../../src/index.js';
import { TLP_TYPES } from '../../src/tlp/kinds.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { difference, type Piece, requestFor, thrownBy } from '../support/reference.js';
import { FOUR_GIB, LENGTHS, LIMITS, OFFSETS, PAGE, PLACE } from './split-support.js';

/** One completion by the formulas: DWs, first enabled byte and bytes still to come. */
interface Answer {
  readonly length: number;
  readonly lowerAddress: number;
  readonly byteCount: number;
}

/** The completions of a read of [at, at + bytes): tlp.md 5. */
function cutCompletions({ at, bytes }: Piece, mps: number, rcb: number, policy: 'fewest' | 'rcb'): Answer[] {
  const answers: Answer[] = [];
  const end = at + bytes;
  let dw = Math.floor(at / 4);
  const endDw = Math.ceil(end / 4);
  while (dw < endDw) {
    const left = endDw - dw;
    const phase = dw % (rcb / 4);
    const each =
      policy === 'rcb' ? Math.min(left, rcb / 4 - phase) : left <= mps / 4 ? left : mps / 4 - phase;
    const first = Math.max(at, 4 * dw);
    answers.push({ length: each, lowerAddress: first % 128, byteCount: end - first });
    dw += each;
  }
  return answers;
}

function answerLabel({ length, lowerAddress, byteCount }: Answer): string {
  return `${length} DW from ${lowerAddress}, ${byteCount} to come`;
}

/** The read request of [at, at + bytes) as a decoded TLP would hold it. */
function readRequest(piece: Piece): Parameters<typeof splitCompletion>[0]['request'] {
  const attr = { ns: false, ro: false, ido: false };
  return { ...requestFor(piece), requester: 0x0100, tag: 5, tc: 0, attr };
}

function completions(piece: Piece, options: OptionInput): Tlp[] {
  return splitCompletion({ request: readRequest(piece), options });
}

describe.each(BUILDS)('splits with the %s build', (variant) => {
  beforeAll(async () => ready(await readBuild(variant)));

  const CUTS: readonly (readonly [64 | 128, 'fewest' | 'rcb'])[] = [
    [64, 'fewest'],
    [64, 'rcb'],
    [128, 'fewest'],
    [128, 'rcb'],
  ];

  it.each(CUTS)(
    'TLP-09 completions with RCB %d and policy %s follow the formulas around all borders',
    (rcb, policy) => {
      const wrong: string[] = [];
      for (const mps of LIMITS) {
        for (const bytes of LENGTHS) {
          for (const at of OFFSETS) {
            // One request: within 4 KiB.
            if ((at % PAGE) + bytes > PAGE) continue;
            const actual = completions({ at, bytes }, { mps, rcb, completionPolicy: policy }).map(
              answerLabel,
            );
            const expected = cutCompletions({ at, bytes }, mps, rcb, policy).map(answerLabel);
            const found = difference(`${bytes} at ${at}, MPS ${mps}`, actual, expected);
            if (found !== undefined) wrong.push(found);
          }
        }
      }
      expect(wrong.slice(0, 5)).toEqual([]);
    },
  );

  it.each(CUTS)(
    'TLP-09 and L-23 random completions with RCB %d and policy %s obey the hard rules',
    (rcb, policy) => {
      const request = fc
        .tuple(PLACE, fc.integer({ min: 1, max: PAGE }))
        .map(([at, bytes]) => ({ at, bytes: Math.min(bytes, PAGE - (at % PAGE)) }));
      fc.assert(
        fc.property(request, fc.constantFrom(...LIMITS), ({ at, bytes }, mps) => {
          const tlps = completions({ at, bytes }, { mps, rcb, completionPolicy: policy });
          let next = at;
          for (const [n, tlp] of tlps.entries()) {
            // The address of a completion is where the one before ended, and its count reaches to the end of the read.
            expect(tlp.lowerAddress).toBe(next % 128);
            expect(tlp.byteCount).toBe(at + bytes - next);
            expect(tlp.length).toBeGreaterThan(0);
            expect(4 * tlp.length).toBeLessThanOrEqual(mps);
            const dwEnd = next - (next % 4) + 4 * tlp.length;
            if (n < tlps.length - 1) expect(dwEnd % rcb).toBe(0);
            else expect(dwEnd - (at + bytes)).toBeLessThan(4);
            next = dwEnd;
          }
          // L-23: dwords enter whole, so what is over is less than a dword at each end.
          const payload = tlps.reduce((sum, tlp) => sum + tlp.payloadBytes, 0);
          expect(payload).toBe(4 * requestFor({ at, bytes }).length);
          const first = 4 * Math.floor(at / 4);
          const dwords = payload;
          const expected =
            policy === 'rcb'
              ? Math.floor((at + bytes - 1) / rcb) - Math.floor(at / rcb) + 1
              : dwords <= mps
                ? 1
                : 1 + Math.ceil((dwords - (mps - (first % rcb))) / mps);
          expect(tlps.length).toBe(expected);
        }),
        { numRuns: 250 },
      );
    },
  );

  it('L-22 512 bytes at 0 and at 4 take 2 and 3 completions, with one per RCB 8 and 9; 64 at 60 take 1 and 2', () => {
    const count = (at: number, bytes: number, completionPolicy: 'fewest' | 'rcb'): number =>
      completions({ at, bytes }, { completionPolicy, rcb: 64, mps: 256 }).length;
    expect([count(0, 512, 'fewest'), count(4, 512, 'fewest')]).toEqual([2, 3]);
    expect([count(0, 512, 'rcb'), count(4, 512, 'rcb')]).toEqual([8, 9]);
    expect([count(60, 64, 'fewest'), count(60, 64, 'rcb')]).toEqual([1, 2]);
  });

  it('L-23 the bytes of all completions of an aligned read are the requested ones', () => {
    for (const bytes of [4, 64, 512, 4096]) {
      const tlps = completions({ at: 0x2000, bytes }, { completionPolicy: 'rcb' });
      expect(tlps.reduce((sum, tlp) => sum + tlp.payloadBytes, 0)).toBe(bytes);
    }
  });

  it('TLP-16 completions copy identity, traffic class and attributes of their request, AT is 0', () => {
    const attr = { ns: true, ro: false, ido: true };
    const request = { ...readRequest({ at: 0x40, bytes: 300 }), requester: 0x1234, tag: 0x3a5, tc: 6, attr };
    const tlps = splitCompletion({ request, completer: 0x4321, options: { mps: 128 } });
    expect(tlps.length).toBe(3);
    for (const tlp of tlps) {
      expect(tlp).toMatchObject({ type: 'CplD', requester: 0x1234, tag: 0x3a5, tc: 6, completer: 0x4321 });
      expect(tlp).toMatchObject({ status: 0, bcm: false, at: 0, attr, flow: 'CPL' });
    }
    const plain = splitCompletion({ request: readRequest({ at: 0, bytes: 4 }) });
    expect(plain[0]).toMatchObject({
      tag: 5,
      tc: 0,
      completer: 0,
      attr: { ns: false, ro: false, ido: false },
    });
  });

  it('TLP-12, but for the flush: a zero-length read completes with one dword, Byte Count 1, Lower Address bits 1:0 at 0', () => {
    for (const address of [0x1000, 0x1004, 0x107c]) {
      const request = { ...readRequest({ at: address, bytes: 4 }), firstBe: 0 };
      const tlps = splitCompletion({ request });
      expect(tlps.map(answerLabel)).toEqual([
        answerLabel({ length: 1, byteCount: 1, lowerAddress: address % 128 }),
      ]);
    }
  });

  it('TLP-09 gaps between enabled bytes count as if they were enabled', () => {
    const gaps = splitCompletion({ request: { ...readRequest({ at: 0x20, bytes: 4 }), firstBe: 0b1001 } });
    expect(gaps.map(answerLabel)).toEqual([answerLabel({ length: 1, byteCount: 4, lowerAddress: 0x20 })]);
    const two = splitCompletion({
      request: { ...readRequest({ at: 0x20, bytes: 8 }), firstBe: 0b1010, lastBe: 0b0101 },
    });
    expect(two.map(answerLabel)).toEqual([answerLabel({ length: 2, byteCount: 6, lowerAddress: 0x21 })]);
  });

  it('count all bytes of a read with TH, whose byte enables are a steering tag', () => {
    const long = { ...readRequest({ at: 0x40, bytes: 12 }), th: true, firstBe: 0b0101, lastBe: 0b0010 };
    expect(splitCompletion({ request: long }).map(answerLabel)).toEqual([
      answerLabel({ length: 3, byteCount: 12, lowerAddress: 0x40 }),
    ]);
    const short = { ...readRequest({ at: 0x44, bytes: 4 }), th: true, firstBe: 0, lastBe: 0b1010 };
    expect(splitCompletion({ request: short }).map(answerLabel)).toEqual([
      answerLabel({ length: 1, byteCount: 4, lowerAddress: 0x44 }),
    ]);
    const received = decodeTlp(
      encodeTlp({ type: 'MRd', address: 0x100, length: 2, th: true, steeringTag: 0x48 }),
    );
    expect(splitCompletion({ request: received }).map(answerLabel)).toEqual([
      answerLabel({ length: 2, byteCount: 8, lowerAddress: 0 }),
    ]);
  });

  it('answer a locked read with CplDLk and refuse requests that read no memory', () => {
    const request = readRequest({ at: 0x3c, bytes: 200 });
    const plain = splitCompletion({ request, options: { mps: 128 } });
    const locked = splitCompletion({ request: { ...request, type: 'MRdLk' }, options: { mps: 128 } });
    expect(locked).toEqual(plain.map((tlp) => ({ ...tlp, type: 'CplDLk', typeField: 0x0b })));
    expect(splitCompletion({ request, options: { mps: 128 } })).toEqual(plain);
    for (const type of TLP_TYPES.filter((name) => name !== 'MRd' && name !== 'MRdLk')) {
      expect(
        thrownBy(() => splitCompletion({ request: { ...request, type } })),
        type,
      ).toMatchObject({
        name: 'ZtlpError',
        code: 'invalid-value',
        field: 'request.type',
      });
    }
  });

  it('TLP-14 a read that crosses 4 KiB is malformed and gets no completion', () => {
    for (const address of [0xffc, 0x1ff8, FOUR_GIB + 0xff0, 2n ** 63n + 0xff0n]) {
      const inPage = Number(BigInt(address) % 4096n);
      const longest = (4096 - inPage) / 4;
      const request = { ...readRequest({ at: 0x40, bytes: 300 }), address, lastBe: longest > 1 ? 15 : 0 };
      expect(splitCompletion({ request: { ...request, length: longest } }).length).toBeGreaterThan(0);
      for (const length of [longest + 1, 1024]) {
        const error = thrownBy(() => splitCompletion({ request: { ...request, length } }));
        expect(error).toMatchObject({ name: 'ZtlpError', code: 'malformed', field: 'request.length' });
      }
    }
  });

  it('refuse to complete a request whose fields no request has', () => {
    const request = readRequest({ at: 0, bytes: 4 });
    for (const change of [
      { length: 0 },
      { length: 1025 },
      { firstBe: 16 },
      { tag: 0x400 },
      { tc: 8 },
      { address: -4 },
    ]) {
      const error = thrownBy(() => splitCompletion({ request: { ...request, ...change } }));
      expect(error).toBeInstanceOf(ZtlpError);
      expect((error as ZtlpError).field).toBe(`request.${Object.keys(change)[0]}`);
    }
    expect(thrownBy(() => splitCompletion({ request, completer: 0x1_0000 }))).toMatchObject({
      field: 'completer',
    });
    expect(thrownBy(() => splitCompletion({ request, options: { rcb: 32 as 64 } }))).toMatchObject({
      field: 'rcb',
    });
  });
});
