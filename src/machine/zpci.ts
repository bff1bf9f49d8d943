/** PCI LOAD and PCI STORE as a guest on s390x executes them: registers in, condition code and status out. */
import * as L from '../../assembly/layout.js';
import type { Core } from '../core/core.js';
import { checkU64, high32, join64, low32, type U64 } from '../core/u64.js';
import type { Platform } from '../path/table.js';
import { INSTRUCTION_BYTES, unpackAnswer, type ZpciAnswer } from '../zpci/answer.js';
import type { PciFunction } from './function.js';
import type { Models } from './models.js';
import {
  checkHandle,
  checkInput,
  checkLength,
  checkRegister,
  checkSpace,
  isInProblemState,
} from './operands.js';
import type { TlpTrace } from './trace.js';
import type { ZpciControl } from './zpci-control.js';

/** Operands of PCILG and PCISTG (sheet zpci.md 2.2, 2.6). */
export interface PciLoadInput {
  /** Function handle, 32 bits. */
  readonly fh: number;
  /** Address space: BAR 0 to 5; 15 is configuration space. */
  readonly as: number;
  /** Offset in the space, 64 bits. */
  readonly offset: U64;
  /** Bytes; as in the instruction only the low 4 bits count. */
  readonly length: number;
  /** Number of the first register of the pair that holds request and offset: an odd one is refused. Default 2. */
  readonly r2?: number;
  /** Executed in problem state: a privileged-operation exception. */
  readonly problemState?: boolean;
}

export interface PciStoreInput extends PciLoadInput {
  /** The register: its rightmost `length` bytes go out, the most significant first. */
  readonly data: U64;
}

export interface PciLoadAnswer extends ZpciAnswer {
  /** What the register holds: the byte at `offset` is the most significant one read. Undefined unless cc is 0. */
  readonly data: U64 | undefined;
}

/** Operands of RPCIT (sheet zpci.md 5.4). */
export interface RpcitInput {
  /** Function handle, 32 bits. */
  readonly fh: number;
  /** I/O addresses [start, start + length), 64 bits each. Whole pages are refreshed. */
  readonly start: U64;
  readonly length: U64;
  /** Number of the first register of the pair: an odd one is refused. Default 2. */
  readonly r2?: number;
  /** Executed in problem state: a privileged-operation exception. */
  readonly problemState?: boolean;
}

export interface ZpciParts {
  readonly core: Core;
  readonly platform: Platform;
  readonly functions: readonly PciFunction[];
  readonly trace: TlpTrace;
  readonly models: Models;
  readonly control: ZpciControl;
  /** Link options and mode of a function's port into the parameter block. */
  preparePort(fn: PciFunction): void;
  forgetPort(): void;
}

/** A load or store of up to this many bytes is one TLP also across a multiple of MPS (zpci.md 8.4). */
const UNCUT = 8;

export class ZpciUnit {
  /** The staged bytes when the last instruction ended. */
  bytes = new Uint8Array(8);

  constructor(private readonly parts: ZpciParts) {}

  pcilg(input: PciLoadInput): PciLoadAnswer {
    const { as } = check('PCILG', input, this.parts.platform);
    this.parts.models.checkIdle('cpu.pcilg');
    this.parts.models.startInstruction(this.named(input.fh));
    const packed = this.execute(true, input);
    const answer = unpackAnswer(packed, INSTRUCTION_BYTES.pcilg);
    if (answer.cc !== 0) return { ...answer, data: undefined };
    const bytes = this.bytes.subarray(0, this.lengthOf(input));
    // QEMU gives all 32 ones for one byte behind the configuration space of a function that it emulates.
    const isBehind = as === L.SPACE_CONFIG && bytes.length === 1 && this.isBehindConfig(input);
    return { ...answer, data: isBehind ? 0xffff_ffff : registerOf(bytes) };
  }

  pcistg(input: PciStoreInput): ZpciAnswer {
    const { offset } = check('PCISTG', input, this.parts.platform);
    const data = checkU64('data', input.data);
    this.parts.models.checkIdle('cpu.pcistg');
    this.parts.models.startInstruction(this.named(input.fh));
    this.stageRegister(data, Math.min(this.lengthOf(input), 8), offset);
    return unpackAnswer(this.execute(false, input), INSTRUCTION_BYTES.pcistg);
  }

  /** The rightmost `bytes` bytes of register `data`, staged for an access at offset or address `at`. */
  stageRegister(data: U64, bytes: number, at: U64): void {
    const { core } = this.parts;
    const register = new Uint8Array(8);
    new DataView(register.buffer).setBigUint64(0, BigInt(data));
    core.u8.set(register.subarray(8 - bytes), core.stagedAt(low32(at)));
  }

  /** Makes the translation buffer agree with the tables in guest memory. */
  rpcit(input: RpcitInput): ZpciAnswer {
    const flags = checkCommon('RPCIT', input, this.parts.platform);
    const { fh, start, length } = input;
    checkU64('start', start);
    checkU64('length', length);
    const { core, models } = this.parts;
    models.checkIdle('cpu.rpcit');
    models.startInstruction(this.named(fh));
    const packed = core.x.rpcit(fh, flags, low32(start), high32(start), low32(length), high32(length));
    models.finishPosted();
    const answer = unpackAnswer(packed >>> 0, INSTRUCTION_BYTES.rpcit);
    const fn = this.named(fh);
    if (answer.cc !== null && fn !== undefined) this.parts.control.touch(fn);
    return answer;
  }

  private execute(isRead: boolean, input: PciLoadInput): number {
    const { fh, as, offset, length } = input;
    const fn = this.named(fh);
    if (fn !== undefined) this.parts.preparePort(fn);
    return this.run(isRead, fh, as | flagsOf(input), length, offset);
  }

  /** The instruction itself, up to the bytes that it read. */
  run(isRead: boolean, fh: number, flags: number, length: number, offset: U64): number {
    const { core, models, trace } = this.parts;
    core.setParam(L.PARAM_OP, isRead ? L.OPERATION_READ : L.OPERATION_WRITE);
    core.setParam(L.PARAM_REQUEST, L.REQUEST_MEMORY);
    core.setParam(L.PARAM_UNCUT, UNCUT);
    const begun = core.x.pcilgOrStg(isRead ? 1 : 0, fh, flags, length, low32(offset), high32(offset));
    const packed = (begun & L.ANSWER_HOST) === 0 ? begun : models.finishInstruction();
    // The bytes read are taken before a request of a model can overwrite them.
    const at = core.stagedAt(low32(offset));
    this.bytes = core.u8.slice(at, at + 8);
    trace.drain();
    models.settle();
    this.parts.forgetPort();
    return packed >>> 0;
  }

  private named(fh: number): PciFunction | undefined {
    return this.parts.functions.find((fn) => fn.handle === fh);
  }

  /** Bytes that the instruction moves. QEMU 7.2 makes of a length of 3, 5, 6 or 7 its lowest set bit (zpci.md 2.6). */
  private lengthOf({ fh, as, length }: PciLoadInput): number {
    const bytes = length & 0xf;
    if (as === L.SPACE_CONFIG) return bytes;
    return this.named(fh)?.options.qemuQuirks === true ? bytes & -bytes : bytes;
  }

  private isBehindConfig({ fh, offset }: PciLoadInput): boolean {
    const fn = this.named(fh);
    return fn !== undefined && fn.options.zpciMode === 'emulated' && BigInt(offset) >= BigInt(fn.config.size);
  }
}

type Common = Pick<PciLoadInput, 'fh' | 'r2' | 'problemState'>;

/** What the core is told of the operands that every instruction has. */
function flagsOf({ r2 = 2, ...input }: Common): number {
  return (isInProblemState(input) ? L.STORE_PROBLEM_STATE : 0) | ((r2 & 1) === 1 ? L.OPERAND_ODD : 0);
}

function check(name: string, input: PciLoadInput, platform: Platform): PciLoadInput {
  checkCommon(name, input, platform);
  checkSpace(input.as);
  checkU64('offset', input.offset);
  checkLength(input.length);
  return input;
}

function checkCommon(name: string, input: Common, platform: Platform): number {
  checkInput(name, input, platform);
  checkHandle(input.fh);
  checkRegister('r2', input.r2);
  return flagsOf(input);
}

/** Bytes in ascending PCI address order as the right end of a register. */
export function registerOf(bytes: Uint8Array): U64 {
  const register = new Uint8Array(8);
  register.set(bytes, 8 - bytes.length);
  const view = new DataView(register.buffer);
  return join64(view.getUint32(4), view.getUint32(0));
}
