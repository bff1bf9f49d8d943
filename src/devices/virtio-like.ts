/** A function with the outside of a modern virtio device: MSI-X tables in one BAR, byte registers and a DMA writer in another. */
import { inRange, invalid, needObject } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import { isPowerOfTwo } from '../device/check.js';
import { type Device, defineDevice } from '../device/define.js';
import type { RegisterDefinition, RegisterMap } from '../device/registers.js';
import type { DeviceContext } from '../device/types.js';

// Not a virtio device: there are no virtqueues. It has the places of one (virtio 1.2 section 4.1.4), so that what only
// looks at configuration space, MSI-X and device configuration finds them, and one writer instead of the queues.
//
//   BAR `msixBar`                       BAR `registerBar`, four quarters
//   0        MSI-X table, 16 x vectors  0/4  common configuration   reads as 0
//   half     Pending Bit Array          1/4  ISR status             reads as 0
//                                       2/4  device configuration   one register per byte: CONFIG0, CONFIG1, ...
//                                       3/4  notifications          the writer:
//
//   +0x00 ADDRESS 8 rw   where to write               +0x1c STATUS   4 ro  0 none yet, 1 completed, 2 failed
//   +0x08 LENGTH  4 rw   bytes, below 2^24            +0x20 WRITTEN  4 ro  bytes of the last request, 0 if it failed
//   +0x0c NOTIFY  4 wo   any write starts a request   +0x24 POSITION 4 rw  of the next byte in the pattern; runs on
//   +0x10 RING    8 rw   where to read when written
//   +0x18 VECTOR  2 rw   message when completed; 0xffff: none
//
// Byte p of the pattern is (3 p + 1) mod 256. A posted write says nothing about its fate, so the writer then reads 4 bytes
// of RING, as a virtio device looks at its ring: a request is completed when that read was.

const NO_VECTOR = 0xffff;
const COMPLETED = 1;
const FAILED = 2;
const CONFIG_BYTES = 256; // without extended configuration space
const MSIX = 0x98;
const PCIE = 0xa4;

export interface VirtioLikeOptions {
  /** As `defineDevice` takes it. Default `virtio-like`. */
  readonly name?: string;
  /** 16 bits. Default 0x1041: 0x1040 and the virtio device type, here a network card. */
  readonly deviceId?: number;
  /** 24 bits. Default 0x020000: Ethernet controller. */
  readonly classCode?: number;
  /** MSI-X vectors: 1 to 2048. Default 4. */
  readonly vectors?: number;
  /** BAR of the MSI-X tables, 0 to 5; 32 bits. Default 1. */
  readonly msixBar?: number;
  /** Bytes of that BAR. Default: the smallest power of two from 4096 up whose halves hold table and PBA. */
  readonly msixBarBytes?: number;
  /** BAR of the registers, 0 to 4, 64 bits: it takes the next one too. Default 4. */
  readonly registerBar?: number;
  /** Bytes of that BAR: a power of two from 256 up. Default 16 KiB. */
  readonly registerBarBytes?: number;
  /** Device configuration after a reset: 1 to 256 bytes. Default 52:54:00:12:34:56, then 0 and 1. */
  readonly deviceConfig?: Uint8Array;
  /** How many bytes of the device configuration software can write, from the first. Default 6. */
  readonly writableBytes?: number;
}

const KEYS = keysOf<VirtioLikeOptions>({
  name: true,
  deviceId: true,
  classCode: true,
  vectors: true,
  msixBar: true,
  msixBarBytes: true,
  registerBar: true,
  registerBarBytes: true,
  deviceConfig: true,
  writableBytes: true,
});
const MAC_AND_STATUS = Uint8Array.of(0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x00, 0x01);

/** Throws ZtlpError `unknown-name` for an option that it does not have, else the field, the value and what is allowed. */
export function virtioLike(options: VirtioLikeOptions = {}): Device {
  needObject('options', options);
  checkKeys('options', options, KEYS);
  const vectors = inRange('vectors', options.vectors ?? 4, 1, 2048);
  const msixBar = inRange('msixBar', options.msixBar ?? 1, 0, 5);
  const registerBar = inRange('registerBar', options.registerBar ?? 4, 0, 4);
  if (msixBar === registerBar || msixBar === registerBar + 1)
    throw invalid('msixBar', msixBar, `a BAR other than ${registerBar} and ${registerBar + 1}`);
  const msixBarBytes = options.msixBarBytes ?? 2 ** Math.max(12, 1 + Math.ceil(Math.log2(16 * vectors)));
  checkSize('msixBarBytes', msixBarBytes, 32 * vectors);
  const registerBarBytes = checkSize('registerBarBytes', options.registerBarBytes ?? 0x4000, 256);
  const deviceConfig = options.deviceConfig ?? MAC_AND_STATUS;
  const quarter = registerBarBytes / 4;
  const most = Math.min(256, quarter);
  if (!(deviceConfig instanceof Uint8Array) || deviceConfig.length < 1 || deviceConfig.length > most)
    throw invalid('deviceConfig', deviceConfig, `1 to ${most} bytes`);
  const writable = inRange(
    'writableBytes',
    options.writableBytes ?? Math.min(6, deviceConfig.length),
    0,
    deviceConfig.length,
  );
  const deviceId = inRange('deviceId', options.deviceId ?? 0x1041, 0, 0xffff);
  const classCode = inRange('classCode', options.classCode ?? 0x02_0000, 0, 0xff_ffff);
  const bars = [];
  bars[msixBar] = { size: msixBarBytes, regions: [] }; // the tables are put in from the MSI-X capability
  bars[registerBar] = {
    size: registerBarBytes,
    bits: 64 as const,
    prefetchable: true,
    regions: [
      {
        offset: 2 * quarter,
        size: quarter,
        kind: 'registers' as const,
        registers: configRegisters(deviceConfig, writable),
      },
      {
        offset: 3 * quarter,
        size: quarter,
        kind: 'registers' as const,
        registers: writer(registerBar, vectors),
      },
    ],
  };
  return defineDevice<unknown>({
    name: options.name ?? 'virtio-like',
    config: configSpace({ deviceId, classCode, vectors, msixBar, msixBarBytes, registerBar, quarter }),
    bars,
  });
}

function checkSize(field: string, value: number, min: number): number {
  inRange(field, value, min, 2 ** 31);
  if (!isPowerOfTwo(value)) throw invalid(field, value, 'a power of two');
  return value;
}

/** One register per byte, so that each byte has an access of its own. */
function configRegisters(bytes: Uint8Array, writable: number): RegisterMap<DeviceContext> {
  const registers = [...bytes].map((reset, offset): [string, RegisterDefinition<DeviceContext>] => {
    return [`CONFIG${offset}`, { offset, width: 1, access: offset < writable ? 'rw' : 'ro', reset }];
  });
  return Object.fromEntries(registers);
}

function writer(bar: number, vectors: number): RegisterMap<DeviceContext> {
  return {
    ADDRESS: { offset: 0x00, width: 8, access: 'rw' },
    LENGTH: { offset: 0x08, width: 4, access: 'rw', writeMask: 0xff_ffff },
    NOTIFY: { offset: 0x0c, width: 4, access: 'wo', write: (_value, ctx) => request(ctx, bar, vectors) },
    RING: { offset: 0x10, width: 8, access: 'rw' },
    VECTOR: { offset: 0x18, width: 2, access: 'rw', reset: NO_VECTOR },
    STATUS: { offset: 0x1c, width: 4, access: 'ro' },
    WRITTEN: { offset: 0x20, width: 4, access: 'ro' },
    POSITION: { offset: 0x24, width: 4, access: 'rw' },
  };
}

function request(ctx: DeviceContext, bar: number, vectors: number): void {
  const bank = ctx.registers(bar);
  const length = bank.get('LENGTH');
  const position = bank.get('POSITION');
  const vector = bank.get('VECTOR');
  bank.set('POSITION', (position + length) >>> 0);
  const bytes = Uint8Array.from({ length }, (_, n) => 3 * (position + n) + 1);
  ctx.dma.write(bank.get64('ADDRESS'), bytes, {}, () => {
    ctx.dma.read(bank.get64('RING'), 4, {}, ({ status }) => {
      const isCompleted = status === 'ok';
      bank.set('STATUS', isCompleted ? COMPLETED : FAILED);
      bank.set('WRITTEN', isCompleted ? length : 0);
      if (isCompleted && vector < vectors) ctx.msix.raise(vector);
    });
  });
}

interface ConfigParts {
  readonly deviceId: number;
  readonly classCode: number;
  readonly vectors: number;
  readonly msixBar: number;
  readonly msixBarBytes: number;
  readonly registerBar: number;
  readonly quarter: number;
}

/**
 * Vendor-specific capabilities of virtio 1.2 section 4.1.4 where QEMU has them: offset, `cfg_type`, length, and the quarter
 * of the register BAR that they name. Type 5 is the window through configuration space, which is not served.
 */
const STRUCTURES = [
  { at: 0x40, type: 1, length: 16, quarter: 0 }, // common configuration
  { at: 0x50, type: 3, length: 16, quarter: 1 }, // ISR status
  { at: 0x60, type: 4, length: 16, quarter: 2 }, // device configuration
  { at: 0x70, type: 2, length: 20, quarter: 3 }, // notifications
  { at: 0x84, type: 5, length: 20, quarter: undefined },
] as const;

/**
 * PCI Express Capability (PCIe base specification 7.5.3) behind identifier and pointer, as words of 16 bits: version 2,
 * endpoint; 512-byte payloads, extended tags, role-based errors, FLR; a link of 8 GT/s x8.
 */
const PCIE_WORDS = [
  [0x02, 0x0002], // Capabilities Register
  [0x04, 0x8022], // Device Capabilities
  [0x06, 0x1000],
  [0x08, 0x2810], // Device Control: as after a reset
  [0x0c, 0x0083], // Link Capabilities
  [0x12, 0x0083], // Link Status
  [0x2c, 0x000e], // Link Capabilities 2: 2.5, 5 and 8 GT/s
] as const;

/** Configuration space as it is after power-on: MSI-X first, then virtio's structures, then PCI Express. */
function configSpace(parts: ConfigParts): Uint8Array {
  const bytes = new Uint8Array(CONFIG_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0x00, 0x1af4, true); // Vendor ID
  view.setUint16(0x02, parts.deviceId, true);
  view.setUint16(0x06, 0x10, true); // Status: Capabilities List
  view.setUint32(0x08, parts.classCode * 256 + 1, true); // Revision ID 1: not transitional
  view.setUint32(0x10 + 4 * parts.registerBar, 0xc, true); // 64 bits, prefetchable; the other BAR's flags are all 0
  view.setUint16(0x2c, 0x1af4, true); // Subsystem Vendor ID
  view.setUint16(0x2e, 0x1100, true); // Subsystem ID
  bytes[0x34] = MSIX; // Capabilities Pointer
  bytes[0x3d] = 1; // Interrupt Pin: INTA
  bytes[PCIE] = 0x10;
  for (const [at, word] of PCIE_WORDS) view.setUint16(PCIE + at, word, true);
  let next = PCIE;
  for (const { at, type, length, quarter } of STRUCTURES) {
    const isMapped = quarter !== undefined;
    bytes.set([0x09, next, length, type, isMapped ? parts.registerBar : 0], at);
    view.setUint32(at + 8, (quarter ?? 0) * parts.quarter, true);
    view.setUint32(at + 12, isMapped ? parts.quarter : 0, true);
    next = at;
  }
  bytes.set([0x11, next], MSIX);
  view.setUint16(MSIX + 2, parts.vectors - 1, true); // Message Control: Table Size
  view.setUint32(MSIX + 4, parts.msixBar, true); // Table Offset and BIR
  view.setUint32(MSIX + 8, parts.msixBarBytes / 2 + parts.msixBar, true); // PBA Offset and BIR
  return bytes;
}
