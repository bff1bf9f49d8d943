/** What `npm run bench:link` simulates: one setting for the core and for the C model, and what both have to agree in. */
import { spawnSync } from 'node:child_process';
import { crc32 } from 'node:zlib';
import * as L from '../assembly/layout.js';
import * as P from '../assembly/link-layout.js';
import { parseLink } from '../src/base/link.js';
import { Core } from '../src/core/core.js';
import { high32, low32 } from '../src/core/u64.js';
import { ackLimitTicks, replayTicks } from '../src/link/timers.js';
import { ensure } from './case.js';

/** Settings of one end by the names that the C model knows; times are ticks. */
export type EndSetting = Readonly<Record<keyof typeof FIELDS, number>>;
export type Setting = readonly [EndSetting, EndSetting];

/** What a run ends with. `ports`: hash, CRC-32 of the memory behind the end, counts. */
export interface Outcome {
  readonly ticks: number;
  readonly ports: readonly { readonly hash: string; readonly memory: number; readonly counts: string[] }[];
}

/** As many as `simulateLink` has. */
const PAYLOAD = 1 << 23;
const HOST_BYTES = 1 << 20;
const BAR_BYTES = 1 << 24;
const BAR_BASE = 2 ** 40;
const READ_TARGET = 1 << 17;
const NO_END = 0x7fff_ffff;
const EVENTS = 1 << 20;

// Byte offsets in the block of a port; negative: 64 bits.
const FIELDS = {
  ticksPerByte: P.LINK_TICKS_PER_BYTE,
  mps: P.LINK_MPS,
  latency: -P.LINK_LATENCY,
  ackInterval: -P.LINK_ACK_INTERVAL,
  fcInterval: -P.LINK_FC_INTERVAL,
  fcRefresh: -P.LINK_FC_REFRESH,
  replayLimit: -P.LINK_REPLAY_LIMIT,
  replayBytes: P.LINK_REPLAY_BYTES,
  drainDelay: -P.LINK_DRAIN_DELAY,
  badTlps: P.LINK_BAD_TLPS,
  badDllps: P.LINK_BAD_DLLPS,
  random: P.LINK_RANDOM,
  ph: P.LINK_CREDITS,
  nph: P.LINK_CREDITS + 4,
  cplh: P.LINK_CREDITS + 8,
  pd: P.LINK_CREDITS + 12,
  npd: P.LINK_CREDITS + 16,
  cpld: P.LINK_CREDITS + 20,
  completerDelay: -P.LOAD_COMPLETER_DELAY,
  rcb: P.LOAD_RCB,
  writes: P.LOAD_WRITES,
  writeBytes: P.LOAD_WRITE_BYTES,
  writeAddress: -P.LOAD_WRITE_ADDRESS,
  writeWindow: P.LOAD_WRITE_WINDOW,
  writeCut: P.LOAD_WRITE_CUT,
  writeInterval: -P.LOAD_WRITE_INTERVAL,
  reads: P.LOAD_READS,
  readBytes: P.LOAD_READ_BYTES,
  readAddress: -P.LOAD_READ_ADDRESS,
  readWindow: P.LOAD_READ_WINDOW,
  readTags: P.LOAD_READ_TAGS,
  readInterval: -P.LOAD_READ_INTERVAL,
} as const;

// In the order in which the C model prints them; negative: 32 bits.
const COUNTS = [
  P.LINK_COUNT_TLPS,
  P.LINK_COUNT_DATA,
  P.LINK_COUNT_ACKS,
  P.LINK_COUNT_NAKS,
  P.LINK_COUNT_FCS,
  P.LINK_COUNT_REPLAYED,
  P.LINK_COUNT_DUPLICATES,
  P.LINK_COUNT_TIMEOUTS,
  P.LINK_COUNT_BUSY,
  P.LINK_LAST_ARRIVAL,
  P.LINK_COUNT_BLOCKED,
  P.LINK_COUNT_BLOCKED + 8,
  P.LINK_COUNT_BLOCKED + 16,
  -P.LOAD_READ_DONE,
  P.LOAD_LATENCY_SUM,
  P.LOAD_LATENCY_MIN,
  P.LOAD_LATENCY_MAX,
] as const;

/** gen3 x8, 75 ns one way, MPS 256, credits and replay buffer that do not limit it; `both` changes both ends. */
export function settingOf(
  both: Partial<EndSetting>,
  up: Partial<EndSetting> = {},
  down: Partial<EndSetting> = {},
): Setting {
  const link = parseLink('gen3x8');
  const mps = both.mps ?? 256;
  const latency = both.latency ?? 75 * L.TICKS_PER_NS;
  const limit = ackLimitTicks(link, mps);
  const tlpTicks = (mps + 28) * link.ticksPerByte;
  const usual = {
    ticksPerByte: link.ticksPerByte,
    mps,
    latency,
    ackInterval: limit,
    fcInterval: limit,
    fcRefresh: 30_000 * L.TICKS_PER_NS,
    replayLimit: replayTicks(link, { mps, latencyTicks: latency, tlpTicks }),
    replayBytes: 1 << 16,
    drainDelay: 0,
    badTlps: 0,
    badDllps: 0,
    ph: 64,
    nph: 64,
    cplh: 0,
    pd: 512,
    npd: 64,
    cpld: 0,
    completerDelay: 0,
    rcb: 64,
    writes: 0,
    writeBytes: 4096,
    writeCut: mps,
    writeInterval: 0,
    reads: 0,
    readBytes: 64,
    readTags: 32,
    readInterval: 0,
    ...both,
  };
  const target = (address: number, window: number) => {
    return { writeAddress: address, readAddress: address, writeWindow: window, readWindow: window };
  };
  return [
    { ...usual, random: 12345, ...target(BAR_BASE, BAR_BYTES), ...up },
    { ...usual, random: 12346, ...target(1 << 18, 1 << 16), ...down },
  ];
}

/** The link of a core of its own. */
export class CoreLink {
  private readonly view: DataView;

  private constructor(private readonly core: Core) {
    this.view = new DataView(core.x.memory.buffer);
    const bar = L.FUNCTION_BARS;
    core.setWord(L.PLACE_FUNCTIONS, L.FUNCTION_COMMAND, L.COMMAND_MEMORY);
    core.setWord(L.PLACE_FUNCTIONS, bar + L.BAR_BASE, low32(BAR_BASE));
    core.setWord(L.PLACE_FUNCTIONS, bar + L.BAR_BASE + 4, high32(BAR_BASE));
    core.setWord(L.PLACE_FUNCTIONS, bar + L.BAR_BYTES, BAR_BYTES);
    core.setWord(L.PLACE_FUNCTIONS, bar + L.BAR_MEMORY, core.at(L.PLACE_BAR_MEMORY));
    core.x.functionsChanged(1);
    for (const memory of this.memories())
      for (let n = 0; n < memory.length; n++) memory[n] = n * 7 + (n >> 8) * 13 + 1;
  }

  static async create(): Promise<CoreLink> {
    return new CoreLink(await Core.load(undefined, HOST_BYTES, BAR_BYTES, PAYLOAD));
  }

  get memoryBytes(): number {
    return this.core.x.memory.buffer.byteLength;
  }

  /** Runs the link until it is done; answers user CPU in ns. */
  run(setting: Setting): number {
    const { core } = this;
    for (const [end, values] of setting.entries()) this.write(end, values);
    core.x.linkStart(1);
    const start = process.cpuUsage();
    while (core.x.linkRun(EVENTS, 0, NO_END) === P.LINK_RUNS);
    return process.cpuUsage(start).user * 1000;
  }

  outcome(): Outcome {
    const memories = this.memories();
    const ports = memories.map((memory, end) => {
      const at = this.core.at(L.PLACE_LINK) + end * P.LINK_PORT_STRIDE;
      const counts = COUNTS.map((offset) =>
        String(
          offset < 0 ? this.view.getUint32(at - offset, true) : this.view.getBigUint64(at + offset, true),
        ),
      );
      const hash = this.view
        .getBigUint64(at + P.LINK_HASH, true)
        .toString(16)
        .padStart(16, '0');
      return { hash, memory: crc32(memory), counts };
    });
    return { ticks: this.core.x.linkTicks(), ports };
  }

  /** TLPs that reached either end. */
  delivered(): number {
    const tlps = (end: number): number =>
      this.core.at(L.PLACE_LINK) + end * P.LINK_PORT_STRIDE + P.LINK_COUNT_TLPS;
    return Number(this.view.getBigUint64(tlps(0), true) + this.view.getBigUint64(tlps(1), true));
  }

  private memories(): [Uint8Array, Uint8Array] {
    const part = (place: number, bytes: number): Uint8Array =>
      this.core.u8.subarray(this.core.at(place), this.core.at(place) + bytes);
    return [part(L.PLACE_HOST_MEMORY, HOST_BYTES), part(L.PLACE_BAR_MEMORY, BAR_BYTES)];
  }

  private write(end: number, values: EndSetting): void {
    const { core } = this;
    const put = (offset: number, value: number): void =>
      core.setWord(L.PLACE_LINK, end * P.LINK_PORT_STRIDE + offset, value);
    for (const [name, offset] of Object.entries(FIELDS)) {
      const value = values[name as keyof EndSetting];
      put(Math.abs(offset), low32(value));
      if (offset < 0) put(4 - offset, high32(value));
    }
    const host = core.at(L.PLACE_HOST_MEMORY);
    put(P.LOAD_COMPLETION_POLICY, L.COMPLETION_FEWEST);
    put(P.LOAD_WRITE_SPLIT, L.SPLIT_ALIGNED);
    put(P.LOAD_WRITE_SOURCE, host);
    put(P.LOAD_READ_TARGET, host + READ_TARGET);
  }
}

/** Runs the C model: `check` from clean memory with its whole outcome, `time` for its user CPU in ns. */
function runProgram(program: string, mode: 'check' | 'time', setting: Setting): { user: number } & Outcome {
  const words = setting.flatMap((values, end) =>
    Object.entries(values).map(([name, value]) => `${end === 0 ? 'up' : 'down'}.${name}=${value}`),
  );
  const memory = ['up.base=0', `up.size=${HOST_BYTES}`, `down.base=${BAR_BASE}`, `down.size=${BAR_BYTES}`];
  const { status, stdout, stderr } = spawnSync(program, [mode, ...words, ...memory], { encoding: 'utf8' });
  ensure(status === 0, `the C model ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

export function nativeOutcome(program: string, setting: Setting): Outcome {
  const { ticks, ports } = runProgram(program, 'check', setting);
  return { ticks, ports };
}

export function nativeTime(program: string, setting: Setting): number {
  return runProgram(program, 'time', setting).user;
}
