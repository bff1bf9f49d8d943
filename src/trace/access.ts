/** The form that every trace reader can give an access in: who, where, how wide and which value, whatever the trace. */

/**
 * What an access reaches: memory or I/O ports of a PCI function, its configuration space, or `platform`: registers of
 * the machine itself, such as an IOMMU's, that are not behind a PCIe link and so never become TLPs.
 */
export type Space = 'memory' | 'io' | 'config' | 'platform';

/** Bytes of one access. */
export type Width = 1 | 2 | 4 | 8;

/** One access. 64-bit numbers are pairs of unsigned 32-bit halves; a value is little-endian and masked to the width. */
export interface Access {
  /** Line of the trace, counted from 1. */
  readonly line: number;
  readonly op: 'read' | 'write';
  readonly space: Space;
  /** The function as the trace names it, where it does: `00:01.0 nvme`, `fh 80020000`, `virtio-net-pci`. */
  readonly device?: string;
  /** BAR 0 to 5, where the trace itself tells it; the address may then be an offset in it. */
  readonly bar?: number;
  /** Name that the recording program gave the register block. */
  readonly region?: string;
  /** Bus address, port or configuration offset. */
  readonly addressLo: number;
  readonly addressHi: number;
  readonly width: Width;
  /** The trace does not tell the width: it is the smallest that holds the value. */
  readonly guessed?: true;
  readonly valueLo: number;
  readonly valueHi: number;
  /** Microseconds, on the clock of the trace. */
  readonly time?: number;
}

/** True for the widths that one load or store can have. */
export function isWidth(bytes: number): bytes is Width {
  return bytes === 1 || bytes === 2 || bytes === 4 || bytes === 8;
}

/** The bits of a value that an access of `width` bytes carries: recorders do not mask all of them. */
export function masked(width: Width, lo: number, hi: number): { valueLo: number; valueHi: number } {
  const valueLo = width === 1 ? lo & 0xff : width === 2 ? lo & 0xffff : lo;
  return { valueLo, valueHi: width === 8 ? hi : 0 };
}

/**
 * Width of a configuration access whose size was not recorded: the smallest that holds the value, but 4 for base
 * address registers (0x10 to 0x27 and the ROM's at 0x30), which software only accesses whole.
 */
export function guessConfigWidth(offset: number, value: number): 1 | 2 | 4 {
  if ((offset & 3) === 0 && ((offset >= 0x10 && offset < 0x28) || offset === 0x30)) return 4;
  return value < 0x100 ? 1 : value < 0x1_0000 ? 2 : 4;
}
