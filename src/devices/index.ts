/** `ztlp/devices`: the models that come with ztlp. */
export { type CopyEngineOptions, type CopyEngineState, copyEngine } from './copy-engine.js';
export { type Dmb, IsmFabric, type Member } from './ism/fabric.js';
export { ISM_GROUP, type IsmOptions, ism } from './ism/ism.js';
export { type MemoryDeviceOptions, memoryDevice } from './memory.js';
export { type MlxNicOptions, mlxNic, type QueueSetup } from './mlx/nic.js';
export { type Port, type Wire, type WireOptions, wire } from './mlx/port.js';
export { type FileBacking, type FileBackingOptions, fileBacking } from './nvme/file.js';
export { nvme } from './nvme/nvme.js';
export type { NvmeOptions } from './nvme/setup.js';
export type { NvmeBacking } from './nvme/store.js';
export { type VirtioLikeOptions, virtioLike } from './virtio-like.js';
