/** The links of a timed machine: what a slot says about its own, checked, with everything that options decide filled in. */
import * as L from '../../assembly/layout.js';
import { inRange, invalid } from '../base/errors.js';
import { type Link, parseLink } from '../base/link.js';
import { checkKeys, keysOf } from '../base/names.js';
import type { Options } from '../base/options.js';
import { checkCredits, checkShare, checkTicks } from '../link/check-input.js';
import { HOSTS, MEASURED_LINK } from '../link/host-presets.js';
import {
  COCOTBEXT_CREDITS,
  type Credits,
  ENDPOINT_CREDITS,
  MOST_LATENCY_NS,
  type PortFigures,
  ROOT_CREDITS,
  skpOf,
  ticksOf,
} from '../link/ports.js';
import { ackLimitTicks, largestTlpBytes, replayTicks, unroundedAckLimit } from '../link/timers.js';
import type { ConfigModel } from '../pci/config-model.js';
import { CAP } from '../pci/registers.js';

/** The link of one function. */
export interface LinkConfig {
  /** `gen1x1` to `gen5x16`. Default: the machine's `link`, else what the function's PCI Express capability says. */
  readonly speed?: string;
  /** Credits that the root complex and the endpoint give. Default: option `credits`. */
  readonly rootCredits?: Credits;
  readonly endpointCredits?: Credits;
  /** UpdateFC leaves this long after the first TLP that it reports, ns, 0 to 1e9; 0: at once. Default: the limit for Acks. */
  readonly updateFcNs?: number;
  /** From a TLP's arrival to its buffer being free, ns, 0 to 1e9. Default 0. */
  readonly drainNs?: number;
  /** Wire bytes that may be unacknowledged at either end, from MPS + 28 to 1 MiB. Default 64 KiB. */
  readonly replayBytes?: number;
  /** Share of the TLPs and of the DLLPs that arrive broken, 0 to 0.5, both ways. Default 0. */
  readonly badTlps?: number;
  readonly badDllps?: number;
  /** What is broken is drawn from this, 0 to 2^32 - 1. Default: the slot's number. */
  readonly seed?: number;
}

/** One link with all its figures; times in ticks. */
export interface CheckedLink extends Omit<PortFigures, 'credits'> {
  readonly rootCredits: Credits;
  readonly endpointCredits: Credits;
  readonly mmioTicks: number;
  readonly configTicks: number;
  readonly hostReadTicks: number;
  readonly intervalTicks: number;
  readonly tags: number;
  readonly rcb: number;
  readonly completionPolicy: number;
}

const KEYS = keysOf<LinkConfig>({
  speed: true,
  rootCredits: true,
  endpointCredits: true,
  updateFcNs: true,
  drainNs: true,
  replayBytes: true,
  badTlps: true,
  badDllps: true,
  seed: true,
});
const REPLAY_BYTES = 1 << 16;
const LINK_CAPABILITIES = 12;
const LINK_STATUS = 18;
const USUAL = 'gen3x8';
/** Above, software would wait for ever. */
const MOST_BAD = 0.5;

/** Speed and width in configuration space; undefined without a PCI Express capability, or without a link in it. */
function advertised(config: ConfigModel): string | undefined {
  const at = config.capability(CAP.PCIE);
  if (at === undefined) return undefined;
  for (const register of [config.read(at + LINK_STATUS, 2), config.read(at + LINK_CAPABILITIES, 4)]) {
    const name = `gen${register & 15}x${(register >>> 4) & 63}`;
    if (/^gen[1-5]x(1|2|4|8|16)$/.test(name)) return name;
  }
  return undefined;
}

/** Where host memory is found decides how long the root complex takes. A preset gives the whole round trip of 64 bytes. */
function hostReadNs({ hostPreset, hostLines, hostReadNs, linkLatencyNs }: Options): number {
  if (hostPreset === 'none') return hostReadNs;
  const { ticksPerByte } = parseLink(MEASURED_LINK.name);
  // One request of 24 bytes and one completion of 84.
  const wire = ((24 + 84) * ticksPerByte) / L.TICKS_PER_NS;
  return Math.max(0, HOSTS[hostPreset].command[hostLines] - 2 * linkLatencyNs - wire);
}

/** The figures of a function's link: what its slot says (`given`), else the machine, else its configuration space. */
export function checkLink(
  field: string,
  given: LinkConfig | string | undefined,
  usual: string | undefined,
  slot: number,
  config: ConfigModel | undefined,
  options: Options,
): CheckedLink {
  const own = typeof given === 'string' ? { speed: given } : (given ?? {});
  if (typeof own !== 'object' || own === null || Array.isArray(own))
    throw invalid(field, given, 'gen3x8, or an object with speed');
  checkKeys(field, own, KEYS);
  const name = own.speed ?? usual ?? (config === undefined ? undefined : advertised(config)) ?? USUAL;
  if (typeof name !== 'string') throw invalid(`${field}.speed`, name, 'gen1x1 to gen5x16');
  const link = parseLink(name);
  const { mps, ackPolicy } = options;
  const limit = ackLimitTicks(link, mps);
  // Formulas take more; the rings of a link do not hold what is under way then.
  const latencyTicks = checkTicks('linkLatencyNs', options.linkLatencyNs, MOST_LATENCY_NS);
  const isDefault = options.credits === 'default';
  const largest = largestTlpBytes(mps) * link.ticksPerByte;
  const largestData = { pd: mps, npd: L.DEFERRABLE_BYTES, cpld: mps };
  // Options do not tell a default from a value: from 16 GT/s on, where the default is the simplified rule, `table` is that, too.
  const timer = options.replayTimer === 'table' && link.generation >= 4 ? {} : { timer: options.replayTimer };
  return {
    link,
    mps,
    latencyTicks,
    ackTicks: ackPolicy === 'perTlp' ? 0 : ackPolicy === 'cocotbext' ? cocotbextTicks(link) : limit,
    updateFcTicks: own.updateFcNs === undefined ? limit : checkTicks(`${field}.updateFcNs`, own.updateFcNs),
    replayTicks: replayTicks(link, { mps, latencyTicks, tlpTicks: largest, ...timer }),
    drainTicks: checkTicks(`${field}.drainNs`, own.drainNs ?? 0),
    replayBytes: inRange(
      `${field}.replayBytes`,
      own.replayBytes ?? REPLAY_BYTES,
      largestTlpBytes(mps),
      1 << 20,
    ),
    ...skpOf(link, options.skp === 'on', link.generation <= 2 ? options.skpSymbols : options.skpBlocks),
    badTlps: checkShare(`${field}.badTlps`, own.badTlps, MOST_BAD),
    badDllps: checkShare(`${field}.badDllps`, own.badDllps, MOST_BAD),
    seed: inRange(`${field}.seed`, own.seed ?? slot, 0, 0xffff_ffff),
    rootCredits: checkCredits(
      `${field}.rootCredits`,
      own.rootCredits ?? (isDefault ? ROOT_CREDITS : COCOTBEXT_CREDITS.root),
      largestData,
    ),
    endpointCredits: checkCredits(
      `${field}.endpointCredits`,
      own.endpointCredits ?? (isDefault ? ENDPOINT_CREDITS : COCOTBEXT_CREDITS.endpoint),
      largestData,
    ),
    mmioTicks: ticksOf(options.mmioServiceNs),
    configTicks: ticksOf(options.configServiceNs),
    hostReadTicks: ticksOf(hostReadNs(options)),
    intervalTicks: ticksOf(options.issueIntervalNs),
    tags: options.tags,
    rcb: options.rcb,
    completionPolicy: options.completionPolicy === 'rcb' ? L.COMPLETION_RCB : L.COMPLETION_FEWEST,
  };
}

/** The unrounded limit for MPS 128, of symbols with their line code (link.md 11). */
function cocotbextTicks(link: Link): number {
  const { over, under } = unroundedAckLimit(link.generation, link.lanes, 128);
  return Math.round((over / under) * link.ticksPerByte * link.lanes);
}
