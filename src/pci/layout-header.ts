/** Which bits of a type 0 or type 1 header software may change. */
import type { Masks } from './masks.js';
import { COMMAND, REG } from './registers.js';

// PCI local bus specification 3.0 sections 6.2.2 to 6.2.4, PCI-to-PCI bridge architecture 1.2 section 3.2.5, and what
// PCIe base specification 4.0 section 7.5.1 wires to 0.

/** Master data parity error and the five error bits of a status register: cleared by writing 1. */
const STATUS_ERRORS = 0xf900;
const PCIE_COMMAND =
  COMMAND.IO | COMMAND.MEMORY | COMMAND.BUS_MASTER | COMMAND.PARITY | COMMAND.SERR | COMMAND.INTX_DISABLE;
/** Special cycles, memory write and invalidate, VGA palette snoop, fast back-to-back: conventional functions only. */
const CONVENTIONAL_COMMAND = PCIE_COMMAND | 0x0238;
/** Parity response, SERR#, ISA, VGA, VGA 16-bit decode, secondary bus reset. */
const PCIE_BRIDGE_CONTROL = 0x005f;
/** Master abort mode, fast back-to-back, the two discard timers and their SERR#. */
const CONVENTIONAL_BRIDGE_CONTROL = PCIE_BRIDGE_CONTROL | 0x0ba0;
const DISCARD_TIMER_STATUS = 0x0400;

/**
 * Paints everything but the BARs. I/O and Memory Space Enable can be set whether or not there is such a BAR: the
 * specification permits both. The Latency Timer is read-only, as the local bus specification permits (6.2.4) and PCI Express
 * requires.
 */
export function paintHeader(masks: Masks, bytes: Uint8Array, express: boolean): void {
  const isBridge = ((bytes[REG.HEADER_TYPE] as number) & 0x7f) === 1;
  masks.paint(REG.COMMAND, 2, { rw: express ? PCIE_COMMAND : CONVENTIONAL_COMMAND });
  masks.paint(REG.STATUS, 2, { w1c: STATUS_ERRORS });
  masks.paint(REG.CACHE_LINE_SIZE, 1, { rw: 0xff });
  masks.paint(REG.INTERRUPT_LINE, 1, { rw: 0xff });
  if (isBridge) paintBridge(masks, bytes, express);
}

function paintBridge(masks: Masks, bytes: Uint8Array, express: boolean): void {
  const rw = (offset: number, width: 1 | 2 | 4, bits: number): void =>
    masks.paint(offset, width, { rw: bits });
  rw(REG.PRIMARY_BUS, 1, 0xff);
  rw(REG.SECONDARY_BUS, 1, 0xff);
  rw(REG.SUBORDINATE_BUS, 1, 0xff);
  if (!express) rw(REG.SECONDARY_LATENCY, 1, 0xff);
  rw(REG.IO_BASE, 2, 0xf0f0);
  masks.paint(REG.SECONDARY_STATUS, 2, { w1c: STATUS_ERRORS });
  rw(REG.MEMORY_BASE, 4, 0xfff0_fff0);
  rw(REG.PREFETCH_BASE, 4, 0xfff0_fff0);
  // A low digit of 1 says that the upper registers are there.
  if (((bytes[REG.PREFETCH_BASE] as number) & 15) === 1) {
    rw(REG.PREFETCH_BASE_UPPER, 4, 0xffff_ffff);
    rw(REG.PREFETCH_LIMIT_UPPER, 4, 0xffff_ffff);
  }
  if (((bytes[REG.IO_BASE] as number) & 15) === 1) rw(REG.IO_BASE_UPPER, 4, 0xffff_ffff);
  rw(REG.BRIDGE_CONTROL, 2, express ? PCIE_BRIDGE_CONTROL : CONVENTIONAL_BRIDGE_CONTROL);
  if (!express) masks.paint(REG.BRIDGE_CONTROL, 2, { w1c: DISCARD_TIMER_STATUS });
}
