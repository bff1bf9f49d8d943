/** Scans the space-separated fields of one trace line: numbers, times and words, with the name of what is wrong. */
import { show } from '../base/errors.js';

/**
 * Reads the fields of one line from left to right; fields are separated by one space. The first field that is
 * wrong or missing sets `problem`; after that the methods only return 0, so a caller checks once at the end.
 */
export class FieldScanner {
  /** Unsigned 32-bit halves of the number that `hex` read last. */
  lo = 0;
  hi = 0;
  /** What is wrong, starting with the name of the field; empty while all is well. */
  problem = '';
  private text = '';
  private at = 0;

  /** Starts at the space (or the end) behind the first word, which is `length` characters long. */
  start(text: string, length: number): this {
    this.text = text;
    this.at = length;
    this.problem = '';
    return this;
  }

  /** A decimal number of at most 10 digits, perhaps negative. */
  decimal(name: string): number {
    const from = this.open(name);
    const negative = this.text.charCodeAt(this.at) === 0x2d;
    if (negative) this.at++;
    const value = this.digits(10);
    if (value < 0 || !this.closed()) return this.fail(name, from, 'a decimal number');
    return negative ? 0 - value : value;
  }

  /** Seconds, a point and six digits; returns microseconds. */
  time(name: string): number {
    const from = this.open(name);
    const whole = this.digits(10);
    const point = this.at++;
    const micros = this.digits(6);
    const good = whole >= 0 && whole < 2 ** 32 && micros >= 0 && this.at === point + 7 && this.closed();
    if (!good || this.text.charCodeAt(point) !== 0x2e) return this.fail(name, from, 'SECONDS.MICROSECONDS');
    return whole * 1e6 + micros;
  }

  /** A hexadecimal number of up to 64 bits, with or without 0x, into `lo` and `hi`; returns `lo`. */
  hex(name: string, prefix: '0x' | ''): number {
    const from = this.open(name);
    const { text } = this;
    const prefixed = prefix === '' || (text.charCodeAt(from) === 0x30 && text.charCodeAt(from + 1) === 0x78);
    const first = from + prefix.length;
    let lo = 0;
    let hi = 0;
    let at = first;
    for (; at < text.length; at++) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit < 0 || hi >>> 28 !== 0) break;
      hi = (hi << 4) | (lo >>> 28);
      lo = (lo << 4) | digit;
    }
    this.at = at;
    this.lo = lo >>> 0;
    this.hi = hi >>> 0;
    if (!prefixed || at === first || !this.closed()) {
      return this.fail(name, from, prefix === '' ? 'a hexadecimal number' : 'a 0x number of at most 64 bits');
    }
    return this.lo;
  }

  /** The next field as text. */
  word(name: string): string {
    const from = this.open(name);
    const end = this.text.indexOf(' ', from);
    this.at = end < 0 ? this.text.length : end;
    return this.text.slice(from, this.at);
  }

  /** Everything behind the next space; empty when there is nothing. */
  rest(): string {
    const text = this.text.slice(this.at + 1);
    this.at = this.text.length;
    return text;
  }

  /** Requires that only spaces are left. */
  end(): void {
    if (this.problem !== '' || this.at >= this.text.length) return;
    const left = this.text.slice(this.at).trim();
    if (left !== '') this.problem = `end of line: ${show(left)} is left over`;
  }

  /** Sets `problem` for field `name` unless there is one already. */
  fail(name: string, from: number | string, expected: string): 0 {
    if (this.problem !== '') return 0;
    const word = typeof from === 'string' ? from : (this.text.slice(from).split(' ', 1)[0] ?? '');
    this.problem = word === '' ? `${name}: is missing` : `${name}: ${show(word)} is not ${expected}`;
    return 0;
  }

  /** Steps over the separating space; returns where the field begins. */
  private open(name: string): number {
    if (this.at >= this.text.length) this.fail(name, '', '');
    return ++this.at;
  }

  /** True when the position is at the end of a field. */
  private closed(): boolean {
    return this.at >= this.text.length || this.text.charCodeAt(this.at) === 0x20;
  }

  /** Up to `most` decimal digits, or -1 when there is none. */
  private digits(most: number): number {
    const from = this.at;
    const end = Math.min(this.text.length, from + most);
    let value = 0;
    while (this.at < end) {
      const digit = this.text.charCodeAt(this.at) - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      this.at++;
    }
    return this.at === from ? -1 : value;
  }
}

/** Value of a hexadecimal digit, or -1. */
export function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
