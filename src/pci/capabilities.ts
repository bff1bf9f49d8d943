/** Capability chains of configuration space: names of capabilities, and a walk that ends on whatever bytes it meets. */

/** One entry of a capability chain. */
export interface Capability {
  readonly id: number;
  /** Short name of Linux include/uapi/linux/pci_regs.h, behind PCI_CAP_ID_ or PCI_EXT_CAP_ID_; `#ID` for another one. */
  readonly name: string;
  readonly offset: number;
}

/** An entry of the chain that begins at 0x100. */
export interface ExtendedCapability extends Capability {
  readonly version: number;
}

export interface Chain<C extends Capability> {
  readonly list: readonly C[];
  /** Why the chain broke off, or undefined when it ends as it should. */
  readonly problem: string | undefined;
  /** The chain goes on behind the bytes that are known. */
  readonly truncated: boolean;
}

const NAMES: Readonly<Record<number, string>> = {
  0: 'NULL',
  1: 'PM',
  2: 'AGP',
  3: 'VPD',
  4: 'SLOTID',
  5: 'MSI',
  6: 'CHSWP',
  7: 'PCIX',
  8: 'HT',
  9: 'VNDR',
  10: 'DBG',
  11: 'CCRC',
  12: 'SHPC',
  13: 'SSVID',
  14: 'AGP3',
  15: 'SECDEV',
  16: 'EXP',
  17: 'MSIX',
  18: 'SATA',
  19: 'AF',
  20: 'EA',
};

const EXTENDED_NAMES: Readonly<Record<number, string>> = {
  0: 'NULL',
  1: 'ERR',
  2: 'VC',
  3: 'DSN',
  4: 'PWR',
  5: 'RCLD',
  6: 'RCILC',
  7: 'RCEC',
  8: 'MFVC',
  9: 'VC9',
  10: 'RCRB',
  11: 'VNDR',
  12: 'CAC',
  13: 'ACS',
  14: 'ARI',
  15: 'ATS',
  16: 'SRIOV',
  17: 'MRIOV',
  18: 'MCAST',
  19: 'PRI',
  20: 'AMD_XXX',
  21: 'REBAR',
  22: 'DPA',
  23: 'TPH',
  24: 'LTR',
  25: 'SECPCI',
  26: 'PMUX',
  27: 'PASID',
  29: 'DPC',
  30: 'L1SS',
  31: 'PTM',
  35: 'DVSEC',
  36: 'VF_REBAR',
  37: 'DLF',
  38: 'PL_16GT',
  41: 'NPEM',
  42: 'PL_32GT',
  46: 'DOE',
  47: 'DEV3',
  49: 'PL_64GT',
};

/** First bytes of the two chains' areas (PCI local bus specification 3.0 6.7, PCIe base specification 7.6). */
const FIRST = 0x40;
export const FIRST_EXTENDED = 0x100;
const ALL_ONES = 0xffff_ffff;
/** Bits of every pointer that software has to mask (the same sections). */
const RESERVED = 3;

const hex = (value: number): string => `0x${value.toString(16)}`;
const nameOf = (names: Readonly<Record<number, string>>, id: number): string => names[id] ?? `#${hex(id)}`;

/** What is wrong with a pointer, given where it stands; undefined when it may be followed. */
function pointerProblem(
  at: number,
  to: number,
  first: number,
  seen: ReadonlySet<number>,
): string | undefined {
  const pointer = `pointer ${hex(to)} at ${hex(at)}`;
  if (to < first) return `${pointer} is below ${hex(first)}`;
  return seen.has(to) ? `${pointer} leads back: the chain is a loop` : undefined;
}

/** The capabilities of the first 256 bytes, from the pointer at offset `pointer` on. */
export function walkCapabilities(bytes: Uint8Array, pointer: number): Chain<Capability> {
  const list: Capability[] = [];
  const seen = new Set<number>();
  let at = pointer;
  for (;;) {
    const offset = (bytes[at] as number) & ~RESERVED;
    if (offset === 0) return { list, problem: undefined, truncated: false };
    const problem = pointerProblem(at, offset, FIRST, seen);
    if (problem !== undefined) return { list, problem, truncated: false };
    if (offset + 1 >= bytes.length) return { list, problem: undefined, truncated: true };
    const id = bytes[offset] as number;
    if (id === 0xff) return { list, problem: `capability at ${hex(offset)} reads as ones`, truncated: false };
    list.push({ id, name: nameOf(NAMES, id), offset });
    seen.add(offset);
    at = offset + 1;
  }
}

/** The extended capabilities. A first header of zeros or ones means that there are none. */
export function walkExtended(bytes: Uint8Array): Chain<ExtendedCapability> {
  const list: ExtendedCapability[] = [];
  const seen = new Set<number>();
  let offset = FIRST_EXTENDED;
  if (bytes.length <= offset) return { list, problem: undefined, truncated: false };
  for (;;) {
    if (offset + 3 >= bytes.length) return { list, problem: undefined, truncated: true };
    const header = word32(bytes, offset);
    if (header === 0 || header === ALL_ONES) {
      const problem = list.length > 0 ? `capability at ${hex(offset)} reads as ${hex(header)}` : undefined;
      return { list, problem, truncated: false };
    }
    const id = header & 0xffff;
    list.push({ id, name: nameOf(EXTENDED_NAMES, id), offset, version: (header >>> 16) & 0xf });
    seen.add(offset);
    const next = (header >>> 20) & ~RESERVED;
    if (next === 0) return { list, problem: undefined, truncated: false };
    const problem = pointerProblem(offset, next, FIRST_EXTENDED, seen);
    if (problem !== undefined) return { list, problem, truncated: false };
    offset = next;
  }
}

/** Four bytes as a little-endian number. */
export function word32(bytes: Uint8Array, offset: number): number {
  const at = (n: number): number => bytes[offset + n] as number;
  return (at(0) | (at(1) << 8) | (at(2) << 16) | (at(3) << 24)) >>> 0;
}
