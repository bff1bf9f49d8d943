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
