/** The zPCI I/O region that a proposal of 2021 gave to vfio: what a pread or pwrite on it does (sheet zpci.md 8.3). */
import { invalid, needObject } from '../base/errors.js';
import { checkU64, type U64 } from '../core/u64.js';

/** Header of 16 bytes, read only; then the request, write only. Byte order of the host: big-endian on s390. */
const REGION_BYTES = 48;
const REQUEST_AT = 16;
const REQUEST_BYTES = REGION_BYTES - REQUEST_AT;
const HEADER_MAXIMUM = 8;
const REQUEST_FLAGS = 0;
const REQUEST_BUFFER = 8;
const REQUEST_OFFSET = 16;
const REQUEST_LENGTH = 28;
const REQUEST_SPACE = 30;

const FLAG_READ = 1n;
const FLAG_BLOCK_WRITE = 2n;
const MAX_READ = 8;
const PAGE = 4096n;

/** A PCI instruction of the host, always in the form with a function handle. */
export interface IoRegionInstruction {
  readonly name: 'PCILG' | 'PCISTB';
  /** User buffer that is filled or stored. */
  readonly buffer: U64;
  /** Offset in the address space. */
  readonly offset: U64;
  readonly bytes: number;
  /** Address space: the BAR. */
  readonly as: number;
}

/** One system call on the region. */
export type IoRegionCall =
  | { readonly op: 'read'; readonly position: number; readonly bytes: number }
  | { readonly op: 'write'; readonly position: number; readonly data: Uint8Array };

/** What the call does: bytes of the header, the instruction that a request executes, or an error number. */
export type IoRegionResult =
  | { readonly error: 'EFAULT' | 'EINVAL' | 'EIO' }
  | { readonly error: undefined; readonly data: Uint8Array }
  | { readonly error: undefined; readonly instruction: IoRegionInstruction };

/** The pwrite with which a program asks for `instruction`. */
export function ioRegionRequest(instruction: IoRegionInstruction): IoRegionCall & { readonly op: 'write' } {
  needObject('instruction', instruction);
  const { name, buffer, offset, bytes, as } = instruction;
  if (name !== 'PCILG' && name !== 'PCISTB') throw invalid('name', name, 'PCILG, PCISTB');
  if (!Number.isInteger(bytes) || bytes < 0 || bytes > 0xffff) throw invalid('bytes', bytes, '0 to 65535');
  if (!Number.isInteger(as) || as < 0 || as > 0xff) throw invalid('as', as, '0 to 255');
  const data = new Uint8Array(REQUEST_BYTES);
  const view = new DataView(data.buffer);
  view.setBigUint64(REQUEST_FLAGS, name === 'PCILG' ? FLAG_READ : FLAG_BLOCK_WRITE);
  view.setBigUint64(REQUEST_BUFFER, BigInt(checkU64('buffer', buffer)));
  view.setBigUint64(REQUEST_OFFSET, BigInt(checkU64('offset', offset)));
  view.setUint16(REQUEST_LENGTH, bytes);
  view.setUint8(REQUEST_SPACE, as);
  return { op: 'write', position: REQUEST_AT, data };
}

/** What the kernel of the proposal answers to `call`, for a function group with this `maxstbl`. */
export function ioRegionCall(call: IoRegionCall, maxstbl: number): IoRegionResult {
  needObject('call', call);
  const { op, position } = call;
  if (op !== 'read' && op !== 'write') throw invalid('op', op, 'read, write');
  if (!Number.isInteger(position) || position < 0) throw invalid('position', position, 'an integer from 0');
  if (position >= REGION_BYTES) return { error: 'EINVAL' };
  if (op === 'read') {
    if (!Number.isInteger(call.bytes) || call.bytes < 0)
      throw invalid('bytes', call.bytes, 'an integer from 0');
    if (position + call.bytes > REQUEST_AT) return { error: 'EFAULT' };
    const header = new Uint8Array(REQUEST_AT);
    new DataView(header.buffer).setUint16(HEADER_MAXIMUM, maxstbl);
    return { error: undefined, data: header.slice(position, position + call.bytes) };
  }
  if (!(call.data instanceof Uint8Array)) throw invalid('data', call.data, 'a Uint8Array');
  if (position < REQUEST_AT) return { error: 'EFAULT' };
  // Only the whole request executes; what a part of it would do is not known.
  if (position !== REQUEST_AT || call.data.length !== REQUEST_BYTES) return { error: 'EINVAL' };
  return execute(call.data, maxstbl);
}

function execute(data: Uint8Array, maxstbl: number): IoRegionResult {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const flags = view.getBigUint64(REQUEST_FLAGS);
  if (flags !== FLAG_READ && flags !== FLAG_BLOCK_WRITE) return { error: 'EIO' };
  const isRead = flags === FLAG_READ;
  const bytes = view.getUint16(REQUEST_LENGTH);
  const buffer = view.getBigUint64(REQUEST_BUFFER);
  if (bytes > (isRead ? MAX_READ : maxstbl) || buffer % 8n !== 0n) return { error: 'EIO' };
  // The last byte has to be in the page of the first: a length of 0 at the start of a page fails too.
  if (buffer / PAGE !== (buffer + BigInt(bytes) - 1n) / PAGE) return { error: 'EIO' };
  const offset = view.getBigUint64(REQUEST_OFFSET);
  const name = isRead ? 'PCILG' : 'PCISTB';
  return {
    error: undefined,
    instruction: { name, buffer, offset, bytes, as: view.getUint8(REQUEST_SPACE) },
  };
}
