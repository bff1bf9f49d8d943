/** An SMMUv3 with a stream table, a context descriptor and tables of stage 1 that a test writes. */
import * as L from '../../assembly/layout.js';
import { defaultOptions } from '../../src/base/options.js';
import type { Core } from '../../src/core/core.js';
import { high32, low32 } from '../../src/core/u64.js';
import { type SmmuOptions, SmmuUnit, type SmmuUnitInput } from '../../src/iommu/smmu-unit.js';
import { goCold, hex, MEMORY, RAM_END } from './unit-lab.js';

export const STREAMS = 0x1000n;
export const DESCRIPTOR = 0x3000n;
export const TOP = 0x4000n;
export const SID = 0x20;
export const ASID = 9n;
export const OTHER = 0x5432_7000n;
/** A page: valid, AF, unprivileged accesses; a table. */
export const LEAF = 0x443n;
export const BLOCK = 0x441n;
export const TABLE = 3n;
export const READ_ONLY = 0x80n;

/** V, AA64, A, R, EPD1 and T0SZ. */
export function descriptorOf(t0sz: bigint, extra = 0n): bigint {
  return (
    t0sz |
    (1n << 30n) |
    (1n << 31n) |
    (4n << 32n) |
    (1n << 41n) |
    (1n << 45n) |
    (1n << 46n) |
    (ASID << 48n) |
    extra
  );
}

export class Smmu {
  readonly unit: SmmuUnit;
  private next = 0x8000n;
  private readonly tables = new Map<string, bigint>();

  constructor(
    readonly core: Core,
    options: Partial<SmmuOptions> = {},
    readonly t0sz = 16,
    input: Partial<SmmuUnitInput> = {},
  ) {
    const at = core.at(L.PLACE_HOST_MEMORY);
    core.u8.fill(0, at, at + MEMORY);
    core.x.unitMemory(0, 0, low32(RAM_END), high32(RAM_END), 0, 0);
    this.unit = new SmmuUnit(core, 0, { outputWidth: 44, ...input }, { ...defaultOptions(), ...options });
    this.unit.setStreamTable(STREAMS, 7);
    this.stream(SID, DESCRIPTOR | 0xbn);
    this.context({});
    this.unit.isOn = true;
  }

  poke(address: bigint, value: bigint): void {
    this.core.setLong(L.PLACE_HOST_MEMORY, Number(address), value);
  }

  peek(address: bigint): bigint {
    return this.core.long(L.PLACE_HOST_MEMORY, Number(address));
  }

  /** The stream table entry of `sid`: its first four words. */
  stream(sid: number, ...words: bigint[]): void {
    for (let n = 0; n < 4; n++) this.poke(STREAMS + 64n * BigInt(sid) + 8n * BigInt(n), words[n] ?? 0n);
  }

  context({ word = descriptorOf(BigInt(this.t0sz)), table = TOP, upper = 0n }): void {
    this.poke(DESCRIPTOR, word);
    this.poke(DESCRIPTOR + 8n, table);
    this.poke(DESCRIPTOR + 16n, upper);
  }

  /** Maps `address` with tables down to `level` of the architecture (3: pages); answers where the entry stands. */
  map(address: bigint, entry: bigint, level = 3): bigint {
    const bits = 64 - this.t0sz;
    let table = TOP;
    for (let at = 4 - Math.floor((bits - 4) / 9); ; at++) {
      const shift = BigInt(12 + 9 * (3 - at));
      const place = table + 8n * ((address >> shift) & 511n);
      if (at === level) {
        this.poke(place, entry);
        return place;
      }
      const name = hex(place);
      let below = this.tables.get(name);
      if (below === undefined) {
        below = this.next;
        this.next += 0x1000n;
        this.tables.set(name, below);
        this.poke(place, below | TABLE);
      }
      table = below;
    }
  }

  go(address: bigint, isWrite = false, isPrivileged = false, sid = SID): string {
    const answer = this.unit.translate({ sid, address, isWrite, isPrivileged });
    if (answer.kind === 'translated') return hex(BigInt(answer.address));
    return answer.kind === 'fault' ? `event ${answer.reason.toString(16)}` : answer.kind;
  }

  /** The same with tables that the unit knows, but not this page. */
  known(address: bigint, isWrite = false, isPrivileged = false, sid = SID): string {
    for (const vmid of [0, Number(VMID)]) {
      this.unit.invalidateAddress(Number(ASID), address, vmid, true);
      this.unit.invalidateIntermediate(vmid, address, true);
    }
    this.unit.takeEvents();
    return this.go(address, isWrite, isPrivileged, sid);
  }

  cold(address: bigint, isWrite = false, isPrivileged = false, sid = SID): string {
    const forget = (): void => {
      this.unit.invalidateTlb();
      this.unit.invalidateConfig();
      this.unit.takeEvents();
    };
    const go = (): string => this.go(address, isWrite, isPrivileged, sid);
    return goCold(this.core, { sid, address, isWrite, isPrivileged }, forget, go);
  }
}

export const VMID = 3n;
/** The top tables of stage 2, up to 16 of them, and where its next table goes. */
export const TOP_2 = 0x2_0000n;
const NEXT_2 = 0x4_0000n;
/** Stage 2: a page with AF, S2AP for both, normal memory. */
export const LEAF_2 = 0x4ffn;
export const BLOCK_2 = 0x4fdn;
/** A nested stream has its structures here, 2 MiB of intermediate addresses that are the first of memory. */
export const NESTED = 0x8000_0000n;

/** Word 2 of a stream table entry with stage 2: AArch64, recording, 44 bits of output, `size` T0SZ and `start` S2SL0. */
export function stage2Word({ size = 24n, start = 1n, outputs = 4n, extra = 0n, clear = 0n } = {}): bigint {
  const word = VMID | (size << 32n) | (start << 38n) | (outputs << 48n) | (1n << 51n) | (1n << 58n);
  return (word | extra) & ~clear;
}

/** Tables of stage 2, from the level that `start` (S2SL0) names. */
export class Stage2 {
  private next = NEXT_2;
  private readonly tables = new Map<string, bigint>();

  constructor(
    private readonly smmu: Smmu,
    readonly start = 1,
  ) {}

  /** Maps `address` with tables down to `level` of the architecture (3: pages); answers where the entry stands. */
  map(address: bigint, entry: bigint, level = 3): bigint {
    const first = 2 - this.start;
    let table = TOP_2;
    for (let at = first; ; at++) {
      const index = address >> BigInt(12 + 9 * (3 - at));
      const place = table + 8n * (at === first ? index : index & 511n);
      if (at === level) {
        this.smmu.poke(place, entry);
        return place;
      }
      const name = hex(place);
      let below = this.tables.get(name);
      if (below === undefined) {
        below = this.next;
        this.next += 0x1000n;
        this.tables.set(name, below);
        this.smmu.poke(place, below | TABLE);
      }
      table = below;
    }
  }
}

/** A stream with both stages: the structures of `smmu` are seen through stage 2, at NESTED. */
export function nest(smmu: Smmu, word = stage2Word(), bits = 0n): Stage2 {
  smmu.stream(SID, NESTED | DESCRIPTOR | 1n | (7n << 1n) | bits, 0n, word, TOP_2);
  smmu.context({ table: NESTED | TOP });
  const second = new Stage2(smmu);
  second.map(NESTED, BLOCK_2, 2);
  return second;
}

/** The event that was left: its number, and which stage and address it is of. */
export function describeEvent(one: Smmu): string {
  const [event] = one.unit.takeEvents().events;
  if (event === undefined) return 'none';
  const of = event.intermediate === undefined ? 'stage 1' : ['descriptor', 'table', 'input'][event.class];
  return `event ${event.type.toString(16)} of ${of}`;
}
