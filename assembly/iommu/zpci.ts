// Floor 4: DMA of zPCI functions: the registered range and tables of each, and what a request becomes (zpci.md 5.4, 5.6).

import {
  DMA_DIRECT,
  DMA_FLAGS,
  DMA_IN_ERROR,
  DMA_IOTA,
  DMA_MODE,
  DMA_MSIA,
  DMA_PAL,
  DMA_PBA,
  DMA_QUIRKS,
  DMA_REGISTERED,
  DMA_STRIDE,
  EVENT_OUT_OF_RANGE,
  EVENT_TRANSLATION,
  FUNCTION_SLOTS,
  IOTA_TRANSLATED,
  SDMA_HI,
  STATE_ENABLED,
  STATE_ERROR_LS_OPEN,
} from '../layout';
import { findTranslation } from './iotlb';

export const DMA: usize = memory.data(FUNCTION_SLOTS * DMA_STRIDE, 16);

/** What `translate` found out besides a frame. */
export const REFUSED: u64 = ~0; // not translated, or an error: see `dmaEvent`
export const MESSAGE: u64 = ~1; // the MSI page
export const LOST: u64 = ~2; // a write that disappears (QEMU 7.2)

/** EVENT_* of the request that was refused; 0: none, it was just not translated. */
export let dmaEvent: u32 = 0;

export function dmaOf(slot: u32): usize {
  return DMA + <usize>slot * DMA_STRIDE;
}

/** True while requests of the function reach the bus as they are. */
export function isDirect(slot: u32): bool {
  return load<u32>(dmaOf(slot), DMA_MODE) == DMA_DIRECT;
}

/** A write there is an interrupt message: the one page of the function's group; none where the platform has other ranges. */
export function isMessagePage(slot: u32, address: u64): bool {
  const page = load<u64>(dmaOf(slot), DMA_MSIA);
  return page != 0 && address >> 12 == page >> 12;
}

/** Host address for a request of up to a page at `address`, or REFUSED, MESSAGE, LOST. `state` is the function's. */
export function translate(slot: u32, state: u32, address: u64, bytes: u32, isRead: bool): u64 {
  const dma = dmaOf(slot);
  dmaEvent = 0;
  if (isMessagePage(slot, address)) return MESSAGE;
  const flags = load<u32>(dma, DMA_FLAGS);
  const open = state == STATE_ENABLED || (state == STATE_ERROR_LS_OPEN && (flags & DMA_IN_ERROR) != 0);
  if (!open || load<u32>(dma, DMA_MODE) != DMA_REGISTERED) return REFUSED;
  const pal = load<u64>(dma, DMA_PAL);
  if (address < load<u64>(dma, DMA_PBA) || address > pal || bytes - 1 > pal - address) {
    if (flags & DMA_QUIRKS && !isRead && address > pal) return LOST;
    dmaEvent = EVENT_OUT_OF_RANGE;
    return REFUSED;
  }
  // Without tables an I/O address is a real one above the first DMA address (zpci.md 5.4).
  if ((load<u32>(dma, DMA_IOTA) & IOTA_TRANSLATED) == 0) return address - ((<u64>SDMA_HI) << 32);
  const found = findTranslation(slot, address);
  if (found == ~0 || (!isRead && (found & 1) == 0)) {
    dmaEvent = EVENT_TRANSLATION;
    return REFUSED;
  }
  return (found & ~0xfff) | (address & 0xfff);
}
