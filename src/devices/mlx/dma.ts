/** Reads of several spans as one, and doorbell records. */
import type { U64 } from '../../core/u64.js';
import type { DmaOptions } from '../../device/types.js';
import type { Span } from './ring.js';
import type { NicContext } from './state.js';

/** Reads `spans` one behind the other; `done` has all bytes, or undefined when one of them was not answered with data. */
export function readSpans(
  ctx: NicContext,
  spans: readonly Span[],
  options: DmaOptions,
  done: (bytes: Uint8Array | undefined) => void,
): void {
  const bytes = new Uint8Array(spans.reduce((sum, { length }) => sum + length, 0));
  let open = spans.length;
  let isWhole = true;
  let at = 0;
  for (const { address, length } of spans) {
    const from = at;
    at += length;
    ctx.dma.read(address, length, options, ({ data }) => {
      if (data === undefined) isWhole = false;
      else bytes.set(data, from);
      open--;
      if (open === 0) done(isWhole ? bytes : undefined);
    });
  }
}

/** A dword of a doorbell record; undefined when it cannot be read. */
export function readRecord(ctx: NicContext, at: U64, done: (value: number | undefined) => void): void {
  ctx.dma.read(at, 4, {}, ({ data }) => {
    done(data === undefined ? undefined : new DataView(data.buffer, data.byteOffset).getUint32(0));
  });
}
