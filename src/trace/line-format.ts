/** One line format as a pattern, from which both ways follow: the line as a record, and the record as the same line. */
import { show } from '../base/errors.js';
import { hexDigit } from './fields.js';

/** A line that does not follow its format. */
export interface BadLine {
  readonly kind: 'bad';
  /** Starts with the name of the field. */
  readonly reason: string;
}

/**
 * What a field of a pattern `{name:type}` holds:
 * - `d` a decimal number, perhaps negative; `u` one from 0; `w` a width of 1, 2, 4 or 8 bytes;
 * - `x` a hexadecimal number of up to 32 bits; `x2`, `x8` the same, printed with so many digits at least;
 * - `q` a hexadecimal number of up to 64 bits, as two fields: `nameLo` and `nameHi`, or `lo` and `hi` without a name;
 * - `s` text up to the first place, `S` up to the last place where what follows in the pattern stands.
 */
type FieldType = 'd' | 'u' | 'w' | 'x' | 'x2' | 'x8' | 'q' | 's' | 'S';

interface Field {
  readonly name: string;
  readonly type: FieldType;
  /** The text between this field and the next one, or the end. */
  readonly then: string;
  readonly lo: string;
  readonly hi: string;
}

type Values = Record<string, number | string>;

const PLACEHOLDER = /\{(\w*):(\w+)\}/;

/** Parses and prints lines of one pattern. `R` is the record that the pattern's fields make. */
export class LineFormat<R extends { readonly kind: string }> {
  private readonly first: string;
  private readonly fields: readonly Field[];

  constructor(
    private readonly kind: R['kind'],
    pattern: string,
  ) {
    // Text and, of each placeholder, name and type take turns.
    const [first = '', ...rest] = pattern.split(PLACEHOLDER);
    const fields: Field[] = [];
    for (let i = 0; i < rest.length; i += 3) {
      const [name = '', type = '', then = ''] = rest.slice(i, i + 3);
      const [lo, hi] = name === '' ? ['lo', 'hi'] : [`${name}Lo`, `${name}Hi`];
      fields.push({ name, type: type as FieldType, then, lo, hi });
    }
    this.first = first;
    this.fields = fields;
  }

  /** The record of `text` from character `from` to its end. */
  parse(text: string, from: number): R | BadLine {
    if (!text.startsWith(this.first, from)) return expected('line', text, from, show(this.first));
    const values: Values = { kind: this.kind };
    let at = from + this.first.length;
    for (const field of this.fields) {
      const end = take(field, text, at, values);
      if (end < 0) return expected(field.name || 'address', text, at, EXPECTED[field.type]);
      if (!text.startsWith(field.then, end))
        return expected(`behind ${field.name || 'address'}`, text, end, show(field.then));
      at = end + field.then.length;
    }
    if (at < text.length) return { kind: 'bad', reason: `end of line: ${show(text.slice(at))} is left over` };
    return values as unknown as R;
  }

  /** The line of a record, from where `parse` began. */
  print(record: R): string {
    const values = record as unknown as Values;
    let line = this.first;
    for (const field of this.fields) line += print(field, values) + field.then;
    return line;
  }
}

const EXPECTED: Readonly<Record<FieldType, string>> = {
  d: 'a decimal number',
  u: 'a decimal number',
  w: '1, 2, 4 or 8',
  x: 'a hexadecimal number of at most 32 bits',
  x2: 'a hexadecimal number of at most 32 bits',
  x8: 'a hexadecimal number of at most 32 bits',
  q: 'a hexadecimal number of at most 64 bits',
  s: 'text up to what follows',
  S: 'text up to what follows',
};

function expected(name: string, text: string, at: number, what: string): BadLine {
  const word = text.slice(at).split(' ', 1)[0] ?? '';
  return {
    kind: 'bad',
    reason: word === '' ? `${name}: is missing` : `${name}: ${show(word)} is not ${what}`,
  };
}

/** Reads one field into `values`; returns where it ends, or -1. */
function take(field: Field, text: string, at: number, values: Values): number {
  switch (field.type) {
    case 's':
    case 'S': {
      const end =
        field.then === ''
          ? text.length
          : field.type === 's'
            ? text.indexOf(field.then, at)
            : text.lastIndexOf(field.then);
      if (end < at) return -1;
      values[field.name] = text.slice(at, end);
      return end;
    }
    case 'd':
    case 'u':
    case 'w':
      return takeDecimal(field, text, at, values);
    default:
      return takeHex(field, text, at, values);
  }
}

function takeDecimal({ name, type }: Field, text: string, from: number, values: Values): number {
  const negative = type === 'd' && text.charCodeAt(from) === 0x2d;
  const first = negative ? from + 1 : from;
  let value = 0;
  let at = first;
  for (; at < text.length && at - first < 10; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  if (at === first) return -1;
  if (type === 'w' && value !== 4 && value !== 8 && value !== 2 && value !== 1) return -1;
  values[name] = negative ? 0 - value : value;
  return at;
}

function takeHex({ name, type, lo, hi }: Field, text: string, from: number, values: Values): number {
  let low = 0;
  let high = 0;
  let at = from;
  for (; at < text.length; at++) {
    const digit = hexDigit(text.charCodeAt(at));
    if (digit < 0) break;
    if (high >>> 28 !== 0) return -1;
    high = (high << 4) | (low >>> 28);
    low = (low << 4) | digit;
  }
  if (at === from) return -1;
  if (type === 'q') {
    values[lo] = low >>> 0;
    values[hi] = high >>> 0;
  } else {
    if (high !== 0) return -1;
    values[name] = low >>> 0;
  }
  return at;
}

function print({ name, type, lo, hi }: Field, values: Values): string {
  switch (type) {
    case 'x':
      return (values[name] as number).toString(16);
    case 'x2':
      return (values[name] as number).toString(16).padStart(2, '0');
    case 'x8':
      return (values[name] as number).toString(16).padStart(8, '0');
    case 'q': {
      const low = (values[lo] as number).toString(16);
      const high = values[hi] as number;
      return high === 0 ? low : high.toString(16) + low.padStart(8, '0');
    }
    default:
      return String(values[name]);
  }
}
