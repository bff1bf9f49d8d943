/** Throughput of a link by transfer size: the wire law, what holds below it, and other figures beside it, as data. */
import { inRange, invalid, needObject, ZtlpError } from '../base/errors.js';
import { type AnyLink, type Link, parseAnyLink } from '../base/link.js';
import { checkKeys, keysOf } from '../base/names.js';
import {
  checkOption,
  defaultOptions,
  type OptionInput,
  type OptionName,
  type OptionValue,
  resolveOptions,
} from '../base/options.js';
import { ready } from '../core/shared.js';
import {
  checkHost,
  HOSTS,
  type HostName,
  MEASURED_LINK,
  measuredGbps,
  measuredSizes,
  NFP6000,
} from '../link/host-presets.js';
import { benchMemory } from '../link/pcie-bench.js';
import { rawGbps, usesFlits } from '../link/rates.js';
import { skpRatio } from '../link/wire.js';
import { type Bound, type BoundSetting, boundsOf, lowest, transferOf } from './bandwidth-bounds.js';
import { simulateTransfers } from './simulated-transfers.js';
import type { TransferSetting } from './transfer-bytes.js';
import { refuseUnused } from './used-options.js';

export type BandwidthOp = 'write' | 'read' | 'both';

export interface BandwidthInput {
  /** `gen1x1` to `gen7x16`. Default `gen3x8`. */
  readonly link?: string;
  /** Transfers of one direction, or both at equal rates. Default `write`. */
  readonly op?: BandwidthOp;
  /** Bytes of a transfer, 1 to 1 MiB. Default: powers of two from 4 to 4096, and what the preset was measured at. */
  readonly sizes?: readonly number[];
  /** Offset of a transfer in its page, 0 to 4095. Default 0. */
  readonly offset?: number;
  /** Addresses above 4 GiB make headers of 4 DW. Default 64. */
  readonly addressBits?: 32 | 64;
  readonly ecrc?: boolean;
  readonly skp?: 'off' | 'on';
  /** Symbol times or blocks between SKP ordered sets. Default: the longest. */
  readonly skpInterval?: number;
  /** Reads under way at most, 1 to 1024. Default: option `tags`, or what the preset's adapter has. */
  readonly tags?: number;
  /** Time of one read from its request to its last byte, under load. Default: of the preset, else of the link alone. */
  readonly latencyNs?: number;
  /** What the receiver advertises. */
  readonly credits?: OptionValue<'credits'>;
  /** A model to compare with. */
  readonly model?: 'pcie-bench';
  /** Simulate the link event by event beside: transfers of up to 4096 bytes, generation 1 to 5. Default false. */
  readonly simulate?: boolean;
  /** A measured host, with the limits of the adapter that measured it. */
  readonly preset?: string;
  /** `mps`, `mrrs`, `rcb`, `writeSplit`, `readSplit`, `completionPolicy`, `linkLatencyNs`. */
  readonly options?: OptionInput;
}

/** Another figure for the same transfers in Gb/s, and how far it lies from ours: 0.01 is 1 % above. */
export interface Figure {
  readonly gbps: number;
  readonly difference: number;
}

/** Transfers of one size. With op `both` every rate is that of each direction. */
export interface BandwidthRow {
  readonly size: number;
  /** Requests and completions of one transfer. */
  readonly tlps: number;
  /** Wire bytes of one transfer from the requester, and towards it. */
  readonly upBytes: number;
  readonly downBytes: number;
  /** The wire law: payload in Gb/s when nothing but the wire limits. */
  readonly wireGbps: number;
  readonly gigabytesPerSecond: number;
  readonly tlpsPerSecond: number;
  /** Of the raw rate of the link. */
  readonly efficiency: number;
  /** Everything that limits; no order. */
  readonly bounds: readonly Bound[];
  /** The lowest of them. */
  readonly bound: Bound['by'];
  readonly limitGbps: number;
  /** What credits leave for sure with every UpdateFC at its limit, where that is below `limitGbps`. */
  readonly lateUpdateGbps: number | undefined;
  /** Against the wire law: that model has no other bound. */
  readonly model: Figure | undefined;
  /** Against the limit. */
  readonly simulated: Figure | undefined;
  readonly measured: Figure | undefined;
  /** The simulation against what was measured: 0.01 is 1 % above. */
  readonly simulationError: number | undefined;
}

export interface BandwidthReport {
  readonly op: BandwidthOp;
  readonly link: string;
  readonly rawGbps: number;
  readonly addressBits: 32 | 64;
  readonly offset: number;
  readonly ecrc: boolean;
  /** Share of the time that SKP ordered sets take. */
  readonly skpShare: number;
  readonly mps: number;
  readonly mrrs: number;
  readonly rcb: number;
  /** Undefined where nothing is read. */
  readonly tags: number | undefined;
  /** Undefined where nothing is read, or where it is that of the link alone. */
  readonly latencyNs: number | undefined;
  readonly linkLatencyNs: number;
  /** Undefined on a link of flits. */
  readonly credits: OptionValue<'credits'> | undefined;
  readonly model: 'pcie-bench' | undefined;
  readonly simulate: boolean;
  readonly preset: HostName | undefined;
  /** Options given beside those above. */
  readonly options: OptionInput;
  readonly rows: readonly BandwidthRow[];
}

const KEYS = keysOf<BandwidthInput>({
  link: true,
  op: true,
  sizes: true,
  offset: true,
  addressBits: true,
  ecrc: true,
  skp: true,
  skpInterval: true,
  tags: true,
  latencyNs: true,
  credits: true,
  model: true,
  simulate: true,
  preset: true,
  options: true,
});

const POWERS: readonly number[] = Array.from({ length: 11 }, (_, n) => 4 << n);
const PAGE = 4096;
/** Longest transfer: that of the splitters. */
export const MOST_BYTES = 2 ** 20;
/** Outstanding requests that ten tag bits can tell apart. */
export const MOST_TAGS = 1024;

/** Options that the calculation acts on, by direction. */
const USES: Readonly<Record<'all' | 'write' | 'read', readonly OptionName[]>> = {
  all: ['mps', 'linkLatencyNs'],
  write: ['writeSplit'],
  read: ['mrrs', 'rcb', 'readSplit', 'completionPolicy'],
};

function usesOf(op: BandwidthOp): OptionName[] {
  return [...USES.all, ...(op === 'read' ? [] : USES.write), ...(op === 'write' ? [] : USES.read)];
}

/** What the simulation does not have: it would answer another question than the bounds beside it. */
const WITHOUT_SIMULATION = [
  'it has no flits',
  'its transfers begin at offset 0',
  'it cuts requests at multiples of MPS',
] as const;

function isWithout(
  what: (typeof WITHOUT_SIMULATION)[number],
  { offset = 0, options = {} }: BandwidthInput,
  isFlit: boolean,
): boolean {
  const { writeSplit = 'aligned', readSplit = 'aligned' } = options;
  const found = {
    'it has no flits': isFlit,
    'its transfers begin at offset 0': offset !== 0,
    'it cuts requests at multiples of MPS': writeSplit !== 'aligned' || readSplit !== 'aligned',
  };
  return found[what];
}

/** Throws for input that this direction, this link or this preset has no use for: nothing is ignored. */
function checkUses(input: BandwidthInput, op: BandwidthOp, link: AnyLink): void {
  refuseUnused(
    input.options ?? {},
    usesOf(op),
    `the bandwidth of ${op === 'both' ? 'reads and writes' : `${op}s`}`,
  );
  const isFlit = usesFlits(link.generation);
  const pointless: readonly (readonly [keyof BandwidthInput, boolean, string])[] = [
    ['tags', op === 'write', 'only reads hold tags'],
    ['latencyNs', op === 'write', 'only reads wait'],
    ['credits', isFlit, 'credits of flit mode are not modelled'],
    ['model', isFlit, 'that model has only guesses for flits'],
    ...WITHOUT_SIMULATION.map((what) => ['simulate', isWithout(what, input, isFlit), what] as const),
  ];
  for (const [field, isPointless, why] of pointless)
    if (isPointless && input[field] !== undefined && input[field] !== false)
      throw new ZtlpError('invalid-value', `${field}: has no effect here: ${why}`, {
        field,
        value: input[field],
      });
}

/** The preset, if there is one and it fits the link. */
function presetOf(input: BandwidthInput, link: AnyLink, mps: number): HostName | undefined {
  if (input.preset === undefined) return undefined;
  const host = checkHost(input.preset);
  const { name, mps: measured } = MEASURED_LINK;
  if (link.name !== name) throw invalid('link', link.name, `${name}, with preset ${host}`);
  if (mps !== measured) throw invalid('mps', mps, `${measured}, with preset ${host}`);
  return host;
}

function sizesOf(input: BandwidthInput, preset: HostName | undefined): number[] {
  const { sizes = [...POWERS, ...(preset === undefined ? [] : measuredSizes(preset))] } = input;
  if (!Array.isArray(sizes)) throw invalid('sizes', sizes, 'a list of sizes in bytes');
  if (sizes.length === 0) throw new ZtlpError('invalid-value', 'no size to look at', { field: 'sizes' });
  for (const size of sizes) inRange('sizes', size, 1, MOST_BYTES);
  return [...new Set(sizes)].sort((one, other) => one - other);
}

function positive(field: string, value: number): number {
  if (typeof value === 'number' && value > 0 && value <= 1e9) return value;
  throw invalid(field, value, 'a number above 0, up to 1000000000 (ns)', 'out-of-range');
}

/** Looks at transfers of every size. Throws ZtlpError for input outside its values or without effect. */
export async function bandwidth(input: BandwidthInput = {}): Promise<BandwidthReport> {
  needObject('input', input);
  checkKeys('input', input, KEYS);
  const { op = 'write', addressBits = 64, offset = 0, ecrc = false, model, simulate = false } = input;
  if (typeof simulate !== 'boolean') throw invalid('simulate', simulate, 'true, false');
  if (op !== 'write' && op !== 'read' && op !== 'both') throw invalid('op', op, 'write, read, both');
  if (addressBits !== 32 && addressBits !== 64) throw invalid('addressBits', addressBits, '32, 64');
  if (model !== undefined && model !== 'pcie-bench') throw invalid('model', model, 'pcie-bench');
  inRange('offset', offset, 0, PAGE - 1);
  const link = parseAnyLink(input.link ?? MEASURED_LINK.name);
  checkUses(input, op, link);
  const given = input.options ?? {};
  const preset = presetOf(input, link, resolveOptions(given).mps);
  const host = preset === undefined ? undefined : HOSTS[preset];
  const options = resolveOptions(
    given,
    host === undefined ? undefined : { ...defaultOptions(), mrrs: host.mrrs },
  );
  const { mps, mrrs, rcb, linkLatencyNs } = options;
  const skp = { skp: input.skp, interval: input.skpInterval };
  const left = skpRatio(link.generation, skp);
  const isFlit = usesFlits(link.generation);
  const credits = isFlit ? undefined : checkOption('credits', input.credits ?? options.credits);
  const isReading = op !== 'write';
  const tags = inRange(
    'tags',
    input.tags ?? (host === undefined ? options.tags : NFP6000.reads),
    1,
    MOST_TAGS,
  );
  const latencyNs =
    input.latencyNs === undefined ? host?.dma.cpuWarm : positive('latencyNs', input.latencyNs);
  await ready();
  const { writeSplit, readSplit, completionPolicy } = options;
  const transfer: TransferSetting = {
    generation: link.generation,
    addressBits,
    offset,
    ecrc,
    options: { mps, mrrs, rcb, writeSplit, readSplit, completionPolicy },
  };
  const setting: BoundSetting = {
    op,
    link,
    skp,
    mps,
    tags,
    latencyNs,
    linkLatencyNs,
    credits,
    adapter: host === undefined ? undefined : NFP6000,
  };
  const bench = { addressBits, ecrc, mps, mrrs, rcb, rcbChunks: completionPolicy === 'rcb' };
  const modelGbps = (size: number): number | undefined => {
    if (model === undefined) return undefined;
    const { generation, lanes } = link as Link;
    const rates = benchMemory({ generation, lanes, ...bench }, size);
    return { write: rates.write, read: rates.readData, both: rates.bothRead }[op];
  };
  const simulatedGbps = (size: number): Promise<number | undefined> =>
    simulate
      ? simulateTransfers({
          op,
          size,
          link: link.name,
          addressBits,
          ecrc,
          skp: skp.skp === 'on',
          skpInterval: skp.interval,
          mps,
          mrrs,
          rcb,
          completionPolicy,
          tags,
          latencyNs,
          linkLatencyNs,
          credits,
          adapter: setting.adapter,
        })
      : Promise.resolve(undefined);
  const row = async (size: number): Promise<BandwidthRow> => {
    const packets = transferOf(op, size, transfer);
    const bounds = boundsOf(packets, setting);
    const { wireGbps, tlps, upBytes, downBytes, late } = bounds;
    const { by, gbps: limitGbps } = lowest(bounds.list);
    const simulated = await simulatedGbps(size);
    const measured = preset === undefined ? undefined : measuredGbps(preset, op, size);
    const figure = (gbps: number | undefined, against: number): Figure | undefined =>
      gbps === undefined ? undefined : { gbps, difference: gbps / against - 1 };
    return {
      size,
      tlps,
      upBytes,
      downBytes,
      wireGbps,
      gigabytesPerSecond: wireGbps / 8,
      tlpsPerSecond: ((wireGbps * 1e9) / (8 * size)) * tlps,
      efficiency: wireGbps / rawGbps(link),
      bounds: bounds.list,
      bound: by,
      limitGbps,
      lateUpdateGbps: late !== undefined && late < limitGbps ? late : undefined,
      model: figure(modelGbps(size), wireGbps),
      simulated: figure(simulated, limitGbps),
      measured: figure(measured, limitGbps),
      simulationError:
        simulated === undefined || measured === undefined ? undefined : simulated / measured - 1,
    };
  };
  const { mps: _mps, mrrs: _mrrs, rcb: _rcb, linkLatencyNs: _latency, ...others } = given;
  return {
    op,
    link: link.name,
    rawGbps: rawGbps(link),
    addressBits,
    offset,
    ecrc,
    skpShare: 1 - left.over / left.under,
    mps,
    mrrs,
    rcb,
    tags: isReading ? tags : undefined,
    latencyNs: isReading ? latencyNs : undefined,
    linkLatencyNs,
    credits,
    model,
    simulate,
    preset,
    options: others,
    rows: await Promise.all(sizesOf(input, preset).map(row)),
  };
}
