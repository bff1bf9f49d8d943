/** Checks, defaults and descriptions of the named options, all derived from the one table. */
import { invalid, show, ZtlpError } from './errors.js';
import { nearest } from './names.js';
import { BUILT_OPTIONS, type NumberDef, OPTIONS, type OptionDef, TIMED_OPTIONS } from './option-table.js';

export { BUILT_OPTIONS, COST_PRESETS, OPTIONS } from './option-table.js';

export type OptionName = keyof typeof OPTIONS;

type ValueOf<D> = D extends { kind: 'choice'; values: readonly (infer V)[] }
  ? V
  : D extends { kind: 'boolean' }
    ? boolean
    : number;

/** What option `N` may hold, as the table says: one of its values, a boolean or a number. */
export type OptionValue<N extends OptionName = OptionName> = ValueOf<(typeof OPTIONS)[N]>;

/** A value for every option. */
export type Options = { [N in OptionName]: OptionValue<N> };

/** What a user gives: any part of the options. A missing or undefined one keeps its default. */
export type OptionInput = { readonly [N in OptionName]?: OptionValue<N> | undefined };

/** One option with a value that fits it. */
export type OptionEntry = { [N in OptionName]: readonly [name: N, value: OptionValue<N>] }[OptionName];

/** One line of a report: an option that does not hold its default. */
export interface OptionDifference {
  readonly name: OptionName;
  readonly value: OptionValue;
  readonly default: OptionValue;
}

const NAMES = Object.keys(OPTIONS) as OptionName[];

/** Every option at its general default, as a fresh object. */
export function defaultOptions(): Options {
  return Object.fromEntries(NAMES.map((name) => [name, OPTIONS[name].default])) as Options;
}

/** Returns `value` if option `name` may hold it, else throws. */
export function checkOption<N extends OptionName>(name: N, value: unknown): OptionValue<N>;
export function checkOption(name: string, value: unknown): OptionValue;
export function checkOption(name: string, value: unknown): OptionValue {
  const def = lookUp(name, value);
  if (!accepts(def, value)) throw invalid(name, value, allowedBy(def));
  return (value === 0 ? 0 : value) as OptionValue; // -0 becomes 0
}

function checkObject(input: OptionInput): void {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw invalid('options', input, 'an object of named options');
  }
}

/** `base` with every given entry of `input` checked and set. Neither argument changes. */
export function resolveOptions(input: OptionInput, base: Options = defaultOptions()): Options {
  checkObject(input);
  const given = Object.entries(input).filter(([, value]) => value !== undefined);
  return { ...base, ...Object.fromEntries(given.map(([name, value]) => [name, checkOption(name, value)])) };
}

/**
 * Returns `input`; throws `unsupported` when it sets an option that has no effect in this version to another value than
 * its default. Nothing is ignored silently.
 */
export function refuseUnbuilt(input: OptionInput = {}): OptionInput {
  checkObject(input);
  for (const [name, value] of Object.entries(input)) {
    if (value === undefined || BUILT_OPTIONS.has(name as OptionName) || !Object.hasOwn(OPTIONS, name))
      continue;
    const usual = OPTIONS[name as OptionName].default;
    if (value === usual) continue;
    throw new ZtlpError('unsupported', `${name}: ${show(value)} has no effect in this version`, {
      field: name,
      value,
      allowed: String(usual),
    });
  }
  return input;
}

/**
 * Returns `input`; throws `unsupported` as `refuseUnbuilt` does, and also for options that only a machine in simulated time
 * acts on: for whatever takes no time.
 */
export function refuseTimed(input: OptionInput = {}): OptionInput {
  refuseUnbuilt(input);
  for (const name of TIMED_OPTIONS) {
    const value = input[name];
    const usual = OPTIONS[name].default;
    if (value === undefined || value === usual) continue;
    checkOption(name, value);
    throw new ZtlpError('unsupported', `${name}: ${show(value)} has no effect without fidelity timed`, {
      field: name,
      value,
      allowed: String(usual),
    });
  }
  return input;
}

/** `input` without the options that only simulated time has a use for. */
export function withoutTimed(input: OptionInput): OptionInput {
  const timed: ReadonlySet<string> = TIMED_OPTIONS;
  return Object.fromEntries(Object.entries(input).filter(([name]) => !timed.has(name)));
}

/** Reads `name=value` as typed on a command line. */
export function parseOption(text: string): OptionEntry {
  const equals = text.indexOf('=');
  if (equals < 0) throw invalid('option', text, 'name=value', 'malformed');
  const name = text.slice(0, equals).trim();
  const word = text.slice(equals + 1).trim();
  return [name, checkOption(name, fromWord(lookUp(name, word), word))] as unknown as OptionEntry;
}

/** The options that differ from `base`, in table order. Options that are not given do not count. */
export function nonDefault(options: OptionInput, base: Options = defaultOptions()): OptionDifference[] {
  return NAMES.flatMap((name) => {
    const value = options[name];
    return value === undefined || value === base[name] ? [] : [{ name, value, default: base[name] }];
  });
}

/** What option `name` accepts, in words. */
export function formatAllowed(name: string): string {
  return allowedBy(lookUp(name));
}

/** `value` as people read it for option `name`: a bit mask in hexadecimal, everything else as it is. */
export function formatValue(name: string, value: OptionValue): string {
  return print(lookUp(name), value);
}

/** Everything the table says about what option `name` does, after its values and default. */
export function explainOption(name: string): string {
  const { sentence, note, defaultNote } = lookUp(name);
  return [sentence, note, defaultNote].filter((part) => part !== undefined).join(' ');
}

/** Option `name` as one line: values, default, and what it changes. */
export function describeOption(name: string): string {
  const def = lookUp(name);
  return `${name} (${allowedBy(def)}; default ${print(def, def.default)}): ${explainOption(name)}`;
}

function lookUp(name: string, value?: unknown): OptionDef {
  if (Object.hasOwn(OPTIONS, name)) return OPTIONS[name as OptionName];
  const detail = { field: name, value, allowed: 'a name of docs/options.md' };
  throw new ZtlpError('unknown-name', `${show(name)} is not an option${suggest(name)}`, detail);
}

/** The nearest option; one that is planned only is not offered as if it worked. */
function suggest(name: string): string {
  const near = nearest(name, [...BUILT_OPTIONS, ...NAMES]);
  if (near === undefined) return '';
  if (BUILT_OPTIONS.has(near as OptionName)) return `, did you mean ${near}?`;
  return ` (${near} is planned and has no effect in this version)`;
}

function accepts(def: OptionDef, value: unknown): boolean {
  switch (def.kind) {
    case 'choice':
      return def.values.some((allowed) => allowed === value);
    case 'boolean':
      return typeof value === 'boolean';
    case 'number':
      return typeof value === 'number' && inRange(def, value);
  }
}

function inRange({ min, max, integer, multipleOf = 1 }: NumberDef, value: number): boolean {
  if (!(value >= min && value <= max)) return false; // false for NaN too
  return !integer || (Number.isSafeInteger(value) && value % multipleOf === 0);
}

function allowedBy(def: OptionDef): string {
  if (def.kind === 'boolean') return 'true, false';
  const unit = def.unit === undefined ? '' : ` (${def.unit})`;
  if (def.kind === 'choice') return `${def.values.join(', ')}${unit}`;
  const { integer, multipleOf } = def;
  const sort = multipleOf ? `a multiple of ${multipleOf}` : integer ? 'an integer' : 'a number';
  return `${sort} from ${print(def, def.min)} to ${print(def, def.max)}${unit}`;
}

function print(def: OptionDef, value: unknown): string {
  const hex = def.kind === 'number' && def.radix === 16 && typeof value === 'number';
  return hex ? `0x${value.toString(16).padStart(2, '0')}` : String(value);
}

/** The value that `word` spells for this option. A word that spells none is returned as it is. */
function fromWord(def: OptionDef, word: string): unknown {
  if (def.kind === 'boolean') return BOOLEAN_WORDS.get(word) ?? word;
  if (def.kind === 'number') return numberFrom(word);
  return (
    def.values.find(
      (value) => value === word || value === BOOLEAN_WORDS.get(word) || value === numberFrom(word),
    ) ?? word
  );
}

const BOOLEAN_WORDS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['on', true],
  ['false', false],
  ['off', false],
]);

function numberFrom(word: string): number | string {
  return /^(0x[0-9a-f]+|[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)$/i.test(word) ? Number(word) : word;
}
