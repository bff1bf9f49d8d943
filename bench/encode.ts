/** Group `encode`: Memory Writes formed into the descriptor ring of the core, their payload into its payload ring. */
import { crc32 } from 'node:zlib';
import * as L from '../assembly/layout.js';
import { resolveOptions } from '../src/base/options.js';
import { Core } from '../src/core/core.js';
import { pathOf, planOf, setParams } from '../src/path/prepare.js';
import type { Plan } from '../src/path/table.js';
import { type Case, ensure, type Goal, type Group, pattern } from './case.js';

/** One access: long enough that its host calls do not count, short enough that its TLPs fit the ring. */
const BLOCK = 65536;
const SOURCE = pattern(BLOCK);
/** Above 4 GiB, so that headers have 4 DW. */
const BUS_HIGH = 256;
const UNITS_PER_RUN = 4;

/** At least this part of the speed of C. */
const GOAL: Goal = { of: 'C', limit: 0.8 };

const OPTIONS = resolveOptions({});
const WHOLE = { rule: L.RULE_WHOLE, value: 0 };

/** Page after page to the requester, which cuts them by MPS alone: the least that the path engine can do. */
const PAGES: Plan = {
  guest: WHOLE,
  exit: WHOLE,
  dispatch: WHOLE,
  host: { rule: L.RULE_CUT, value: L.PAGE_BYTES },
  counting: 0,
  check: L.CHECK_NONE,
  request: L.REQUEST_MEMORY,
};

interface Encoder {
  readonly core: Core;
  readonly plan: Plan;
  /** Largest payload of a TLP. The core takes any power of two, also those that no device may set as its MPS. */
  readonly mps: number;
  readonly mode: number;
}

/** Writes the parameter block: other cases use the same core. A few dozen stores per 64 KiB. */
function prepare({ core, plan, mps, mode }: Encoder): void {
  const access = { op: 'write', bytes: BLOCK, block: true } as const;
  setParams(core, { access, plan, options: OPTIONS, mode, sourceAddress: 0 });
  core.setParam(L.PARAM_MPS, mps);
}

/** Forms the TLPs of the block; in list mode they are in the ring when it returns. */
function form({ core }: Encoder): number {
  core.x.accessBegin(L.SLOT_NONE, 0, 0, BUS_HIGH, 0, 0, BLOCK);
  return core.x.run();
}

/** CRC-32 of everything that the TLPs in the ring are: the C loop computes the same. */
function ringCheck(core: Core, withPayload: boolean): number {
  let value = 0;
  const take = (at: number, bytes: number): void => {
    value = crc32(core.u8.subarray(at, at + bytes), value);
  };
  const first = core.x.ringKeep() >>> 0;
  for (let n = 0; n < core.x.ringTlps(); n++) {
    const at = core.at(L.PLACE_RING) + ((first + n) % L.RING_SLOTS) * L.DESCRIPTOR_STRIDE;
    const word = (offset: number): number => core.u32[(at + offset) >>> 2] as number;
    take(at + L.DESCRIPTOR_H0, 16);
    take(at + L.DESCRIPTOR_BYTES, 4);
    take(at + L.DESCRIPTOR_KIND, 4);
    take(at + L.DESCRIPTOR_WIRE, 4);
    if (withPayload) take(word(L.DESCRIPTOR_PAYLOAD), word(L.DESCRIPTOR_BYTES));
  }
  return value;
}

/** TLPs of `mps` bytes, with the copy of their payload (once per access, as the machine does it) or without. */
function ringCase(core: Core, mps: number, withPayload: boolean): Case {
  const encoder: Encoder = { core, plan: PAGES, mps, mode: L.MODE_LIST };
  const at = core.stagedAt(0);
  const block = (): void => {
    if (withPayload) core.u8.set(SOURCE, at);
    ensure(form(encoder) === L.RUN_DONE, 'the block does not fit the descriptor ring');
  };
  const run = (): void => {
    prepare(encoder);
    for (let n = 0; n < UNITS_PER_RUN; n++) {
      block();
      core.x.drained();
    }
  };
  prepare(encoder);
  block();
  ensure(core.x.ringTlps() === BLOCK / mps, `not ${BLOCK / mps} TLPs of ${mps} B`);
  const native = {
    loop: withPayload ? 'form' : 'headers',
    bytes: mps,
    check: ringCheck(core, withPayload),
  } as const;
  core.x.drained();
  return {
    name: `${mps} B TLP, ${withPayload ? 'header, descriptor and payload' : 'header and descriptor'}`,
    bytes: withPayload ? mps : 0,
    units: (UNITS_PER_RUN * BLOCK) / mps,
    run,
    native,
    ...(withPayload ? { goal: GOAL } : {}),
  };
}

/** The write-combining path: guest, exit, dispatch and host level step once for each TLP of 64 bytes. */
function pathCase(core: Core): Case {
  const path = pathOf('x86-wc-line');
  const plan = planOf(path, { op: 'write', bytes: BLOCK, block: true }, OPTIONS);
  const encoder: Encoder = { core, plan, mps: OPTIONS.mps, mode: L.MODE_COUNT };
  const run = (): void => {
    prepare(encoder);
    for (let n = 0; n < UNITS_PER_RUN; n++) form(encoder);
  };
  run();
  ensure(core.totals().tlps === BLOCK / 64, 'the path does not form one TLP per line');
  return {
    name: '64 B TLP, an operation of x86-wc-line each',
    bytes: 0,
    units: (UNITS_PER_RUN * BLOCK) / 64,
    run,
  };
}

export async function encodeGroup(): Promise<Group> {
  const core = await Core.load(undefined, 0, 0);
  const short = ringCase(core, 64, true);
  return {
    title: 'encode',
    unit: 'TLP',
    baseline: short.name,
    cases: [
      short,
      ringCase(core, 256, true),
      ringCase(core, 64, false),
      ringCase(core, 256, false),
      pathCase(core),
    ],
  };
}
