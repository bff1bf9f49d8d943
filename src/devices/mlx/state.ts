/** What one NIC remembers, what its parts are given, and its timers, which are saved by the time that they have left. */
import type { DeviceContext } from '../../device/types.js';
import type { Port } from './port.js';
import type { Resources } from './resources.js';

/** What a timer is for. */
export type NicEvent =
  /** The event of a CQ was held back long enough (cq_period). */
  | { readonly kind: 'moderation'; readonly cqn: number }
  /** A frame is at the other end of the cable. */
  | { readonly kind: 'arrival'; readonly frame: Uint8Array }
  /** The rest of a BlueFlame copy did not come. */
  | { readonly kind: 'blue-flame'; readonly register: number }
  /** The payload of a send was not completed in time. */
  | { readonly kind: 'fetch'; readonly sqn: number; readonly fetch: number };

interface Timer {
  readonly atNs: number;
  readonly event: NicEvent;
  readonly cancel: () => void;
}

/** A timer without a clock: saved, or held while the NIC is quiesced. */
export interface HeldTimer {
  readonly leftNs: number;
  readonly event: NicEvent;
}

/** What was written to a BlueFlame register and is not complete. Offsets are those in the UAR page. */
export interface BlueFlameState {
  /** First dword of a doorbell whose second one did not come yet. */
  latch?: { readonly at: number; readonly value: number } | undefined;
  /** A WQE that comes in blocks of 64 bytes. */
  copy?: { readonly at: number; readonly bytes: Uint8Array; got: number } | undefined;
  /** Bytes that still belong to a doorbell: the remainder of a copy that was cut up, or that was refused. */
  tail?: { at: number; left: number } | undefined;
}

export interface NicState extends Resources {
  /** Number of the RQ that gets all frames; undefined: frames that arrive are dropped. */
  receiver: number | undefined;
  /** By register: 4 * UAR page + number. */
  readonly blueFlame: Map<number, BlueFlameState>;
  /** By UAR page: first dword of a CQ doorbell. */
  readonly cqDoorbells: Map<number, number>;
  timers: Timer[];
  /** Of a NIC that is quiesced: what goes on at the next access. */
  held: HeldTimer[] | undefined;
  /** Time at which the last bit that was sent leaves. */
  wireFreeNs: number;
  /** health_syndrome: the last that was found, 0: none. */
  health: number;
  /** Payload fetches so far. */
  fetches: number;
}

export type NicContext = DeviceContext<NicState>;

export interface Settings {
  readonly bfRegSize: number;
  readonly sqDbrRead: 'never' | 'onDoorbell' | 'onDoorbellMiss';
  /** ns; 0: a fetch may take for ever. */
  readonly completionTimeoutNs: number;
  readonly maxFrameBytes: number;
  readonly port: Port | undefined;
}

/** What every part of the model is given. */
export interface Nic {
  readonly ctx: NicContext;
  readonly settings: Settings;
  /** Does what a timer is for. */
  readonly fire: (nic: Nic, event: NicEvent) => void;
}

/** Counts what software did and must not. Nothing else comes of it. */
export function protocolError({ ctx }: Nic, what: string): void {
  ctx.stats.count('protocolErrors');
  ctx.stats.count(`protocolErrors: ${what}`);
}

/** Lets `ns` pass, then `event` happens. While the NIC is quiesced no time passes for it. */
export function later(nic: Nic, ns: number, event: NicEvent): void {
  const { ctx } = nic;
  if (ctx.state.held !== undefined) {
    ctx.state.held.push({ leftNs: ns, event });
    return;
  }
  const cancel = ctx.after(ns, () => {
    ctx.state.timers = ctx.state.timers.filter((timer) => timer.event !== event);
    nic.fire(nic, event);
  });
  ctx.state.timers.push({ atNs: ctx.time.ns + ns, event, cancel });
}

/** Takes back the timers whose event fits. */
export function cancel({ ctx }: Nic, fits: (event: NicEvent) => boolean): void {
  const { state } = ctx;
  for (const timer of state.timers) if (fits(timer.event)) timer.cancel();
  state.timers = state.timers.filter(({ event }) => !fits(event));
  state.held = state.held?.filter(({ event }) => !fits(event));
}

/** What the timers have left to run. */
export function timeLeft({ ctx }: Nic): HeldTimer[] {
  const { timers, held } = ctx.state;
  return held ?? timers.map(({ atNs, event }) => ({ leftNs: Math.max(0, atNs - ctx.time.ns), event }));
}

/** Starts timers that were held, in the order in which they were set. */
export function startAll(nic: Nic, timers: readonly HeldTimer[]): void {
  for (const { leftNs, event } of timers) later(nic, leftNs, event);
}
