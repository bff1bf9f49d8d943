/** The models that come with ztlp, by the names that a command takes. */
import { type Device, defineDevice } from '../device/define.js';
import { copyEngine } from './copy-engine.js';
import { ism } from './ism/ism.js';
import { memoryDevice } from './memory.js';
import { mlxNic } from './mlx/nic.js';
import { nvme } from './nvme/nvme.js';
import { virtioLike } from './virtio-like.js';

/** Each with all defaults. */
export const BUILTIN_DEVICES: Readonly<Record<string, () => Device>> = {
  memory: () => {
    const { name, vendorId, deviceId, bars } = memoryDevice();
    // As in a machine that has no model: above 4 GiB.
    const wide = bars.map((bar) => (bar === undefined ? undefined : { ...bar, bits: 64 as const }));
    return defineDevice<unknown>({ name, vendorId, deviceId, bars: wide });
  },
  'copy-engine': () => copyEngine() as unknown as Device,
  'virtio-like': () => virtioLike(),
  ism: () => ism() as unknown as Device,
  nvme: () => nvme() as unknown as Device,
  'mlx-nic': () => mlxNic() as unknown as Device,
};
