/** A VT-d unit with tables that a test writes: legacy mode, second stage, unless it says otherwise. */
import { expect } from 'vitest';
import * as I from '../../assembly/iommu-layout.js';
import * as L from '../../assembly/layout.js';
import { defaultOptions } from '../../src/base/options.js';
import { Core } from '../../src/core/core.js';
import { high32, low32 } from '../../src/core/u64.js';
import type { TranslationUnit } from '../../src/iommu/unit.js';
import { type UnitOptions, VtdUnit } from '../../src/iommu/vtd-unit.js';

export const MEMORY = 1 << 20;
/** End of RAM: what lies between it and MEMORY reads as zeros. */
export const RAM_END = 0x8000_0000n;
export const ROOT = 0x1000n;
export const CONTEXT = 0x2000n;
export const TOP = 0x4000n;
/** CAP with 39 and 48 bits, 2 MiB and 1 GiB pages, one fault record; ECAP with pass-through. */
export const CAP = 0xd2_008c_222f_0606n;
export const ECAP = 0xf0_0f4an;
export const SC = 1n << 7n;
export const DT = 1n << 2n;
export const SMTS = 1n << 43n;
export const SID = 0x20;
export const DID = 7;
export const READ = 1n;
export const WRITE = 2n;
export const RW = READ | WRITE;
export const LARGE = 0x80n;
/** An address of a device, and where its page is. */
export const IOVA = 0x12_3456_7000n;
export const PAGE = 0x5432_1000n;
export const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** Memory with tables, as a lab has it. */
export interface TableMemory {
  /** The 64-bit entry at `address`. */
  peek(address: bigint): bigint;
}

export interface LabInput {
  readonly cap?: bigint;
  readonly ecap?: bigint;
  readonly hostWidth?: number;
  readonly seed?: number;
  readonly options?: Partial<UnitOptions>;
}

/** An access as `unitRequest` takes it. */
export interface Access {
  readonly sid: number;
  readonly address: bigint;
  readonly isWrite: boolean;
  readonly isPrivileged?: boolean;
}

/** What requests of functions find, whose steps nobody lists: the block that the unit answers with. */
export function asFunction(core: Core, { sid, address, isWrite, isPrivileged = false }: Access): number[] {
  const flags = (isWrite ? I.REQUEST_WRITE : 0) | (isPrivileged ? I.REQUEST_PRIVILEGED : 0);
  core.x.unitRequest(0, sid, I.PASID_NONE, low32(address), high32(address), flags);
  return resultOf(core);
}

function resultOf(core: Core): number[] {
  return Array.from({ length: I.RESULT_BYTES / 4 }, (_, n) => core.word(L.PLACE_UNIT_RESULT, n * 4));
}

/** What `go` answers with nothing kept, `forget` having dropped it; a function's request has to find the same. */
export function goCold(core: Core, access: Access, forget: () => void, go: () => string): string {
  forget();
  const found = asFunction(core, access);
  forget();
  const answer = go();
  expect(resultOf(core)).toEqual(found);
  return answer;
}

/** Entries that `go` reads, and those that it need not read. */
export function reads(unit: TranslationUnit, go: () => unknown): [number, number] {
  const before = unit.counters;
  go();
  const { walkReads, savedReads } = unit.counters;
  return [walkReads - before.walkReads, savedReads - before.savedReads];
}

export class UnitLab {
  readonly unit: VtdUnit;
  /** Where the next table goes. */
  private next = 0x8000n;
  private readonly tables = new Map<string, bigint>();

  private constructor(
    private readonly core: Core,
    { cap = CAP, ecap = ECAP, hostWidth = 48, seed = 1, options = {} }: LabInput,
  ) {
    const at = core.at(L.PLACE_HOST_MEMORY);
    core.u8.fill(0, at, at + MEMORY);
    core.x.unitMemory(0, 0, low32(RAM_END), high32(RAM_END), 0, 0);
    this.unit = new VtdUnit(core, 0, { cap, ecap, hostWidth, seed }, { ...defaultOptions(), ...options });
    this.unit.rootTable = ROOT;
    this.poke(ROOT, CONTEXT | 1n);
    this.context({});
    this.unit.isOn = true;
  }

  static load(module: WebAssembly.Module): Promise<Core> {
    return Core.load(module, MEMORY, 0, 0, (x) => x.unitReserve(1, 4096, 64));
  }

  static on(core: Core, input: LabInput = {}): UnitLab {
    return new UnitLab(core, input);
  }

  poke(address: bigint, value: bigint): void {
    this.core.setLong(L.PLACE_HOST_MEMORY, Number(address), value);
  }

  peek(address: bigint): bigint {
    return this.core.long(L.PLACE_HOST_MEMORY, Number(address));
  }

  /** The context entry of `sid`: address width, translation type, further bits of both words. */
  context({ sid = SID, aw = 2n, low = 1n, high = 0n, top = TOP, did = BigInt(DID) }): void {
    const at = CONTEXT + BigInt(sid & 0xff) * 16n;
    this.poke(at, top | low);
    this.poke(at + 8n, aw | (did << 8n) | high);
  }

  /** Maps the page at `iova` with tables down to `level`, 1 for 4 KiB; answers the address of the entry. */
  map(iova: bigint, entry: bigint, { level = 1, levels = 4 } = {}): bigint {
    let table = TOP;
    for (let at = levels; ; at--) {
      const index = (iova >> BigInt(12 + 9 * (at - 1))) & 511n;
      const place = table + 8n * index;
      if (at === level) {
        this.poke(place, entry);
        return place;
      }
      const name = `${table}/${index}`;
      let below = this.tables.get(name);
      if (below === undefined) {
        below = this.next;
        this.next += 0x1000n;
        this.tables.set(name, below);
        this.poke(place, below | READ | WRITE);
      }
      table = below;
    }
  }

  /** Where an access goes, or what becomes of it: `fault 6`. */
  go(address: bigint, isWrite = false, sid = SID): string {
    const answer = this.unit.translate({ sid, address, isWrite });
    if (answer.kind === 'translated') return `0x${answer.address.toString(16)}`;
    return answer.kind === 'fault' ? `fault ${answer.reason.toString(16)}` : answer.kind;
  }

  /** The same with tables that the unit knows, but none of its pages. */
  known(address: bigint, isWrite = false, sid = SID): string {
    this.unit.invalidatePages(DID, 0n, 51, true);
    this.unit.clearFaults();
    return this.go(address, isWrite, sid);
  }

  /** The same, without what the unit has kept. */
  cold(address: bigint, isWrite = false, sid = SID): string {
    const forget = (): void => {
      this.unit.invalidateIotlb();
      this.unit.invalidateContexts();
      this.unit.clearFaults();
    };
    return goCold(this.core, { sid, address, isWrite }, forget, () => this.go(address, isWrite, sid));
  }
}
