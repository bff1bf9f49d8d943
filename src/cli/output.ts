/** What every command shares about printing: colour, JSON, a closed pipe, one line per error. */
import type { Command } from 'commander';
import { ZtlpError } from '../base/errors.js';
import { ansi, PLAIN, printable, type Style } from '../report/style.js';

export interface CommonFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Exit codes: a mistake in the call, and data that cannot be used. */
export const EXIT_DATA = 1;
export const EXIT_USAGE = 2;

const USAGE_CODES: ReadonlySet<string> = new Set(['invalid-value', 'unknown-name', 'out-of-range']);

/** Adds the flags that every command has. */
export function withCommonFlags(command: Command): Command {
  return command
    .option('--json', 'print JSON instead of tables')
    .option('--quiet', 'print errors only: the exit code is the answer');
}

/** Colour only on a terminal, never with NO_COLOR (https://no-color.org) or TERM=dumb. */
export function styleFor(stream: NodeJS.WriteStream = process.stdout): Style {
  const { NO_COLOR, TERM } = process.env;
  const wanted = stream.isTTY === true && (NO_COLOR === undefined || NO_COLOR === '') && TERM !== 'dumb';
  return wanted ? ansi() : PLAIN;
}

/** Writes text and waits until it is out, so that a pipe sees all of it. */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text.endsWith('\n') ? text : `${text}\n`, (error) =>
      error ? reject(error) : resolve(),
    );
  });
}

/** Prints what a command found: as JSON, or as text unless it is to be quiet. */
export async function printFound(flags: CommonFlags, value: unknown, text: () => string): Promise<void> {
  if (flags.json) await printJson(value);
  else if (!flags.quiet) await print(text());
}

/**
 * Columns that a table may have before it folds: COLUMNS where somebody set it, else those of the terminal. In a pipe
 * any number: what reads it counts on one line per row.
 */
export function columns(stream: NodeJS.WriteStream = process.stdout): number {
  const sizes = [Number(process.env.COLUMNS), stream.isTTY === true ? stream.columns : 0];
  return sizes.find((size) => Number.isInteger(size) && size > 0) ?? Number.POSITIVE_INFINITY;
}

/** Says on a terminal what the command waits for. Nobody types a trace, but everybody forgets the file. */
export function announceInput(what: string): void {
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) return;
  process.stderr.write(`ztlp: reading ${what} from standard input; Ctrl-D ends, Ctrl-C gives up\n`);
}

/** bigint addresses become hexadecimal text; a value that a row does not have is null, so that every row has every key. */
function plain(_key: string, item: unknown): unknown {
  if (typeof item === 'bigint') return `0x${item.toString(16)}`;
  return item === undefined ? null : item;
}

/** Prints `value` as JSON. */
export function printJson(value: unknown): Promise<void> {
  return print(JSON.stringify(value, plain, 2));
}

/** `value` as one line of JSON, for streams of objects. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value, plain);
}

function isClosedPipe(error: unknown): boolean {
  return typeof error === 'object' && error !== null && (error as NodeJS.ErrnoException).code === 'EPIPE';
}

/** A reader that went away (`| head`) ends the program silently with 0. */
export function endOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error) => {
      if (isClosedPipe(error)) process.exit(0);
      // A full disk, for instance. On stderr itself there is nobody left to tell.
      if (stream === process.stdout) process.stderr.write(`ztlp: cannot write: ${oneLine(error.message)}\n`);
      process.exit(EXIT_DATA);
    });
  }
}

/** The caller's mistake, not the data's. */
export function isWrongCall(error: unknown): boolean {
  return error instanceof ZtlpError && USAGE_CODES.has(error.code);
}

/** Says something in one line that is no error: on stderr, so that it does not stand among what a program reads. */
export function remark(text: string): void {
  process.stderr.write(`ztlp: ${oneLine(text)}\n`);
}

/** Says in one line why what was printed is not the whole answer, and sets the exit code. */
export function complain(text: string): void {
  remark(text);
  process.exitCode = EXIT_DATA;
}

/** Prints an error as one line and sets the exit code. */
export function report(error: unknown): void {
  if (isClosedPipe(error)) {
    process.exitCode = 0;
    return;
  }
  if (error instanceof ZtlpError) {
    complain(error.message);
    if (isWrongCall(error)) process.exitCode = EXIT_USAGE;
    return;
  }
  const detail = error instanceof Error ? error : new Error(String(error));
  const more =
    process.env.ZTLP_DEBUG === undefined ? ' (ZTLP_DEBUG=1 shows where)' : `\n${detail.stack ?? ''}`;
  process.stderr.write(`ztlp: internal error: ${oneLine(detail.message)}${more}\n`);
  process.exitCode = EXIT_DATA;
}

/** One line, whatever untrusted input is quoted in it. */
function oneLine(text: string): string {
  return printable(text.replace(/\s+/g, ' '));
}
