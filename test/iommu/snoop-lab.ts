/** Machines whose tables hold pages of every kind that No Snoop depends on, one after another, for units of all kinds. */
import type { Machine, MachineConfig } from '../../src/index.js';
import { AmdUnit } from '../../src/iommu/amd-unit.js';
import { SmmuUnit } from '../../src/iommu/smmu-unit.js';
import * as Amd from './amd-lab.js';
import { READ, type Result, RW, SNP, UnitMachine } from './machine-lab.js';
import {
  CAP_FIRST,
  ECAP_FIRST,
  type FIRST,
  NESTED,
  P,
  PAGE1,
  type PASS,
  PGSNP,
  PWSNP,
  type SECOND,
  US,
} from './scalable-lab.js';
import { descriptorOf, stage2Word } from './smmu-lab.js';
import { SC } from './unit-lab.js';

/** The first of the pages as the device names them, and where they are. */
export const IOVA = 0x92_3456_7000n;
export const PAGE = 0x20_0000;
/** Intermediate addresses of the pages, in nested mode. */
const MIDDLE = 0x100_0000_0000n;

const ROOT = 0x1000;
const CONTEXT = 0x2000;
const SECOND_TOP = 0x4000;
const FIRST_TOP = 0x6000;
const DIRECTORY = 0x7000;
const PASID_TABLE = 0x8000;
const STREAMS = 0x1_0000;
const DESCRIPTOR = 0x2_0000;
const DEVICES = 0x3_0000;
const TABLES = 0x4_0000;
const LARGE = 0x80n;

/** What the next table of a format is named by. */
type TableEntry = (table: number, level: number) => bigint;
const ofVtd: TableEntry = (table) => BigInt(table) | RW;
const ofFirst: TableEntry = (table) => BigInt(table) | PAGE1;
const ofArm: TableEntry = (table) => BigInt(table) | 3n;
const ofAmd: TableEntry = (table, level) => BigInt(table) | Amd.PRESENT | Amd.RW | Amd.next(level - 1);

/** One page: whether its leaf takes No Snoop away, whether it may be written. */
export interface PageKind {
  readonly forces: boolean;
  readonly isWritable: boolean;
}
export const PAGE_KINDS: readonly PageKind[] = [
  { forces: false, isWritable: true },
  { forces: true, isWritable: true },
  { forces: false, isWritable: false },
  { forces: true, isWritable: false },
];
export const iova = (page: number): bigint => IOVA + 4096n * BigInt(page);

/** What became of one request. */
export interface Seen {
  readonly status: string;
  /** No Snoop on the wire, and what the trace says. */
  readonly ns: boolean;
  readonly snoop: string | undefined;
  /** TLPs that asked caches, that did not, whose No Snoop was taken away. */
  readonly counts: readonly [number, number, number];
}

export class SnoopLab {
  private readonly tables = new Map<number, number>();
  private nextTable = TABLES;

  private constructor(readonly m: UnitMachine) {}

  static async create(
    make: (config: MachineConfig) => Promise<Machine>,
    config: Omit<MachineConfig, 'slots'>,
  ): Promise<SnoopLab> {
    return new SnoopLab(await UnitMachine.create(make, config));
  }

  private get sid(): number {
    return this.m.fn().id;
  }

  /** Where the entry of `address` at level `last` stands, with tables made on the way from the one at `top`. */
  private place(top: number, address: bigint, named: TableEntry, levels = 4, last = 1): number {
    let table = top;
    for (let level = levels; ; level--) {
      const index = address >> BigInt(3 + 9 * level);
      const at = table + 8 * Number(level === levels ? index : index & 511n);
      if (level === last) return at;
      let below = this.tables.get(at);
      if (below === undefined) {
        below = this.nextTable;
        this.nextTable += 0x1000;
        this.tables.set(at, below);
        this.m.poke(at, named(below, level));
      }
      table = below;
    }
  }

  /** Pages of PAGE_KINDS for a second stage, from `from` on. */
  private mapSecond(from: bigint): void {
    for (const [n, { forces, isWritable }] of PAGE_KINDS.entries()) {
      const at = this.place(SECOND_TOP, from + 4096n * BigInt(n), ofVtd);
      this.m.poke(at, BigInt(PAGE + 4096 * n) | (isWritable ? RW : READ) | (forces ? SNP : 0n));
    }
  }

  /** VT-d in legacy mode: 0 second stage, 2 pass-through. */
  legacy(type: 0n | 2n): void {
    const { m } = this;
    this.mapSecond(IOVA);
    m.poke(ROOT + 16 * (this.sid >> 8), BigInt(CONTEXT) | 1n);
    const at = CONTEXT + 16 * (this.sid & 0xff);
    m.poke(at, BigInt(SECOND_TOP) | (type << 2n) | 1n);
    m.poke(at + 8, 2n | (1n << 8n));
    m.unit.rootTable = ROOT;
    m.unit.isOn = true;
    this.forget();
  }

  /** VT-d in scalable mode, with a PASID entry of `type`. */
  scalable(type: typeof FIRST | typeof SECOND | typeof NESTED | typeof PASS, pgsnp: boolean): void {
    const { m } = this;
    this.mapSecond(type === NESTED ? MIDDLE : IOVA);
    // Tables of the first stage are below 2 MiB, and seen there.
    m.poke(this.place(SECOND_TOP, 0n, ofVtd, 4, 2), RW | LARGE);
    for (const [n, { isWritable }] of PAGE_KINDS.entries()) {
      const to = (type === NESTED ? MIDDLE : BigInt(PAGE)) + 4096n * BigInt(n);
      // Permissions of nested pages are those of the second stage.
      const bits = isWritable || type === NESTED ? PAGE1 : P | US;
      m.poke(this.place(FIRST_TOP, iova(n), ofFirst), to | bits);
    }
    m.poke(ROOT + 16 * (this.sid >> 8), BigInt(CONTEXT) | 1n);
    const at = CONTEXT + 32 * (this.sid & 0x7f);
    m.poke(at, BigInt(DIRECTORY) | 1n);
    m.poke(DIRECTORY, BigInt(PASID_TABLE) | 1n);
    m.poke(PASID_TABLE, BigInt(SECOND_TOP) | (type << 6n) | (2n << 2n) | 1n);
    m.poke(PASID_TABLE + 8, 1n | PWSNP | (pgsnp ? PGSNP : 0n));
    m.poke(PASID_TABLE + 16, BigInt(FIRST_TOP));
    m.unit.rootTable = ROOT | (1 << 10);
    m.unit.isOn = true;
    this.forget();
  }

  /** VT-d: nothing is kept, no fault is recorded. */
  forget(): void {
    this.m.unit.invalidateContexts();
    this.m.unit.invalidateIotlb();
    this.m.unit.clearFaults();
  }

  /** AMD-Vi: tables, no tables but permissions (mode 0), or an entry that says nothing. */
  amd(path: 'tables' | 'mode 0' | 'invalid'): void {
    const unit = this.m.machine.iommus[0];
    if (!(unit instanceof AmdUnit)) throw new Error('no AMD-Vi unit');
    for (const [n, { forces, isWritable }] of PAGE_KINDS.entries()) {
      const bits = Amd.PRESENT | (isWritable ? Amd.RW : Amd.READ) | (forces ? Amd.FORCE : 0n);
      this.m.poke(this.place(SECOND_TOP, iova(n), ofAmd), BigInt(PAGE + 4096 * n) | bits);
    }
    const at = DEVICES + 32 * this.sid;
    const mode = Amd.next(path === 'tables' ? 4 : 0);
    this.m.poke(at, path === 'invalid' ? 0n : BigInt(SECOND_TOP) | mode | Amd.RW | 3n);
    this.m.poke(at + 8, 1n);
    unit.setDeviceTable(DEVICES, 16);
    unit.isOn = true;
    unit.invalidateDevices();
    unit.invalidateDomain();
  }

  /**
   * SMMUv3: the stages of the stream, by STE.Config; memory types by page: `first` are attributes of MAIR, `second` are MemAttr of
   * stage 2.
   */
  smmu(
    stages: 'bypass' | 'first' | 'second' | 'nested',
    first: readonly number[],
    second: readonly number[],
  ): void {
    const unit = this.m.machine.iommus[0];
    if (!(unit instanceof SmmuUnit)) throw new Error('no SMMU');
    const { m } = this;
    const isNested = stages === 'nested';
    const config = { bypass: 4n, first: 5n, second: 6n, nested: 7n }[stages];
    const at = STREAMS + 64 * this.sid;
    m.poke(at, BigInt(DESCRIPTOR) | (config << 1n) | 1n);
    m.poke(at + 16, stage2Word({ size: 23n }));
    m.poke(at + 24, BigInt(SECOND_TOP));
    m.poke(DESCRIPTOR, descriptorOf(16n));
    m.poke(DESCRIPTOR + 8, BigInt(FIRST_TOP));
    m.poke(
      DESCRIPTOR + 24,
      first.reduce((all, type, n) => all | (BigInt(type) << BigInt(8 * n)), 0n),
    );
    m.poke(this.place(SECOND_TOP, 0n, ofArm, 3, 2), 0x4fdn);
    for (const [n, type] of second.entries()) {
      const from = isNested ? MIDDLE + 4096n * BigInt(n) : iova(n);
      m.poke(this.place(SECOND_TOP, from, ofArm, 3), BigInt(PAGE + 4096 * n) | 0x4c3n | (BigInt(type) << 2n));
    }
    for (const n of first.keys()) {
      const to = (isNested ? MIDDLE : BigInt(PAGE)) + 4096n * BigInt(n);
      m.poke(this.place(FIRST_TOP, iova(n), ofArm), to | 0x443n | (BigInt(n) << 2n));
    }
    unit.setStreamTable(STREAMS, 9);
    unit.isOn = true;
    unit.invalidateConfig();
    unit.invalidateTlb();
  }

  /** Enable No Snoop of the function. */
  set enabled(en: boolean) {
    const { config } = this.m.fn();
    const at = (config.capability(0x10) ?? 0) + 8;
    config.write(at, (config.read(at, 2) & ~0x0800) | (en ? 0x0800 : 0), 2);
  }

  private get counts(): readonly [number, number, number] {
    const { coherentTlps, nonCoherentTlps, noSnoopStripped } = this.m.fn().stats;
    return [coherentTlps, nonCoherentTlps, noSnoopStripped];
  }

  /** One request of 4 bytes, and what the trace, the statistics and the answer say about it. */
  request(address: bigint, isWrite: boolean, noSnoop: boolean): Seen {
    const { m } = this;
    const before = this.counts;
    m.machine.trace.start();
    m.machine.trace.take();
    let result: Result | undefined;
    if (isWrite) m.write(address, new Uint8Array(4), { noSnoop });
    else result = m.read(address, 4, { noSnoop });
    const sent = m.machine.trace
      .take()
      .filter(({ direction, tlp }) => direction === 'up' && /^M/.test(tlp.type));
    const [only] = sent;
    if (sent.length !== 1 || only === undefined) throw new Error(`${sent.length} requests`);
    const after = this.counts;
    return {
      status: result?.status ?? 'posted',
      ns: 'attr' in only.tlp && only.tlp.attr?.ns === true,
      snoop: only.snoop,
      counts: [after[0] - before[0], after[1] - before[1], after[2] - before[2]],
    };
  }
}

/** CAP and ECAP of a unit with both modes, with or without snoop control. */
export function vtdOf(sc: boolean): { kind: 'vtd'; cap: bigint; ecap: bigint } {
  return { kind: 'vtd', cap: CAP_FIRST, ecap: (ECAP_FIRST & ~SC) | (sc ? SC : 0n) };
}
