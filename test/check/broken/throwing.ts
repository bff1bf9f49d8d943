/** Models that fail in a callback, or answer what no register can hold. */
import { defineDevice } from '../../../src/device/index.js';

const ID = { vendorId: 0x1af4, deviceId: 0x10e0 } as const;
const CALLBACK = [{ size: 256, callback: true }] as const;

export const throwsInRead = defineDevice({
  name: 'throws-in-read',
  ...ID,
  bars: CALLBACK,
  read({ offset }, length) {
    if (offset === 0x20) throw new Error('no such register');
    return new Uint8Array(length);
  },
});

export const throwsInWrite = defineDevice({
  name: 'throws-in-write',
  ...ID,
  bars: [
    {
      size: 64,
      registers: {
        MODE: {
          offset: 4,
          width: 4,
          access: 'rw',
          write(value) {
            if (value === 0xffff_ffff) throw new RangeError('mode 15 is reserved');
          },
        },
      },
    },
  ],
});

/** Always answers four bytes. */
export const wrongLength = defineDevice({
  name: 'wrong-length',
  ...ID,
  bars: CALLBACK,
  read: () => new Uint8Array(4),
});

/** Has a register every four bytes, and takes every offset for the start of one. */
export const unaligned = defineDevice<{ values: Uint32Array }>({
  name: 'unaligned',
  ...ID,
  bars: CALLBACK,
  state: () => ({ values: new Uint32Array(64) }),
  read({ offset }, length, { state }) {
    const bytes = new Uint8Array(state.values.buffer);
    if (offset % 4 !== 0) throw new Error('not a register');
    return bytes.slice(offset, offset + length);
  },
});

/** Answers later, as if a device could. */
export const asynchronous = defineDevice({
  name: 'asynchronous',
  ...ID,
  bars: CALLBACK,
  write(_at, _bytes, _enables, ctx) {
    Promise.resolve().then(() => ctx.dma.write(0x100, new Uint8Array(4)));
  },
});

export const throwsInReset = defineDevice({
  name: 'throws-in-reset',
  ...ID,
  bars: [{ size: 64, memory: true }],
  reset(kind) {
    if (kind === 'flr') throw new Error('FLR is not done yet');
  },
});
