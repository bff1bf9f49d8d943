/** What the tests of the NIC share: a driver that knows only host memory, BAR 0 and interrupts. */
import { type MlxNicOptions, mlxNic, type QueueSetup } from '../../src/devices/index.js';
import { createMachine, type Machine, type MachineConfig, type PciFunction } from '../../src/index.js';
import { Driver } from './support.js';

/** Host memory of one NIC in a machine, from `base` on. */
export const AREA = 0x4_0000;
const EQ_AT = 0x1000;
const ASYNC_AT = 0x2000;
const SEND_CQ_AT = 0x3000;
const RECEIVE_CQ_AT = 0x5000;
const SQ_AT = 0x8000;
const RQ_AT = 0xa000;
const RECORDS_AT = 0xc000;
/** Where frames and buffers may be: to the end of the area. */
export const BUFFERS = 0x1_0000;

export const UAR_PAGE = 16;
export const EQN = 1;
export const ASYNC_EQN = 2;
export const SEND_CQN = 10;
export const RECEIVE_CQN = 11;
export const SQN = 0x20;
export const RQN = 0x30;
export const LKEY = 0x0012_3401;
export const EQ_VECTOR = 1;
export const ASYNC_VECTOR = 2;

export const NOP = 0x00;
export const SEND = 0x0a;
export const ALWAYS = 2;
export const WITH_EVENT = 3;

export interface Sizes {
  readonly sq: number;
  readonly rq: number;
  readonly cq: number;
  readonly eq: number;
}

const LOGS: Sizes = { sq: 5, rq: 3, cq: 4, eq: 4 };

/** Fields of a CQE. */
export interface Cqe {
  readonly opcode: number;
  readonly owner: number;
  readonly solicited: boolean;
  readonly qpn: number;
  readonly wqeOpcode: number;
  readonly counter: number;
  readonly bytes: number;
  readonly syndrome: number;
  readonly raw: Uint8Array;
}

export interface Segment {
  readonly address: number | bigint;
  readonly length: number;
  readonly lkey?: number;
}

export interface SendFields {
  readonly opcode?: number;
  readonly index?: number;
  readonly sqn?: number;
  readonly ce?: number;
  readonly solicited?: boolean;
  readonly header?: Uint8Array;
  /** Inline segments and pointer segments, in order. */
  readonly data?: readonly (Uint8Array | Segment)[];
  /** Instead of the true count of units. */
  readonly units?: number;
}

export interface Variant {
  readonly nic?: Omit<MlxNicOptions, 'queues'>;
  readonly logs?: Partial<Sizes>;
  readonly stride?: 64 | 128;
  readonly cq?: Partial<NonNullable<QueueSetup['cqs']>[number]>;
  readonly sq?: Partial<NonNullable<QueueSetup['sqs']>[number]>;
  readonly rq?: Partial<NonNullable<QueueSetup['rqs']>[number]>;
  readonly eq?: Partial<NonNullable<QueueSetup['eqs']>[number]>;
  readonly mkeys?: NonNullable<QueueSetup['mkeys']>;
}

export const be32 = (value: number): Uint8Array =>
  Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);

const at = (address: number, offset = 0) => ({ pages: [address], logPageSize: 16, offset });

/** A NIC whose queues lie in the area from `base` on. */
export function nicAt(base: number, variant: Variant = {}) {
  const logs = { ...LOGS, ...variant.logs };
  const common = { uar: UAR_PAGE };
  return mlxNic({
    ...variant.nic,
    queues: {
      eqs: [
        { eqn: EQN, buffer: at(base + EQ_AT), logSize: logs.eq, vector: EQ_VECTOR, ...common, ...variant.eq },
        {
          eqn: ASYNC_EQN,
          buffer: at(base + ASYNC_AT),
          logSize: 4,
          vector: ASYNC_VECTOR,
          events: (1n << 4n) | (1n << 5n),
          arm: 'always',
          ...common,
        },
      ],
      cqs: [
        {
          cqn: SEND_CQN,
          buffer: at(base + SEND_CQ_AT),
          record: base + RECORDS_AT + 0x40,
          eqn: EQN,
          logSize: logs.cq,
          stride: variant.stride ?? 64,
          ...common,
          ...variant.cq,
        },
        {
          cqn: RECEIVE_CQN,
          buffer: at(base + RECEIVE_CQ_AT),
          record: base + RECORDS_AT + 0x80,
          eqn: EQN,
          logSize: logs.cq,
          stride: variant.stride ?? 64,
          ...common,
          ...variant.cq,
        },
      ],
      sqs: [
        {
          sqn: SQN,
          buffer: at(base + SQ_AT),
          record: base + RECORDS_AT,
          cqn: SEND_CQN,
          logSize: logs.sq,
          ...common,
          ...variant.sq,
        },
      ],
      rqs: [
        {
          rqn: RQN,
          buffer: at(base + RQ_AT),
          record: base + RECORDS_AT,
          cqn: RECEIVE_CQN,
          logSize: logs.rq,
          logStride: 6,
          ...variant.rq,
        },
      ],
      mkeys: variant.mkeys ?? [{ key: LKEY }],
    },
  });
}

/** One NIC as its driver sees it. */
export class NicDriver extends Driver {
  readonly logs: Sizes;
  readonly stride: number;
  /** Producer counter of the SQ and of the RQ, consumer indices. */
  pc = 0;
  rqPc = 0;
  private readonly eqCi = [0, 0, 0];
  readonly cqCi: Record<number, number> = { [SEND_CQN]: 0, [RECEIVE_CQN]: 0 };

  constructor(
    machine: Machine,
    fn: PciFunction,
    readonly base: number,
    variant: Variant,
  ) {
    super(machine, fn);
    this.logs = { ...LOGS, ...variant.logs };
    this.stride = variant.stride ?? 64;
    this.fresh();
  }

  /** Rings and counters as after the creation of the queues, and MSI-X on. */
  fresh(): void {
    const { memory } = this.machine;
    memory.write(this.base, new Uint8Array(AREA));
    for (let n = 0; n < 2 ** this.logs.eq; n++)
      memory.write(this.base + EQ_AT + 64 * n + 63, Uint8Array.of(1));
    for (let n = 0; n < 16; n++) memory.write(this.base + ASYNC_AT + 64 * n + 63, Uint8Array.of(1));
    for (const cqn of [SEND_CQN, RECEIVE_CQN]) {
      this.cqCi[cqn] = 0;
      for (let n = 0; n < 2 ** this.logs.cq; n++) memory.write(this.cqeAt(cqn, n) + 63, Uint8Array.of(0xf1));
    }
    this.pc = 0;
    this.rqPc = 0;
    this.eqCi.fill(0);
    this.arm(8);
  }

  get stats(): Record<string, number> {
    return this.fn.instance?.stats ?? {};
  }

  get errors(): readonly unknown[] {
    return this.fn.instance?.errors ?? ['no instance'];
  }

  /** Writes to a UAR page: up to 8 bytes as one store, blocks of 64 bytes as MOVDIR64B, one TLP each. */
  uar(offset: number, bytes: Uint8Array, page = UAR_PAGE): void {
    const to = page * 4096 + offset;
    if (bytes.length % 64 !== 0) this.write(0, to, bytes);
    else
      this.machine.cpu.write({ path: 'x86-movdir64b', function: this.fn, bar: 0, offset: to, data: bytes });
  }

  // ------------------------------------------------------------------------------------------------ send queue

  get sqAt(): number {
    return this.base + SQ_AT;
  }

  get cqAt(): number {
    return this.base + SEND_CQ_AT;
  }

  get eqAt(): number {
    return this.base + EQ_AT;
  }

  /** Bytes of a WQE, padded to whole blocks; `index` is by default the next one. */
  wqe(fields: SendFields): Uint8Array {
    const { opcode = SEND, index = this.pc, sqn = SQN, ce = ALWAYS, header, data = [] } = fields;
    const parts: number[] = [];
    if (opcode !== NOP) {
      const head = header ?? new Uint8Array();
      const eth = new Uint8Array(14 + Math.max(2, head.length));
      new DataView(eth.buffer).setUint16(12, head.length);
      eth.set(head, 14);
      parts.push(...padTo16(eth));
    }
    for (const one of data) {
      if (one instanceof Uint8Array)
        parts.push(...padTo16(Uint8Array.of(...be32((0x8000_0000 | one.length) >>> 0), ...one)));
      else parts.push(...segment(one));
    }
    const units = fields.units ?? 1 + parts.length / 16;
    const flags = (ce << 2) | (fields.solicited === true ? 2 : 0);
    const bytes = new Uint8Array(Math.ceil((16 + parts.length) / 64) * 64);
    bytes.set([0, (index >> 8) & 0xff, index & 0xff, opcode]);
    bytes.set(be32(((sqn << 8) | units) >>> 0), 4);
    bytes[8] = 0x5a; // signature: nobody checks it
    bytes[11] = flags;
    bytes.set(parts, 16);
    return bytes;
  }

  /** Puts a WQE into the ring, and its successor's counter into the record. */
  put(wqe: Uint8Array): Uint8Array {
    const ring = 64 * 2 ** this.logs.sq;
    const at = (64 * this.pc) % ring;
    const first = wqe.subarray(0, ring - at);
    this.machine.memory.write(this.sqAt + at, first);
    if (first.length < wqe.length) this.machine.memory.write(this.sqAt, wqe.subarray(first.length));
    this.pc = (this.pc + wqe.length / 64) & 0xffff;
    this.machine.memory.write(this.base + RECORDS_AT + 4, be32(this.pc));
    return wqe;
  }

  /** The 8-byte doorbell. */
  ring(wqe: Uint8Array, register = 0): void {
    this.uar(0x800 + register, wqe.slice(0, 8));
  }

  post(fields: SendFields): void {
    this.ring(this.put(this.wqe(fields)));
  }

  // --------------------------------------------------------------------------------------------- receive queue

  /** Posts a receive WQE of `list`, without MMIO. */
  postReceive(list: readonly Segment[], next?: number): void {
    const stride = 64;
    const bytes = new Uint8Array(stride);
    let at = 0;
    if (next !== undefined) {
      bytes.set([0, 0, next >> 8, next & 0xff, 0xa5]);
      at = 16;
    }
    for (const one of list) {
      bytes.set(segment({ ...one, length: (one.length | 0x8000_0000) >>> 0 }), at);
      at += 16;
    }
    if (at < stride) bytes.set(segment({ address: 0, length: 0, lkey: 0x100 }), at);
    this.machine.memory.write(this.base + RQ_AT + stride * (this.rqPc % 2 ** this.logs.rq), bytes);
    this.rqPc = (this.rqPc + 1) & 0xffff;
    this.machine.memory.write(this.base + RECORDS_AT, be32(this.rqPc));
  }

  // ------------------------------------------------------------------------------------- completions and events

  cqeAt(cqn: number, n: number): number {
    const start = this.base + (cqn === SEND_CQN ? SEND_CQ_AT : RECEIVE_CQ_AT);
    return start + (n % 2 ** this.logs.cq) * this.stride + this.stride - 64;
  }

  /** The next CQE if it is software's. Its place is free for the device once `tell` put the index into the record. */
  poll(cqn = SEND_CQN, tell = true): Cqe | undefined {
    const ci = this.cqCi[cqn] ?? 0;
    const raw = this.machine.memory.read(this.cqeAt(cqn, ci), 64);
    const view = new DataView(raw.buffer, raw.byteOffset);
    const last = view.getUint8(63);
    const lap = (ci >> this.logs.cq) & 1;
    if ((last & 1) !== lap || last >> 4 === 0xf) return undefined;
    this.cqCi[cqn] = ci + 1;
    if (tell) this.machine.memory.write(this.recordOf(cqn), be32((ci + 1) & 0xff_ffff));
    return {
      opcode: last >> 4,
      owner: last & 1,
      solicited: (last & 2) !== 0,
      qpn: view.getUint32(56) & 0xff_ffff,
      wqeOpcode: view.getUint8(56),
      counter: view.getUint16(60),
      bytes: view.getUint32(44),
      syndrome: view.getUint8(55),
      raw,
    };
  }

  pollAll(cqn = SEND_CQN): Cqe[] {
    const all: Cqe[] = [];
    for (let one = this.poll(cqn); one !== undefined; one = this.poll(cqn)) all.push(one);
    return all;
  }

  recordOf(cqn: number): number {
    return this.base + RECORDS_AT + (cqn === SEND_CQN ? 0x40 : 0x80);
  }

  armCq(sn: number, options: { ci?: number; solicited?: boolean; cqn?: number } = {}): void {
    const { cqn = SEND_CQN, solicited = false } = options;
    const ci = options.ci ?? this.cqCi[cqn] ?? 0;
    const first = ((sn << 28) | (solicited ? 1 << 24 : 0) | (ci & 0xff_ffff)) >>> 0;
    this.uar(0x20, Uint8Array.of(...be32(first), ...be32(cqn)));
  }

  /** The next EQE if it is software's. */
  pollEq(eqn = EQN): Uint8Array | undefined {
    const log = eqn === EQN ? this.logs.eq : 4;
    const ci = this.eqCi[eqn] ?? 0;
    const start = this.base + (eqn === EQN ? EQ_AT : ASYNC_AT);
    const raw = this.machine.memory.read(start + 64 * (ci % 2 ** log), 64);
    if (((raw[63] as number) & 1) !== ((ci >> log) & 1)) return undefined;
    this.eqCi[eqn] = ci + 1;
    return raw;
  }

  pollEqs(eqn = EQN): Uint8Array[] {
    const all: Uint8Array[] = [];
    for (let one = this.pollEq(eqn); one !== undefined; one = this.pollEq(eqn)) all.push(one);
    return all;
  }

  armEq(offset: 0x40 | 0x48 = 0x40, ci = this.eqCi[EQN] ?? 0, eqn = EQN): void {
    this.uar(offset, be32(((eqn << 24) | (ci & 0xff_ffff)) >>> 0));
  }
}

function segment({ address, length, lkey = LKEY }: Segment): number[] {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length);
  view.setUint32(4, lkey);
  view.setBigUint64(8, BigInt(address));
  return [...bytes];
}

function padTo16(bytes: Uint8Array): number[] {
  const padded = new Uint8Array(Math.ceil(bytes.length / 16) * 16);
  padded.set(bytes);
  return [...padded];
}

/** A machine with NICs, one area of host memory for each. */
export async function nics(
  variants: readonly Variant[],
  config: Omit<MachineConfig, 'slots'> = {},
): Promise<NicDriver[]> {
  const machine = await createMachine({
    hostMemoryBytes: AREA * variants.length,
    ...config,
    slots: variants.map((variant, n) => ({ device: nicAt(n * AREA, variant) as never })),
  });
  return variants.map(
    (variant, n) => new NicDriver(machine, machine.functions[n] as PciFunction, n * AREA, variant),
  );
}

export async function nic(
  variant: Variant = {},
  config: Omit<MachineConfig, 'slots'> = {},
): Promise<NicDriver> {
  return (await nics([variant], config))[0] as NicDriver;
}

/** A frame whose bytes tell where they belong. */
export const frame = (length: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, n) => (n * 29 + (n >> 8) * 7 + seed) & 0xff);

/** TLPs as text: direction, type, address, DWs. Completions without addresses. */
export function tlps(driver: NicDriver): string[] {
  return driver.machine.trace.take().map(({ direction, tlp }) => {
    const where = tlp.flow === 'CPL' ? '' : ` 0x${tlp.address.toString(16)}`;
    return `${direction} ${tlp.type}${where} ${tlp.length}`;
  });
}
