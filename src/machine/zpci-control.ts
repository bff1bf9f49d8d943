/** Control of zPCI functions as a guest on s390x has it: CLP, MPCIFC, STPCIFC, SIC, SCLP, adapter interrupts, measurement. */
import { inRange, invalid, needObject } from '../base/errors.js';
import type { Options } from '../base/options.js';
import { checkU64, type U64 } from '../core/u64.js';
import {
  INSTRUCTION_BYTES,
  packAnswer,
  unpackAnswer,
  type ZpciAnswer,
  type ZpciOutcome,
} from '../zpci/answer.js';
import { CLP_LPS, CLP_MASK_COMMAND, installedMask, runClp } from '../zpci/clp.js';
import {
  executeMpcifc,
  type FunctionControls,
  type InterruptControls,
  type ModifyResult,
  MPCIFC_OC,
  storeControls,
  without,
} from '../zpci/controls.js';
import { PEC } from '../zpci/events.js';
import { FIB_BYTES } from '../zpci/fib.js';
import { fmbFailure, updateFmb } from '../zpci/fmb.js';
import { findByHandle, findByIndex } from '../zpci/handle.js';
import { type FunctionEvent, sclpRequest, type Transition, transition } from '../zpci/states.js';
import type { Clock } from './clock.js';
import type { PciFunction } from './function.js';
import type { HostMemory } from './memory.js';
import { checkHandle, isInProblemState } from './operands.js';
import type { PciEvents } from './pci-events.js';
import { EDMA, MUI_MS, SDMA, ZpciView } from './zpci-view.js';

/** Operand of CLP: where the block is (zpci.md 4.1). */
export interface ClpInput {
  /** Guest address of the request; the response follows it. */
  readonly address: U64;
  /** Logical processor selector: 0 base, 2 PCI. Default 2. */
  readonly lps?: number;
  readonly problemState?: boolean;
}

/** Operand of CLP with c = 1 (zpci.md 4.1). */
export interface ClpImmediateInput {
  /** 1: which logical processors there are; others are not installed. */
  readonly command: number;
  readonly problemState?: boolean;
}

export interface ClpImmediateAnswer extends ZpciAnswer {
  /** Selectors that are installed, the leftmost bit for 0. */
  readonly mask: bigint;
}

/** Operands of STPCIFC (zpci.md 6.3). */
export interface StpcifcInput {
  /** Function handle, 32 bits. */
  readonly fh: number;
  /** DMA address space, 8 bits. Default 0. */
  readonly dmaas?: number;
  /** Guest address of the 80 bytes of the function information block. */
  readonly fib: U64;
  readonly problemState?: boolean;
}

/** Operands of MPCIFC (zpci.md 6.1). */
export interface MpcifcInput extends StpcifcInput {
  /** Operation control, 8 bits: 2 and 3 interrupts, 4 to 6 translation, 7 and 9 recovery, 10 measurement. */
  readonly oc: number;
}

/** Operands of SIC (zpci.md 6.5). */
export interface SicInput {
  /** 0: all interrupts, 1: single-interrupt mode. */
  readonly operation: number;
  /** Interruption subclass, 0 to 7. */
  readonly isc: number;
  readonly problemState?: boolean;
}

export interface StpcifcAnswer extends ZpciAnswer {
  /** The request register holds the enabled handle afterwards. */
  readonly setsEnableBit: boolean;
}

/** An adapter interrupt of the machine. */
export interface AdapterInterrupt {
  /** Interruption subclass, 0 to 7. */
  readonly isc: number;
  /** Slot of the function whose message made it. */
  readonly slot: number;
  readonly ns: number;
}

export interface ZpciControlParts {
  readonly memory: HostMemory;
  readonly functions: readonly PciFunction[];
  readonly options: Options;
  readonly clock: Clock;
  /** The device behind a function as firmware hands it over: reset, its BARs where they were. */
  resetDevice(fn: PciFunction): void;
  readonly events: PciEvents;
}

const CLP_BYTES = 8192;
const VECTOR_MASK = 0x7ff;
const ISCS = 8;
/** A tick of the time-of-day clock is 2^-12 microseconds. */
const TOD_PER_NS = 4.096;

type Registered = Omit<FunctionControls, 'state'>;

export class ZpciControl {
  readonly interrupts: AdapterInterrupt[] = [];
  private readonly registered = new Map<PciFunction, Registered>();
  private readonly view: ZpciView;
  /** Functions that the operator wants back. */
  private readonly wantedBack = new Set<PciFunction>();
  /** Measurement blocks and their samples. The timer of one that was replaced finds another here, and does nothing. */
  private readonly samples = new Map<PciFunction, { readonly address: bigint; count: number }>();
  /** By ISC: single-interrupt mode, and whether its one interrupt was given. */
  private single = new Array<boolean>(ISCS).fill(false);
  private given = new Array<boolean>(ISCS).fill(false);

  constructor(private readonly parts: ZpciControlParts) {
    const { functions, options } = parts;
    this.view = new ZpciView({ functions, options, step: (fn, step) => this.step(fn, step) });
  }

  reset(): void {
    this.registered.clear();
    this.samples.clear();
    this.wantedBack.clear();
    this.interrupts.length = 0;
    this.single.fill(false);
    this.given.fill(false);
  }

  /** CALL LOGICAL PROCESSOR: the answer stands in the block. */
  clp(input: ClpInput): ZpciAnswer {
    needObject('input', input);
    const problemState = isInProblemState(input);
    const address = checkU64('address', input.address);
    const lps = inRange('lps', input.lps ?? CLP_LPS.PCI, 0, 7);
    const result = runClp(this.readable(address, CLP_BYTES), this.view, problemState, lps);
    if ('programInterruption' in result) return answerOf(result, INSTRUCTION_BYTES.clp);
    this.parts.memory.write(address, result.block);
    return answerOf({ cc: result.cc, status: 0 }, INSTRUCTION_BYTES.clp);
  }

  /** CALL LOGICAL PROCESSOR with its operand in the instruction (c = 1). */
  clpImmediate(input: ClpImmediateInput): ClpImmediateAnswer {
    needObject('input', input);
    const { command } = input;
    inRange('command', command, 0, 0xffff);
    if (isInProblemState(input))
      return {
        ...answerOf({ programInterruption: 'privileged operation' }, INSTRUCTION_BYTES.clp),
        mask: 0n,
      };
    if (command !== CLP_MASK_COMMAND)
      return { ...answerOf({ cc: 3, status: 0 }, INSTRUCTION_BYTES.clp), mask: 0n };
    return { ...answerOf({ cc: 0, status: 0 }, INSTRUCTION_BYTES.clp), mask: installedMask() };
  }

  /** MODIFY PCI FUNCTION CONTROLS. */
  mpcifc(input: MpcifcInput): ZpciAnswer {
    const { fh, dmaas, fib, problemState } = checkFibInput(input);
    const oc = inRange('oc', input.oc, 0, 0xff);
    const entry = findByHandle(this.entries(), fh);
    const bytes = this.readable(fib, FIB_BYTES);
    const current = entry && this.controlsOf(entry.fn);
    const { sdma, edma, dtsm, rtr } = { sdma: SDMA, edma: EDMA, ...(entry?.fn ?? this.parts).options };
    const result = executeMpcifc(
      {
        request: { fh, dmaas, oc },
        fibAddress: fib,
        fib: bytes.length === FIB_BYTES ? bytes : undefined,
        problemState,
      },
      current,
      {
        sdma,
        edma,
        dtsm,
        rtr,
        type: entry?.fn.identity.type ?? 0,
        mapsIndicators: (indicators) => this.mapsIndicators(indicators),
      },
    );
    if (entry !== undefined) this.take(entry.fn, result);
    if (entry !== undefined && oc === MPCIFC_OC.SET_MEASUREMENT && result.next !== undefined)
      this.measure(entry.fn, result.next.fmb);
    return answerOf(result.answer, INSTRUCTION_BYTES.mpcifc);
  }

  /** STORE PCI FUNCTION CONTROLS. */
  stpcifc(input: StpcifcInput): StpcifcAnswer {
    const { fh, dmaas, fib, problemState } = checkFibInput(input);
    const entry = findByIndex(this.entries(), fh);
    const result = storeControls(
      { request: { fh, dmaas }, fibAddress: fib, problemState },
      entry && this.controlsOf(entry.fn),
    );
    const { setsEnableBit } = result;
    if (result.fib === undefined)
      return { ...answerOf(result.answer, INSTRUCTION_BYTES.stpcifc), setsEnableBit };
    if (this.readable(fib, FIB_BYTES).length < FIB_BYTES)
      return {
        ...answerOf({ programInterruption: 'addressing' }, INSTRUCTION_BYTES.stpcifc),
        setsEnableBit: false,
      };
    this.parts.memory.write(fib, result.fib);
    return { ...answerOf(result.answer, INSTRUCTION_BYTES.stpcifc), setsEnableBit };
  }

  /** SET INTERRUPTION CONTROLS: operations 0 and 1; others are an operand exception, as in QEMU 7.2. */
  sic(input: SicInput): ZpciAnswer {
    needObject('input', input);
    const { operation, isc } = input;
    inRange('operation', operation, 0, 0xffff);
    inRange('isc', isc, 0, ISCS - 1);
    if (isInProblemState(input))
      return answerOf({ programInterruption: 'privileged operation' }, INSTRUCTION_BYTES.sic);
    if (operation > 1) return answerOf({ programInterruption: 'operand' }, INSTRUCTION_BYTES.sic);
    this.single[isc] = operation === 1;
    this.given[isc] = false;
    return answerOf({ cc: 0, status: 0 }, INSTRUCTION_BYTES.sic);
  }

  /** SCLP configure or deconfigure adapter; `fid` is the function ID. Returns the response code (zpci.md 1.3). */
  sclp(command: 'configure' | 'deconfigure', fid: number): number {
    if (command !== 'configure' && command !== 'deconfigure')
      throw invalid('command', command, 'configure, deconfigure');
    inRange('fid', fid, 0, 0xffff_ffff);
    const fn = this.parts.functions.find((candidate) => candidate.fid === fid);
    const { response, step } = sclpRequest(fn?.state, command);
    if (fn === undefined || step === undefined) return response;
    this.step(fn, step);
    if (command === 'deconfigure' && this.wantedBack.has(fn)) this.happen(fn, 'unplug');
    return response;
  }

  /** A device appears behind a reserved function; false: the function is not reserved. */
  plug(fn: PciFunction): boolean {
    if (fn.state !== 'reserved') return false;
    this.parts.resetDevice(fn);
    return this.happen(fn, 'plug');
  }

  /**
   * The operator wants the device back. A standby function goes at once; a configured one when the guest has
   * deconfigured it, for which it is asked; `surprise` does not ask. False: there is no device.
   */
  unplug(fn: PciFunction, surprise: boolean): boolean {
    if (fn.state === 'standby' || surprise)
      return this.happen(fn, fn.state === 'standby' ? 'unplug' : 'remove');
    if (!this.happen(fn, 'unplug-request')) return false;
    this.wantedBack.add(fn);
    return true;
  }

  /** What the platform's reset of the function does to its zPCI side. */
  resetFunction(fn: PciFunction): void {
    const taken = transition(fn.state, 'reset');
    if ('refused' in taken) return;
    // The device was reset already; firmware sets up its configuration space again.
    this.step(fn, { ...taken, resetsDevice: false });
    fn.restoreConfig();
  }

  /** Takes the step of an event and tells the guest of it; false: nothing changes. */
  private happen(fn: PciFunction, event: FunctionEvent): boolean {
    const taken = transition(fn.state, event);
    if ('refused' in taken) return false;
    this.step(fn, taken);
    if (fn.state === 'reserved') this.wantedBack.delete(fn);
    if (taken.event !== undefined) this.parts.events.availability(fn, taken.event);
    return true;
  }

  /**
   * A message of the function: sets its bit in the interruption bit vector, then the summary bit, and raises an adapter
   * interrupt (zpci.md 6.4). False: no interrupts are registered, so it is not an adapter interrupt.
   */
  message(fn: PciFunction, data: number): boolean {
    const { interrupts } = this.registered.get(fn) ?? {};
    if (interrupts === undefined) return fn.usesTranslation;
    const { qemuQuirks } = fn.options;
    const vector = data & VECTOR_MASK;
    // The vector is not held against the number of interrupts: a recorded case counts one beyond it as architecture.
    const { aibv, aibvo, aisb, aisbo, sum, isc } = interrupts;
    if (this.setBit(fn, aibv, aibvo + vector) === undefined) return true;
    if (!sum && !qemuQuirks) return true;
    const before = this.setBit(fn, aisb, aisbo);
    if (before === 0) this.raise(fn, isc);
    return true;
  }

  /** Sets a bit counted from the left; returns the byte before, undefined outside memory. */
  private setBit(fn: PciFunction, base: bigint, bit: number): number | undefined {
    const address = base + BigInt(bit >> 3);
    const [byte] = this.readable(address, 1);
    if (byte === undefined) {
      this.parts.events.error(fn, PEC.AIBV, address);
      return undefined;
    }
    this.parts.memory.write(address, Uint8Array.of(byte | (0x80 >> (bit & 7))));
    return byte;
  }

  private raise(fn: PciFunction, isc: number): void {
    if (this.single[isc] === true && this.given[isc] === true) return;
    this.given[isc] = true;
    this.interrupts.push({ isc, slot: fn.slot, ns: this.parts.clock.ns });
  }

  private controlsOf(fn: PciFunction): FunctionControls {
    return { ...this.registered.get(fn), state: fn.state };
  }

  private take(fn: PciFunction, { answer, next, event }: ModifyResult): void {
    // An exception suppresses the instruction, but for a reregistration, which has dropped the old one.
    if ('cc' in answer || next !== undefined) this.touch(fn);
    if (event !== undefined) this.parts.events.error(fn, event.pec, event.address);
    if (next !== undefined) this.become(fn, next);
  }

  private become(fn: PciFunction, { state, ...registered }: FunctionControls): void {
    const before = this.registered.get(fn);
    this.registered.set(fn, registered);
    if (registered.ioat !== before?.ioat) fn.translation = registered.ioat;
    if (state !== fn.state) fn.state = state;
    if (registered.fmb === undefined) this.samples.delete(fn);
  }

  /** zPCI software has named the function: from now on its DMA is translated, or refused. */
  touch(fn: PciFunction): void {
    if (!fn.usesTranslation) fn.translation = undefined;
  }

  /** The bits of all vectors and the summary bit lie in guest memory. */
  private mapsIndicators({ aibv, aibvo, noi, aisb, aisbo }: InterruptControls): boolean {
    const last = aibv + BigInt(Math.max(aibvo + noi - 1, 0) >> 3);
    return [aibv, last, aisb + BigInt(aisbo >> 3)].every((at) => this.readable(at, 1).length === 1);
  }

  private step(fn: PciFunction, { state, tearsDown, resetsDevice }: Transition): void {
    this.touch(fn);
    if (resetsDevice) this.parts.resetDevice(fn);
    this.become(fn, { ...without(this.controlsOf(fn), tearsDown), state });
  }

  /** Begins the updates of a measurement block, or begins them again; undefined: ends them. */
  private measure(fn: PciFunction, address: bigint | undefined): void {
    if (address === undefined) {
      this.samples.delete(fn);
      return;
    }
    const block = { address, count: 0 };
    this.samples.set(fn, block);
    this.schedule(fn, block);
  }

  private schedule(fn: PciFunction, block: { readonly address: bigint; count: number }): void {
    const { clock, memory } = this.parts;
    clock.after(MUI_MS * 1e6, () => {
      if (this.samples.get(fn) !== block) return;
      const { loads, stores, storeBlocks, refreshes } = fn.stats;
      const counters = { loads, stores, storeBlocks, refreshes };
      const tod = Math.floor(clock.ns * TOD_PER_NS);
      const update = updateFmb({ address: block.address, samples: block.count, tod, counters });
      for (const { address, bytes } of update.writes) {
        if (this.readable(address, bytes.length).length < bytes.length) {
          const failure = fmbFailure(address);
          this.samples.delete(fn);
          this.parts.events.error(fn, failure.pec, failure.address);
          return;
        }
        memory.write(address, bytes);
      }
      block.count = update.samples;
      this.schedule(fn, block);
    });
  }

  /** Guest memory from `address` on, as far as there is any. */
  private readable(address: U64, length: number): Uint8Array {
    const { memory } = this.parts;
    const left = BigInt(memory.size) - BigInt(address);
    return left <= 0n ? new Uint8Array(0) : memory.read(address, Number(left < length ? left : length));
  }

  private entries(): readonly {
    readonly index: number;
    readonly handle: number;
    readonly fn: PciFunction;
  }[] {
    return this.parts.functions.map((fn) => ({ index: fn.handleIndex, handle: fn.handle, fn }));
  }
}

function answerOf(outcome: ZpciOutcome, ilc: number): ZpciAnswer {
  return unpackAnswer(packAnswer(outcome), ilc);
}

function checkFibInput(input: StpcifcInput): Required<StpcifcInput> {
  needObject('input', input);
  const { fh, dmaas = 0, fib } = input;
  checkHandle(fh);
  const problemState = isInProblemState(input);
  inRange('dmaas', dmaas, 0, 0xff);
  return { fh, dmaas, fib: checkU64('fib', fib), problemState };
}
