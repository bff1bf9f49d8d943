// Floor 2: forms requests and completions straight into the descriptor ring. The hot path: no FIELDS block, no loops.

import { PARAMS } from '../kernel/arena';
import { pushDescriptor } from '../kernel/rings';
import {
  DESCRIPTOR_CAUSE,
  DESCRIPTOR_H0,
  DESCRIPTOR_H1,
  DESCRIPTOR_H2,
  DESCRIPTOR_H3,
  DESCRIPTOR_KIND,
  DESCRIPTOR_PAYLOAD,
  DESCRIPTOR_SLOT,
  DESCRIPTOR_TICK,
  FLAG_UPSTREAM,
  KIND_CPL,
  KIND_CPLD,
  ORIGIN_CPU,
  PARAM_ORIGIN,
  SLOT_NONE,
  TLP_OVERHEAD_BYTES,
} from '../layout';
import { fmtTypeOf, hasData } from './kinds';
import { assertWellFormed } from './verify';

/**
 * Where requests come from, as a descriptor says it: FLAG_* in bits 15:8, slot in 31:16. From the CPU towards a function
 * that routing finds, or from the function PARAM_ORIGIN names.
 */
export function origin(): u32 {
  const from = load<u32>(PARAMS, PARAM_ORIGIN);
  return from == ORIGIN_CPU ? (<u32>SLOT_NONE) << 16 : (FLAG_UPSTREAM << 8) | ((from - 1) << 16);
}

/** Bits of DW0 that a completion copies from its request: TC, the three attributes, and the two high tag bits. */
const COPIED_BITS: u32 = 0x00fc3000;

/** Forms TLPs. A class, because only members may carry the decorator that puts them into the caller's loop. */
export class Form {
  /**
   * Fills the descriptor at `at`, all 48 bytes. `word0` and `word1` are header DWs; `words23` holds DW2 in its low and DW3
   * in its high half; `payload` is the address of byte 0 of the first data DW, `bytes` the length of the data in DWs,
   * `kind` KIND_* with FLAG_* in bits 15:8, `slot` the function at the device end, `wire` the wire bytes.
   */
  @inline
  static tlp(
    at: usize,
    word0: u32,
    word1: u32,
    words23: u64,
    payload: usize,
    bytes: u32,
    kind: u32,
    slot: u32,
    cause: u32,
    wire: u32,
  ): void {
    store<u64>(at, <u64>word0 | ((<u64>word1) << 32), DESCRIPTOR_H0);
    store<u64>(at, words23, DESCRIPTOR_H2);
    store<u64>(at, <u64>(<u32>payload) | ((<u64>bytes) << 32), DESCRIPTOR_PAYLOAD);
    // Kind, flags and slot, no prefix behind them.
    store<u64>(at, <u64>(kind | (slot << 16)), DESCRIPTOR_KIND);
    store<u64>(at, 0, DESCRIPTOR_TICK);
    store<u64>(at, <u64>cause | ((<u64>wire) << 32), DESCRIPTOR_CAUSE);
    if (!ASC_NO_ASSERT) assertWellFormed(at);
  }
}

/** Pushes a TLP of three header DWs that the caller has formed; see `Form.tlp`. */
export function pushFormed(
  word0: u32,
  word1: u32,
  word2: u32,
  payload: usize,
  bytes: u32,
  kind: u32,
  wire: u32,
): void {
  Form.tlp(pushDescriptor(), word0, word1, word2, payload, bytes, kind, SLOT_NONE, 0, wire);
}

/**
 * Pushes a memory request and returns its descriptor. `kind32` is the 32-bit kind; its 64-bit twin, one higher, is taken
 * at or above 4 GiB (2.2.4.1). `length` in DW, `enables` as in DW1, `ids` = requester << 16 | tag << 8, `bits` the
 * attribute bits of DW0, `payload` as in `Form.tlp`.
 */
export function pushRequest(
  kind32: u32,
  address: u64,
  length: u32,
  enables: u32,
  ids: u32,
  bits: u32,
  payload: usize,
  cause: u32,
): usize {
  const high = <u32>(address >> 32);
  const low = <u32>address & ~3;
  const wide: u32 = high != 0 ? 1 : 0;
  const fmtType = fmtTypeOf(kind32 + wide);
  const bytes = hasData(fmtType) ? length << 2 : 0;
  const at = pushDescriptor();
  Form.tlp(
    at,
    (fmtType << 24) | bits | (length & 0x3ff),
    ids | enables,
    wide ? <u64>high | ((<u64>low) << 32) : <u64>low,
    payload,
    bytes,
    (kind32 + wide) | (origin() & 0xff00),
    origin() >> 16,
    cause,
    TLP_OVERHEAD_BYTES + 12 + (wide << 2) + bytes,
  );
  return at;
}

/**
 * Pushes a completion for the request at descriptor `request`: `status` CPL_*, `byteCount` still to come (1..4096),
 * `lower` Lower Address, `length` in DW (0: no data), `upstream` whether it travels towards the root complex.
 */
export function pushCompletion(
  request: usize,
  completer: u32,
  status: u32,
  byteCount: u32,
  lower: u32,
  length: u32,
  payload: usize,
  upstream: bool,
): usize {
  const at = pushDescriptor();
  const kind = length != 0 ? KIND_CPLD : KIND_CPL;
  const bytes = length << 2;
  const copied = load<u32>(request, DESCRIPTOR_H0) & COPIED_BITS;
  Form.tlp(
    at,
    (fmtTypeOf(kind) << 24) | copied | (length & 0x3ff),
    (completer << 16) | (status << 13) | (byteCount & 0xfff),
    <u64>((load<u32>(request, DESCRIPTOR_H1) & 0xffffff00) | lower),
    payload,
    bytes,
    upstream ? kind | (FLAG_UPSTREAM << 8) : kind,
    load<u16>(request, DESCRIPTOR_SLOT),
    load<u32>(request, DESCRIPTOR_CAUSE),
    TLP_OVERHEAD_BYTES + 12 + bytes,
  );
  return at;
}

/** Byte address of the first DW of a request descriptor. */
export function addressOf(at: usize): u64 {
  const h2 = load<u32>(at, DESCRIPTOR_H2);
  // Fmt bit 0 of byte 0: a 4 DW header has the upper half first.
  if (load<u32>(at, DESCRIPTOR_H0) & 0x20000000)
    return ((<u64>h2) << 32) | <u64>(load<u32>(at, DESCRIPTOR_H3) & 0xfffffffc);
  return <u64>(h2 & 0xfffffffc);
}

/** Length of a request in DW, 1..1024. */
export function requestLength(at: usize): u32 {
  const coded = load<u32>(at, DESCRIPTOR_H0) & 0x3ff;
  return coded == 0 ? 1024 : coded;
}
