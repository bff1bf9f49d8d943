/** Features (NVM Express 1.4, section 5.21): what drivers set at bring-up, and what it acts on. */

import type { Nvme } from './controller.js';
import { STATUS, type Status } from './status.js';

/** Feature Identifiers: the mandatory ones, and the volatile write cache. */
export const FEATURE = {
  ARBITRATION: 0x01, // AB (2:0): commands in one fetch, 2^AB; 7 as many as there are
  POWER: 0x02, // PS (4:0): only state 0
  TEMPERATURE: 0x04, // TMPTH (15:0), TMPSEL (19:16), THSEL (21:20)
  ERROR_RECOVERY: 0x05, // TLER (15:0)
  WRITE_CACHE: 0x06, // WCE (0)
  QUEUES: 0x07, // NSQ (15:0), NCQ (31:16), 0's based
  COALESCING: 0x08, // THR (7:0), TIME (15:8) in 100 us
  VECTOR: 0x09, // IV (15:0), CD (16)
  ATOMICITY: 0x0a, // DN (0)
  EVENTS: 0x0b, // SMART critical warnings (7:0)
} as const;

type FeatureId = (typeof FEATURE)[keyof typeof FEATURE];

const NO_LIMIT = 7;
const ALL_SENSORS = 0xf;
const HOTTEST = 0xffff;

/** What CDW11 selects of a feature: the threshold, the vector. Values are kept by identifier and by this. */
function keyOf(id: number, selector: number): number {
  return id * 0x1_0000 + selector;
}

/** The value of a feature after a reset. */
function initial(nvme: Nvme, id: number, selector: number): number {
  switch (id) {
    case FEATURE.ARBITRATION:
      return NO_LIMIT;
    case FEATURE.TEMPERATURE:
      return selector === 0 ? HOTTEST : 0;
    case FEATURE.WRITE_CACHE:
      return 1;
    case FEATURE.QUEUES:
      return (nvme.setup.queues - 1) * 0x1_0001;
    case FEATURE.VECTOR:
      return selector;
    default:
      return 0;
  }
}

/** Value of feature `id`, in the form of CDW11. `selector`: THSEL of the temperature, or the vector. */
export function featureOf(nvme: Nvme, id: FeatureId, selector = 0): number {
  return current(nvme, id, selector);
}

function current(nvme: Nvme, id: number, selector: number): number {
  return nvme.ctx.state.features.get(keyOf(id, selector)) ?? initial(nvme, id, selector);
}

/** Pairs of queues that the host may create. */
export function allocated(nvme: Nvme): { readonly submission: number; readonly completion: number } {
  const value = featureOf(nvme, FEATURE.QUEUES);
  return { submission: (value & 0xffff) + 1, completion: (value >>> 16) + 1 };
}

/** What CDW11 selects, or the error that it is. */
function selectorOf(nvme: Nvme, id: number, value: number, isSet: boolean): number | undefined {
  if (id === FEATURE.VECTOR) return (value & 0xffff) < nvme.setup.vectors ? value & 0xffff : undefined;
  if (id !== FEATURE.TEMPERATURE) return 0;
  const sensor = (value >>> 16) & 0xf;
  const threshold = (value >>> 20) & 3;
  // There is no sensor but the composite temperature.
  const isKnown = sensor === 0 || (isSet && sensor === ALL_SENSORS);
  return isKnown && threshold <= 1 ? threshold : undefined;
}

const KNOWN: ReadonlySet<number> = new Set(Object.values(FEATURE));

/** Bits of CDW11 that a feature keeps. */
const MASKS: Readonly<Record<number, number>> = {
  [FEATURE.ARBITRATION]: 0xffff_ff07,
  [FEATURE.POWER]: 0xff,
  [FEATURE.TEMPERATURE]: 0xffff,
  [FEATURE.ERROR_RECOVERY]: 0xffff,
  [FEATURE.WRITE_CACHE]: 1,
  [FEATURE.COALESCING]: 0xffff,
  [FEATURE.VECTOR]: 0x1_ffff,
  [FEATURE.ATOMICITY]: 1,
  [FEATURE.EVENTS]: 0xff,
};

/** An outcome: a status, or success with DW0 of the completion. */
export type Outcome = { readonly status: Status } | { readonly dw0: number };

const refused = (status: Status): Outcome => ({ status });

/** Get Features (section 5.14). `select`: 0 current, 1 default, 2 saved (there is none: the default), 3 what it can. */
export function getFeature(nvme: Nvme, id: number, select: number, cdw11: number): Outcome {
  if (!KNOWN.has(id) || select > 3) return refused(STATUS.INVALID_FIELD);
  const selector = selectorOf(nvme, id, cdw11, false);
  if (selector === undefined) return refused(STATUS.INVALID_FIELD);
  if (select === 3) return { dw0: id === FEATURE.ERROR_RECOVERY ? 6 : 4 }; // changeable (2), of a namespace (1)
  return { dw0: select === 0 ? current(nvme, id, selector) : initial(nvme, id, selector) };
}

/** Set Features (section 5.21). `isSaved`: the host wants it to outlive resets, which no feature can. */
export function setFeature(nvme: Nvme, id: number, isSaved: boolean, ns: number, cdw11: number): Outcome {
  if (!KNOWN.has(id)) return refused(STATUS.INVALID_FIELD);
  if (isSaved) return refused(STATUS.NOT_SAVEABLE);
  if (ns !== 0 && ns !== 1 && ns !== 0xffff_ffff) return refused(STATUS.INVALID_NAMESPACE);
  if (ns === 1 && id !== FEATURE.ERROR_RECOVERY) return refused(STATUS.NOT_NAMESPACE_SPECIFIC);
  const selector = selectorOf(nvme, id, cdw11, true);
  if (selector === undefined) return refused(STATUS.INVALID_FIELD);
  if (id === FEATURE.QUEUES) return setQueues(nvme, cdw11);
  const isPowerState = id === FEATURE.POWER && (cdw11 & 0x1f) !== 0;
  const isDulbe = id === FEATURE.ERROR_RECOVERY && (cdw11 & 0x1_0000) !== 0; // not in NSFEAT
  if (isPowerState || isDulbe) return refused(STATUS.INVALID_FIELD);
  nvme.ctx.state.features.set(keyOf(id, selector), (cdw11 & (MASKS[id] ?? 0)) >>> 0);
  return { dw0: 0 };
}

/** Number of Queues (5.21.1.7): what is asked for as far as there is, once, before the first I/O queue. */
function setQueues(nvme: Nvme, cdw11: number): Outcome {
  const { state } = nvme.ctx;
  const submission = cdw11 & 0xffff;
  const completion = cdw11 >>> 16;
  if (submission === 0xffff || completion === 0xffff) return refused(STATUS.INVALID_FIELD);
  if (state.completion.size > 1) return refused(STATUS.SEQUENCE_ERROR);
  const most = nvme.setup.queues - 1;
  const value = Math.min(submission, most) + Math.min(completion, most) * 0x1_0000;
  state.features.set(keyOf(FEATURE.QUEUES, 0), value);
  return { dw0: value };
}
