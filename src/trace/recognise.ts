/** Recognises a trace or dump by its content: the one place that knows how each text format begins. */
import { show, ZtlpError } from '../base/errors.js';
import type { LineBatch } from './lines.js';

/** Formats of text that ztlp reads. */
export type TextFormat = 'mmiotrace' | 'qemu-trace' | 'zpci-log' | 'device-log' | 'lspci';

/** What people call the formats. */
export const FORMAT_NAMES: Readonly<Record<TextFormat, string>> = {
  mmiotrace: 'Linux mmiotrace log',
  'qemu-trace': 'QEMU trace',
  'zpci-log': 'zPCI instruction log',
  'device-log': 'device access log',
  lspci: 'lspci dump',
};

/** First line of the one version of mmiotrace that exists (Linux kernel/trace/trace_mmiotrace.c). */
const MMIOTRACE = 'VERSION 20070824';

/** A line like this one decides. Lines of a zPCI log that look like a device log's are indented. */
const DECISIVE: readonly (readonly [TextFormat, RegExp])[] = [
  ['zpci-log', /^(?:(?:PCILG|PCISTG|RPCIT|MPCIFC) fh=|SIC oc=|CLP -> cc=)/],
  [
    'qemu-trace',
    /^(?:\d+@\d+\.\d{6}:)?(?:memory_region_\w+_(?:read|write) cpu|pci_cfg_(?:read|write) |pci_update_mappings_(?:add|del) |vfio_region_(?:read|write) {2}\(|msix_write_config dev )/,
  ],
  ['device-log', /^(?:config (?:read|write) dev=|device (?:read|write) region=)/],
];

// Dumps from mail archives have the quote marks of the mail before each line.
const LSPCI_DEVICE = /^(?:> ?)*(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7] /;
const LSPCI_ROW = /^(?:> ?)*[0-9a-f]{2,3}: [0-9a-f]{2} [0-9a-f]{2}/;

/** Formats that people take for one of ours, by how their first line begins. */
const LOOKALIKES: readonly (readonly [RegExp, string])[] = [
  [/^(#\s*tracer:|cpus=\d|.*-\d+\s+\[\d{3,}\]\s)/, 'an ftrace log'],
  [/^([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7] /, 'an lspci dump without hexadecimal rows (-xxx)'],
  [/^\s*[[{]/, 'JSON'],
];

/** Text that is searched, in characters: a trace may begin with as much output of other programs. */
const WINDOW = 1 << 22;

/** Text has no NUL, and no bytes that are not UTF-8. */
function isBinary(text: string): boolean {
  return text.includes('\0') || text.includes('\ufffd');
}

/** Takes lines until one of them tells the format. `label` is the source's name in messages. */
export class Recogniser {
  private first: string | undefined;
  private sawDevice = false;

  constructor(private readonly label: string) {}

  /** The format, once a line has told it. Throws ZtlpError for another version of mmiotrace. */
  take(text: string): TextFormat | undefined {
    if (text.trim() === '') return undefined;
    if (this.first === undefined) {
      this.first = text.slice(0, 256);
      if (text === MMIOTRACE) return 'mmiotrace';
      if (/^VERSION \d/.test(text)) {
        const what = `${this.label} is a log of another version of mmiotrace: ${show(text)}`;
        throw new ZtlpError('unsupported', what, { field: 'VERSION', value: text, allowed: MMIOTRACE });
      }
    }
    if (LSPCI_DEVICE.test(text)) this.sawDevice = true;
    else if (this.sawDevice && LSPCI_ROW.test(text)) return 'lspci';
    return DECISIVE.find(([, line]) => line.test(text))?.[0];
  }

  /** Why the lines so far are no known format. */
  failure(): ZtlpError {
    const { first, label } = this;
    if (first === undefined) return new ZtlpError('malformed', `${label} is empty`, { field: 'file' });
    if (isBinary(first)) {
      const what = `${label} is binary, and not an mmiotrace log nor another known trace or dump`;
      return new ZtlpError('unsupported', what, {
        field: 'file',
        allowed: Object.values(FORMAT_NAMES).join(', '),
      });
    }
    const like = LOOKALIKES.find(([pattern]) => pattern.test(first))?.[1];
    const why = like === undefined ? `it begins with ${show(first)}` : `it looks like ${like}`;
    const what = `${label} is not an mmiotrace log nor another known trace or dump: ${why}`;
    const allowed = Object.values(FORMAT_NAMES).join(', ');
    return new ZtlpError('unsupported', what, { field: 'file', allowed });
  }
}

export interface Recognised {
  readonly format: TextFormat;
  /** All lines of the source, from the first one on. */
  readonly lines: AsyncGenerator<LineBatch, void, undefined>;
}

/** Reads on until the format is known. Throws ZtlpError that begins with `label` when it is none of ztlp's formats. */
export async function recognise(
  source: AsyncGenerator<LineBatch, void, undefined>,
  label: string,
): Promise<Recognised> {
  const recogniser = new Recogniser(label);
  const seen: LineBatch[] = [];
  let characters = 0;
  try {
    while (characters < WINDOW) {
      const { done, value } = await source.next();
      if (done) break;
      seen.push(value);
      for (const text of value.lines) {
        characters += text.length + 1;
        const format = recogniser.take(text);
        if (format !== undefined) return { format, lines: resumed(seen, source) };
      }
    }
    throw recogniser.failure();
  } catch (error) {
    await source.return(); // closes the file
    throw error;
  }
}

/** Hands out what was read already, then the rest. */
async function* resumed(
  seen: LineBatch[],
  rest: AsyncGenerator<LineBatch, void, undefined>,
): AsyncGenerator<LineBatch, void, undefined> {
  try {
    while (seen.length > 0) yield seen.shift() as LineBatch;
    yield* rest;
  } finally {
    await rest.return();
  }
}
