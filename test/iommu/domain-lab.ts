/** Memory for tables in the core, and hardware that only notes what it is told. */
import * as L from '../../assembly/layout.js';
import type { Core } from '../../src/core/core.js';
import { high32, low32 } from '../../src/core/u64.js';
import type { AmdHardware } from '../../src/iommu/amd-domain-unit.js';
import type { S390Hardware } from '../../src/iommu/s390-domain-unit.js';
import type { SmmuHardware } from '../../src/iommu/smmu-domain-unit.js';
import { PlainMemory, type TableMemory } from '../../src/iommu/table-memory.js';
import { VtdDomainUnit, type VtdDomainUnitInput, type VtdHardware } from '../../src/iommu/vtd-domain-unit.js';
import { CAP, ECAP, hex, RAM_END } from './unit-lab.js';

export const LAB_BYTES = 1 << 22;

/** Host memory of a core; blocks are counted by a plain one. */
export class CoreMemory implements TableMemory {
  private readonly blocks = new PlainMemory({ base: 0x1000, bytes: LAB_BYTES - 0x1000 });

  constructor(private readonly core: Core) {
    // Garbage: writers must not take blocks for empty.
    const at = core.at(L.PLACE_HOST_MEMORY);
    core.u8.fill(0xa5, at, at + LAB_BYTES);
    core.x.unitMemory(0, 0, low32(RAM_END), high32(RAM_END), 0, 0);
  }

  read64(address: bigint): bigint {
    return this.core.long(L.PLACE_HOST_MEMORY, Number(address));
  }

  write64(address: bigint, value: bigint): void {
    this.core.setLong(L.PLACE_HOST_MEMORY, Number(address), value);
  }

  allocate(bytes: number): bigint {
    return this.blocks.allocate(bytes);
  }

  free(address: bigint): void {
    this.blocks.free(address);
  }
}

/** Hardware of every kind: the calls it got, as text. */
export class Notes implements VtdHardware, SmmuHardware, AmdHardware, S390Hardware {
  readonly calls: string[] = [];
  root = 0n;

  set rootTable(value: number | bigint) {
    this.root = BigInt(value);
  }

  set isOn(on: boolean) {
    this.calls.push(on ? 'on' : 'off');
  }

  invalidateContexts({ sid }: { readonly sid?: number }): void {
    this.calls.push(`contexts ${sid}`);
  }

  invalidateIotlb(did: number): void {
    this.calls.push(`domain ${did}`);
  }

  invalidatePages(id: number, address: number | bigint, last: number | bigint): void {
    this.calls.push(`pages ${id} ${hex(BigInt(address))} ${hex(BigInt(last))}`);
  }

  setStreamTable(base: number | bigint, config: number): void {
    this.root = BigInt(base);
    this.calls.push(`streams ${config}`);
  }

  invalidateTlb(asid?: number): void {
    this.calls.push(`asid ${asid}`);
  }

  invalidateAddress(asid: number, address: number | bigint): void {
    this.calls.push(`address ${asid} ${hex(BigInt(address))}`);
  }

  invalidateConfig(sid: number): void {
    this.calls.push(`config ${sid}`);
  }

  setDeviceTable(base: bigint, entries: number): void {
    this.root = base;
    this.calls.push(`devices ${entries}`);
  }

  invalidateDevice(sid: number): void {
    this.calls.push(`device ${sid}`);
  }

  register(sid: number, { first, last }: { first: bigint; last: bigint }, anchor: bigint): void {
    this.root = anchor;
    this.calls.push(`register ${sid} ${hex(first)} ${hex(last)}`);
  }

  deregister(sid: number): void {
    this.calls.push(`deregister ${sid}`);
  }

  refresh(sid: number, { first, last }: { first: bigint; last: bigint }): void {
    this.calls.push(`refresh ${sid} ${hex(first)} ${hex(last)}`);
  }

  /** The calls since the last time. */
  take(): string[] {
    return this.calls.splice(0);
  }
}

/** A VT-d unit on hardware that notes. */
export function notedVtd(
  memory: TableMemory,
  input: Partial<VtdDomainUnitInput> = {},
): { unit: VtdDomainUnit; notes: Notes } {
  const notes = new Notes();
  const unit = new VtdDomainUnit({ hardware: notes, memory, cap: CAP, ecap: ECAP, hostWidth: 48, ...input });
  return { unit, notes };
}
