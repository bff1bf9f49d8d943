/** The accesses of a trace one after the other on a simulated link: how long a bus would be busy with them. */
import { parseLink } from '../base/link.js';
import type { OptionInput, OptionName } from '../base/options.js';
import type { Machine } from '../machine/machine.js';
import type { Access } from '../trace/access.js';
import type { RecordedPath } from './replay-patterns.js';
import { TIME_USES, type TimedTraffic, timedMachine, trafficOf } from './timed-access.js';

/** What simulated time says of a replay. The accesses follow one another without the pauses of the recording. */
export interface TimedReplaySummary extends TimedTraffic {
  readonly link: string;
  /** From the first access to the last byte at its destination. */
  readonly ns: number;
  /** How long the processor waited in loads, and in all. */
  readonly loadNs: number;
  readonly cpuNs: number;
  /** Memory and configuration accesses that were timed, and others: ports, registers of the machine, refused ones. */
  readonly timed: number;
  readonly untimed: number;
}

/** Options that a timed replay has a use for, beside those of the path. */
export const REPLAY_TIME_USES: readonly OptionName[] = [
  ...new Set([...TIME_USES.read, ...TIME_USES.write, 'configServiceNs' as const, 'instructionNs' as const]),
];

/** Every access in the page where it was: an 8-byte one may leave it. */
const PAGE = 4096;
const BAR_BYTES = 2 * PAGE;
/** BARs of the machine: one above 4 GiB, one below. */
const WIDE = 0;
const NARROW = 2;

export class TimedReplay {
  private timed = 0;
  private untimed = 0;
  private bytes = 0;
  private loadNs = 0;

  private constructor(
    private readonly machine: Machine,
    private readonly path: RecordedPath,
    private readonly link: string,
  ) {}

  static async create(path: RecordedPath, link: string, options: OptionInput): Promise<TimedReplay> {
    const platform = path === 'x86-uc' ? 'x86-64' : 's390x';
    const native: OptionInput = platform === 's390x' ? { zpciMode: 'native' } : {};
    const bar = { size: BAR_BYTES, memory: true } as const;
    const { name } = parseLink(link);
    // A BAR whose next number is taken has 32 bits.
    const machine = await timedMachine(platform, name, { ...options, ...native }, [bar, undefined, bar, bar]);
    return new TimedReplay(machine, path, name);
  }

  /** Answers the ns that it took of the processor; 0 where it is not timed. */
  access({ op, space, width, addressLo, addressHi, valueLo, valueHi }: Access): number {
    const { machine, path } = this;
    const [fn] = machine.functions;
    if (fn === undefined) return 0;
    const before = machine.time.ns;
    if (space === 'memory') {
      const bar = addressHi === 0 ? NARROW : WIDE;
      const at = { path, function: fn, bar, offset: addressLo % PAGE, block: false } as const;
      const data = new Uint8Array(new Uint32Array([valueLo, valueHi]).buffer).subarray(0, width);
      const { fault } =
        op === 'write' ? machine.cpu.write({ ...at, data }) : machine.cpu.read({ ...at, length: width });
      if (fault !== undefined) {
        this.untimed++;
        return 0;
      }
    } else if (space === 'config') this.config(fn.id, op, addressLo, width);
    else {
      this.untimed++;
      return 0;
    }
    const took = machine.time.ns - before;
    this.timed++;
    this.bytes += width;
    if (op === 'read') this.loadNs += took;
    return took;
  }

  /** As the patterns have it: one request for each DW. What is written must not change the machine: its Vendor ID. */
  private config(id: number, op: 'read' | 'write', address: number, width: number): void {
    for (let at = address & 3; at < (address & 3) + width; at = (at | 3) + 1) {
      if (op === 'write') this.machine.config.write(id, 0, 0, 4);
      else this.machine.config.read(id, 0, 4);
    }
  }

  result(): TimedReplaySummary {
    const { machine, link, timed, untimed, bytes, loadNs } = this;
    const cpuNs = machine.time.ns;
    machine.settle();
    const [done] = machine.links;
    const ns = Math.max(cpuNs, done?.down.lastArrivalNs ?? 0);
    const traffic =
      done === undefined ? NO_TRAFFIC : trafficOf(done, { ns, settledNs: machine.time.ns, bytes });
    return { link, ns, loadNs, cpuNs, timed, untimed, ...traffic };
  }
}

const NO_TRAFFIC: TimedTraffic = {
  gbps: 0,
  utilisationDown: 0,
  utilisationUp: 0,
  stalls: 0,
  acks: 0,
  updateFcs: 0,
  replayed: 0,
};
