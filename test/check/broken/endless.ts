/** Models that never come to an end by themselves. */
import { type DeviceContext, defineDevice } from '../../../src/device/index.js';

const ID = { vendorId: 0x1af4, deviceId: 0x10e1 } as const;

const doorbell = (name: string, ring: (ctx: DeviceContext) => void) =>
  defineDevice({
    name,
    ...ID,
    bars: [
      {
        size: 64,
        registers: { DOORBELL: { offset: 0, width: 4, access: 'wo', write: (_, ctx) => ring(ctx) } },
      },
    ],
  });

/** A timer that sets itself again without letting time pass. */
export const loops = doorbell('loops', (ctx) => {
  const again = (): void => void ctx.after(0, again);
  again();
});

/** Time passes, but hardly. */
export const crawls = doorbell('crawls', (ctx) => {
  const again = (): void => void ctx.after(0.001, again);
  again();
});

export const floods = doorbell('floods', (ctx) => {
  for (let at = 0; ; at += 4) ctx.dma.write(at % 0x1000, Uint8Array.of(1, 2, 3, 4));
});

/** Asks again for ever when a read fails. */
export const retries = doorbell('retries', (ctx) => {
  const ask = (): void => {
    ctx.dma.read(0x100, 4, {}, ({ status }) => {
      if (status !== 'ok') ask();
    });
  };
  ask();
});
