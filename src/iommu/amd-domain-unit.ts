/** Domains on an AMD unit: device table entries (iommu.md 3). */
import { inRange, invalid } from '../base/errors.js';
import { DomainUnit, type FunctionId, notOffered, type Target } from './domain-unit.js';
import { type AmdV1Input, amdV1 } from './formats/amd-v1.js';
import { HYPERTRANSPORT, X86_INTERRUPTS } from './iova.js';
import { silentHardware } from './silent.js';
import { allocateFilled, type TableMemory } from './table-memory.js';

/** What software does with the registers and commands of a unit. */
export interface AmdHardware {
  /** The device table: its address, and its number of entries. */
  setDeviceTable(base: bigint, entries: number): void;
  set isOn(on: boolean);
  /** INVALIDATE_DEVTAB_ENTRY. */
  invalidateDevice(sid: number): void;
  /** INVALIDATE_IOMMU_PAGES of [first, last]. */
  invalidatePages(domain: number, first: bigint, last: bigint): void;
}

export interface AmdDomainUnitInput extends AmdV1Input {
  /** Left out: only tables are written. */
  readonly hardware?: AmdHardware;
  /** Where tables are. */
  readonly memory: TableMemory;
  /** The device table has 2^`deviceBits` entries, 7 to 16. Default 8. */
  readonly deviceBits?: number;
}

const VALID = 1n;
const TRANSLATES = 2n;
const MODE_SHIFT = 9n;
const READ = 1n << 61n;
const WRITE = 1n << 62n;
const ENTRY = 32n;
const LAST = 0xffff_ffff_ffff_ffffn;

export class AmdDomainUnit extends DomainUnit {
  readonly architecture = 'amd';
  /** FC is part of every unit. */
  readonly capabilities = { cacheCoherency: true, enforceCap: true };
  readonly reserved = [X86_INTERRUPTS, HYPERTRANSPORT];
  readonly keepsAbsent = false;
  readonly format;
  protected readonly ids = { first: 1, last: 0xffff };
  private readonly hardware: AmdHardware;
  private readonly memory: TableMemory;
  private readonly entries: number;
  private readonly table: bigint;

  /** Writes a device table that blocks all devices and turns the unit on. Throws ZtlpError for values out of range. */
  constructor(input: AmdDomainUnitInput) {
    super(input.memory);
    const { hardware = silentHardware(), memory, deviceBits = 8 } = input;
    this.format = amdV1(input);
    this.hardware = hardware;
    this.memory = memory;
    this.entries = 2 ** inRange('deviceBits', deviceBits, 7, 16);
    this.table = allocateFilled(memory, Number(ENTRY) * this.entries);
    for (let sid = 0; sid < this.entries; sid++) this.writeEntry(sid, VALID | TRANSLATES, 0n);
    hardware.setDeviceTable(this.table, this.entries);
    hardware.isOn = true;
  }

  bind({ sid, pasid }: FunctionId, target: Target): void {
    if (pasid !== undefined) throw notOffered('pasid: tables of version 1 take no requests with a PASID');
    if (sid >= this.entries) throw invalid('sid', sid, `up to ${this.entries - 1}`, 'out-of-range');
    this.writeEntry(sid, ...entryOf(target));
    this.drop(sid, target.kind === 'tables' ? target.id : 0);
  }

  unbind({ sid }: FunctionId, id: number | null): void {
    this.writeEntry(sid, ...entryOf({ kind: 'blocked' }));
    this.drop(sid, id ?? 0);
  }

  forget(id: number, first: bigint, last: bigint): void {
    this.hardware.invalidatePages(id, first, last);
  }

  private drop(sid: number, id: number): void {
    this.hardware.invalidateDevice(sid);
    this.forget(id, 0n, LAST);
  }

  /** The word with the valid bit is written last. */
  private writeEntry(sid: number, low: bigint, high: bigint): void {
    const at = this.table + ENTRY * BigInt(sid);
    this.memory.write64(at + 8n, high);
    this.memory.write64(at, low);
  }
}

/** Both words. Domain 0 is that of entries without tables: mode 0, in which permissions of the entry alone count. */
function entryOf(target: Target): [bigint, bigint] {
  const both = VALID | TRANSLATES;
  if (target.kind === 'blocked') return [both, 0n];
  if (target.kind === 'identity') return [both | READ | WRITE, 0n];
  const { format, root, id } = target;
  return [both | (BigInt(format.levels) << MODE_SHIFT) | root | READ | WRITE, BigInt(id)];
}
