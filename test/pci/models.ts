/** Functions for tests: one with every capability, and those of the bundled dumps. */
import { buildConfig, configFromLspci, type FunctionDefinition } from '../../src/pci/build-config.js';
import type { ConfigModel } from '../../src/pci/config-model.js';
import { bundled } from './dumps.js';

const K = 1024;

/** Every kind of capability, with the most that each can do. */
export const EVERYTHING: FunctionDefinition = {
  vendorId: 0x1234,
  deviceId: 0x5678,
  revision: 3,
  classCode: 0x020000,
  subsystemVendorId: 0x1af4,
  subsystemId: 0x1100,
  interruptPin: 1,
  bars: [
    { size: 16 * K, bits: 64, prefetchable: true },
    undefined,
    { size: 64 * K },
    { size: 32, io: true },
    { size: 4 * K, bits: 64 },
  ],
  rom: { size: 64 * K },
  capabilities: [
    { kind: 'pcie', flr: true, maxPayload: 512, link: 'gen4x8' },
    { kind: 'msi', vectors: 8, perVectorMask: true },
    { kind: 'msix', vectors: 65, tableBar: 2, tableOffset: 0, pbaBar: 2, pbaOffset: 4096 },
    { kind: 'pm', d1: true, pmeSupport: 0x19, noSoftReset: false },
    { kind: 'vendor', bytes: Uint8Array.of(1, 2, 3, 4, 5), writeMask: Uint8Array.of(0, 0xf0) },
    { kind: 'aer', ecrc: true },
    { kind: 'ats' },
    { kind: 'pri', capacity: 32 },
    { kind: 'pasid', execute: true, privileged: true },
    { kind: 'sriov', totalVfs: 7, vfDeviceId: 0x5679, bars: [{ size: 16 * K, bits: 64 }] },
    { kind: 'dsn', serial: 0x1122_3344_5566_7788n },
    { kind: 'vsec', id: 9, bytes: Uint8Array.of(1, 2, 3, 4), writeMask: Uint8Array.of(0xff) },
  ],
};

/** Offset of each capability of `EVERYTHING`. */
export const AT = {
  pcie: 0x40,
  msi: 0x7c,
  msix: 0x94,
  pm: 0xa0,
  vendor: 0xa8,
  aer: 0x100,
  ats: 0x148,
  pri: 0x150,
  pasid: 0x160,
  sriov: 0x168,
  dsn: 0x1a8,
  vsec: 0x1b4,
} as const;

export const everything = (): ConfigModel => buildConfig(EVERYTHING);

/** BAR sizes of the functions that QEMU 7.2 emulates: the dumps do not tell them. */
export const SIZES = {
  'qemu72-e1000e': {
    bars: [{ size: 128 * K }, { size: 128 * K }, { size: 32 }, { size: 16 * K }],
    rom: { size: 256 * K },
  },
  'qemu72-nvme': { bars: [{ size: 16 * K }] },
} as const;

export async function dumped(name: keyof typeof SIZES): Promise<ConfigModel> {
  return configFromLspci(await bundled(name), SIZES[name]);
}
