/** A driver of the NVMe model as an operating system has one: rings and buffers in host memory, doorbells, messages. */
import { type NvmeOptions, nvme } from '../../src/devices/index.js';
import { createMachine, type Device, type MachineConfig, type PciFunction } from '../../src/index.js';
import { Driver } from './support.js';

export const REG = {
  CAP: 0x00,
  VS: 0x08,
  INTMS: 0x0c,
  INTMC: 0x10,
  CC: 0x14,
  CSTS: 0x1c,
  AQA: 0x24,
  ASQ: 0x28,
  ACQ: 0x30,
  DOORBELLS: 0x1000,
} as const;
export const ADMIN = {
  DELETE_SQ: 0,
  CREATE_SQ: 1,
  GET_LOG: 2,
  DELETE_CQ: 4,
  CREATE_CQ: 5,
  IDENTIFY: 6,
  ABORT: 8,
  SET_FEATURES: 9,
  GET_FEATURES: 10,
  EVENT: 12,
} as const;
export const IO = { FLUSH: 0, WRITE: 1, READ: 2, ZEROES: 8 } as const;
export const MEMORY = 0x40_0000;

/** An entry of a submission queue, by field. */
export interface Fields {
  readonly opcode: number;
  readonly flags?: number;
  readonly cid?: number;
  readonly nsid?: number;
  readonly prp1?: number | bigint;
  readonly prp2?: number | bigint;
  /** CDW10 and behind. */
  readonly words?: readonly number[];
}

export function entryOf({
  opcode,
  flags = 0,
  cid = 0,
  nsid = 0,
  prp1 = 0,
  prp2 = 0,
  words = [],
}: Fields): Uint8Array {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  bytes[0] = opcode;
  bytes[1] = flags;
  view.setUint16(2, cid, true);
  view.setUint32(4, nsid, true);
  view.setBigUint64(24, BigInt(prp1), true);
  view.setBigUint64(32, BigInt(prp2), true);
  words.forEach((word, n) => {
    view.setUint32(40 + 4 * n, word, true);
  });
  return bytes;
}

/** An entry of a completion queue; `status`: type and code as 0xTSS, without More and Do Not Retry. */
export interface Completion {
  readonly dw0: number;
  readonly sqhd: number;
  readonly sqid: number;
  readonly cid: number;
  readonly status: number;
  readonly dnr: boolean;
  readonly more: boolean;
}

/** One side of a pair of rings. */
export interface Pair {
  readonly id: number;
  readonly entries: number;
  readonly sq: number;
  readonly cq: number;
  tail: number;
  head: number;
  phase: number;
  /** Times that the completion queue began again. */
  wraps: number;
}

export interface Options extends NvmeOptions {
  readonly adminEntries?: number;
  /** CC.MPS. */
  readonly mps?: number;
}

export class NvmeDriver extends Driver {
  readonly admin: Pair;
  readonly mps: number;
  private next = 0x1000;
  private cid = 0;
  private stride = 4;

  constructor(
    machine: ConstructorParameters<typeof Driver>[0],
    fn: PciFunction,
    { adminEntries = 16, mps = 0 }: Options,
  ) {
    super(machine, fn);
    this.mps = mps;
    this.admin = this.pair(0, adminEntries);
  }

  /** Host memory that nothing else uses: whole pages. */
  pages(count: number): number {
    const at = Math.ceil(this.next / this.pageBytes) * this.pageBytes;
    this.next = at + count * this.pageBytes;
    if (this.next > MEMORY) throw new Error('the test has no memory left');
    return at;
  }

  get pageBytes(): number {
    return 4096 << this.mps;
  }

  /** Added to addresses of host memory for the device: where a domain has mapped it. */
  iova = 0n;

  at(address: number): bigint {
    return BigInt(address) + this.iova;
  }

  pair(id: number, entries: number): Pair {
    const room = (bytes: number): number => this.pages(Math.ceil(bytes / this.pageBytes));
    return {
      id,
      entries,
      sq: room(64 * entries),
      cq: room(16 * entries),
      tail: 0,
      head: 0,
      phase: 1,
      wraps: 0,
    };
  }

  /** Enables the controller with its admin queues; returns CSTS. */
  enable(): number {
    this.stride = 4 << Number((this.read64(0, REG.CAP) >> 32n) & 0xfn);
    const { admin } = this;
    Object.assign(admin, { tail: 0, head: 0, phase: 1 });
    this.machine.memory.write(admin.cq, new Uint8Array(16 * admin.entries));
    this.write32(0, REG.AQA, ((admin.entries - 1) << 16) | (admin.entries - 1));
    this.write64(0, REG.ASQ, this.at(admin.sq));
    this.write64(0, REG.ACQ, this.at(admin.cq));
    this.write32(0, REG.CC, (4 << 20) | (6 << 16) | (this.mps << 7) | 1);
    return this.read32(0, REG.CSTS);
  }

  doorbell(index: number, value: number): void {
    this.write32(0, REG.DOORBELLS + index * this.stride, value);
  }

  /** Puts commands into the ring without a doorbell; returns their identifiers. */
  put(pair: Pair, ...commands: Fields[]): number[] {
    return commands.map((command) => {
      const cid = command.cid ?? this.cid++ & 0xffff;
      this.machine.memory.write(pair.sq + 64 * pair.tail, entryOf({ ...command, cid }));
      pair.tail = (pair.tail + 1) % pair.entries;
      return cid;
    });
  }

  ring(pair: Pair): void {
    this.doorbell(2 * pair.id, pair.tail);
  }

  submit(pair: Pair, ...commands: Fields[]): number[] {
    const ids = this.put(pair, ...commands);
    this.ring(pair);
    return ids;
  }

  /** The entries that are new by their phase; `most` at most. Tells the controller, unless `isTold` is false. */
  reap(pair: Pair, most = pair.entries, isTold = true): Completion[] {
    const found: Completion[] = [];
    while (found.length < most) {
      const view = new DataView(this.machine.memory.read(pair.cq + 16 * pair.head, 16).buffer);
      const status = view.getUint16(14, true);
      if ((status & 1) !== pair.phase) break;
      found.push({
        dw0: view.getUint32(0, true),
        sqhd: view.getUint16(8, true),
        sqid: view.getUint16(10, true),
        cid: view.getUint16(12, true),
        status: (status >>> 1) & 0x7ff,
        dnr: (status & 0x8000) !== 0,
        more: (status & 0x4000) !== 0,
      });
      pair.head = (pair.head + 1) % pair.entries;
      if (pair.head === 0) {
        pair.phase ^= 1;
        pair.wraps++;
      }
    }
    if (found.length > 0 && isTold) this.doorbell(2 * pair.id + 1, pair.head);
    return found;
  }

  /** One command to its completion. */
  run(pair: Pair, command: Fields): Completion {
    const [cid] = this.submit(pair, command);
    const [done, ...rest] = this.reap(pair);
    if (done === undefined || rest.length > 0 || done.cid !== cid)
      throw new Error(`command ${cid}: ${JSON.stringify([done, ...rest])}`);
    return done;
  }

  /** As `run`; a status is an error of the test. */
  must(pair: Pair, command: Fields): Completion {
    const done = this.run(pair, command);
    if (done.status !== 0) throw new Error(`status 0x${done.status.toString(16)}`);
    return done;
  }

  identify(cns: number, nsid = 0): Uint8Array {
    const at = this.pages(1);
    this.must(this.admin, { opcode: ADMIN.IDENTIFY, nsid, prp1: at, words: [cns] });
    return this.machine.memory.read(at, 4096);
  }

  log(id: number, bytes: number, { offset = 0, isKept = false } = {}): Uint8Array {
    const at = this.pages(Math.ceil(bytes / this.pageBytes));
    const words = [((bytes / 4 - 1) << 16) | (isKept ? 0x8000 : 0) | id, 0, offset];
    this.must(this.admin, {
      opcode: ADMIN.GET_LOG,
      nsid: 0xffff_ffff,
      prp1: at,
      prp2: at + this.pageBytes,
      words,
    });
    return this.machine.memory.read(at, bytes);
  }

  /** Creates a pair of I/O queues with interrupts on `vector`. */
  create(id: number, entries: number, vector = id): Pair {
    const pair = this.pair(id, entries);
    const size = ((entries - 1) << 16) | id;
    this.must(this.admin, {
      opcode: ADMIN.CREATE_CQ,
      prp1: this.at(pair.cq),
      words: [size, ((vector << 16) | 3) >>> 0],
    });
    this.must(this.admin, {
      opcode: ADMIN.CREATE_SQ,
      prp1: this.at(pair.sq),
      words: [size, ((id << 16) | 1) >>> 0],
    });
    return pair;
  }
}

export const rw = (
  opcode: number,
  lba: number,
  blocks: number,
  prp1: number | bigint,
  prp2: number | bigint = 0,
): Fields => ({
  opcode,
  nsid: 1,
  prp1,
  prp2,
  words: [lba >>> 0, Math.floor(lba / 2 ** 32), blocks - 1],
});

/** A machine with the controller, and its driver; not enabled yet. MSI-X is on. */
export async function driveNvme(
  options: Options = {},
  config: Omit<MachineConfig, 'slots'> = {},
): Promise<NvmeDriver> {
  const { adminEntries: _, mps: __, ...rest } = options;
  const device = nvme(rest);
  const machine = await createMachine({
    hostMemoryBytes: MEMORY,
    ...config,
    slots: [{ device: device as unknown as Device }],
  });
  const driver = new NvmeDriver(machine, machine.functions[0] as PciFunction, options);
  if (rest.interrupts !== 'msi') driver.arm(rest.vectors ?? (rest.queues ?? 8) + 1);
  return driver;
}
