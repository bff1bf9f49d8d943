/** Gives every error that was contained to the check that it belongs to. */
import { ZtlpError } from '../base/errors.js';
import type { KitError } from './kit.js';
import { plural, where } from './text.js';
import type { CheckResult } from './types.js';

/** Checks with conditions of their own: what fails under these alone is their finding. */
const SPECIAL: ReadonlySet<string> = new Set(['resets', 'dma-faults', 'save-load', 'quiesce']);
/** The texts with which a guard or the monitor stops a model. */
const LOOP = /callbacks at one instant|callbacks in one check/;
const FLOOD = /requests in one callback|at one instant$/;

/** `results` with the errors in their lines: a check to which an error belongs has failed. */
export function assign(results: readonly CheckResult[], errors: readonly KitError[]): CheckResult[] {
  const usual = new Set(errors.filter(({ check }) => !SPECIAL.has(check)).map(keyOf));
  const owned = new Map<string, KitError[]>();
  for (const one of errors) {
    const owner = ownerOf(one, usual.has(keyOf(one)));
    owned.set(owner, [...(owned.get(owner) ?? []), one]);
  }
  return results.map((result) => {
    const own = owned.get(result.id) ?? [];
    const [first] = own;
    if (first === undefined || result.outcome === 'fail') return result;
    const kinds = new Set(own.map(keyOf)).size;
    const more = kinds > 1 ? `; and ${plural(kinds - 1, 'other error')}` : '';
    return { ...result, outcome: 'fail', line: `${lineOf(first)}${more}` };
  });
}

/** The same mistake with other numbers is the same mistake. */
function keyOf({ error }: KitError): string {
  return `${error.callback} ${error.message}`.replaceAll(/0x[0-9a-f]+|\d+/g, '#');
}

function ownerOf({ check, error }: KitError, isUsual: boolean): string {
  if (LOOP.test(error.message)) return 'loops';
  if (FLOOD.test(error.message)) return 'floods';
  if (SPECIAL.has(check) && !isUsual) return check;
  return error.cause instanceof ZtlpError && error.cause.field === 'vector' ? 'msix' : 'throws';
}

function lineOf({ way, error }: KitError): string {
  const { callback, at, message, timeNs, effect } = error;
  const place = at === undefined ? '' : ` at ${where(at.bar, at.offset)}`;
  const line = frameOf(error.cause);
  return `${callback}${place} (${way}, ${timeNs} ns): ${message} (${effect})${line}`;
}

/** Where ztlp itself lies. */
const OWN = new URL('../', import.meta.url).href;
const FRAME = /^\s+at .*?((?:file:\/\/)?\/[^():]+):(\d+):\d+\)?$/;

/** The first line of the model in the stack of what it threw, as `, file:line`; empty when there is none. */
function frameOf(cause: unknown): string {
  if (!(cause instanceof Error) || typeof cause.stack !== 'string') return '';
  for (const text of cause.stack.split('\n')) {
    const [, path = '', line] = FRAME.exec(text) ?? [];
    if (line === undefined || path.startsWith(OWN) || path.startsWith(new URL(OWN).pathname)) continue;
    return `, ${path.slice(path.lastIndexOf('/') + 1)}:${line}`;
  }
  return '';
}
