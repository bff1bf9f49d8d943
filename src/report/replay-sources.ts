/** One source per trace format: its lines in, accesses with their BARs out, in the order of the trace. */
import { detached, type FirstBad } from '../base/bad-lines.js';
import { BarTracker, ROM_BAR } from '../pci/bar-tracker.js';
import type { Access } from '../trace/access.js';
import { DEVICE_LOG, type DeviceRecord, deviceAccess } from '../trace/device-log.js';
import type { LineBatch } from '../trace/lines.js';
import { type MmioPcidev, type MmioRecord, mmioAccess } from '../trace/mmiotrace.js';
import { lostEvents, MmioTraceReader } from '../trace/mmiotrace-reader.js';
import { QEMU_TRACE, QemuAccesses, type QemuRecord, qemuFunctionName } from '../trace/qemu-trace.js';
import type { TextFormat } from '../trace/recognise.js';
import { RecordReader } from '../trace/record-reader.js';
import { isInstruction, ZPCI_LOG, type ZpciRecord, zpciAccess } from '../trace/zpci-log.js';
import type { RecordedPath } from './replay-patterns.js';
import { clip } from './style.js';

/** Formats with accesses to replay. */
export type TraceFormat = Exclude<TextFormat, 'lspci'>;

/** A BAR, or another block that accesses are counted by. The same object for every access to it. */
export interface Place {
  readonly device: string;
  readonly bar: `BAR${number}` | 'ROM' | 'config' | '-';
  /** Place in tables. */
  readonly order: number;
  /** One block of addresses, in which stores may merge. */
  readonly known: boolean;
  /** Inside a BAR, the ROM or configuration space. */
  readonly inside: boolean;
}

/** Takes what a source finds. */
export interface Sink {
  access(access: Access, place: Place): void;
  /** A mark that a user put into the trace. */
  mark(text: string, line: number): void;
  /** Something that is no access but comes between two. */
  gap(): void;
}

/** What a source knows at its end. */
export interface SourceResult {
  /**
   * Good lines of each kind that are no accesses by themselves. In an mmiotrace, `unknown` are instructions the kernel
   * could not decode: they are not replayed. Of QEMU traces and device logs all lines are counted, as two of them may
   * be one access; of a zPCI log those that tell what an instruction did.
   */
  readonly records: Readonly<Record<string, number>>;
  readonly badLines: number;
  readonly firstBad?: FirstBad;
  /** Lines that are not the format's, such as kernel messages, and events of QEMU that are no accesses. */
  readonly otherLines: number;
  /** Events that are missing because the kernel lost them, by its own count. */
  readonly lostEvents: number;
  /** Instructions of a zPCI log by name; refused ones ended with a condition code that is not 0. */
  readonly instructions?: readonly {
    readonly instruction: string;
    readonly count: number;
    readonly refused: number;
  }[];
}

export interface Source {
  /** The path that accesses were recorded on. */
  readonly path: RecordedPath;
  push(batch: LineBatch, sink: Sink): void;
  finish(sink: Sink): void;
  result(): SourceResult;
}

/** The source for a format. In strict mode it throws on the first bad line. */
export function openSource(format: TraceFormat, strict: boolean): Source {
  switch (format) {
    case 'mmiotrace':
      return new MmioSource(strict);
    case 'qemu-trace':
      return new QemuSource(strict);
    case 'zpci-log':
      return new ZpciSource(strict);
    case 'device-log':
      return new DeviceSource(strict);
  }
}

/** Characters kept of a name: a line of a trace may have 64 KiB. */
export const MAX_NAME = 200;
/** Blocks that are told apart; a trace may have any number of names, but memory is to stay constant. */
const MAX_PLACES = 10_000;
/** Index of configuration space behind BAR 0 to 5 and the ROM. */
const CONFIG = ROM_BAR + 1;

const OUTSIDE: Place = {
  device: 'outside every BAR',
  bar: '-',
  order: Number.POSITIVE_INFINITY,
  known: false,
  inside: false,
};

/** Hands out one Place per BAR and function, functions in the order of their first access. */
class Places {
  private readonly functions = new Map<string, { readonly index: number; readonly places: Place[] }>();
  private readonly blocks = new Map<string, Place>();

  /** BAR 0 to 5, ROM_BAR or CONFIG of a function; `index` is the function's turn in the tables, if not as it comes. */
  of(device: string, bar: number, index = this.functions.size): Place {
    let fn = this.functions.get(device);
    if (fn === undefined) {
      if (this.functions.size >= MAX_PLACES) return OUTSIDE;
      fn = { index, places: [] };
      this.functions.set(detached(device), fn);
    }
    let place = fn.places[bar];
    if (place === undefined) {
      const name = bar === CONFIG ? 'config' : bar === ROM_BAR ? 'ROM' : (`BAR${bar}` as const);
      const known = { known: true, inside: true } as const;
      place = { device: clip(detached(device), MAX_NAME), bar: name, order: fn.index * 8 + bar, ...known };
      fn.places[bar] = place;
    }
    return place;
  }

  /** A block of which only the name is known. */
  named(region: string): Place {
    let place = this.blocks.get(region);
    if (place === undefined) {
      if (this.blocks.size >= MAX_PLACES) return OUTSIDE;
      const device = `region ${clip(detached(region), MAX_NAME)}`;
      place = { device, bar: '-', order: 2 ** 40 + this.blocks.size, known: true, inside: false };
      this.blocks.set(detached(region), place);
    }
    return place;
  }
}

/** What every reader counts. */
function resultOf(
  reader: Pick<MmioTraceReader | RecordReader<{ kind: string }>, 'bad' | 'firstBad' | 'other'>,
  records: Readonly<Record<string, number>>,
  lost = 0,
): SourceResult {
  const { bad, firstBad, other } = reader;
  const first = firstBad === undefined ? {} : { firstBad };
  return { records, badLines: bad, ...first, otherLines: other, lostEvents: lost };
}

class MmioSource implements Source {
  readonly path = 'x86-uc';
  private readonly reader: MmioTraceReader;
  private readonly places = new Places();
  /** By index of the device and BAR: names are put together once. */
  private readonly known = new Map<number, Place>();
  /** PCIDEV records up to the one at hand. The reader is a batch ahead, and batches depend on how input arrives. */
  private devices = 0;

  constructor(strict: boolean) {
    this.reader = new MmioTraceReader(strict);
  }

  push(batch: LineBatch, sink: Sink): void {
    const { records, lines } = this.reader.push(batch);
    for (let i = 0; i < records.length; i++) {
      const record = records[i] as MmioRecord;
      if (record.kind === 'read' || record.kind === 'write') {
        const access = mmioAccess(record, lines[i] as number);
        sink.access(access, this.placeOf(access));
        continue;
      }
      sink.gap();
      if (record.kind === 'pcidev') this.devices++;
      // What the kernel says about lost events is no mark of a user: the phase goes on.
      else if (record.kind === 'mark' && lostEvents(record) === 0) sink.mark(record.text, lines[i] as number);
    }
  }

  finish(): void {
    this.reader.finish();
  }

  result(): SourceResult {
    const { read: _reads, write: _writes, ...records } = this.reader.counts;
    return resultOf(this.reader, records, this.reader.lost);
  }

  private placeOf({ addressLo, addressHi }: Access): Place {
    const target = this.reader.resolve(addressLo, addressHi);
    // The first range wins, so when it belongs to a later PCIDEV line, no earlier line has one.
    if (target === undefined || target.device >= this.devices) return OUTSIDE;
    const key = target.device * 8 + target.bar;
    let place = this.known.get(key);
    if (place === undefined) {
      const name = deviceName(this.reader.devices[target.device] as MmioPcidev);
      place = this.places.of(name, target.bar, target.device);
      this.known.set(key, place);
    }
    return place;
  }
}

/** `bus:device.function vendor:device driver`; the log knows no domain. */
function deviceName({ bus, devfn, vendor, device, driver }: MmioPcidev): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  const place = `${hex(bus, 2)}:${hex(devfn >>> 3, 2)}.${devfn & 7}`;
  return `${place} ${hex(vendor, 4)}:${hex(device, 4)} ${clip(driver, MAX_NAME)}`.trim();
}

/** Finds BARs by what the trace itself tells about configuration space. */
class Located {
  readonly bars = new BarTracker();
  private readonly places = new Places();

  /** Hands an access on, with its BAR. */
  give(access: Access, sink: Sink): void {
    const { space, device, bar, region, op, addressLo, addressHi, width, valueLo } = access;
    if (space === 'config') {
      const name = device ?? '';
      sink.access(access, this.places.of(name, CONFIG));
      this.bars.config(name, op, addressLo, width, valueLo);
    } else if (device !== undefined && bar !== undefined) {
      sink.access(access, this.places.of(device, bar));
    } else if (space === 'platform') {
      sink.access(access, this.places.named(region ?? 'platform'));
    } else {
      const hit = this.bars.resolve(addressLo, addressHi);
      if (hit === undefined) sink.access(access, region === undefined ? OUTSIDE : this.places.named(region));
      else sink.access(hit.io ? { ...access, space: 'io' } : access, this.places.of(hit.device, hit.bar));
    }
  }
}

class QemuSource implements Source {
  readonly path = 'x86-uc';
  private readonly reader: RecordReader<QemuRecord>;
  private readonly accesses = new QemuAccesses();
  private readonly located = new Located();

  constructor(strict: boolean) {
    this.reader = new RecordReader<QemuRecord>(QEMU_TRACE, strict);
  }

  push(batch: LineBatch, sink: Sink): void {
    const { records, lines } = this.reader.push(batch);
    const { bars } = this.located;
    // A mapping event belongs to the configuration write before it, so nothing is lost by taking it as it comes.
    records.forEach((record, i) => {
      const found = this.accesses.push({ records: [record], lines: [lines[i] as number] });
      for (const access of found) this.located.give(access, sink);
      if (record.kind === 'pci_update_mappings_add') {
        const size = record.sizeHi * 2 ** 32 + record.sizeLo;
        bars.map(qemuFunctionName(record), record.bar, record.lo, record.hi, size);
      } else if (record.kind === 'pci_update_mappings_del') {
        bars.unmap(qemuFunctionName(record), record.bar);
      }
    });
  }

  finish(sink: Sink): void {
    for (const access of this.accesses.finish()) this.located.give(access, sink);
  }

  result(): SourceResult {
    const { reader } = this;
    const records = Object.fromEntries(Object.entries(reader.counts).filter(([, count]) => count > 0));
    return resultOf(reader, records);
  }
}

class DeviceSource implements Source {
  readonly path = 'x86-uc';
  private readonly reader: RecordReader<DeviceRecord>;
  private readonly located = new Located();

  constructor(strict: boolean) {
    this.reader = new RecordReader<DeviceRecord>(DEVICE_LOG, strict);
  }

  push(batch: LineBatch, sink: Sink): void {
    const { records, lines } = this.reader.push(batch);
    records.forEach((record, i) => {
      this.located.give(deviceAccess(record, lines[i] as number), sink);
    });
  }

  finish(): void {
    // Nothing is held back.
  }

  result(): SourceResult {
    return resultOf(this.reader, { ...this.reader.counts });
  }
}

class ZpciSource implements Source {
  readonly path = 'zpci-pcistg8';
  private readonly reader: RecordReader<ZpciRecord>;
  private readonly places = new Places();
  private readonly refused = new Map<string, number>();

  constructor(strict: boolean) {
    this.reader = new RecordReader<ZpciRecord>(ZPCI_LOG, strict);
  }

  push(batch: LineBatch, sink: Sink): void {
    const { records, lines } = this.reader.push(batch);
    records.forEach((record, i) => {
      // What an instruction did is no further access.
      if (!isInstruction(record)) return;
      const access = zpciAccess(record, lines[i] as number);
      if (access === undefined) {
        // SIC leaves the condition code as it was: it says nothing.
        if (record.cc !== 0 && record.kind !== 'SIC')
          this.refused.set(record.kind, (this.refused.get(record.kind) ?? 0) + 1);
        sink.gap();
        return;
      }
      const { device = '', bar = CONFIG } = access;
      sink.access(access, this.places.of(device, bar));
    });
  }

  finish(): void {
    // Nothing is held back.
  }

  result(): SourceResult {
    const { reader } = this;
    const { PCILG, PCISTG, RPCIT, MPCIFC, CLP, SIC, ...effects } = reader.counts;
    const instructions = Object.entries({ PCILG, PCISTG, RPCIT, MPCIFC, CLP, SIC });
    return {
      ...resultOf(reader, effects),
      instructions: instructions.map(([instruction, count]) => {
        return { instruction, count, refused: this.refused.get(instruction) ?? 0 };
      }),
    };
  }
}
