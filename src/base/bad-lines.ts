/** What every reader of lines does with a bad one: count it and keep the first, or throw. */
import { show, ZtlpError } from './errors.js';

/** A line that does not follow its format. */
export interface FirstBad {
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
  readonly reason: string;
}

/** Base of the readers. */
export class BadLineCounter {
  /** Lines with a field that does not follow the format, and lines that are too long. */
  bad = 0;
  firstBad: FirstBad | undefined;

  /** @param strict throw on the first bad line instead of counting it */
  constructor(private readonly strict = false) {}

  protected reject(line: number, text: string, reason: string): void {
    if (this.strict) {
      throw new ZtlpError('malformed', `line ${line}: ${reason}, in ${show(text)}`, {
        field: `line ${line}`,
        value: text,
      });
    }
    this.bad++;
    this.firstBad ??= { line, text: detached(text), reason };
  }
}

/** The same text in memory of its own: a piece of a line would keep the whole batch it was cut from alive. */
export function detached(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le');
}
