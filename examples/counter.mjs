/** A whole device: adds up what is written to it, and interrupts at a limit. */
import { defineDevice } from 'ztlp/device';

export default defineDevice({
  name: 'counter',
  vendorId: 0x1af4,
  deviceId: 0x10f0,
  bars: [
    {
      size: 4096,
      registers: {
        ADD: {
          offset: 0x0,
          width: 4,
          access: 'wo',
          selfClearing: true, // else a later write of one byte adds the other three again
          write(value, ctx) {
            const bank = ctx.registers(0);
            const sum = (bank.get('COUNT') + value) >>> 0;
            bank.set('COUNT', sum);
            if (sum >= bank.get('LIMIT')) ctx.msix.raise(0);
          },
        },
        COUNT: { offset: 0x4, width: 4, access: 'ro' },
        LIMIT: { offset: 0x8, width: 4, access: 'rw', reset: 100 },
      },
    },
  ],
  capabilities: { msix: { vectors: 1, bar: 0, tableOffset: 0x800, pbaOffset: 0xc00 } },
});
