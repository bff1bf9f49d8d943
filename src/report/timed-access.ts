/** One block along one path in a machine whose link takes time: what `ztlp widths --timed` shows beside the formulas. */
import * as L from '../../assembly/layout.js';
import { invalid } from '../base/errors.js';
import type { OptionInput, OptionName } from '../base/options.js';
import type { U64 } from '../core/u64.js';
import type { MachineLink } from '../machine/links.js';
import { createMachine, type Machine } from '../machine/machine.js';
import type { AccessPath, PathId } from '../path/table.js';

/** What a link did while something was done. */
export interface TimedTraffic {
  /** Gb/s of the bytes asked for. */
  readonly gbps: number;
  /** Part of the time that each direction was busy, with anything: TLPs, replays, DLLPs, SKP ordered sets. */
  readonly utilisationDown: number;
  readonly utilisationUp: number;
  /** Looks of a transmitter at a TLP that lacked credits or room in the replay buffer: one TLP may count many times. */
  readonly stalls: number;
  /** DLLPs, both ways. */
  readonly acks: number;
  readonly updateFcs: number;
  readonly replayed: number;
}

export interface TimedAccess extends TimedTraffic {
  /** From the first instruction to the last byte at its destination, latency included. */
  readonly ns: number;
  /** How long the CPU was busy with it. */
  readonly cpuNs: number;
}

export interface TimedInput {
  readonly op: 'read' | 'write';
  readonly size: number;
  readonly offset: number;
  readonly sourceAddress: U64;
  readonly link: string;
  /** Costs of software among them. */
  readonly options: OptionInput;
}

/** Options that time has a use for, whatever the path. */
export const TIME_USES: Readonly<Record<'read' | 'write', readonly OptionName[]>> = {
  write: [
    'ackPolicy',
    'credits',
    'issueIntervalNs',
    'linkLatencyNs',
    'replayTimer',
    'skp',
    'skpBlocks',
    'skpSymbols',
    'storeBuffer',
  ],
  read: [
    'ackPolicy',
    'credits',
    'issueIntervalNs',
    'linkLatencyNs',
    'mmioServiceNs',
    'replayTimer',
    'skp',
    'skpBlocks',
    'skpSymbols',
    'tags',
  ],
};

const HOST_BYTES = 1 << 16;

/** A machine with one function that is memory: `bars` bytes each, 64-bit ones first above 4 GiB. */
export function timedMachine(
  platform: Machine['platform'],
  link: string,
  options: OptionInput,
  bars: readonly ({ readonly size: number; readonly memory: true } | undefined)[],
): Promise<Machine> {
  return createMachine({
    fidelity: 'timed',
    platform,
    link,
    options,
    hostMemoryBytes: HOST_BYTES,
    slots: [{ device: { name: 'memory', vendorId: 0x1af4, deviceId: 0x10f1, bars } }],
  });
}

/** What `link` did in `ns`, in which `bytes` were asked for; it became quiet at `settledNs`. */
export function trafficOf(
  { down, up }: MachineLink,
  { ns, settledNs, bytes }: { readonly ns: number; readonly settledNs: number; readonly bytes: number },
): TimedTraffic {
  const share = (of: MachineLink['down']): number =>
    ns === 0 ? 0 : Math.min(1, (of.utilisation * settledNs) / ns);
  const stalls = (of: MachineLink['down']): number =>
    of.stalls.posted + of.stalls.nonPosted + of.stalls.completion;
  return {
    gbps: ns === 0 ? 0 : (8 * bytes) / ns,
    utilisationDown: share(down),
    utilisationUp: share(up),
    stalls: stalls(down) + stalls(up),
    acks: down.acks + up.acks,
    updateFcs: down.updateFcs + up.updateFcs,
    replayed: down.replayed + up.replayed,
  };
}

/** Runs the access. Throws ZtlpError for a block that is longer than one access of a machine. */
export async function timeAccess(path: AccessPath, input: TimedInput): Promise<TimedAccess | undefined> {
  const { op, size, sourceAddress, link, options } = input;
  if (size > L.ACCESS_BYTES)
    throw invalid('size', size, `at most ${L.ACCESS_BYTES} bytes in simulated time`, 'out-of-range');
  // No rule looks beyond the page.
  const offset = input.offset % L.PAGE_BYTES;
  const barBytes = 2 ** Math.ceil(Math.log2(Math.max(L.PAGE_BYTES, offset + size)));
  const platform = path.platform === 'any' ? 'x86-64' : path.platform;
  // Group options belong to the function, so that it gets what the path's name implies too.
  const machine = await timedMachine(platform, link, { ...path.options, ...options }, [
    { size: barBytes, memory: true },
  ]);
  const fn = machine.functions[0];
  const known = machine.links[0];
  if (fn === undefined || known === undefined) return undefined;
  const access = { path: path.id as PathId, function: fn, bar: 0, offset, sourceAddress };
  const result =
    op === 'write'
      ? machine.cpu.write({ ...access, data: new Uint8Array(size) })
      : machine.cpu.read({ ...access, length: size });
  if (result.fault !== undefined) return undefined;
  const cpuNs = machine.time.ns;
  machine.settle();
  const [after = known] = machine.links;
  const ns = Math.max(cpuNs, after.down.lastArrivalNs);
  return { ns, cpuNs, ...trafficOf(after, { ns, settledNs: machine.time.ns, bytes: size }) };
}
