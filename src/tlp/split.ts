/** Byte ranges, request splits and completion splits as plain functions. */
import * as L from '../../assembly/layout.js';
import { invalid } from '../base/errors.js';
import { type OptionInput, type Options, refuseTimed, resolveOptions } from '../base/options.js';
import type { Core } from '../core/core.js';
import { sharedCore } from '../core/shared.js';
import { checkU64, high32, low32, type U64 } from '../core/u64.js';
import { decodeDescriptor } from './codec.js';
import { checkCompletionKeys, checkTransferKeys } from './keys.js';
import type { Attributes, Tlp } from './types.js';

/** Number of each split policy in the core. */
const SPLITS: Readonly<Record<Options['readSplit'], number>> = {
  aligned: L.SPLIT_ALIGNED,
  greedy: L.SPLIT_GREEDY,
  cocotbext: L.SPLIT_COCOTBEXT,
};

/** Writes the options that shape TLPs into the parameter block of `core`. */
export function setTlpOptions(core: Core, options: Options): void {
  core.setParam(L.PARAM_MPS, options.mps);
  core.setParam(L.PARAM_MRRS, options.mrrs);
  core.setParam(L.PARAM_RCB, options.rcb);
  core.setParam(L.PARAM_WRITE_SPLIT, SPLITS[options.writeSplit]);
  core.setParam(L.PARAM_READ_SPLIT, SPLITS[options.readSplit]);
  core.setParam(
    L.PARAM_COMPLETION_POLICY,
    options.completionPolicy === 'rcb' ? L.COMPLETION_RCB : L.COMPLETION_FEWEST,
  );
}

/** TC and attribute bits of DW0 (positions: PCIe base specification 2.2.1). */
export function headerBits(tc: number, attr: Partial<Attributes>): number {
  return (tc << 20) | (attr.ido ? 1 << 18 : 0) | (attr.ro ? 1 << 13 : 0) | (attr.ns ? 1 << 12 : 0);
}

/** Type[0] in DW0, which makes a completion one of a locked read (2.2.1). */
const LOCKED = 1 << 24;

function integer(field: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid(field, value, `an integer from ${min} to ${max}`, 'out-of-range');
}

/** Address, Length and byte enables of a byte range. Pads: bytes of the first and last DW outside the range. */
export interface ByteRange {
  readonly dwAddress: U64;
  readonly length: number;
  readonly firstBe: number;
  readonly lastBe: number;
  readonly firstPad: number;
  readonly lastPad: number;
}

/**
 * The header fields of one request for `bytes` bytes (0..4096) at `address`. 0 bytes make the zero-length request:
 * Length 1, no byte enabled. The range may not cross a 4 KiB boundary by more than its DWs hold (2.2.5).
 */
export function byteRange(address: U64, bytes: number): ByteRange {
  checkU64('address', address);
  integer('bytes', bytes, 0, 4096);
  // 4096 bytes from within a DW would take 1025 DWs, which no Length says.
  if ((low32(address) & 3) + bytes > 4096)
    throw invalid('bytes', bytes, 'a range of at most 1024 DWs', 'out-of-range');
  const packed = sharedCore().x.byteRange(low32(address), bytes);
  const length = packed & 0xffff;
  const pad = low32(address) & 3;
  return {
    dwAddress: typeof address === 'number' ? address - pad : address - BigInt(pad),
    length,
    firstBe: (packed >>> 16) & 0xf,
    lastBe: (packed >>> 20) & 0xf,
    firstPad: pad,
    lastPad: bytes === 0 ? 4 - pad : length * 4 - pad - bytes,
  };
}

/** Bytes from the first to the last enabled one, and how many bytes of the first and last DW lie outside (2.3.1.1). */
export function enabledRange(
  length: number,
  firstBe: number,
  lastBe: number,
): { byteCount: number; firstOffset: number; lastOffset: number } {
  integer('length', length, 1, 1024);
  integer('firstBe', firstBe, 0, 15);
  integer('lastBe', lastBe, 0, 15);
  const packed = sharedCore().x.enabledRange(length, firstBe, lastBe);
  return {
    byteCount: packed & 0xffff,
    firstOffset: (packed >>> 16) & 0xf,
    lastOffset: (packed >>> 20) & 0xf,
  };
}

export interface TransferInput {
  readonly op: 'read' | 'write';
  /** First byte on the bus. */
  readonly address: U64;
  /** 0 bytes make one zero-length request. At most 1 MiB. */
  readonly bytes: number;
  readonly requester?: number;
  readonly tc?: number;
  readonly attr?: Partial<Attributes>;
  /** Tag of the first read request (8 bits); the next ones follow modulo 256. Posted writes have tag 0. */
  readonly firstTag?: number;
  /** `mps`, `mrrs`, `writeSplit`, `readSplit` and the rest of the option table. */
  readonly options?: OptionInput;
}

/**
 * The memory requests of one transfer, in the order of sending: cut at 4 KiB, MPS or MRRS by the chosen policy
 * (PCIe base specification 2.2.2, 2.2.7; sheet tlp.md 6).
 */
export function splitRequest(input: TransferInput): Tlp[] {
  checkTransferKeys(input);
  const core = sharedCore();
  const address = checkU64('address', input.address);
  const bytes = integer('bytes', input.bytes, 0, L.ACCESS_BYTES);
  if (BigInt(address) + BigInt(bytes) > 1n << 64n)
    throw invalid('bytes', bytes, 'an end within 64 bits', 'out-of-range');
  if (input.op !== 'read' && input.op !== 'write') throw invalid('op', input.op, 'read, write');
  setTlpOptions(core, resolveOptions(refuseTimed(input.options)));
  core.setParam(L.PARAM_OP, input.op === 'read' ? L.OPERATION_READ : L.OPERATION_WRITE);
  core.setParam(L.PARAM_REQUEST, L.REQUEST_MEMORY);
  core.setParam(L.PARAM_REQUESTER, integer('requester', input.requester ?? 0, 0, 0xffff));
  core.setParam(L.PARAM_HEADER_BITS, headerBits(integer('tc', input.tc ?? 0, 0, 7), input.attr ?? {}));
  core.setParam(L.PARAM_MODE, L.MODE_LIST);
  core.setParam(L.PARAM_UNCUT, 0);
  core.setParam(L.PARAM_COUNTING, 0);
  core.setParam(L.PARAM_CHECK, L.CHECK_NONE);
  for (let level = 0; level < L.LEVELS; level++) core.setParam(L.PARAM_RULES + 4 * level, L.RULE_WHOLE);
  // 4 KiB is always a border, so cutting there first changes nothing and bounds what one operation makes.
  core.setParam(L.PARAM_RULES + 4 * (L.LEVELS - 1), L.RULE_CUT);
  core.setParam(L.PARAM_RULE_VALUES + 4 * (L.LEVELS - 1), L.PAGE_BYTES);
  core.x.tagNext(integer('firstTag', input.firstTag ?? 0, 0, 255));
  const tlps: Tlp[] = [];
  const collect = (at: number): void => void tlps.push(decodeDescriptor(core, at));
  if (bytes === 0) {
    core.x.splitZero(low32(address), high32(address));
    core.drain(collect);
    return tlps;
  }
  // The position starts within its page, so that a transfer may end at the last byte of the address space.
  const inPage = low32(address) % L.PAGE_BYTES;
  const base = low32(address) - inPage;
  core.x.accessBegin(L.SLOT_NONE, 0, base, high32(address), inPage, 0, bytes);
  let answer: number;
  do {
    answer = core.x.run();
    core.drain(collect);
  } while (answer === L.RUN_HOST);
  return tlps;
}

export interface CompletionInput {
  /**
   * The memory read to answer. Without a `type` it is an MRd; with `th` its byte enables are a steering tag, and all
   * bytes count (2.2.7.1).
   */
  readonly request: Pick<
    Tlp,
    'address' | 'length' | 'firstBe' | 'lastBe' | 'requester' | 'tag' | 'tc' | 'attr'
  > &
    Partial<Pick<Tlp, 'type' | 'th'>>;
  readonly completer?: number;
  /** `mps`, `rcb`, `completionPolicy`. */
  readonly options?: OptionInput;
}

/**
 * The completions with data of one memory read, in address order: inner cuts at multiples of `rcb`, pieces of at most
 * `mps`, Byte Count and Lower Address as in PCIe base specification 2.3.1.1. MRd gets CplD, MRdLk gets CplDLk; requests that
 * read no memory are refused.
 */
export function splitCompletion(input: CompletionInput): Tlp[] {
  checkCompletionKeys(input);
  const core = sharedCore();
  const { request } = input;
  const { type = 'MRd', th = false } = request;
  if (type !== 'MRd' && type !== 'MRdLk') throw invalid('request.type', type, 'MRd, MRdLk');
  const address = checkU64('request.address', request.address);
  const length = integer('request.length', request.length, 1, 1024);
  // A memory request must not cross 4 KiB: it is malformed, and nobody completes it (2.2.7).
  if ((low32(address) % L.PAGE_BYTES) + 4 * length > L.PAGE_BYTES)
    throw invalid('request.length', length, 'a request within 4 KiB', 'malformed');
  setTlpOptions(core, resolveOptions(refuseTimed(input.options)));
  core.setParam(L.PARAM_REQUESTER, integer('request.requester', request.requester, 0, 0xffff));
  core.setParam(L.PARAM_COMPLETER, integer('completer', input.completer ?? 0, 0, 0xffff));
  core.setParam(L.PARAM_HEADER_BITS, headerBits(integer('request.tc', request.tc, 0, 7), request.attr ?? {}));
  const firstBe = integer('request.firstBe', request.firstBe, 0, 15);
  const lastBe = integer('request.lastBe', request.lastBe, 0, 15);
  const allEnabled = length > 1 ? 0xff : 0x0f;
  core.x.splitCompletions(
    low32(address),
    high32(address),
    length,
    th ? allEnabled : (lastBe << 4) | firstBe,
    integer('request.tag', request.tag, 0, 0x3ff),
    1,
  );
  const tlps: Tlp[] = [];
  const lock = type === 'MRdLk' ? LOCKED : 0;
  core.drain((at) => {
    core.u32[(at + L.DESCRIPTOR_H0) >>> 2] = (core.u32[(at + L.DESCRIPTOR_H0) >>> 2] as number) | lock;
    tlps.push(decodeDescriptor(core, at));
  });
  return tlps.slice(1); // the first one is the request itself
}
