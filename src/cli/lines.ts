/** Commands that make one output of one input: an argument, or every line of standard input, with bad lines counted. */
import { existsSync } from 'node:fs';
import { show, ZtlpError } from '../base/errors.js';
import { openTrace, readLines } from '../trace/lines.js';
import { announceInput, complain, print, remark, report } from './output.js';

/** What became of one input. */
export interface Made {
  readonly text: string;
  /** Data that can be used but breaks a rule; with `strict` that ends the run. */
  readonly problem?: string | undefined;
}

export interface LineFlags {
  readonly strict?: boolean;
  /** Print nothing but errors. */
  readonly silent: boolean;
  /** Says nothing of what is no error either. */
  readonly quiet: boolean;
  /** Printed between two outputs. */
  readonly between: string;
  readonly command: string;
  /** What a line is: TLP or DLLP. */
  readonly unit: string;
}

/** The words of a call stand for standard input: none at all, or a single hyphen. */
export function isPipe(words: readonly string[]): boolean {
  return words.length === 0 || (words.length === 1 && words[0] === '-');
}

/** Prints what `make` makes of one input given in the call: `words`. */
export async function printOne(
  make: () => Made,
  words: readonly string[],
  { strict, silent, command }: LineFlags,
): Promise<void> {
  let made: Made;
  try {
    made = make();
  } catch (error) {
    const [word = ''] = words;
    // Bytes and fields come from standard input, not from files: nobody gives a name of one for a TLP.
    if (!(error instanceof ZtlpError) || words.length > 1 || !existsSync(word)) throw error;
    const what = `${show(word)} is a file: for what is in it, ztlp ${command} < ${word}`;
    throw new ZtlpError('invalid-value', what, { cause: error });
  }
  const { text, problem } = made;
  if (!silent) await print(text);
  if (strict && problem !== undefined) report(new ZtlpError('malformed', problem));
}

/** Puts the number of its line before an error; whatever a line does wrong is wrong data, not a wrong call. */
function atLine(line: number, error: unknown): unknown {
  if (!(error instanceof ZtlpError)) return error;
  return new ZtlpError('malformed', `line ${line}: ${error.message}`, { cause: error });
}

/**
 * Prints what `make` makes of every line of standard input, each as soon as it is made, so that a reader sees it and may
 * go away. Empty lines and those that begin with `#` are skipped. A line that cannot be used is reported and counted;
 * with `strict` the first one ends the run.
 */
export async function printLines(make: (line: string) => Made, flags: LineFlags): Promise<void> {
  announceInput('lines');
  const { stream } = await openTrace('-');
  let seen = 0;
  let bad = 0;
  let lead = '';
  for await (const { first, lines, tooLong } of readLines(stream, { name: 'standard input' })) {
    for (const [n, content] of lines.entries()) {
      const line = content.trim();
      if (line === '' || line.startsWith('#')) continue;
      seen++;
      let failure: unknown;
      let out: string | undefined;
      try {
        if (tooLong.includes(n)) throw new ZtlpError('malformed', 'longer than any TLP');
        const { text, problem } = make(line);
        if (flags.strict && problem !== undefined) failure = new ZtlpError('malformed', problem);
        out = text;
      } catch (error) {
        failure = error;
      }
      if (out !== undefined && !flags.silent) {
        await print(`${lead}${out}`);
        lead = flags.between.slice(1); // the text before ended its line
      }
      if (failure === undefined) continue;
      bad++;
      report(atLine(first + n, failure));
      if (flags.strict) return;
    }
  }
  if (seen === 0) {
    const nothing = `no ${flags.unit} in standard input`;
    if (flags.strict) complain(nothing);
    else if (!flags.quiet) remark(nothing);
  }
  if (bad === 0) return;
  complain(`${bad} of ${seen} lines could not be used`);
}
