/** The models that come with ztlp, by the names that a command takes. */
import { type Device, defineDevice } from '../device/define.js';
import { memoryDevice } from './memory.js';

/** Each with all defaults. */
export const BUILTIN_DEVICES: Readonly<Record<string, () => Device>> = {
  memory: () => {
    const { name, vendorId, deviceId, bars } = memoryDevice();
    return defineDevice<unknown>({ name, vendorId, deviceId, bars });
  },
};
