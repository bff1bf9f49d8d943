/** A VT-d unit in scalable mode, with first-stage tables beside the second-stage ones of `UnitLab`. */
import type { Core } from '../../src/core/core.js';
import type { VtdRequest } from '../../src/iommu/vtd-unit.js';
import { CAP, ECAP, type LabInput, ROOT, SID, SMTS, TOP, UnitLab } from './unit-lab.js';

/** Capabilities: 1 GiB pages and 5 levels of the first stage; all that scalable mode has but snoop control. */
export const CAP_FIRST = CAP | (1n << 56n) | (1n << 60n);
export const ECAP_FIRST =
  ECAP | SMTS | [2n, 26n, 31n, 33n, 34n, 45n, 47n, 48n].reduce((sum, bit) => sum | (1n << bit), 0n);
export const NWFS = 1n << 33n;
export const SMPWCS = 1n << 48n;
/** Bits of first-stage entries. */
export const P = 1n;
export const RW1 = 2n;
export const US = 4n;
export const A1 = 1n << 5n;
export const D1 = 1n << 6n;
export const EA1 = 1n << 10n;
export const PAGE1 = P | RW1 | US;
/** Flags of second-stage entries. */
export const A2 = 1n << 8n;
export const D2 = 1n << 9n;
/** Fields of a PASID entry, by word. */
export const SSADE = 1n << 9n;
export const PWSNP = 1n << 23n;
export const PGSNP = 1n << 24n;
export const SRE = 1n;
export const FIVE = 1n << 2n;
export const WPE = 1n << 4n;
export const EAFE = 1n << 7n;
export const DTE = 4n;
export const PASIDE = 8n;

export const SCALABLE_CONTEXT = 0x2000n + BigInt(SID) * 32n;
export const DIRECTORY = 0x5000n;
export const PASID_TABLE = 0x6000n;
/** Where first-stage tables go; each further one stands above. */
export const FIRST_TOP = 0x8_0000n;
/** In nested mode first-stage tables are named by addresses this much higher. */
export const GUEST = 0x1_0000_0000n;
export const FIRST = 1n;
export const SECOND = 2n;
export const NESTED = 3n;
export const PASS = 4n;

export interface PasidInput {
  readonly type: bigint;
  readonly pasid?: number;
  readonly did?: bigint;
  /** Further bits of words 0, 1 and 2. */
  readonly low?: bigint;
  readonly high?: bigint;
  readonly first?: bigint;
  readonly top?: bigint;
}

export class ScalableLab {
  readonly lab: UnitLab;
  private next = FIRST_TOP + 0x1000n;
  private readonly tables = new Map<string, bigint>();

  constructor(core: Core, { cap = CAP_FIRST, ecap = ECAP_FIRST, ...input }: LabInput = {}) {
    this.lab = UnitLab.on(core, { ...input, cap, ecap });
    this.lab.unit.rootTable = ROOT | (1n << 10n);
    this.context({});
    this.lab.poke(DIRECTORY, PASID_TABLE | 1n);
  }

  /** The context entry: requests without a PASID use 63. */
  context({ low = DTE | PASIDE | 1n, rid = 63n }): void {
    this.lab.poke(SCALABLE_CONTEXT, DIRECTORY | low);
    this.lab.poke(SCALABLE_CONTEXT + 8n, rid);
  }

  /** A PASID entry, by default of the PASID that requests without one use. */
  pasid(input: PasidInput): void {
    const { type, pasid = 63, did = 3n, low = 0n, high = PWSNP, first = 0n, top } = input;
    const at = PASID_TABLE + 64n * BigInt(pasid);
    this.lab.poke(at, TOP | low | (type << 6n) | (2n << 2n) | 1n);
    this.lab.poke(at + 8n, did | high);
    this.lab.poke(at + 16n, (top ?? (type === NESTED ? GUEST | FIRST_TOP : FIRST_TOP)) | first);
  }

  /** Maps a page in the first stage; answers where its entry stands. */
  map(
    address: bigint,
    entry: bigint,
    { level = 1, levels = 4, top = FIRST_TOP, offset = 0n, table: bits = PAGE1 } = {},
  ): bigint {
    let table = top;
    for (let at = levels; ; at--) {
      const index = (address >> BigInt(12 + 9 * (at - 1))) & 511n;
      const place = table + 8n * index;
      if (at === level) {
        this.lab.poke(place, entry);
        return place;
      }
      const name = `${table}/${index}`;
      let below = this.tables.get(name);
      if (below === undefined) {
        below = this.next;
        this.next += 0x1000n;
        this.tables.set(name, below);
        this.lab.poke(place, (below + offset) | bits);
      }
      table = below;
    }
  }

  /** The entry at `level` on the way to `address`. */
  place(address: bigint, level: number, { levels = 4, top = FIRST_TOP, offset = 0n } = {}): bigint {
    let table = top;
    for (let at = levels; ; at--) {
      const place = table + 8n * ((address >> BigInt(12 + 9 * (at - 1))) & 511n);
      if (at === level) return place;
      table = (this.lab.peek(place) & 0xf_ffff_ffff_f000n) - offset;
    }
  }

  /** Where an access goes, or what becomes of it. */
  go(address: bigint, request: Partial<VtdRequest> = {}): string {
    const answer = this.lab.unit.translate({ sid: SID, isWrite: false, ...request, address });
    if (answer.kind === 'translated') return `0x${answer.address.toString(16)}`;
    return answer.kind === 'fault' ? `fault ${answer.reason.toString(16)}` : answer.kind;
  }

  /** The same with tables that the unit knows, but none of its pages. */
  known(address: bigint, request: Partial<VtdRequest> = {}): string {
    this.lab.unit.invalidatePages(3, 0n, 51, true);
    this.lab.unit.clearFaults();
    return this.go(address, request);
  }

  /** The same, without what the unit has kept. */
  cold(address: bigint, request: Partial<VtdRequest> = {}): string {
    this.lab.unit.invalidateIotlb();
    this.lab.unit.invalidateContexts();
    this.lab.unit.clearFaults();
    return this.go(address, request);
  }
}
