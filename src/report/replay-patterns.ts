/** Which TLPs an access of a trace becomes: each kind of access is split once and remembered. */
import { type OptionInput, resolveOptions } from '../base/options.js';
import { splitAccess } from '../path/split.js';
import { decodeTlp, encodeTlp } from '../tlp/codec.js';
import { splitCompletion } from '../tlp/split.js';
import type { Tlp, TlpInput, TlpType } from '../tlp/types.js';
import type { Access } from '../trace/access.js';

/** TLPs of one kind. Requests from 4 GiB on have 4 header DWs; `lengthDw` is the Length field. */
export interface TlpCount {
  readonly type: TlpType;
  readonly headerDw: 3 | 4;
  readonly lengthDw: number;
  readonly count: number;
}

/** What one access costs: operations on its way, TLPs and bytes. "Down" is towards the device. */
export interface Cost {
  readonly guestInstructions: number;
  readonly exits: number;
  readonly systemCalls: number;
  readonly hostOperations: number;
  readonly deviceCalls: number;
  /** Requests and completions. */
  readonly tlpCount: number;
  readonly wireBytesDown: number;
  readonly wireBytesUp: number;
}

/** What some accesses have in common: the TLPs they become. */
export interface Pattern extends Cost {
  readonly tlps: readonly Tlp[];
  readonly payloadBytesDown: number;
  readonly payloadBytesUp: number;
  /** The path refuses such an access; it makes no TLPs. */
  readonly refused: boolean;
  /** Accesses with this pattern so far. */
  accesses: number;
}

/** Access paths that a trace can have been recorded on: a processor's own, before any splitting. */
export type RecordedPath = 'x86-uc' | 'zpci-pcistg8';

const TWO_32 = 2 ** 32;

/** On which side of 4 GiB bytes lie, as headers depend on it. */
export type Side = 0 | 1 | 2;
const BELOW_4G = 0;
const ABOVE_4G = 1;
const ACROSS_4G = 2;
/** For each side a page of the bus that stands for the page of the access. */
export const PAGES = [0, TWO_32, TWO_32 - 4096] as const;

/** The side of bytes [address, address + bytes). The end of the 64-bit space is nothing special: no CPU reaches it. */
export function sideOf(lo: number, hi: number, bytes: number): Side {
  return hi !== 0 ? ABOVE_4G : lo + bytes > TWO_32 ? ACROSS_4G : BELOW_4G;
}

/** Requests of the spaces that have 1 DW per request and wait for a completion (PCIe base specification 2.2.7). */
const NON_POSTED = {
  config: { read: 'CfgRd0', write: 'CfgWr0' },
  io: { read: 'IORd', write: 'IOWr' },
} as const;

/** In the order of reports. */
const ORDER: readonly TlpType[] = ['MRd', 'MWr', 'IORd', 'IOWr', 'CfgRd0', 'CfgWr0', 'Cpl', 'CplD'];

/** Types that go up, back to the requester. */
export const isCompletion = (type: TlpType): boolean => type === 'Cpl' || type === 'CplD';

/** The patterns of one replay. There are few: what is remembered per access is only which one it has. */
export class Patterns {
  private readonly byAccess = new Map<number, Pattern>();
  /** Each different pattern once, by its text. */
  private readonly byText = new Map<string, Pattern>();

  constructor(
    private readonly path: RecordedPath,
    private readonly options: OptionInput,
  ) {
    resolveOptions(options); // a wrong option is wrong also for a log without accesses
  }

  /**
   * The pattern of an access. It depends on space, direction, width, place in the page (the path cuts at 64 bytes at
   * most, the bus at 4 KiB) and on the side of 4 GiB, so each combination is worked out once.
   */
  of({ op, space, width, addressLo: lo, addressHi: hi }: Access): Pattern {
    const low = lo & 0xfff;
    const side = space === 'memory' ? sideOf(lo, hi, width) : BELOW_4G;
    const key =
      low | (side << 12) | (width << 14) | (op === 'read' ? 0 : 1 << 18) | (SPACE_BITS[space] << 19);
    let pattern = this.byAccess.get(key);
    if (pattern === undefined) {
      pattern =
        space === 'memory'
          ? this.memory(op, width, low, PAGES[side])
          : space === 'platform'
            ? this.share(`${op} platform`, { ...NOTHING, guestInstructions: 1, tlps: [] })
            : this.nonPosted(NON_POSTED[space][op], op, width, low);
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
    const rank = (kind: TlpCount): number =>
      ORDER.indexOf(kind.type) * 8192 + kind.headerDw * 1024 + kind.lengthDw;
    return [...kinds.values()].filter(({ count }) => count > 0).sort((a, b) => rank(a) - rank(b));
  }

  private memory(op: 'read' | 'write', bytes: number, offset: number, base: number): Pattern {
    const { options, path } = this;
    const { tlps: requests, totals, fault } = splitAccess(path, { op, bytes, offset, base, options });
    if (fault !== undefined) return this.share('refused', { ...NOTHING, tlps: [], refused: true });
    const completions =
      op === 'read' ? requests.flatMap((request) => splitCompletion({ request, options })) : [];
    const tlps = [...requests, ...completions];
    return this.share(op, { ...totals, tlps, tlpCount: tlps.length, refused: false });
  }

  /** One request and one completion for each DW that is touched. */
  private nonPosted(type: TlpType, op: 'read' | 'write', bytes: number, offset: number): Pattern {
    const tlps: Tlp[] = [];
    for (let at = offset; at < offset + bytes; ) {
      const end = Math.min(offset + bytes, (at | 3) + 1);
      const firstBe = ((1 << (end - at)) - 1) << (at & 3);
      const place = type.startsWith('Cfg') ? { register: at & 0xffc } : { address: at & ~3 };
      tlps.push(madeTlp({ type, ...place, firstBe, lastBe: 0 }, op === 'write'));
      tlps.push(madeTlp({ type: op === 'read' ? 'CplD' : 'Cpl' }, op === 'read'));
      at = end;
    }
    const sum = (up: boolean, what: (tlp: Tlp) => number): number =>
      tlps.filter((tlp) => isCompletion(tlp.type) === up).reduce((total, tlp) => total + what(tlp), 0);
    return this.share(op, {
      ...NOTHING,
      guestInstructions: 1,
      hostOperations: tlps.length / 2,
      tlps,
      tlpCount: tlps.length,
      payloadBytesDown: sum(false, (tlp) => tlp.payloadBytes),
      payloadBytesUp: sum(true, (tlp) => tlp.payloadBytes),
      wireBytesDown: sum(false, (tlp) => tlp.wireBytes),
      wireBytesUp: sum(true, (tlp) => tlp.wireBytes),
    });
  }

  /** The one pattern with these TLPs and operations. */
  private share(name: string, made: Omit<Pattern, 'accesses'>): Pattern {
    const { tlps, guestInstructions, exits, systemCalls, hostOperations, deviceCalls } = made;
    const kinds = tlps.map(({ type, headerDw, length }) => `${type} ${headerDw} ${length}`).join();
    const text = `${name} ${kinds} ${guestInstructions} ${hostOperations}`;
    let pattern = this.byText.get(text);
    if (pattern === undefined) {
      const { tlpCount, refused, payloadBytesDown, payloadBytesUp, wireBytesDown, wireBytesUp } = made;
      const operations = { guestInstructions, exits, systemCalls, hostOperations, deviceCalls };
      const bytes = { payloadBytesDown, payloadBytesUp, wireBytesDown, wireBytesUp };
      pattern = { ...operations, ...bytes, tlps, tlpCount, refused, accesses: 0 };
      this.byText.set(text, pattern);
    }
    return pattern;
  }
}

const SPACE_BITS = { memory: 0, config: 1, io: 2, platform: 3 } as const;

/** A cost of nothing at all. */
export const NO_COST = {
  guestInstructions: 0,
  exits: 0,
  systemCalls: 0,
  hostOperations: 0,
  deviceCalls: 0,
  tlpCount: 0,
  wireBytesDown: 0,
  wireBytesUp: 0,
} as const satisfies Cost;

const NOTHING = { ...NO_COST, payloadBytesDown: 0, payloadBytesUp: 0, refused: false } as const;

/** A TLP with every field that follows from its header, its wire bytes among them. */
function madeTlp(input: TlpInput, withData: boolean): Tlp {
  return decodeTlp(encodeTlp(input, withData ? new Uint8Array(4) : undefined));
}
