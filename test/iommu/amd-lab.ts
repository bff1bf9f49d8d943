/** An AMD-Vi unit with a device table and host tables that a test writes. */
import * as L from '../../assembly/layout.js';
import { defaultOptions } from '../../src/base/options.js';
import type { Core } from '../../src/core/core.js';
import { high32, low32 } from '../../src/core/u64.js';
import { type AmdOptions, AmdUnit, type AmdUnitInput } from '../../src/iommu/amd-unit.js';
import { goCold, hex, MEMORY, RAM_END } from './unit-lab.js';

export const DEVICES = 0x1000n;
export const ROOT = 0x4000n;
export const SID = 0x20;
export const DOMAIN = 7;
export const PRESENT = 1n;
export const READ = 1n << 61n;
export const WRITE = 1n << 62n;
export const RW = READ | WRITE;
export const FORCE = 1n << 60n;
export const next = (level: number): bigint => BigInt(level) << 9n;

/** The address field of a page of 2^`lg2` bytes at `page` with NextLevel 7: ones from bit 12 up, and a zero. */
export function encoded(page: bigint, lg2: number): bigint {
  return (page & ~((1n << BigInt(lg2)) - 1n)) | ((1n << BigInt(lg2 - 1)) - 0x1000n);
}

export class AmdLab {
  readonly unit: AmdUnit;
  private next = 0x8000n;
  private readonly tables = new Map<string, bigint>();

  constructor(
    private readonly core: Core,
    input: AmdUnitInput = {},
    options: Partial<AmdOptions> = {},
  ) {
    const at = core.at(L.PLACE_HOST_MEMORY);
    core.u8.fill(0, at, at + MEMORY);
    core.x.unitMemory(0, 0, low32(RAM_END), high32(RAM_END), 0, 0);
    this.unit = new AmdUnit(core, 0, input, { ...defaultOptions(), ...options });
    this.unit.setDeviceTable(DEVICES, 1);
    this.device({});
    this.unit.isOn = true;
  }

  poke(address: bigint, value: bigint): void {
    this.core.setLong(L.PLACE_HOST_MEMORY, Number(address), value);
  }

  peek(address: bigint): bigint {
    return this.core.long(L.PLACE_HOST_MEMORY, Number(address));
  }

  /** The device table entry of `sid`: V and TV, levels, permissions, further bits of three words. */
  device({
    sid = SID,
    valid = 3n,
    mode = 4,
    root = ROOT,
    permissions = RW,
    low = 0n,
    domain = DOMAIN,
    middle = 0n,
    high = 0n,
  }): void {
    const at = DEVICES + 32n * BigInt(sid);
    this.poke(at, valid | next(mode) | root | permissions | low);
    this.poke(at + 8n, BigInt(domain) | middle);
    this.poke(at + 16n, high);
  }

  /** Maps the page at `iova` with tables from level `mode` down to `level`; answers the address of the entry. */
  map(iova: bigint, entry: bigint, { level = 1, mode = 4 } = {}): bigint {
    let table = ROOT;
    for (let at = mode; ; at--) {
      const place = table + 8n * ((iova >> BigInt(3 + 9 * at)) & (at === 6 ? 127n : 511n));
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
        this.poke(place, below | PRESENT | RW | next(at - 1));
      }
      table = below;
    }
  }

  /** Where an access goes, or what becomes of it: `event 2`. */
  go(address: bigint, isWrite = false, sid = SID): string {
    const answer = this.unit.translate({ sid, address, isWrite });
    if (answer.kind === 'translated') return hex(BigInt(answer.address));
    return answer.kind === 'fault' ? `event ${answer.reason}` : answer.kind;
  }

  /** The same with tables that the unit knows, but none of its pages. */
  known(address: bigint, isWrite = false, sid = SID): string {
    this.unit.invalidatePages(DOMAIN, 0x7fff_ffff_ffff_f000n, true, true);
    this.unit.takeEvents();
    return this.go(address, isWrite, sid);
  }

  /** The same, without what the unit has kept. */
  cold(address: bigint, isWrite = false, sid = SID): string {
    const forget = (): void => {
      this.unit.invalidateDomain();
      this.unit.invalidateDevices();
      this.unit.takeEvents();
    };
    return goCold(this.core, { sid, address, isWrite }, forget, () => this.go(address, isWrite, sid));
  }

  /** Type and flags of the events since the last look: `2/0x70`. */
  events(): string[] {
    return this.unit.takeEvents().events.map(({ type, flags }) => `${type}/${hex(BigInt(flags))}`);
  }
}
