/** Capabilities as a device declares them: one entry per structure of PCIe base specification chapter 7, defaults, checks. */
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import type { DeviceType } from '../pci/capability-definitions.js';
import { booleanOr, checkFields, choiceOr, type Fields, integerOr, needed } from './check.js';

/** PCI Express Capability (7.5.3). */
export interface PcieCapability {
  /** Default `endpoint`. */
  readonly deviceType?: DeviceType;
  /** Max_Payload_Size Supported in bytes: 128 to 4096, a power of two. Default 512. */
  readonly maxPayloadSize?: number;
  /** Function Level Reset Capability. Default true. */
  readonly functionLevelReset?: boolean;
  /** Extended Tag Field Supported: 8-bit tags. Default true. */
  readonly extendedTags?: boolean;
  /** Max Link Speed: 1 (2.5 GT/s) to 5 (32 GT/s). Default 3. */
  readonly maxLinkSpeed?: number;
  /** Maximum Link Width in lanes. Default 8. */
  readonly maxLinkWidth?: 1 | 2 | 4 | 8 | 16;
}

/** MSI Capability (7.7.1). */
export interface MsiCapability {
  /** Multiple Message Capable. */
  readonly vectors: 1 | 2 | 4 | 8 | 16 | 32;
  /** 64-bit Address Capable. Default true. */
  readonly address64?: boolean;
  /** Per-Vector Masking Capable. Default false. */
  readonly maskable?: boolean;
}

/** MSI-X Capability and its two tables (7.7.2). */
export interface MsixCapability {
  /** 1 to 2048. */
  readonly vectors: number;
  /** BAR of the table, and of the PBA unless `pbaBar` says another one. */
  readonly bar: number;
  /** Bytes from the start of the BAR, a multiple of 8. The table takes 16 bytes per vector. */
  readonly tableOffset: number;
  /** Bytes from the start of the BAR, a multiple of 8. The Pending Bit Array takes 8 bytes per 64 vectors. */
  readonly pbaOffset: number;
  readonly pbaBar?: number;
}

/** Power Management Capability (7.5.2). */
export interface PmCapability {
  /** D1_Support, D2_Support. Default false. */
  readonly d1?: boolean;
  readonly d2?: boolean;
  /** PME_Support: bit 0 D0 to bit 4 D3cold. Default 0. */
  readonly pme?: number;
  /** No_Soft_Reset: D3hot to D0 is no reset. Default true. */
  readonly noSoftReset?: boolean;
}

/** Advanced Error Reporting (7.8.4). */
export interface AerCapability {
  /** ECRC Generation Capable and ECRC Check Capable. Default false. */
  readonly ecrc?: boolean;
}

/** Address Translation Services (10.5.1). */
export interface AtsCapability {
  /** Invalidate Queue Depth: 1 to 32. Default 32. */
  readonly invalidateQueueDepth?: number;
  /** Page Aligned Request. Default true. */
  readonly pageAligned?: boolean;
  /** Global Invalidate Supported. Default false. */
  readonly globalInvalidate?: boolean;
}

/** Page Request Interface (10.5.2). */
export interface PriCapability {
  /** Outstanding Page Request Capacity: 1 to 2^32 - 1. Default 32. */
  readonly capacity?: number;
  /** PRG Response PASID Required. Default false. */
  readonly responsePasid?: boolean;
}

/** Process Address Space ID (7.8.9). */
export interface PasidCapability {
  /** Max PASID Width in bits: 0 to 20. Default 20. */
  readonly width?: number;
  /** Execute Permission Supported, Privileged Mode Supported. Default false. */
  readonly execute?: boolean;
  readonly privileged?: boolean;
}

/** Single Root I/O Virtualization (9.3.3). */
export interface SriovCapability {
  /** TotalVFs: 1 to 65535. */
  readonly totalVfs: number;
  /** VF Device ID. */
  readonly vfDeviceId: number;
  /** First VF Offset and VF Stride in Routing IDs. Default 1. */
  readonly firstVfOffset?: number;
  readonly vfStride?: number;
  /** Supported Page Sizes: bit n for 2^(n + 12) bytes. Default 0x553, which the specification requires. */
  readonly pageSizes?: number;
}

/** Vendor-Specific Capability (7.9.4): what stands behind its length byte, up to 189 bytes. */
export interface VendorCapability {
  readonly data: Uint8Array;
}

/** What a device has; a capability that is left out does not exist. `true` takes all defaults. */
export interface Capabilities {
  readonly pcie?: PcieCapability | true;
  readonly msi?: MsiCapability;
  readonly msix?: MsixCapability;
  readonly pm?: PmCapability | true;
  readonly aer?: AerCapability | true;
  readonly ats?: AtsCapability | true;
  readonly pri?: PriCapability | true;
  readonly pasid?: PasidCapability | true;
  readonly sriov?: SriovCapability;
  readonly vendor?: readonly VendorCapability[];
}

/** The same with every default filled in. */
export interface ResolvedCapabilities {
  readonly pcie?: Required<PcieCapability>;
  readonly msi?: Required<MsiCapability>;
  readonly msix?: Required<MsixCapability>;
  readonly pm?: Required<PmCapability>;
  readonly aer?: Required<AerCapability>;
  readonly ats?: Required<AtsCapability>;
  readonly pri?: Required<PriCapability>;
  readonly pasid?: Required<PasidCapability>;
  readonly sriov?: Required<SriovCapability>;
  readonly vendor: readonly VendorCapability[];
}

const KEYS = ['pcie', 'msi', 'msix', 'pm', 'aer', 'ats', 'pri', 'pasid', 'sriov', 'vendor'] as const;
/** Structures of extended configuration space, which only PCI Express functions have. */
const EXTENDED = ['aer', 'ats', 'pri', 'pasid', 'sriov'] as const;
const DEVICE_TYPES = ['endpoint', 'legacy-endpoint', 'root-complex-endpoint'] as const;
const MAX_VENDOR_BYTES = 0x100 - 0x40 - 3;

type Resolver<C> = (field: string, given: Fields) => C;

/** Bytes of an MSI-X table, and of its Pending Bit Array. */
export const tableBytes = (vectors: number): number => 16 * vectors;
export const pbaBytes = (vectors: number): number => 8 * Math.ceil(vectors / 64);

/** Checks `given` and fills in the defaults. */
export function resolveCapabilities(field: string, given: unknown): ResolvedCapabilities {
  if (given === undefined) return Object.freeze({ vendor: Object.freeze([]) });
  const fields = checkFields(field, given, KEYS);
  const resolved: Record<string, unknown> = { vendor: resolveVendor(`${field}.vendor`, fields.vendor) };
  for (const [key, [keys, resolve]] of Object.entries(RESOLVERS)) {
    const value = fields[key];
    if (value === undefined) continue;
    const own = checkFields(`${field}.${key}`, value === true ? {} : value, keys);
    resolved[key] = Object.freeze(resolve(`${field}.${key}`, own));
  }
  checkNeeds(field, resolved);
  return Object.freeze(resolved) as unknown as ResolvedCapabilities;
}

function checkNeeds(field: string, has: Fields): void {
  const need = (key: string, other: string): void => {
    if (has[key] === undefined || has[other] !== undefined) return;
    const detail = { field: `${field}.${key}`, allowed: `together with ${other}` };
    throw new ZtlpError('invalid-value', `${field}.${key}: needs ${other}`, detail);
  };
  for (const key of EXTENDED) need(key, 'pcie');
  need('pri', 'ats');
}

function resolvePcie(field: string, given: Fields): Required<PcieCapability> {
  const sizes = [128, 256, 512, 1024, 2048, 4096] as const;
  const widths = [1, 2, 4, 8, 16] as const;
  return {
    deviceType: choiceOr(`${field}.deviceType`, given.deviceType, DEVICE_TYPES, 'endpoint'),
    maxPayloadSize: choiceOr(`${field}.maxPayloadSize`, given.maxPayloadSize, sizes, 512),
    functionLevelReset: booleanOr(`${field}.functionLevelReset`, given.functionLevelReset, true),
    extendedTags: booleanOr(`${field}.extendedTags`, given.extendedTags, true),
    maxLinkSpeed: integerOr(`${field}.maxLinkSpeed`, given.maxLinkSpeed, 1, 5, 3),
    maxLinkWidth: choiceOr(`${field}.maxLinkWidth`, given.maxLinkWidth, widths, 8),
  };
}

function resolveMsi(field: string, given: Fields): Required<MsiCapability> {
  const counts = [1, 2, 4, 8, 16, 32] as const;
  if (given.vectors === undefined) throw invalid(`${field}.vectors`, undefined, counts.join(', '));
  return {
    vectors: choiceOr(`${field}.vectors`, given.vectors, counts, 1),
    address64: booleanOr(`${field}.address64`, given.address64, true),
    maskable: booleanOr(`${field}.maskable`, given.maskable, false),
  };
}

function resolveMsix(field: string, given: Fields): Required<MsixCapability> {
  const bar = inRange(`${field}.bar`, needed(`${field}.bar`, given.bar) as number, 0, 5);
  const offset = (key: 'tableOffset' | 'pbaOffset'): number => {
    // The two registers hold 32 bits, of which the low three name the BAR.
    const value = inRange(`${field}.${key}`, needed(`${field}.${key}`, given[key]) as number, 0, 0xffff_fff8);
    if (value % 8 !== 0) throw invalid(`${field}.${key}`, value, 'a multiple of 8');
    return value;
  };
  return {
    vectors: inRange(`${field}.vectors`, needed(`${field}.vectors`, given.vectors) as number, 1, 2048),
    bar,
    tableOffset: offset('tableOffset'),
    pbaOffset: offset('pbaOffset'),
    pbaBar: integerOr(`${field}.pbaBar`, given.pbaBar, 0, 5, bar),
  };
}

function resolvePm(field: string, given: Fields): Required<PmCapability> {
  return {
    d1: booleanOr(`${field}.d1`, given.d1, false),
    d2: booleanOr(`${field}.d2`, given.d2, false),
    pme: integerOr(`${field}.pme`, given.pme, 0, 0x1f, 0),
    noSoftReset: booleanOr(`${field}.noSoftReset`, given.noSoftReset, true),
  };
}

function resolveAts(field: string, given: Fields): Required<AtsCapability> {
  return {
    invalidateQueueDepth: integerOr(`${field}.invalidateQueueDepth`, given.invalidateQueueDepth, 1, 32, 32),
    pageAligned: booleanOr(`${field}.pageAligned`, given.pageAligned, true),
    globalInvalidate: booleanOr(`${field}.globalInvalidate`, given.globalInvalidate, false),
  };
}

function resolvePri(field: string, given: Fields): Required<PriCapability> {
  return {
    capacity: integerOr(`${field}.capacity`, given.capacity, 1, 0xffff_ffff, 32),
    responsePasid: booleanOr(`${field}.responsePasid`, given.responsePasid, false),
  };
}

function resolvePasid(field: string, given: Fields): Required<PasidCapability> {
  return {
    width: integerOr(`${field}.width`, given.width, 0, 20, 20),
    execute: booleanOr(`${field}.execute`, given.execute, false),
    privileged: booleanOr(`${field}.privileged`, given.privileged, false),
  };
}

function resolveSriov(field: string, given: Fields): Required<SriovCapability> {
  return {
    totalVfs: inRange(`${field}.totalVfs`, given.totalVfs as number, 1, 0xffff),
    vfDeviceId: inRange(`${field}.vfDeviceId`, given.vfDeviceId as number, 0, 0xffff),
    firstVfOffset: integerOr(`${field}.firstVfOffset`, given.firstVfOffset, 1, 0xffff, 1),
    vfStride: integerOr(`${field}.vfStride`, given.vfStride, 1, 0xffff, 1),
    pageSizes: integerOr(`${field}.pageSizes`, given.pageSizes, 1, 0xffff_ffff, 0x553),
  };
}

function resolveVendor(field: string, given: unknown): readonly VendorCapability[] {
  if (given === undefined) return Object.freeze([]);
  if (!Array.isArray(given)) throw invalid(field, given, 'a list');
  const list = given.map((entry: unknown, index) => {
    const at = `${field}[${index}]`;
    const { data } = checkFields(at, entry, ['data']);
    if (!(data instanceof Uint8Array) || data.length > MAX_VENDOR_BYTES)
      throw invalid(`${at}.data`, data, `at most ${MAX_VENDOR_BYTES} bytes`);
    return Object.freeze({ data: data.slice() });
  });
  return Object.freeze(list);
}

/** Fields of each capability, and what checks them. */
const RESOLVERS: Readonly<Record<string, readonly [keys: readonly string[], resolve: Resolver<object>]>> = {
  pcie: [
    ['deviceType', 'maxPayloadSize', 'functionLevelReset', 'extendedTags', 'maxLinkSpeed', 'maxLinkWidth'],
    resolvePcie,
  ],
  msi: [['vectors', 'address64', 'maskable'], resolveMsi],
  msix: [['vectors', 'bar', 'tableOffset', 'pbaOffset', 'pbaBar'], resolveMsix],
  pm: [['d1', 'd2', 'pme', 'noSoftReset'], resolvePm],
  aer: [['ecrc'], (field, given) => ({ ecrc: booleanOr(`${field}.ecrc`, given.ecrc, false) })],
  ats: [['invalidateQueueDepth', 'pageAligned', 'globalInvalidate'], resolveAts],
  pri: [['capacity', 'responsePasid'], resolvePri],
  pasid: [['width', 'execute', 'privileged'], resolvePasid],
  sriov: [['totalVfs', 'vfDeviceId', 'firstVfOffset', 'vfStride', 'pageSizes'], resolveSriov],
};
