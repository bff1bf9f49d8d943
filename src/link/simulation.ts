/** A link simulated event by event: two ports with credits, sequence numbers, Ack, UpdateFC and replay, and a load on each. */
import * as L from '../../assembly/layout.js';
import * as P from '../../assembly/link-layout.js';
import { inRange, invalid, needObject } from '../base/errors.js';
import { type Link, parseLink } from '../base/link.js';
import { checkKeys, keysOf } from '../base/names.js';
import { checkOption, type OptionValue } from '../base/options.js';
import { Core, type CoreSource } from '../core/core.js';
import { checkCredits, checkShare, checkTicks } from './check-input.js';
import {
  type Credits,
  ENDPOINT_CREDITS,
  MOST_LATENCY_NS,
  REFRESH_NS,
  ROOT_CREDITS,
  skpOf,
  writePort,
} from './ports.js';
import { type EndResult, readEnd } from './simulation-result.js';
import { ackLimitTicks, largestTlpBytes, replayTicks } from './timers.js';

/** Writes that the requester at one end issues. */
export interface WriteLoad {
  /** Accesses, up to 2^32 - 1. */
  readonly count: number;
  /** Bytes of an access, 1 to 4096; MPS cuts it into TLPs. */
  readonly bytes: number;
  /** From one access to the next, ns, 0 to 1e9. Default 0: as fast as the link takes them. */
  readonly intervalNs?: number;
  /**
   * True: `intervalNs` is the shortest distance, and a write waits until the queue runs low. Default false: accesses are
   * due at their times, and what the link does not carry waits in line, in front of later reads.
   */
  readonly waits?: boolean;
  /** Longest TLP in bytes, when that is less than MPS. */
  readonly cut?: number;
  /** Where the first access begins, bytes: accesses follow each other. Default 0, up to 4095. */
  readonly offset?: number;
}

/** Reads, of which `tags` are under way at most. */
export interface ReadLoad {
  /** 0 to 2^32 - 1. */
  readonly count: number;
  /**
   * Bytes of a read, 1 to 4096: one request each, whatever MRRS. Reads follow each other in memory; one that would cross a
   * 4 KiB boundary begins there instead.
   */
  readonly bytes: number;
  /** 1 to 1024. Default 256. */
  readonly tags?: number;
  /** From one read to the next at least, ns, 0 to 1e9. Default 0: as soon as a tag is free. */
  readonly intervalNs?: number;
  /** Where the first read begins, bytes, 0 to 4095. Default 0. */
  readonly offset?: number;
}

/** What stands at one end, and what it does. */
export interface EndInput {
  readonly writes?: WriteLoad;
  readonly reads?: ReadLoad;
  readonly credits?: Credits;
  /** From a read's arrival to its completion, ns, 0 to 1e9. Default 0. */
  readonly completerNs?: number;
  /** From a TLP's arrival to its buffer being free, ns, 0 to 1e9. Default 0. */
  readonly drainNs?: number;
  /** 4 DW headers: what its requests reach stands above 4 GiB. Default: true for `up`, false for `down`. */
  readonly wide?: boolean;
  /** Share of the TLPs and of the DLLPs of this end that arrive broken, 0 to 1. Default 0. */
  readonly badTlps?: number;
  readonly badDllps?: number;
}

export interface SimulationInput {
  /** `gen1x1` to `gen5x16`. Default `gen3x8`. */
  readonly link?: string;
  /** 128, 256, 512, 1024, 2048 or 4096. Default 256. */
  readonly mps?: number;
  /** Root complex end: its requests go down into a BAR of the endpoint above 4 GiB. */
  readonly up?: EndInput;
  /** Endpoint: its requests go up into host memory below 4 GiB. */
  readonly down?: EndInput;
  /** One way, ns, up to 100,000. Default 75. */
  readonly latencyNs?: number;
  /** An Ack leaves this long after the first TLP without one, ns; 0: for each TLP. Default: the limit of the specification. */
  readonly ackNs?: number;
  /** The same of UpdateFC; 0: at once. */
  readonly updateFcNs?: number;
  /** Begin with flow control initialisation: no TLP goes before InitFC1 and InitFC2 did. Default false: it is over. */
  readonly init?: boolean;
  /** SKP ordered sets take their time on the wire. Default false. */
  readonly skp?: boolean;
  /** Symbol times (gen 1 and 2) or blocks (gen 3 on) from one SKP ordered set to the next, 16 to 2^20. Default 1538 and 375. */
  readonly skpInterval?: number;
  /** Each TLP carries an ECRC. Default false. */
  readonly ecrc?: boolean;
  /** How reads are answered: in the largest pieces (default), or in one per `rcb` bytes. */
  readonly completionPolicy?: OptionValue<'completionPolicy'>;
  /** 64 or 128 bytes. Default 64. */
  readonly rcb?: number;
  /** Wire bytes that may be unacknowledged, from MPS + 28 to 1 MiB. Default 64 KiB. */
  readonly replayBytes?: number;
  /** Of `badTlps` and `badDllps`, 0 to 2^32 - 1. Default 1. */
  readonly seed?: number;
  /** Packets of each end to be listed in the result, from the first on: up to 1024. Default 0. */
  readonly packets?: number;
  /** Bytes of the BAR, a power of two from 64 KiB to 256 MiB: writes and reads wrap in it. Default 1 MiB. */
  readonly barBytes?: number;
  /** Compute both ends in turn over windows of time (default), or event after event: the same result, for comparison. */
  readonly windows?: boolean;
  readonly core?: CoreSource | Promise<CoreSource>;
}

export interface SimulationResult {
  readonly ns: number;
  readonly events: number;
  readonly up: EndResult;
  readonly down: EndResult;
  /** The memory that each end wrote: host memory, and the BAR. Views of the simulation's memory. */
  readonly hostMemory: Uint8Array;
  readonly bar: Uint8Array;
}

/** Where the BAR and host memory stand, above and below 4 GiB. */
const BAR_WIDE = 2 ** 40;
const BAR_NARROW = 0xc000_0000;
const HOST_WIDE = 2 ** 33;
const HOST_BYTES = 1 << 20;
/** Where the requester at the root complex has its data, and both put what they read. */
const SOURCE = 0;
const SOURCE_BYTES = 8192;
const READ_TARGET = 1 << 17;
/** Writes of the endpoint. */
const UP_WINDOW = 1 << 16;
const UP_ADDRESS = 1 << 18;
const PAYLOAD = 1 << 23;
/** TLP digest present, bit 15 of DW0. */
const TD = 1 << 15;
const EVENTS = 1 << 20;
/** 2^53 ticks. */
const MOST_NS = 2 ** 41;
const NO_END = 0x7fff_ffff;
/** Calls of the core, of EVENTS each, without a TLP that arrives, after which a run counts as one that does not end. */
const PATIENCE = 4;
const INPUT_KEYS = keysOf<SimulationInput>({
  link: true,
  mps: true,
  up: true,
  down: true,
  latencyNs: true,
  ackNs: true,
  updateFcNs: true,
  completionPolicy: true,
  rcb: true,
  replayBytes: true,
  init: true,
  skp: true,
  skpInterval: true,
  ecrc: true,
  seed: true,
  packets: true,
  barBytes: true,
  windows: true,
  core: true,
});

const END_KEYS = keysOf<EndInput>({
  writes: true,
  reads: true,
  credits: true,
  completerNs: true,
  drainNs: true,
  wide: true,
  badTlps: true,
  badDllps: true,
});
const WRITE_KEYS = keysOf<WriteLoad>({
  count: true,
  bytes: true,
  intervalNs: true,
  waits: true,
  cut: true,
  offset: true,
});
const READ_KEYS = keysOf<ReadLoad>({ count: true, bytes: true, tags: true, intervalNs: true, offset: true });

/**
 * Simulates a link until all loads are done and acknowledged. Throws ZtlpError for input that does not fit, for a link that
 * gets nothing through, and for a run of more than 2^53 ticks (2199 s).
 */
export async function simulateLink(input: SimulationInput): Promise<SimulationResult> {
  needObject('input', input);
  checkKeys('input', input, INPUT_KEYS);
  for (const key of ['init', 'skp', 'ecrc', 'windows'] as const) checkFlag(key, input[key]);
  checkEnd('up', input.up);
  checkEnd('down', input.down);
  const link = parseLink(input.link ?? 'gen3x8');
  const mps = checkOption('mps', input.mps ?? 256);
  const barBytes = inRange('barBytes', input.barBytes ?? 1 << 20, 1 << 16, 1 << 28);
  if ((barBytes & (barBytes - 1)) !== 0) throw invalid('barBytes', barBytes, 'a power of two');
  const core = await Core.load(input.core, HOST_BYTES, barBytes, PAYLOAD);
  return new Simulation(core, input, link, mps, barBytes).run();
}

class Simulation {
  constructor(
    private readonly core: Core,
    private readonly input: SimulationInput,
    private readonly link: Link,
    private readonly mps: number,
    private readonly barBytes: number,
  ) {
    this.placeBar();
    const source = core.at(L.PLACE_HOST_MEMORY) + SOURCE;
    for (let n = 0; n < SOURCE_BYTES; n++) core.u8[source + n] = (n * 167 + (n >> 8) + 13) & 0xff;
    this.writeEnd(0, input.up ?? {}, ROOT_CREDITS, 'up');
    this.writeEnd(1, input.down ?? {}, ENDPOINT_CREDITS, 'down');
  }

  run(): SimulationResult {
    const { core } = this;
    core.x.linkStart(this.input.windows === false ? 0 : 1);
    const longest = this.longestNs();
    let arrived = -1;
    let since = { calls: 0, ns: 0 };
    for (;;) {
      const answer = core.x.linkRun(EVENTS, 0, NO_END);
      if (answer === P.LINK_DONE) break;
      if (answer === P.LINK_AT_END)
        throw invalid('input', 'a run of more than 2199 s', 'accesses that end before', 'out-of-range');
      const now = core.x.linkTicks() / L.TICKS_PER_NS;
      const count = this.arrived();
      if (count !== arrived) since = { calls: 0, ns: now };
      else since.calls++;
      arrived = count;
      if (since.calls >= PATIENCE && now - since.ns > longest)
        throw invalid(
          'input',
          'a link that gets nothing through',
          'credits, a replay buffer and error rates that do',
        );
    }
    const ns = core.x.linkTicks() / L.TICKS_PER_NS;
    const bar = core.at(L.PLACE_BAR_MEMORY);
    const host = core.at(L.PLACE_HOST_MEMORY);
    return {
      ns,
      events: core.x.linkEventCount(),
      up: readEnd(core, 0, ns),
      down: readEnd(core, 1, ns),
      hostMemory: core.u8.subarray(host + UP_ADDRESS, host + UP_ADDRESS + UP_WINDOW),
      bar: core.u8.subarray(bar, bar + this.barBytes),
    };
  }

  /** TLPs that have arrived at both ends. */
  private arrived(): number {
    const view = new DataView(this.core.u8.buffer);
    const count = (end: number): number =>
      Number(
        view.getBigUint64(this.core.at(L.PLACE_LINK) + end * P.LINK_PORT_STRIDE + P.LINK_COUNT_TLPS, true),
      );
    return count(0) + count(1);
  }

  /** A link on which something gets through never goes longer without it, apart from errors. */
  private longestNs(): number {
    const { up = {}, down = {}, latencyNs = 0, ackNs = 0, updateFcNs = 0 } = this.input;
    const ends = [up, down].map(({ writes, reads, completerNs = 0, drainNs = 0 }) =>
      [writes?.intervalNs ?? 0, reads?.intervalNs ?? 0, completerNs, drainNs].reduce((sum, ns) => sum + ns),
    );
    return 2 * ((ends[0] as number) + (ends[1] as number) + ackNs + updateFcNs + REFRESH_NS) + 10 * latencyNs;
  }

  /** One function whose BAR is the memory of the endpoint. */
  private placeBar(): void {
    const { core } = this;
    const at = L.FUNCTION_BARS;
    core.setWord(L.PLACE_FUNCTIONS, L.FUNCTION_COMMAND, L.COMMAND_MEMORY);
    const base = this.barBase();
    core.setLong(L.PLACE_FUNCTIONS, at + L.BAR_BASE, base);
    core.setWord(L.PLACE_FUNCTIONS, at + L.BAR_BYTES, this.barBytes);
    core.setWord(L.PLACE_FUNCTIONS, at + L.BAR_MEMORY, core.at(L.PLACE_BAR_MEMORY));
    core.x.functionsChanged(1);
  }

  private barBase(): number {
    return (this.input.up?.wide ?? true) ? BAR_WIDE : BAR_NARROW;
  }

  private hostBase(): number {
    return (this.input.down?.wide ?? false) ? HOST_WIDE : 0;
  }

  private long(end: number, offset: number, value: number): void {
    this.core.setLong(L.PLACE_LINK, end * P.LINK_PORT_STRIDE + offset, value);
  }

  private word(end: number, offset: number, value: number): void {
    this.core.setWord(L.PLACE_LINK, end * P.LINK_PORT_STRIDE + offset, value);
  }

  private writeEnd(end: 0 | 1, given: EndInput, usual: Credits, field: string): void {
    const { link, mps, input } = this;
    const usualInterval = link.generation <= 2 ? 1538 : 375;
    const { latencyNs = 75, replayBytes = 1 << 16, seed = 1, skpInterval = usualInterval } = input;
    const limit = ackLimitTicks(link, mps);
    const latencyTicks = checkTicks('latencyNs', latencyNs, MOST_LATENCY_NS);
    writePort(this.core, end, {
      link,
      mps,
      latencyTicks,
      ackTicks: input.ackNs === undefined ? limit : checkTicks('ackNs', input.ackNs),
      updateFcTicks: input.updateFcNs === undefined ? limit : checkTicks('updateFcNs', input.updateFcNs),
      replayTicks: replayTicks(link, {
        mps,
        latencyTicks,
        tlpTicks: largestTlpBytes(mps) * link.ticksPerByte,
      }),
      drainTicks: checkTicks(`${field}.drainNs`, given.drainNs ?? 0),
      replayBytes: inRange('replayBytes', replayBytes, largestTlpBytes(mps), 1 << 20),
      ...skpOf(link, input.skp === true, inRange('skpInterval', skpInterval, 16, 1 << 20)),
      badTlps: checkShare(`${field}.badTlps`, given.badTlps),
      badDllps: checkShare(`${field}.badDllps`, given.badDllps),
      seed: inRange('seed', seed, 0, 0xffff_ffff),
      credits: checkCredits(
        `${field}.credits`,
        given.credits === undefined ? usual : given.credits,
        this.largestTo(end),
      ),
    });
    this.long(end, P.LOAD_COMPLETER_DELAY, checkTicks(`${field}.completerNs`, given.completerNs ?? 0));
    this.word(end, P.LINK_LOG_ROOM, inRange('packets', input.packets ?? 0, 0, P.LOG_SLOTS));
    this.word(end, P.LINK_INIT, input.init === true ? 1 : 0);
    this.word(end, P.LOAD_HEADER_BITS, input.ecrc === true ? TD : 0);
    this.word(end, P.LOAD_DIGEST_BYTES, input.ecrc === true ? 4 : 0);
    this.writeLoads(end, given, field);
  }

  /** Data bytes of the longest TLP of each class that comes to `end`. */
  private largestTo(end: 0 | 1): Record<'pd' | 'npd' | 'cpld', number> {
    const { up = {}, down = {} } = this.input;
    const [own, other] = end === 0 ? [up, down] : [down, up];
    const { bytes = 0, cut = this.mps } = other.writes ?? {};
    return {
      pd: Math.min(bytes, cut, this.mps),
      npd: 0,
      cpld: Math.min(own.reads?.bytes ?? 0, this.mps),
    };
  }

  private writeLoads(end: 0 | 1, { writes, reads }: EndInput, field: string): void {
    const host = this.core.at(L.PLACE_HOST_MEMORY);
    const policy = checkOption('completionPolicy', this.input.completionPolicy ?? 'fewest');
    this.word(end, P.LOAD_RCB, checkOption('rcb', this.input.rcb ?? 64));
    this.word(end, P.LOAD_COMPLETION_POLICY, policy === 'rcb' ? L.COMPLETION_RCB : L.COMPLETION_FEWEST);
    this.word(end, P.LOAD_WRITE_SPLIT, L.SPLIT_ALIGNED);
    this.word(end, P.LOAD_WRITE_SOURCE, host + SOURCE);
    this.word(end, P.LOAD_READ_TARGET, host + READ_TARGET);
    const [address, bytes] =
      end === 0 ? [this.barBase(), this.barBytes] : [this.hostBase() + UP_ADDRESS, UP_WINDOW];
    for (const [kind, load] of [
      ['writes', writes],
      ['reads', reads],
    ] as const) {
      const offset = inRange(`${field}.${kind}.offset`, load?.offset ?? 0, 0, 4095);
      const [at, window] =
        kind === 'writes'
          ? [P.LOAD_WRITE_ADDRESS, P.LOAD_WRITE_WINDOW]
          : [P.LOAD_READ_ADDRESS, P.LOAD_READ_WINDOW];
      this.long(end, at, address + offset);
      // What an offset moves past the end of the memory would reach nothing.
      this.word(end, window, offset === 0 ? bytes : bytes / 2);
    }
    this.long(end, P.LOAD_HOST_BASE, this.hostBase());
    for (const [kind, load] of [
      ['writes', writes],
      ['reads', reads],
    ] as const) {
      const { count = 0, intervalNs = 0 } = load ?? {};
      if (count * intervalNs > MOST_NS)
        throw invalid(
          `${field}.${kind}.intervalNs`,
          intervalNs,
          `2199 s for all ${count} accesses`,
          'out-of-range',
        );
    }
    if (writes !== undefined) {
      this.word(end, P.LOAD_WRITES, inRange(`${field}.writes.count`, writes.count, 0, 0xffff_ffff));
      this.word(end, P.LOAD_WRITE_BYTES, accessBytes(`${field}.writes.bytes`, writes.bytes));
      this.word(
        end,
        P.LOAD_WRITE_CUT,
        Math.min(this.mps, accessBytes(`${field}.writes.cut`, writes.cut ?? this.mps)),
      );
      this.long(end, P.LOAD_WRITE_INTERVAL, checkTicks(`${field}.writes.intervalNs`, writes.intervalNs ?? 0));
      checkFlag(`${field}.writes.waits`, writes.waits);
      this.word(end, P.LOAD_WRITE_WAITS, writes.waits === true ? 1 : 0);
    }
    if (reads !== undefined) {
      this.word(end, P.LOAD_READS, inRange(`${field}.reads.count`, reads.count, 0, 0xffff_ffff));
      this.word(end, P.LOAD_READ_BYTES, accessBytes(`${field}.reads.bytes`, reads.bytes));
      this.word(end, P.LOAD_READ_TAGS, inRange(`${field}.reads.tags`, reads.tags ?? 256, 1, P.LINK_TAGS));
      this.long(end, P.LOAD_READ_INTERVAL, checkTicks(`${field}.reads.intervalNs`, reads.intervalNs ?? 0));
    }
  }
}

/** What a caller without TypeScript may have got wrong: names and kinds; figures are checked where they are used. */
function checkEnd(field: 'up' | 'down', given: EndInput | undefined): void {
  if (given === undefined) return;
  const check = (name: string, part: object | undefined, keys: ReadonlySet<string>): void => {
    if (part === undefined) return;
    needObject(name, part);
    checkKeys(name, part, keys);
  };
  check(field, given, END_KEYS);
  check(`${field}.writes`, given.writes, WRITE_KEYS);
  check(`${field}.reads`, given.reads, READ_KEYS);
  checkFlag(`${field}.wide`, given.wide);
}

function checkFlag(field: string, flag: unknown): void {
  if (flag !== undefined && typeof flag !== 'boolean') throw invalid(field, flag, 'true, false');
}

function accessBytes(field: string, bytes: number): number {
  return inRange(field, bytes, 1, 4096);
}
