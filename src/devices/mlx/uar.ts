/** UAR pages: doorbells and BlueFlame copies as they arrive, in memory writes of any size. */
import type { BarOffset, ByteEnables } from '../../device/types.js';
import { ringCq } from './completions.js';
import { ringEq } from './events.js';
import { BLOCK_BYTES, BLUE_FLAME_REGISTERS, FIRST_UAR, PAGE_BYTES, UAR, UNITS_PER_BLOCK } from './layout.js';
import { ringSq } from './send.js';
import { type BlueFlameState, cancel, later, type Nic, protocolError } from './state.js';
import { parseControl } from './wqe.js';

//   0x000 |                                   |
//   0x020 | sn, cmd, ci     | cqn             |  CQ doorbell
//   0x040 | eqn, ci         |                 |  EQ, arm
//   0x048 | eqn, ci         |                 |  EQ, consumer index only
//   0x800 | register 0: half, half            |  BlueFlame, four registers of bfRegSize bytes
//         | registers 1 to 3                  |
//
// Each half of a BlueFlame register takes
//   - a doorbell: the first 8 bytes of a WQE, in one write or as two dwords in ascending order;
//   - a copy: the WQE, ascending, in whole blocks of 64 bytes. When it comes in smaller pieces, or something else comes
//     before its last block, its first 8 bytes are a doorbell and the rest of it is passed over.
// Everything that is neither is a protocol error: counted, and nothing else.

/** How long a copy may wait for its next block, ns; then the WQE is fetched. */
const BLUE_FLAME_NS = 1000;

/** A write of software to BAR 0. */
export function writeBar(nic: Nic, at: BarOffset, bytes: Uint8Array, enables: ByteEnables): void {
  let from = 0;
  while (from < bytes.length) {
    const offset = at.offset + from;
    const page = Math.floor(offset / PAGE_BYTES);
    const inPage = offset % PAGE_BYTES;
    const rest = bytes.length - from;
    const isBlock = inPage % BLOCK_BYTES === 0 && rest >= BLOCK_BYTES && enables === undefined;
    const isDword = inPage % 4 === 0 && rest >= 4 && isEnabled(enables, from);
    const length =
      isBlock && inPage >= UAR.BLUE_FLAME ? BLOCK_BYTES : isDword ? 4 : Math.min(rest, 4 - (inPage % 4));
    const part = bytes.subarray(from, from + length);
    from += length;
    if (page < FIRST_UAR) continue; // initialization segment
    if (!nic.ctx.state.uars.has(page)) protocolError(nic, 'no UAR page');
    else if (length === BLOCK_BYTES) writeBlock(nic, page, inPage, part);
    else if (length !== 4 || !isDword) protocolError(nic, 'part of a dword');
    else writeDword(nic, page, inPage, new DataView(part.buffer, part.byteOffset).getUint32(0));
  }
}

/** The rest of a copy did not come: the WQE is fetched. */
export function copyTimedOut(nic: Nic, key: number): void {
  const one = nic.ctx.state.blueFlame.get(key);
  if (one !== undefined) endCopy(nic, key, one);
}

function isEnabled(enables: ByteEnables, from: number): boolean {
  return enables === undefined || [0, 1, 2, 3].every((n) => enables[from + n] === 1);
}

function writeDword(nic: Nic, page: number, at: number, value: number): void {
  const { cqDoorbells } = nic.ctx.state;
  if (at >= UAR.BLUE_FLAME) {
    blueFlameDword(nic, page, at, value);
    return;
  }
  const first = cqDoorbells.get(page);
  cqDoorbells.delete(page);
  switch (at) {
    case UAR.CQ_DOORBELL:
      cqDoorbells.set(page, value);
      return;
    case UAR.CQ_DOORBELL + 4:
      if (first === undefined) {
        protocolError(nic, 'CQ doorbell without its first dword');
        return;
      }
      ringCq(nic, page, first, value);
      return;
    case UAR.EQ_ARM:
      ringEq(nic, page, value, true);
      return;
    case UAR.EQ_UPDATE:
      ringEq(nic, page, value, false);
      return;
    default: // reserved
  }
}

interface Register {
  readonly key: number;
  readonly one: BlueFlameState;
  readonly halfBytes: number;
  readonly inHalf: number;
}

/** The register that holds offset `at` of a page, and what is under way in it; undefined: behind the last one. */
function registerAt(nic: Nic, page: number, at: number): Register | undefined {
  const { bfRegSize } = nic.settings;
  const { blueFlame } = nic.ctx.state;
  const number = Math.floor((at - UAR.BLUE_FLAME) / bfRegSize);
  if (number >= BLUE_FLAME_REGISTERS) {
    protocolError(nic, 'behind the BlueFlame registers');
    return undefined;
  }
  const key = page * BLUE_FLAME_REGISTERS + number;
  const one = blueFlame.get(key) ?? {};
  blueFlame.set(key, one);
  const halfBytes = bfRegSize / 2;
  return { key, one, halfBytes, inHalf: (at - UAR.BLUE_FLAME) % halfBytes };
}

function blueFlameDword(nic: Nic, page: number, at: number, value: number): void {
  const found = registerAt(nic, page, at);
  if (found === undefined) return;
  const { key, one, halfBytes, inHalf } = found;
  endCopy(nic, key, one);
  if (isTail(one, at, 4)) return;
  const { latch } = one;
  one.latch = undefined;
  if (inHalf === 0) one.latch = { at, value };
  else if (inHalf !== 4 || latch?.at !== at - 4) protocolError(nic, 'BlueFlame write without a beginning');
  else {
    const start = new Uint8Array(BLOCK_BYTES);
    const view = new DataView(start.buffer);
    view.setUint32(0, latch.value);
    view.setUint32(4, value);
    one.tail = { at: at + 4, left: Math.min(copyBytes(start), halfBytes) - 8 };
    ringSq(nic, page, parseControl(start));
  }
}

function writeBlock(nic: Nic, page: number, at: number, block: Uint8Array): void {
  const found = registerAt(nic, page, at);
  if (found === undefined) return;
  const { key, one, halfBytes, inHalf } = found;
  one.latch = undefined;
  const { copy } = one;
  if (copy !== undefined && at === copy.at + copy.got) {
    copy.bytes.set(block, copy.got);
    copy.got += BLOCK_BYTES;
    if (copy.got === copy.bytes.length) endCopy(nic, key, one);
    return;
  }
  endCopy(nic, key, one);
  if (isTail(one, at, BLOCK_BYTES)) return;
  if (inHalf !== 0) {
    protocolError(nic, 'BlueFlame write without a beginning');
    return;
  }
  const length = copyBytes(block);
  if (length > halfBytes) {
    // Refused as a whole: what follows of it must not be taken for WQEs.
    one.tail = { at: at + BLOCK_BYTES, left: length - BLOCK_BYTES };
    protocolError(nic, 'BlueFlame copy longer than half a register');
    return;
  }
  one.copy = { at, bytes: new Uint8Array(length), got: BLOCK_BYTES };
  one.copy.bytes.set(block);
  if (length === BLOCK_BYTES) endCopy(nic, key, one);
  else later(nic, BLUE_FLAME_NS, { kind: 'blue-flame', register: key });
}

/** Rings for the copy that is under way: with its WQE if all of it came, else as its first 8 bytes alone do. */
function endCopy(nic: Nic, key: number, one: BlueFlameState): void {
  const { copy } = one;
  if (copy === undefined) return;
  one.copy = undefined;
  cancel(nic, (event) => event.kind === 'blue-flame' && event.register === key);
  const { at, bytes, got } = copy;
  one.tail = { at: at + got, left: bytes.length - got };
  const page = Math.floor(key / BLUE_FLAME_REGISTERS);
  ringSq(nic, page, parseControl(bytes), got === bytes.length ? bytes : undefined);
}

/** Whether a write only goes on with a copy that has rung already. */
function isTail({ tail }: BlueFlameState, at: number, length: number): boolean {
  if (tail === undefined || tail.at !== at || tail.left <= 0) return false;
  tail.at += length;
  tail.left -= length;
  return true;
}

/** Bytes of the copy of a WQE that begins like this: whole blocks. */
function copyBytes(start: Uint8Array): number {
  return Math.max(1, Math.ceil(parseControl(start).units / UNITS_PER_BLOCK)) * BLOCK_BYTES;
}
