/** Runs text files: each line of a trace, and each function of a dump, is read and printed back. */
import { ConfigSpace } from '../pci/config-space.js';
import { formatLspci, type LspciFunction, LspciReader } from '../pci/lspci.js';
import { formatDeviceRecord, parseDeviceLine } from '../trace/device-log.js';
import { type LineBatch, readLines } from '../trace/lines.js';
import { parseMmioLine } from '../trace/mmiotrace.js';
import { formatMmioRecord } from '../trace/mmiotrace-writer.js';
import { formatQemuRecord, parseQemuLine } from '../trace/qemu-trace.js';
import { recognise, type TextFormat } from '../trace/recognise.js';
import type { ParsedLine } from '../trace/record-reader.js';
import { formatZpciRecord, parseZpciLine } from '../trace/zpci-log.js';
import { type FileReport, failed, judge, named, Tally, type Verdict } from './report.js';

/** Reads a text in constant memory. Throws ZtlpError when its content is of no known kind. */
export async function runText(file: string, source: AsyncIterable<Uint8Array>): Promise<FileReport> {
  const { format, lines } = await recognise(readLines(source, { name: file }), named(file));
  const tally = new Tally();
  if (format === 'lspci') await runDump(lines, tally);
  else await runLines(lines, JUDGES[format], tally);
  return tally.report(file, format);
}

async function runLines(
  lines: AsyncIterable<LineBatch>,
  judgeLine: (text: string) => Verdict,
  tally: Tally,
): Promise<void> {
  for await (const batch of lines) {
    const cut = new Set(batch.tooLong);
    batch.lines.forEach((text, n) => {
      if (text.trim() === '') return;
      const verdict = cut.has(n) ? failed('line: is too long') : judgeLine(text);
      tally.add('lines', `lines#${batch.first + n}`, verdict);
    });
  }
}

const JUDGES: Readonly<Record<Exclude<TextFormat, 'lspci'>, (text: string) => Verdict>> = {
  mmiotrace: judgeMmioLine,
  'qemu-trace': printedBack(parseQemuLine, formatQemuRecord),
  'zpci-log': printedBack(parseZpciLine, formatZpciRecord),
  'device-log': printedBack((text) => parseDeviceLine(text), formatDeviceRecord),
};

/** A line agrees when it is a record that is read, not another event, and is printed as the same line. */
function printedBack<R extends { readonly kind: string }>(
  parse: (text: string) => ParsedLine<R>,
  print: (record: R) => string,
): (text: string) => Verdict {
  return (text) => {
    const record = parse(text);
    if ('reason' in record) return failed(record.reason);
    if (record.kind === 'other') return failed('line: its event is none that is read');
    return judge({ line: text }, { line: print(record as R) });
  };
}

/** Each function is a case, named by the line of its device line. */
async function runDump(lines: AsyncIterable<LineBatch>, tally: Tally): Promise<void> {
  const reader = new LspciReader();
  const add = (fn: LspciFunction): void => tally.add('functions', `functions#${fn.line}`, judgeFunction(fn));
  for await (const batch of lines) for (const fn of reader.push(batch)) add(fn);
  for (const fn of reader.finish()) add(fn);
}

/** Every row can be read, header, BARs and capability chains are as they must be, and the rows print back equal. */
function judgeFunction(fn: LspciFunction): Verdict {
  const { problems } = fn.known < 64 ? NO_HEADER : new ConfigSpace(fn.bytes.subarray(0, fn.known));
  return judge(
    { problems: [], rows: [...fn.rows] },
    { problems: [...fn.problems, ...problems], rows: formatLspci(fn).split('\n') },
  );
}

const NO_HEADER = { problems: ['rows: fewer than the 64 bytes of a header'] };

/** The one version of mmiotrace that exists. */
const VERSION = 20070824;

/** The same for mmiotrace; a second VERSION line has to be the first one's. */
function judgeMmioLine(text: string): Verdict {
  const record = parseMmioLine(text);
  if (record.kind === 'bad') return failed(record.reason);
  if (record.kind === 'other') return failed('line: its first word is none of mmiotrace');
  if (record.kind === 'version' && record.version !== VERSION)
    return failed(`version: ${record.version} is not known`);
  return judge({ line: text }, { line: formatMmioRecord(record) });
}
