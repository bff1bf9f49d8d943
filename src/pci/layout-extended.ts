/** Which bits of the extended capabilities software may change, and what resets leave alone. */
import type { CapabilityPainter } from './layout-capabilities.js';
import { EXT } from './registers.js';

type Layout = (at: CapabilityPainter) => void;

// Sections are those of PCIe base specification 4.0.

/** Errors with bits in the uncorrectable and the correctable registers of 7.8.4; without those of egress blocking. */
const UNCORRECTABLE = 0x02ff_f030;
const CORRECTABLE = 0x0000_f1c1;
/** Fatal at power-on: data link protocol, surprise down, flow control, overflow, malformed TLP, internal (7.8.4.4). */
const FATAL = 0x0046_2030;
/** Masked at power-on: uncorrectable internal error (7.8.4.3). */
const MASKED = 0x0040_0000;
/** Masked at power-on: advisory non-fatal, corrected internal, header log overflow (7.8.4.6). */
const MASKED_CORRECTABLE = 0xe000;

/** 7.8.4. Status, mask, severity and logs are sticky: they tell after a reset why it was needed. */
const aer: Layout = (at) => {
  at.paint(0x04, 4, { w1c: UNCORRECTABLE, sticky: UNCORRECTABLE });
  at.paint(0x08, 4, { rw: UNCORRECTABLE, sticky: UNCORRECTABLE, reset: MASKED });
  at.paint(0x0c, 4, { rw: UNCORRECTABLE, sticky: UNCORRECTABLE, reset: FATAL });
  at.paint(0x10, 4, { w1c: CORRECTABLE, sticky: CORRECTABLE });
  at.paint(0x14, 4, { rw: CORRECTABLE, sticky: CORRECTABLE, reset: MASKED_CORRECTABLE });
  const control = at.get(0x18, 4);
  const enables = ((control & 0x20) << 1) | ((control & 0x80) << 1) | ((control & 0x200) << 1);
  // First Error Pointer and TLP Prefix Log Present are the device's, and sticky as the header log is.
  at.paint(0x18, 4, { rw: enables, sticky: enables | 0x081f });
  for (let log = 0x1c; log < 0x2c; log += 4) at.paint(log, 4, { sticky: 0xffff_ffff });
};

/** The registers of a root port or event collector behind the header log: 7.8.4.9 to 7.8.4.11. */
export function paintRootAer(at: CapabilityPainter): void {
  at.paint(0x2c, 4, { rw: 0x7 });
  at.paint(0x30, 4, { w1c: 0x7f, sticky: 0x7f });
  at.paint(0x34, 4, { sticky: 0xffff_ffff });
}

/** 7.7.8: each control bit where the capability bit says that it is supported. */
const acs: Layout = (at) => at.paint(6, 2, { rw: at.get(4, 2) & 0x7f });

/** 7.8.7: the two function group enables and the group. */
const ari: Layout = (at) => {
  const enables = at.get(4, 2) & 3;
  at.paint(6, 2, { rw: enables | ((enables & 2) === 0 ? 0 : 0x70) });
};

/** 10.5.1: smallest translation unit and enable. */
const ats: Layout = (at) => at.paint(6, 2, { rw: 0x801f });

/** 10.5.2: enable, and the allocation. Reset reads 0. Stopped is the device's. */
const pri: Layout = (at) => {
  at.paint(4, 2, { rw: 0x0001 });
  at.paint(6, 2, { w1c: 0x0003 });
  at.paint(12, 4, { rw: 0xffff_ffff });
};

/** 7.8.8: enable, and the two permissions where they are supported. */
const pasid: Layout = (at) => at.paint(6, 2, { rw: 0x1 | (at.get(4, 2) & 0x6) });

/** 9.3.3. VF BARs are painted with the sizes that the owner gives. */
const sriov: Layout = (at) => {
  const migration = (at.get(4, 4) & 1) === 0 ? 0 : 0x6;
  at.paint(8, 2, { rw: 0x19 | migration });
  if (migration !== 0) at.paint(10, 2, { w1c: 0x1 });
  at.paint(0x10, 2, { rw: 0xffff });
  at.paint(0x20, 4, { rw: at.get(0x1c, 4), reset: 1 }); // 4 KiB, which every device supports
};

/** 7.9.13: mode where it is supported, and the requester enable. */
const tph: Layout = (at) => at.paint(8, 4, { rw: 0x0307 });

/** 7.8.2: the two latencies, value and scale. */
const ltr: Layout = (at) => at.paint(4, 4, { rw: 0x1fff_1fff });

/** 7.8.3: the four enables, thresholds and T_POWER_ON. They belong to the link. */
const l1ss: Layout = (at) => {
  at.paint(8, 4, { rw: 0xe3ff_ff0f, link: 0xe3ff_ff0f });
  at.paint(12, 4, { rw: 0x00fb, link: 0x00fb, reset: 0x0028 });
};

/** 7.9.16: enable, root select where there is a root, granularity. */
const ptm: Layout = (at) => at.paint(8, 4, { rw: 0xff01 | ((at.get(4, 1) & 4) >>> 1) });

/** Layouts by extended capability identifier. A capability that is not here is read-only. */
export const EXTENDED_LAYOUTS: Readonly<Record<number, Layout>> = {
  [EXT.AER]: aer,
  [EXT.ACS]: acs,
  [EXT.ARI]: ari,
  [EXT.ATS]: ats,
  [EXT.SRIOV]: sriov,
  [EXT.PRI]: pri,
  [EXT.TPH]: tph,
  [EXT.LTR]: ltr,
  [EXT.PASID]: pasid,
  [EXT.L1SS]: l1ss,
  [EXT.PTM]: ptm,
};
