/** ATS: entries of translation completions, the cache of an endpoint, and what a unit remembers of its answers (iommu.md 7). */
import { inRange, invalid } from '../base/errors.js';
import { checkU64, type U64 } from '../core/u64.js';
import type { UnitAnswer } from './unit.js';

/** A translation as a completion carries it (PCI Express base specification 10.2.3). */
export interface AtsEntry {
  /** Address of the page; its low bits do not count. 0 where there is no access. */
  readonly address: U64;
  /** Log2 of the bytes of the page, 12 to 63. */
  readonly pageLg2: number;
  readonly read: boolean;
  readonly write: boolean;
  /** N: requests that use the translation have No Snoop clear. */
  readonly forcesSnoop: boolean;
  /** U: the page is to be accessed by untranslated requests alone. */
  readonly untranslatedOnly: boolean;
}

/** What an endpoint gets for a request for a translation. */
export type AtsCompletion =
  | { readonly status: 'success'; readonly entry: AtsEntry }
  | { readonly status: 'unsupported-request' | 'completer-abort' };

const READ = 1n;
const WRITE = 2n;
const UNTRANSLATED_ONLY = 4n;
const NON_SNOOPED = 1n << 10n;
const SIZE = 1n << 11n;
const SMALLEST_LG2 = 12;
const LARGEST_LG2 = 63;

/** The 8 bytes of an entry as a number; on the wire the highest byte comes first. Throws ZtlpError for other sizes of pages. */
export function encodeAtsEntry(entry: AtsEntry): bigint {
  const lg2 = BigInt(inRange('pageLg2', entry.pageLg2, SMALLEST_LG2, LARGEST_LG2));
  const page = (BigInt(checkU64('address', entry.address)) >> lg2) << lg2;
  // Below the size the address has a 0 under as many 1s as it takes: bit 12 alone for 8 KiB.
  const size = lg2 === 12n ? 0n : SIZE | ((1n << (lg2 - 1n)) - (1n << 12n));
  return (
    page |
    size |
    (entry.forcesSnoop ? NON_SNOOPED : 0n) |
    (entry.untranslatedOnly ? UNTRANSLATED_ONLY : 0n) |
    (entry.write ? WRITE : 0n) |
    (entry.read ? READ : 0n)
  );
}

/** Log2 of the size that 1s from bit 12 of an address up say, 13 to 64. */
function sizeOf(word: bigint): number {
  let lg2 = 13;
  while (((word >> BigInt(lg2 - 1)) & 1n) === 1n) lg2 += 1;
  return Math.min(lg2, 64);
}

/** What an Invalidate Request means: a page, or with `isLarge` (S) the region that its address says, up to everything. */
export function invalidationRange(
  address: U64,
  isLarge: boolean,
): { readonly first: bigint; readonly last: bigint } {
  const word = BigInt(checkU64('address', address));
  const lg2 = BigInt(isLarge ? sizeOf(word) : SMALLEST_LG2);
  const first = (word >> lg2) << lg2;
  return { first, last: first + (1n << lg2) - 1n };
}

/** The entry of 8 bytes. Throws ZtlpError where the size is not a number of address bits (all of them 1). */
export function decodeAtsEntry(value: U64): AtsEntry {
  const word = BigInt(checkU64('value', value));
  const pageLg2 = (word & SIZE) === 0n ? SMALLEST_LG2 : sizeOf(word);
  if (pageLg2 > LARGEST_LG2)
    throw invalid('value', value, 'with S an address that has a 0 in bits 62:12', 'malformed');
  const lg2 = BigInt(pageLg2);
  return {
    address: (word >> lg2) << lg2,
    pageLg2,
    read: (word & READ) !== 0n,
    write: (word & WRITE) !== 0n,
    forcesSnoop: (word & NON_SNOOPED) !== 0n,
    untranslatedOnly: (word & UNTRANSLATED_ONLY) !== 0n,
  };
}

/** Reasons of VT-d for which a request for a translation is unsupported; the others abort it (specification 7.1.3). */
const UNSUPPORTED: readonly number[] = [1, 2, 0xd, 0x31, 0x33, 0x39, 0x41, 0x44, 0x45, 0x46, 0x48];

/** The completion for `answer` of a VT-d unit to a request for a translation. No access is a success without permissions. */
export function completionOf(answer: UnitAnswer): AtsCompletion {
  if (answer.kind === 'refused') return { status: 'unsupported-request' };
  if (answer.kind === 'fault')
    return { status: UNSUPPORTED.includes(answer.reason) ? 'unsupported-request' : 'completer-abort' };
  const untranslatedOnly = answer.kind === 'message';
  const none = { address: 0, pageLg2: SMALLEST_LG2, read: false, forcesSnoop: false, untranslatedOnly };
  if (untranslatedOnly) return { status: 'success', entry: { ...none, write: true } };
  const { address, pageLg2, permissions, forcesSnoop } = answer;
  if (!permissions.read && !permissions.write) return { status: 'success', entry: { ...none, write: false } };
  const lg2 = BigInt(pageLg2);
  const page = (BigInt(address) >> lg2) << lg2;
  return {
    status: 'success',
    entry: { ...permissions, address: page, pageLg2, forcesSnoop, untranslatedOnly },
  };
}

interface Kept<T> {
  readonly owner: number;
  readonly first: bigint;
  readonly last: bigint;
  readonly value: T;
  readonly order: number;
}

/** Values by pages of any size; where pages overlap, the newest counts. With `most` of them the oldest goes. */
class PageMap<T> {
  private readonly pages = new Map<string, Kept<T>>();
  private readonly sizes = new Map<number, number>();
  private order = 0;

  constructor(private readonly most: number) {}

  set(owner: number, address: bigint, lg2: number, value: T): void {
    const key = keyOf(owner, address, lg2);
    this.drop(key, lg2);
    if (this.pages.size >= this.most) {
      const [oldest] = this.pages;
      if (oldest !== undefined) this.drop(oldest[0], lg2Of(oldest[1]));
    }
    const first = (address >> BigInt(lg2)) << BigInt(lg2);
    this.order += 1;
    this.pages.set(key, { owner, first, last: first + (1n << BigInt(lg2)) - 1n, value, order: this.order });
    this.sizes.set(lg2, (this.sizes.get(lg2) ?? 0) + 1);
  }

  get(owner: number, address: bigint): Kept<T> | undefined {
    let newest: Kept<T> | undefined;
    for (const lg2 of this.sizes.keys()) {
      const found = this.pages.get(keyOf(owner, address, lg2));
      if (found !== undefined && found.order > (newest?.order ?? 0)) newest = found;
    }
    return newest;
  }

  /** Drops the pages of `owner`, without it of all, that have an address in [first, last]. */
  dropRange(first: bigint, last: bigint, owner?: number): void {
    for (const [key, kept] of this.pages)
      if (kept.first <= last && kept.last >= first && (owner === undefined || kept.owner === owner))
        this.drop(key, lg2Of(kept));
  }

  private drop(key: string, lg2: number): void {
    if (!this.pages.delete(key)) return;
    const left = (this.sizes.get(lg2) ?? 0) - 1;
    if (left > 0) this.sizes.set(lg2, left);
    else this.sizes.delete(lg2);
  }
}

function keyOf(owner: number, address: bigint, lg2: number): string {
  return `${owner}/${lg2}/${address >> BigInt(lg2)}`;
}

function lg2Of({ first, last }: { readonly first: bigint; readonly last: bigint }): number {
  return (last - first).toString(2).length;
}

/** Answers that a unit remembers at most; what it has forgotten is no violation. */
const GRANTS_MOST = 65_536;

/** What a unit handed out to its requesters: whether translated requests keep to N (iommu.md 7). */
export class AtsGrants {
  private readonly pages = new PageMap<boolean>(GRANTS_MOST);

  /** Requester `sid` has been given `entry`. */
  grant(sid: number, { address, pageLg2, read, write, forcesSnoop, untranslatedOnly }: AtsEntry): void {
    if (untranslatedOnly || (!read && !write)) return;
    this.pages.set(sid, BigInt(address), pageLg2, forcesSnoop);
  }

  /** A translated request with No Snoop set goes to a page whose last translation had N. */
  isViolation(sid: number, address: U64): boolean {
    return this.pages.get(sid, BigInt(address))?.value ?? false;
  }
}

/** What an endpoint sends for an access, by its cache. */
export type AtsAccess =
  /** AT 10, to `address`. */
  | { readonly kind: 'translated'; readonly address: U64; readonly noSnoop: boolean }
  /** AT 00, with the address that it has: the page is for untranslated requests alone. */
  | { readonly kind: 'untranslated'; readonly address: U64; readonly noSnoop: boolean }
  /** Nothing: a translation has to be asked for first. */
  | { readonly kind: 'miss' }
  /** Nothing: the translation does not allow it. */
  | { readonly kind: 'denied' };

/** Owner of translations without a PASID. */
const NO_PASID = -1;

/** The address translation cache of an endpoint (device TLB). */
export class AddressTranslationCache {
  private readonly pages: PageMap<AtsEntry>;

  /** Room for `entries` translations, 1 to 65536; when it is full the oldest goes. */
  constructor(entries: number) {
    this.pages = new PageMap(inRange('entries', entries, 1, 65_536));
  }

  /** Keeps the answer for `address`. Answers without access are not kept: the next access asks again. */
  store(address: U64, entry: AtsEntry, pasid?: number): void {
    if (!entry.read && !entry.write) return;
    const at = BigInt(checkU64('address', address));
    this.pages.set(ownerOf(pasid), at, inRange('pageLg2', entry.pageLg2, SMALLEST_LG2, LARGEST_LG2), entry);
  }

  /** How to send an access; with N No Snoop is taken away from it. */
  access(
    address: U64,
    {
      isWrite,
      noSnoop,
      pasid,
    }: { readonly isWrite: boolean; readonly noSnoop: boolean; readonly pasid?: number },
  ): AtsAccess {
    const at = BigInt(checkU64('address', address));
    const found = this.pages.get(ownerOf(pasid), at);
    if (found === undefined) return { kind: 'miss' };
    const entry = found.value;
    if (!(isWrite ? entry.write : entry.read)) return { kind: 'denied' };
    if (entry.untranslatedOnly) return { kind: 'untranslated', address, noSnoop };
    const inPage = (1n << BigInt(entry.pageLg2)) - 1n;
    return {
      kind: 'translated',
      address: (BigInt(entry.address) & ~inPage) | (at & inPage),
      noSnoop: noSnoop && !entry.forcesSnoop,
    };
  }

  /** An Invalidate Request: translations of [first, last] go, of `pasid`, or of requests without one; `all`: of both. */
  invalidate(first: U64, last: U64, pasid?: number | 'all'): void {
    const from = BigInt(checkU64('first', first));
    const to = BigInt(checkU64('last', last));
    if (to < from) throw invalid('last', last, 'an address from `first` on', 'out-of-range');
    if (pasid === 'all') this.pages.dropRange(from, to);
    else this.pages.dropRange(from, to, ownerOf(pasid));
  }
}

function ownerOf(pasid: number | undefined): number {
  return pasid === undefined ? NO_PASID : inRange('pasid', pasid, 0, 0xf_ffff);
}
