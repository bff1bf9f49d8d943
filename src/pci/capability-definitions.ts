/** Capabilities as a device author gives them, for `buildConfig`. */
import type { U64 } from '../core/u64.js';

interface Placed {
  /** Where the capability stands. Default: the first place behind those before it. */
  readonly offset?: number;
}

/** Device/Port Type of a function with a type 0 header. */
export type DeviceType = 'endpoint' | 'legacy-endpoint' | 'root-complex-endpoint';

/** PCI Express capability, version 2, of an endpoint (PCIe base specification 4.0 section 7.5.3). */
export interface PcieDefinition extends Placed {
  readonly kind: 'pcie';
  /** Default `endpoint`. A root-complex endpoint has no link: its link registers are 0. */
  readonly deviceType?: DeviceType;
  /** Largest payload that the function takes and sends, in bytes: 128 (default) to 4096, a power of two. */
  readonly maxPayload?: number;
  /** Function level reset. Default false. */
  readonly flr?: boolean;
  /** 8-bit tags. Default true. */
  readonly extendedTag?: boolean;
  /** Fastest and widest link, which is also the one trained: `gen1x1` (default) to `gen5x16`. */
  readonly link?: string;
}

/** MSI capability (PCI local bus specification 3.0 section 6.8.1). */
export interface MsiDefinition extends Placed {
  readonly kind: 'msi';
  /** Vectors asked for: 1, 2, 4, 8, 16 or 32. */
  readonly vectors: number;
  /** 64-bit message address. Default true. */
  readonly bits64?: boolean;
  /** Per-vector masking. Default false. */
  readonly perVectorMask?: boolean;
}

/** MSI-X capability (PCI local bus specification 3.0 section 6.8.2). Offsets are multiples of 8 bytes. */
export interface MsixDefinition extends Placed {
  readonly kind: 'msix';
  /** Entries of the table, 16 bytes each: 1 to 2048. */
  readonly vectors: number;
  readonly tableBar: number;
  readonly tableOffset: number;
  /** The pending bits: 8 bytes per 64 vectors. */
  readonly pbaBar: number;
  readonly pbaOffset: number;
}

/** Power management capability, version 3 (PCI bus power management interface specification 1.2 section 3.2). */
export interface PmDefinition extends Placed {
  readonly kind: 'pm';
  /** States D1 and D2. Default false. */
  readonly d1?: boolean;
  readonly d2?: boolean;
  /** States that PME can come from, as bits 0 (D0) to 4 (D3cold). Default 0. */
  readonly pmeSupport?: number;
  /** Registers survive D3hot to D0. Default true, as the PCIe base specification recommends. */
  readonly noSoftReset?: boolean;
}

/** Vendor-specific capability (PCI local bus specification 3.0 appendix H). */
export interface VendorDefinition extends Placed {
  readonly kind: 'vendor';
  /** What stands behind identifier, pointer and length: at most 189 bytes. */
  readonly bytes: Uint8Array;
  /** Bits of `bytes` that software may set. Default none. */
  readonly writeMask?: Uint8Array;
}

/** Advanced error reporting (PCIe base specification 4.0 section 7.8.4). */
export interface AerDefinition extends Placed {
  readonly kind: 'aer';
  /** The function can generate and check ECRC. Default false. */
  readonly ecrc?: boolean;
}

/** Address translation services (PCIe base specification 4.0 section 10.5.1). */
export interface AtsDefinition extends Placed {
  readonly kind: 'ats';
  /** Invalidations that can wait: 1 to 32. Default 32. */
  readonly queueDepth?: number;
  /** Untranslated addresses are page-aligned. Default true. */
  readonly pageAligned?: boolean;
  /** Global invalidations. Default false. */
  readonly globalInvalidate?: boolean;
}

/** Page requests (PCIe base specification 4.0 section 10.5.2). */
export interface PriDefinition extends Placed {
  readonly kind: 'pri';
  /** Most page requests outstanding: 1 to 2^32 - 1. */
  readonly capacity: number;
  /** Responses carry the PASID. Default false. */
  readonly responsePasid?: boolean;
}

/** Process address spaces (PCIe base specification 4.0 section 7.8.8). */
export interface PasidDefinition extends Placed {
  readonly kind: 'pasid';
  /** Bits of a PASID: 0 to 20. Default 20. */
  readonly width?: number;
  /** Execute and privileged requests. Default false. */
  readonly execute?: boolean;
  readonly privileged?: boolean;
}

/** Single root I/O virtualization: the fields, not the virtual functions (PCIe base specification 4.0 section 9.3.3). */
export interface SriovDefinition extends Placed {
  readonly kind: 'sriov';
  /** 1 to 65535. */
  readonly totalVfs: number;
  readonly vfDeviceId: number;
  /** Routing ID of the first VF less that of this function. Default 1. */
  readonly firstVfOffset?: number;
  /** Routing ID distance of two VFs. Default 1. */
  readonly vfStride?: number;
  /** Bit n: pages of 2^(n + 12) bytes. Default 0x553: 4 and 8 KiB, 64 and 256 KiB, 1 and 4 MiB. */
  readonly pageSizes?: number;
  /** Memory only: 4096 bytes or more. */
  readonly bars?: readonly (BarShape | undefined)[];
}

/** Device serial number (PCIe base specification 4.0 section 7.9.3). */
export interface DsnDefinition extends Placed {
  readonly kind: 'dsn';
  /** EUI-64. */
  readonly serial: U64;
}

/** Vendor-specific extended capability (PCIe base specification 4.0 section 7.9.5). */
export interface VsecDefinition extends Placed {
  readonly kind: 'vsec';
  /** 16 and 4 bits of the vendor. */
  readonly id: number;
  readonly revision?: number;
  /** What stands behind the two headers. */
  readonly bytes: Uint8Array;
  /** Bits of `bytes` that software may set. Default none. */
  readonly writeMask?: Uint8Array;
}

/** One base address register. */
export interface BarShape {
  /** Bytes, a power of two: memory 16 to 2^31 or (64-bit) 2^63, I/O 4 to 256. */
  readonly size: number;
  /** A 64-bit BAR takes the next index too, which stays `undefined`. Default 32. */
  readonly bits?: 32 | 64;
  /** Memory without side effects of reads. Default false. */
  readonly prefetchable?: boolean;
  /** I/O ports. Default false: memory. */
  readonly io?: boolean;
}

export type CapabilityDefinition =
  | PcieDefinition
  | MsiDefinition
  | MsixDefinition
  | PmDefinition
  | VendorDefinition
  | AerDefinition
  | AtsDefinition
  | PriDefinition
  | PasidDefinition
  | SriovDefinition
  | DsnDefinition
  | VsecDefinition;

/** Every field of each kind besides `kind` and `offset`. */
export const CAPABILITY_FIELDS: {
  readonly [D in CapabilityDefinition as D['kind']]: {
    readonly [F in Exclude<keyof D, 'kind' | 'offset'>]-?: true;
  };
} = {
  pcie: { deviceType: true, maxPayload: true, flr: true, extendedTag: true, link: true },
  msi: { vectors: true, bits64: true, perVectorMask: true },
  msix: { vectors: true, tableBar: true, tableOffset: true, pbaBar: true, pbaOffset: true },
  pm: { d1: true, d2: true, pmeSupport: true, noSoftReset: true },
  vendor: { bytes: true, writeMask: true },
  aer: { ecrc: true },
  ats: { queueDepth: true, pageAligned: true, globalInvalidate: true },
  pri: { capacity: true, responsePasid: true },
  pasid: { width: true, execute: true, privileged: true },
  sriov: {
    totalVfs: true,
    vfDeviceId: true,
    firstVfOffset: true,
    vfStride: true,
    pageSizes: true,
    bars: true,
  },
  dsn: { serial: true },
  vsec: { id: true, revision: true, bytes: true, writeMask: true },
};
