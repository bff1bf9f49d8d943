/** Takes a zPCI script from its text to results, line by line: a file is read whole first, a person's lines one at a time. */
import { ZtlpError } from '../base/errors.js';
import type { CoreSource } from '../core/core.js';
import { readLines } from '../trace/lines.js';
import { LineError, MAX_LINE, MAX_LINES, type ScriptLine, ScriptReader } from './zpci-script.js';
import { type LineResult, ZpciSession } from './zpci-session.js';
import type { Statement } from './zpci-verbs.js';

/** A letter takes up to three bytes. */
const MAX_LINE_BYTES = 3 * MAX_LINE;
const MAX_BYTES = 1 << 25;

/** A script that was read: its lines, and all that is wrong with it. */
export interface Script {
  readonly lines: readonly ScriptLine[];
  readonly errors: readonly LineError[];
}

/** Reads a whole script. Throws what the source throws, and `out-of-range` for one that is too long. */
export async function readScript(source: AsyncIterable<Uint8Array | string>, name: string): Promise<Script> {
  const reader = new ScriptReader();
  const lines: ScriptLine[] = [];
  const errors: LineError[] = [];
  for await (const batch of readLines(source, { maxLineBytes: MAX_LINE_BYTES, name })) {
    if (batch.bytes > MAX_BYTES || lines.length > MAX_LINES)
      throw new ZtlpError('out-of-range', `${name}: too long for a script`, {
        field: 'script',
        allowed: `${MAX_LINES} lines and 32 MiB`,
      });
    for (const [n, text] of batch.lines.entries()) {
      const read = reader.read(text, batch.tooLong.includes(n));
      if (read instanceof LineError) errors.push(read);
      else lines.push(read);
    }
  }
  return { lines, errors };
}

/** One line with its result: undefined for a line that asks nothing. */
export type Ran = readonly [line: ScriptLine, result: LineResult | undefined];

/** A script at work: the machine is made when the first line needs it. */
export class ZpciRunner {
  private readonly setup: Statement[] = [];
  private made: ZpciSession | undefined;

  constructor(private readonly core?: CoreSource | Promise<CoreSource>) {}

  /** Throws ZtlpError for a machine that cannot be made of the set-up lines. */
  async session(): Promise<ZpciSession> {
    const { core, setup } = this;
    this.made ??= await ZpciSession.create(core === undefined ? { setup } : { setup, core });
    return this.made;
  }

  /** Notes a set-up line; runs another one. Throws as `session`. */
  async take(line: ScriptLine): Promise<LineResult | undefined> {
    const { statement } = line;
    if (statement === undefined) return undefined;
    if (statement.verb.kind === 'setup') {
      this.setup.push(statement);
      return undefined;
    }
    return (await this.session()).run(line);
  }
}

/** Runs a script that was read without errors. */
export async function* runScript(
  { lines }: Script,
  runner: ZpciRunner = new ZpciRunner(),
): AsyncGenerator<Ran, void, undefined> {
  for (const line of lines) yield [line, await runner.take(line)];
}

/** An error of a line with its place, for a message in one line. */
export function atPlace(name: string, { line, column, error }: LineError): ZtlpError {
  const { code, field, value, message } = error;
  return new ZtlpError(code, `${name}:${line}:${column}: ${message}`, {
    ...(field === undefined ? {} : { field }),
    value,
    cause: error,
  });
}
