/** Configuration space of the NIC: that of a ConnectX-5 Ex after power-on. */

// Capabilities stand where a real dump has them (sheet mlx.md A1):
//
//   0x60 PCI Express -> 0x9c MSI-X -> 0x40 Power Management      0x100 Advanced Error Reporting
//
// The dump has VPD (0x48) and a vendor-specific capability (0xc0) too, and ARI, SR-IOV, Secondary PCIe and ACS behind AER.
// They are left out: nothing would serve them, and drivers take a function without them.

const CONFIG_BYTES = 4096;
const PM = 0x40;
const PCIE = 0x60;
const MSIX = 0x9c;
const AER = 0x100;
const VENDOR_ID = 0x15b3;
const MSIX_TABLE = 0x2000;
const MSIX_PBA = 0x3000;

/** PCI Express Capability behind its header: as in the dump, but with the values of a reset in Device Control. */
const PCIE_DWORDS = [
  [0x04, 0x11e0_8fe2], // Device Capabilities: payloads of 512 bytes, extended tags, FLR
  [0x08, 0x0000_2810], // Device Control
  [0x0c, 0x0041_7104], // Link Capabilities: 16 GT/s x16
  [0x10, 0x1104_0008], // Link Control and Status
  [0x24, 0x0001_0017], // Device Capabilities 2
  [0x2c, 0x0180_001e], // Link Capabilities 2: 2.5 to 16 GT/s
  [0x30, 0x001e_0004], // Link Control 2 and Status 2
] as const;

export interface ConfigParts {
  readonly deviceId: number;
  readonly vectors: number;
}

/** 4096 bytes. */
export function configSpace({ deviceId, vectors }: ConfigParts): Uint8Array {
  const bytes = new Uint8Array(CONFIG_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0x00, VENDOR_ID, true);
  view.setUint16(0x02, deviceId, true);
  view.setUint16(0x06, 0x10, true); // Status: Capabilities List
  view.setUint32(0x08, 0x0200_0000, true); // Class Code: Ethernet controller
  view.setUint32(0x10, 0xc, true); // BAR 0: 64 bits, prefetchable
  view.setUint16(0x2c, VENDOR_ID, true); // Subsystem Vendor ID
  view.setUint16(0x2e, 0x0008, true); // Subsystem ID
  bytes[0x34] = PCIE; // Capabilities Pointer
  bytes.set([0x10, MSIX, 0x02, 0x00], PCIE); // version 2, endpoint
  for (const [at, dword] of PCIE_DWORDS) view.setUint32(PCIE + at, dword, true);
  bytes.set([0x11, PM], MSIX);
  view.setUint16(MSIX + 2, vectors - 1, true); // Message Control: Table Size
  view.setUint32(MSIX + 4, MSIX_TABLE, true); // in BAR 0
  view.setUint32(MSIX + 8, MSIX_PBA, true);
  bytes.set([0x01, 0x00, 0x03, 0x00], PM); // version 3, no PME
  view.setUint32(PM + 4, 0x8, true); // No_Soft_Reset
  view.setUint32(AER, 0x0002_0001, true); // version 2, last of its list
  return bytes;
}
