/** Domains on s390: the hardware takes the anchor of a table for each function, by an instruction (zpci.md 5.4). */
import { DomainUnit, type FunctionId, notOffered, type Target, tellAll } from './domain-unit.js';
import { type S390Input, s390Anchor, s390Tables } from './formats/s390.js';
import type { AddressRange } from './iova.js';
import { silentHardware } from './silent.js';
import type { TableMemory } from './table-memory.js';

/** Instructions that software uses for a function. */
export interface S390Hardware {
  /** MPCIFC, register I/O address translation: first and last address, anchor (IOTA). */
  register(sid: number, range: AddressRange, anchor: bigint): void;
  /** MPCIFC, deregister. */
  deregister(sid: number): void;
  /** RPCIT: makes what is kept agree with the tables. */
  refresh(sid: number, range: AddressRange): void;
}

export interface S390DomainUnitInput extends S390Input {
  /** Left out: nobody is told. */
  readonly hardware?: S390Hardware;
  /** Where tables are. Left out: in any memory. */
  readonly memory?: TableMemory;
  /** First and last address that functions may use (SDMA, EDMA). Default: all that the table has. */
  readonly range?: AddressRange;
  /** New mappings need a refresh, too. Default true; the "refresh" bit of the function group 0 says false. */
  readonly refreshesNew?: boolean;
}

export class S390DomainUnit extends DomainUnit {
  readonly architecture = 's390';
  /** DMA is coherent; no table entry has control over No Snoop. */
  readonly capabilities = { cacheCoherency: true, enforceCap: false };
  readonly reserved: readonly AddressRange[];
  readonly keepsAbsent: boolean;
  readonly format;
  protected readonly ids = { first: 1, last: 0xffff };
  private readonly hardware: S390Hardware;
  private readonly range: AddressRange;
  /** Functions that are registered, with their domains. */
  private readonly registered = new Map<number, number>();

  constructor(input: S390DomainUnitInput = {}) {
    super(input.memory ?? null);
    this.format = s390Tables(input);
    const last = (1n << BigInt(this.format.width)) - 1n;
    this.range = input.range ?? { first: 0n, last };
    this.reserved = [
      ...(this.range.first > 0n ? [{ first: 0n, last: this.range.first - 1n }] : []),
      ...(this.range.last < last ? [{ first: this.range.last + 1n, last }] : []),
    ];
    this.keepsAbsent = input.refreshesNew ?? true;
    this.hardware = input.hardware ?? silentHardware();
  }

  bind({ sid, pasid }: FunctionId, target: Target): void {
    if (pasid !== undefined) throw notOffered('pasid: s390 has none');
    if (target.kind === 'identity') throw notOffered('functions of s390 always use tables');
    this.unbind({ sid });
    if (target.kind === 'blocked') return;
    this.hardware.register(sid, this.range, s390Anchor(target.root, target.format));
    this.registered.set(sid, target.id);
  }

  unbind({ sid }: FunctionId): void {
    if (this.registered.has(sid)) this.hardware.deregister(sid);
    this.registered.delete(sid);
  }

  forget(id: number, first: bigint, last: bigint): void {
    tellAll(this.registered, ([sid, domain]) => {
      if (domain === id) this.hardware.refresh(sid, { first, last });
    });
  }
}
