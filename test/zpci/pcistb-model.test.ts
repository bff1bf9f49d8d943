/** PCI STORE BLOCK against a model of zpci.md 2.7 and 3.1 on random machines. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createMachine,
  type FunctionState,
  memoryDevice,
  type PciFunction,
  type ZpciAnswer,
} from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import {
  ADDRESSING,
  BAD_SPACE,
  BLOCKED,
  DONE,
  differs,
  ENABLE,
  NO_FUNCTION,
  OPERAND,
  PRIVILEGED,
  pattern,
  rigsOf,
  SOURCE,
  SPECIFICATION,
} from './pcistb-support.js';

describe.each(BUILDS)('PCISTB on the %s build', (build) => {
  const { core } = rigsOf(build);

  describe('against a model of 2.7 and 3.1', () => {
    const SIZES: readonly (readonly [min: number, max: number])[] = [
      [1, 8],
      [1, 4],
      [4, 8],
      [8, 8],
      [0, 0],
      [2, 4],
    ];
    const IMPLS = [1, 2, 4, 8, 0] as const;
    const MAXSTBLS = [16, 128, 4096, 2048] as const;
    const BAR_SIZES = [0x2000, undefined, 64, undefined, undefined, 0x1000] as const;
    const MODEL_HOST_BYTES = 0x5008;
    const BOTH = [false, true] as const;

    interface Group {
      readonly zpciMode: 'emulated' | 'native' | 'interpreted' | 'vfio';
      readonly relaxed: boolean;
      readonly interceptStrict: boolean;
      readonly relaxedMaximum: 'maxstbl' | 'page';
      readonly relaxedZeroLength: 'noop' | 'specificationPe';
      readonly maxstbl: number;
      readonly valid: readonly [min: number, max: number];
      readonly impl: number;
    }

    /** The 64 combinations of the choices, each with the numbers of round `round`. */
    function groups(round: number): Group[] {
      const list: Group[] = [];
      for (const zpciMode of ['emulated', 'native', 'interpreted', 'vfio'] as const) {
        for (const relaxed of BOTH) {
          for (const interceptStrict of BOTH) {
            for (const relaxedMaximum of ['maxstbl', 'page'] as const) {
              for (const relaxedZeroLength of ['noop', 'specificationPe'] as const) {
                const n = list.length + round;
                list.push({
                  zpciMode,
                  relaxed,
                  interceptStrict,
                  relaxedMaximum,
                  relaxedZeroLength,
                  maxstbl: MAXSTBLS[n % MAXSTBLS.length] as number,
                  valid: SIZES[(n * 5 + round) % SIZES.length] as readonly [number, number],
                  impl: IMPLS[(n + (n >> 3)) % IMPLS.length] as number,
                });
              }
            }
          }
        }
      }
      return list;
    }

    interface Case {
      readonly state: FunctionState;
      readonly handle: 'right' | 'not enabled' | 'unknown';
      readonly problemState: boolean;
      readonly as: number;
      readonly offset: bigint;
      readonly lengthField: number;
      /** Guest address, or with `asBytes` only the address for the alignment rule. */
      readonly source: bigint;
      readonly asBytes: boolean;
    }

    interface Prediction {
      /** Undefined: the sheet does not say (a zero-length store outside the BAR or from outside memory). */
      readonly answer: ZpciAnswer | undefined;
      readonly pieces: readonly number[];
    }

    /** QEMU's walk (8.2): 8 at multiples of 8, 4 at 4, 2 at 2 and 6, else 1; what is left takes the next smaller. */
    function walk(offset: number, length: number): number[] {
      const pieces: number[] = [];
      for (let at = offset; at < offset + length; ) {
        let width = [8, 1, 2, 1, 4, 1, 2, 1][at % 8] as number;
        while (width > offset + length - at) width /= 2;
        pieces.push(width);
        at += width;
      }
      return pieces;
    }

    function predict(group: Group, input: Case): Prediction {
      const refuse = (answer: ZpciAnswer | undefined): Prediction => ({ answer, pieces: [] });
      const { offset, source, state } = input;
      const length = input.lengthField % 0x2000;
      if (input.problemState) return refuse(PRIVILEGED);
      if (input.handle !== 'right') return refuse(NO_FUNCTION);
      if (state === 'reserved' || state === 'standby' || state === 'disabled') return refuse(NO_FUNCTION);
      if (state === 'error' || state === 'permanent-error') return refuse(BLOCKED);
      if (input.as > 5) return refuse(BAD_SPACE);
      const intercepted = group.zpciMode === 'emulated' || group.zpciMode === 'vfio';
      const strict = !group.relaxed || (intercepted && group.interceptStrict);
      const offsetInPage = Number(offset % 4096n);
      if (strict) {
        if (offset % 8n !== 0n) return refuse(SPECIFICATION);
        if (length < 16 || length % 8 !== 0 || length > group.maxstbl) return refuse(SPECIFICATION);
      } else {
        if (length === 0 && group.relaxedZeroLength === 'specificationPe') return refuse(SPECIFICATION);
        if (length > (group.relaxedMaximum === 'page' ? 4096 : group.maxstbl)) return refuse(SPECIFICATION);
      }
      if (offsetInPage + length > 4096) return refuse(SPECIFICATION);
      if (strict && source % 8n !== 0n) return refuse(SPECIFICATION);
      const size = BAR_SIZES[input.as as 0];
      const inside = size !== undefined && offset + BigInt(length) <= BigInt(size);
      const readable = input.asBytes || source + BigInt(length) <= BigInt(MODEL_HOST_BYTES);
      if (length === 0) {
        const plain = inside && offset < BigInt(size) && (input.asBytes || source < BigInt(MODEL_HOST_BYTES));
        return refuse(plain ? DONE : undefined);
      }
      if (!inside) return refuse(OPERAND);
      const pieces = walk(Number(offset), length);
      if (group.zpciMode === 'emulated') {
        const [min, max] = group.valid;
        if (max !== 0 && pieces.some((piece) => piece < min || piece > max)) return refuse(OPERAND);
      }
      return readable ? { answer: DONE, pieces } : refuse(ADDRESSING);
    }

    const near = (...centres: bigint[]): fc.Arbitrary<bigint> =>
      fc
        .tuple(fc.constantFrom(...centres), fc.bigInt(-20n, 20n), fc.constantFrom(1n, 8n))
        .map(([centre, step, unit]) => BigInt.asUintN(64, centre + step * unit));
    const arbitraryOffset = fc.oneof(
      { weight: 4, arbitrary: fc.bigInt(0n, 0x420n).map((n) => n * 8n) },
      { weight: 3, arbitrary: fc.bigInt(0n, 0x2100n) },
      { weight: 4, arbitrary: near(0n, 0x40n, 0xfc0n, 0x1000n, 0x2000n) },
      { weight: 2, arbitrary: near(1n << 32n, (1n << 32n) + 0x100n, (1n << 33n) + 0x800n, 1n << 63n) },
      { weight: 1, arbitrary: near(0n, (1n << 64n) - 0x1000n, (1n << 64n) - 0x100n) },
    );
    const arbitraryLength = fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 0, max: 17 }).map((n) => n * 8) },
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 140 }) },
      { weight: 2, arbitrary: fc.constantFrom(2040, 2048, 2056, 4088, 4095, 4096, 4097, 8191) },
      { weight: 1, arbitrary: fc.nat(0x1fff) },
      { weight: 1, arbitrary: fc.tuple(fc.nat(140), fc.nat(0x7ffff)).map(([n, high]) => n + high * 0x2000) },
    );
    const arbitrarySource = fc.oneof(
      { weight: 4, arbitrary: fc.bigInt(0n, 0x9ffn).map((n) => n * 8n) },
      { weight: 2, arbitrary: fc.bigInt(0n, 0x4fffn) },
      { weight: 4, arbitrary: near(BigInt(MODEL_HOST_BYTES), BigInt(MODEL_HOST_BYTES - 128)) },
      { weight: 2, arbitrary: near(1n << 32n, 1n << 63n, (1n << 32n) + 0x1000n, 0n) },
    );
    const arbitraryCase: fc.Arbitrary<Case> = fc.record({
      state: fc.oneof(
        { weight: 8, arbitrary: fc.constant<FunctionState>('enabled') },
        {
          weight: 2,
          arbitrary: fc.constantFrom<FunctionState>(
            'error-ls-open',
            'error',
            'permanent-error',
            'disabled',
            'standby',
            'reserved',
          ),
        },
      ),
      handle: fc.oneof(
        { weight: 15, arbitrary: fc.constant('right' as const) },
        { weight: 1, arbitrary: fc.constantFrom('not enabled' as const, 'unknown' as const) },
      ),
      problemState: fc.integer({ min: 0, max: 15 }).map((n) => n === 15),
      as: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 2, 5) }, { weight: 1, arbitrary: fc.nat(15) }),
      offset: arbitraryOffset,
      lengthField: arbitraryLength,
      source: arbitrarySource,
      asBytes: fc.boolean(),
    });

    it('answers, writes and counts as the model says, in every mode and group, and touches nothing else', async () => {
      const host = pattern(MODEL_HOST_BYTES, 0x41);
      const before = BAR_SIZES.map((size, n) => (size === undefined ? undefined : pattern(size, n)));
      const fill = (fn: PciFunction): void =>
        before.forEach((bytes, n) => {
          if (bytes !== undefined) fn.barMemory(n).set(bytes);
        });
      const rounds = await Promise.all(
        [0, 1, 2, 3, 4, 5].map(async (round) => {
          const list = groups(round);
          const slots = list.map(({ valid: [min, max], impl, ...options }) => ({
            options,
            device: memoryDevice({
              bars: BAR_SIZES.map((size) =>
                size === undefined ? undefined : { size, valid: { min, max }, impl: { min: 1, max: impl } },
              ),
            }),
          }));
          const machine = await createMachine({
            core: core(),
            platform: 's390x',
            hostMemoryBytes: MODEL_HOST_BYTES,
            slots,
          });
          machine.memory.write(0, host);
          machine.functions.forEach(fill);
          return { machine, list };
        }),
      );
      const seen = new Map<string, number>();
      fc.assert(
        fc.property(fc.nat(5), fc.nat(63), arbitraryCase, (round, slot, input) => {
          const { machine, list } = rounds[round] as (typeof rounds)[0];
          const group = list[slot] as Group;
          const fn = machine.functions[slot] as PciFunction;
          const right = fn.handle;
          fn.state = input.state;
          const fh = { right, 'not enabled': right - ENABLE, unknown: (right ^ 0x4000) >>> 0 }[input.handle];
          const length = input.lengthField % 0x2000;
          const stats = fn.stats;
          const total = machine.stats().tlps;
          const answer = machine.cpu.pcistb({
            fh,
            as: input.as,
            offset: input.offset,
            length: input.lengthField,
            source: input.asBytes ? SOURCE : input.source,
            sourceAddress: input.source,
            problemState: input.problemState,
          });
          fn.state = 'enabled';
          const { answer: expected, pieces } = predict(group, input);
          if (expected === undefined) expect([DONE, OPERAND, ADDRESSING]).toContainEqual(answer);
          else expect(answer).toEqual(expected);
          const stored = answer.cc === 0 && length > 0;
          BAR_SIZES.forEach((size, n) => {
            if (size === undefined) return;
            let contents = before[n] as Uint8Array;
            if (stored && n === input.as) {
              contents = contents.slice();
              const from = Number(input.source);
              const data = input.asBytes ? SOURCE.subarray(0, length) : host.subarray(from, from + length);
              contents.set(data, Number(input.offset));
            }
            expect(differs(fn.barMemory(n), contents), `contents of BAR ${n}`).toBe(false);
          });
          const now = fn.stats;
          expect(now.storeBlocks - stats.storeBlocks).toBe(answer.cc === 0 ? 1 : 0);
          const emulated = group.zpciMode === 'emulated';
          const calls = pieces.map((piece) =>
            Math.ceil(piece / Math.min(piece, group.impl === 0 ? 4 : group.impl)),
          );
          const sum = calls.reduce((a, b) => a + b, 0);
          expect(now.deviceCalls - stats.deviceCalls).toBe(emulated ? sum : 0);
          const at = Number(input.offset % 4096n);
          const blocks = stored ? Math.floor((at + length - 1) / 256) - Math.floor(at / 256) + 1 : 0;
          // vfio: one pwrite, so one TLP, for each piece of the walk (8.2).
          const tlps = { emulated: 0, vfio: pieces.length, native: blocks, interpreted: blocks }[
            group.zpciMode
          ];
          expect(now.tlps - stats.tlps).toBe(tlps);
          expect(machine.stats().tlps - total).toBe(now.tlps - stats.tlps);
          if (stored) fill(fn);
          const kind = answer.programInterruption?.name ?? `cc ${answer.cc} status ${answer.status}`;
          seen.set(kind, (seen.get(kind) ?? 0) + 1);
        }),
        { numRuns: 20_000 },
      );
      for (const { machine, list } of rounds) {
        machine.functions.forEach((fn, slot) => {
          before.forEach((bytes, n) => {
            if (bytes !== undefined)
              expect(differs(fn.barMemory(n), bytes), JSON.stringify(list[slot])).toBe(false);
          });
        });
        expect(differs(machine.memory.read(0, MODEL_HOST_BYTES), host), 'host memory').toBe(false);
      }
      // Every answer was met often enough for the comparison to mean something.
      expect([...seen.keys()].sort()).toEqual(
        [
          'addressing',
          'cc 0 status 0',
          'cc 1 status 12',
          'cc 1 status 20',
          'cc 3 status 0',
          'operand',
          'privileged operation',
          'specification',
        ].sort(),
      );
      for (const [kind, count] of seen) expect(count, kind).toBeGreaterThan(100);
    });
  });
});
