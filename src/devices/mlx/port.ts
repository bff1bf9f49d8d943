/** The cable: two ports, the time that a frame takes between them, and places where a test looks at frames or puts them in. */
import { inRange, invalid, needObject } from '../../base/errors.js';
import { checkKeys, keysOf } from '../../base/names.js';
import { later, type Nic } from './state.js';

/**
 * One end of a cable. A NIC takes it as its option `port`; a test may hold the other end. Frames are Ethernet frames without
 * preamble and frame check sequence.
 */
export interface Port {
  /** ns on the cable for a byte, and for the first bit from end to end. A NIC that sends waits for both. */
  readonly nsPerByte: number;
  readonly latencyNs: number;
  /** Gives a copy of `frame` to the other end, now. Without anybody there the frame is lost. */
  send(frame: Uint8Array): void;
  /** Takes what comes from the other end. A NIC sets it when it is put into a machine. */
  receive: ((frame: Uint8Array) => void) | undefined;
}

export interface WireOptions {
  /** Bits per second: 1000 to 10^15. Default 0: a frame takes no time to send. */
  readonly bitsPerSecond?: number;
  /** Nanoseconds from end to end: an integer from 0 to 10^9. Default 0. */
  readonly latencyNs?: number;
}

export interface Wire {
  readonly a: Port;
  readonly b: Port;
  /** Sees each frame when it arrives, with the end that sent it. */
  tap: ((frame: Uint8Array, from: 'a' | 'b') => void) | undefined;
}

const KEYS = keysOf<WireOptions>({ bitsPerSecond: true, latencyNs: true });
/** Frames on the cable at one time, in one direction: a NIC with so many waits with the next. */
const MOST_FRAMES = 1024;

/** A cable with two ends. Throws ZtlpError `unknown-name` for an option it does not have, `out-of-range` for a value. */
export function wire(options: WireOptions = {}): Wire {
  needObject('options', options);
  checkKeys('options', options, KEYS);
  const { bitsPerSecond = 0, latencyNs = 0 } = options;
  inRange('latencyNs', latencyNs, 0, 1e9);
  if (bitsPerSecond !== 0 && !(bitsPerSecond >= 1000 && bitsPerSecond <= 1e15))
    throw invalid('bitsPerSecond', bitsPerSecond, '0, or a number from 1000 to 10^15', 'out-of-range');
  const nsPerByte = bitsPerSecond === 0 ? 0 : 8e9 / bitsPerSecond;
  const port = (from: 'a' | 'b', other: () => Port): Port => ({
    nsPerByte,
    latencyNs,
    receive: undefined,
    send: (frame) => {
      made.tap?.(frame.slice(), from);
      other().receive?.(frame.slice());
    },
  });
  const made: Wire = { a: port('a', () => made.b), b: port('b', () => made.a), tap: undefined };
  return made;
}

/** Whether the cable takes no more frames now. */
export function isCableFull({ ctx }: Nic): boolean {
  return ctx.state.timers.filter(({ event }) => event.kind === 'arrival').length >= MOST_FRAMES;
}

/** Sends a frame behind those that are being sent. */
export function transmit(nic: Nic, frame: Uint8Array): void {
  const { ctx, settings } = nic;
  ctx.stats.count('framesSent');
  const { port } = settings;
  if (port === undefined) return;
  const { nsPerByte, latencyNs } = port;
  if (nsPerByte === 0 && latencyNs === 0) {
    port.send(frame);
    return;
  }
  const { state, time } = ctx;
  state.wireFreeNs = Math.max(time.ns, state.wireFreeNs) + frame.length * nsPerByte;
  later(nic, state.wireFreeNs + latencyNs - time.ns, { kind: 'arrival', frame });
}
