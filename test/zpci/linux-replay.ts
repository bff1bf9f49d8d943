/** Replays the recorded Linux log on a machine, and lists every line where the machine differs from the log. */
import { vi } from 'vitest';
import {
  createMachine,
  type Machine,
  type PciFunction,
  type TracedTlp,
  type ZpciAnswer,
} from '../../src/index.js';
import { formatDeviceRecord } from '../../src/trace/device-log.js';
import {
  formatZpciRecord,
  type ZpciAccess,
  type ZpciCall,
  type ZpciEffect,
  type ZpciInterruption,
  type ZpciModify,
  type ZpciRefresh,
} from '../../src/trace/zpci-log.js';
import { arrival, DOORBELLS, type RecordedDevice, recordedDevice } from './linux-device.js';
import { HOST_BYTES, ISC, LinuxGuest } from './linux-guest.js';
import { isAccess, type LinuxLog, repeated, type Step } from './linux-log.js';
import { configLine, messageLine, tapArrivals } from './linux-traffic.js';

/**
 * Simulated ns from the begin of one instruction to that of the next; messages leave in the middle. Instructions take no time
 * in functional machines; in timed ones less than half of it, and messages arrive before the next begins.
 */
const TICKS = { functional: 2, timed: 20_000 } as const;
/** Interval of the function measurement block (zpci.md 4.5). */
const MEASUREMENT_NS = 4e9;
const CONFIG = 15;
/** Registers of BARs 0 to 5. */
const BARS = { from: 0x10, to: 0x28 };
const BAR_FLAGS = 0xf;
const SDMA = 0x1_0000_0000n;
const COMMAND = 0x04;

export interface Replay {
  readonly fn: PciFunction;
  /** What differs, each with the line of the log. */
  readonly differences: readonly string[];
  /** Doorbells that arrived, by queue. */
  readonly doorbells: readonly number[];
  readonly messages: number;
  readonly adapterInterrupts: number;
  readonly tlps: readonly TracedTlp[];
  /** What the device read from each page that the driver refreshed. */
  readonly pages: readonly (bigint | undefined)[];
  /** The measurement block at the end: loads, stores, store blocks, refreshes. */
  readonly measured: readonly number[];
}

export async function replay(
  core: WebAssembly.Module,
  log: LinuxLog,
  zpciMode: 'emulated' | 'native',
  fidelity: keyof typeof TICKS = 'functional',
): Promise<Replay> {
  const tick = TICKS[fidelity];
  const messages = log.steps.flatMap(({ messages }, n) =>
    messages.map(({ valueLo }) => ({ ns: tick * n + tick / 2, vector: valueLo })),
  );
  const pages = { from: SDMA, count: pagesOf(log), ns: tick * log.steps.length + tick / 2 };
  const recorded = recordedDevice(log, messages, pages);
  const machine = await createMachine({
    core,
    platform: 's390x',
    fidelity,
    hostMemoryBytes: HOST_BYTES,
    slots: [{ device: recorded.device, handleIndex: 0, options: { zpciMode } }],
  });
  return new Replayer(machine, log, recorded, tick).run();
}

/** I/O pages that the log refreshes: it takes them in ascending order, without a hole. */
function pagesOf({ steps }: LinuxLog): number {
  const bytes = steps.map(({ instruction }) => (instruction.kind === 'RPCIT' ? instruction.lenLo : 0));
  return bytes.reduce((sum, length) => sum + length, 0) / 4096;
}

class Replayer {
  private readonly fn: PciFunction;
  private readonly guest: LinuxGuest;
  private readonly differences: string[] = [];
  private readonly doorbells: number[] = [];
  private readonly tlps: TracedTlp[] = [];
  /** What has arrived at the function since the running load or store began. */
  private readonly arrivals: string[];
  /** The load or store of configuration space that runs. */
  private running: ZpciAccess | undefined;
  private readonly vectors = new Set<number>();
  private interruptsSinceSic = 0;
  private hasSic = false;
  private messages = 0;
  private adapterInterrupts = 0;
  /** By register: the address that firmware gave a BAR, where the log has none. */
  private readonly placed = new Map<number, { readonly own: number; readonly logged: number }>();

  constructor(
    private readonly machine: Machine,
    private readonly log: LinuxLog,
    private readonly recorded: RecordedDevice,
    private readonly tick: number,
  ) {
    this.fn = machine.functions[0] as PciFunction;
    this.guest = new LinuxGuest(machine, this.fn);
    this.arrivals = recorded.arrivals;
  }

  run(): Replay {
    const { machine, fn, log } = this;
    this.prepare();
    const again = repeated(log);
    log.firmware.forEach((effect, n) => {
      this.look(effect, n + 1);
    });
    tapArrivals(fn, {
      running: () => this.running,
      config: (op, offset, value) => this.arrivals.push(this.configLine(op, offset, value)),
      table: (line) => this.arrivals.push(line),
    });
    machine.trace.start();
    log.steps.forEach((step, n) => {
      this.step(again.get(step) ?? step, step.line);
      machine.run(this.tick * (n + 1) - machine.time.ns);
      this.interrupts(step);
    });
    machine.run(MEASUREMENT_NS);
    this.tlps.push(...machine.trace.take());
    vi.restoreAllMocks();
    const { differences, doorbells, messages, adapterInterrupts, tlps } = this;
    const { pages } = this.recorded;
    const { measured } = this.guest;
    return { fn, differences, doorbells, messages, adapterInterrupts, tlps, pages, measured };
  }

  /** The function as the log's machine has it at boot: not enabled, nothing decoded, no address given by firmware. */
  private prepare(): void {
    const { fn } = this;
    fn.state = 'disabled';
    fn.config.write(COMMAND, 0, 2);
    for (let at = BARS.from; at < BARS.to; at += 4) {
      const own = fn.config.read(at, 4);
      const logged = isUpperHalf(at) ? 0 : own & BAR_FLAGS;
      // A bus needs the addresses that the emulator does without.
      if (fn.options.zpciMode === 'emulated') fn.config.write(at, logged, 4);
      else this.placed.set(at, { own, logged });
    }
  }

  private configLine(op: 'read' | 'write', offset: number, value: number): string {
    const place = this.placed.get(offset);
    return configLine(op, offset, place !== undefined && value === place.own ? place.logged : value);
  }

  /** A line before the first instruction: nothing but what configuration space holds. */
  private look(effect: ZpciEffect, line: number): void {
    if (effect.kind !== 'config read') throw new Error(`${effect.kind} before the first instruction`);
    const width = effect.offset % 4 === 0 ? 4 : effect.offset % 2 === 0 ? 2 : 1;
    const value = this.fn.config.read(effect.offset, width);
    this.compare(line, formatDeviceRecord({ ...effect, value }), formatDeviceRecord(effect));
  }

  private step({ instruction, effects }: Step, line: number): void {
    if (isAccess(instruction)) this.access(instruction, effects, line);
    else if (instruction.kind === 'SIC') this.sic(instruction, line);
    else this.ended(line, instruction, this.control(instruction, line));
  }

  private control(instruction: ZpciModify | ZpciRefresh | ZpciCall, line: number): ZpciAnswer {
    const { machine, guest, fn } = this;
    if (instruction.kind === 'MPCIFC') return guest.mpcifc(instruction.oc, instruction.dmaas);
    if (instruction.kind === 'CLP') {
      const { answer, problems } = guest.clp();
      this.differences.push(...problems.map((problem) => `line ${line}: ${problem}`));
      return answer;
    }
    const start = join(instruction.startLo, instruction.startHi);
    const length = join(instruction.lenLo, instruction.lenHi);
    guest.map(start, length);
    return machine.cpu.rpcit({ fh: fn.handle, start, length });
  }

  private sic({ oc, isc }: ZpciInterruption, line: number): void {
    // One interrupt since the last SIC, but none before the first one.
    this.compare(line, `${this.interruptsSinceSic} interrupts`, `${this.hasSic ? 1 : 0} interrupts`);
    this.interruptsSinceSic = 0;
    this.hasSic = true;
    this.guest.clearInterrupts();
    this.vectors.clear();
    // The condition code of the log is the old one: SIC leaves it alone.
    const { programInterruption } = this.machine.cpu.sic({ operation: oc, isc });
    if (programInterruption !== null) this.compare(line, programInterruption.name, 'SIC');
  }

  private access(instruction: ZpciAccess, effects: readonly ZpciEffect[], line: number): void {
    const { machine, fn, arrivals } = this;
    const { as, len: length, data: digits } = instruction;
    const operands = { fh: fn.handle, as, length, offset: join(instruction.lo, instruction.hi) };
    arrivals.length = 0;
    this.running = as === CONFIG ? instruction : undefined;
    let data = digits;
    let answer: ZpciAnswer;
    if (instruction.kind === 'PCILG') {
      const loaded = machine.cpu.pcilg(operands);
      answer = loaded;
      if (loaded.data !== undefined) data = this.logged(instruction, hexOf(BigInt(loaded.data), length));
    } else {
      answer = machine.cpu.pcistg({ ...operands, data: BigInt(`0x${this.owned(instruction)}`) });
    }
    this.running = undefined;
    this.ended(line, { ...instruction, data }, answer, instruction);
    // In a timed machine the instruction is over before a posted write has arrived.
    machine.settle();
    const wanted = isDoorbell(instruction) ? [this.doorbell(instruction)] : effects.map(formatDeviceRecord);
    this.compare(line, arrivals.join(' | '), wanted.join(' | '));
  }

  /** The line of a doorbell's arrival, which the log leaves out: the number of the queue, at its place. */
  private doorbell({ lo }: ZpciAccess): string {
    const queue = (lo - DOORBELLS.from) / DOORBELLS.stride;
    this.doorbells.push(queue);
    return arrival('write', { bar: DOORBELLS.bar, offset: lo }, Uint8Array.of(queue, 0));
  }

  /** What a load of a BAR register would have given without firmware's address. */
  private logged({ as, lo }: ZpciAccess, data: string): string {
    const place = as === CONFIG ? this.placed.get(lo) : undefined;
    return place !== undefined && data === swapped(place.own) ? swapped(place.logged) : data;
  }

  /** A driver that puts an address back puts firmware's back. */
  private owned({ as, lo, data }: ZpciAccess): string {
    const place = as === CONFIG ? this.placed.get(lo) : undefined;
    return place !== undefined && data === swapped(place.logged) ? swapped(place.own) : data;
  }

  /** Messages that left the function while time passed: their data, the bits that they set, the interrupt that follows. */
  private interrupts({ line, messages }: Step): void {
    const { machine, guest, vectors } = this;
    const traced = machine.trace.take();
    this.tlps.push(...traced);
    const sent = traced.filter(({ tlp, direction }) => direction === 'up' && tlp.type === 'MWr');
    this.compare(line, sent.map(messageLine).join(' | '), messages.map(formatDeviceRecord).join(' | '));
    this.messages += sent.length;
    const raised = machine.takeAdapterInterrupts().map(({ isc }) => isc);
    this.adapterInterrupts += raised.length;
    this.interruptsSinceSic += raised.length;
    // The first bit in an empty summary interrupts, further ones do not.
    const wanted = vectors.size === 0 && messages.length > 0 ? [ISC] : [];
    for (const { valueLo } of messages) vectors.add(valueLo);
    const bits = guest.interruptBits;
    const seen = { raised, vectors: bits.vectors, summary: bits.summary };
    const sorted = [...vectors].sort((a, b) => a - b);
    const due = { raised: wanted, vectors: sorted, summary: sorted.length > 0 ? 0x80 : 0 };
    this.compare(line, JSON.stringify(seen), JSON.stringify(due));
    for (const event of machine.takeEvents()) this.compare(line, `error event ${event.code}`, 'no event');
    for (const { data } of machine.takeInterrupts()) this.compare(line, `stray message ${data}`, 'none');
  }

  private ended(
    line: number,
    ours: Step['instruction'],
    { cc, status, programInterruption }: ZpciAnswer,
    logged = ours,
  ): void {
    const { status: _, ...rest } = ours;
    // The log has a status behind condition code 1 only; everywhere else it has to be 0.
    const shown = cc === 1 || status !== 0 ? { status } : {};
    const record = { ...rest, cc: cc ?? 0, ...shown } as Step['instruction'];
    const text = programInterruption?.name ?? formatZpciRecord(record);
    this.compare(line, text, formatZpciRecord(logged));
  }

  private compare(line: number, ours: string, logged: string): void {
    if (ours !== logged) this.differences.push(`line ${line}: ${ours} instead of ${logged}`);
  }
}

export function isDoorbell({ kind, as, lo, hi, len }: ZpciAccess): boolean {
  const { bar, from, stride, to } = DOORBELLS;
  const isInside = as === bar && hi === 0 && lo >= from && lo < to;
  return kind === 'PCISTG' && isInside && (lo - from) % stride === 0 && len === 2;
}

/** Registers that hold the upper half of the BAR before them: BAR 5, of BAR 4. */
const isUpperHalf = (register: number): boolean => register === BARS.to - 4;

const join = (lo: number, hi: number): bigint => (BigInt(hi) << 32n) | BigInt(lo);
const hexOf = (value: bigint, bytes: number): string => value.toString(16).padStart(2 * bytes, '0');

/** Four bytes as the log prints them: the lowest first. */
function swapped(value: number): string {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return Buffer.from(bytes).toString('hex');
}
