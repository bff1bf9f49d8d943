/** Interrupts of completion queues (NVM Express 1.4, section 7.5): messages, masks of MSI, coalescing. */
import type { CompletionQueue, Nvme } from './controller.js';
import { FEATURE, featureOf } from './features.js';

const COALESCING_UNIT_NS = 100_000;
const COALESCING_DISABLE = 1 << 16; // of Interrupt Vector Configuration

/** An entry of `queue` is in host memory. Its message goes behind it, now or when coalescing says so. */
export function interrupt(nvme: Nvme, queue: CompletionQueue): void {
  if (!queue.interrupts) return;
  const { state, time } = nvme.ctx;
  const { vector } = queue;
  const coalescing = featureOf(nvme, FEATURE.COALESCING);
  const threshold = coalescing & 0xff;
  const ns = (coalescing >>> 8) * COALESCING_UNIT_NS;
  const isDisabled = (featureOf(nvme, FEATURE.VECTOR, vector) & COALESCING_DISABLE) !== 0;
  // Section 5.21.1.8: for I/O queues; with a time or a threshold of 0 there is none.
  if (queue.id === 0 || threshold === 0 || ns === 0 || isDisabled) {
    send(nvme, vector);
    return;
  }
  const held = state.coalesced.get(vector) ?? { count: 0, dueNs: time.ns + ns };
  held.count++;
  state.coalesced.set(vector, held);
  if (held.count > threshold) send(nvme, vector); // the threshold is 0's based
}

/** The earliest time at which coalesced interrupts are sent. */
export function coalescedNs(nvme: Nvme): number {
  return Math.min(...[...nvme.ctx.state.coalesced.values()].map(({ dueNs }) => dueNs));
}

/** Sends what was held back long enough. */
export function sendCoalesced(nvme: Nvme): void {
  const { state, time } = nvme.ctx;
  for (const [vector, { dueNs }] of state.coalesced) if (dueNs <= time.ns) send(nvme, vector);
}

/** The host took entries of `queue`: a message that was not sent is no longer wanted when nothing is left. */
export function acknowledge(nvme: Nvme, { vector }: CompletionQueue): void {
  if (hasEntries(nvme, vector)) return;
  nvme.ctx.state.coalesced.delete(vector);
  if (nvme.setup.interrupts === 'msix') nvme.ctx.msix.clear(vector);
}

/** INTMC took `vectors` (bits) out of the mask: those with entries that the host has not taken send one message. */
export function unmask(nvme: Nvme, vectors: number): void {
  if (nvme.setup.interrupts !== 'msi') return;
  for (let vector = 0; vector < nvme.setup.vectors; vector++)
    if (((vectors >>> vector) & 1) === 1 && hasEntries(nvme, vector)) send(nvme, vector);
}

function hasEntries(nvme: Nvme, vector: number): boolean {
  return [...nvme.ctx.state.completion.values()].some(
    (queue) => queue.interrupts && queue.vector === vector && queue.head !== queue.tail,
  );
}

function send(nvme: Nvme, vector: number): void {
  const { ctx, setup } = nvme;
  ctx.state.coalesced.delete(vector);
  if (setup.interrupts === 'msix') ctx.msix.raise(vector);
  else if (((ctx.registers(0).get('INTMS') >>> vector) & 1) === 0) ctx.msi.raise(vector);
}
