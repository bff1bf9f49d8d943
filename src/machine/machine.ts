/** `createMachine`: functions behind a root complex, host memory, and a CPU that touches them. */
import * as L from '../../assembly/layout.js';
import type { DeviceModel } from '../base/device.js';
import { invalid, needObject } from '../base/errors.js';
import type { Options } from '../base/options.js';
import { Core } from '../core/core.js';
import type { CoreExports } from '../core/exports.js';
import type { Platform } from '../path/table.js';
import type { Window } from '../pci/assign-windows.js';
import { type EnumeratedFunction, enumerate } from '../pci/enumerate.js';
import type { ConfigPort } from '../pci/probe.js';
import { TYPES } from '../tlp/kinds.js';
import { Clock } from './clock.js';
import { type CheckedConfig, checkConfig, IO_WINDOW, LOW_WINDOW, type MachineConfig } from './config.js';
import { ConfigAccess } from './config-port.js';
import { Cpu } from './cpu.js';
import { enableMsix, type MsixMessage } from './driver.js';
import { type FunctionStats, PciFunction } from './function.js';
import { createUnits, iotlbRoom, type MachineUnit, writeSnoop } from './iommus.js';
import type { CheckedLink } from './link-config.js';
import { Links, type MachineLink } from './links.js';
import { HostMemory } from './memory.js';
import { type InterruptMessage, Models } from './models.js';
import { needS390 } from './operands.js';
import { type PciEvent, PciEvents } from './pci-events.js';
import { Timing } from './timing.js';
import { TlpTrace } from './trace.js';
import { type AdapterInterrupt, ZpciControl } from './zpci-control.js';

/** Traffic of the whole machine since create or reset. `down` is towards the functions. */
export interface MachineStats {
  /** TLPs by type, both directions, types that occurred only. */
  readonly tlpsByType: Readonly<Record<string, number>>;
  readonly tlps: number;
  readonly wireBytesDown: number;
  readonly wireBytesUp: number;
  readonly payloadBytesDown: number;
  readonly payloadBytesUp: number;
  /** Posted requests dropped because no function claimed their address. */
  readonly droppedPosted: number;
  /** Non-posted requests answered with Unsupported Request. */
  readonly unsupportedRequests: number;
  /** Sums over the functions of their requests for host memory that asked the caches, and of those that did not. */
  readonly coherentTlps: number;
  readonly coherentBytes: number;
  readonly nonCoherentTlps: number;
  readonly nonCoherentBytes: number;
  /** TLPs whose No Snoop translation units took away. */
  readonly noSnoopStripped: number;
}

export class Machine {
  readonly platform: Platform;
  readonly options: Options;
  readonly functions: readonly PciFunction[];
  readonly memory: HostMemory;
  readonly cpu: Cpu;
  /** Translation units, in the order of the configuration. */
  readonly iommus: readonly MachineUnit[];
  /** Configuration space as the CPU reaches it: by configuration TLPs, with `PciFunction.id` as address. */
  readonly config: ConfigPort;
  /**
   * s390x: told of each adapter interrupt when the access that caused it is done, so that it may issue instructions, as an
   * interrupt handler does. Without one `takeAdapterInterrupts` has them.
   */
  onAdapterInterrupt: ((interrupt: AdapterInterrupt) => void) | undefined;
  /** TLPs in order of delivery, once started. */
  readonly trace: TlpTrace;
  private resets = 0;
  private readonly core: Core;
  private readonly clock = new Clock();
  private readonly events = new PciEvents();
  private readonly models: Models;
  private readonly control: ZpciControl;
  private readonly timing: Timing | undefined;
  private readonly timedLinks: Links | undefined;

  /** Use `createMachine`. */
  constructor(core: Core, config: CheckedConfig) {
    this.core = core;
    this.platform = config.platform;
    this.options = config.options;
    this.memory = new HostMemory(core, config.hostMemoryBytes, config.hostCache);
    this.functions = config.slots.map((slot, index) => new PciFunction(core, index, slot));
    const { isTimed } = config;
    this.timedLinks = isTimed ? new Links(core, linksOf(config)) : undefined;
    const traceChanged = (): void => {
      if (isTimed) core.x.timedKeep(this.trace.enabled ? 1 : 0);
      this.cpu.forgetPort();
    };
    this.trace = new TlpTrace(core, traceChanged, this.timedLinks);
    const { platform, functions, trace } = this;
    const mode = (): number => (isTimed ? L.MODE_TIMED : trace.enabled ? L.MODE_TRACE : L.MODE_LIVE);
    const models = new Models({
      core,
      isTimed,
      isZpci: config.platform === 's390x',
      clock: this.clock,
      events: this.events,
      mode,
      drainTrace: () => trace.drain(),
      settled: () => this.deliverInterrupts(),
      interrupt: (fn, data) => this.control.message(fn, data),
      forget: () => this.cpu.forgetPort(),
    });
    this.control = new ZpciControl({
      memory: this.memory,
      functions,
      options: config.options,
      clock: this.clock,
      resetDevice: (fn) => models.resetDevice(fn),
      events: this.events,
    });
    if (this.timedLinks !== undefined) {
      this.timing = new Timing({
        core,
        clock: this.clock,
        links: this.timedLinks,
        options: config.options,
        serve: () => models.serve(),
        drainTrace: () => trace.drain(),
        pump: () => models.pump(),
        isIdle: () => models.isDmaIdle,
        restart: () => models.restartDma(),
        told: () => this.deliverInterrupts(),
      });
      models.timing = this.timing;
    }
    models.attach(functions);
    this.models = models;
    const [first, behind] = MESSAGE_RANGES[platform];
    core.setParam(L.PARAM_MESSAGE_LO, first);
    core.setParam(L.PARAM_MESSAGE_END, behind);
    core.setParam(L.PARAM_HONOURS, config.honoursNoSnoop ? 1 : 0);
    this.iommus = createUnits(core, config.iommus, config.hostMemoryBytes, config.unitOptions);
    writeSnoop(core, config.options.snoopNs);
    if (platform === 's390x') for (const fn of functions) fn.takeMessages();
    this.cpu = new Cpu({ core, platform, functions, trace, models, control: this.control, mode });
    this.config = new ConfigAccess({
      core,
      prepare: () => this.cpu.prepareConfig(),
      finish: () => models.finishConfig(),
    });
  }

  /**
   * Walks the functions as firmware and an operating system do, by configuration TLPs: identities, capabilities, BAR sizes,
   * new addresses for all BARs; Memory Space and Bus Master Enable are set afterwards.
   */
  enumerate(): EnumeratedFunction[] {
    const buses = Math.ceil(this.functions.length / FUNCTIONS_PER_BUS);
    return Array.from({ length: buses }, (_, n) =>
      enumerate(this.config, {
        bus: 1 + n,
        memory: share(BUS_WINDOWS.memory, n, buses),
        prefetchable: share(BUS_WINDOWS.prefetchable, n, buses),
        io: share(BUS_WINDOWS.io, n, buses),
      }),
    ).flat();
  }

  /** Resets one function as a platform does. Its BARs and its Command register are 0 until software sets them up again. */
  resetFunction(fn: PciFunction, kind: 'cold' | 'warm' | 'hot' | 'flr'): void {
    if (!this.functions.includes(fn)) throw invalid('function', fn, 'one of machine.functions');
    if (!RESET_KINDS.includes(kind)) throw invalid('kind', kind, RESET_KINDS.join(', '));
    this.models.checkIdle('resetFunction');
    this.models.resetFunction(fn, kind);
    // Function Level Reset is the driver's; the others are the platform's, and end in state disabled (zpci.md 1.3).
    if (this.platform === 's390x' && kind !== 'flr') this.control.resetFunction(fn);
  }

  /** s390x: a device appears behind a reserved function, which is configured but disabled then. Event 0x0301. */
  plug(fn: PciFunction): void {
    this.checkHotPlug('plug', fn);
    if (!this.control.plug(fn)) throw invalid('function', fn.state, 'a function in state reserved');
  }

  /**
   * s390x: the operator takes the device away. A standby function goes at once (event 0x0308). A configured one is asked
   * for (event 0x0303) and goes when the guest deconfigures it; with `surprise` it goes at once (event 0x0304).
   * @returns whether it has gone.
   */
  unplug(fn: PciFunction, options: { readonly surprise?: boolean } = {}): boolean {
    this.checkHotPlug('unplug', fn);
    needObject('options', options);
    const { surprise = false } = options;
    if (typeof surprise !== 'boolean') throw invalid('surprise', surprise, 'true, false');
    if (!this.control.unplug(fn, surprise))
      throw invalid('function', fn.state, 'a function that is not reserved');
    return fn.state === 'reserved';
  }

  private checkHotPlug(what: string, fn: PciFunction): void {
    needS390(what, this.platform);
    if (!this.functions.includes(fn)) throw invalid('function', fn, 'one of machine.functions');
    this.models.checkIdle(what);
  }

  /**
   * What a driver does to get interrupts: writes the MSI-X table through its BAR, unmasks the vectors, sets MSI-X Enable.
   * @param messages one per vector from 0 on; the others stay masked. Default for all: the first interrupt address of the
   * platform, with the vector's number as data.
   */
  enableMsix(fn: PciFunction, messages?: readonly MsixMessage[]): void {
    if (!this.functions.includes(fn)) throw invalid('function', fn, 'one of machine.functions');
    enableMsix(this, fn, messages, MESSAGE_RANGES[this.platform][0]);
  }

  /** Counters of one function, or of the whole machine. */
  stats(): MachineStats;
  stats(fn: PciFunction): FunctionStats;
  stats(fn?: PciFunction): MachineStats | FunctionStats {
    if (fn === undefined) return this.machineStats();
    if (!this.functions.includes(fn)) throw invalid('function', fn, 'one of machine.functions');
    return fn.stats;
  }

  private machineStats(): MachineStats {
    const get = (offset: number): number => this.core.count(L.PLACE_COUNTERS, offset);
    const tlpsByType: Record<string, number> = {};
    let tlps = 0;
    TYPES.forEach((name, kind) => {
      const count = get(kind * L.COUNTER_KIND_STRIDE) + get(kind * L.COUNTER_KIND_STRIDE + 8);
      if (count > 0) tlpsByType[name] = (tlpsByType[name] ?? 0) + count;
      tlps += count;
    });
    const all = this.functions.map((fn) => fn.stats);
    const sum = (of: (stats: FunctionStats) => number): number => all.reduce((so, one) => so + of(one), 0);
    return {
      tlpsByType,
      tlps,
      wireBytesDown: get(L.COUNTER_WIRE_DOWN),
      wireBytesUp: get(L.COUNTER_WIRE_UP),
      payloadBytesDown: get(L.COUNTER_PAYLOAD_DOWN),
      payloadBytesUp: get(L.COUNTER_PAYLOAD_UP),
      droppedPosted: get(L.COUNTER_UNCLAIMED_POSTED),
      unsupportedRequests: get(L.COUNTER_UNCLAIMED_NON_POSTED),
      coherentTlps: sum((stats) => stats.coherentTlps),
      coherentBytes: sum((stats) => stats.coherentBytes),
      nonCoherentTlps: sum((stats) => stats.nonCoherentTlps),
      nonCoherentBytes: sum((stats) => stats.nonCoherentBytes),
      noSnoopStripped: sum((stats) => stats.noSnoopStripped),
    };
  }

  /** Simulated time, that of the CPU. In functional fidelity only `run` moves it. */
  get time(): { readonly ns: number } {
    return { ns: this.clock.ns };
  }

  /** The links of a timed machine, one per function, and what they did so far. None in functional fidelity. */
  get links(): readonly MachineLink[] {
    const links = this.timedLinks;
    if (links === undefined) return [];
    return this.functions.map(({ slot }) => links.at(slot, this.clock.ns));
  }

  /** Events of the links so far and a hash of them: the same for the same calls on every host. */
  get linkEvents(): { readonly count: number; readonly hash: string } {
    const { timing } = this;
    return timing === undefined ? { count: 0, hash: NO_EVENTS } : { count: timing.events, hash: timing.hash };
  }

  /**
   * Waits until nothing is under way: every TLP has arrived and is acknowledged, and what it set going is done. Timers of
   * device models fire that are due on the way. In functional fidelity that is so after every call.
   */
  settle(): void {
    this.models.checkIdle('settle');
    this.timing?.settle();
    this.models.settle();
  }

  /**
   * Waits until the requests of functions are performed that translation units have looked at: in timed fidelity they stand
   * between the link and memory while their walk goes on. What arrives meanwhile is not waited for. A callback of a device
   * model cannot wait: there it does nothing.
   */
  retireTranslated(): void {
    if (this.timing === undefined || !this.models.canWait) return;
    const end = this.core.x.timedHeldEnd();
    if (end > 0) this.timing.idle(end);
  }

  /** Moves time on by `ns` nanoseconds: timers of device models fire, and what they set going is done. */
  run(ns: number): void {
    this.models.checkIdle('run');
    if (this.timing !== undefined) {
      this.timing.idle(this.clock.ticksAfter(ns));
      this.models.settle();
      return;
    }
    this.clock.run(ns, () => this.models.settle());
  }

  /** The interrupt messages (MSI, MSI-X) since the last call, in the order of arrival. */
  takeInterrupts(): InterruptMessage[] {
    return this.models.interrupts.splice(0);
  }

  /** Each interrupt once: a handler may cause others. */
  private deliverInterrupts(): void {
    const { interrupts } = this.control;
    while (this.onAdapterInterrupt !== undefined) {
      const next = interrupts.shift();
      if (next === undefined) return;
      this.onAdapterInterrupt(next);
    }
  }

  /** The adapter interrupts of zPCI functions since the last call, in their order: those that no callback was told of. */
  takeAdapterInterrupts(): AdapterInterrupt[] {
    return this.control.interrupts.splice(0);
  }

  /** The events of zPCI functions since the last call, in their order: errors, and functions that came or went. */
  takeEvents(): PciEvent[] {
    return this.events.take();
  }

  /** What device models logged since the last call, each line with the name of its function. */
  takeLog(): string[] {
    return this.models.log.splice(0);
  }

  /** Bytes of WebAssembly memory: fixed at create, whatever the machine does. */
  get memoryBytes(): number {
    return this.core.u8.buffer.byteLength;
  }

  /** How many times it was reset: what was made for the machine before its last reset is of no use. */
  get generation(): number {
    return this.resets;
  }

  /** Memories cleared, counters at 0, functions in the state of their slots: as after create, without a new instance. */
  reset(): void {
    this.models.checkIdle('reset');
    this.clock.checkStill('reset');
    this.resets += 1;
    this.timedLinks?.write();
    this.core.x.machineReset();
    for (const fn of this.functions) fn.reset();
    this.core.x.functionsChanged(this.functions.length);
    this.trace.take();
    this.clock.reset();
    this.events.take();
    this.control.reset();
    this.models.reset();
    for (const unit of this.iommus) unit.reset();
    this.cpu.forgetPort();
  }
}

const NO_EVENTS = '0'.repeat(16);

function linksOf({ slots }: CheckedConfig): CheckedLink[] {
  return slots.flatMap(({ link }) => (link === undefined ? [] : [link]));
}

/** Addresses at which memory writes are interrupts, [first, behind): LAPIC, ITS translation register (msi-reserved.md 1). */
const MESSAGE_RANGES: Readonly<Record<Platform, readonly [number, number]>> = {
  'x86-64': [0xfee0_0000, 0xfef0_0000],
  arm64: [0x0809_0040, 0x0809_0044],
  s390x: [0, 0],
};

const FUNCTIONS_PER_BUS = 32;
const RESET_KINDS = ['cold', 'warm', 'hot', 'flr'];

/** What `enumerate` gives out; one half each where there are two buses. */
const BUS_WINDOWS = {
  memory: { base: LOW_WINDOW.first, size: LOW_WINDOW.end - LOW_WINDOW.first },
  prefetchable: { base: 2 ** 40, size: 2 ** 44 },
  io: { base: IO_WINDOW.first, size: 0xe000 },
} as const;

function share(window: { base: number; size: number }, part: number, parts: number): Window {
  const size = window.size / parts;
  return { base: window.base + part * size, size };
}

/** The device of a machine that names none: a BAR of 64 KiB. */
const DEFAULT_DEVICE: DeviceModel = {
  name: 'memory',
  vendorId: 0x1af4,
  deviceId: 0x10f1,
  bars: [{ size: 0x10000, memory: true }],
};

/**
 * Builds a machine. Throws ZtlpError with the field, the value and what is allowed when the configuration is wrong, and
 * `resource` when the memory it asks for cannot be had.
 */
export async function createMachine(config: MachineConfig = {}): Promise<Machine> {
  const checked = checkConfig(config, DEFAULT_DEVICE);
  const { hostMemoryBytes, barBytes } = checked;
  const { iommus, unitOptions } = checked;
  const reserve = (x: CoreExports): void => {
    if (checked.isTimed) x.timedReserve(...roomOf(checked));
    if (iommus.length > 0)
      x.unitReserve(iommus.length, iotlbRoom(iommus, unitOptions), unitOptions.pagingStructureEntries);
  };
  const core = await Core.load(checked.core, hostMemoryBytes, barBytes, 0, reserve);
  return new Machine(core, checked);
}

function powerOfTwo(atLeast: number): number {
  return 2 ** Math.ceil(Math.log2(atLeast));
}

/** Most TLPs that the CPU can send without waiting: open write-combining lines in chunks, or one operation. */
const MOST_AT_ONCE = 512;
/** A TLP without data takes this much of a data ring. */
const LEAST_DATA = 32;

/**
 * Links, TLPs on hold at one end and data bytes on their way from it, for the largest of the slots, and TLPs that the root
 * complex holds until they are translated.
 */
function roomOf({ slots, options, iommus }: CheckedConfig): [number, number, number, number] {
  let holds = 0;
  let data = 0;
  let waiting = 0;
  let waitingBytes = 0;
  for (const { options: own, link } of slots) {
    // All tags may wait for completions at once, whoever asks.
    const pieces =
      1 + Math.ceil(own.mrrs / Math.min(own.mps, own.completionPolicy === 'rcb' ? own.rcb : own.mps));
    const requests = options.storeBuffer + MOST_AT_ONCE;
    holds = Math.max(holds, TAG_VALUES * pieces, requests + TAG_VALUES);
    const completions = TAG_VALUES * (Math.max(own.mrrs, 64) + pieces * LEAST_DATA);
    waiting = Math.max(waiting, (link?.rootCredits.ph ?? 0) + TAG_VALUES);
    waitingBytes = Math.max(waitingBytes, 16 * (link?.rootCredits.pd ?? 0));
    data = Math.max(data, completions + requests * (own.mps + LEAST_DATA) + 2 * (link?.replayBytes ?? 0));
  }
  if (iommus.length === 0 && options.snoopNs === 0)
    return [slots.length, powerOfTwo(2 * holds), powerOfTwo(2 * data), 0];
  // What is held still has its data at the sender's end.
  return [slots.length, powerOfTwo(2 * holds), powerOfTwo(4 * (data + waitingBytes)), holds + waiting];
}

/** Tags are 8 bits long. */
const TAG_VALUES = 256;
