/** Runs golden vector files through the library's public functions and reports where it agrees with their sources. */
import { ZtlpError } from '../base/errors.js';
import { ready, sharedCore } from '../core/shared.js';
import { openTrace } from '../trace/lines.js';
import { runFormat } from './formats.js';
import { parseJson } from './json.js';
import { addSimulation } from './pcie-bench-simulated.js';
import { type FileReport, named } from './report.js';
import { prepareSmmu } from './smmu.js';
import { runText } from './text-files.js';
import { prepareVtd } from './vtd.js';
import { prepareZpci } from './zpci-guest.js';

export { type ConformReport, type FileReport, hasDisagreement } from './report.js';

/**
 * Runs one file: JSON by its `format`, a text by its content; `-` is standard input. Throws ZtlpError with one line
 * that names the file when it cannot be read or is of no known kind; what is wrong with a case is in the report.
 */
export async function conformFile(path: string): Promise<FileReport> {
  await ready();
  const { stream } = await openTrace(path);
  const chunks = stream[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let isJson: boolean | undefined;
  while (isJson === undefined) {
    const { done, value } = await chunks.next();
    if (done) throw new ZtlpError('malformed', `${named(path)} is empty`, { field: 'file', value: path });
    head.push(value);
    isJson = beginsJson(value);
  }
  const whole = resumed(head, chunks);
  if (!isJson) return runText(path, whole);
  const json = parseJson(path, await readAll(path, whole));
  if (hasFormat(json, 'zpci-vectors/1')) await prepareZpci();
  if (hasFormat(json, 'vtd-vectors/1')) await prepareVtd();
  if (hasFormat(json, 'smmuv3-vectors/1')) await prepareSmmu();
  const report = conformVectors(path, json);
  return hasFormat(json, 'pcie-bench-vectors/1') ? addSimulation(report, json) : report;
}

function hasFormat(json: unknown, format: string): json is Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null && 'format' in json && json.format === format;
}

/**
 * Runs an already parsed JSON file; `file` is its name in the report. Await `ready()` before, `prepareZpci()` for
 * `zpci-vectors/1`, `prepareVtd()` for `vtd-vectors/1`, `prepareSmmu()` for
 * `smmuv3-vectors/1`. The simulation beside `pcie-bench-vectors/1` is not run.
 */
export function conformVectors(file: string, json: unknown): FileReport {
  sharedCore(); // without a core every case would fail: say so once
  return runFormat(file, json);
}

/** Whether the text is JSON by its first character; undefined when there is only white space. */
function beginsJson(chunk: Uint8Array): boolean | undefined {
  const first = chunk.find((byte) => !BLANK.has(byte));
  return first === undefined ? undefined : first === 0x7b || first === 0x5b;
}

/** White space, and the bytes of a byte order mark. */
const BLANK: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf]);

async function* resumed(
  head: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* head;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.(); // closes the file when the reader stops early
  }
}

async function readAll(path: string, source: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  try {
    return new TextDecoder().decode(Buffer.concat(parts));
  } catch (cause) {
    // Longer than a JavaScript string can be.
    throw new ZtlpError('io', `cannot read ${named(path)}: it is too long`, {
      field: 'file',
      value: path,
      cause,
    });
  }
}
