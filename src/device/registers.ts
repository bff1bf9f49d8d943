/** Registers as a device declares them, by the datasheet's name: their types, and the checks of a declaration. */
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import { booleanOr, checkFields, checkFunction, choiceOr, hex, typed } from './check.js';

/**
 * What software may do:
 * - `ro` reads; writes are ignored;
 * - `rw` reads and writes;
 * - `rw1c` reads; each bit written as 1 is cleared;
 * - `wo` writes; reads as 0;
 * - `rc` a read of any of its bytes clears the whole register; writes are ignored.
 */
export type RegisterAccess = 'ro' | 'rw' | 'rw1c' | 'wo' | 'rc';

/** Which byte of a register stands at its offset: the lowest (`little`, the rule of PCI) or the highest. */
export type ByteOrder = 'little' | 'big';

/** What a read hook answers: the register's new value, or nothing when it stays as it is. */
// biome-ignore lint/suspicious/noConfusingVoidType: a hook without a return statement is the usual case
type Answer<V> = V | void;

interface RegisterOf<W extends number, V, C> {
  /** Bytes from the start of the BAR or region. Any; registers do not overlap. */
  readonly offset: number;
  /** Bytes: 1, 2, 4 or 8. */
  readonly width: W;
  readonly access: RegisterAccess;
  /** Value after a reset. Default 0. */
  readonly reset?: V;
  /** Bits that a write can change (`rw1c`: clear). Default: all. Only with `rw`, `rw1c` and `wo`. */
  readonly writeMask?: V;
  readonly description?: string;
  /**
   * Takes writes of all its bytes at once only, as a doorbell that latches a doubleword. Others are dropped and reported.
   * Default false. Only with `rw`, `rw1c` and `wo`.
   */
  readonly wholeWrites?: boolean;
  /** Is 0 again once the write hook was given its value: a doorbell or a start bit. Default false. Only with `write`. */
  readonly selfClearing?: boolean;
  /**
   * Runs once before an access reads the register, whatever bytes of it. What it returns becomes the register's value.
   * Not with `wo`.
   */
  read?(ctx: C, value: V): Answer<V>;
  /**
   * Runs once after an access wrote the register, whatever bytes of it, when `value` is in place; `old` is what was
   * there before. Not with `ro` and `rc`.
   */
  write?(value: V, ctx: C, old: V): void;
}

/** A register of 1, 2 or 4 bytes: its value is a number. */
export type NarrowRegister<C = unknown> = RegisterOf<1 | 2 | 4, number, C>;
/** A register of 8 bytes: its value is a bigint. */
export type WideRegister<C = unknown> = RegisterOf<8, bigint, C>;
export type RegisterDefinition<C = unknown> = NarrowRegister<C> | WideRegister<C>;
/** Registers by name. A name is an identifier. */
export type RegisterMap<C = unknown> = Readonly<Record<string, RegisterDefinition<C>>>;

/** A checked register with its defaults filled in. */
export interface Register<C = unknown> {
  readonly name: string;
  /** Bytes from the start of the bank. */
  readonly offset: number;
  readonly width: 1 | 2 | 4 | 8;
  readonly access: RegisterAccess;
  readonly byteOrder: ByteOrder;
  readonly reset: number | bigint;
  readonly writeMask: number | bigint;
  readonly description: string;
  readonly wholeWrites: boolean;
  readonly selfClearing: boolean;
  readonly hooks: Hooks<C>;
}

/** The side effects, without the width in the type: the bank passes what the width says. */
export interface Hooks<C> {
  read?(ctx: C, value: number | bigint): Answer<number | bigint>;
  write?(value: number | bigint, ctx: C, old: number | bigint): void;
}

const KEYS = [
  'offset',
  'width',
  'access',
  'reset',
  'writeMask',
  'description',
  'wholeWrites',
  'selfClearing',
  'read',
  'write',
] as const;
const ACCESSES: readonly RegisterAccess[] = ['ro', 'rw', 'rw1c', 'wo', 'rc'];
const WIDTHS = [1, 2, 4, 8] as const;
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** All bits of a register of `width` bytes. */
export function allOnes(width: number): number | bigint {
  return width === 8 ? (1n << 64n) - 1n : 2 ** (8 * width) - 1;
}

/** Returns `value` when a register of `width` bytes can hold it: an integer, of 8 bytes a bigint. */
export function checkValue(field: string, value: unknown, width: number): number | bigint {
  const ones = allOnes(width);
  const fits =
    typeof value === 'bigint'
      ? width === 8 && value >= 0n && value <= ones
      : width !== 8 && Number.isInteger(value) && (value as number) >= 0 && (value as number) <= ones;
  if (!fits) throw typed(field, value, `${width === 8 ? 'a bigint' : 'an integer'} from 0 to ${hex(ones)}`);
  return value === 0 ? 0 : (value as number | bigint); // -0 becomes 0
}

/** Where the registers of a map stand. */
export interface Placement {
  /** Bytes that they have to lie in. */
  readonly size: number;
  /** Added to each offset. */
  readonly base?: number;
  readonly byteOrder?: ByteOrder;
}

/** Checks `map` and returns its registers in ascending order of offset. `field` is what errors call the map. */
export function resolveRegisters<C>(field: string, map: RegisterMap<C>, place: Placement): Register<C>[] {
  const names = checkFields(field, map, Object.keys(map ?? {}));
  const registers = Object.entries(names)
    .map(([name, definition]) => resolveRegister<C>(field, name, definition, place))
    .sort((a, b) => a.offset - b.offset);
  for (const [index, register] of registers.entries()) {
    const before = registers[index - 1];
    if (before === undefined || before.offset + before.width <= register.offset) continue;
    throw new ZtlpError(
      'invalid-value',
      `${field}.${register.name}: overlaps ${before.name}, which ends at ${hex(before.offset + before.width - 1)}`,
      { field: `${field}.${register.name}.offset`, value: register.offset },
    );
  }
  return registers;
}

function resolveRegister<C>(map: string, name: string, given: unknown, place: Placement): Register<C> {
  const field = `${map}.${name}`;
  if (!IDENTIFIER.test(name)) throw invalid(map, name, 'a name of letters, digits and _, no digit first');
  const definition = checkFields(field, given, KEYS);
  const { size, base = 0, byteOrder = 'little' } = place;
  if (definition.width === undefined) throw invalid(`${field}.width`, undefined, WIDTHS.join(', '));
  const width = choiceOr(`${field}.width`, definition.width, WIDTHS, 4);
  const offset = inRange(`${field}.offset`, definition.offset as number, 0, Math.max(size - width, 0));
  if (width > size) throw invalid(`${field}.width`, width, `at most ${size} bytes`);
  if (definition.access === undefined) throw invalid(`${field}.access`, undefined, ACCESSES.join(', '));
  const access = choiceOr(`${field}.access`, definition.access, ACCESSES, 'rw');
  const { reset = width === 8 ? 0n : 0, writeMask, description = '', read, write } = definition;
  if (typeof description !== 'string') throw invalid(`${field}.description`, description, 'a text');
  const isWritten = access === 'rw' || access === 'rw1c' || access === 'wo';
  for (const key of ['writeMask', 'write', 'wholeWrites'] as const) {
    if (definition[key] !== undefined && !isWritten) throw misplaced(field, key, access);
  }
  if (read !== undefined && access === 'wo') throw misplaced(field, 'read', access);
  if (definition.selfClearing === true && write === undefined)
    throw new ZtlpError('invalid-value', `${field}.selfClearing: without a write hook nothing is ever seen`, {
      field: `${field}.selfClearing`,
      allowed: 'together with write',
    });
  checkFunction(`${field}.read`, read);
  checkFunction(`${field}.write`, write);
  return Object.freeze({
    name,
    offset: base + offset,
    width,
    access,
    byteOrder,
    reset: checkValue(`${field}.reset`, reset, width),
    writeMask: checkValue(`${field}.writeMask`, writeMask ?? allOnes(width), width),
    description,
    selfClearing: booleanOr(`${field}.selfClearing`, definition.selfClearing, false),
    wholeWrites: booleanOr(`${field}.wholeWrites`, definition.wholeWrites, false),
    // The definition itself, so that a hook may use `this`.
    hooks: definition as Hooks<C>,
  });
}

function misplaced(field: string, key: string, access: RegisterAccess): ZtlpError {
  const what = key === 'read' ? 'a read' : 'a write';
  return new ZtlpError(
    'invalid-value',
    `${field}.${key}: has no effect, ${what} never reaches a register with access ${access}`,
    {
      field: `${field}.${key}`,
    },
  );
}
