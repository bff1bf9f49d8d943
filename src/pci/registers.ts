/** Offsets and identifiers of configuration space that several files of this room need, by the specifications' names. */

// PCI local bus specification 3.0 section 6.1 and figure 6-1; PCI-to-PCI bridge architecture 1.2 section 3.2. The
// numbers are those of Linux include/uapi/linux/pci_regs.h.

/** Registers of the standard header; the last ones of a type 1 header only. */
export const REG = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION: 0x08,
  CLASS: 0x09,
  CACHE_LINE_SIZE: 0x0c,
  LATENCY_TIMER: 0x0d,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  ROM: 0x30,
  CAPABILITIES: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
  PRIMARY_BUS: 0x18,
  SECONDARY_BUS: 0x19,
  SUBORDINATE_BUS: 0x1a,
  SECONDARY_LATENCY: 0x1b,
  IO_BASE: 0x1c,
  SECONDARY_STATUS: 0x1e,
  MEMORY_BASE: 0x20,
  PREFETCH_BASE: 0x24,
  PREFETCH_BASE_UPPER: 0x28,
  PREFETCH_LIMIT_UPPER: 0x2c,
  IO_BASE_UPPER: 0x30,
  ROM_BRIDGE: 0x38,
  BRIDGE_CONTROL: 0x3e,
} as const;

/** Bits of the Command register. */
export const COMMAND = {
  IO: 1 << 0, // I/O Space Enable
  MEMORY: 1 << 1, // Memory Space Enable
  BUS_MASTER: 1 << 2, // Bus Master Enable
  PARITY: 1 << 6, // Parity Error Response
  SERR: 1 << 8, // SERR# Enable
  INTX_DISABLE: 1 << 10, // Interrupt Disable
} as const;

/** Capability identifiers. */
export const CAP = { PM: 1, MSI: 5, VENDOR: 9, PCIE: 16, MSIX: 17, AF: 19 } as const;

/** Extended capability identifiers. */
export const EXT = {
  AER: 1,
  DSN: 3,
  VENDOR: 11,
  ACS: 13,
  ARI: 14,
  ATS: 15,
  SRIOV: 16,
  PRI: 19,
  TPH: 23,
  LTR: 24,
  PASID: 27,
  L1SS: 30,
  PTM: 31,
} as const;

/** Bytes of the space of a conventional function and of a PCIe function. */
export const CONVENTIONAL = 256;
export const EXTENDED = 4096;
