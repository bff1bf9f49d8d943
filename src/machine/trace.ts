/** Records the TLPs that cross a machine, in order. Off by default: a machine that nobody watches keeps none. */
import * as L from '../../assembly/layout.js';
import type { Core } from '../core/core.js';
import { decodeDescriptor } from '../tlp/codec.js';
import type { Tlp } from '../tlp/types.js';
import type { Links } from './links.js';

/** One TLP as it passed: what it was, which way it went, what it carried. */
export interface TracedTlp {
  readonly tlp: Tlp;
  /** `down` towards the function, `up` towards the root complex. */
  readonly direction: 'down' | 'up';
  /** Function slot at the device end; undefined when nobody claimed the TLP. */
  readonly slot: number | undefined;
  /**
   * Of a function's request for host memory: whether caches were asked, and whether a translation unit took No Snoop away. Of
   * one that a unit did not let pass: `denied`. Undefined for what has nothing to do with caches.
   */
  readonly snoop?: 'snooped' | 'not-snooped' | 'stripped' | 'denied';
  /** Data DWs in memory order; bytes that are not enabled are unspecified on a bus and 0 here. */
  readonly data: Uint8Array;
  /**
   * Timed fidelity: when the first byte left the sender, and when the last one was at the receiver, ns. What no link
   * carried, since nobody claimed it, has one time for both. A TLP that was sent again counts from its last try.
   */
  readonly sentNs?: number;
  readonly arrivedNs?: number;
}

export class TlpTrace {
  private readonly core: Core;
  private readonly changed: () => void;
  private records: TracedTlp[] = [];
  private on = false;
  private readonly links: Links | undefined;

  /** `changed` is called when recording starts or stops. `links` of a timed machine say when TLPs left. */
  constructor(core: Core, changed: () => void, links?: Links) {
    this.core = core;
    this.changed = changed;
    this.links = links;
  }

  get enabled(): boolean {
    return this.on;
  }

  start(): void {
    this.on = true;
    this.changed();
  }

  stop(): void {
    this.on = false;
    this.changed();
  }

  /** The TLPs since the last call, in the order of delivery. */
  take(): TracedTlp[] {
    const taken = this.records;
    this.records = [];
    return taken;
  }

  /** Copies what the core kept; called by the machine whenever the core asks or an access ended. */
  drain(): void {
    if (!this.on) return;
    this.core.drain((at) => {
      // On its way from one function to another a TLP is seen at one of its links.
      const flags = ((this.core.u32[(at + L.DESCRIPTOR_KIND) >>> 2] as number) >>> 8) & 0xff;
      if ((flags & L.FLAG_PASSING) === 0) this.records.push(this.read(at));
    });
  }

  private read(at: number): TracedTlp {
    const word = (offset: number): number => this.core.u32[(at + offset) >>> 2] as number;
    const tlp = decodeDescriptor(this.core, at);
    const slot = word(L.DESCRIPTOR_KIND) >>> 16;
    const flags = (word(L.DESCRIPTOR_KIND) >>> 8) & 0xff;
    const isUp = (flags & L.FLAG_UPSTREAM) !== 0;
    const from = word(L.DESCRIPTOR_PAYLOAD);
    const data = this.core.u8.slice(from, from + word(L.DESCRIPTOR_BYTES));
    maskDisabled(tlp, data);
    const isClaimed = slot !== L.SLOT_NONE;
    const row = {
      tlp,
      direction: isUp ? 'up' : 'down',
      slot: isClaimed ? slot : undefined,
      data,
      ...snoopOf(flags),
    } as const;
    if (this.links === undefined) return row;
    const ticks = word(L.DESCRIPTOR_TICK) + word(L.DESCRIPTOR_TICK + 4) * 2 ** 32;
    const sent = isClaimed ? this.links.sentTicks(slot, ticks, word(L.DESCRIPTOR_WIRE)) : ticks;
    return { ...row, sentNs: sent / L.TICKS_PER_NS, arrivedNs: ticks / L.TICKS_PER_NS };
  }
}

function snoopOf(flags: number): Pick<TracedTlp, 'snoop'> {
  if ((flags & L.FLAG_DENIED) !== 0) return { snoop: 'denied' };
  if ((flags & L.FLAG_NON_COHERENT) !== 0) return { snoop: 'not-snooped' };
  if ((flags & L.FLAG_STRIPPED) !== 0) return { snoop: 'stripped' };
  return (flags & L.FLAG_SNOOPED) === 0 ? {} : { snoop: 'snooped' };
}

/** Bytes that a request does not enable belong to nobody: 0. */
function maskDisabled(tlp: Tlp, data: Uint8Array): void {
  if (tlp.flow === 'CPL' || data.length === 0) return;
  const last = data.length - 4;
  for (let n = 0; n < 4; n++) {
    if (((tlp.firstBe >> n) & 1) === 0) data[n] = 0;
    if (tlp.length > 1 && ((tlp.lastBe >> n) & 1) === 0) data[last + n] = 0;
  }
}
