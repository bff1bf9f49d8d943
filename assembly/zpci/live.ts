// Floor 6: what PCI instructions share: finding the function, delivering what they sent.

import { functionAt, functionCount } from '../fabric/functions';
import { deliverAll, isPending } from '../fabric/transport';
import { PARAMS } from '../kernel/arena';
import { rewindRing } from '../kernel/rings';
import { ANSWER_HOST, FUNCTION_HANDLE, HANDLE_ENABLE_LG2, MODE_LIVE, PARAM_MODE } from '../layout';
import { DONE } from './rules';

/** The function whose current handle is `handle` in all 32 bits, enable bit included; 0: there is none. */
export function findEnabled(handle: u32): usize {
  if (handle >>> HANDLE_ENABLE_LG2 == 0) return 0;
  for (let slot: u32 = 0; slot < functionCount; slot++) {
    const fn = functionAt(slot);
    if (load<u32>(fn, FUNCTION_HANDLE) == handle) return fn;
  }
  return 0;
}

/**
 * Delivers as far as it goes; the ring starts over when nothing is left in it and nobody keeps its TLPs. Condition code 0
 * does not wait for delivery, but the host call does: ANSWER_HOST.
 */
export function deliverLive(): u32 {
  if (deliverAll() && load<u32>(PARAMS, PARAM_MODE) == MODE_LIVE) rewindRing();
  return isPending() ? DONE | ANSWER_HOST : DONE;
}
