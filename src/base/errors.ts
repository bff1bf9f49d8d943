/** The one error type of ztlp: what was wrong, in which field, with which value, and what is allowed. */

/** Machine-readable reason. Stable: scripts may switch on it. */
export type ErrorCode =
  | 'invalid-value' // a value outside what its field allows
  | 'unknown-name' // an option, path, file format or command that does not exist
  | 'out-of-range' // an address, offset or length outside its space
  | 'malformed' // bytes or text that do not follow their format
  | 'unsupported' // known, but not built in this version
  | 'not-found' // a file or a function that is not there
  | 'io' // reading or writing a file failed
  | 'resource'; // a size that this machine or the core cannot give

export interface ErrorDetail {
  /** Name of the field as the user wrote it, e.g. `mps` or `bars[0].size`. */
  readonly field?: string;
  /** The offending value as given. */
  readonly value?: unknown;
  /** What would have been accepted, in words or as a list. */
  readonly allowed?: string;
  /** What the same call answers in Linux. */
  readonly errno?: Errno;
  readonly cause?: unknown;
}

/** Error numbers of Linux that calls of the IOMMU side answer, by name. */
export type Errno = 'EBUSY' | 'EEXIST' | 'EINVAL' | 'ENOENT' | 'ENOMEM' | 'ENOSPC' | 'EOPNOTSUPP' | 'ERANGE';

/** Thrown for every mistake a user can make. Prints as one line. */
export class ZtlpError extends Error {
  override readonly name = 'ZtlpError';
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly value: unknown;
  readonly allowed: string | undefined;
  readonly errno: Errno | undefined;

  constructor(code: ErrorCode, what: string, detail: ErrorDetail = {}) {
    const allowed = detail.allowed === undefined ? '' : `; allowed: ${detail.allowed}`;
    super(`${what}${allowed}`, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.field = detail.field;
    this.value = detail.value;
    this.allowed = detail.allowed;
    this.errno = detail.errno;
  }
}

/** The usual case: field `field` holds `value`, which is not `allowed`. */
export function invalid(
  field: string,
  value: unknown,
  allowed: string,
  code: ErrorCode = 'invalid-value',
): ZtlpError {
  return new ZtlpError(code, `${field}: ${show(value)} is not valid`, { field, value, allowed });
}

/** `value`, which has to be an integer from `min` to `max`. */
export function inRange(field: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid(field, value, `an integer from ${min} to ${max}`, 'out-of-range');
}

/** Throws unless `value` is an object, as a caller without TypeScript may not give one. */
export function needObject(field: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw invalid(field, value, 'an object');
}

/** A value as one short piece of text for a message. */
export function show(value: unknown): string {
  if (typeof value === 'string')
    // A backslash stays one, so that a Windows path can be copied from a message.
    return JSON.stringify(value.length > 200 ? `${value.slice(0, 197)}...` : value).replaceAll('\\\\', '\\');
  if (typeof value === 'bigint') return value < 0n ? String(value) : `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  return String(value);
}
