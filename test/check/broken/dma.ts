/** Models that take DMA and interrupts too lightly. */
import { defineDevice } from '../../../src/device/index.js';

const ID = { vendorId: 0x1af4, deviceId: 0x10e3 } as const;

/** Uses the data of a read without a look at its status. */
export const trusting = defineDevice({
  name: 'trusting',
  ...ID,
  bars: [
    {
      size: 64,
      registers: {
        FETCH: {
          offset: 0,
          width: 4,
          access: 'wo',
          write(value, ctx) {
            ctx.dma.read(value & 0xf000, 8, {}, ({ data }) => {
              ctx.registers(0).set('FIRST', data?.slice(0, 1)[0] as number);
            });
          },
        },
        FIRST: { offset: 4, width: 1, access: 'ro' },
      },
    },
  ],
});

/** Reports to host memory every microsecond once it was started, whatever happens. */
export const restless = defineDevice({
  name: 'restless',
  ...ID,
  bars: [
    {
      size: 64,
      registers: {
        START: {
          offset: 0,
          width: 4,
          access: 'wo',
          write(_value, ctx) {
            const report = (): void => {
              ctx.dma.write(0x800, Uint8Array.of(1));
              ctx.after(1000, report);
            };
            report();
          },
        },
      },
    },
  ],
});

/** Counts its vectors from 1. */
export const wrongVector = defineDevice({
  name: 'wrong-vector',
  ...ID,
  bars: [
    {
      size: 4096,
      registers: {
        RING: { offset: 0xc00, width: 4, access: 'wo', write: (_value, ctx) => ctx.msix.raise(2) },
      },
    },
  ],
  capabilities: { msix: { vectors: 2, bar: 0, tableOffset: 0, pbaOffset: 0x800 } },
});
