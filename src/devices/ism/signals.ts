/** How an ISM function tells its driver: bits of the signal area, entries of the event queue, and the interrupt (ism.md 4, 5). */
import type { DeviceContext, DmaReadResult } from '../../device/types.js';
import {
  dmbBit,
  IEQ_BYTES,
  IEQ_ENTRIES,
  IEQ_ENTRY_BYTES,
  IEQ_HEADER_BYTES,
  maskOffset,
  SBA_EVENT,
  SBA_SUMMARY,
  viewOf,
} from './layout.js';
import type { IsmState, Notice } from './state.js';

type Context = DeviceContext<IsmState>;

/**
 * Tells the driver, after all notices before it. Bits are set by reading and writing a byte: a bit that the driver clears in
 * between comes back, so that it may look once too often, never once too seldom.
 */
export function tell(ctx: Context, notice: Notice): void {
  ctx.state.notices.push(notice);
  if (ctx.state.notices.length === 1) next(ctx);
}

function next(ctx: Context): void {
  const [notice] = ctx.state.notices;
  if (notice === undefined) return;
  if (notice.kind === 'signal') signal(ctx, notice.index, notice.element);
  else event(ctx, notice);
}

function done(ctx: Context): void {
  ctx.state.notices.shift();
  next(ctx);
}

/** Mask, bit of the DMB, summary: in this order, so that the driver finds all that a set bit stands for. */
function signal(ctx: Context, index: number, element: number): void {
  const { sba } = ctx.state;
  if (sba === undefined) {
    done(ctx);
    return;
  }
  const bit = ctx.options.ismMaskBitOrder === 'msb' ? 0x8000 >>> element : 1 << element;
  const at = sba + BigInt(maskOffset(index));
  setBits(ctx, at, 2, bit, () => {
    const dmb = dmbBit(index);
    setBits(ctx, sba + BigInt(dmb.offset), 1, dmb.bit, () => summarise(ctx, sba, SBA_SUMMARY));
  });
}

/** The driver reads from its own index to `idx`: entries come first. One that it has not read in time is lost. */
function event(ctx: Context, notice: Extract<Notice, { readonly kind: 'event' }>): void {
  const { state } = ctx;
  const { ieq, sba } = state;
  if (ieq === undefined || sba === undefined) {
    done(ctx);
    return;
  }
  const entry = new Uint8Array(IEQ_ENTRY_BYTES);
  const view = viewOf(entry);
  view.setUint32(0, notice.type);
  view.setUint32(4, notice.code);
  view.setBigUint64(8, notice.token);
  view.setBigUint64(16, timeOf(ctx.time.ns));
  view.setBigUint64(24, notice.info);
  const at = state.ieqNext;
  state.ieqNext = (at + 1) % IEQ_ENTRIES;
  ctx.dma.write(ieq + BigInt(IEQ_HEADER_BYTES + IEQ_ENTRY_BYTES * at), entry);
  const index = new Uint8Array(8);
  viewOf(index).setBigUint64(0, BigInt(at + 1));
  ctx.dma.write(ieq, index, {}, () => summarise(ctx, sba, SBA_SUMMARY | SBA_EVENT));
}

/** Sets bits of the first byte, and interrupts unless the driver has yet to look. */
function summarise(ctx: Context, sba: bigint, bits: number): void {
  setBits(ctx, sba, 1, bits, (before) => {
    const isLooking = (before & SBA_SUMMARY) !== 0 && ctx.options.ismSuppressMsi;
    const { sba: area, ieq } = ctx.state;
    if (!isLooking && area !== undefined && ieq !== undefined) ctx.msi.raise(0);
    done(ctx);
  });
}

/** Sets bits of the big-endian value of `length` bytes at `address`; `then` is given what was there. Memory that fails ends it. */
function setBits(
  ctx: Context,
  address: bigint,
  length: 1 | 2,
  bits: number,
  then: (before: number) => void,
): void {
  ctx.dma.read(address, length, {}, ({ data }: DmaReadResult) => {
    if (data === undefined) {
      done(ctx);
      return;
    }
    const view = viewOf(data);
    const before = length === 1 ? view.getUint8(0) : view.getUint16(0);
    if (length === 1) view.setUint8(0, before | bits);
    else view.setUint16(0, before | bits);
    ctx.dma.write(address, data, {}, () => then(before));
  });
}

/** The TOD clock's format (z/Architecture): bit 51 is a microsecond. */
function timeOf(ns: number): bigint {
  return (BigInt(Math.round(ns)) * 4096n) / 1000n;
}

/** What registering a queue writes: it is empty, and has entries of this length. */
export function startQueue(ctx: Context, ieq: bigint): void {
  const header = new Uint8Array(IEQ_HEADER_BYTES);
  const view = viewOf(header);
  view.setBigUint64(8, BigInt(IEQ_BYTES));
  view.setBigUint64(16, BigInt(IEQ_ENTRY_BYTES));
  ctx.dma.write(ieq, header);
}
