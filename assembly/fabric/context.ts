// Floor 5: whose TLP is being handled. In a timed machine TLPs of the CPU and of functions arrive in between one another, so
// what an access keeps in the parameter block is put in place for each of them, and taken away again.

import { PARAMS } from '../kernel/arena';
import {
  DESCRIPTOR_CAUSE,
  DESCRIPTOR_H1,
  DESCRIPTOR_KIND,
  DESCRIPTOR_SLOT,
  KIND_CFGRD0,
  KIND_CFGWR0,
  ORIGIN_CPU,
  PARAM_COMPLETION_POLICY,
  PARAM_MPS,
  PARAM_ORIGIN,
  PARAM_RCB,
} from '../layout';
import { linkAt, PORT_STRIDE } from '../link/port';
import { END_COMPLETION_POLICY, END_CONFIG_SERVICE, END_RCB, END_SERVICE, LINK_MPS } from '../link-layout';
import { countForEarlier, restoreTotals, setTotalsAside } from './traffic';

/** Links take time: TLPs do not arrive before the call that sent them returns. */
export let isTimed: bool = false;
/** Ticks until the completer that has a request in hand answers. */
export let serviceTicks: u64 = 0;

let mps: u32 = 0;
let rcb: u32 = 0;
let policy: u32 = 0;
let origin: u32 = 0;
let isForeign: bool = false;
let isEarlier: bool = false;
/** Number of the last operation of the CPU. */
let lastOperation: u32 = 0;

export function setLastOperation(cause: u32): void {
  lastOperation = cause;
}

export function setTimed(on: bool): void {
  isTimed = on;
}

/** The function end of the link of `slot`; the root end stands before it. */
export function functionEnd(slot: u32): usize {
  return linkAt(slot) + PORT_STRIDE;
}

/** A function handles the request at descriptor `at`, which has its slot. */
export function enterFunction(at: usize): void {
  const kind = load<u8>(at, DESCRIPTOR_KIND);
  // The root complex has number 0; a request of anybody else is none of the access.
  const byCpu = load<u32>(at, DESCRIPTOR_H1) >> 16 == 0;
  const port = functionEnd(load<u16>(at, DESCRIPTOR_SLOT));
  enter(port, byCpu);
  isEarlier = byCpu && load<u32>(at, DESCRIPTOR_CAUSE) != lastOperation;
  store<u32>(PARAMS, ORIGIN_CPU, PARAM_ORIGIN);
  const isConfig = kind == KIND_CFGRD0 || kind == KIND_CFGWR0;
  serviceTicks = isConfig ? load<u64>(port, END_CONFIG_SERVICE) : load<u64>(port, END_SERVICE);
}

/** The root complex handles a TLP from the function in `slot`. */
export function enterRoot(slot: u32): void {
  const port = linkAt(slot);
  enter(port, false);
  store<u32>(PARAMS, slot + 1, PARAM_ORIGIN);
  serviceTicks = load<u64>(port, END_SERVICE);
}

function enter(port: usize, byCpu: bool): void {
  mps = load<u32>(PARAMS, PARAM_MPS);
  rcb = load<u32>(PARAMS, PARAM_RCB);
  policy = load<u32>(PARAMS, PARAM_COMPLETION_POLICY);
  origin = load<u32>(PARAMS, PARAM_ORIGIN);
  store<u32>(PARAMS, load<u32>(port, LINK_MPS), PARAM_MPS);
  store<u32>(PARAMS, load<u32>(port, END_RCB), PARAM_RCB);
  store<u32>(PARAMS, load<u32>(port, END_COMPLETION_POLICY), PARAM_COMPLETION_POLICY);
  isForeign = !byCpu;
  isEarlier = false;
  setTotalsAside();
}

export function leaveContext(): void {
  store<u32>(PARAMS, mps, PARAM_MPS);
  store<u32>(PARAMS, rcb, PARAM_RCB);
  store<u32>(PARAMS, policy, PARAM_COMPLETION_POLICY);
  store<u32>(PARAMS, origin, PARAM_ORIGIN);
  if (isForeign) restoreTotals();
  else if (isEarlier) countForEarlier();
}
