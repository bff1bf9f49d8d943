/** Machines with a translation unit, a device whose context the test uses, and tables written through host memory. */
import { type DeviceContext, type DmaOptions, defineDevice } from '../../src/device/index.js';
import type { Machine, MachineConfig, PciFunction } from '../../src/index.js';
import { VtdUnit } from '../../src/iommu/vtd-unit.js';

export const HOST_BYTES = 1 << 22;
const ROOT = 0x1000;
const CONTEXT = 0x2000;
const TOP = 0x4000;
export const READ = 1n;
export const WRITE = 2n;
export const RW = READ | WRITE;
export const SNP = 1n << 11n;

/** A store of 4 bytes reaches a register by it. */
const PATHS = { 'x86-64': 'x86-uc', arm64: 'arm64-device', s390x: 'zpci-pcistg4' } as const;

export type Result = { readonly status: string; readonly data?: Uint8Array | undefined; readonly ns: number };

/** A device that does what the test wants, when its register is written. */
export function agent(): {
  readonly device: ReturnType<typeof defineDevice>;
  act(action: (ctx: DeviceContext) => void): void;
} {
  let next: ((ctx: DeviceContext) => void) | undefined;
  const device = defineDevice({
    name: 'agent',
    vendorId: 1,
    deviceId: 2,
    bars: [
      {
        size: 4096,
        registers: {
          RING: { offset: 0, width: 4, access: 'wo', write: (_value, ctx) => next?.(ctx as DeviceContext) },
        },
      },
    ],
    capabilities: {
      pcie: { maxLinkSpeed: 3, maxLinkWidth: 8 },
      pasid: true,
      msix: { vectors: 1, bar: 0, tableOffset: 0x800, pbaOffset: 0xc00 },
    },
  });
  return {
    device: device as ReturnType<typeof defineDevice>,
    act: (action) => {
      next = action;
    },
  };
}

/** Functions behind one unit; tables are those of VT-d in legacy mode. */
export class UnitMachine {
  private nextTable = 0x8000;
  private readonly tables = new Map<string, number>();

  private constructor(
    readonly machine: Machine,
    private readonly agents: readonly ReturnType<typeof agent>[],
  ) {}

  static async create(
    make: (config: MachineConfig) => Promise<Machine>,
    config: Omit<MachineConfig, 'slots'> = {},
    slots: readonly Omit<NonNullable<MachineConfig['slots']>[number], 'device'>[] = [{}],
  ): Promise<UnitMachine> {
    const agents = slots.map(agent);
    const machine = await make({
      hostMemoryBytes: HOST_BYTES,
      iommus: [{ kind: 'vtd' }],
      ...config,
      slots: slots.map((slot, n) => ({ ...slot, device: (agents[n] as (typeof agents)[number]).device })),
    });
    return new UnitMachine(machine, agents);
  }

  fn(slot = 0): PciFunction {
    return this.machine.functions[slot] as PciFunction;
  }

  get unit(): VtdUnit {
    const [unit] = this.machine.iommus;
    if (!(unit instanceof VtdUnit)) throw new Error('no VT-d unit');
    return unit;
  }

  poke(address: number, value: bigint): void {
    this.machine.memory.write(address, new Uint8Array(BigUint64Array.of(value).buffer));
  }

  /** Translation on: second stage with 4 levels, domain 1; `low` are further bits of the context entry. */
  enable({ type = 0n, slots = 1 } = {}): void {
    this.poke(ROOT + 16, BigInt(CONTEXT) | 1n);
    for (let slot = 0; slot < slots; slot++) {
      const at = CONTEXT + (this.fn(slot).id & 0xff) * 16;
      this.poke(at, BigInt(TOP) | (type << 2n) | 1n);
      this.poke(at + 8, 2n | (1n << 8n));
    }
    this.unit.rootTable = ROOT;
    this.unit.isOn = true;
  }

  /** Maps the 4 KiB page at `iova`. */
  map(iova: number | bigint, to: number | bigint, bits = RW): void {
    let table = TOP;
    for (let level = 4; level > 0; level--) {
      const index = Number((BigInt(iova) >> BigInt(3 + 9 * level)) & 511n);
      const place = table + 8 * index;
      if (level === 1) {
        this.poke(place, BigInt(to) | bits);
        return;
      }
      const name = `${table}/${index}`;
      const below = this.tables.get(name) ?? this.nextTable;
      if (below === this.nextTable) {
        this.nextTable += 0x1000;
        this.tables.set(name, below);
        this.poke(place, BigInt(below) | RW);
      }
      table = below;
    }
  }

  /** Maps the 2 MiB page at `iova`. */
  mapLarge(iova: number, to: number, bits = RW): void {
    const top = TOP + 8 * Number((BigInt(iova) >> 39n) & 511n);
    const tables = [this.nextTable, this.nextTable + 0x1000];
    this.nextTable += 0x2000;
    const [third = 0, second = 0] = tables;
    this.poke(top, BigInt(third) | RW);
    this.poke(third + 8 * Number((BigInt(iova) >> 30n) & 511n), BigInt(second) | RW);
    this.poke(second + 8 * Number((BigInt(iova) >> 21n) & 511n), BigInt(to) | bits | 0x80n);
  }

  /** The device of `slot` does something; returns when nothing is under way. */
  act(action: (ctx: DeviceContext) => void, slot = 0): void {
    this.actOnly(action, slot);
    this.machine.settle();
  }

  /** The same, and does not wait for what it does. */
  actOnly(action: (ctx: DeviceContext) => void, slot = 0): void {
    (this.agents[slot] as ReturnType<typeof agent>).act(action);
    const ring = new Uint8Array(4);
    this.machine.cpu.write({
      path: PATHS[this.machine.platform],
      function: this.fn(slot),
      bar: 0,
      offset: 0,
      data: ring,
      block: false,
    });
  }

  read(address: number | bigint, length: number, options: DmaOptions = {}, slot = 0): Result {
    let result: Result | undefined;
    this.act((ctx) => {
      const begun = ctx.time.ns;
      ctx.dma.read(address, length, options, ({ status, data }) => {
        result = { status, data, ns: ctx.time.ns - begun };
      });
    }, slot);
    if (result === undefined) throw new Error('no answer');
    return result;
  }

  write(address: number | bigint, data: Uint8Array, options: DmaOptions = {}, slot = 0): void {
    this.act((ctx) => ctx.dma.write(address, data, options), slot);
  }
}
