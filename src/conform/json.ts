/** Parses JSON with errors that name the place: the messages of JavaScript engines differ, and some name none. */
import { show, ZtlpError } from '../base/errors.js';
import { named } from './report.js';

/** The value of a JSON text; throws ZtlpError `malformed` with line and column. */
export function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const at = errorIn(text);
    const before = text.slice(0, at);
    const place = `line ${before.split('\n').length}, column ${at - before.lastIndexOf('\n')}`;
    const what =
      at >= text.length ? 'the text ends too early' : `${show(text.charAt(at))} is not expected here`;
    throw new ZtlpError('malformed', `${named(file)} is not JSON: ${place}: ${what}`, { cause });
  }
}

/** What may come next, by the grammar of RFC 8259. */
type Next = 'value' | 'value or ]' | 'name' | 'name or }' | 'colon' | 'comma or end';

const NUMBER_OR_WORD = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/** Index of the first character that is not allowed where it stands; the length when the text only ends too early. */
function errorIn(text: string): number {
  const closers: string[] = []; // of the lists and objects that are open
  let next: Next = 'value';
  let at = 0;
  for (;;) {
    while (at < text.length && ' \t\r\n'.includes(text.charAt(at))) at++;
    const character = text.charAt(at);
    const mayEnd = next === 'comma or end' || next.endsWith(closers.at(-1) ?? 'nothing');
    if (character === '') return at;
    if (mayEnd && character === closers.at(-1)) {
      closers.pop();
      next = 'comma or end';
      at++;
    } else if (next === 'comma or end') {
      if (character !== ',' || closers.length === 0) return at;
      next = closers.at(-1) === '}' ? 'name' : 'value';
      at++;
    } else if (next === 'colon') {
      if (character !== ':') return at;
      next = 'value';
      at++;
    } else if (character === '"') {
      const end = stringEnd(text, at + 1);
      if (text.charAt(end) !== '"') return end;
      next = next.startsWith('name') ? 'colon' : 'comma or end';
      at = end + 1;
    } else if (next.startsWith('name')) {
      return at;
    } else if (character === '{' || character === '[') {
      closers.push(character === '{' ? '}' : ']');
      next = character === '{' ? 'name or }' : 'value or ]';
      at++;
    } else {
      NUMBER_OR_WORD.lastIndex = at;
      if (!NUMBER_OR_WORD.test(text)) return at;
      next = 'comma or end';
      at = NUMBER_OR_WORD.lastIndex;
    }
  }
}

/** Index of the quote that ends a string, of the character that breaks it, or the length. */
function stringEnd(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.charAt(at) !== '"' && text.charAt(at) >= ' ') {
    if (text.charAt(at) !== '\\') {
      at++;
      continue;
    }
    ESCAPE.lastIndex = at;
    if (!ESCAPE.test(text)) return at;
    at = ESCAPE.lastIndex;
  }
  return at;
}
