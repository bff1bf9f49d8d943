/** The regression of the 4 KiB block store against its splits: counts, final memory and refusals, on live machines. */
import { invalid, ZtlpError } from '../base/errors.js';
import { randomBytes, seeded } from '../base/random.js';
import type { Device } from '../device/define.js';
import { memoryDevice } from '../devices/memory.js';
import type { PciFunction } from '../machine/function.js';
import { createMachine, type Machine } from '../machine/machine.js';
import type { PathId } from '../path/table.js';
import { describeAnswer } from '../zpci/answer.js';

export interface RegressInput {
  /** Max Payload Size: 128, 256, 512 or 4096, the sizes of the sheet's table. Default 256. */
  readonly mps?: number;
  /** Random (offset, length) pairs beside the fixed 4 KiB block. Default 200. */
  readonly cases?: number;
  /** Default 1. */
  readonly seed?: number;
  /** Its first BAR that is memory and nothing else, of 64 KiB or more, takes the stores. Default: plain memory. */
  readonly device?: Device;
}

/** One way to store the block. Expected numbers are those of the sheets (timing.md 7, zpci.md 8.4). */
export interface RegressRow {
  readonly way: string;
  readonly path: PathId;
  readonly operations: number;
  readonly tlps: number;
  readonly wireBytes: number;
  readonly expectedOperations: number;
  readonly expectedTlps: number;
  readonly expectedWireBytes: number;
  readonly memoryEqual: boolean;
}

/** A store that a strict group refuses, and what it answers. */
export interface RefusalRow {
  readonly what: string;
  readonly expected: string;
  readonly actual: string;
  readonly written: boolean;
}

export interface RegressReport {
  /** Name of the device. */
  readonly device: string;
  /** Whether its BAR is above 4 GiB, so that headers have 4 DWs. */
  readonly above4GiB: boolean;
  readonly mps: number;
  readonly seed: number;
  readonly rows: readonly RegressRow[];
  /** Random pairs tried on every way, and those after which memory differed. */
  readonly cases: number;
  readonly mismatches: readonly { readonly way: string; readonly offset: number; readonly length: number }[];
  readonly refusals: readonly RefusalRow[];
  readonly passed: boolean;
}

const BLOCK = 4096;
const BAR_BYTES = 0x10000;
/** Where the fixed block goes: a page of its own. */
const BLOCK_OFFSET = 0x1000;
/** 4 DW header, framing, sequence and LCRC of one write (link.md 4); below 4 GiB the header has 3 DWs. */
const WRITE_OVERHEAD = 24;
const LOW_WRITE_OVERHEAD = 20;

/** The ways, and the operations each needs for 4 KiB at a page border. */
const WAYS: readonly { readonly way: string; readonly path: PathId; readonly operations: number }[] = [
  { way: '1 PCISTB of 4096', path: 'zpci-pcistb', operations: 1 },
  { way: '32 PCISTB of 128', path: 'zpci-memcpy-old', operations: 32 },
  { way: '512 PCISTG of 8', path: 'zpci-pcistg8', operations: 512 },
  { way: '1024 PCISTG of 4', path: 'zpci-pcistg4', operations: 1024 },
];

/** TLPs of one 4096-byte PCISTB by MPS (zpci.md 8.4, row C). */
const BLOCK_TLPS: Readonly<Record<number, number>> = { 128: 32, 256: 16, 512: 8, 4096: 1 };

/** Every MPS that there are counts for. */
export const REGRESS_MPS: readonly number[] = Object.keys(BLOCK_TLPS).map(Number);

/** Stores that strict rules refuse (zpci.md 2.7 steps 5 to 8), maxstbl 128. */
const REFUSED: readonly { what: string; offset: number; length: number; source: number }[] = [
  { what: 'offset 4', offset: 4, length: 16, source: 0 },
  { what: 'length 8', offset: 0, length: 8, source: 0 },
  { what: 'length 0', offset: 0, length: 0, source: 0 },
  { what: 'length 11', offset: 0, length: 11, source: 0 },
  { what: 'length 136, above maxstbl', offset: 0, length: 136, source: 0 },
  { what: 'length 4096, above maxstbl', offset: 0, length: 4096, source: 0 },
  { what: 'crossing 4 KiB', offset: 0xfc0, length: 72, source: 0 },
  { what: 'source address 4 mod 8', offset: 0, length: 16, source: 4 },
];

interface Bench {
  readonly machine: Machine;
  readonly fn: PciFunction;
  /** Number of the BAR that takes the stores. */
  readonly bar: number;
}

async function bench(mps: number, strict: boolean, device: Device | undefined): Promise<Bench> {
  const group = strict ? {} : { maxstbl: BLOCK, relaxed: true };
  const machine = await createMachine({
    platform: 's390x',
    slots: [
      {
        device: device ?? memoryDevice({ bars: [{ size: BAR_BYTES }] }),
        options: { zpciMode: 'native', mps: mps as 256, ...group },
      },
    ],
  });
  return {
    machine,
    fn: machine.functions[0] as PciFunction,
    bar: device === undefined ? 0 : memoryBarOf(device),
  };
}

/** Number of the first BAR that the core serves as memory and that is large enough. */
function memoryBarOf({ name, bars }: Device): number {
  const index = bars.findIndex((bar) => {
    const [region] = bar?.regions ?? [];
    return region?.kind === 'memory' && region.size === bar?.size && region.size >= BAR_BYTES;
  });
  if (index >= 0) return index;
  throw new ZtlpError('unsupported', `${name}: has no BAR that the stores can go to`, {
    field: 'device',
    value: name,
    allowed: 'a device with a BAR of 64 KiB or more that is memory and nothing else',
  });
}

/** Stores `data` along `path` into cleared memory; true when memory then holds it and nothing else. */
function stores(bench: Bench, path: PathId, offset: number, data: Uint8Array): boolean {
  const { machine, fn, bar } = bench;
  const memory = fn.barMemory(bar).subarray(0, BAR_BYTES);
  memory.fill(0);
  // Source and target equally aligned: the split is then cut at natural alignment alone.
  const { fault } = machine.cpu.write({ path, function: fn, bar, offset, data, sourceAddress: offset });
  const expected = new Uint8Array(BAR_BYTES);
  expected.set(data, offset);
  return fault === undefined && memory.every((byte, at) => byte === expected[at]);
}

function fixedRow(mps: number, target: Bench, data: Uint8Array, way: (typeof WAYS)[number]): RegressRow {
  const memoryEqual = stores(target, way.path, BLOCK_OFFSET, data);
  const { totals } = target.machine.cpu.write({
    path: way.path,
    function: target.fn,
    bar: target.bar,
    offset: BLOCK_OFFSET,
    data,
    sourceAddress: BLOCK_OFFSET,
  });
  const expectedTlps = way.operations === 1 ? (BLOCK_TLPS[mps] as number) : way.operations;
  return {
    way: way.way,
    path: way.path,
    operations: totals.hostOperations,
    tlps: totals.tlps,
    wireBytes: totals.wireBytesDown,
    expectedOperations: way.operations,
    expectedTlps,
    expectedWireBytes: BLOCK + expectedTlps * (isAbove(target) ? WRITE_OVERHEAD : LOW_WRITE_OVERHEAD),
    memoryEqual,
  };
}

function isAbove({ fn, bar }: Bench): boolean {
  return BigInt(fn.bar(bar).address) >= 1n << 32n;
}

async function refusals(mps: number, device: Device | undefined): Promise<RefusalRow[]> {
  const { machine, fn, bar } = await bench(mps, true, device);
  const source = new Uint8Array(BLOCK).fill(0xa5);
  return REFUSED.map(({ what, offset, length, source: sourceAddress }) => {
    const answer = machine.cpu.pcistb({ fh: fn.handle, as: bar, offset, length, source, sourceAddress });
    const written = fn
      .barMemory(bar)
      .subarray(0, BAR_BYTES)
      .some((byte) => byte !== 0);
    return { what, expected: 'specification exception', actual: describeAnswer(answer), written };
  });
}

function rowPassed(row: RegressRow): boolean {
  return (
    row.memoryEqual &&
    row.operations === row.expectedOperations &&
    row.tlps === row.expectedTlps &&
    row.wireBytes === row.expectedWireBytes
  );
}

/** Runs the regression. Throws ZtlpError for an MPS the sheets give no counts for, or a wrong count. */
export async function runRegression(input: RegressInput = {}): Promise<RegressReport> {
  const { mps = 256, cases = 200, seed = 1, device } = input;
  if (BLOCK_TLPS[mps] === undefined) throw invalid('mps', mps, REGRESS_MPS.join(', '));
  if (!Number.isInteger(cases) || cases < 0 || cases > 1_000_000)
    throw invalid('cases', cases, '0 to 1000000', 'out-of-range');
  const next = seeded(seed);
  const target = await bench(mps, false, device);
  const data = randomBytes(next, BLOCK);
  const rows = WAYS.map((way) => fixedRow(mps, target, data, way));
  const mismatches: { way: string; offset: number; length: number }[] = [];
  for (let n = 0; n < cases; n++) {
    const inPage = next() % BLOCK;
    const length = 1 + (next() % (BLOCK - inPage));
    const offset = inPage + BLOCK * (next() % (BAR_BYTES / BLOCK));
    const part = data.subarray(0, length);
    for (const { way, path } of WAYS)
      if (!stores(target, path, offset, part)) mismatches.push({ way, offset, length });
  }
  const refused = await refusals(mps, device);
  const passed =
    rows.every(rowPassed) &&
    mismatches.length === 0 &&
    refused.every(({ expected, actual, written }) => expected === actual && !written);
  const place = { device: target.fn.name, above4GiB: isAbove(target) };
  return { ...place, mps, seed, rows, cases, mismatches, refusals: refused, passed };
}
