/** The processor's cache against a plain model of it: sets and ways, age, dirty lines, DRAM behind them. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { machinesOf, same } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { UnitMachine } from './machine-lab.js';

const LINE = 64;
const SETS = 64;
const WAYS = 8;
/** 12 lines for each set, and a last line that is not whole. */
const BYTES = 12 * SETS * LINE + 32;

interface Line {
  readonly data: Uint8Array;
  isDirty: boolean;
  used: number;
}

/** A write-back cache in front of DRAM, as one would write it down. */
class PlainCache {
  readonly dram = new Uint8Array(BYTES);
  readonly lines = new Map<number, Line>();
  private time = 0;

  /** Lines of [address, address + length) that are whole. */
  private numbers(address: number, length: number): number[] {
    const numbers: number[] = [];
    for (let n = Math.floor(address / LINE); n * LINE < address + length; n++)
      if ((n + 1) * LINE <= BYTES) numbers.push(n);
    return numbers;
  }

  private evict(number: number): void {
    const line = this.lines.get(number);
    if (line?.isDirty === true) this.dram.set(line.data, number * LINE);
    this.lines.delete(number);
  }

  private touch(number: number, isWrite: boolean): void {
    let line = this.lines.get(number);
    if (line === undefined) {
      const others = [...this.lines].filter(([other]) => other % SETS === number % SETS);
      if (others.length === WAYS) {
        const [oldest] = others.sort(([, one], [, other]) => one.used - other.used);
        if (oldest !== undefined) this.evict(oldest[0]);
      }
      line = { data: this.dram.slice(number * LINE, (number + 1) * LINE), isDirty: false, used: 0 };
      this.lines.set(number, line);
    }
    this.time += 1;
    line.used = this.time;
    if (isWrite) line.isDirty = true;
  }

  /** What the processor, and who asks its cache, sees. */
  seen(address: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, n) => {
      const at = address + n;
      return (this.lines.get(Math.floor(at / LINE))?.data[at % LINE] ?? this.dram[at]) as number;
    });
  }

  read(address: number, length: number): Uint8Array {
    for (const number of this.numbers(address, length)) this.touch(number, false);
    return this.seen(address, length);
  }

  write(address: number, bytes: Uint8Array): void {
    for (const number of this.numbers(address, bytes.length)) this.touch(number, true);
    for (const [n, byte] of bytes.entries()) {
      const at = address + n;
      const line = this.lines.get(Math.floor(at / LINE));
      if (line === undefined) this.dram[at] = byte;
      else line.data[at % LINE] = byte;
    }
  }

  flush(address: number, length: number, keep: boolean): void {
    for (const number of this.numbers(address, length)) {
      const line = this.lines.get(number);
      if (!keep) this.evict(number);
      else if (line?.isDirty === true) {
        this.dram.set(line.data, number * LINE);
        line.isDirty = false;
      }
    }
  }

  flushAll(): number {
    const dirty = [...this.lines.values()].filter(({ isDirty }) => isDirty).length;
    for (const number of [...this.lines.keys()]) this.evict(number);
    return dirty;
  }

  /** A write of a function: with a snoop the cache gives up its lines first. */
  dmaWrite(address: number, bytes: Uint8Array, snoops: boolean): void {
    if (snoops) for (const number of this.numbers(address, bytes.length)) this.evict(number);
    this.dram.set(bytes, address);
  }
}

/** Addresses of few sets, so that lines push each other out; runs of lines; the end of memory. */
const address = fc.oneof(
  {
    weight: 9,
    arbitrary: fc
      .tuple(fc.nat(10), fc.constantFrom(0, 0, 1, 63), fc.constantFrom(0, 0, 8, 60))
      .map(([way, set, offset]) => (way * SETS + set) * LINE + offset),
  },
  { weight: 1, arbitrary: fc.integer({ min: BYTES - 200, max: BYTES - 1 }) },
);
const size = fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 60, max: 330 }));
const kind = fc.constantFrom(
  'read',
  'read',
  'read',
  'write',
  'write',
  'clwb',
  'clflush',
  'wbinvd',
  'dma read',
  'dma read',
  'dma write',
  'ns read',
  'ns read',
  'ns write',
);
const step = fc.record({ kind, address, size, seed: fc.nat(255) });

/** Bytes as a text: quick to compare. */
function text(value: Uint8Array | number | undefined): string {
  return typeof value === 'object' ? Buffer.from(value).toString('hex') : `${value}`;
}

describe.each(BUILDS)('the cache of the processor on the %s core', (build) => {
  const { make } = machinesOf(build);
  let m: UnitMachine;
  beforeAll(async () => {
    m = await UnitMachine.create(make, {
      hostMemoryBytes: BYTES,
      iommus: [],
      options: { honourNoSnoop: true },
    });
  });

  function bytesOf(length: number, seed: number): Uint8Array {
    return Uint8Array.from({ length }, (_, n) => (seed + 13 * n) & 0xff);
  }

  const first = Uint8Array.from({ length: BYTES }, (_, n) => (n * 7 + (n >> 6) * 29) & 0xff);

  /** Empties the cache, and makes memory as the model is. */
  function begin(): PlainCache {
    const model = new PlainCache();
    model.dram.set(first);
    m.machine.memory.write(0, first);
    m.machine.memory.flushAll();
    return model;
  }

  it('iommu.md 8: reads, writes, flushes and requests with and without a snoop see what a plain cache lets them', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), (steps) => {
        const { memory } = m.machine;
        const model = begin();
        for (const [n, { kind, address, size, seed }] of steps.entries()) {
          const length = Math.min(size, BYTES - address);
          const bytes = bytesOf(length, seed);
          const where = `${n}: ${kind} of ${length} at ${address}`;
          let seen: Uint8Array | number | undefined;
          let expected: Uint8Array | number | undefined;
          if (kind === 'read') [seen, expected] = [memory.read(address, length), model.read(address, length)];
          else if (kind === 'write') {
            memory.write(address, bytes);
            model.write(address, bytes);
          } else if (kind === 'wbinvd') [seen, expected] = [memory.flushAll(), model.flushAll()];
          else if (kind === 'clwb' || kind === 'clflush') {
            memory.flush(address, length, { keep: kind === 'clwb' });
            model.flush(address, length, kind === 'clwb');
          } else {
            const noSnoop = kind.startsWith('ns');
            if (kind.endsWith('write')) {
              m.write(address, bytes, { noSnoop });
              model.dmaWrite(address, bytes, !noSnoop);
            } else {
              seen = m.read(address, length, { noSnoop }).data;
              expected = noSnoop ? model.dram.slice(address, address + length) : model.seen(address, length);
            }
          }
          expect([where, text(seen)]).toEqual([where, text(expected)]);
        }
        // What was yet to be written, and memory as it stands then.
        expect(memory.flushAll()).toBe(model.flushAll());
        expect(same(memory.read(0, BYTES), model.dram)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('the line that was used longest ago goes, not the one that came first', () => {
    const { memory } = m.machine;
    begin();
    const at = (way: number): number => way * SETS * LINE;
    for (let way = 0; way < WAYS; way++) memory.write(at(way), Uint8Array.of(0xaa));
    memory.read(at(0), 1);
    memory.read(at(WAYS), 1);
    // A dirty line that was pushed out stands in DRAM.
    const inDram = Array.from(
      { length: WAYS },
      (_, way) => m.read(at(way), 1, { noSnoop: true }).data?.[0] === 0xaa,
    );
    expect(inDram).toEqual([false, true, false, false, false, false, false, false]);
    expect(memory.flushAll()).toBe(WAYS - 1);
  });

  it('to write a clean line back changes nothing: what a function wrote behind it stays', () => {
    const { memory } = m.machine;
    begin();
    const [old] = memory.read(0, 1);
    m.write(0, Uint8Array.of(0x77), { noSnoop: true });
    memory.flush(0, LINE, { keep: true });
    expect([memory.read(0, 1)[0], m.read(0, 1, { noSnoop: true }).data?.[0]]).toEqual([old, 0x77]);
    expect(memory.flushAll()).toBe(0);
    expect(memory.read(0, 1)[0]).toBe(0x77);
  });

  it('every line of a request counts, however many it has', () => {
    const { memory } = m.machine;
    for (const noSnoop of [true, false]) {
      begin();
      memory.write(0, new Uint8Array(8 * LINE).fill(0xaa));
      const seen = m.read(0, 8 * LINE, { noSnoop }).data;
      expect(seen).toEqual(noSnoop ? first.slice(0, 8 * LINE) : new Uint8Array(8 * LINE).fill(0xaa));
      m.write(0, new Uint8Array(8 * LINE).fill(0xbb), { noSnoop });
      expect(memory.read(0, 8 * LINE)).toEqual(new Uint8Array(8 * LINE).fill(noSnoop ? 0xaa : 0xbb));
      // What was written with a snoop left no dirty line.
      expect([noSnoop, memory.flushAll()]).toEqual([noSnoop, noSnoop ? 8 : 0]);
    }
  });
});
