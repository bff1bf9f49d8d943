/** What a Linux guest keeps in memory for a zPCI function: CLP blocks, information blocks, translation tables, interrupt bits. */
import type { Machine, PciFunction, ZpciAnswer } from '../../src/index.js';
import { encodeFib } from '../../src/zpci/fib.js';

/** Places in guest memory: any that do not overlap. */
const FIB = 0x1000;
const CLP = 0x2000;
const FMB = 0x5000;
const AIBV = 0x6000;
const AISB = 0x7000;
const REGION_TABLE = 0x1_0000;
const SEGMENT_TABLE = 0x1_4000;
const PAGE_TABLES = 0x1_8000;
const PAGE_TABLE_BYTES = 0x800;
const FRAMES = 0x40_0000;
/** Bytes of guest memory: the frames of 1024 pages are the last thing in it. */
export const HOST_BYTES = 0x80_0000;
const MAX_PAGES = 1024;
const PAGE = 0x1000;

/** Linux `PCI_ISC`, and the interrupts that this driver asks for. */
export const ISC = 2;
const NOI = 3;
/** Last I/O address that region-third tables reach. */
const PAL = 2n ** 42n - 1n;

// Entries of the tables (zpci.md 5.2).
const ENTRIES = 2048;
const PAGE_ENTRIES = 256;
const INVALID = 0x20n;
const INVALID_PAGE = 0x400n;
const REGION_FLAGS = 0x7n;
const ANCHOR_FLAGS = 0x804n;

const OK = 0x10;

/** The four calls of the boot, in the order of Linux `clp_scan_pci_devices` and `zpci_enable_device`. */
const CALLS = ['list', 'function', 'group', 'enable'] as const;

export class LinuxGuest {
  private sdma = 0n;
  private handle = 0;
  private group = 0;
  private calls = 0;
  private readonly segments = new Set<number>();

  constructor(
    private readonly machine: Machine,
    private readonly fn: PciFunction,
  ) {}

  /** The next call of the boot; what its response should say and does not. */
  clp(): { readonly answer: ZpciAnswer; readonly problems: readonly string[] } {
    const call = CALLS[this.calls++];
    const { fn } = this;
    const problems: string[] = [];
    const expect = (what: string, value: number, wanted: number): void => {
      if (value !== wanted) problems.push(`CLP ${call}: ${what} ${value} instead of ${wanted}`);
    };
    const [command, length] = { list: [2, 4064], function: [3, 384], group: [4, 64], enable: [5, 160] }[
      call ?? 'list'
    ] as [number, number];
    const request = new DataView(new ArrayBuffer(32));
    request.setUint16(0, 32);
    request.setUint16(2, command);
    if (call === 'group') request.setUint8(19, this.group);
    else if (call !== 'list') request.setUint32(16, this.handle);
    if (call === 'enable') request.setUint8(23, 1); // one DMA address space
    const { answer, response } = this.call(request, length);
    expect('response', response.getUint16(2), OK);
    if (call === 'list') {
      this.handle = response.getUint32(32 + 12);
      expect('entries', (response.getUint16(0) - 32) / 16, 1);
      expect('function ID', response.getUint32(32 + 8), 0x10); // fid 16 of the recorded machine
      expect('enable bit', this.handle >>> 31, 0);
    } else if (call === 'function') {
      this.group = response.getUint8(19);
      this.sdma = response.getBigUint64(64);
      expect('UID', response.getUint32(124), 1); // uid 1
      // Sizes as the driver finds them later by configuration space: BAR 1 has 4 KiB, BAR 4 16 KiB.
      [0, 12, 0, 0, 14, 0].forEach((exponent, n) => {
        expect(`size of BAR ${n}`, response.getUint8(24 + n), exponent);
      });
    } else if (call === 'group') {
      // Every new mapping is refreshed only where this bit is set: what the log's 607 RPCIT are.
      expect('refresh bit', response.getUint8(19) & 1, 1);
      expect('upper half of the MSI address', response.getUint32(40), 0xfe00_0000);
    } else {
      expect('handle', response.getUint32(16), fn.handle);
      expect('enable bit', fn.handle >>> 31, 1);
    }
    return { answer, problems };
  }

  /** MPCIFC with the block that Linux gives it. */
  mpcifc(oc: number, dmaas: number): ZpciAnswer {
    if (oc === 4) this.initTables();
    const blocks: Readonly<Record<number, Parameters<typeof encodeFib>[0]>> = {
      2: { isc: ISC, noi: NOI, aibvo: 0, sum: true, aisbo: 0, aibv: BigInt(AIBV), aisb: BigInt(AISB) },
      4: { pba: this.sdma, pal: PAL, iota: BigInt(REGION_TABLE) | ANCHOR_FLAGS },
      10: { fmb: BigInt(FMB) },
    };
    this.machine.memory.write(FIB, encodeFib(blocks[oc] ?? {}));
    return this.machine.cpu.mpcifc({ fh: this.fn.handle, oc, dmaas, fib: FIB });
  }

  /** Gives each page of the range a frame, with the page's number in its first doubleword. */
  map(start: bigint, length: bigint): void {
    for (let at = start; at < start + length; at += BigInt(PAGE)) {
      const page = Number((at - this.sdma) / BigInt(PAGE));
      if (page < 0 || page >= MAX_PAGES) throw new Error(`0x${at.toString(16)} is no page of this guest`);
      const segment = Math.floor(page / PAGE_ENTRIES);
      const table = PAGE_TABLES + segment * PAGE_TABLE_BYTES;
      if (!this.segments.has(segment)) {
        this.fill(table, PAGE_ENTRIES, INVALID_PAGE);
        this.put(SEGMENT_TABLE + 8 * Number((at >> 20n) & 0x7ffn), BigInt(table));
        this.segments.add(segment);
      }
      const frame = FRAMES + page * PAGE;
      this.put(table + 8 * (page % PAGE_ENTRIES), BigInt(frame));
      this.put(frame, BigInt(page));
    }
  }

  /** Bits that messages set, counted from the left: of the vectors, and the summary. */
  get interruptBits(): { readonly vectors: readonly number[]; readonly summary: number } {
    const vectors = bitsOf(this.machine.memory.read(AIBV, 8));
    return { vectors, summary: this.machine.memory.read(AISB, 1)[0] as number };
  }

  /** What the interrupt handler does before it allows the next interrupt: it has seen the bits. */
  clearInterrupts(): void {
    this.put(AISB, 0n);
    this.put(AIBV, 0n);
  }

  /** Counters of the measurement block: loads, stores, store blocks, refreshes. */
  get measured(): readonly number[] {
    const block = new DataView(this.machine.memory.read(FMB, 48).buffer);
    return [16, 24, 32, 40].map((at) => Number(block.getBigUint64(at)));
  }

  private call(request: DataView, length: number): { answer: ZpciAnswer; response: DataView } {
    const { memory, cpu } = this.machine;
    const block = new Uint8Array(32 + length);
    block.set(new Uint8Array(request.buffer));
    new DataView(block.buffer).setUint16(32, length);
    memory.write(CLP, block);
    const answer = cpu.clp({ address: CLP });
    return { answer, response: new DataView(memory.read(CLP + 32, length).buffer) };
  }

  private initTables(): void {
    this.fill(REGION_TABLE, ENTRIES, INVALID);
    this.fill(SEGMENT_TABLE, ENTRIES, INVALID);
    this.put(REGION_TABLE + 8 * Number(this.sdma >> 31n), BigInt(SEGMENT_TABLE) | REGION_FLAGS);
  }

  private fill(at: number, entries: number, entry: bigint): void {
    for (let n = 0; n < entries; n++) this.put(at + 8 * n, entry);
  }

  private put(at: number, doubleword: bigint): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, doubleword);
    this.machine.memory.write(at, bytes);
  }
}

function bitsOf(bytes: Uint8Array): number[] {
  return Array.from({ length: 8 * bytes.length }, (_, n) => n).filter(
    (n) => ((bytes[n >> 3] as number) & (0x80 >> (n & 7))) !== 0,
  );
}
