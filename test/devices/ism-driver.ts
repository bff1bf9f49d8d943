/** What a driver of ISM does, instruction by instruction (ism.md 3, 4, 5, 6, 8). */
import type { Machine, PciFunction } from '../../src/index.js';

export const SBA = 0x1000;
export const IEQ = 0x2000;
export const MSI_ADDRESS = 0xfe00_0000_0000_0000n;
/** What Linux presets the result to. */
const NOTHING = 0xffff;
const PAGE = 4096;
const FAILED = { ret: NOTHING, response: new DataView(new ArrayBuffer(256)) };

export interface DmbInput {
  readonly address: number;
  readonly bytes: number;
  readonly peer: bigint;
  readonly index?: number;
}

/** An entry of the event queue. */
export interface IsmEvent {
  readonly type: number;
  readonly code: number;
  readonly token: bigint;
  readonly info: bigint;
}

/** One piece of a move: `request` is the offset of the PCISTB. */
export interface Piece {
  readonly request: bigint;
  readonly bytes: number;
  readonly cc: number | null;
  readonly status: number;
}

export class IsmDriver {
  /** Instructions since they were taken: `pcistb 2:8 16`. */
  log: string[] = [];
  gid = 0n;
  isV2 = false;
  private readonly used = new Set<number>();
  private eventIndex = -1;
  /** Called between reading the signal area's bits: something else happens in the middle of the scan. */
  duringScan: (() => void) | undefined;

  constructor(
    readonly machine: Machine,
    readonly fn: PciFunction,
    /** Of its pages in memory. */
    private readonly base = 0,
  ) {}

  get sba(): number {
    return this.base + SBA;
  }

  get ieq(): number {
    return this.base + IEQ;
  }

  takeLog(): string[] {
    const { log } = this;
    this.log = [];
    return log;
  }

  /** One command; answers its return code and the response. */
  command(
    code: number,
    payload: Uint8Array,
    length = 8 + payload.length,
  ): { ret: number; response: DataView } {
    const header = new Uint8Array(8);
    const view = new DataView(header.buffer);
    view.setUint32(0, code);
    view.setUint16(6, length);
    // A program interruption ends the driver.
    if (payload.length > 0 && this.store(2, 8, payload).cc === null) return FAILED;
    if (this.store(2, 0, header).cc === null) return FAILED;
    const first = this.load(0);
    const response = new Uint8Array(256);
    response.set(first);
    const seen = new DataView(response.buffer);
    const ret = seen.getUint16(4);
    for (let at = 8; ret === 0 && at < seen.getUint16(6); at += 8) response.set(this.load(at), at);
    return { ret, response: seen };
  }

  /** A request of 64-bit and 32-bit fields: bigints and numbers. */
  run(code: number, ...fields: readonly (bigint | number)[]): { ret: number; response: DataView } {
    const bytes: number[] = [];
    for (const field of fields) {
      const part = new Uint8Array(typeof field === 'bigint' ? 8 : 4);
      const view = new DataView(part.buffer);
      if (typeof field === 'bigint') view.setBigUint64(0, field);
      else view.setUint32(0, field);
      bytes.push(...part);
    }
    return this.command(code, Uint8Array.from(bytes));
  }

  store(as: number, offset: number | bigint, source: Uint8Array): { cc: number | null; status: number } {
    this.log.push(`pcistb ${as}:${offset.toString(16)} ${source.length}`);
    const { cc, status } = this.machine.cpu.pcistb({
      fh: this.fn.handle,
      as,
      offset,
      length: source.length,
      source,
    });
    return { cc, status };
  }

  private load(offset: number): Uint8Array {
    this.log.push(`pcilg 2:${offset.toString(16)} 8`);
    const { cc, data } = this.machine.cpu.pcilg({ fh: this.fn.handle, as: 2, offset, length: 8 });
    const bytes = new Uint8Array(8);
    if (cc === 0 && data !== undefined) new DataView(bytes.buffer).setBigUint64(0, BigInt(data));
    else new DataView(bytes.buffer).setUint16(4, NOTHING);
    return bytes;
  }

  /** As section 8 has it. Answers the first return code that is not 0, and what was done when it came. */
  probe(): string {
    this.enableMsi();
    const steps: [string, () => number][] = [
      ['REG_SBA', () => this.run(0x01, BigInt(this.sba)).ret],
      ['REG_IEQ', () => this.run(0x02, BigInt(this.ieq), 512n).ret],
      [
        'READ_GID',
        () => {
          const { ret, response } = this.run(0x03);
          this.gid = response.getBigUint64(8);
          return ret;
        },
      ],
    ];
    for (const [name, step] of steps) {
      const ret = step();
      if (ret !== 0) return `${name} ${ret}`;
    }
    this.isV2 = this.run(0x04, 0x1fffn).ret === 0;
    const { ret } = this.run(0x08);
    return ret === 0 ? 'up' : `QUERY_INFO ${ret}`;
  }

  remove(): number[] {
    const rets = this.isV2 ? [this.run(0x05, 0x1fffn).ret] : [];
    rets.push(this.run(0x12).ret, this.run(0x11).ret);
    return rets;
  }

  private enableMsi(): void {
    const at = this.fn.config.capability(5);
    if (at === undefined) throw new Error('no MSI');
    const put = (offset: number, value: number, bytes: number): void => {
      const register = (at as number) + offset;
      this.machine.cpu.pcistg({
        fh: this.fn.handle,
        as: 15,
        offset: register,
        length: bytes,
        data: swap(value, bytes),
      });
    };
    put(4, 0, 4);
    put(8, Number(MSI_ADDRESS >> 32n), 4);
    put(12, 0, 2);
    put(2, 0x81, 2);
  }

  /** Registers memory that `peer` may write; answers the token, or what the driver or the device says. */
  registerDmb({ address, bytes, peer, index }: DmbInput): bigint | string {
    if (Math.ceil(bytes / PAGE) * PAGE > 2 ** 20) return '-EINVAL';
    const free = index ?? Array.from({ length: 1888 }, (_, n) => n + 32).find((n) => !this.used.has(n));
    if (free === undefined) return '-ENOSPC';
    if (free < 32 || this.used.has(free)) return '-EINVAL';
    const { ret, response } = this.run(0x0a, BigInt(address), bytes, free, 0, 0, peer);
    if (ret !== 0) return `ret ${ret}`;
    this.used.add(free);
    return response.getBigUint64(8);
  }

  unregisterDmb(token: bigint, index: number): number {
    this.used.delete(index);
    return this.run(0x0b, token).ret;
  }

  /** Section 6.3. */
  move(token: bigint, element: number, isSignal: boolean, offset: number, bytes: Uint8Array): Piece[] {
    const pieces: Piece[] = [];
    for (let done = 0; done < bytes.length; ) {
      const at = offset + done;
      const count = Math.min(PAGE - (at % PAGE), bytes.length - done);
      const isLast = done + count === bytes.length;
      const request = token | (BigInt(element) << 24n) | (isSignal && isLast ? 1n << 23n : 0n) | BigInt(at);
      const answer = this.store(0, request, bytes.subarray(done, done + count));
      pieces.push({ request, bytes: count, ...answer });
      if (answer.cc !== 0) break;
      done += count;
    }
    return pieces;
  }

  /** The interrupt handler: what it was told of each buffer, and the events. */
  handle(): { readonly signals: [index: number, mask: number][]; readonly events: IsmEvent[] } {
    const { memory } = this.machine;
    const byte = (at: number): number => memory.read(this.sba + at, 1)[0] ?? 0;
    const put = (at: number, value: number): void => memory.write(this.sba + at, Uint8Array.of(value));
    const signals: [number, number][] = [];
    put(0, byte(0) & 0x7f);
    for (let index = 32; index <= 1919; index++) {
      const at = 4 + (index >>> 3);
      const bit = 0x80 >>> (index & 7);
      if ((byte(at) & bit) === 0) continue;
      put(at, byte(at) & ~bit);
      const mask = memory.read(this.sba + 256 + 2 * index, 2);
      memory.write(this.sba + 256 + 2 * index, Uint8Array.of(0, 0));
      signals.push([index, ((mask[0] ?? 0) << 8) | (mask[1] ?? 0)]);
      this.duringScan?.();
    }
    if ((byte(0) & 0x40) === 0) return { signals, events: [] };
    put(0, byte(0) & 0xbf);
    return { signals, events: this.drain() };
  }

  private drain(): IsmEvent[] {
    const bytes = this.machine.memory.read(this.ieq, 512);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const events: IsmEvent[] = [];
    while (BigInt(this.eventIndex + 1) !== view.getBigUint64(0)) {
      this.eventIndex = (this.eventIndex + 1) % 15;
      const at = 32 + 32 * this.eventIndex;
      events.push({
        type: view.getUint32(at),
        code: view.getUint32(at + 4),
        token: view.getBigUint64(at + 8),
        info: view.getBigUint64(at + 24),
      });
    }
    return events;
  }

  /** Interrupts since they were taken. */
  interrupts(): number {
    return this.machine.takeInterrupts().filter(({ slot }) => slot === this.fn.slot).length;
  }
}

/** PCISTG moves bytes as the register has them; configuration space is little-endian. */
function swap(value: number, bytes: number): bigint {
  let swapped = 0n;
  for (let n = 0; n < bytes; n++) swapped = (swapped << 8n) | BigInt((value >>> (8 * n)) & 0xff);
  return swapped;
}
