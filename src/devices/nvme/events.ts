/** Asynchronous events (NVM Express 1.4, section 5.2): requests that are kept until there is something to report. */
import { freeSlots, logError, post } from './completion.js';
import type { Command, Event, Nvme } from './controller.js';
import { FEATURE, featureOf } from './features.js';
import { STATUS, type Status } from './status.js';

/** Kept requests, at most (AERL + 1). */
export const MAX_REQUESTS = 4;
const ERROR_LOG = 1;
export const EVENT = {
  /** A doorbell of a queue that there is not. */
  INVALID_DOORBELL: { type: 0, info: 0, logPage: ERROR_LOG },
  INVALID_DOORBELL_VALUE: { type: 0, info: 1, logPage: ERROR_LOG },
  TRANSIENT_ERROR: { type: 0, info: 4, logPage: ERROR_LOG },
  TEMPERATURE: { type: 1, info: 1, logPage: 2 },
} as const satisfies Record<string, Event>;
/** An error of no command. */
const NO_COMMAND = 0xffff;

/** Keeps an Asynchronous Event Request. It gives its slot of the completion queue back until it is answered. */
export function keepRequest(nvme: Nvme, { cid }: Command): Status | undefined {
  const { events, completion } = nvme.ctx.state;
  const ring = completion.get(0);
  if (events.asked.length >= MAX_REQUESTS || ring === undefined) return STATUS.EVENT_LIMIT_EXCEEDED;
  ring.reserved--;
  events.asked.push(cid);
  report(nvme);
  return undefined;
}

/** Something happened. It is told once until the host has read its log page; error events leave an entry in the log. */
export function raise(nvme: Nvme, event: Event): void {
  const { events, running } = nvme.ctx.state;
  if (!running) return;
  if (event.type === 0)
    logError(nvme, { sqid: NO_COMMAND, cid: NO_COMMAND, status: 0, lba: [0, 0], nsid: 0 });
  const isKnown = events.pending.some(({ type, info }) => type === event.type && info === event.info);
  if (isKnown || events.masked.includes(event.type)) return;
  events.pending.push(event);
  report(nvme);
}

/** The host read log page `logPage`: events of its type can be told again. */
export function clearEvents(nvme: Nvme, logPage: number): void {
  const { events } = nvme.ctx.state;
  events.masked = events.masked.filter((type) => type !== logPage - 1);
  report(nvme);
}

/** The composite temperature in kelvins. It does not change. */
export const TEMPERATURE = 313;

/** Bits of Critical Warning in the SMART log: only the temperature (bit 1) can be out of its thresholds. */
export function criticalWarning(nvme: Nvme): number {
  const over = featureOf(nvme, FEATURE.TEMPERATURE, 0);
  const under = featureOf(nvme, FEATURE.TEMPERATURE, 1);
  return TEMPERATURE >= over || TEMPERATURE <= under ? 2 : 0;
}

/** Tells a critical warning that the host wants to be told (Asynchronous Event Configuration, bits 7:0). */
export function checkHealth(nvme: Nvme): void {
  if ((criticalWarning(nvme) & featureOf(nvme, FEATURE.EVENTS)) !== 0) raise(nvme, EVENT.TEMPERATURE);
}

/** Answers kept requests with pending events, as far as the completion queue has room. */
export function report(nvme: Nvme): void {
  const { events, completion } = nvme.ctx.state;
  const ring = completion.get(0);
  while (ring !== undefined && events.asked.length > 0 && freeSlots(ring) > 0) {
    const at = events.pending.findIndex(({ type }) => !events.masked.includes(type));
    const [event] = at < 0 ? [] : events.pending.splice(at, 1);
    if (event === undefined) return;
    const cid = events.asked.shift() ?? 0;
    events.masked.push(event.type);
    nvme.ctx.stats.count('events');
    const dw0 = event.type | (event.info << 8) | (event.logPage << 16);
    post(nvme, ring, { sqid: 0, cid }, STATUS.SUCCESS, dw0);
  }
}
