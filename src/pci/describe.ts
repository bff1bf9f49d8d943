/** Prints configuration space as lines of text: header fields by name, BARs with sizes, capabilities decoded. */
import { hex64, join64 } from '../core/u64.js';
import { type Capability, type ExtendedCapability, word32 } from './capabilities.js';
import { type BarState, payloadBytes, readMsi, readMsix, word16 } from './config-fields.js';
import type { ConfigModel } from './config-model.js';
import { ConfigSpace } from './config-space.js';
import { CAP, EXT, REG } from './registers.js';

type Describe = (bytes: Uint8Array, at: number) => string;

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/** `Name+` for each set bit, `Name-` for each other one, as lspci writes them. */
function flags(value: number, bits: Readonly<Record<string, number>>): string {
  return Object.entries(bits)
    .map(([name, bit]) => `${name}${(value & bit) === 0 ? '-' : '+'}`)
    .join(' ');
}

// Bits by the names of pciutils lspci.
const COMMAND_BITS = {
  'I/O': 0x1,
  Mem: 0x2,
  BusMaster: 0x4,
  ParErr: 0x40,
  SERR: 0x100,
  DisINTx: 0x400,
};
const STATUS_BITS = {
  INTx: 0x8,
  Cap: 0x10,
  ParErr: 0x100,
  '>TAbort': 0x800,
  '<TAbort': 0x1000,
  '<MAbort': 0x2000,
  '>SERR': 0x4000,
  '<PERR': 0x8000,
};
const DEVICE_STATUS_BITS = {
  CorrErr: 1,
  NonFatalErr: 2,
  FatalErr: 4,
  UnsupReq: 8,
  AuxPwr: 0x10,
  TransPend: 0x20,
};
const PORT_TYPES: Readonly<Record<number, string>> = {
  0: 'endpoint',
  1: 'legacy endpoint',
  4: 'root port',
  5: 'upstream port',
  6: 'downstream port',
  7: 'PCIe to PCI bridge',
  8: 'PCI to PCIe bridge',
  9: 'root complex integrated endpoint',
  10: 'root complex event collector',
};
const SPEEDS = ['unknown speed', '2.5 GT/s', '5 GT/s', '8 GT/s', '16 GT/s', '32 GT/s', '64 GT/s'];

/** The model as lines, the same for the same registers; no line end. */
export function describeConfig(model: ConfigModel): string[] {
  const bytes = model.save();
  const space = new ConfigSpace(bytes);
  const { vendorId, deviceId, classCode, revision, headerType, command, status, multifunction } = space;
  const pin = bytes[REG.INTERRUPT_PIN] as number;
  return [
    `${hex(vendorId, 4)}:${hex(deviceId, 4)} class ${hex(classCode, 6)} revision ${hex(revision, 2)}, header type ${headerType}${multifunction ? ', multifunction' : ''}`,
    headerType === 1
      ? `Bus: primary=${hex(bytes[REG.PRIMARY_BUS] as number, 2)} secondary=${hex(bytes[REG.SECONDARY_BUS] as number, 2)} subordinate=${hex(bytes[REG.SUBORDINATE_BUS] as number, 2)}`
      : `Subsystem: ${hex(word16(bytes, REG.SUBSYSTEM_VENDOR_ID), 4)}:${hex(word16(bytes, REG.SUBSYSTEM_ID), 4)}`,
    `Command: ${hex(command, 4)} ${flags(command, COMMAND_BITS)}`,
    `Status: ${hex(status, 4)} ${flags(status, STATUS_BITS)}`,
    `Cache line: ${4 * (bytes[REG.CACHE_LINE_SIZE] as number)} bytes`,
    `Interrupt: ${pin >= 1 && pin <= 4 ? `pin ${'ABCD'[pin - 1]}, line ${bytes[REG.INTERRUPT_LINE]}` : 'no pin'}`,
    ...model.bars.flatMap(({ index }) => {
      const state = model.bar(index);
      return state === undefined ? [] : [describeBar(state)];
    }),
    ...space.capabilities.map((capability) => line(capability, bytes, '', DECODERS)),
    ...space.extendedCapabilities.map((capability: ExtendedCapability) =>
      line(capability, bytes, ` v${capability.version}`, EXTENDED_DECODERS),
    ),
    ...space.problems.map((problem) => `Problem: ${problem}`),
  ];
}

const KINDS = {
  io: 'I/O ports',
  memory32: 'memory, 32-bit',
  memory64: 'memory, 64-bit',
  rom: 'expansion ROM',
};

function describeBar({ index, kind, prefetchable, size, address, enabled }: BarState): string {
  const name = kind === 'rom' ? 'ROM' : `BAR ${index}`;
  const notes = `${prefetchable ? ', prefetchable' : ''}${enabled ? '' : ', disabled'}`;
  return `${name}: ${KINDS[kind]}${notes}, ${bytesText(size)} at ${hex64(address)}`;
}

function bytesText(size: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  const unit = Math.floor(Math.log2(size) / 10);
  return `${size / 1024 ** unit} ${units[unit]}`;
}

function line(
  { id, name, offset }: Capability,
  bytes: Uint8Array,
  version: string,
  decoders: Readonly<Record<number, Describe>>,
): string {
  const text = decoders[id]?.(bytes, offset);
  return `[${hex(offset, 2)}] ${name}${version}${text === undefined ? '' : `: ${text}`}`;
}

const DECODERS: Readonly<Record<number, Describe>> = {
  [CAP.PM]: (bytes, at) => {
    const capabilities = word16(bytes, at + 2);
    const control = word16(bytes, at + 4);
    return `D${control & 3}, ${flags(capabilities, { D1: 0x200, D2: 0x400 })} ${flags(control, { NoSoftRst: 8, 'PME-Enable': 0x100, PME: 0x8000 })}`;
  },
  [CAP.MSI]: (bytes, at) => {
    const control = word16(bytes, at + 2);
    const { vectors, address, data } = readMsi(bytes, at);
    return `${flags(control, { Enable: 1 })} ${vectors} of ${1 << Math.min((control >>> 1) & 7, 5)} vectors, ${flags(control, { '64bit': 0x80, Maskable: 0x100 })} address ${hex64(address)} data ${hex(data, 4)}`;
  },
  [CAP.VENDOR]: (bytes, at) => `${bytes[at + 2]} bytes`,
  [CAP.PCIE]: (bytes, at) => {
    const type = word16(bytes, at + 2);
    const capabilities = word32(bytes, at + 4);
    const control = word16(bytes, at + 8);
    const link = word16(bytes, at + 18);
    return [
      `${PORT_TYPES[(type >>> 4) & 15] ?? 'unknown type'} v${type & 15}`,
      `MaxPayload ${payloadBytes((control >>> 5) & 7)} of ${payloadBytes(capabilities & 7)}`,
      `MaxReadReq ${payloadBytes((control >>> 12) & 7)}`,
      flags(control, { RlxdOrd: 0x10, ExtTag: 0x100, NoSnoop: 0x800 }),
      ((capabilities >>> 28) & 1) === 1 ? 'FLReset+' : 'FLReset-',
      flags(bytes[at + 10] as number, DEVICE_STATUS_BITS),
      `link ${SPEEDS[link & 15] ?? SPEEDS[0]} x${(link >>> 4) & 0x3f}`,
    ].join(', ');
  },
  [CAP.MSIX]: (bytes, at) => {
    const { vectors } = readMsix(bytes, at);
    const place = (word: number): string => `BAR ${word & 7} + 0x${hex((word & ~7) >>> 0, 1)}`;
    return `${flags(word16(bytes, at + 2), { Enable: 0x8000, Masked: 0x4000 })} ${vectors} vectors, table ${place(word32(bytes, at + 4))}, pending bits ${place(word32(bytes, at + 8))}`;
  },
};

const EXTENDED_DECODERS: Readonly<Record<number, Describe>> = {
  [EXT.AER]: (bytes, at) => {
    const register = (offset: number): string => hex(word32(bytes, at + offset), 8);
    return `uncorrectable ${register(4)} mask ${register(8)} severity ${register(12)}, correctable ${register(16)} mask ${register(20)}`;
  },
  [EXT.DSN]: (bytes, at) => hex64(join64(word32(bytes, at + 4), word32(bytes, at + 8))),
  [EXT.VENDOR]: (bytes, at) => {
    const header = word32(bytes, at + 4);
    return `id ${hex(header & 0xffff, 4)} revision ${(header >>> 16) & 15}, ${header >>> 20} bytes`;
  },
  [EXT.ATS]: (bytes, at) =>
    `${flags(word16(bytes, at + 6), { Enable: 0x8000 })} queue depth ${word16(bytes, at + 4) & 31 || 32}, smallest unit ${2 ** ((word16(bytes, at + 6) & 31) + 12)} bytes`,
  [EXT.SRIOV]: (bytes, at) =>
    `${flags(word16(bytes, at + 8), { Enable: 1, MSE: 8 })} ${word16(bytes, at + 16)} of ${word16(bytes, at + 14)} VFs, first at +${word16(bytes, at + 20)}, stride ${word16(bytes, at + 22)}, device id ${hex(word16(bytes, at + 26), 4)}`,
  [EXT.PRI]: (bytes, at) =>
    `${flags(word16(bytes, at + 4), { Enable: 1 })} ${flags(word16(bytes, at + 6), { RF: 1, UPRGI: 2, Stopped: 0x100 })} ${word32(bytes, at + 12)} of ${word32(bytes, at + 8)} requests`,
  [EXT.PASID]: (bytes, at) =>
    `${flags(word16(bytes, at + 6), { Enable: 1, Exec: 2, Priv: 4 })} ${(word16(bytes, at + 4) >>> 8) & 31} bits`,
};
