/** Which bits of the capabilities of the first 256 bytes software may change, and what resets leave alone. */
import type { FieldRule } from './masks.js';
import { CAP } from './registers.js';

/** One capability in the space, to paint relative to its header. */
export interface CapabilityPainter {
  /** A register as it stands: read-only bits that say what is implemented. */
  get(offset: number, width: 1 | 2 | 4): number;
  paint(offset: number, width: 1 | 2 | 4, rule: FieldRule): void;
}

type Layout = (at: CapabilityPainter) => void;

/** PCI bus power management interface specification 1.2 section 3.2; PCIe base specification 4.0 section 7.5.2. */
const pm: Layout = (at) => {
  const pmeSupport = at.get(2, 2) >>> 11;
  const pme = pmeSupport === 0 ? 0 : 0x0100;
  const status = pmeSupport === 0 ? 0 : 0x8000;
  // The top bit says PME from D3cold: only then the PME bits are sticky.
  const sticky = (pmeSupport & 0x10) === 0 ? 0 : pme | status;
  at.paint(4, 2, { rw: 3 | pme, w1c: status, sticky, pme: pme | status });
};

/** PCI local bus specification 3.0 section 6.8.1; Extended Message Data: PCIe base specification 4.0 section 7.7.1. */
const msi: Layout = (at) => {
  const control = at.get(2, 2);
  const extendedData = (control & 0x0200) !== 0;
  at.paint(2, 2, { rw: 0x0071 | (extendedData ? 0x0400 : 0) });
  at.paint(4, 4, { rw: 0xffff_fffc });
  const data = (control & 0x0080) === 0 ? 8 : 12;
  if (data === 12) at.paint(8, 4, { rw: 0xffff_ffff });
  at.paint(data, 4, { rw: extendedData ? 0xffff_ffff : 0xffff });
  // One mask bit for each vector that can be asked for; the others are reserved.
  if ((control & 0x0100) !== 0) at.paint(data + 4, 4, { rw: vectorBits(control) });
};

/** A bit for each vector of a Message Control register. */
function vectorBits(control: number): number {
  const vectors = 1 << Math.min((control >>> 1) & 7, 5);
  return vectors === 32 ? 0xffff_ffff : (1 << vectors) - 1;
}

/** PCI local bus specification 3.0 section 6.8.2.3: MSI-X Enable and Function Mask. */
const msix: Layout = (at) => at.paint(2, 2, { rw: 0xc000 });

const DOWNSTREAM: ReadonlySet<number> = new Set([4, 6, 8]);
const ROOT: ReadonlySet<number> = new Set([4, 10]);
const WITHOUT_LINK: ReadonlySet<number> = new Set([9, 10]);

/** PCIe base specification 4.0 section 7.5.3. */
const pcie: Layout = (at) => {
  const flags = at.get(2, 2);
  const version = flags & 15;
  const type = (flags >>> 4) & 15;
  const hasLink = !WITHOUT_LINK.has(type);
  const isDownstream = DOWNSTREAM.has(type);
  // Captured Slot Power Limit: set by a message, so it goes with the link.
  if (!isDownstream && hasLink) at.paint(4, 4, { link: 0x0ffc_0000 });
  paintDeviceControl(at, type);
  at.paint(10, 2, { w1c: 0x000f }); // the four kinds of error detected
  if (hasLink) paintLink(at, isDownstream);
  const hasSlot = isDownstream && (flags & 0x0100) !== 0;
  if (hasSlot) {
    at.paint(24, 2, { rw: 0x1fff & ~0x0800, reset: 0x03c0 }); // both indicators off
    at.paint(26, 2, { w1c: 0x011f });
  }
  if (ROOT.has(type)) {
    at.paint(28, 2, { rw: 0x001f });
    at.paint(32, 4, { w1c: 0x0001_0000 });
  }
  if (version < 2) return;
  paintDeviceControl2(at, isDownstream);
  if (hasLink) {
    // Target speed: the highest supported one. All of the register is sticky; de-emphasis belongs to the device.
    at.paint(48, 2, { rw: 0xffbf, sticky: 0xffbf, reset: at.get(12, 1) & 15 });
    at.paint(50, 2, { w1c: 0x0020 }); // Link Equalization Request
  }
};

/** 7.5.3.4. Max_Payload_Size is wired to 128 bytes where nothing above is supported, as the specification permits. */
function paintDeviceControl(at: CapabilityPainter, type: number): void {
  const capabilities = at.get(4, 4);
  const payload = (capabilities & 7) === 0 ? 0 : 0x00e0;
  const extendedTag = (capabilities & 0x20) === 0 ? 0 : 0x0100;
  const phantom = (capabilities & 0x18) === 0 ? 0 : 0x0200;
  // Bit 15 of a bridge to PCI is Configuration Retry Enable; elsewhere Initiate FLR, which always reads 0.
  const retry = type === 7 ? 0x8000 : 0;
  at.paint(8, 2, {
    rw: 0x7c1f | payload | extendedTag | phantom | retry,
    sticky: 0x0400, // Aux Power PM Enable
    link: payload,
    reset: 0x2810, // read requests of 512 bytes, No Snoop and Relaxed Ordering enabled
  });
}

/** 7.5.3.7 and 7.5.3.8. */
function paintLink(at: CapabilityPainter, isDownstream: boolean): void {
  const capabilities = at.get(12, 4);
  const clockPm = (capabilities & 0x0004_0000) === 0 || isDownstream ? 0 : 0x0100;
  const notifies = isDownstream && (capabilities & 0x0020_0000) !== 0;
  // RCB is read-only in a port; Link Disable is reserved in an endpoint; Retrain Link always reads 0.
  const side = isDownstream ? 0x0010 : 0x0008;
  const control = 0x02c3 | side | clockPm;
  at.paint(16, 2, { rw: control | (notifies ? 0x0c00 : 0), link: control & ~0x0010 });
  if (notifies) at.paint(18, 2, { w1c: 0xc000 });
}

/** 7.5.3.16: each enable where Device Capabilities 2 says that it is supported. */
function paintDeviceControl2(at: CapabilityPainter, isDownstream: boolean): void {
  const capabilities = at.get(36, 4);
  const when = (supported: number, bits: number): number => ((capabilities & supported) === 0 ? 0 : bits);
  at.paint(40, 2, {
    rw:
      0x0340 | // AtomicOp requests, ID-based ordering of requests and of completions
      when(0x000f, 0x000f) | // completion timeout value
      when(0x0010, 0x0010) | // completion timeout disable
      (isDownstream ? when(0x0020, 0x0020) | when(0x0040, 0x0080) : 0) | // ARI forwarding, AtomicOp egress blocking
      when(0x0800, 0x0400) | // LTR
      when(0x0002_0000, 0x1000) | // 10-bit tag requester
      when(0x000c_0000, 0x6000), // OBFF
  });
}

/** Layouts by capability identifier. A capability that is not here is read-only. */
export const LAYOUTS: Readonly<Record<number, Layout>> = {
  [CAP.PM]: pm,
  [CAP.MSI]: msi,
  [CAP.PCIE]: pcie,
  [CAP.MSIX]: msix,
};
