/** `ztlp/devices`: the models that come with ztlp. */
export { type CopyEngineOptions, type CopyEngineState, copyEngine } from './copy-engine.js';
export { type MemoryDeviceOptions, memoryDevice } from './memory.js';
export { type MlxNicOptions, mlxNic, type QueueSetup } from './mlx/nic.js';
export { type Port, type Wire, type WireOptions, wire } from './mlx/port.js';
export { type VirtioLikeOptions, virtioLike } from './virtio-like.js';
