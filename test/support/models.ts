/** Device models that several tests use. */
import { type Device, defineDevice } from '../../src/device/index.js';

/** Takes PCISTB and PCILG only, as ISM does on its BARs (ism.md 2): other stores are operand exceptions. */
export function ismLike(size = 0x4000): Device {
  return defineDevice({
    name: 'ism-like',
    vendorId: 0x1014,
    deviceId: 0x04ed,
    bars: [{ size, bits: 64, memory: true }],
    acceptInstruction({ op, as }, ctx) {
      if (op !== 'pcistg' || as === 15) return true;
      ctx.stats.count('policyViolations');
      return { programInterruption: 'operand' };
    },
  }) as Device;
}

interface Copier {
  copied: number;
}

/** Copies LEN bytes of host memory from SRC to DST when DOORBELL is written, and raises vector 0 when done. */
export const copier = defineDevice<Copier>({
  name: 'copier',
  vendorId: 0x1af4,
  deviceId: 0x10f2,
  bars: [
    {
      size: 4096,
      registers: {
        ID: { offset: 0x00, width: 4, access: 'ro', reset: 0x0dab_1e55 },
        SRC: { offset: 0x08, width: 8, access: 'rw' },
        DST: { offset: 0x10, width: 8, access: 'rw' },
        LEN: { offset: 0x18, width: 4, access: 'rw' },
        DOORBELL: {
          offset: 0x1c,
          width: 4,
          access: 'wo',
          write(_value, ctx) {
            const bank = ctx.registers(0);
            const length = bank.get('LEN');
            ctx.dma.read(bank.get64('SRC'), length, {}, (read) => {
              bank.set('STATUS', read.status === 'ok' ? 1 : 2);
              if (read.status !== 'ok') return;
              ctx.dma.write(bank.get64('DST'), read.data);
              ctx.state.copied += length;
              ctx.msix.raise(0);
            });
          },
        },
        STATUS: { offset: 0x20, width: 4, access: 'rw1c' },
      },
    },
    {
      size: 4096,
      regions: [
        { offset: 0, kind: 'msix-table' },
        { offset: 0x800, kind: 'msix-pba' },
      ],
    },
  ],
  capabilities: { msix: { vectors: 2, bar: 1, tableOffset: 0, pbaOffset: 0x800 } },
  state: () => ({ copied: 0 }),
});
