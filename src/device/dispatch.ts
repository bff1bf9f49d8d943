/** Cuts an access of a BAR into the calls that its regions get, with and without the rules of an emulator. */
import type { Region, ResolvedBar } from './bars.js';

/** Bytes [offset, offset + length) of the BAR that one region serves; no region: nothing is there. */
export interface Piece {
  readonly region: Region | undefined;
  readonly offset: number;
  readonly length: number;
}

/** The pieces of an access that lies in the BAR, in ascending order: one per region and per gap that it touches. */
export function piecesOf(bar: ResolvedBar, offset: number, length: number): Piece[] {
  const pieces: Piece[] = [];
  const end = offset + length;
  let at = offset;
  const cut = (region: Region | undefined, to: number): void => {
    if (to > at) pieces.push({ region, offset: at, length: to - at });
    at = Math.max(at, to);
  };
  for (const region of bar.regions) {
    if (at >= end) break;
    cut(undefined, Math.min(region.offset, end));
    if (at >= region.offset) cut(region, Math.min(region.offset + region.size, end));
  }
  cut(undefined, end);
  return pieces;
}

/** A call that one region gets. */
export interface Call extends Piece {
  readonly region: Region;
}

/** The calls of an emulated access to one region, or undefined when the region does not accept it. */
export function callsOf(piece: Piece, region: Region): Call[] | undefined {
  const calls: Call[] = [];
  for (const { offset, length } of dispatchesOf(piece, region)) {
    const { valid, impl } = region;
    // QEMU memory_region_access_valid: addresses are those in the region.
    const at = offset - region.offset;
    if (!valid.unaligned && at % length !== 0) return undefined;
    if (valid.max !== 0 && (length < valid.min || length > valid.max)) return undefined;
    // QEMU access_with_adjusted_size: a call may be larger than the access.
    const step = Math.max(Math.min(length, impl.max || 4), impl.min || 1);
    for (let done = 0; done < length; done += step) {
      if (at + done + step > region.size) return undefined;
      calls.push({ region, offset: offset + done, length: step });
    }
  }
  return calls;
}

/**
 * An access path dispatches 1, 2, 4 or 8 bytes, which go on as they are. What a region border cut to another length is
 * dispatched again, as QEMU's flatview loop does (memory_access_size): a power of two that the alignment allows.
 */
function dispatchesOf({ offset, length, region }: Piece, { valid, impl, offset: start }: Region): Piece[] {
  if (length === 1 || length === 2 || length === 4 || length === 8) return [{ region, offset, length }];
  const dispatches: Piece[] = [];
  for (let done = 0; done < length; ) {
    const at = offset - start + done;
    const low = at % 8;
    const aligned = impl.unaligned || low === 0 ? 8 : low & -low;
    const limit = Math.min(valid.max || 4, aligned, length - done);
    const size = 2 ** Math.floor(Math.log2(limit));
    dispatches.push({ region, offset: offset + done, length: size });
    done += size;
  }
  return dispatches;
}
