/** The CPU side of a machine: accesses along a path, PCI instructions, write-combining stores. */
import * as L from '../../assembly/layout.js';
import { invalid, needObject, ZtlpError } from '../base/errors.js';
import type { Options } from '../base/options.js';
import type { AccessTotals, Core } from '../core/core.js';
import type { CoreExports } from '../core/exports.js';
import { add64, checkU64, high32, low32, type U64 } from '../core/u64.js';
import { type Fault, faultOf } from '../path/fault.js';
import { pathOf, planOf, setParams } from '../path/prepare.js';
import { touched } from '../path/split.js';
import { type AccessPath, isDirect, type PathId, type Platform } from '../path/table.js';
import { setTlpOptions } from '../tlp/split.js';
import { ANSWER_DONE, INSTRUCTION_BYTES, unpackAnswer, type ZpciAnswer } from '../zpci/answer.js';
import type { PciFunction } from './function.js';
import { type MioBlockInput, type MioLoadInput, type MioStoreInput, MioUnit } from './mio.js';
import type { Models } from './models.js';
import {
  checkHandle,
  checkInput,
  checkLength,
  checkRegister,
  checkSpace,
  isInProblemState,
  needS390,
} from './operands.js';
import type { TlpTrace } from './trace.js';
import {
  type PciLoadAnswer,
  type PciLoadInput,
  type PciStoreInput,
  type RpcitInput,
  ZpciUnit,
} from './zpci.js';
import type {
  ClpImmediateAnswer,
  ClpImmediateInput,
  ClpInput,
  MpcifcInput,
  SicInput,
  StpcifcAnswer,
  StpcifcInput,
  ZpciControl,
} from './zpci-control.js';

export interface AccessInput {
  readonly path: PathId;
  readonly function: PciFunction;
  readonly bar: number;
  /** Offset in the BAR. */
  readonly offset: number;
  /**
   * Repeat the path's instruction over the bytes, instead of one access of exactly this size. Default true: a CPU moves
   * blocks. (`splitAccess` shows one access: there the default is false.)
   */
  readonly block?: boolean;
  /** Memory address of the first byte, for rules that look at it. Default 0: page-aligned. */
  readonly sourceAddress?: U64;
}

export interface WriteInput extends AccessInput {
  /** 1 byte to 1 MiB. */
  readonly data: Uint8Array;
}

export interface ReadInput extends AccessInput {
  /** 1 byte to 1 MiB. */
  readonly length: number;
}

export interface AccessResult {
  /** Why the access stopped early; what came before it was done. */
  readonly fault: Fault | undefined;
  /** Of the non-posted requests: the last error that a completion brought. ENQCMD sees `request-retry` as ZF. */
  readonly completion: CompletionStatus;
  readonly totals: AccessTotals;
  /**
   * Timed fidelity: how long the CPU was busy with it, ns. Posted stores are under way afterwards; for others their answers
   * have come.
   */
  readonly ns?: number;
}

/** Completion Status (PCIe base specification 2.2.9). */
export type CompletionStatus = 'successful' | 'unsupported-request' | 'request-retry' | 'completer-abort';

const COMPLETIONS: Readonly<Record<number, CompletionStatus>> = {
  [L.CPL_SC]: 'successful',
  [L.CPL_UR]: 'unsupported-request',
  [L.CPL_RRS]: 'request-retry',
  [L.CPL_CA]: 'completer-abort',
};

export interface ReadResult extends AccessResult {
  /** The bytes read; all ones where nobody answered, 0 behind a fault. */
  readonly data: Uint8Array;
}

/** Operands of one PCI STORE BLOCK (sheet zpci.md 2.2, 2.7). */
export interface PcistbInput {
  /** Function handle, 32 bits. */
  readonly fh: number;
  /** Address space: BAR 0 to 5; 15 is configuration space. */
  readonly as: number;
  /** Offset in the space, 64 bits. */
  readonly offset: U64;
  /** Length in bytes; as in the instruction only the low 13 bits count. */
  readonly length: number;
  /** The bytes to store (at least `length` of them), or the guest address where they stand. */
  readonly source: Uint8Array | U64;
  /** With `source` as bytes: the address to take for the alignment rule. Default 0. */
  readonly sourceAddress?: U64;
  /** Executed in problem state: a privileged-operation exception. */
  readonly problemState?: boolean;
  /** Number of the register with the offset. It is none of a pair: any will do. */
  readonly r3?: number;
}

/** What the CPU object needs of its machine. */
export interface CpuParts {
  readonly core: Core;
  readonly platform: Platform;
  readonly functions: readonly PciFunction[];
  readonly trace: TlpTrace;
  readonly models: Models;
  readonly control: ZpciControl;
  /** MODE_* of accesses now. */
  mode(): number;
}

const LINE = 64;

/** The shift keeps exactly the integers that 32 bits can hold. */
function isU32(value: unknown): value is number {
  return typeof value === 'number' && value >>> 0 === value;
}

export class Cpu {
  private readonly core: Core;
  private readonly parts: CpuParts;
  /** Handle whose function's port options stand in the parameter block. */
  private preparedHandle: number | undefined;
  private readonly pathOptions = new Map<PciFunction, Map<AccessPath, Options>>();
  private readonly hasPcistb: boolean;
  private readonly trace: TlpTrace;
  private readonly zpci: ZpciUnit;
  private readonly mio: MioUnit;
  // The core's instruction and its memory, at hand for the short way of `pcistb`.
  private readonly store: CoreExports['pcistb'];
  private readonly bytes: Uint8Array;

  constructor(parts: CpuParts) {
    this.core = parts.core;
    this.store = parts.core.x.pcistb;
    this.bytes = parts.core.u8;
    this.trace = parts.trace;
    this.hasPcistb = parts.platform === 's390x' && parts.models.timing === undefined;
    this.parts = parts;
    const zpciParts = {
      ...parts,
      preparePort: (fn: PciFunction) => this.preparePort(fn),
      forgetPort: () => this.forgetPort(),
    };
    this.zpci = new ZpciUnit(zpciParts);
    this.mio = new MioUnit(zpciParts, this.zpci);
  }

  /**
   * Writes `data` along a path. Posted writes have arrived when it returns; in timed fidelity they are under way, see
   * `Machine.settle`.
   */
  write(input: WriteInput): AccessResult {
    needObject('input', input);
    const { data } = input;
    if (!(data instanceof Uint8Array)) throw invalid('data', data, 'a Uint8Array');
    const { at, run } = this.begin(input, 'write', data.length);
    this.core.u8.set(data, at);
    const result = run();
    this.parts.models.settle();
    return result;
  }

  /** Reads `length` bytes along a path. Behind a PCI load that fails all are ones, as Linux's accessors give. */
  read(input: ReadInput): ReadResult {
    needObject('input', input);
    const { length } = input;
    const { at, run } = this.begin(input, 'read', length);
    this.core.u8.fill(0, at, at + length);
    const result = run();
    // The next request of a function takes the place of these bytes.
    const data = this.core.u8.slice(at, at + length);
    // Linux makes ones of a load that fails (zpci.md 2.3).
    if (result.fault?.kind === 'zpci') data.fill(0xff, result.fault.offset - input.offset);
    this.parts.models.settle();
    return { ...result, data };
  }

  /** Checks and prepares an access; answers where its bytes are staged and how to run it. */
  private begin(
    input: AccessInput,
    op: 'read' | 'write',
    length: number,
  ): { at: number; run: () => AccessResult } {
    this.parts.models.checkIdle(`cpu.${op}`);
    const path = pathOf(input.path);
    const fn = this.ownFunction(input.function);
    this.checkPath(path, fn);
    const bar = fn.bar(input.bar);
    const { offset, block = true } = input;
    if (!Number.isInteger(length) || length < 1 || length > L.ACCESS_BYTES) {
      throw invalid(
        op === 'read' ? 'length' : 'data',
        length,
        `1 to ${L.ACCESS_BYTES} bytes`,
        'out-of-range',
      );
    }
    if (!Number.isInteger(offset) || offset < 0 || offset + length > bar.size) {
      throw invalid(
        'offset',
        offset,
        `0 to ${bar.size - length} for ${length} bytes in this BAR`,
        'out-of-range',
      );
    }
    const sourceAddress = checkU64('sourceAddress', input.sourceAddress ?? 0);
    const span = touched(path, op, offset, length);
    const access = { op, bytes: span.bytes, block };
    const options = this.optionsOf(path, fn);
    const plan = planOf(path, access, options);
    // Every other access of an x86 CPU closes the write-combining buffers first, so that stores keep their order.
    if (this.parts.platform === 'x86-64') this.wcFence(fn);
    this.preparedHandle = undefined;
    setParams(this.core, { access, plan, options, mode: this.parts.mode(), sourceAddress });
    const { timing } = this.parts.models;
    timing?.charge(options, isDirect(plan), op === 'read' && path.loads === 'pipelined');
    const alwaysBlock = (plan.check & L.CHECK_KIND) === L.CHECK_ZPCI_BLOCK;
    const run = (): AccessResult => {
      const begun = timing?.cpuTicks ?? 0;
      this.core.x.accessBegin(fn.slot, input.bar, 0, 0, low32(span.offset), high32(span.offset), span.bytes);
      this.parts.models.run();
      const totals = this.core.totals();
      const completion = COMPLETIONS[this.core.x.completionStatus()] ?? 'completer-abort';
      const result = { fault: faultOf(totals, alwaysBlock), completion, totals };
      return timing === undefined ? result : { ...result, ns: (timing.cpuTicks - begun) / L.TICKS_PER_NS };
    };
    return { at: this.core.stagedAt(span.offset) + (offset - span.offset), run };
  }

  /** Options of an access: made once for each path and function, since they are some ninety properties. */
  private optionsOf(path: AccessPath, fn: PciFunction): Options {
    const known = this.pathOptions.get(fn) ?? new Map<AccessPath, Options>();
    const options = known.get(path) ?? withPath(path, fn);
    this.pathOptions.set(fn, known.set(path, options));
    return options;
  }

  /** A path belongs to one platform, and a zPCI path to one way of executing the function. */
  private checkPath(path: AccessPath, fn: PciFunction): void {
    const { platform } = this.parts;
    if (path.platform !== 'any' && path.platform !== platform) {
      throw new ZtlpError(
        'invalid-value',
        `path ${path.id} runs on ${path.platform}, this machine is ${platform}`,
        {
          field: 'path',
          value: path.id,
          allowed: `paths of ${platform}`,
        },
      );
    }
    const mode = path.options.zpciMode;
    if (mode !== undefined && mode !== fn.options.zpciMode) {
      throw new ZtlpError(
        'invalid-value',
        `path ${path.id} needs a function with zpciMode ${mode}, ${fn.name} has ${fn.options.zpciMode}`,
        { field: 'path', value: path.id, allowed: `options: { zpciMode: '${mode}' } for its slot` },
      );
    }
  }

  private ownFunction(fn: PciFunction): PciFunction {
    if (this.parts.functions.includes(fn)) return fn;
    throw invalid('function', fn, 'one of machine.functions');
  }

  /**
   * PCI STORE BLOCK. Answers condition code, status and program exception in the order of the checks of sheet zpci.md
   * 2.7 and 3.1. Bytes that are in place when it returns: all of them with cc 0, none otherwise.
   */
  pcistb(input: PcistbInput): ZpciAnswer {
    needObject('input', input);
    const { fh, as, length, offset, source, sourceAddress, problemState, r3 } = input;
    // Most calls: operands of 32 bits for the function of the call before, and nobody watching. A store of 128 bytes
    // costs little more than the call itself, so this way has as few checks as will do; all others go the long way.
    if (
      fh !== undefined &&
      fh === this.preparedHandle &&
      isU32(as) &&
      as < 16 &&
      isU32(length) &&
      isU32(offset) &&
      problemState === undefined &&
      r3 === undefined &&
      !this.trace.enabled
    ) {
      if (isU32(source)) {
        const packed = this.store(fh, as | L.STORE_FROM_MEMORY, length, offset, 0, source, 0);
        return packed === L.CC_DONE ? ANSWER_DONE : this.endStore(packed);
      }
      if (
        source instanceof Uint8Array &&
        source.length === length &&
        length <= L.PAGE_BYTES &&
        sourceAddress === undefined
      ) {
        const packed = this.store(fh, as | L.STORE_IN_PLACE, length, offset, 0, 0, 0) >>> 0;
        if (packed >= L.ANSWER_LIMIT) {
          this.bytes.set(source, packed);
          return ANSWER_DONE;
        }
        if (packed !== L.STAGE_FIRST) return this.endStore(packed);
      }
    }
    return this.storeBlock(input);
  }

  /** PCI LOAD: the checks of sheet zpci.md 2.6 in their order. */
  pcilg(input: PciLoadInput): PciLoadAnswer {
    return this.zpci.pcilg(input);
  }

  /** PCI STORE: the checks of sheet zpci.md 2.6 in their order. */
  pcistg(input: PciStoreInput): ZpciAnswer {
    return this.zpci.pcistg(input);
  }

  /** PCI LOAD in its MIO form: an address instead of handle, space and offset (sheet zpci.md 2.9). */
  pcilgi(input: MioLoadInput): PciLoadAnswer {
    return this.mio.pcilgi(input);
  }

  /** PCI STORE in its MIO form. */
  pcistgi(input: MioStoreInput): ZpciAnswer {
    return this.mio.pcistgi(input);
  }

  /** PCI STORE BLOCK in its MIO form. */
  pcistbi(input: MioBlockInput): ZpciAnswer {
    return this.mio.pcistbi(input);
  }

  /** PCI WRITE BARRIER: stores to write-back addresses have reached the function. */
  pciwb(): ZpciAnswer {
    return this.mio.pciwb();
  }

  /** REFRESH PCI TRANSLATIONS: the checks of sheet zpci.md 5.4 in their order. */
  rpcit(input: RpcitInput): ZpciAnswer {
    return this.zpci.rpcit(input);
  }

  /** CALL LOGICAL PROCESSOR (sheet zpci.md 4): request and response stand in guest memory. */
  clp(input: ClpInput): ZpciAnswer {
    return this.controlFor('CLP').clp(input);
  }

  /** CALL LOGICAL PROCESSOR with its operand in the instruction: command 1 answers which logical processors there are. */
  clpImmediate(input: ClpImmediateInput): ClpImmediateAnswer {
    return this.controlFor('CLP').clpImmediate(input);
  }

  /** MODIFY PCI FUNCTION CONTROLS (sheet zpci.md 6.1). */
  mpcifc(input: MpcifcInput): ZpciAnswer {
    return this.controlFor('MPCIFC').mpcifc(input);
  }

  /** STORE PCI FUNCTION CONTROLS (sheet zpci.md 6.3). */
  stpcifc(input: StpcifcInput): StpcifcAnswer {
    return this.controlFor('STPCIFC').stpcifc(input);
  }

  /** SET INTERRUPTION CONTROLS (sheet zpci.md 6.5). */
  sic(input: SicInput): ZpciAnswer {
    return this.controlFor('SIC').sic(input);
  }

  /** SCLP configure and deconfigure adapter (sheet zpci.md 1.3); returns the response code. */
  sclp(command: 'configure' | 'deconfigure', fid: number): number {
    return this.controlFor('SCLP').sclp(command, fid);
  }

  private controlFor(instruction: string): ZpciControl {
    needS390(instruction, this.parts.platform);
    this.parts.models.checkIdle(`cpu.${instruction.toLowerCase()}`);
    return this.parts.control;
  }

  /** PCISTB with every check, whatever the operands are. */
  private storeBlock(input: PcistbInput): ZpciAnswer {
    const { fh, as, length, offset, source } = input;
    this.parts.models.checkIdle('cpu.pcistb');
    checkInput('PCISTB', input, this.parts.platform);
    checkHandle(fh);
    checkSpace(as);
    checkLength(length);
    checkRegister('r3', input.r3);
    checkU64('offset', offset);
    this.parts.models.startInstruction(this.named(fh));
    if (fh !== this.preparedHandle) this.prepareFor(fh);
    let flags = as | (isInProblemState(input) ? L.STORE_PROBLEM_STATE : 0);
    let address: U64;
    if (typeof source === 'number' || typeof source === 'bigint') {
      address = checkU64('source', source);
      flags |= L.STORE_FROM_MEMORY;
    } else {
      address = checkU64('sourceAddress', input.sourceAddress ?? 0);
      this.stageSource(source, length & L.PCISTB_LENGTH_MASK, low32(offset));
    }
    const packed = this.store(
      fh,
      flags,
      length,
      low32(offset),
      high32(offset),
      low32(address),
      high32(address),
    );
    return this.endStore(packed);
  }

  /** Serves the models that a PCISTB reached, and unpacks its answer. */
  private endStore(packed: number): ZpciAnswer {
    const { models } = this.parts;
    const answer = (packed & L.ANSWER_HOST) === 0 ? packed : models.finishInstruction();
    this.trace.drain();
    models.settle();
    return unpackAnswer(answer >>> 0, INSTRUCTION_BYTES.pcistb);
  }

  private stageSource(source: Uint8Array, length: number, offset: number): void {
    if (!(source instanceof Uint8Array)) throw invalid('source', source, 'a Uint8Array or a guest address');
    if (source.length < length) throw invalid('source', source, `at least ${length} bytes`, 'out-of-range');
    this.core.u8.set(
      source.length === length ? source : source.subarray(0, length),
      this.core.stagedAt(offset),
    );
  }

  /** Puts the options of the addressed function's port into the parameter block. */
  private prepareFor(fh: number): void {
    const fn = this.named(fh);
    if (fn === undefined) return; // no such function: the core answers before it looks at options
    this.preparePort(fn);
  }

  private named(fh: number): PciFunction | undefined {
    return this.parts.functions.find((candidate) => candidate.handle === fh);
  }

  private preparePort(fn: PciFunction): void {
    setTlpOptions(this.core, fn.options);
    this.core.setParam(L.PARAM_OP, L.OPERATION_WRITE);
    this.core.setParam(L.PARAM_REQUESTER, 0);
    this.core.setParam(L.PARAM_HEADER_BITS, 0);
    this.core.setParam(L.PARAM_UNCUT, 0);
    this.core.setParam(L.PARAM_DESCENDING, fn.options.wcChunkOrder === 'descending' ? 1 : 0);
    this.core.setParam(L.PARAM_MODE, this.parts.mode());
    // Only where PCI instructions exist, and take no time, may the short way of `pcistb` find its function prepared.
    this.preparedHandle = this.hasPcistb ? fn.handle : undefined;
  }

  /** Prepares a configuration request; an uncacheable access on x86, so that open lines leave first. */
  prepareConfig(): void {
    this.parts.models.checkIdle('config');
    const [port] = this.parts.functions;
    if (port === undefined) return;
    if (this.parts.platform === 'x86-64') this.wcFence(port);
    this.parts.models.startInstruction(port);
    this.preparePort(port);
  }

  /** The parameter block has to be written again before the next PCI instruction. */
  forgetPort(): void {
    this.preparedHandle = undefined;
  }

  /**
   * x86 stores to write-combining memory: bytes merge into open 64-byte lines and leave when a line is full, a buffer
   * is needed, or at `wcFence` (options `wcBuffers`, `wcLineComplete`, `wcChunkOrder`).
   */
  wcStore(input: Omit<WriteInput, 'path' | 'block' | 'sourceAddress'>): AccessTotals {
    needObject('input', input);
    const { function: fn, data, offset } = input;
    this.parts.models.checkIdle('cpu.wcStore');
    this.prepareCombining(this.ownFunction(fn));
    const bar = fn.bar(input.bar);
    if (!(data instanceof Uint8Array) || data.length < 1 || data.length > L.PAGE_BYTES) {
      throw invalid('data', data, `1 to ${L.PAGE_BYTES} bytes`, 'out-of-range');
    }
    if (!Number.isInteger(offset) || offset < 0 || offset + data.length > bar.size) {
      throw invalid('offset', offset, `0 to ${bar.size - data.length}`, 'out-of-range');
    }
    this.core.x.wcConfigure(fn.options.wcBuffers, fn.options.wcLineComplete === 'immediate' ? 1 : 0);
    const staged = this.core.x.wcBegin(data.length, offset) >>> 0;
    this.core.u8.set(data, staged);
    for (let done = 0; done < data.length; ) {
      const address = add64(bar.address, offset + done);
      const bytes = Math.min(data.length - done, LINE - (low32(address) % LINE));
      this.parts.models.timing?.store(fn.options.instructionNs);
      this.core.x.wcStore(low32(address), high32(address), bytes, staged + done);
      this.parts.models.finishPosted();
      done += bytes;
    }
    return this.endPosted();
  }

  /** An event that closes every open line, whichever function it belongs to: SFENCE, an uncacheable access, ... */
  wcFence(fn?: PciFunction): AccessTotals {
    this.parts.models.checkIdle('cpu.wcFence');
    const port = fn === undefined ? this.parts.functions[0] : this.ownFunction(fn);
    if (port === undefined) throw invalid('function', fn, 'one of machine.functions');
    this.prepareCombining(port);
    this.core.x.wcBegin(0, 0);
    this.core.x.wcFence();
    return this.endPosted();
  }

  /** Serves the models that write-combining stores reached. */
  private endPosted(): AccessTotals {
    const { models } = this.parts;
    models.finishPosted();
    this.trace.drain();
    const totals = this.core.totals();
    models.settle();
    return totals;
  }

  private prepareCombining(fn: PciFunction): void {
    if (this.parts.platform !== 'x86-64') {
      throw invalid('platform', this.parts.platform, 'x86-64 for write-combining stores');
    }
    this.preparePort(fn);
  }
}

/** Options of an access: the function's own, under what the path's name implies. */
function withPath(path: AccessPath, fn: PciFunction): Options {
  const {
    zpciMode: _mode,
    maxstbl: _maxstbl,
    relaxed: _relaxed,
    interceptStrict: _strict,
    ...implied
  } = path.options;
  // Group properties are the function's: a machine does not change them for a path.
  return { ...fn.options, ...implied } as Options;
}
