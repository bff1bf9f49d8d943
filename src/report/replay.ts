/** Replays the accesses of a recorded driver trace as TLPs, in constant memory, and sums up what the bus carries. */
import { show, ZtlpError } from '../base/errors.js';
import type { OptionInput } from '../base/options.js';
import { ready } from '../core/shared.js';
import { type LineBatch, openTrace, readLines } from '../trace/lines.js';
import { detached, type MmioAccess, type MmioPcidev, type MmioRecord, ROM } from '../trace/mmiotrace.js';
import { lostEvents, type MmioBatch, MmioTraceReader } from '../trace/mmiotrace-reader.js';
import { Patterns, type TlpCount } from './replay-patterns.js';
import { clip } from './style.js';

export interface ReplayOptions {
  /** Throw on the first bad line. Default: count it and go on. */
  readonly strict?: boolean;
  /** Named options, over those of path x86-uc. */
  readonly options?: OptionInput;
  /** Called now and then with the bytes read so far and the size of the file, where that is known. */
  readonly onProgress?: (bytes: number, total: number | undefined) => void;
}

/** What one replay found. "Down" is towards the device: requests; "up" is back: completions. */
export interface ReplaySummary {
  /** As given; `-` for standard input. */
  readonly file: string;
  readonly format: 'mmiotrace';
  readonly lines: number;
  readonly accesses: number;
  readonly reads: number;
  readonly writes: number;
  /** Widths that occur, in bytes. */
  readonly byWidth: readonly { readonly width: Width; readonly reads: number; readonly writes: number }[];
  /** BARs that were accessed, in the order of the log; accesses outside every BAR come last. */
  readonly byBar: readonly {
    /** PCI address, vendor:device and, where one is bound, the driver: `00:01.0 1b36:0010 nvme`. */
    readonly device: string;
    readonly bar: `BAR${number}` | 'ROM' | '-';
    readonly reads: number;
    readonly writes: number;
    readonly bytesRead: number;
    readonly bytesWritten: number;
  }[];
  /** What follows each MARK of a user, up to the next one. */
  readonly byPhase: readonly {
    readonly mark: string;
    readonly line: number;
    readonly reads: number;
    readonly writes: number;
    readonly tlps: number;
    readonly wireBytesDown: number;
    readonly wireBytesUp: number;
  }[];
  readonly tlps: readonly TlpCount[];
  readonly tlpCount: number;
  /** Data in TLPs, whole DWs. */
  readonly payloadBytesDown: number;
  readonly payloadBytesUp: number;
  /** TLPs on a non-flit link, with framing, sequence number and LCRC. */
  readonly wireBytesDown: number;
  readonly wireBytesUp: number;
  /** Records that are no accesses; `unknown` are instructions the kernel could not decode: they are not replayed. */
  readonly records: Readonly<Record<Exclude<MmioRecord['kind'], 'read' | 'write'>, number>>;
  readonly badLines: number;
  readonly firstBad?: { readonly line: number; readonly text: string; readonly reason: string };
  /** Lines that are not the format's, such as kernel messages. */
  readonly otherLines: number;
  /** Events that are missing because the kernel lost them, by its own count. */
  readonly lostEvents: number;
  /** Accesses that no PCIDEV line before them explains. */
  readonly outsideBars: number;
}

type Width = MmioAccess['width'];
type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type WidthCount = Mutable<ReplaySummary['byWidth'][number]>;
type BarCount = Mutable<ReplaySummary['byBar'][number]>;
type Phase = Mutable<ReplaySummary['byPhase'][number]>;

/**
 * Phases that are listed one by one. A log may have any number of marks, but memory is to stay constant: all phases
 * behind these are added up in one last entry, '(later marks)'.
 */
const MAX_PHASES = 10_000;
/** Characters kept of a mark or a driver name, for the same reason: a line of the log may have 64 KiB. */
const MAX_NAME = 200;
const OUTSIDE = -1;

/** Other text formats, by how their first line begins. */
const LOOKALIKES: readonly (readonly [RegExp, string])[] = [
  [
    /^(\d+@\d+\.\d{6}:\w|(memory_region|pci|msix?|vfio|s390_pci|virtio|kvm|nvme|e1000e?)_\w+ )/,
    'a QEMU trace',
  ],
  [/^(#\s*tracer:|cpus=\d|.*-\d+\s+\[\d{3,}\]\s)/, 'an ftrace log'],
  [/^([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7] /i, 'an lspci dump'],
  [/^\s*[[{]/, 'JSON'],
];

/**
 * Replays a Linux mmiotrace log: each read becomes MRd and CplD, each write MWr, along path `x86-uc`. `-` is standard
 * input. Throws ZtlpError when the file cannot be read or is of another format, and in strict mode for a bad line.
 */
export async function replayFile(path: string, options: ReplayOptions = {}): Promise<ReplaySummary> {
  const name = path === '-' ? 'standard input' : path;
  const tally = new Tally(options.strict ?? false, options.options ?? {});
  const { stream, size } = await openTrace(path);
  await ready();
  let lines = 0;
  let known = false;
  for await (const batch of readLines(stream, { name })) {
    if (!known) known = checkFormat(batch, name);
    tally.add(named(name, () => tally.reader.push(batch)));
    lines = batch.first + batch.lines.length - 1;
    options.onProgress?.(batch.bytes, size);
  }
  named(name, () => tally.reader.finish());
  return tally.summary(path, lines);
}

/** Whether the first line with text was in the batch; throws when it is that of another format that is known. */
function checkFormat(batch: LineBatch, name: string): boolean {
  const first = batch.lines.find((line) => line.trim() !== '');
  const begin = first?.slice(0, 256) ?? '';
  const format = LOOKALIKES.find(([pattern]) => pattern.test(begin))?.[1];
  if (format !== undefined) {
    const what = `${show(name)} looks like ${format}, and this version replays Linux mmiotrace logs only`;
    throw new ZtlpError('unsupported', what, { field: 'file', value: name });
  }
  return first !== undefined;
}

/** Runs a step of the reader, which knows lines only, and puts the file's name into what it throws. */
function named<T>(name: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof ZtlpError)) throw error;
    const detail = { field: error.field ?? 'file', value: error.value ?? name, cause: error };
    throw new ZtlpError(error.code, `${show(name)}: ${error.message}`, detail);
  }
}

/** Counts of one replay. Its size depends on the devices and marks of the log, both limited, not on its length. */
class Tally {
  readonly reader: MmioTraceReader;
  private readonly widths = new Map<Width, WidthCount>();
  /** By device index and resource, see `barOf`. */
  private readonly bars = new Map<number, BarCount>();
  private readonly phases: Phase[] = [];
  private phase: Phase = newPhase('(before the first mark)', 1);
  /** PCIDEV records up to the one at hand. The reader is a batch ahead, and batches depend on how input arrives. */
  private devices = 0;
  private readonly patterns: Patterns;

  constructor(strict: boolean, options: OptionInput) {
    this.reader = new MmioTraceReader(strict);
    this.patterns = new Patterns(options);
  }

  add({ records, lines }: MmioBatch): void {
    for (let i = 0; i < records.length; i++) {
      const record = records[i] as MmioRecord;
      if (record.kind === 'read' || record.kind === 'write') this.addAccess(record);
      else if (record.kind === 'pcidev') this.devices++;
      // What the kernel says about lost events is no mark of a user: the phase goes on.
      else if (record.kind === 'mark' && lostEvents(record) === 0)
        this.begin(record.text, lines[i] as number);
    }
  }

  private addAccess(access: MmioAccess): void {
    const { width } = access;
    const pattern = this.patterns.of(access);
    const bar = this.barOf(access);
    const byWidth = this.widths.get(width) ?? { width, reads: 0, writes: 0 };
    if (byWidth.reads + byWidth.writes === 0) this.widths.set(width, byWidth);
    const { phase } = this;
    pattern.accesses++;
    phase.tlps += pattern.tlps.length;
    phase.wireBytesDown += pattern.wireBytesDown;
    phase.wireBytesUp += pattern.wireBytesUp;
    if (access.kind === 'read') {
      byWidth.reads++;
      phase.reads++;
      bar.reads++;
      bar.bytesRead += width;
    } else {
      byWidth.writes++;
      phase.writes++;
      bar.writes++;
      bar.bytesWritten += width;
    }
  }

  /** Begins a phase, or goes on with the last one when there are too many. */
  private begin(mark: string, line: number): void {
    if (this.phases.length === 0 && this.phase.reads + this.phase.writes > 0) this.phases.push(this.phase);
    if (this.phases.length > MAX_PHASES) return;
    this.phase =
      this.phases.length < MAX_PHASES
        ? newPhase(detached(clip(mark, MAX_NAME)), line)
        : newPhase('(later marks)', line);
    this.phases.push(this.phase);
  }

  /** The counts of the BAR in which the access begins. */
  private barOf(access: MmioAccess): BarCount {
    const target = this.reader.resolve(access.lo, access.hi);
    // The first range wins, so when it belongs to a later PCIDEV line, no earlier line has one.
    const known = target !== undefined && target.device < this.devices;
    const key = known ? target.device * 8 + target.bar : OUTSIDE;
    let count = this.bars.get(key);
    if (count === undefined) {
      const device = known ? this.reader.devices[target.device] : undefined;
      count = {
        device: device === undefined ? 'outside every BAR' : deviceName(device),
        bar: !known ? '-' : target.bar === ROM ? 'ROM' : `BAR${target.bar}`,
        reads: 0,
        writes: 0,
        bytesRead: 0,
        bytesWritten: 0,
      };
      this.bars.set(key, count);
    }
    return count;
  }

  summary(file: string, lines: number): ReplaySummary {
    if (this.phases.length === 0 && this.phase.reads + this.phase.writes > 0) this.phases.push(this.phase);
    const { counts, bad, firstBad, other, lost } = this.reader;
    const { read, write, ...records } = counts;
    const { patterns } = this;
    const outside = this.bars.get(OUTSIDE);
    return {
      file,
      format: 'mmiotrace',
      lines,
      accesses: read + write,
      reads: read,
      writes: write,
      byWidth: [...this.widths.values()].sort((a, b) => a.width - b.width),
      byBar: [...this.bars]
        .sort(([a], [b]) => (a >>> 0) - (b >>> 0)) // OUTSIDE becomes the largest
        .map(([, count]) => count),
      byPhase: this.phases,
      tlps: patterns.counts(),
      tlpCount: patterns.sum(({ tlps }) => tlps.length),
      payloadBytesDown: patterns.sum((pattern) => pattern.payloadBytesDown),
      payloadBytesUp: patterns.sum((pattern) => pattern.payloadBytesUp),
      wireBytesDown: patterns.sum((pattern) => pattern.wireBytesDown),
      wireBytesUp: patterns.sum((pattern) => pattern.wireBytesUp),
      records,
      badLines: bad,
      ...(firstBad === undefined ? {} : { firstBad }),
      otherLines: other,
      lostEvents: lost,
      outsideBars: outside === undefined ? 0 : outside.reads + outside.writes,
    };
  }
}

function newPhase(mark: string, line: number): Phase {
  return { mark, line, reads: 0, writes: 0, tlps: 0, wireBytesDown: 0, wireBytesUp: 0 };
}

/** `bus:device.function vendor:device driver`; the log knows no domain. */
function deviceName({ bus, devfn, vendor, device, driver }: MmioPcidev): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  const place = `${hex(bus, 2)}:${hex(devfn >>> 3, 2)}.${devfn & 7}`;
  return detached(`${place} ${hex(vendor, 4)}:${hex(device, 4)} ${clip(driver, MAX_NAME)}`.trim());
}
