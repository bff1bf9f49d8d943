/** The set-up lines of a zPCI script: options of the machine, its functions. */
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import { unknownName } from '../base/names.js';
import { type OptionInput, parseOption, refuseTimed } from '../base/options.js';
import { BUILTIN_DEVICES } from '../devices/builtin.js';
import type { InitialState } from '../machine/config.js';
import { anything, checkFunctionName, choice, parseU64, word } from './zpci-operands.js';
import { type Verb, verb } from './zpci-verbs.js';

/** What one `name=value` of a function says. */
type FunctionWord =
  | { readonly key: string; readonly bar: number; readonly size: number }
  | { readonly key: string; readonly index: number }
  | { readonly key: string; readonly device: string }
  | { readonly key: string; readonly state: InitialState }
  | { readonly key: string; readonly mio: boolean }
  | { readonly key: string; readonly takes: readonly string[] }
  | { readonly key: string; readonly option: OptionInput };

/** A function as its line describes it. */
export interface FunctionLine {
  readonly name: string;
  /** Model of ztlp; undefined: BARs that are memory. */
  readonly device: string | undefined;
  /** Bytes by BAR number; undefined: not there. */
  readonly bars: readonly (number | undefined)[];
  readonly index: number | undefined;
  /** zPCI state at the start; undefined: enabled. */
  readonly state: InitialState | undefined;
  /** The device has MIO; undefined: it has. */
  readonly mio: boolean | undefined;
  /** PCI instructions that the device takes; undefined: all. */
  readonly takes: readonly string[] | undefined;
  readonly options: OptionInput;
}

const INITIAL_STATES: readonly InitialState[] = ['reserved', 'standby', 'disabled', 'enabled'];
const INSTRUCTIONS = ['pcilg', 'pcistg', 'pcistb', 'pcilgi', 'pcistgi', 'pcistbi'] as const;
const NO_FUNCTIONS = { functions: [] };
const DEFAULT_BAR = 1 << 16;
const MIN_BAR = 16;
const MAX_BAR = 1 << 26;

const option = verb({
  name: 'option',
  kind: 'setup',
  operands: {},
  others: { name: 'options', parse: parseChecked },
  check(values) {
    const { options } = values as { readonly options?: readonly unknown[] };
    if (options !== undefined) return;
    throw new ZtlpError('invalid-value', 'option: NAME=VALUE is missing', {
      field: 'option',
      allowed: 'names of docs/options.md',
    });
  },
  run: () => ({ answers: {} }),
});

const fn = verb({
  name: 'function',
  kind: 'setup',
  operands: { name: word(anything) },
  others: { name: 'words', parse: parseWord },
  check(values, { functions }) {
    checkFunctionName(values.name, functions);
    functionOf(values);
  },
  run: () => ({ answers: {} }),
});

function parseChecked(text: string): OptionInput {
  try {
    const [name, value] = parseOption(text);
    return refuseTimed({ [name]: value });
  } catch (error) {
    // `unsupported` and `malformed` are data elsewhere: here somebody wrote a wrong word.
    if (!(error instanceof ZtlpError)) throw error;
    const { field, value, message } = error;
    throw new ZtlpError(error.code === 'unknown-name' ? 'unknown-name' : 'invalid-value', message, {
      ...(field === undefined ? {} : { field }),
      value,
      cause: error,
    });
  }
}

function parseWord(text: string): FunctionWord {
  const equals = text.indexOf('=');
  const key = text.slice(0, equals).toLowerCase();
  const value = text.slice(equals + 1);
  if (/^bar[0-5]$/.test(key)) return { key, bar: Number(key.slice(3)), size: parseBar(key, value) };
  if (key === 'index') return { key, index: inRange(key, Number(parseU64(key, value)), 0, 0xffff) };
  if (key === 'device') {
    if (!Object.hasOwn(BUILTIN_DEVICES, value))
      throw unknownName(key, value, 'a model that comes with ztlp', Object.keys(BUILTIN_DEVICES));
    return { key, device: value };
  }
  if (key === 'state') return { key, state: choice(...INITIAL_STATES).parse(value, key, NO_FUNCTIONS) };
  // Of a function this is its device; the option of the same name is the machine's.
  if (key === 'mio') return { key, mio: choice('true', 'false').parse(value, key, NO_FUNCTIONS) === 'true' };
  if (key === 'takes')
    return {
      key,
      takes: value.split(',').map((one) => choice(...INSTRUCTIONS).parse(one, key, NO_FUNCTIONS)),
    };
  return { key: text.slice(0, equals), option: parseChecked(text) };
}

function parseBar(field: string, text: string): number {
  const size = Number(parseU64(field, text, BigInt(MIN_BAR), BigInt(MAX_BAR)));
  if ((size & (size - 1)) === 0) return size;
  throw invalid(field, text, 'a power of two from 16 to 64M', 'out-of-range');
}

/** What a `function` line asks for. Throws for words that contradict each other. */
export function functionOf(values: Readonly<Record<string, unknown>>): FunctionLine {
  const { name, words = [] } = values as { readonly name: string; readonly words?: readonly FunctionWord[] };
  const keys = words.map(({ key }) => key);
  const again = keys.find((key, n) => keys.indexOf(key) < n);
  if (again !== undefined) throw new ZtlpError('invalid-value', `${again}: is given twice`, { field: again });
  const bars: (number | undefined)[] = [];
  let device: string | undefined;
  let index: number | undefined;
  let state: InitialState | undefined;
  let mio: boolean | undefined;
  let takes: readonly string[] | undefined;
  let options: OptionInput = {};
  for (const one of words) {
    if ('bar' in one) bars[one.bar] = one.size;
    else if ('index' in one) index = one.index;
    else if ('device' in one) device = one.device;
    else if ('state' in one) state = one.state;
    else if ('mio' in one) mio = one.mio;
    else if ('takes' in one) takes = one.takes;
    else options = { ...options, ...one.option };
  }
  if (device !== undefined && (bars.length > 0 || mio !== undefined || takes !== undefined))
    throw invalid('device', device, 'no BARs, mio or takes beside it: the model has its own');
  return {
    name,
    device,
    bars: bars.length === 0 && device === undefined ? [DEFAULT_BAR] : bars,
    index,
    state,
    mio,
    takes,
    options,
  };
}

export const SETUP: readonly Verb[] = [option, fn];
