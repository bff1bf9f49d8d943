/** Reads QEMU's text trace (log backend): the records of guest accesses, and the accesses that they are together. */
import { type Access, guessConfigWidth, masked, type Width } from './access.js';
import { LineFormat } from './line-format.js';
import { OTHER, type ParsedLine, type ReadOptions, type RecordBatch, readRecords } from './record-reader.js';

// Formats: QEMU 7.2 softmmu/trace-events, hw/pci/trace-events and hw/vfio/trace-events; scripts/tracetool/backend/log.py
// prints one event per line, `EVENT ARGUMENTS`, with `PID@SECONDS.MICROSECONDS:` before it under `-msg timestamp=on`.
// In all records, a 64-bit number is a pair of unsigned 32-bit halves.

type Op = 'read' | 'write';

/** What a line has before its event when time stamps are on: thread and microseconds. */
interface Stamped {
  readonly stamp?: { readonly thread: number; readonly time: number };
}

/** A callback of a memory region, called once per access after QEMU has cut it. */
interface Called extends Stamped {
  /** -1: not from a virtual CPU. */
  readonly cpu: number;
  /** Pointer to the region: an identity, nothing more. */
  readonly mrLo: number;
  readonly mrHi: number;
  /** Not masked to the width. */
  readonly valueLo: number;
  readonly valueHi: number;
  readonly width: Width;
}

/** The address is an absolute one of the guest, a port or a memory address. */
export interface QemuRegionAccess extends Called {
  readonly kind: `memory_region_ops_${Op}`;
  readonly lo: number;
  readonly hi: number;
  readonly name: string;
}

/** A further view of an access that has a `memory_region_ops` record too; the address is an offset in a region. */
export interface QemuInnerAccess extends Called {
  readonly kind: `memory_region_subpage_${Op}` | `memory_region_ram_device_${Op}`;
  readonly lo: number;
  readonly hi: number;
}

/** Bus, slot and function of a device, which QEMU calls by the name of its type. */
interface Placed extends Stamped {
  readonly device: string;
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
}

/** The size is not told: see `QemuAccesses`. */
export interface QemuConfigAccess extends Placed {
  readonly kind: `pci_cfg_${Op}`;
  readonly offset: number;
  readonly value: number;
}

/** A BAR appears in the guest's address space, or goes. */
export interface QemuMapping extends Placed {
  readonly kind: 'pci_update_mappings_add' | 'pci_update_mappings_del';
  readonly bar: number;
  readonly lo: number;
  readonly hi: number;
  readonly sizeLo: number;
  readonly sizeHi: number;
}

export interface QemuMsix extends Stamped {
  readonly kind: 'msix_write_config';
  readonly device: string;
  readonly enabled: number;
  readonly masked: number;
}

/** An access that QEMU hands to vfio: host address of the function, number of the vfio region, offset in it. */
export interface QemuVfioAccess extends Stamped {
  readonly kind: `vfio_region_${Op}`;
  readonly device: string;
  readonly region: number;
  readonly lo: number;
  readonly hi: number;
  readonly width: Width;
  readonly valueLo: number;
  readonly valueHi: number;
}

export type QemuRecord =
  | QemuRegionAccess
  | QemuInnerAccess
  | QemuConfigAccess
  | QemuMapping
  | QemuMsix
  | QemuVfioAccess;

type QemuKind = QemuRecord['kind'];

const CALL = 'cpu {cpu:d} mr 0x{mr:q}';
const ARGUMENTS = 'value 0x{value:q} size {width:w}';
const PLACE = '{device:s} {bus:x2}:{slot:x2}.{function:x}';
const MAPPING = `${PLACE} {bar:d},0x{:q}+0x{size:q}`;

/** Arguments by event, without the space behind the event's name. */
const PATTERNS: Readonly<Record<QemuKind, string>> = {
  memory_region_ops_read: `${CALL} addr 0x{:q} ${ARGUMENTS} name '{name:S}'`,
  memory_region_ops_write: `${CALL} addr 0x{:q} ${ARGUMENTS} name '{name:S}'`,
  memory_region_subpage_read: `${CALL} offset 0x{:q} ${ARGUMENTS}`,
  memory_region_subpage_write: `${CALL} offset 0x{:q} ${ARGUMENTS}`,
  memory_region_ram_device_read: `${CALL} addr 0x{:q} ${ARGUMENTS}`,
  memory_region_ram_device_write: `${CALL} addr 0x{:q} ${ARGUMENTS}`,
  pci_cfg_read: `${PLACE} @0x{offset:x} -> 0x{value:x}`,
  pci_cfg_write: `${PLACE} @0x{offset:x} <- 0x{value:x}`,
  pci_update_mappings_add: MAPPING,
  pci_update_mappings_del: MAPPING,
  msix_write_config: 'dev {device:S} enabled {enabled:d} masked {masked:d}',
  // These two formats begin with a space of their own.
  vfio_region_read: ' ({device:S}:region{region:d}+0x{:q}, {width:w}) = 0x{value:q}',
  vfio_region_write: ' ({device:S}:region{region:d}+0x{:q}, 0x{value:q}, {width:w})',
};

const KINDS = Object.keys(PATTERNS) as QemuKind[];
const FORMATS: ReadonlyMap<string, LineFormat<QemuRecord>> = new Map(
  KINDS.map((kind) => [kind, new LineFormat<QemuRecord>(kind, PATTERNS[kind])]),
);

const STAMP = /^(\d{1,10})@(\d{1,10})\.(\d{6}):/;

/** Parses one line without its line end. `other` is every event that is none of the above, and every other text. */
export function parseQemuLine(text: string): ParsedLine<QemuRecord> {
  const stamp = text.charCodeAt(0) <= 0x39 ? STAMP.exec(text) : null;
  const from = stamp === null ? 0 : stamp[0].length;
  const space = text.indexOf(' ', from);
  if (space < 0) return FORMATS.has(text.slice(from)) ? MISSING : OTHER;
  const format = FORMATS.get(text.slice(from, space));
  if (format === undefined) return OTHER;
  const record = format.parse(text, space + 1);
  if (stamp === null || record.kind === 'bad') return record;
  const time = Number(stamp[2]) * 1e6 + Number(stamp[3]);
  return { ...record, stamp: { thread: Number(stamp[1]), time } };
}

const MISSING = { kind: 'bad', reason: 'arguments: is missing' } as const;

/** One line without its line end, exactly as QEMU prints it. */
export function formatQemuRecord(record: QemuRecord): string {
  const { stamp } = record;
  const micros = (time: number): string => String(time % 1e6).padStart(6, '0');
  const before =
    stamp === undefined ? '' : `${stamp.thread}@${Math.floor(stamp.time / 1e6)}.${micros(stamp.time)}:`;
  return `${before}${record.kind} ${(FORMATS.get(record.kind) as LineFormat<QemuRecord>).print(record)}`;
}

export const QEMU_TRACE = { parse: parseQemuLine, kinds: KINDS } as const;

/** Yields the records of a trace in batches, in order. */
export function readQemuTrace(
  source: AsyncIterable<Uint8Array | string>,
  options: ReadOptions<QemuRecord> = {},
): AsyncGenerator<RecordBatch<QemuRecord>, void, undefined> {
  return readRecords(QEMU_TRACE, source, options);
}

/** Regions of the host bridge through which software reaches configuration space (QEMU hw/pci/pci_host.c, pcie_host.c). */
const CONFIG_WINDOWS: ReadonlySet<string> = new Set(['pci-conf-idx', 'pci-conf-data', 'pcie-mmcfg-mmio']);
/** The one of them that only chooses the register. */
const CONFIG_INDEX = 'pci-conf-idx';

/**
 * Turns records into accesses. QEMU notes one access at up to two places: the memory region's record stands directly
 * before the record of a write and directly behind that of a read (the region's callback traces in between). So one
 * record is held back until the next one tells whether both are one access. A configuration access has its size from
 * there; where the region's record was filtered out, the size is a guess.
 */
export class QemuAccesses {
  private held: QemuRecord | undefined;
  private heldLine = 0;

  /** The accesses of the next records, except a last one that may have a second half. */
  push({ records, lines }: RecordBatch<QemuRecord>): Access[] {
    const accesses: Access[] = [];
    records.forEach((record, i) => {
      const { held } = this;
      const both = held === undefined ? undefined : paired(held, record, this.heldLine);
      if (both !== undefined) accesses.push(both);
      else if (held !== undefined) this.release(accesses);
      this.held = both === undefined ? record : undefined;
      this.heldLine = lines[i] as number;
    });
    return accesses;
  }

  /** What is held back at the end of the trace. */
  finish(): Access[] {
    const accesses: Access[] = [];
    if (this.held !== undefined) this.release(accesses);
    this.held = undefined;
    return accesses;
  }

  private release(into: Access[]): void {
    const access = single(this.held as QemuRecord, this.heldLine);
    if (access !== undefined) into.push(access);
  }
}

/** One access of two records that follow each other, or undefined when they are not one. */
function paired(first: QemuRecord, second: QemuRecord, line: number): Access | undefined {
  const write = first.kind === 'memory_region_ops_write';
  const outer = write ? first : second.kind === 'memory_region_ops_read' ? second : undefined;
  const inner = write ? second : first;
  if (outer === undefined || !inner.kind.endsWith(write ? '_write' : '_read')) return undefined;
  switch (inner.kind) {
    case 'pci_cfg_read':
    case 'pci_cfg_write':
      return isWindowTo(inner, outer) ? configAccess(inner, line, outer.width as 1 | 2 | 4) : undefined;
    case 'vfio_region_read':
    case 'vfio_region_write':
      if (!isSame(inner, outer)) return undefined;
      return { ...vfioAccess(inner, line), addressLo: outer.lo, addressHi: outer.hi, region: outer.name };
    case 'memory_region_ram_device_read':
    case 'memory_region_ram_device_write':
      return isSame(inner, outer) && inner.mrLo === outer.mrLo ? regionAccess(outer, line) : undefined;
    default:
      return undefined;
  }
}

/** The region's access is the one that reached this register: same place in the dword, same value. */
function isWindowTo(
  { offset, value }: QemuConfigAccess,
  { name, lo, width, valueLo }: QemuRegionAccess,
): boolean {
  const window = CONFIG_WINDOWS.has(name) && name !== CONFIG_INDEX && width !== 8;
  return (
    window &&
    (lo & 3) === (offset & 3) &&
    masked(width, valueLo, 0).valueLo === masked(width, value, 0).valueLo
  );
}

function isSame(one: QemuVfioAccess | QemuInnerAccess, other: QemuRegionAccess): boolean {
  return one.width === other.width && one.valueLo === other.valueLo && one.valueHi === other.valueHi;
}

/** The access that a record is by itself. */
function single(record: QemuRecord, line: number): Access | undefined {
  switch (record.kind) {
    case 'memory_region_ops_read':
    case 'memory_region_ops_write':
      return regionAccess(record, line);
    case 'pci_cfg_read':
    case 'pci_cfg_write':
      return configAccess(record, line, undefined);
    case 'vfio_region_read':
    case 'vfio_region_write':
      return vfioAccess(record, line);
    // What passes through a subpage or a mapped BAR reaches a region of its own and has that region's record too.
    default:
      return undefined;
  }
}

const opOf = (kind: string): Op => (kind.endsWith('_read') ? 'read' : 'write');

const timeOf = ({ stamp }: Stamped): { time?: number } => (stamp === undefined ? {} : { time: stamp.time });

function regionAccess(record: QemuRegionAccess, line: number): Access {
  const { kind, lo, hi, width, valueLo, valueHi, name } = record;
  return {
    line,
    op: opOf(kind),
    space: CONFIG_WINDOWS.has(name) ? 'platform' : 'memory',
    region: name,
    addressLo: lo,
    addressHi: hi,
    width,
    ...masked(width, valueLo, valueHi),
    ...timeOf(record),
  };
}

function configAccess(record: QemuConfigAccess, line: number, told: 1 | 2 | 4 | undefined): Access {
  const { kind, offset, value } = record;
  const width = told ?? guessConfigWidth(offset, value);
  return {
    line,
    op: opOf(kind),
    space: 'config',
    device: qemuFunctionName(record),
    addressLo: offset,
    addressHi: 0,
    width,
    ...(told === undefined ? { guessed: true } : {}),
    ...masked(width, value, 0),
    ...timeOf(record),
  };
}

function vfioAccess(record: QemuVfioAccess, line: number): Access {
  const { kind, device, region, lo, hi, width, valueLo, valueHi } = record;
  const value = masked(width, valueLo, valueHi);
  const access = { line, op: opOf(kind), device, addressLo: lo, addressHi: hi, width, ...value };
  const where = VFIO_BARS.has(region) ? { bar: region } : { region: `region${region}` };
  return { ...access, space: 'memory', ...where, ...timeOf(record) };
}

/** vfio region numbers that are BARs (Linux include/uapi/linux/vfio.h). */
const VFIO_BARS: ReadonlySet<number> = new Set([0, 1, 2, 3, 4, 5]);

/** `00:01.0 nvme`: PCI address and type name. */
export function qemuFunctionName({ bus, slot, function: fn, device }: Placed): string {
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  return `${hex(bus)}:${hex(slot)}.${fn.toString(16)} ${device}`;
}
