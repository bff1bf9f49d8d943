/**
 * The analytic model of the pcie-bench project with everything that is known to be wrong in it, for comparison with its
 * published curves. It is not a model of a link: rates.ts, wire.ts and saturation.ts are.
 */
import { inRange, invalid } from '../base/errors.js';
import { checkOption } from '../base/options.js';
import { ackLimit, type TimerWidth } from './timers.js';

/** What the model's figures depend on. Flits are left out: its tables for them are guesses. */
export interface BenchConfig {
  readonly generation: 1 | 2 | 3 | 4 | 5;
  readonly lanes: 1 | 2 | 4 | 8 | 16 | 32;
  readonly addressBits: 32 | 64;
  readonly ecrc: boolean;
  readonly mps: number;
  readonly mrrs: number;
  readonly rcb: number;
  /** Cuts completions into pieces of RCB instead of MPS. */
  readonly rcbChunks: boolean;
}

const LANES: readonly number[] = [1, 2, 4, 8, 16, 32];

/** The largest transfer, which keeps every count exact. */
const MOST_BYTES = 2 ** 40;

/** Returns `config` if the model has figures for it, else throws ZtlpError. */
export function checkBenchConfig(config: BenchConfig): BenchConfig {
  inRange('generation', config.generation, 1, 5);
  if (!LANES.includes(config.lanes)) throw invalid('lanes', config.lanes, LANES.join(', '));
  if (config.addressBits !== 32 && config.addressBits !== 64)
    throw invalid('addressBits', config.addressBits, '32, 64');
  checkOption('mps', config.mps);
  checkOption('mrrs', config.mrrs);
  checkOption('rcb', config.rcb);
  return config;
}

/**
 * Entry of the model's Ack table in symbol times. One entry of 108 is not what the formula gives, and looks like a
 * typing error: 237 where 327 should be.
 */
export function benchAckInterval(
  generation: BenchConfig['generation'],
  lanes: TimerWidth,
  mps: number,
): number {
  const limit = ackLimit(generation, lanes, mps);
  return generation === 2 && lanes === 32 && mps === 4096 ? 237 : limit;
}

/** The same of its UpdateFC table, with another such entry: 248 where 148 should be. */
export function benchFcInterval(
  generation: BenchConfig['generation'],
  lanes: TimerWidth,
  mps: number,
): number {
  const limit = ackLimit(generation, lanes, mps);
  return generation === 1 && lanes === 32 && mps === 2048 ? 248 : limit;
}

/** Raw rate in Gb/s. */
export function benchRawGbps({ generation, lanes }: Pick<BenchConfig, 'generation' | 'lanes'>): number {
  if (generation <= 2) return lanes * (generation === 1 ? 2 : 4);
  return (lanes * 2 ** generation * 128) / 130;
}

/**
 * The rate that the model leaves to TLPs, in Gb/s. It takes symbol times of one lane for bytes of the whole link and
 * charges Acks and UpdateFC to the direction of the data, so wide links come out up to 9 % too slow; SKP is always on.
 */
export function benchTlpGbps(config: Pick<BenchConfig, 'generation' | 'lanes' | 'mps'>): number {
  const { generation, lanes, mps } = config;
  const acks = 8 / benchAckInterval(generation, lanes, mps);
  const updates = 8 / benchFcInterval(generation, lanes, mps);
  return benchRawGbps(config) * (1 - acks - updates - 4 / 1538);
}

/** Bytes of headers with framing, as the model counts them. */
export interface BenchHeaders {
  readonly write: number;
  readonly read: number;
  readonly completion: number;
}

/** Headers with 8 bytes of framing: 20 or 24 by address, and 4 more with ECRC. */
export function benchHeaders({ addressBits, ecrc }: Pick<BenchConfig, 'addressBits' | 'ecrc'>): BenchHeaders {
  const digest = ecrc ? 4 : 0;
  const request = (addressBits === 64 ? 24 : 20) + digest;
  return { write: request, read: request, completion: 20 + digest };
}

/** Bytes of a transfer in its parts. Data is not padded to DWs, which a link does. */
function bytesOf(config: BenchConfig): {
  write(size: number): number;
  requests(size: number): number;
  completions(size: number): number;
} {
  const headers = benchHeaders(config);
  const { mps, mrrs, rcb, rcbChunks } = config;
  const piece = rcbChunks ? rcb : mps;
  return {
    write: (size) => Math.ceil(size / mps) * headers.write + size,
    requests: (size) => Math.ceil(size / mrrs) * headers.read,
    completions: (size) => Math.ceil(size / piece) * headers.completion + size,
  };
}

/** Rates of transfers of one size, in Gb/s. */
export interface BenchMemory {
  /** Writes alone. */
  readonly write: number;
  /** Reads alone: data, and what requests and completions take of the link. */
  readonly readData: number;
  readonly readRequests: number;
  readonly readCompletions: number;
  /** Reads and writes at once, at the same rate. */
  readonly bothWrite: number;
  readonly bothRead: number;
}

/** The model's rates of transfers of `size` bytes. */
export function benchMemory(config: BenchConfig, size: number): BenchMemory {
  checkBenchConfig(config);
  inRange('size', size, 1, MOST_BYTES);
  const rate = benchTlpGbps(config);
  const { write, requests, completions } = bytesOf(config);
  const written = write(size);
  const asked = requests(size);
  const answered = completions(size);
  const reads = rate / Math.max(asked, answered);
  const both = Math.min(rate / (written + asked), rate / answered) * size;
  return {
    write: (rate * size) / written,
    readData: reads * size,
    readRequests: reads * asked,
    readCompletions: reads * answered,
    bothWrite: both,
    bothRead: both,
  };
}

/** Rates of network frames through an adapter, in Gb/s of data: each way at once, sending alone, receiving alone. */
export interface BenchNic {
  readonly both: number;
  readonly transmit: number;
  readonly receive: number;
}

/** Bytes of `packets` packets: up from the adapter, down to it. */
interface Way {
  readonly up: number;
  readonly down: number;
}

/** Packets that sending and receiving are counted over: a common multiple of all batches of descriptors. */
const BATCH = 160;
const CRC_BYTES = 4;

/** How an adapter and its driver share registers and descriptors; counts are packets per event, undefined for never. */
interface NicDesign {
  readonly sendDoorbell: number;
  /** Descriptors of 16 bytes fetched at once. */
  readonly sendFetch: number;
  readonly sendWriteBack: number | undefined;
  readonly sendInterrupt: number | undefined;
  readonly sendHeadRead: number | undefined;
  readonly receiveDoorbell: number;
  readonly receiveWriteBack: number;
  readonly receiveInterrupt: number | undefined;
  readonly receiveHeadRead: number | undefined;
}

/** Three designs: everything per packet; batches as a kernel driver uses them; a driver that polls memory. */
const NICS: Readonly<Record<'simple' | 'kernel' | 'dpdk', NicDesign>> = {
  simple: {
    sendDoorbell: 1,
    sendFetch: 1,
    sendWriteBack: undefined,
    sendInterrupt: 1,
    sendHeadRead: 1,
    receiveDoorbell: 1,
    receiveWriteBack: 1,
    receiveInterrupt: 1,
    receiveHeadRead: 1,
  },
  kernel: {
    sendDoorbell: 1,
    sendFetch: 40,
    sendWriteBack: 8,
    sendInterrupt: 32,
    sendHeadRead: 1,
    receiveDoorbell: 32,
    receiveWriteBack: 1,
    receiveInterrupt: 32,
    receiveHeadRead: 8,
  },
  dpdk: {
    sendDoorbell: 32,
    sendFetch: 40,
    sendWriteBack: 8,
    sendInterrupt: undefined,
    sendHeadRead: undefined,
    receiveDoorbell: 32,
    receiveWriteBack: 1,
    receiveInterrupt: undefined,
    receiveHeadRead: undefined,
  },
};

const DESCRIPTOR = 16;
const REGISTER = 4;

/** Times that something done every `packets` packets happens in a batch. */
function times(packets: number | undefined): number {
  return packets === undefined ? 0 : BATCH / packets;
}

function sending(config: BenchConfig, design: NicDesign, data: number): Way {
  const { write, requests, completions } = bytesOf(config);
  const fetched = design.sendFetch * DESCRIPTOR;
  const writtenBack = design.sendWriteBack === undefined ? 0 : write(design.sendWriteBack * DESCRIPTOR);
  return {
    up:
      times(design.sendFetch) * requests(fetched) +
      BATCH * requests(data) +
      times(design.sendWriteBack) * writtenBack +
      times(design.sendInterrupt) * write(REGISTER) +
      times(design.sendHeadRead) * completions(REGISTER),
    down:
      times(design.sendDoorbell) * write(REGISTER) +
      times(design.sendFetch) * completions(fetched) +
      BATCH * completions(data) +
      times(design.sendHeadRead) * requests(REGISTER),
  };
}

/** The request for the descriptor is missing upwards, as the model loses it. */
function receiving(config: BenchConfig, design: NicDesign, data: number): Way {
  const { write, requests, completions } = bytesOf(config);
  return {
    up:
      BATCH * write(data) +
      times(design.receiveWriteBack) * write(design.receiveWriteBack * DESCRIPTOR) +
      times(design.receiveInterrupt) * write(REGISTER) +
      times(design.receiveHeadRead) * completions(REGISTER),
    down:
      times(design.receiveDoorbell) * write(REGISTER) +
      BATCH * completions(DESCRIPTOR) +
      times(design.receiveHeadRead) * requests(REGISTER),
  };
}

/**
 * The model's rates of frames of `frameSize` bytes with their check sequence, 5 at least; the sequence does not cross the
 * link and does not count as data.
 */
export function benchNic(config: BenchConfig, nic: keyof typeof NICS, frameSize: number): BenchNic {
  checkBenchConfig(config);
  const data = inRange('frameSize', frameSize, CRC_BYTES + 1, MOST_BYTES) - CRC_BYTES;
  const rate = benchTlpGbps(config);
  const send = sending(config, NICS[nic], data);
  const receive = receiving(config, NICS[nic], data);
  const gbps = ({ up, down }: Way): number => (rate / Math.max(up, down)) * BATCH * data;
  return {
    both: gbps({ up: send.up + receive.up, down: send.down + receive.down }),
    transmit: gbps(send),
    receive: gbps(receive),
  };
}
