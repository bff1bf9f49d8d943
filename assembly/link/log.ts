// Floor 3: the first packets that an end sends, for who wants to see them.

import { LINK_LOG_ROOM, LINK_LOGGED, LOG_SLOTS, LOG_STRIDE, LOG_TLP } from '../link-layout';
import { PORTS, TLP_H0, TLP_H2 } from './port';

/** Of the two ends of the first link; the host gives room to no others. */
export const LOGS: usize = memory.data(2 * LOG_SLOTS * LOG_STRIDE, 16);

/** The log of this end has room. */
export function logs(port: usize): bool {
  return load<u32>(port, LINK_LOGGED) < load<u32>(port, LINK_LOG_ROOM);
}

/** Notes a packet that begins at `now`. `what` is LOG_*; a TLP stands at `tlp`. Call when `logs`. */
export function log(port: usize, now: u64, what: u32, value: u32, tlp: usize): void {
  const index = load<u32>(port, LINK_LOGGED);
  const end: usize = port == PORTS ? 0 : 1;
  const at = LOGS + (end * LOG_SLOTS + <usize>index) * LOG_STRIDE;
  store<u64>(at, now);
  store<u64>(at, <u64>what | ((<u64>value) << 32), 8);
  const isTlp = (what & 7) == LOG_TLP;
  store<u64>(at, isTlp ? load<u64>(tlp, TLP_H0) : 0, 16);
  store<u64>(at, isTlp ? load<u64>(tlp, TLP_H2) : 0, 24);
  store<u32>(port, index + 1, LINK_LOGGED);
}
