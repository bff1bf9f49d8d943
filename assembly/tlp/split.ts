// Floor 2: how one transfer becomes requests, and one read request becomes completions.
//
// Hard rules (PCIe base specification 2.2.2, 2.2.7, 2.3.1.1): no request crosses 4 KiB; Length * 4 stays within MPS or
// MRRS; completions are cut at multiples of the Read Completion Boundary. Which of the legal cuts is taken is an option.
import { COMPLETION_RCB, SPLIT_COCOTBEXT, SPLIT_GREEDY } from '../layout';

/** Bytes of the next request at `address` with `left` bytes to go and at most `limit` bytes of DWs per request. */
export function requestPiece(address: u32, left: u32, limit: u32, policy: u32): u32 {
  const room = 4096 - (address & 4095);
  let piece: u32;
  if (policy == SPLIT_GREEDY) {
    // As much as fits: the DW offset of the start takes bytes away from the limit.
    piece = limit - (address & 3);
  } else if (policy == SPLIT_COCOTBEXT) {
    piece = left <= limit - (address & 3) ? left : limit - (address & 127);
  } else {
    piece = limit - (address & (limit - 1));
  }
  return min(min(left, piece), room);
}

/** DWs of the next completion: `address` of its first DW, `left` DWs to go. Only inner cuts must meet the RCB. */
export function completionPiece(address: u32, left: u32, mps: u32, rcb: u32, policy: u32): u32 {
  const phase = (address & (rcb - 1)) >> 2;
  if (policy == COMPLETION_RCB) return min(left, (rcb >> 2) - phase);
  return left <= mps >> 2 ? left : (mps >> 2) - phase;
}
