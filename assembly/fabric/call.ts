// Floor 5: device calls of an emulated function: no TLP, an emulator hands the bytes to the BAR memory itself.
import { copyBytes } from '../kernel/arena';
import { regionCall } from './region';

/** Device calls that one accepted dispatch of `bytes` makes. */
export function deviceCalls(bytes: u32, impl: u32): u32 {
  const step = regionCall(bytes, impl);
  return (bytes + step - 1) / step;
}

/**
 * Performs one dispatch of `bytes` at `offset` of a BAR that stands at `memoryAt`. Where the region insists on calls
 * larger than the access, a store writes the zero-extended value and a load keeps only the low bytes, as QEMU does.
 */
export function callDevice(
  memoryAt: usize,
  barBytes: u32,
  offset: u32,
  bytesAt: usize,
  bytes: u32,
  impl: u32,
  isRead: bool,
): void {
  if (isRead) {
    copyBytes(bytesAt, memoryAt + offset, bytes);
    return;
  }
  copyBytes(memoryAt + offset, bytesAt, bytes);
  const step = regionCall(bytes, impl);
  if (step > bytes) memory.fill(memoryAt + offset + bytes, 0, min(step, barBytes - offset) - bytes);
}
