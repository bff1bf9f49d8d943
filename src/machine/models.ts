/** Device models at work: serves what the core asks of them, and gives them time, DMA and interrupts. */
import * as L from '../../assembly/layout.js';
import { ZtlpError } from '../base/errors.js';
import type { Core } from '../core/core.js';
import { join64, low32, type U64 } from '../core/u64.js';
import type { AccessFailure } from '../device/access.js';
import type { DeviceHost } from '../device/host.js';
import { DeviceInstance } from '../device/instance.js';
import type { ResetKind } from '../device/types.js';
import { packAnswer } from '../zpci/answer.js';
import type { Clock } from './clock.js';
import { type DmaJobs, DmaQueue } from './dma.js';
import type { PciFunction } from './function.js';
import { Msi } from './msi.js';
import type { PciEvents } from './pci-events.js';
import { TimedDma } from './timed-dma.js';
import type { Timing } from './timing.js';

/** A memory write to the interrupt address range of the platform: one MSI or MSI-X message. */
export interface InterruptMessage {
  readonly slot: number;
  readonly address: U64;
  /** Message Data. */
  readonly data: number;
  /** Simulated time of its arrival. */
  readonly ns: number;
}

export interface ModelParts {
  readonly core: Core;
  readonly clock: Clock;
  readonly events: PciEvents;
  /** MODE_* of accesses now. */
  mode(): number;
  drainTrace(): void;
  /** The access and all that it set going are done: interrupts reach who wants to be told. */
  settled(): void;
  /** A message of a function; false: it is none of an adapter interrupt. */
  interrupt(fn: PciFunction, data: number): boolean;
  /** The parameter block was overwritten. */
  forget(): void;
  readonly isTimed: boolean;
  /** The CPU has PCI instructions. */
  readonly isZpci: boolean;
}

/** Posted writes of one access to a function that wants to be told once. */
interface Block {
  readonly bar: number;
  readonly offset: number;
  readonly parts: Uint8Array[];
  end: number;
  /** Timed: number of the access. */
  readonly serial: number;
}

/** Bytes of a request that its byte enables name: [start, end) of its DWs, and a mask where there are holes in it. */
interface Enabled {
  readonly start: number;
  readonly end: number;
  readonly mask: Uint8Array | undefined;
}

const STATUS: Readonly<Record<AccessFailure, number>> = {
  'unsupported-request': L.CPL_UR,
  'completer-abort': L.CPL_CA,
  rejected: L.CPL_CA,
  retry: L.CPL_RRS,
};

/** Of the number that a timed core gives a TLP: it is the last posted one of its access. */
const LAST_POSTED = 1 << 31;

/** By INSTRUCTION_*. */
const INSTRUCTIONS = ['pcilg', 'pcistg', 'pcistb', 'pcilgi', 'pcistgi', 'pcistbi'] as const;

export class Models {
  readonly interrupts: InterruptMessage[] = [];
  readonly log: string[] = [];
  /** Of a timed machine; set once, when there is one. */
  timing: Timing | undefined;
  private readonly dma: DmaJobs;
  private readonly timedDma: TimedDma | undefined;
  private functions: readonly PciFunction[] = [];
  /** By function: what has arrived of a block. The TLPs of two functions arrive in between one another. */
  private readonly blocks = new Map<PciFunction, Block>();
  private busy = false;
  private serving = false;

  constructor(private readonly parts: ModelParts) {
    this.timedDma = parts.isTimed ? new TimedDma(parts.core) : undefined;
    this.dma =
      this.timedDma ??
      new DmaQueue({
        core: parts.core,
        mode: () => parts.mode(),
        run: () => this.run(),
        forget: () => parts.forget(),
      });
  }

  /** Timed: the CPU executes an instruction for `fn`; nothing of it is staged yet. */
  startInstruction(fn: PciFunction | undefined): void {
    const { timing } = this;
    const options = (fn ?? this.functions[0])?.options;
    if (timing === undefined || options === undefined) return;
    const { instructionNs, exitNs, zpciMode } = options;
    const isTrapped = this.parts.isZpci && (zpciMode === 'emulated' || zpciMode === 'vfio');
    timing.instruction(instructionNs + (isTrapped ? exitNs : 0));
  }

  /** Timed: starts and ends DMA. */
  pump(): void {
    this.dma.drain();
  }

  restartDma(): void {
    this.timedDma?.restart();
  }

  /** Timed: no DMA is under way. */
  get isDmaIdle(): boolean {
    return this.timedDma?.isIdle ?? true;
  }

  /** Timed: does what the core stopped for, until `go` says that the CPU goes on. `told` tells the core what was served. */
  private runTimed(timing: Timing, go: () => boolean, told: () => void): void {
    const before = timing.accessing;
    timing.accessing = true;
    try {
      while (!go()) {
        if (timing.step()) told();
        timing.after();
      }
    } finally {
      timing.accessing = before;
    }
    this.parts.drainTrace();
  }

  /** Makes an instance for every function whose device is a model, and lets its configuration space act. */
  attach(functions: readonly PciFunction[]): void {
    this.functions = functions;
    for (const fn of functions) {
      const msi = new Msi(fn.config, (address, data) => this.send(fn, address, data));
      if (fn.device !== undefined) fn.instance = new DeviceInstance(fn.device, this.hostOf(fn, msi));
      this.observe(fn, msi);
    }
    this.routesChanged();
  }

  /** A reset from outside: fundamental, of the link, or of the function (PCIe base specification 6.6). */
  resetFunction(fn: PciFunction, kind: Exclude<ResetKind, 'd3hot'>): void {
    fn.config.reset(kind === 'flr' ? 'function' : kind === 'hot' ? 'hot' : 'power-on');
    this.resetInstance(fn, kind);
    this.settle();
  }

  /** The device behind a zPCI function as firmware hands it over. */
  resetDevice(fn: PciFunction): void {
    fn.restoreConfig();
    this.resetInstance(fn, 'warm');
  }

  private resetInstance(fn: PciFunction, kind: ResetKind): void {
    this.dma.drop(fn);
    this.blocks.delete(fn);
    if (fn.instance === undefined) fn.clearMemory();
    // A model may not call the machine while it is being reset: nothing of it is as it should be.
    const before = this.serving;
    this.serving = true;
    try {
      fn.instance?.reset(kind);
    } finally {
      this.serving = before;
    }
    this.controlMsix(fn);
  }

  private controlMsix(fn: PciFunction): void {
    const { msix } = fn.config;
    if (msix !== undefined) fn.instance?.setMsixControl(msix.enable, msix.functionMask);
  }

  /** What changes in configuration space takes effect: addresses, decoding, interrupts, resets. */
  private observe(fn: PciFunction, msi: Msi): void {
    const decode = (): void => {
      fn.decodeChanged();
      this.routesChanged();
    };
    fn.config.observer = {
      command: decode,
      bar: ({ index }) => {
        fn.barMoved(index);
        this.routesChanged();
      },
      msix: () => this.controlMsix(fn),
      msi: () => msi.changed(),
      powerState: (_state, wasReset) => {
        decode();
        if (wasReset) this.resetInstance(fn, 'd3hot');
      },
      flr: () => this.resetInstance(fn, 'flr'),
    };
    this.controlMsix(fn);
  }

  private routesChanged(): void {
    this.parts.core.x.functionsChanged(this.functions.length);
  }

  /** Runs the access that was begun to its end, whatever it needs from the host on the way. */
  run(): void {
    const { x } = this.parts.core;
    if (this.timing !== undefined) {
      this.runTimed(
        this.timing,
        () => x.run() === L.RUN_DONE,
        () => x.served(),
      );
      return;
    }
    while (x.run() === L.RUN_HOST) {
      // Draining frees ring and payload: never while a request of the ring waits for its answer.
      if (x.records() > 0) {
        this.serve();
        x.served();
      } else this.parts.drainTrace();
    }
    this.parts.drainTrace();
    // A block is one access: that of a peer's DMA ends here too.
    this.endBlocks();
  }

  /** Goes on with a PCI instruction that answered ANSWER_HOST; returns its answer. */
  finishInstruction(): number {
    let answer = L.ANSWER_HOST;
    const { x } = this.parts.core;
    if (this.timing !== undefined) {
      let begun = false;
      const go = (): boolean => {
        if (begun) answer = x.zpciResume();
        begun = true;
        return (answer & L.ANSWER_HOST) === 0;
      };
      this.runTimed(this.timing, go, () => undefined);
      return answer;
    }
    while ((answer & L.ANSWER_HOST) !== 0) {
      this.serve();
      answer = this.parts.core.x.zpciResume();
    }
    return answer;
  }

  /** Delivers a configuration request and its completion. */
  finishConfig(): void {
    const { x } = this.parts.core;
    if (this.timing !== undefined) {
      this.runTimed(
        this.timing,
        () => x.deliver() === L.RUN_DONE,
        () => undefined,
      );
      this.settle();
      return;
    }
    while (x.deliver() === L.RUN_HOST) this.serve();
    this.parts.drainTrace();
    this.settle();
  }

  /** Serves what write-combining stores left to do. */
  finishPosted(): void {
    const { x } = this.parts.core;
    while (x.records() > 0) {
      this.serve();
      x.deliver();
    }
  }

  /** The access has ended: block writes are told, and everything that the models set going is done. */
  settle(): void {
    const { timing } = this;
    if (timing !== undefined) this.endAccess();
    if (this.busy) return;
    this.busy = true;
    try {
      if (timing === undefined) this.endBlocks();
      this.dma.drain();
      timing?.advance();
    } finally {
      this.busy = false;
    }
    this.parts.drainTrace();
    this.parts.settled();
  }

  reset(): void {
    this.dma.clear();
    this.blocks.clear();
    this.interrupts.length = 0;
    this.log.length = 0;
    for (const fn of this.functions) this.resetInstance(fn, 'cold');
  }

  /** Does what the records say, in their order. */
  serve(): void {
    const { core } = this.parts;
    const count = core.x.records();
    // The short way of PCISTB would pass by `checkIdle`.
    this.parts.forget();
    this.serving = true;
    try {
      for (let n = 0; n < count; n++) {
        const at = core.at(L.PLACE_RECORDS) + n * L.RECORD_STRIDE;
        const status = this.perform(at);
        core.u32[(at + L.RECORD_STATUS) >>> 2] = status;
      }
    } finally {
      this.serving = false;
    }
  }

  /** No model is in the middle of an answer, so that time may pass. */
  get canWait(): boolean {
    return !this.serving && this.timing?.accessing !== true;
  }

  /** Throws while a model answers an access: the machine is in the middle of it. */
  checkIdle(what: string): void {
    if (this.canWait) return;
    throw new ZtlpError('unsupported', `${what} was called from a callback of a device model`, {
      field: what,
      allowed: 'DMA of the context; accesses from DMA and timer callbacks and from outside',
    });
  }

  private perform(at: number): number {
    const { core } = this.parts;
    const word = (offset: number): number => core.u32[(at + offset) >>> 2] as number;
    const kind = word(L.RECORD_KIND);
    const slot = word(L.RECORD_SLOT) & 0xffff;
    const bar = word(L.RECORD_SLOT) >>> 16;
    const address = join64(word(L.RECORD_OFFSET), word(L.RECORD_OFFSET_HI));
    // BARs end below 2^53.
    const offset = Number(address);
    const bytes = word(L.RECORD_BYTES);
    const data = word(L.RECORD_DATA);
    const fn = this.functions[slot] as PciFunction;
    if (kind === L.RECORD_MESSAGE) {
      const message = core.u32[data >>> 2] as number;
      if (this.parts.interrupt(fn, message)) return L.CPL_SC;
      this.interrupts.push({ slot, address, data: message, ns: this.parts.clock.ns });
      return L.CPL_SC;
    }
    if (kind === L.RECORD_DMA) {
      const status = word(L.RECORD_STATUS);
      this.timedDma?.end(offset, status);
      return status;
    }
    if (kind === L.RECORD_EVENT) {
      fn.state = 'error';
      this.parts.events.error(fn, word(L.RECORD_EVENT_CODE), address, bar === 1);
      return L.CPL_SC;
    }
    if (kind === L.RECORD_INSTRUCTION) {
      this.endBlock(fn);
      const instruction = word(L.RECORD_INSTRUCTION_KIND);
      const answer = fn.instance?.acceptInstruction({
        op: INSTRUCTIONS[instruction] ?? 'pcistb',
        as: bar,
        offset: address,
        length: bytes,
      });
      const isTaken = answer === undefined || answer === true;
      const isBusy = !isTaken && 'cc' in answer && answer.cc === L.CC_BUSY;
      const hasForm = instruction < L.INSTRUCTION_MIO || fn.takesMio;
      if (!hasForm || !(isTaken || isBusy)) fn.countViolation();
      return isTaken ? L.CC_DONE : packAnswer(answer);
    }
    if (kind === L.RECORD_CONFIG_READ || kind === L.RECORD_CONFIG_WRITE) {
      this.endBlock(fn);
      if (offset >= fn.config.size) return L.CPL_UR; // a conventional function has no extended space
      if (kind === L.RECORD_CONFIG_READ) core.u32[data >>> 2] = fn.config.read(offset, 4);
      else fn.config.writeDw(offset, core.u32[data >>> 2] as number, word(L.RECORD_ENABLES));
      return L.CPL_SC;
    }
    const emulated = kind === L.RECORD_CALL_READ || kind === L.RECORD_CALL_WRITE;
    const { start, end, mask } = emulated
      ? { start: 0, end: bytes, mask: undefined }
      : enabledSpan(bytes, word(L.RECORD_ENABLES));
    if (start >= end) return L.CPL_SC;
    if (kind === L.RECORD_READ || kind === L.RECORD_CALL_READ) {
      this.endBlock(fn);
      const answer = fn.instance?.read(bar, offset + start, end - start, { emulated });
      core.u8.fill(0, data, data + bytes);
      if (!(answer instanceof Uint8Array)) return STATUS[answer ?? 'unsupported-request'];
      core.u8.set(answer, data + start);
      return L.CPL_SC;
    }
    const written = core.u8.slice(data + start, data + end);
    const deferrable = !emulated && word(L.RECORD_REQUEST) !== 0;
    if (!emulated && !deferrable && mask === undefined && fn.device?.blockWrites === true) {
      this.gather(fn, bar, offset + start, written);
      return L.CPL_SC;
    }
    this.endBlock(fn);
    const answer =
      fn.instance?.write(bar, offset + start, written, mask, { emulated, deferrable }) ??
      'unsupported-request';
    return answer === 'ok' ? L.CPL_SC : STATUS[answer];
  }

  /** Adds a posted write to the block that it continues; another one ends it. */
  private gather(fn: PciFunction, bar: number, offset: number, bytes: Uint8Array): void {
    const block = this.blocks.get(fn);
    // In functional fidelity a block ends with its access, so that there is one number only.
    const tag = this.timing === undefined ? 0 : this.parts.core.x.timedSerial();
    const serial = tag & ~LAST_POSTED;
    const goesOn = block?.bar === bar && block.end === offset && block.serial === serial;
    if (block !== undefined && goesOn) {
      block.parts.push(bytes);
      block.end += bytes.length;
    } else {
      this.endBlock(fn);
      this.blocks.set(fn, { bar, offset, parts: [bytes], end: offset + bytes.length, serial });
    }
    if ((tag & LAST_POSTED) !== 0) this.endBlock(fn);
  }

  /** Timed: the access is over. A block of it of which nothing is on its way any more ends here. */
  private endAccess(): void {
    const number = this.parts.core.x.timedEndAccess();
    if (this.blocks.size === 0) return;
    this.parts.clock.moveTo(this.parts.core.x.timedNow());
    for (const [fn, { serial }] of [...this.blocks]) if (serial === number) this.endBlock(fn);
  }

  private endBlocks(): void {
    if (this.blocks.size === 0) return;
    for (const fn of [...this.blocks.keys()]) this.endBlock(fn);
  }

  private endBlock(fn: PciFunction): void {
    const block = this.blocks.get(fn);
    if (block === undefined) return;
    this.blocks.delete(fn);
    const bytes = new Uint8Array(block.end - block.offset);
    let at = 0;
    for (const part of block.parts) {
      bytes.set(part, at);
      at += part.length;
    }
    const before = this.serving;
    this.serving = true;
    try {
      fn.instance?.write(block.bar, block.offset, bytes);
    } finally {
      this.serving = before;
    }
  }

  private hostOf(fn: PciFunction, msi: Msi): DeviceHost {
    const { clock } = this.parts;
    return {
      now: () => clock.ns,
      after: (ns, callback) => clock.after(ns, callback),
      dmaRead: (address, length, options, done) => {
        this.dma.add({ fn, address, what: length, options, done });
      },
      dmaWrite: (address, bytes, options, done) => {
        this.dma.add({ fn, address, what: bytes.slice(), options, done: ({ status }) => done({ status }) });
      },
      msix: (_vector, address, data) => this.send(fn, address, data),
      msi: (vector) => {
        if (!msi.raise(vector)) this.log.push(`${fn.name}: MSI vector ${vector} is lost: MSI is not enabled`);
      },
      log: (text) => void this.log.push(`${fn.name}: ${text}`),
      entered: () => {
        if (this.canWait) this.settle();
      },
      deviceOptions: fn.options,
      memory: {
        read: (bar, offset, length) => fn.barMemory(bar).slice(offset, offset + length),
        write: (bar, offset, bytes) => fn.barMemory(bar).set(bytes, offset),
      },
    };
  }

  /** An interrupt message: a memory write of one DW, after all the DMA that was asked for before it. */
  private send(fn: PciFunction, address: U64, data: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, low32(data), true);
    this.dma.add({ fn, address, what: bytes, options: {}, done: () => undefined });
  }
}

/** What the byte enables of a request of `bytes` bytes of DWs name (PCIe base specification 2.2.5). */
function enabledSpan(bytes: number, enables: number): Enabled {
  const first = enables & 0xf;
  const last = bytes > 4 ? enables >>> 4 : first;
  const isOn = (at: number): boolean => {
    if (at < 4) return ((first >>> at) & 1) === 1;
    return at < bytes - 4 || ((last >>> (at & 3)) & 1) === 1;
  };
  let start = 0;
  while (start < bytes && !isOn(start)) start++;
  let end = bytes;
  while (end > start && !isOn(end - 1)) end--;
  // Holes can only be in the first and the last DW.
  const mask = Uint8Array.from({ length: end - start }, (_, n) => (isOn(start + n) ? 1 : 0));
  return { start, end, mask: mask.every((on) => on === 1) ? undefined : mask };
}
