/** The copy engine against a plain model: random programs of register accesses, copies and time, and loads in the midst. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostReadResult, HostWriteResult } from '../../src/device/host.js';
import { DeviceInstance } from '../../src/device/instance.js';
import { type CopyEngineState, copyEngine } from '../../src/devices/index.js';
import { plug, TestHost } from '../device/host.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { drive, le } from './support.js';

const MEMORY = 0x4000;
const MAX_BYTES = 0x1800;
const DONE = 1;
const ERROR = 2;
const BUSY = 4;
/** Registers that a program reads: offset and width. */
const READABLE = [
  [0x04, 4],
  [0x08, 8],
  [0x10, 8],
  [0x18, 4],
  [0x1c, 4],
  [0x20, 4],
  [0x24, 4],
  [0x28, 4],
  [0x30, 8],
] as const;

type Step =
  | { readonly op: 'write'; readonly offset: number; readonly bytes: number; readonly value: bigint }
  | { readonly op: 'start' }
  | { readonly op: 'read'; readonly register: number }
  | { readonly op: 'run'; readonly ns: number };

/** A bank of bytes and what a copy does to them, written down as plainly as possible. */
class Model {
  readonly memory = new Uint8Array(MEMORY);
  readonly messages: [vector: number, ns: number][] = [];
  readonly bytes = new Uint8Array(0x38);
  readonly view = new DataView(this.bytes.buffer);
  ns = 0;
  due: number | undefined;

  constructor(
    private readonly latencyNs: number,
    private readonly nsPerByte: number,
  ) {}

  write(offset: number, data: Uint8Array): void {
    const isLocked = (this.view.getUint32(0x20, true) & BUSY) !== 0;
    data.forEach((byte, n) => {
      const at = offset + n;
      if (at >= 4 && at < 8) this.bytes[at] = byte;
      if (at >= 8 && at < 0x1c && !isLocked) this.bytes[at] = byte;
      if (at === 0x20) this.bytes[at] = (this.bytes[at] as number) & ~(byte & (DONE | ERROR));
    });
    if (offset <= 0x1c && offset + data.length > 0x1c && ((data[0x1c - offset] as number) & 1) === 1)
      this.start();
  }

  read(register: number): Uint8Array {
    const [offset, width] = READABLE[register] as readonly [number, number];
    const value = this.bytes.slice(offset, offset + width);
    if (offset === 0x28) this.bytes.fill(0, 0x28, 0x2c);
    return value;
  }

  run(ns: number): void {
    const end = this.ns + ns;
    if (this.due !== undefined && this.due <= end) {
      this.ns = this.due;
      this.due = undefined;
      this.copy();
    }
    this.ns = end;
  }

  private start(): void {
    const length = this.view.getUint32(0x18, true);
    if ((this.status & BUSY) !== 0) this.fail(2);
    else if (length === 0 || length > MAX_BYTES) this.fail(1);
    else {
      this.status |= BUSY;
      const ns = this.latencyNs + length * this.nsPerByte;
      if (ns === 0) this.copy();
      else this.due = this.ns + ns;
    }
  }

  private copy(): void {
    const source = Number(this.view.getBigUint64(0x08, true));
    const target = Number(this.view.getBigUint64(0x10, true));
    const length = this.view.getUint32(0x18, true);
    this.status &= ~BUSY;
    if (source + length > MEMORY) {
      this.fail(3);
      return;
    }
    const data = this.memory.slice(source, source + length);
    // Posted writes to where nothing is are dropped, and nobody tells the engine.
    if (target < MEMORY) this.memory.set(data.subarray(0, MEMORY - target), target);
    this.status |= DONE;
    this.view.setUint32(0x28, this.view.getUint32(0x28, true) + 1, true);
    this.view.setBigUint64(0x30, this.view.getBigUint64(0x30, true) + BigInt(length), true);
    this.messages.push([0, this.ns]);
  }

  private fail(code: number): void {
    this.status |= ERROR;
    this.view.setUint32(0x24, code, true);
    this.messages.push([1, this.ns]);
  }

  get status(): number {
    return this.view.getUint32(0x20, true);
  }

  set status(value: number) {
    this.view.setUint32(0x20, value, true);
  }
}

/** Addresses mostly in memory, aligned or not, some across its end or behind it. BARs begin at 2^40. */
const address = fc.oneof(fc.nat(MEMORY - 1), fc.nat(0x4800), fc.constantFrom(0, MEMORY - 1, 2 ** 50));
const length = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.nat(0x2000),
  fc.constantFrom(0, MAX_BYTES, MAX_BYTES + 1),
);
const write = (offset: number, bytes: number, value: bigint): Step => ({ op: 'write', offset, bytes, value });
const steps: fc.Arbitrary<Step> = fc.oneof(
  address.map((value) => write(0x08, 8, BigInt(value))),
  address.map((value) => write(0x10, 8, BigInt(value))),
  length.map((value) => write(0x18, 4, BigInt(value))),
  length.map((value) => write(0x18, 8, (1n << 32n) | BigInt(value))),
  fc.nat(7).map((value) => write(0x20, 4, BigInt(value))),
  // A part of any register.
  fc
    .tuple(fc.integer({ min: 4, max: 0x1b }), fc.nat(255))
    .map(([offset, value]) => write(offset, 1, BigInt(value))),
  fc.constant<Step>({ op: 'start' }),
  fc.constant<Step>({ op: 'start' }),
  fc.nat(READABLE.length - 1).map((register): Step => ({ op: 'read', register })),
  fc.nat(9000).map((ns): Step => ({ op: 'run', ns })),
);
const programs = fc.array(steps, { minLength: 1, maxLength: 60, size: 'max' });
const COSTS = [
  [0, 0],
  [1000, 0],
  [7, 2],
] as const;

const fresh = (): Uint8Array => Uint8Array.from({ length: MEMORY }, (_, n) => n * 7 + (n >> 8) * 3 + 1);

/** Performs a step on the model. Returns what the step read. */
function perform(model: Model, step: Step): Uint8Array | undefined {
  if (step.op === 'write') model.write(step.offset, le(step.value, step.bytes));
  else if (step.op === 'start') model.write(0x1c, le(1, 4));
  else if (step.op === 'run') model.run(step.ns);
  else return model.read(step.register);
  return undefined;
}

describe.each(BUILDS)('a random program on the %s core', (build) => {
  const core = useBuild(build);

  it.each(COSTS)('does what the model does at %i ns and %i ns per byte', async (latencyNs, nsPerByte) => {
    const device = copyEngine({ maxBytes: MAX_BYTES, latencyNs, nsPerByte });
    const driver = await drive(device, { core: core(), hostMemoryBytes: MEMORY });
    const { machine, fn } = driver;
    let copies = 0;
    fc.assert(
      fc.property(programs, (program) => {
        machine.reset();
        driver.arm(2);
        const model = new Model(latencyNs, nsPerByte);
        model.memory.set(fresh());
        machine.memory.write(0, fresh());
        for (const step of program) {
          const expected = perform(model, step);
          if (step.op === 'write') driver.write(0, step.offset, le(step.value, step.bytes));
          else if (step.op === 'start') driver.write32(0, 0x1c, 1);
          else if (step.op === 'run') machine.run(step.ns);
          else {
            const [offset, width] = READABLE[step.register] as readonly [number, number];
            expect(driver.read(0, offset, width)).toEqual(expected);
          }
        }
        const messages = machine.takeInterrupts().map(({ data, ns }) => [data - 0x40, ns]);
        expect(messages).toEqual(model.messages);
        expect(Buffer.compare(machine.memory.read(0, MEMORY), model.memory)).toBe(0);
        for (const [register, [offset, width]] of READABLE.entries())
          expect(driver.read(0, offset, width), `register at ${offset}`).toEqual(model.read(register));
        expect(fn.instance?.errors).toEqual([]);
        copies += model.messages.filter(([vector]) => vector === 0).length;
      }),
      { numRuns: 60, seed: 7 },
    );
    expect(copies, 'programs that copy').toBeGreaterThan(20);
  });
});

// ---------------------------------------------------------------------------------------------------- save and load

/** Host memory that a test can hand on, with answers of a kind of its own. */
class Host extends TestHost {
  override readonly ram = new Uint8Array(MEMORY);
  readStatus: 'ok' | 'completer-abort' | 'blocked' = 'ok';
  writeStatus: 'ok' | 'blocked' = 'ok';

  override dmaRead(
    at: number | bigint,
    bytes: number,
    options: object,
    done: (result: HostReadResult) => void,
  ): void {
    if (this.readStatus === 'ok') super.dmaRead(at, bytes, options, done);
    else done({ status: this.readStatus });
  }

  override dmaWrite(
    at: number | bigint,
    data: Uint8Array,
    options: object,
    done: (result: HostWriteResult) => void,
  ): void {
    if (this.writeStatus === 'ok') super.dmaWrite(at, data, options, done);
    else done({ status: this.writeStatus });
  }
}

type Engine = DeviceInstance<CopyEngineState>;

function arm(instance: Engine): void {
  instance.setMsixControl(true, false);
  for (const vector of [0, 1]) instance.write(0, 0x80c + 16 * vector, le(0, 4));
}

describe('a copy engine that is saved and loaded', () => {
  it('goes on in another instance, at another time, as if nothing had been', () => {
    let waited = 0;
    fc.assert(
      fc.property(
        programs,
        fc.nat(60),
        fc.nat(10_000),
        fc.boolean(),
        fc.constantFrom(...COSTS),
        (program, at, clock, isQuiesced, [latencyNs, nsPerByte]) => {
          const device = copyEngine({ maxBytes: MAX_BYTES, latencyNs, nsPerByte });
          let host = new Host();
          host.ram.set(fresh());
          let instance: Engine = new DeviceInstance(device, host);
          arm(instance);
          const model = new Model(latencyNs, nsPerByte);
          model.memory.set(fresh());
          const sent: string[] = [];
          program.forEach((step, n) => {
            if (n === at) {
              if (isQuiesced) {
                instance.quiesce();
                host.run(1e6);
                expect(instance.idle).toBe(true);
              }
              const saved = JSON.parse(JSON.stringify(instance.save()));
              if ((model.status & BUSY) !== 0) waited++;
              sent.push(...host.sent);
              const other = new Host();
              other.ns = clock;
              other.ram.set(host.ram);
              host = other;
              instance = new DeviceInstance(device, host);
              instance.load(saved);
            }
            const expected = perform(model, step);
            if (step.op === 'write') instance.write(0, step.offset, le(step.value, step.bytes));
            else if (step.op === 'start') instance.write(0, 0x1c, le(1, 4));
            else if (step.op === 'run') host.run(step.ns);
            else {
              const [offset, width] = READABLE[step.register] as readonly [number, number];
              expect(instance.read(0, offset, width)).toEqual(expected);
            }
          });
          sent.push(...host.sent);
          const vectors = sent
            .filter((line) => line.startsWith('msix'))
            .map((line) => Number(line.split(' ')[1]));
          expect(vectors).toEqual(model.messages.map(([vector]) => vector));
          for (const [register, [offset, width]] of READABLE.entries())
            expect(instance.read(0, offset, width)).toEqual(model.read(register));
          expect(instance.errors).toEqual([]);
        },
      ),
      { numRuns: 300, seed: 11 },
    );
    expect(waited, 'saves in the midst of a copy').toBeGreaterThan(10);
  });

  it.each([
    ['the next look at STATUS', 0],
    ['the next write of CONTROL', 1],
  ])('sends nothing after quiesce, and goes on with %s', (_, isWrite) => {
    const host = new Host();
    host.ram.fill(9, 0, 8);
    const instance: Engine = new DeviceInstance(copyEngine({ latencyNs: 100 }), host);
    instance.write(0, 0x10, le(0x100, 8));
    instance.write(0, 0x18, le(8, 4));
    instance.write(0, 0x1c, le(1, 4));
    host.run(30);
    instance.quiesce();
    host.run(1000);
    expect(host.sent).toEqual([]);
    if (isWrite === 1) instance.write(0, 0x1c, le(0, 4));
    else expect(instance.read(0, 0x20, 4)).toEqual(le(BUSY, 4));
    host.run(69);
    expect(host.sent).toEqual([]);
    host.run(1);
    expect(host.ram.subarray(0x100, 0x108)).toEqual(host.ram.subarray(0, 8));
    expect(instance.read(0, 0x20, 4)).toEqual(le(DONE, 4));
  });

  it('is not saved while DMA is outstanding', () => {
    const { host, instance } = plug(copyEngine(), { dmaNs: 5 });
    instance.write(0, 0x18, le(8, 4));
    instance.write(0, 0x1c, le(1, 4));
    expect(() => instance.save()).toThrow('save: DMA requests are outstanding: 1');
    host.run(10);
    expect(instance.save().registers['0']).toMatchObject({ STATUS: DONE, COUNT: 1 });
  });

  it.each([[null], [{}], [{ waitNs: -1 }], [{ waitNs: 'soon' }]])('refuses the state %j', (state) => {
    const { instance } = plug(copyEngine());
    instance.write(0, 0x04, le(5, 4));
    const saved = instance.save();
    expect(() => instance.load({ ...saved, state })).toThrow('copy-engine: load failed');
    expect(instance.read(0, 0x04, 4)).toEqual(le(0, 4));
  });
});

describe('a copy engine whose requests fail', () => {
  it.each([
    ['blocked', 'ok', 3],
    ['completer-abort', 'ok', 3],
    ['ok', 'blocked', 4],
  ] as const)('read %s, write %s: says so with code %i and can be started again', (read, write, code) => {
    const host = new Host();
    host.ram.fill(9, 0, 16);
    const instance: Engine = new DeviceInstance(copyEngine(), host);
    arm(instance);
    instance.write(0, 0x10, le(0x100, 8));
    instance.write(0, 0x18, le(16, 4));
    host.readStatus = read;
    host.writeStatus = write;
    instance.write(0, 0x1c, le(1, 4));
    expect(instance.read(0, 0x20, 8)).toEqual(le((BigInt(code) << 32n) | BigInt(ERROR), 8));
    expect(host.sent.filter((line) => line.startsWith('msix'))).toEqual(['msix 1 0x0 0x0']);
    expect(host.ram.subarray(0x100, 0x110)).toEqual(new Uint8Array(16));
    host.readStatus = 'ok';
    host.writeStatus = 'ok';
    instance.write(0, 0x1c, le(1, 4));
    expect(instance.read(0, 0x20, 4)).toEqual(le(ERROR | DONE, 4));
    expect(host.ram.subarray(0x100, 0x110)).toEqual(new Uint8Array(16).fill(9));
    expect(instance.errors).toEqual([]);
  });
});
