/** The short way of `cpu.pcistb` against the long one: the same answers, bytes and counters, whoever holds the bytes. */
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createMachine,
  type FunctionState,
  type Machine,
  memoryDevice,
  type OptionInput,
  type PciFunction,
  type PcistbInput,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

const BAR = 0x4000;
const BYTES = Uint8Array.from({ length: 0x2400 }, (_, n) => n * 31 + (n >> 8) * 7 + 5);

describe.each(BUILDS)('PCISTB, short and long way on the %s build', (build) => {
  let core: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    core = (await readBuild(build)) as Uint8Array<ArrayBuffer>;
  });

  async function machine(options: OptionInput): Promise<[Machine, PciFunction]> {
    const device = memoryDevice({ bars: [{ size: BAR }, { size: BAR }] });
    const made = await createMachine({ core, platform: 's390x', slots: [{ device, options }] });
    made.memory.write(0, BYTES);
    const fn = made.functions[0] as PciFunction;
    // The first call prepares the function; the ones behind it may go the short way.
    made.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0, length: 16, source: 0 });
    return [made, fn];
  }

  /** Everything that a store may change or answer. */
  function outcome([made, fn]: [Machine, PciFunction], input: PcistbInput): unknown {
    const answer = made.cpu.pcistb(input);
    return {
      answer,
      stats: made.stats(),
      own: made.stats(fn),
      bars: [crc32(fn.barMemory(0)), crc32(fn.barMemory(1))],
    };
  }

  const operands = fc.record({
    as: fc.constantFrom(0, 1, 2, 15),
    offset: fc.oneof(fc.nat(BAR + 16), fc.nat(64), fc.constantFrom(0x3f80, 0x0f80, 0x1ff8)),
    length: fc.oneof(fc.nat(160), fc.nat(0x2200), fc.constantFrom(128, 4096, 4097, 0x2000 + 24)),
    isMemory: fc.boolean(),
    state: fc.constantFrom<FunctionState>('enabled', 'enabled', 'enabled', 'error', 'disabled'),
  });

  it.each([
    { zpciMode: 'native', maxstbl: 4096, relaxed: true },
    { zpciMode: 'native', maxstbl: 4096, relaxed: true, mps: 512, writeSplit: 'greedy' },
    { zpciMode: 'native' },
    { zpciMode: 'interpreted', maxstbl: 512, relaxed: true },
    { zpciMode: 'vfio', relaxed: true, interceptStrict: false },
    { zpciMode: 'emulated', maxstbl: 4096 },
  ] as const)('agree on answers, bytes and counters with %o', async (options) => {
    const short = await machine(options);
    const long = await machine(options);
    const traced = await machine(options);
    traced[0].trace.start();
    fc.assert(
      fc.property(operands, ({ as, offset, length, isMemory, state }) => {
        for (const [, fn] of [short, long, traced]) fn.state = state;
        const fh = short[1].handle;
        const source = isMemory ? 0 : BYTES.subarray(0, length);
        const plain = outcome(short, { fh, as, offset, length, source });
        // An offset above 32 bits, a longer array or a bigint are not for the short way: these operands mean the same.
        const detour = isMemory ? 0n : BYTES.subarray(0, length + 1);
        expect(outcome(long, { fh, as, offset: BigInt(offset), length, source: detour })).toEqual(plain);
        expect(outcome(traced, { fh, as, offset, length, source })).toEqual(plain);
        traced[0].trace.take();
      }),
      { numRuns: 150, endOnFailure: true },
    );
  });

  const relaxed = { zpciMode: 'native', maxstbl: 4096, relaxed: true } as const;
  const SIXTEEN = BYTES.subarray(0, 16);

  it.each([
    ['fh', -1],
    ['fh', undefined],
    ['fh', 2 ** 32],
    ['fh', Number.NaN],
    ['as', -1],
    ['as', 1.5],
    ['as', '0'],
    ['as', 16],
    ['as', 256],
    ['length', -16],
    ['length', 1.5],
    ['length', '16'],
    ['offset', -8],
    ['offset', 0.5],
    ['offset', '0'],
    ['source', -1],
    ['source', 0.5],
    ['source', null],
    ['source', [1, 2, 3]],
    ['source', new Uint16Array(16)],
  ] as const)(
    'refuses %s %o before and behind a first store, from bytes and from memory',
    async (field, value) => {
      const fresh = await createMachine({
        core,
        platform: 's390x',
        slots: [{ device: memoryDevice(), options: relaxed }],
      });
      const [made, fn] = await machine(relaxed);
      fn.barMemory(0).fill(0);
      const before = made.stats(fn);
      for (const source of [SIXTEEN, 0]) {
        for (const [cpu, fh] of [
          [fresh.cpu, fresh.functions[0]?.handle],
          [made.cpu, fn.handle],
        ] as const) {
          const input = {
            fh,
            as: 0,
            offset: 0,
            length: 16,
            source,
            [field]: value,
          } as unknown as PcistbInput;
          expect(() => cpu.pcistb(input)).toThrow(expect.objectContaining({ name: 'ZtlpError', field }));
        }
      }
      expect(made.stats(fn)).toEqual(before);
      expect(fn.barMemory(0).every((byte) => byte === 0)).toBe(true);
    },
  );

  it.each(['bytes', 'memory'] as const)('answers by every operand, source in %s', async (where) => {
    const [made, fn] = await machine({ zpciMode: 'native' });
    const source = where === 'bytes' ? SIXTEEN : 0;
    const store = (change: Partial<PcistbInput>): unknown => {
      const { cc, programInterruption } = made.cpu.pcistb({
        fh: fn.handle,
        as: 0,
        offset: 0,
        length: 16,
        source,
        ...change,
      });
      return programInterruption?.name ?? cc;
    };
    expect(store({})).toBe(0);
    expect(store({ offset: 2 ** 32 })).toBe('operand');
    expect(store({ offset: 2n ** 32n })).toBe('operand');
    expect(store({ problemState: true })).toBe('privileged operation');
    expect(store({ problemState: false })).toBe(0);
    expect(store({ as: 15 })).toBe(1);
    if (where === 'bytes') {
      expect(store({ sourceAddress: 4 })).toBe('specification');
      expect(store({ sourceAddress: 8 })).toBe(0);
    } else {
      expect(store({ source: 4 })).toBe('specification');
      expect(store({ source: 2 ** 31 })).toBe('addressing');
    }
  });

  it('Z-PCISTB-29: a relaxed store of nothing does nothing, wherever its source is said to be', async () => {
    const [made, fn] = await machine(relaxed);
    const before = made.stats(fn).tlps;
    for (const source of [0, 2 ** 24 - 1, 2 ** 24, 2 ** 31, 2n ** 63n, new Uint8Array(0)])
      expect(made.cpu.pcistb({ fh: fn.handle, as: 0, offset: 3, length: 0, source }).cc).toBe(0);
    expect(made.stats(fn).tlps).toBe(before);
  });

  it('traces every store, the ones behind the first too', async () => {
    const [made, fn] = await machine(relaxed);
    made.trace.start();
    for (const source of [0, 0, SIXTEEN, SIXTEEN])
      made.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0, length: 16, source });
    expect(made.trace.take().length).toBe(4);
  });

  it('writes only the operand length when the length field has bits above it', async () => {
    const [made, fn] = await machine({ zpciMode: 'native', maxstbl: 4096, relaxed: true });
    fn.barMemory(0).fill(0);
    const length = 0x2000 + 24;
    const source = BYTES.subarray(0, length);
    expect(made.cpu.pcistb({ fh: fn.handle, as: 0, offset: 8, length, source }).cc).toBe(0);
    expect(fn.barMemory(0).subarray(8, 32)).toEqual(BYTES.subarray(0, 24));
    expect(
      fn
        .barMemory(0)
        .subarray(32)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it('reads the source bytes as they stand, also when they are bytes of the same BAR', async () => {
    const [made, fn] = await machine({ zpciMode: 'native', maxstbl: 4096, relaxed: true });
    fn.barMemory(0).set(BYTES.subarray(0, 64));
    const source = fn.barMemory(0).subarray(0, 32);
    made.cpu.pcistb({ fh: fn.handle, as: 0, offset: 8, length: 32, source });
    expect(fn.barMemory(0).subarray(8, 40)).toEqual(BYTES.subarray(0, 32));
  });
});
