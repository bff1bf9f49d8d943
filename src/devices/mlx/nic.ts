/** A NIC with the data path of mlx5: doorbells and BlueFlame, send and receive queues, completion and event queues, MSI-X. */
import { inRange, invalid, needObject, ZtlpError } from '../../base/errors.js';
import { checkKeys, keysOf } from '../../base/names.js';
import { checkOption, OPTIONS } from '../../base/options.js';
import { isPowerOfTwo } from '../../device/check.js';
import { type Device, defineDevice } from '../../device/define.js';
import { moderationEnds } from './completions.js';
import { configSpace } from './config-space.js';
import { FIRST_UAR, PAGE_BYTES } from './layout.js';
import type { Port } from './port.js';
import { receiveFrame, runAllReceives } from './receive.js';
import {
  type CqSpec,
  type Created,
  createCq,
  createEq,
  createMkey,
  createRq,
  createSq,
  createUar,
  type EqSpec,
  type MkeySpec,
  newResources,
  type ResourceLimits,
  type RqSpec,
  type SqSpec,
} from './resources.js';
import { fetchTimedOut, runAllSends } from './send.js';
import {
  type HeldTimer,
  type Nic,
  type NicContext,
  type NicEvent,
  type NicState,
  type Settings,
  startAll,
  timeLeft,
} from './state.js';
import { copyTimedOut, writeBar } from './uar.js';

// BAR 0, 32 MiB, 64 bits, prefetchable (sheet mlx.md A1). Everything but the MSI-X tables is big-endian.
//
//   0x0000000 | initialization segment: reads as 0 in this version          |  8 KiB
//   0x0002000 | MSI-X table, 64 vectors of 16 bytes                         |
//   0x0003000 | MSI-X Pending Bit Array                                     |
//   0x0004000 | UAR page 4                                                  |  4 KiB each, see uar.ts
//             | ...                                                         |
//
// Files: uar (what software writes) -> send -> port (the cable) -> receive -> completions -> events -> MSI-X;
// resources, ring, mkeys, wqe, entries are what they work on; state is what an instance remembers.

/** Objects that are there after each reset, as if commands had created them. UAR pages are created as they are named. */
export interface QueueSetup {
  readonly eqs?: readonly EqSpec[];
  readonly cqs?: readonly CqSpec[];
  readonly sqs?: readonly SqSpec[];
  readonly rqs?: readonly RqSpec[];
  readonly mkeys?: readonly MkeySpec[];
}

export interface MlxNicOptions {
  /** 16 bits. Default 0x1019: ConnectX-5 Ex. */
  readonly deviceId?: number;
  /** Bytes of BAR 0: a power of two from 64 KiB to 2 GiB. Default 32 MiB. */
  readonly barBytes?: number;
  /** MSI-X vectors: 1 to 256. Default 64. */
  readonly vectors?: number;
  /** Bytes of a BlueFlame register: 128, 256 or 512. Default 512. */
  readonly bfRegSize?: number;
  /** When the doorbell record of a send queue is read. Default `never`. */
  readonly sqDbrRead?: 'never' | 'onDoorbell' | 'onDoorbellMiss';
  /** Nanoseconds after which a payload fetch has failed: an integer from 0 to 10^9; 0: never. Default 0. */
  readonly completionTimeoutNs?: number;
  /** Longest frame in bytes, without frame check sequence: 64 to 65535. Default 16384. */
  readonly maxFrameBytes?: number;
  /** The end of a cable (`wire()`). Default: no cable; frames that are sent are lost. One instance can hold it. */
  readonly port?: Port;
  /** Objects without commands. All frames go to the first of `rqs`. Default: none, and the NIC is quiet. */
  readonly queues?: QueueSetup;
}

const KEYS = keysOf<MlxNicOptions>({
  deviceId: true,
  barBytes: true,
  vectors: true,
  bfRegSize: true,
  sqDbrRead: true,
  completionTimeoutNs: true,
  maxFrameBytes: true,
  port: true,
  queues: true,
});
const QUEUE_KEYS = keysOf<QueueSetup>({ eqs: true, cqs: true, sqs: true, rqs: true, mkeys: true });

/**
 * A mlx5-style NIC. Throws ZtlpError `unknown-name` for an option it does not have, `out-of-range` or `invalid-value` for a
 * value, and for an object of `queues` that cannot be created, with its place in the list.
 */
export function mlxNic(options: MlxNicOptions = {}): Device<NicState> {
  needObject('options', options);
  checkKeys('options', options, KEYS);
  const deviceId = inRange('deviceId', options.deviceId ?? 0x1019, 0, 0xffff);
  const barBytes = inRange('barBytes', options.barBytes ?? 2 ** 25, 2 ** 16, 2 ** 31);
  if (!isPowerOfTwo(barBytes)) throw invalid('barBytes', barBytes, 'a power of two');
  const vectors = inRange('vectors', options.vectors ?? 64, 1, 256);
  const bfRegSize = options.bfRegSize ?? 512;
  if (![128, 256, 512].includes(bfRegSize)) throw invalid('bfRegSize', bfRegSize, '128, 256, 512');
  const settings: Settings = {
    bfRegSize,
    sqDbrRead: checkOption('sqDbrRead', options.sqDbrRead ?? OPTIONS.sqDbrRead.default),
    completionTimeoutNs: inRange('completionTimeoutNs', options.completionTimeoutNs ?? 0, 0, 1e9),
    maxFrameBytes: inRange('maxFrameBytes', options.maxFrameBytes ?? 16384, 64, 65535),
    port: options.port,
  };
  const limits: ResourceLimits = { vectors, uarPages: barBytes / PAGE_BYTES };
  const setup = checkSetup(options.queues);
  const nicOf = (ctx: NicContext): Nic => ({ ctx, settings, fire: happen });
  newState(setup, limits); // what cannot be created is refused here

  return defineDevice<NicState>({
    name: 'mlx-nic',
    config: configSpace({ deviceId, vectors }),
    bars: [{ size: barBytes, bits: 64, prefetchable: true, callback: true }],
    state: () => newState(setup, limits),
    connect(ctx) {
      const { port } = settings;
      if (port !== undefined)
        port.receive = ctx.entry('receive', (frame: Uint8Array) => receiveFrame(nicOf(ctx), frame));
    },
    read(_at, length, ctx) {
      resume(nicOf(ctx));
      return new Uint8Array(length);
    },
    write(at, bytes, byteEnables, ctx) {
      const nic = nicOf(ctx);
      resume(nic);
      writeBar(nic, at, bytes, byteEnables);
    },
    quiesce(ctx) {
      const { state } = ctx;
      state.held = timeLeft(nicOf(ctx));
      for (const { cancel } of state.timers) cancel();
      state.timers = [];
    },
    save(ctx) {
      const { timers: _timers, held, wireFreeNs, ...rest } = ctx.state;
      const isHeld = held !== undefined;
      return { ...rest, timers: timeLeft(nicOf(ctx)), isHeld, wireBusyNs: wireFreeNs - ctx.time.ns };
    },
    load(saved, ctx) {
      const { timers, isHeld, wireBusyNs, ...rest } = saved as SavedNic;
      Object.assign(ctx.state, rest, { timers: [], wireFreeNs: ctx.time.ns + wireBusyNs });
      ctx.state.held = isHeld ? [...timers] : undefined;
      if (!isHeld) startAll(nicOf(ctx), timers);
    },
  });
}

/** What `save` gives: times as they are left. */
type SavedNic = Omit<NicState, 'timers' | 'held' | 'wireFreeNs'> & {
  readonly timers: readonly HeldTimer[];
  readonly isHeld: boolean;
  readonly wireBusyNs: number;
};

/** What a timer was set for. */
function happen(nic: Nic, event: NicEvent): void {
  switch (event.kind) {
    case 'moderation':
      moderationEnds(nic, event.cqn);
      return;
    case 'blue-flame':
      copyTimedOut(nic, event.register);
      return;
    case 'fetch':
      fetchTimedOut(nic, event.sqn, event.fetch);
      return;
    case 'arrival':
      nic.settings.port?.send(event.frame);
      runAllSends(nic);
      return;
  }
}

/** Goes on after a quiesce that was not followed by a reset or a load. */
function resume(nic: Nic): void {
  const { state } = nic.ctx;
  const { held } = state;
  if (held === undefined) return;
  state.held = undefined;
  startAll(nic, held);
  runAllSends(nic);
  runAllReceives(nic);
}

function checkSetup(queues: QueueSetup = {}): QueueSetup {
  needObject('queues', queues);
  checkKeys('queues', queues, QUEUE_KEYS);
  for (const [kind, list] of Object.entries(queues))
    if (!Array.isArray(list)) throw invalid(`queues.${kind}`, list, 'a list');
  return queues;
}

function newState(
  { eqs = [], cqs = [], sqs = [], rqs = [], mkeys = [] }: QueueSetup,
  limits: ResourceLimits,
): NicState {
  const state: NicState = {
    ...newResources(),
    ...{ receiver: undefined, blueFlame: new Map(), cqDoorbells: new Map() },
    ...{ timers: [], held: undefined, wireFreeNs: 0, health: 0, fetches: 0 },
  };
  for (const { uar } of [...eqs, ...cqs, ...sqs])
    if (!state.uars.has(uar))
      need('uar', createUar(state, limits, uar), `a page from ${FIRST_UAR} on in the BAR`);
  const all = <T>(kind: string, list: readonly T[], create: (spec: T) => Created): number[] =>
    list.map((spec, n) => need(`queues.${kind}[${n}]`, create(spec), 'a context that can be created'));
  all('eqs', eqs, (spec) => createEq(state, limits, spec));
  all('cqs', cqs, (spec) => createCq(state, spec));
  all('sqs', sqs, (spec) => createSq(state, spec));
  [state.receiver] = all('rqs', rqs, (spec) => createRq(state, spec));
  all('mkeys', mkeys, (spec) => createMkey(state, spec));
  return state;
}

function need(field: string, created: Created, allowed: string): number {
  if ('number' in created) return created.number;
  throw new ZtlpError('invalid-value', `${field}: ${created.refused}`, { field, allowed });
}
