/** LNK-11: timed and functional fidelity give the same TLPs, data and faults; the links only say when. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLink } from '../../src/base/link.js';
import { defineDevice } from '../../src/device/index.js';
import type {
  MachineConfig,
  OptionInput,
  PathId,
  PciFunction,
  TracedTlp,
  ZpciAnswer,
} from '../../src/index.js';
import { encodeTlp, type Machine, PATH_IDS, PATHS } from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import { machinesOf } from './support.js';

const BAR = 0x4000;
const HOST = 0x10000;
const WORDS = { ADDRESS: 0, LENGTH: 8, RUN: 12 } as const;

/** Memory, a callback region that remembers blocks, and a DMA engine: copies host memory, adds one, writes it back. */
function mixed(): { device: ReturnType<typeof defineDevice>; told: string[] } {
  const told: string[] = [];
  const device = defineDevice<unknown>({
    name: 'mixed',
    vendorId: 1,
    deviceId: 2,
    blockWrites: true,
    bars: [
      { size: BAR, memory: true },
      { size: BAR, callback: true },
      {
        size: 4096,
        registers: {
          ADDRESS: { offset: WORDS.ADDRESS, width: 8, access: 'rw' },
          LENGTH: { offset: WORDS.LENGTH, width: 4, access: 'rw' },
          RUN: {
            offset: WORDS.RUN,
            width: 4,
            access: 'wo',
            write(_value, ctx) {
              const bank = ctx.registers(2);
              const address = bank.get64('ADDRESS');
              const length = bank.get('LENGTH');
              ctx.dma.read(address, length, {}, ({ status, data }) => {
                told.push(`read ${status}`);
                const next = (data ?? new Uint8Array(length)).map((byte) => byte + 1);
                ctx.dma.write(address + 3n, next, {}, (result) => {
                  told.push(`write ${result.status}`);
                  ctx.after(40, () => told.push('timer'));
                  ctx.msix.raise(0);
                });
              });
            },
          },
        },
      },
    ],
    capabilities: {
      pcie: { maxLinkSpeed: 4, maxLinkWidth: 4 },
      msix: { vectors: 1, bar: 2, tableOffset: 0x800, pbaOffset: 0xc00 },
    },
    read: (at, length) => Uint8Array.from({ length }, (_, n) => at.offset * 3 + n),
    write(at, bytes, enables) {
      told.push(`${at.offset} ${[...bytes].join()} ${enables === undefined ? '' : [...enables].join('')}`);
    },
  });
  return { device, told };
}

/** BARs of 32 bits: two that are neighbours. */
const PEER = {
  name: 'peer',
  vendorId: 3,
  deviceId: 4,
  bars: [
    { size: BAR, memory: true },
    { size: 64, memory: true },
  ],
} as const;

type Step =
  | {
      readonly kind: 'write' | 'read';
      path: number;
      bar: 0 | 1;
      offset: number;
      length: number;
      block: boolean;
    }
  | { readonly kind: 'dma' | 'peer'; address: number; length: number }
  | { readonly kind: 'config'; offset: number; width: 1 | 2 | 4; isWrite: boolean }
  | { readonly kind: 'wc'; offset: number; length: number }
  | { readonly kind: 'pcistb'; bar: 0 | 1; offset: number; length: number; inMemory: boolean }
  | { readonly kind: 'pcilg' | 'pcistg'; bar: 0 | 1; offset: number; length: number };

const anyBar = fc.constantFrom<0 | 1>(0, 1);
const near = fc.oneof(fc.nat(64), fc.integer({ min: 4000, max: 4200 }), fc.nat(BAR - 1));
const some = fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 700 }), fc.constant(4096));
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom<'write' | 'read'>('write', 'read'),
    path: fc.nat(100),
    bar: anyBar,
    offset: near,
    length: some,
    block: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('dma' as const),
    address: fc.oneof(fc.nat(HOST - 8192), fc.constant(HOST + 64)),
    length: fc.integer({ min: 1, max: 6000 }),
  }),
  fc.record({
    kind: fc.constant('peer' as const),
    address: fc.nat(BAR - 2500),
    length: fc.integer({ min: 1, max: 2000 }),
  }),
  fc.record({
    kind: fc.constant('config' as const),
    offset: fc.nat(0x3f).map((n) => 4 * n),
    width: fc.constantFrom<1 | 2 | 4>(1, 2, 4),
    isWrite: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('wc' as const), offset: near, length: fc.integer({ min: 1, max: 300 }) }),
  fc.record({
    kind: fc.constant('pcistb' as const),
    bar: anyBar,
    offset: near.map((n) => n & ~7),
    length: fc.oneof(
      fc.integer({ min: 1, max: 16 }).map((n) => 8 * n),
      fc.integer({ min: 1, max: 512 }).map((n) => 8 * n),
    ),
    inMemory: fc.boolean(),
  }),
  fc.record({
    kind: fc.constantFrom<'pcilg' | 'pcistg'>('pcilg', 'pcistg'),
    bar: anyBar,
    offset: near,
    length: fc.integer({ min: 1, max: 8 }),
  }),
);

function answerText({ cc, status, programInterruption }: ZpciAnswer): string {
  return `${cc} ${status} ${programInterruption}`;
}

/** Short, so that a failure can be read. */
function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Runs a program and says everything that can be seen of it, apart from time. */
class Run {
  readonly seen: string[] = [];
  private readonly fn: PciFunction;
  private readonly paths: readonly PathId[];

  constructor(
    private readonly m: Machine,
    private readonly told: string[],
  ) {
    this.fn = m.functions[0] as PciFunction;
    const mode = this.fn.options.zpciMode;
    this.paths = PATH_IDS.filter((id) => {
      const { platform, options } = PATHS[id];
      const fits = options.zpciMode === undefined || options.zpciMode === mode;
      return fits && (platform === m.platform || platform === 'any');
    });
    m.memory.write(
      0,
      Uint8Array.from({ length: HOST }, (_, n) => (n * 31 + (n >> 8)) & 0xff),
    );
    if (m.platform !== 's390x') m.enableMsix(this.fn);
    m.settle();
    m.trace.start();
    m.settle();
    m.trace.take();
  }

  private note(text: string): void {
    this.seen.push(text);
  }

  private bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, n) => (n * 7 + this.seen.length) & 0xff);
  }

  private access(at: Extract<Step, { kind: 'write' | 'read' }>): void {
    const path = this.paths[at.path % this.paths.length] as PathId;
    const { bar, offset, block } = at;
    const length = Math.min(at.length, BAR - offset);
    const input = { path, function: this.fn, bar, offset, block };
    if (at.kind === 'write') {
      const { fault, completion, totals } = this.m.cpu.write({ ...input, data: this.bytes(length) });
      this.note(`${path} ${fault?.text} ${completion} ${JSON.stringify(totals)}`);
    } else {
      const { fault, completion, totals, data } = this.m.cpu.read({ ...input, length });
      this.note(`${path} ${fault?.text} ${completion} ${JSON.stringify(totals)} ${data.join()}`);
    }
  }

  private dma(address: number, length: number): void {
    const path = this.paths.find((id) => PATHS[id].write !== null && PATHS[id].sizes !== null) as PathId;
    const put = (offset: number, value: number, bytes: number): void => {
      const data = new Uint8Array(bytes);
      new DataView(data.buffer).setUint32(0, value, true);
      this.m.cpu.write({ path, function: this.fn, bar: 2, offset, data });
    };
    put(WORDS.ADDRESS, address, 8);
    put(WORDS.LENGTH, length, 4);
    put(WORDS.RUN, 1, 4);
  }

  private perform(at: Step): void {
    const { m, fn } = this;
    const fh = fn.handle;
    switch (at.kind) {
      case 'write':
      case 'read':
        this.access(at);
        return;
      case 'dma':
        this.dma(at.address, at.length);
        return;
      case 'peer':
        // Memory of the other function: the requests turn round at the root complex.
        this.dma((m.functions[1]?.bar(0).address as number) + at.address, at.length);
        return;
      case 'config':
        // Behind the header: nothing there moves a BAR.
        if (at.isWrite) m.config.write(fn.id, 0x3c, 5, 1);
        else this.note(`${m.config.read(fn.id, at.offset, at.width)}`);
        return;
      case 'wc':
        if (m.platform !== 'x86-64') return;
        m.cpu.wcStore({
          function: fn,
          bar: 0,
          offset: Math.min(at.offset, BAR - at.length),
          data: this.bytes(at.length),
        });
        if (at.length % 2 === 0) m.cpu.wcFence();
        return;
      case 'pcistb': {
        if (m.platform !== 's390x') return;
        const source = at.inMemory ? at.offset : this.bytes(at.length);
        this.note(answerText(m.cpu.pcistb({ fh, as: at.bar, offset: at.offset, length: at.length, source })));
        return;
      }
      case 'pcilg': {
        if (m.platform !== 's390x') return;
        const answer = m.cpu.pcilg({ fh, as: at.bar, offset: at.offset, length: at.length });
        this.note(`${answerText(answer)} ${answer.data}`);
        return;
      }
      default:
        if (m.platform !== 's390x') return;
        this.note(
          answerText(
            m.cpu.pcistg({ fh, as: at.bar, offset: at.offset, length: at.length, data: 0x1234_5678n }),
          ),
        );
    }
  }

  private rows(direction: string, traced: readonly TracedTlp[]): string[] {
    return traced
      .filter((row) => row.direction === direction)
      .map(
        ({ tlp, data, slot }) =>
          `${slot} ${[...encodeTlp(tlp, data)].map((byte) => byte.toString(16)).join(' ')}`,
      );
  }

  run(steps: readonly Step[]): unknown {
    const { m, fn } = this;
    for (const at of steps) {
      try {
        this.perform(at);
      } catch (error) {
        this.note(String(error));
      }
      m.settle();
      m.run(1000);
    }
    const traced = m.trace.take();
    return {
      seen: this.seen,
      told: this.told,
      down: this.rows('down', traced),
      up: this.rows('up', traced),
      bar: hash(fn.barMemory(0)),
      peer: hash((m.functions[1] as PciFunction).barMemory(0)),
      memory: hash(m.memory.read(0, HOST)),
      stats: m.stats(),
      own: m.stats(fn),
      interrupts: m.takeInterrupts().map(({ address, data }) => `${address} ${data}`),
    };
  }
}

describe.each(BUILDS)('LNK-11 on the %s core', (build) => {
  const { make } = machinesOf(build);
  const kinds: readonly [MachineConfig['platform'], OptionInput][] = [
    ['x86-64', {}],
    ['x86-64', { mps: 128, completionPolicy: 'rcb', mrrs: 4096 }],
    ['arm64', { writeSplit: 'greedy', readSplit: 'greedy' }],
    ['s390x', { zpciMode: 'native', maxstbl: 4096 }],
    ['s390x', { zpciMode: 'vfio', relaxed: true, interceptStrict: false }],
    ['s390x', { zpciMode: 'emulated' }],
    ['s390x', { zpciMode: 'interpreted', relaxed: true, mio: false }],
  ];

  it.each(kinds)(
    'one actor that settles: the same TLPs, data and faults on %s %o',
    async (platform, options) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          const results = [];
          for (const fidelity of ['functional', 'timed'] as const) {
            const { device, told } = mixed();
            const base = { platform: platform ?? 'x86-64', fidelity, options };
            const m = await make({ ...base, slots: [{ device }, { device: PEER }] });
            results.push(new Run(m, told).run(steps));
          }
          expect(results[1]).toEqual(results[0]);
        }),
        { numRuns: 25 },
      );
    },
  );

  /** What a CPU does to two functions without ever waiting; function 1 copies host memory meanwhile. */
  const busy = fc.record({
    speed: fc.constantFrom('gen1x1', 'gen3x8', 'gen5x16'),
    tags: fc.constantFrom(32 as const, 256 as const),
    storeBuffer: fc.constantFrom(1, 8, 64),
    hasErrors: fc.boolean(),
    credits: fc.constantFrom(undefined, { ph: 1, pd: 16, nph: 1, npd: 8, cplh: 1, cpld: 16 }),
    isTraced: fc.boolean(),
    steps: fc.array(
      fc.record({
        slot: fc.nat(1),
        op: fc.constantFrom('write', 'write', 'read', 'copy'),
        offset: fc.nat(BAR - 600),
        length: fc.integer({ min: 1, max: 600 }),
      }),
      { maxLength: 40 },
    ),
  });

  it('without waiting: stores arrive in order, loads see the stores before them, DMA the memory as it is', async () => {
    await fc.assert(
      fc.asyncProperty(busy, async ({ speed, tags, storeBuffer, hasErrors, credits, isTraced, steps }) => {
        const { device, told } = mixed();
        const link = {
          speed,
          badTlps: hasErrors ? 0.1 : 0,
          badDllps: hasErrors ? 0.1 : 0,
          ...(credits === undefined ? {} : { rootCredits: credits, endpointCredits: credits }),
        };
        const options = { tags, storeBuffer };
        const slots = [
          { device: PEER, link },
          { device, link },
        ];
        const m = await make({ fidelity: 'timed', options, slots });
        const source = Uint8Array.from({ length: HOST }, (_, n) => (n * 31 + (n >> 8)) & 0xff);
        m.memory.write(0, source);
        if (isTraced) m.trace.start();
        const expected = [new Uint8Array(BAR), new Uint8Array(BAR)];
        const copier = m.functions[1] as PciFunction;
        let copies = 0;
        for (const [n, { slot, op, offset, length }] of steps.entries()) {
          const fn = m.functions[slot] as PciFunction;
          const at = { path: 'x86-uc', function: fn, bar: 0, offset } as const;
          if (op === 'copy') {
            // Four words: where from, and how much; the copy goes behind what is read.
            const words = Uint32Array.of(0, 0, 64 + (n % 8) * 500, 1);
            const data = new Uint8Array(words.buffer);
            m.cpu.write({ path: 'x86-memcpy-toio', function: copier, bar: 2, offset: 0, data });
            copies++;
          } else if (op === 'write') {
            const data = Uint8Array.from({ length }, (_, i) => (i + n * 13) & 0xff);
            m.cpu.write({ ...at, data });
            expected[slot]?.set(data, offset);
          } else {
            const { data, completion } = m.cpu.read({ ...at, length });
            expect(completion).toBe('successful');
            expect(
              Buffer.compare(data, (expected[slot] as Uint8Array).subarray(offset, offset + length)),
            ).toBe(0);
          }
        }
        m.settle();
        m.settle();
        m.functions.forEach((fn, slot) => {
          expect(Buffer.compare(fn.barMemory(0), expected[slot] as Uint8Array)).toBe(0);
        });
        expect(told.filter((line) => line === 'write ok')).toHaveLength(copies);
        const { links } = m;
        const ns = m.time.ns;
        for (const { speed, down, up } of links)
          for (const { wireBytes, tlps, dataBytes } of [down, up]) {
            // A direction cannot carry more than its rate, and every TLP takes its overhead.
            expect(wireBytes * (parseLink(speed).ticksPerByte / 4096)).toBeLessThanOrEqual(ns);
            expect(wireBytes).toBeGreaterThanOrEqual(dataBytes + 20 * tlps);
          }
        const traced = m.trace.take();
        if (!isTraced) return;
        for (const direction of ['down', 'up'] as const) {
          const seen = traced.filter((row) => row.direction === direction).length;
          expect(seen).toBe(links.reduce((sum, each) => sum + each[direction].tlps, 0));
        }
        const times = traced.map(({ arrivedNs }) => arrivedNs as number);
        expect(times).toEqual([...times].sort((a, b) => a - b));
      }),
      { numRuns: 60 },
    );
  });
});
