/** Loads the WebAssembly core and gives typed access to its memory. The only room that knows the exported interface. */
import { instantiate } from '@assemblyscript/loader';
import { readWasm } from '#read-wasm';
import * as L from '../../assembly/layout.js';
import { ZtlpError } from '../base/errors.js';
import type { CoreExports } from './exports.js';
import { high32, low32, type U64 } from './u64.js';

/** Where a core comes from: bytes, a compiled module, or a response to stream. */
export type CoreSource = BufferSource | WebAssembly.Module | Response;

/** Totals of one access, as the ACCESS block holds them. Counts are exact up to 2^53. */
export interface AccessTotals {
  readonly guestInstructions: number;
  readonly exits: number;
  readonly systemCalls: number;
  readonly hostOperations: number;
  /** Host operations in the MIO form of the s390 PCI instructions. */
  readonly mioOperations: number;
  readonly deviceCalls: number;
  /** Requests and completions. */
  readonly tlps: number;
  readonly requests: number;
  /** Data bytes in TLPs, whole DWs, towards the function and back. */
  readonly payloadBytesDown: number;
  readonly payloadBytesUp: number;
  /** Bytes on a non-flit link, framing and LCRC included, towards the function and back. */
  readonly wireBytesDown: number;
  readonly wireBytesUp: number;
  /** The same for the last operation alone. */
  readonly lastWireBytesDown: number;
  readonly lastWireBytesUp: number;
  /** Bytes of the access that operations covered, skipped ones included. */
  readonly bytesDone: number;
  /** Requests that no function claimed. */
  readonly unclaimed: number;
  /** FAULT_* of layout.ts, the packed zPCI answer that belongs to it, and the offset of the refused instruction. */
  readonly fault: number;
  readonly answer: number;
  readonly faultOffset: number;
  /** Length of its operand in bytes. */
  readonly faultBytes: number;
}

/** Instantiates a core; anything that is not this package's module is a typed error. */
async function instance(source: CoreSource | Promise<CoreSource> | undefined): Promise<WebAssembly.Exports> {
  const what = source === undefined ? 'the bundled core' : 'core';
  let exports: WebAssembly.Exports;
  try {
    exports = (await instantiate<CoreExports>(source ?? readWasm(), {})).instance.exports;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ZtlpError('malformed', `${what} cannot be loaded: ${reason}`, {
      field: 'core',
      value: source,
      cause,
    });
  }
  if (typeof exports.machineCreate === 'function') return exports;
  throw new ZtlpError('malformed', `${what} is a WebAssembly module, but not the core of ztlp`, {
    field: 'core',
    value: source,
  });
}

/** One WebAssembly instance with its views. Hot exports are called through `x`, never through the loader's wrappers. */
export class Core {
  readonly x: CoreExports;
  u8!: Uint8Array;
  u32!: Uint32Array;
  f64!: Float64Array;
  /** Byte addresses of the blocks, by PLACE_*. */
  private readonly places: number[] = [];

  private constructor(exports: CoreExports) {
    this.x = exports;
    this.refresh();
  }

  /** Instantiates a core and reserves its memory: bytes of host memory, of BAR memory, and what `reserve` asks for. */
  static async load(
    source: CoreSource | Promise<CoreSource> | undefined,
    hostBytes: number,
    barBytes: number,
    linkPayloadBytes = 0,
    reserve?: (x: CoreExports) => void,
  ): Promise<Core> {
    // The naked functions: the loader's wrappers cost several times the call.
    const core = new Core((await instance(source)) as unknown as CoreExports);
    if (linkPayloadBytes > 0) core.x.linkReserve(linkPayloadBytes);
    reserve?.(core.x);
    core.create(hostBytes, barBytes);
    return core;
  }

  private create(hostBytes: number, barBytes: number): void {
    const answer = this.x.machineCreate(hostBytes, barBytes);
    if (answer === L.CREATE_TOO_LARGE || answer === L.CREATE_NO_MEMORY) {
      throw new ZtlpError(
        'resource',
        `${hostBytes} bytes of host memory and ${barBytes} bytes of BAR memory do not fit`,
        { field: 'hostMemoryBytes', value: hostBytes, allowed: 'less than about 4 GiB together' },
      );
    }
    this.refresh();
    for (let block = 0; block < L.PLACE_COUNT; block++) this.places[block] = this.x.place(block) >>> 0;
  }

  /** Views go stale when memory grows, which happens once, at create. */
  private refresh(): void {
    const { buffer } = this.x.memory;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }

  /** Byte address of block PLACE_*. */
  at(block: number): number {
    return this.places[block] as number;
  }

  /** Word `offset` (bytes) of block PLACE_*, unsigned. */
  word(block: number, offset: number): number {
    return this.u32[(this.at(block) + offset) >>> 2] as number;
  }

  setWord(block: number, offset: number, value: number): void {
    this.u32[(this.at(block) + offset) >>> 2] = value;
  }

  /** u64 word `offset` (bytes) of block PLACE_*. */
  setLong(block: number, offset: number, value: U64): void {
    this.setWord(block, offset, low32(value));
    this.setWord(block, offset + 4, high32(value));
  }

  /** u64 word `offset` (bytes) of block PLACE_*. For tables and queues: no request of a function comes here. */
  long(block: number, offset: number): bigint {
    return (BigInt(this.word(block, offset + 4)) << 32n) | BigInt(this.word(block, offset));
  }

  /** f64 word `offset` (bytes) of block PLACE_*. */
  count(block: number, offset: number): number {
    return this.f64[(this.at(block) + offset) >>> 3] as number;
  }

  setCount(block: number, offset: number, value: number): void {
    this.f64[(this.at(block) + offset) >>> 3] = value;
  }

  setParam(offset: number, value: number): void {
    this.setWord(L.PLACE_PARAMS, offset, value);
  }

  /** Where the host stages write data, and finds read results, of an access that starts at offset `lo`. */
  stagedAt(lo: number): number {
    return this.at(L.PLACE_PAYLOAD) + L.STAGE_LEAD + (lo & 15);
  }

  /** Totals of the access that ended last. */
  totals(): AccessTotals {
    this.x.summarise();
    const get = (offset: number): number => this.count(L.PLACE_ACCESS, offset);
    return {
      guestInstructions: get(L.ACCESS_GUEST_INSTRUCTIONS),
      exits: get(L.ACCESS_EXITS),
      systemCalls: get(L.ACCESS_SYSTEM_CALLS),
      hostOperations: get(L.ACCESS_HOST_OPERATIONS),
      mioOperations: get(L.ACCESS_MIO_OPERATIONS),
      deviceCalls: get(L.ACCESS_DEVICE_CALLS),
      tlps: get(L.ACCESS_TLPS),
      requests: get(L.ACCESS_REQUESTS),
      payloadBytesDown: get(L.ACCESS_PAYLOAD_BYTES_DOWN),
      payloadBytesUp: get(L.ACCESS_PAYLOAD_BYTES_UP),
      wireBytesDown: get(L.ACCESS_WIRE_DOWN),
      wireBytesUp: get(L.ACCESS_WIRE_UP),
      lastWireBytesDown: get(L.ACCESS_LAST_WIRE_DOWN),
      lastWireBytesUp: get(L.ACCESS_LAST_WIRE_UP),
      bytesDone: get(L.ACCESS_BYTES_DONE),
      unclaimed: get(L.ACCESS_UNCLAIMED),
      fault: get(L.ACCESS_FAULT),
      answer: get(L.ACCESS_ANSWER),
      faultOffset: get(L.ACCESS_FAULT_POSITION),
      faultBytes: get(L.ACCESS_FAULT_BYTES),
    };
  }

  /**
   * Hands every undrained TLP (byte address of its descriptor) and operation record to the visitors, then frees them.
   * The descriptors are valid only during the call.
   */
  drain(tlp: (descriptor: number) => void, operation?: (record: number) => void): void {
    const first = this.x.ringKeep() >>> 0;
    const tlps = this.x.ringTlps();
    for (let n = 0; n < tlps; n++) {
      tlp(this.at(L.PLACE_RING) + ((first + n) % L.RING_SLOTS) * L.DESCRIPTOR_STRIDE);
    }
    if (operation !== undefined) {
      const records = this.x.ringOperations();
      for (let n = 0; n < records; n++) operation(this.at(L.PLACE_OPERATIONS) + n * L.OPERATION_STRIDE);
    }
    this.x.drained();
  }
}
