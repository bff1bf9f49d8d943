/** Event queues: entries, owner bits, arming, and the MSI-X message behind an entry. */
import { CQ_MASK, ENTRY_BYTES, HEALTH_EQ_OVERRUN } from './layout.js';
import type { EventQueue } from './resources.js';
import { addressOf } from './ring.js';
import { type Nic, protocolError } from './state.js';

//                 an event: EQE, MSI-X
//       +--------+ ------------------> +-------+
//       | ARMED  |                     | FIRED |   events: EQE only
//       +--------+ <------------------ +-------+
//                  doorbell 0x40; fires at once if software did not read all entries
//
// ALWAYS_ARMED: EQE and MSI-X for each event, whatever software writes.

/** Writes `eqe` to an EQ. With no place left it is lost, which the health buffer tells (syndrome 0xC). */
export function postEvent(nic: Nic, eqn: number, eqe: Uint8Array): void {
  const { ctx } = nic;
  const eq = ctx.state.eqs.get(eqn);
  if (eq === undefined) return;
  const size = 2 ** eq.logSize;
  if (eq.produced - eq.consumed >= size && !eq.overrunIgnore) {
    ctx.state.health = HEALTH_EQ_OVERRUN;
    ctx.stats.count('eventsLost');
    return;
  }
  eqe[ENTRY_BYTES - 1] = Math.floor(eq.produced / size) & 1; // owner: 0 in the first lap
  ctx.dma.write(addressOf(eq.buffer, (eq.produced % size) * ENTRY_BYTES), eqe);
  eq.produced++;
  ctx.stats.count('events');
  if (eq.arm !== 'fired') fire(nic, eq);
}

/** Writes an asynchronous event to each EQ that takes its type. */
export function postAsync(nic: Nic, eqe: Uint8Array): void {
  const bit = 1n << BigInt(eqe[1] ?? 0);
  for (const { eqn, events } of nic.ctx.state.eqs.values())
    if ((events & bit) !== 0n) postEvent(nic, eqn, eqe.slice());
}

/** An EQ doorbell: `eqn[31:24] | ci[23:0]`. */
export function ringEq(nic: Nic, uar: number, value: number, arms: boolean): void {
  const eq = nic.ctx.state.eqs.get(value >>> 24);
  if (eq === undefined || eq.uar !== uar) {
    protocolError(nic, 'EQ doorbell of no EQ');
    return;
  }
  const consumed = counterNear(eq.produced, value & CQ_MASK, eq.overrunIgnore ? CQ_MASK : 2 ** eq.logSize);
  if (consumed === undefined) {
    protocolError(nic, 'EQ consumer index');
    return;
  }
  eq.consumed = consumed;
  if (!arms || eq.arm === 'always') return;
  eq.arm = 'armed';
  if (eq.consumed !== eq.produced) fire(nic, eq);
}

/**
 * The whole counter that 24 bits of software's stand for: at most `most` behind `produced`; undefined: it is further behind,
 * or ahead.
 */
export function counterNear(produced: number, value: number, most: number): number | undefined {
  const behind = (produced - value) & CQ_MASK;
  return behind > most || behind > produced ? undefined : produced - behind;
}

/** The message goes out behind the entry: both are posted writes without Relaxed Ordering. */
function fire({ ctx }: Nic, eq: EventQueue): void {
  if (eq.arm === 'armed') eq.arm = 'fired';
  ctx.msix.raise(eq.vector);
}
