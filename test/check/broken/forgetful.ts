/** Models whose state is not where a reset, a save or a second run can find it. */
import { defineDevice } from '../../../src/device/index.js';

const ID = { vendorId: 0x1af4, deviceId: 0x10e2 } as const;
const CALLBACK = [{ size: 64, callback: true }] as const;

let sum = 0;

/** Keeps its sum outside of `state`. */
export const hiddenState = defineDevice({
  name: 'hidden-state',
  ...ID,
  bars: CALLBACK,
  read: (_at, length) => new Uint8Array(length).fill(sum),
  write(_at, bytes) {
    sum = (sum + bytes.length) >>> 0;
  },
});

/** Saves one of its two counters. */
export const halfSaved = defineDevice<{ reads: number; writes: number }>({
  name: 'half-saved',
  ...ID,
  bars: CALLBACK,
  state: () => ({ reads: 0, writes: 0 }),
  read(_at, length, { state }) {
    state.reads = (state.reads + 1) & 0xff;
    return new Uint8Array(length).fill(state.reads ^ state.writes);
  },
  write(_at, _bytes, _enables, { state }) {
    state.writes = (state.writes + 1) & 0xff;
  },
  save: ({ state }) => ({ reads: state.reads }),
  load(saved, { state }) {
    state.reads = (saved as { readonly reads: number }).reads;
  },
});

export const unsavable = defineDevice<{ callback: () => void }>({
  name: 'unsavable',
  ...ID,
  bars: [{ size: 64, memory: true }],
  state: () => ({ callback: () => undefined }),
});

export const random = defineDevice({
  name: 'random',
  ...ID,
  bars: CALLBACK,
  read: (_at, length) => Uint8Array.from({ length }, () => Math.floor(256 * Math.random())),
});

/** Has a clock of the host's. */
export const clock = defineDevice({
  name: 'clock',
  ...ID,
  bars: CALLBACK,
  read: (_at, length) => new Uint8Array(length).fill(Math.floor(Date.now() / 1000) & 0xff),
});
