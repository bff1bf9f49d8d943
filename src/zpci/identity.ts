/** What firmware says of a zPCI function in CLP query function, beside what the device's configuration space tells. */
import { inRange, invalid, needObject } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';

/** Facts of a kind of device (zpci.md 4.4). */
export interface ZpciTraits {
  /** Function type (pft), 8 bits; 5 is ISM. Default 0. */
  readonly type?: number;
  /** The MIO forms of the instructions reach the function (`mio_addr_avail`). Default true. */
  readonly mio?: boolean;
}

/** Facts of one function in its machine (zpci.md 4.3, 4.4). What is left out is 0 and its valid flag off. */
export interface ZpciIdentity {
  /** Function ID, 32 bits, by which SCLP and error records name the function. Default: slot number + 0x10. */
  readonly fid?: number;
  /** User-defined ID, 32 bits: Linux makes the PCI domain of it. Default: slot number + 1. */
  readonly uid?: number;
  /** Physical channel ID, 16 bits. */
  readonly pchid?: number;
  /** Virtual function number, 16 bits. */
  readonly vfn?: number;
  readonly physicalFunction?: boolean;
  /** Physical port, 4 bits. */
  readonly port?: number;
  /** Function internal path, 4 bytes. */
  readonly path?: Uint8Array;
  /** TID, 16 bits. */
  readonly tid?: number;
  /** Utility string: up to 64 printable ASCII characters, stored in EBCDIC, or the bytes themselves. */
  readonly utilityString?: string | Uint8Array;
}

export interface CheckedIdentity extends Omit<ZpciIdentity, 'utilityString'> {
  readonly fid: number;
  readonly uid: number;
  readonly utilityString?: Uint8Array;
}

const TRAIT_KEYS = keysOf<ZpciTraits>({ type: true, mio: true });
const KEYS = keysOf<ZpciIdentity>({
  fid: true,
  uid: true,
  pchid: true,
  vfn: true,
  physicalFunction: true,
  port: true,
  path: true,
  tid: true,
  utilityString: true,
});
const BITS: readonly (readonly [name: 'pchid' | 'vfn' | 'port' | 'tid', most: number])[] = [
  ['pchid', 0xffff],
  ['vfn', 0xffff],
  ['port', 0xf],
  ['tid', 0xffff],
];
const PATH_BYTES = 4;
const UTILITY_STRING_BYTES = 64;
const FIRST_FID = 0x10;
const FIRST_PRINTABLE = 0x20;
/** EBCDIC code page 037 of the ASCII characters 0x20 to 0x7e. */
const EBCDIC = Uint8Array.from(
  (
    '405a7f7b5b6c507d4d5d5c4e6b604b61f0f1f2f3f4f5f6f7f8f97a5e4c7e6e6f' +
    '7cc1c2c3c4c5c6c7c8c9d1d2d3d4d5d6d7d8d9e2e3e4e5e6e7e8e9bae0bbb06d' +
    '79818283848586878889919293949596979899a2a3a4a5a6a7a8a9c04fd0a1'
  ).match(/../g) ?? [],
  (digits) => Number.parseInt(digits, 16),
);

/** Checks the traits of a device; throws ZtlpError with the field. */
export function checkTraits(field: string, traits: ZpciTraits | undefined): Required<ZpciTraits> {
  const { type = 0, mio = true } = traits === undefined ? {} : checkObject(field, traits, TRAIT_KEYS);
  return { type: inRange(`${field}.type`, type, 0, 0xff), mio: checkBoolean(`${field}.mio`, mio) };
}

/** Checks the identity of the function in slot number `slot`, and fills in the IDs. */
export function checkIdentity(
  field: string,
  identity: ZpciIdentity | undefined,
  slot: number,
): CheckedIdentity {
  const given = identity === undefined ? {} : checkObject(field, identity, KEYS);
  for (const [name, most] of BITS)
    if (given[name] !== undefined) inRange(`${field}.${name}`, given[name], 0, most);
  if (given.physicalFunction !== undefined) checkBoolean(`${field}.physicalFunction`, given.physicalFunction);
  const { path, utilityString, fid = FIRST_FID + slot, uid = slot + 1, ...rest } = given;
  if (path !== undefined && !(path instanceof Uint8Array && path.length === PATH_BYTES))
    throw invalid(`${field}.path`, path, `${PATH_BYTES} bytes`);
  return {
    ...rest,
    fid: inRange(`${field}.fid`, fid, 0, 0xffff_ffff),
    uid: inRange(`${field}.uid`, uid, 0, 0xffff_ffff),
    ...(path === undefined ? {} : { path: path.slice() }),
    ...(utilityString === undefined
      ? {}
      : { utilityString: bytesOf(`${field}.utilityString`, utilityString) }),
  };
}

function bytesOf(field: string, text: string | Uint8Array): Uint8Array {
  if (text instanceof Uint8Array && text.length <= UTILITY_STRING_BYTES) return text.slice();
  if (typeof text === 'string' && text.length <= UTILITY_STRING_BYTES && /^[ -~]*$/.test(text))
    return Uint8Array.from(text, (letter) => EBCDIC[letter.charCodeAt(0) - FIRST_PRINTABLE] ?? 0);
  throw invalid(field, text, `up to ${UTILITY_STRING_BYTES} printable ASCII characters, or bytes`);
}

function checkObject<T extends object>(field: string, value: T, keys: ReadonlySet<string>): T {
  needObject(field, value);
  checkKeys(field, value, keys);
  return value;
}

function checkBoolean(field: string, value: boolean): boolean {
  if (typeof value !== 'boolean') throw invalid(field, value, 'true, false');
  return value;
}
