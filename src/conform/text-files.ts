/** Recognises text files by content and counts their cases; a Linux mmiotrace log is read and printed back line by line. */
import { show, ZtlpError } from '../base/errors.js';
import { readLines } from '../trace/lines.js';
import { parseMmioLine } from '../trace/mmiotrace.js';
import { formatMmioRecord } from '../trace/mmiotrace-writer.js';
import { type FileReport, failed, judge, named, Tally, type Verdict } from './report.js';

/** First line of the one version of mmiotrace that exists. */
const MMIOTRACE = 'VERSION 20070824';

/** A kind of trace that is not built yet: what its lines look like. One line that does is enough; every line is a case. */
const TRACES: readonly (readonly [format: string, line: RegExp])[] = [
  // Its other lines, indented, look like the device log: so it is asked first.
  ['zpci-log', /^(PCILG|PCISTG) fh=/],
  ['qemu-trace', /^(\d+@\d+\.\d+:)?(memory_region_ops_(read|write)|pci_cfg_(read|write)) /],
  ['device-log', /^(config (read|write) dev=|device (read|write) region=)/],
];

// Dumps from mail archives have the quote marks of the mail before each line.
const LSPCI_DEVICE = /^(?:> ?)*(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7] /;
const LSPCI_ROW = /^(?:> ?)*[0-9a-f]{2,3}: (?:[0-9a-f]{2} ?){16}$/;

/** Reads a text in constant memory. Throws ZtlpError when its content is of no known kind. */
export async function runText(file: string, source: AsyncIterable<Uint8Array>): Promise<FileReport> {
  const survey = new Survey();
  const tally = new Tally();
  let isMmiotrace: boolean | undefined; // decided by the first line with text on it
  for await (const batch of readLines(source, { name: file })) {
    const cut = new Set(batch.tooLong);
    batch.lines.forEach((text, n) => {
      if (text.trim() === '') return;
      isMmiotrace ??= beginsMmiotrace(file, text);
      if (isMmiotrace) tally.add('lines', `lines#${batch.first + n}`, judgeMmioLine(text, cut.has(n)));
      else survey.take(text);
    });
  }
  if (isMmiotrace) return tally.report(file, 'mmiotrace');
  if (isMmiotrace === undefined) throw new ZtlpError('malformed', `${named(file)} is empty`);
  const found = survey.result();
  if (found === undefined) {
    throw new ZtlpError('unsupported', `${named(file)} is no vector file, trace or dump of a known kind`, {
      allowed: 'JSON with a "format", mmiotrace, QEMU trace, zPCI log, device log, lspci hexadecimal dump',
    });
  }
  tally.addUnsupported(found.cases);
  return tally.report(file, found.format);
}

function beginsMmiotrace(file: string, text: string): boolean {
  if (text === MMIOTRACE) return true;
  if (!/^VERSION \d/.test(text)) return false;
  const what = `${named(file)} is a log of another version of mmiotrace: ${show(text)}`;
  throw new ZtlpError('unsupported', what, { field: 'VERSION', value: text, allowed: show(MMIOTRACE) });
}

/** A line agrees when the record that was read from it is printed as the same line. */
function judgeMmioLine(text: string, isCut: boolean): Verdict {
  if (isCut) return failed('line: is too long');
  const record = parseMmioLine(text);
  if (record.kind === 'bad') return failed(record.reason);
  if (record.kind === 'other') return failed('line: its first word is none of mmiotrace');
  if (record.kind === 'version' && text !== MMIOTRACE)
    return failed(`version: ${record.version} is not known`);
  return judge({ line: text }, { line: formatMmioRecord(record) });
}

/** Counts what a text could be, until its end tells what it is. */
class Survey {
  private lines = 0;
  private readonly hits = new Set<string>();
  private functions = 0;
  /** Behind a device line whose hexadecimal rows have not begun. */
  private awaitsRows = false;

  take(text: string): void {
    this.lines++;
    for (const [format, line] of TRACES) if (line.test(text)) this.hits.add(format);
    if (LSPCI_DEVICE.test(text)) {
      this.awaitsRows = true;
    } else if (this.awaitsRows && LSPCI_ROW.test(text)) {
      this.awaitsRows = false;
      this.functions++;
    }
  }

  result(): { format: string; cases: number } | undefined {
    const trace = TRACES.find(([format]) => this.hits.has(format));
    if (trace !== undefined) return { format: trace[0], cases: this.lines };
    return this.functions > 0 ? { format: 'lspci', cases: this.functions } : undefined;
  }
}
