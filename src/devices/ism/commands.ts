/** The commands of ISM's window: what each takes, does and answers (ism.md 3). */
import type { DeviceContext } from '../../device/types.js';
import type { Dmb, IsmFabric, Member } from './fabric.js';
import {
  ADD_VLAN_ID,
  BAD_COMMAND,
  BAD_VALUE,
  COMMANDS,
  DEL_VLAN_ID,
  DMB_MOST_BYTES,
  DONE,
  EVENT_SOFTWARE,
  GONE,
  HEADER_BYTES,
  IEQ_BYTES,
  QUERY_INFO,
  QUERY_RGID,
  READ_GID,
  REG_DMB,
  REG_IEQ,
  REG_SBA,
  RESET_VLAN,
  SBA_FIRST_INDEX,
  SBA_LAST_INDEX,
  SET_VLAN,
  SIGNAL_IEQ,
  TAKEN,
  UNREACHABLE,
  UNREG_DMB,
  UNREG_IEQ,
  UNREG_SBA,
  viewOf,
  WINDOW_BYTES,
} from './layout.js';
import { startQueue } from './signals.js';
import type { IsmState } from './state.js';

/** What a command works on. */
export interface CommandContext {
  readonly ctx: DeviceContext<IsmState>;
  readonly fabric: IsmFabric;
  readonly member: Member;
  /** 2: reserved VLAN ID 0x1fff can be added, by which drivers tell. */
  readonly version: 1 | 2;
}

const VLAN_LAST = 4094;
const VLAN_V2 = 0x1fff;
const VLANS_MOST = 64;
const PAGE = 4096n;

type Command = (request: DataView, response: DataView, on: CommandContext) => number;

const RUN: ReadonlyMap<number, Command> = new Map<number, Command>([
  [REG_SBA, registerArea],
  [REG_IEQ, registerQueue],
  [READ_GID, readGid],
  [ADD_VLAN_ID, addVlan],
  [DEL_VLAN_ID, deleteVlan],
  [SET_VLAN, (_request, _response, { ctx }) => requireVlan(ctx, true)],
  [RESET_VLAN, (_request, _response, { ctx }) => requireVlan(ctx, false)],
  [QUERY_INFO, queryInfo],
  [QUERY_RGID, queryGid],
  [REG_DMB, registerDmb],
  [UNREG_DMB, unregisterDmb],
  [SIGNAL_IEQ, signalPeer],
  [UNREG_SBA, unregisterArea],
  [UNREG_IEQ, unregisterQueue],
]);

/** Runs the command of `header`, 8 bytes, with the payload that came before it; leaves its response. */
export function runCommand(header: Uint8Array, on: CommandContext): void {
  const { state } = on.ctx;
  const { request } = state;
  request.set(header);
  const code = viewOf(request).getUint32(0);
  const length = viewOf(request).getUint16(6);
  const response = new Uint8Array(WINDOW_BYTES);
  const view = viewOf(response);
  const form = COMMANDS.get(code);
  const run = RUN.get(code);
  const result =
    form === undefined || run === undefined || form.request !== length
      ? BAD_COMMAND
      : run(viewOf(request), view, on);
  if (result !== DONE) response.fill(0);
  view.setUint32(0, code);
  view.setUint16(4, result);
  view.setUint16(6, result === DONE ? (form?.response ?? HEADER_BYTES) : HEADER_BYTES);
  state.response = response;
  // A command without its payload does not find the one of the command before.
  state.request = new Uint8Array(WINDOW_BYTES);
  on.ctx.stats.count(result === DONE ? 'commands' : 'failed commands');
}

function readGid(_request: DataView, response: DataView, { member }: CommandContext): number {
  response.setBigUint64(8, member.gid);
  return DONE;
}

function registerArea(request: DataView, _response: DataView, { ctx }: CommandContext): number {
  const address = request.getBigUint64(8);
  if (address === 0n || address % PAGE !== 0n) return BAD_VALUE;
  if (ctx.state.sba !== undefined) return TAKEN;
  ctx.state.sba = address;
  return DONE;
}

function registerQueue(request: DataView, _response: DataView, { ctx }: CommandContext): number {
  const address = request.getBigUint64(8);
  if (address === 0n || address % PAGE !== 0n || request.getBigUint64(16) !== BigInt(IEQ_BYTES))
    return BAD_VALUE;
  if (ctx.state.ieq !== undefined) return TAKEN;
  ctx.state.ieq = address;
  ctx.state.ieqNext = 0;
  startQueue(ctx, address);
  return DONE;
}

function unregisterArea(_request: DataView, _response: DataView, { ctx }: CommandContext): number {
  if (ctx.state.sba === undefined) return GONE;
  ctx.state.sba = undefined;
  return DONE;
}

function unregisterQueue(_request: DataView, _response: DataView, { ctx }: CommandContext): number {
  if (ctx.state.ieq === undefined) return GONE;
  ctx.state.ieq = undefined;
  return DONE;
}

function vlanOf(request: DataView, version: 1 | 2): number | undefined {
  const id = request.getBigUint64(8);
  if (id >= 1n && id <= BigInt(VLAN_LAST)) return Number(id);
  return id === BigInt(VLAN_V2) && version === 2 ? VLAN_V2 : undefined;
}

function addVlan(request: DataView, _response: DataView, { ctx, version }: CommandContext): number {
  const id = vlanOf(request, version);
  const { vlans } = ctx.state;
  if (id === undefined) return BAD_VALUE;
  if (vlans.includes(id) || vlans.length === VLANS_MOST) return TAKEN;
  vlans.push(id);
  return DONE;
}

function deleteVlan(request: DataView, _response: DataView, { ctx, version }: CommandContext): number {
  const id = vlanOf(request, version);
  const at = id === undefined ? -1 : ctx.state.vlans.indexOf(id);
  if (at < 0) return GONE;
  ctx.state.vlans.splice(at, 1);
  return DONE;
}

function requireVlan(ctx: DeviceContext<IsmState>, isNeeded: boolean): number {
  ctx.state.needsVlan = isNeeded;
  return DONE;
}

/** State 0: no source says what others mean (ism.md 9). */
function queryInfo(_request: DataView, response: DataView, { ctx, member, version }: CommandContext): number {
  const { sba, ieq, dmbs, needsVlan, vlans } = ctx.state;
  response.setUint32(8, version);
  response.setUint32(12, DMB_MOST_BYTES);
  response.setBigUint64(24, member.gid);
  response.setBigUint64(32, sba ?? 0n);
  response.setBigUint64(40, ieq ?? 0n);
  response.setUint32(48, ieq === undefined ? 0 : IEQ_BYTES);
  response.setUint32(56, dmbs.size);
  response.setUint32(60, dmbs.size);
  response.setUint32(64, needsVlan ? 1 : 0);
  response.setUint32(68, vlans.length);
  for (const [n, id] of vlans.entries()) response.setUint16(72 + 2 * n, id);
  return DONE;
}

/** The peer of a GID, if both are in the VLAN that the request asks for. */
function queryGid(request: DataView, _response: DataView, { ctx, fabric }: CommandContext): number {
  const peer = fabric.member(request.getBigUint64(8));
  if (peer === undefined) return UNREACHABLE;
  if (request.getUint32(16) === 0) return DONE;
  const vlan = request.getUint32(20);
  return ctx.state.vlans.includes(vlan) && peer.vlans().includes(vlan) ? DONE : UNREACHABLE;
}

function registerDmb(request: DataView, response: DataView, { ctx, fabric, member }: CommandContext): number {
  const { dmbs, sba, vlans } = ctx.state;
  const address = request.getBigUint64(8);
  const bytes = request.getUint32(16);
  const index = request.getUint32(20);
  if (sba === undefined || address === 0n || bytes === 0 || bytes > DMB_MOST_BYTES) return BAD_VALUE;
  if (index < SBA_FIRST_INDEX || index > SBA_LAST_INDEX) return BAD_VALUE;
  if (request.getUint32(24) !== 0 && !vlans.includes(request.getUint32(28))) return UNREACHABLE;
  if (dmbs.has(index)) return TAKEN;
  const dmb: Dmb = { token: fabric.newToken(), address, bytes, index, peer: request.getBigUint64(32) };
  dmbs.set(index, dmb);
  fabric.register(member.gid, dmb);
  response.setBigUint64(8, dmb.token);
  return DONE;
}

function unregisterDmb(
  request: DataView,
  _response: DataView,
  { ctx, fabric, member }: CommandContext,
): number {
  const found = fabric.find(request.getBigUint64(8));
  if (found === undefined || found.owner !== member.gid) return GONE;
  fabric.unregister(found.dmb.token);
  ctx.state.dmbs.delete(found.dmb.index);
  return DONE;
}

/** Trigger 0: the event is there when the peer looks; Linux sets 1 always, and so no source says more. */
function signalPeer(request: DataView, _response: DataView, { fabric, member }: CommandContext): number {
  const peer = fabric.member(request.getBigUint64(8));
  if (peer === undefined) return UNREACHABLE;
  peer.event(EVENT_SOFTWARE, request.getUint32(20), member.gid, request.getBigUint64(24));
  return DONE;
}
