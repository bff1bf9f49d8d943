/** `ztlp/device`: what a plug-in device model imports. */
export type { Device } from './define.js';
export { defineDevice } from './define.js';
export type { ContainedError } from './guard.js';
export type { DeviceInstance } from './instance.js';
export { type LspciDeviceOptions, lspciDevice } from './lspci.js';
export type { RegisterBank } from './register-bank.js';
export type {
  BarMemory,
  BarOffset,
  ByteEnables,
  DeviceBar,
  DeviceContext,
  DeviceDefinition,
  DeviceRegion,
  DmaFailure,
  DmaOptions,
  DmaReadResult,
  DmaWriteResult,
  Entry,
  InstructionAnswer,
  PciInstruction,
  RegionKind,
  ResetKind,
} from './types.js';
