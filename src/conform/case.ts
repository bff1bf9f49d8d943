/** Reads the fields of one case of a vector file. The file is untrusted: every field is checked where it is read. */
import { invalid, show, ZtlpError } from '../base/errors.js';
import { checkU64, hex64, type U64 } from '../core/u64.js';

/** Fields that name or describe a case and ask nothing of the library. */
const LABELS = ['id', 'i', 'title', 'tags', 'note'];

/** Name of a case in reports: its own id, or its place. */
export function caseId(value: unknown, group: string, index: number): string {
  const id = isObject(value) ? value.id : undefined;
  return typeof id === 'string' && id !== '' ? id : `${group}#${index}`;
}

/** Opens one entry of a group; throws unless it is an object. */
export function openCase(value: unknown): CaseFields {
  return new CaseFields(value, '');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The fields of one object. Each method throws a ZtlpError that names the field when it is missing or of another type;
 * `done` throws when a field was never read, because a case that asks for more than is run cannot agree.
 */
export class CaseFields {
  private readonly fields: Readonly<Record<string, unknown>>;
  private readonly read = new Set(LABELS);

  /** @param where name of the object inside its case, ending with a point; empty for the case itself */
  constructor(
    value: unknown,
    private readonly where: string,
  ) {
    if (!isObject(value))
      throw invalid(where === '' ? 'case' : where.slice(0, -1), value, 'an object', 'malformed');
    this.fields = value;
  }

  /** The case has this field; null counts as absent. */
  has(name: string): boolean {
    const value = this.take(name);
    return value !== undefined && value !== null;
  }

  integer(name: string): number {
    const value = this.take(name);
    return typeof value === 'number' && Number.isSafeInteger(value) ? value : this.fail(name, 'an integer');
  }

  /** Any number, with a fraction or without. */
  number(name: string): number {
    const value = this.take(name);
    return typeof value === 'number' && Number.isFinite(value) ? value : this.fail(name, 'a number');
  }

  /** 0 or 1. */
  flag(name: string): boolean {
    const value = this.take(name);
    return value === 0 || value === 1 ? value === 1 : this.fail(name, '0, 1');
  }

  boolean(name: string): boolean {
    const value = this.take(name);
    return typeof value === 'boolean' ? value : this.fail(name, 'true, false');
  }

  text(name: string): string {
    const value = this.take(name);
    return typeof value === 'string' ? value : this.fail(name, 'a text');
  }

  /** Bytes written as hexadecimal digits. */
  bytes(name: string): Uint8Array {
    const value = this.take(name);
    if (typeof value !== 'string' || !/^([0-9a-f]{2})*$/i.test(value)) {
      return this.fail(name, 'two hexadecimal digits per byte');
    }
    return Uint8Array.from(Buffer.from(value, 'hex'));
  }

  /** A number, or hexadecimal text for what JSON numbers cannot hold. */
  u64(name: string): U64 {
    return toU64(this.take(name)) ?? this.fail(name, 'an integer from 0 to 2^64 - 1, as a number or 0x text');
  }

  list(name: string): readonly unknown[] {
    const value = this.take(name);
    return Array.isArray(value) ? value : this.fail(name, 'a list');
  }

  object(name: string): CaseFields {
    return new CaseFields(this.take(name), `${this.where}${name}.`);
  }

  /** A list of objects, each mapped by `each`; fields that `each` leaves unread are errors. */
  objects<T>(name: string, each: (fields: CaseFields) => T): T[] {
    return this.list(name).map((value, n) => {
      const fields = new CaseFields(value, `${this.where}${name}[${n}].`);
      const result = each(fields);
      fields.done();
      return result;
    });
  }

  /** Pairs of 64-bit value and integer, the value as `hex64` prints it. An absent list is empty. */
  pairs(name: string): [string, number][] {
    if (!this.has(name)) return [];
    return this.list(name).map((pair): [string, number] => {
      const [first, second, ...rest] = Array.isArray(pair) ? pair : [];
      const value = toU64(first);
      if (value === undefined || !Number.isSafeInteger(second) || rest.length > 0) {
        return this.fail(name, 'a list of pairs of address and integer');
      }
      return [hex64(value), second];
    });
  }

  /** Marks a field as one that is not compared. */
  skip(...names: readonly string[]): void {
    for (const name of names) this.read.add(name);
  }

  /** Throws when the object has a field that nothing has read. */
  done(): void {
    const unknown = Object.keys(this.fields).find((name) => !this.read.has(name));
    if (unknown === undefined) return;
    throw new ZtlpError(
      'unsupported',
      `field ${show(`${this.where}${unknown}`)} is not known in such a case`,
    );
  }

  private take(name: string): unknown {
    this.read.add(name);
    return Object.hasOwn(this.fields, name) ? this.fields[name] : undefined;
  }

  private fail(name: string, allowed: string): never {
    const field = `${this.where}${name}`;
    const value = Object.hasOwn(this.fields, name) ? this.fields[name] : undefined;
    if (value !== undefined) throw invalid(field, value, allowed, 'malformed');
    throw new ZtlpError('malformed', `${field} is missing`, { field, allowed });
  }
}

function toU64(value: unknown): U64 | undefined {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && value >= 0 ? checkU64('', value) : undefined;
  if (typeof value !== 'string' || !/^0x[0-9a-f]{1,16}$/i.test(value)) return undefined;
  const exact = BigInt(value);
  return exact <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(exact) : exact;
}

/** `value`, which has to be a number; `field` is its name in the message. */
export function finite(field: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw invalid(field, value, 'a number', 'malformed');
}

/** `row`, which has to be a list of `count` numbers. */
export function numbersOf(row: unknown, count: number): number[] {
  if (!Array.isArray(row) || row.length !== count)
    throw invalid('row', row, `a list of ${count} values`, 'malformed');
  return row.map((value: unknown, n) => finite(`row[${n}]`, value));
}

/** Bytes as hexadecimal digits. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
