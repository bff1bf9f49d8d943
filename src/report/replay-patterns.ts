/** Which TLPs an access of a trace becomes: each kind of access is split once and remembered. */
import { type OptionInput, resolveOptions } from '../base/options.js';
import { splitAccess } from '../path/split.js';
import { splitCompletion } from '../tlp/split.js';
import type { Tlp, TlpType } from '../tlp/types.js';
import type { MmioAccess } from '../trace/mmiotrace.js';

/** TLPs of one kind. Requests from 4 GiB on have 4 header DWs; `lengthDw` is the Length field. */
export interface TlpCount {
  readonly type: TlpType;
  readonly headerDw: 3 | 4;
  readonly lengthDw: number;
  readonly count: number;
}

/** What some accesses have in common: the TLPs they become. */
export interface Pattern {
  readonly tlps: readonly Tlp[];
  readonly payloadBytesDown: number;
  readonly payloadBytesUp: number;
  readonly wireBytesDown: number;
  readonly wireBytesUp: number;
  /** Accesses with this pattern so far. */
  accesses: number;
}

const TWO_32 = 2 ** 32;

/** On which side of 4 GiB an access lies, as headers depend on it, and a page of the bus that stands for its own. */
const BELOW_4G = 0;
const ABOVE_4G = 1;
const ACROSS_4G = 2;
const PAGES = [0, TWO_32, TWO_32 - 4096] as const;

/** The patterns of one replay. There are few: what is remembered per access is only which one it has. */
export class Patterns {
  private readonly byAccess = new Map<number, Pattern>();
  /** Each different pattern once, by its text. */
  private readonly byText = new Map<string, Pattern>();

  constructor(private readonly options: OptionInput) {
    resolveOptions(options); // a wrong option is wrong also for a log without accesses
  }

  /**
   * The pattern of an access. It depends on direction, width, place in the page (the path cuts at 64 bytes at most,
   * the bus at 4 KiB) and on the side of 4 GiB, so each combination is worked out once. The end of the 64-bit space
   * needs no case of its own: processors have fewer address bits.
   */
  of({ kind, width, lo, hi }: MmioAccess): Pattern {
    const low = lo & 0xfff;
    const side = hi !== 0 ? ABOVE_4G : lo + width > TWO_32 ? ACROSS_4G : BELOW_4G;
    const key = low | (side << 12) | (width << 14) | (kind === 'read' ? 0 : 1 << 18);
    let pattern = this.byAccess.get(key);
    if (pattern === undefined) {
      pattern = this.workOut(kind, width, low, PAGES[side]);
      this.byAccess.set(key, pattern);
    }
    return pattern;
  }

  /** The sum of something over all accesses. */
  sum(what: (pattern: Pattern) => number): number {
    return [...this.byText.values()].reduce((sum, pattern) => sum + pattern.accesses * what(pattern), 0);
  }

  /** TLPs by kind: requests before completions, short ones first. */
  counts(): TlpCount[] {
    const kinds = new Map<string, TlpCount>();
    for (const { tlps, accesses } of this.byText.values()) {
      for (const { type, headerDw, length } of tlps) {
        const key = `${type} ${headerDw} ${length}`;
        const count = (kinds.get(key)?.count ?? 0) + accesses;
        kinds.set(key, { type, headerDw, lengthDw: length, count });
      }
    }
    const order: readonly TlpType[] = ['MRd', 'MWr', 'CplD'];
    const rank = (kind: TlpCount): number =>
      order.indexOf(kind.type) * 8192 + kind.headerDw * 1024 + kind.lengthDw;
    return [...kinds.values()].sort((a, b) => rank(a) - rank(b));
  }

  private workOut(op: 'read' | 'write', bytes: number, offset: number, base: number): Pattern {
    const { options } = this;
    const { tlps: requests, totals } = splitAccess('x86-uc', { op, bytes, offset, base, options });
    const completions =
      op === 'read' ? requests.flatMap((request) => splitCompletion({ request, options })) : [];
    const tlps = [...requests, ...completions];
    const text = tlps.map(({ type, headerDw, length }) => `${type} ${headerDw} ${length}`).join();
    let pattern = this.byText.get(text);
    if (pattern === undefined) {
      const { payloadBytesDown, payloadBytesUp, wireBytesDown, wireBytesUp } = totals;
      pattern = { tlps, payloadBytesDown, payloadBytesUp, wireBytesDown, wireBytesUp, accesses: 0 };
      this.byText.set(text, pattern);
    }
    return pattern;
  }
}
