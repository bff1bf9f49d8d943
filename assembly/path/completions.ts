// Floor 7: lists the completions of one read request without a machine (the public `splitCompletion`).

import { PARAMS } from '../kernel/arena';
import { head, skipDelivery, stage } from '../kernel/rings';
import {
  COMPLETION_RCB,
  CPL_SC,
  KIND_MRD32,
  PARAM_COMPLETER,
  PARAM_COMPLETION_POLICY,
  PARAM_HEADER_BITS,
  PARAM_MPS,
  PARAM_RCB,
  PARAM_REQUESTER,
} from '../layout';
import { pushCompletion, pushRequest } from '../tlp/build';
import { enabledBytes, firstOffset } from '../tlp/bytes';
import { completionPiece } from '../tlp/split';

/**
 * Puts the request and then its completions into the descriptor ring. `length` in DW, `enables` as in DW1, `upstream`
 * whether the completions travel to the root complex. Returns the number of completions.
 */
export function listReadCompletions(address: u64, length: u32, enables: u32, tag: u32, upstream: bool): u32 {
  stage(0, 0);
  const requester = load<u32>(PARAMS, PARAM_REQUESTER) << 16;
  // Bits 9:8 of the tag stand in DW0.
  const bits = load<u32>(PARAMS, PARAM_HEADER_BITS) | (((tag >> 9) & 1) << 23) | (((tag >> 8) & 1) << 19);
  const request = pushRequest(
    KIND_MRD32,
    address,
    length,
    enables,
    requester | ((tag & 0xff) << 8),
    bits,
    0,
    0,
  );
  const mps = load<u32>(PARAMS, PARAM_MPS);
  const rcb = load<u32>(PARAMS, PARAM_RCB);
  const policy: u32 = load<u32>(PARAMS, PARAM_COMPLETION_POLICY) == COMPLETION_RCB ? 1 : 0;
  let at = <u32>address;
  let left = length;
  let bytes = enabledBytes(length, enables & 0xf, enables >> 4);
  let offset = firstOffset(enables & 0xf);
  while (left > 0) {
    const piece = completionPiece(at, left, mps, rcb, policy);
    pushCompletion(
      request,
      load<u32>(PARAMS, PARAM_COMPLETER),
      CPL_SC,
      bytes,
      (at & 0x7c) | offset,
      piece,
      0,
      upstream,
    );
    bytes -= min(bytes, (piece << 2) - offset);
    offset = 0;
    at += piece << 2;
    left -= piece;
  }
  skipDelivery();
  return head - 1;
}
