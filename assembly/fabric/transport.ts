// Floor 5: how TLPs get from where they were pushed to where they go: at once, or over the links of a timed machine.

import { recordCount } from '../kernel/records';
import { head, tail } from '../kernel/rings';
import { isTimed } from './context';
import { deliverAtOnce } from './deliver';
import { isAnswered, sendAll } from './schedule';

/**
 * Delivers the TLPs in the ring, those included that arise on the way. False: the host has to serve its records first,
 * then `finishServed` and this function again. Posted writes to device models may still be recorded when it is true. In a
 * timed machine: true when the CPU goes on, which does not wait for what is posted.
 */
export function deliverAll(): bool {
  return isTimed ? sendAll() : deliverAtOnce();
}

/** True while TLPs or records wait for the host. */
export function isPending(): bool {
  return tail != head || recordCount != 0 || (isTimed && !isAnswered());
}
