/** ISM (Internal Shared Memory): the s390 function by which partitions write into each other's memory with PCISTB. */
import { invalid, needObject } from '../../base/errors.js';
import { checkKeys, keysOf } from '../../base/names.js';
import { checkU64, type U64 } from '../../core/u64.js';
import { type Device, defineDevice } from '../../device/define.js';
import type { BarOffset, DeviceContext, InstructionAnswer, PciInstruction } from '../../device/types.js';
import { runCommand } from './commands.js';
import { IsmFabric, type Member } from './fabric.js';
import { decodeMove, EVENT_GID, HEADER_BYTES, MOVE_BAR_BYTES, WINDOW_BYTES } from './layout.js';
import { tell } from './signals.js';
import { type IsmState, newState } from './state.js';

//   BAR 0   moves: PCISTB of 1 to 4096 bytes; the offset is the request (layout.ts)
//   BAR 2   command window: payload from offset 8 on, then the header of 8 bytes, which starts the command
//
// PCISTG and the MIO forms are refused: software that splits a PCISTB does not get through (ism.md 2).

export interface IsmOptions {
  /** What other functions know it by: not 0, and different from those of the others in the fabric. Default 1. */
  readonly gid?: U64;
  /** Who is reached. Default: the function alone, which can write to its own buffers. */
  readonly fabric?: IsmFabric;
  /** 2: the reserved VLAN ID 0x1fff can be added, by which drivers know SMC-D version 2. Default 2. */
  readonly version?: 1 | 2;
}

const KEYS = keysOf<IsmOptions>({ gid: true, fabric: true, version: true });
const MOVES = 0;
const COMMANDS = 2;
const CONFIG = 15;
const ADDRESS_SPACE = 20;
const GID_TAKEN = 'its GID belongs to another function of the fabric: commands do nothing';

type Context = DeviceContext<IsmState>;

/**
 * An ISM function. Throws ZtlpError for options out of range. Options of the machine: `ismForbiddenAccess`, `ismMaskBitOrder`,
 * `ismSuppressMsi`, `ismRejectStatus`; its group has `relaxed: true` and `maxstbl: 4096` (ISM_GROUP).
 */
export function ism(options: IsmOptions = {}): Device<IsmState> {
  needObject('options', options);
  checkKeys('options', options, KEYS);
  const { fabric = new IsmFabric(), version = 2 } = options;
  const gid = BigInt(checkU64('gid', options.gid ?? 1));
  if (gid === 0n) throw invalid('gid', gid, 'a number other than 0');
  if (!(fabric instanceof IsmFabric)) throw invalid('fabric', fabric, 'an IsmFabric');
  if (version !== 1 && version !== 2) throw invalid('version', version, '1 or 2');
  // One for each instance: a device can be in several slots, though not in one fabric.
  const members = new WeakMap<Context, Member>();
  const memberOf = (ctx: Context): Member | undefined => {
    const member = members.get(ctx) ?? reach(ctx, gid);
    members.set(ctx, member);
    return fabric.join(member) ? member : undefined;
  };
  const leave = (ctx: Context): void => {
    const member = members.get(ctx);
    if (member !== undefined) fabric.leave(member, (peer) => peer.event(EVENT_GID, 0, gid, 0n));
  };

  return defineDevice<IsmState>({
    name: 'ism',
    vendorId: 0x1014,
    deviceId: 0x04ed,
    zpci: { type: 5, mio: false },
    bars: [
      { size: MOVE_BAR_BYTES, bits: 64, callback: true },
      undefined,
      { size: WINDOW_BYTES, bits: 64, callback: true },
    ],
    capabilities: { msi: { vectors: 1 } },
    blockWrites: true,
    state: newState,
    reset: (_kind, ctx) => leave(ctx),
    save: ({ state }) => state,
    load: (saved, ctx) => {
      const member = members.get(ctx);
      // Its peers do not notice.
      if (member !== undefined) fabric.leave(member, () => undefined);
      Object.assign(ctx.state, saved);
      if (memberOf(ctx) === undefined) return;
      for (const dmb of ctx.state.dmbs.values()) fabric.register(gid, dmb);
    },
    acceptInstruction: (instruction, ctx) => accept(instruction, ctx, gid, fabric),
    read: ({ bar, offset }, length, { state }) =>
      bar === COMMANDS ? state.response.slice(offset, offset + length) : new Uint8Array(length),
    write: (at, bytes, _enables, ctx) => {
      const member = memberOf(ctx);
      if (member === undefined) ctx.log(GID_TAKEN);
      else if (at.bar === MOVES) move(at, bytes, gid, fabric);
      else if (at.offset === 0 && bytes.length === HEADER_BYTES) {
        runCommand(bytes, { ctx, fabric, member, version });
      } else {
        // What comes with a part of the header, or behind it, is payload of a command that does not start by it.
        const skipped = Math.max(0, HEADER_BYTES - at.offset);
        ctx.state.request.set(bytes.subarray(skipped), at.offset + Math.min(skipped, bytes.length));
      }
    },
  });
}

/** How others reach the function: as a callback of its model. */
function reach(ctx: Context, gid: bigint): Member {
  return {
    gid,
    vlans: () => ctx.state.vlans,
    move: ctx.entry('move', ({ address, index, token }, offset, bytes, element) => {
      // A reset in between has dropped the buffer.
      if (ctx.state.dmbs.get(index)?.token !== token) return;
      ctx.stats.count('moves');
      ctx.stats.count('moved bytes', bytes.length);
      ctx.dma.write(address + BigInt(offset), bytes);
      if (element !== undefined) tell(ctx, { kind: 'signal', index, element });
    }),
    event: ctx.entry('event', (type, code, token, info) => {
      if (ctx.state.ieq !== undefined) tell(ctx, { kind: 'event', type, code, token, info });
    }),
  };
}

/** What the function says to an instruction before its form is looked at. */
function accept(
  { op, as, offset, length }: PciInstruction,
  ctx: Context,
  gid: bigint,
  fabric: IsmFabric,
): InstructionAnswer {
  const isRefused = ctx.options.ismForbiddenAccess === 'reject';
  if (isRefused && op.endsWith('i')) return { cc: 1, status: ADDRESS_SPACE };
  if (isRefused && op === 'pcistg' && as !== CONFIG) return { programInterruption: 'operand' };
  if (as !== MOVES || op === 'pcilg' || op === 'pcilgi') return true;
  const request = decodeMove(offset);
  const found = fabric.find(request.token);
  const isAllowed = found?.dmb.peer === gid && request.offset + length <= found.dmb.bytes;
  return isAllowed ? true : { cc: 1, status: ctx.options.ismRejectStatus };
}

/** Brings the bytes to the function that owns the buffer. */
function move(at: BarOffset, bytes: Uint8Array, gid: bigint, fabric: IsmFabric): void {
  const { token, element, isSignal, offset } = decodeMove(at.offset);
  const found = fabric.find(token);
  // Paths that do not ask before they write come here with anything.
  if (found === undefined || found.dmb.peer !== gid || offset + bytes.length > found.dmb.bytes) return;
  fabric.member(found.owner)?.move(found.dmb, offset, bytes, isSignal ? element : undefined);
}

/** Options of the group of an ISM function (ism.md 1). */
export const ISM_GROUP = { relaxed: true, maxstbl: 4096 } as const;
