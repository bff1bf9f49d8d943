/** The recorded Linux driver on s390x, replayed: what the machine answers is what the log says, line by line. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TracedTlp } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { isAccess, LINUX_LOG, readLog, repeated } from './linux-log.js';
import { isDoorbell, replay } from './linux-replay.js';
import { problemsOf } from './linux-traffic.js';

const LOG = readLog(LINUX_LOG);

/** Steps of test/vectors/trace-linux.md, by instruction. */
const COUNTS = { PCILG: 251, PCISTG: 281, RPCIT: 607, SIC: 156, MPCIFC: 4, CLP: 4 };
/** Of them, and of the messages, what the lines themselves say. */
const CONFIG_LOADS = 199;
const CONFIG_STORES = 24;
const MESSAGES = 200;
const PAGES = 510 + 2 * 97;
/** Doorbell writes of the queues 0 (receive), 1 (transmit) and 2 (control). */
const DOORBELLS = [1, 158, 9];

const linesOf = (kind: string): number[] =>
  LOG.steps.filter(({ instruction }) => instruction.kind === kind).map(({ line }) => line);

function countOf<K extends PropertyKey>(keys: readonly K[]): Partial<Record<K, number>> {
  const counts: Partial<Record<K, number>> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
}

describe('the log', () => {
  it('has the instructions of its description', () => {
    expect(countOf(LOG.steps.map(({ instruction }) => instruction.kind))).toEqual(COUNTS);
    expect(LOG.firmware).toHaveLength(3);
    expect(LOG.steps.flatMap(({ messages }) => messages)).toHaveLength(MESSAGES);
  });

  it('modifies function controls by registering tables, measurement, interrupts, and deregistering interrupts', () => {
    const controls = LOG.steps.flatMap(({ instruction }) =>
      instruction.kind === 'MPCIFC' ? [instruction.oc] : [],
    );
    expect(controls).toEqual([4, 10, 2, 3]);
  });

  it('tells what every load and store did, but for doorbells and one load that ran at its second attempt', () => {
    const silent = LOG.steps.filter(
      ({ instruction, effects }) => isAccess(instruction) && !isDoorbell(instruction) && effects.length !== 1,
    );
    expect(silent.map(({ line }) => line)).toEqual([387]);
    expect([...repeated(LOG)].map(([{ line }, again]) => [line, again.line])).toEqual([[387, 388]]);
    const doorbells = LOG.steps.filter(({ instruction }) => isAccess(instruction) && isDoorbell(instruction));
    expect(doorbells).toHaveLength(168);
    expect(doorbells.flatMap(({ effects }) => effects)).toEqual([]);
  });

  it('refreshes pages in ascending order, each once: nothing but new mappings', () => {
    let next = 0x1_0000_0000;
    for (const { instruction } of LOG.steps) {
      if (instruction.kind !== 'RPCIT') continue;
      expect(instruction.startHi * 2 ** 32 + instruction.startLo).toBe(next);
      next += instruction.lenLo;
    }
    expect(next - 0x1_0000_0000).toBe(PAGES * 4096);
  });

  it('has messages under instructions that did not cause them', () => {
    const late = LOG.steps.filter(
      ({ instruction, messages }) => messages.length > 0 && instruction.kind !== 'PCISTG',
    );
    expect(late.map(({ line, instruction }) => [line, instruction.kind])).toEqual(
      [1569, 1612, 1633].map((line) => [line, 'RPCIT']),
    );
  });
});

describe.each(BUILDS)('the Linux log on the %s build', (build) => {
  const core = useBuild(build);

  it.each([
    ['emulated', 'functional'],
    ['native', 'functional'],
    ['emulated', 'timed'],
    ['native', 'timed'],
  ] as const)('is what a function in %s mode does on a %s machine', async (mode, fidelity) => {
    const done = await replay(core(), LOG, mode, fidelity);
    expect(done.differences).toEqual([]);
    expect(done.fn.handle).toBe(mode === 'emulated' ? 0x8002_0000 : 0x8000_0000);
    expect(done.fn.state).toBe('enabled');
    expect(done.fn.instance?.errors).toEqual([]);
    expect(done.fn.stats).toMatchObject({
      loads: COUNTS.PCILG,
      stores: COUNTS.PCISTG,
      storeBlocks: 0,
      refreshes: COUNTS.RPCIT,
    });
    expect(done.measured).toEqual([COUNTS.PCILG, COUNTS.PCISTG, 0, COUNTS.RPCIT]);
    expect(Object.values(countOf(done.doorbells))).toEqual(DOORBELLS);
    expect(done.messages).toBe(MESSAGES);
    // All but the first SIC end an interrupt.
    expect(done.adapterInterrupts).toBe(linesOf('SIC').length - 1);
    // What was refreshed is what DMA finds.
    expect(done.pages).toEqual(Array.from({ length: PAGES }, (_, n) => BigInt(n)));
  });

  it('makes well-formed TLPs: of messages and DMA, and of loads and stores where the function is native', async () => {
    const traffic = { 'up MWr': MESSAGES, 'up MRd': PAGES, 'down CplD': PAGES };
    const emulated = await replay(core(), LOG, 'emulated');
    const native = await replay(core(), LOG, 'native');
    const kinds = (tlps: readonly TracedTlp[]) =>
      countOf(tlps.map(({ direction, tlp }) => `${direction} ${tlp.type}`));
    expect(emulated.tlps.flatMap(problemsOf)).toEqual([]);
    expect(kinds(emulated.tlps)).toEqual(traffic);
    expect(native.tlps.flatMap(problemsOf)).toEqual([]);
    expect(kinds(native.tlps)).toEqual({
      ...traffic,
      'down CfgRd0': CONFIG_LOADS,
      'down CfgWr0': CONFIG_STORES,
      'up Cpl': CONFIG_STORES,
      'down MRd': COUNTS.PCILG - CONFIG_LOADS,
      'down MWr': COUNTS.PCISTG - CONFIG_STORES,
      'up CplD': COUNTS.PCILG,
    });
  });

  // Changes one digit of the log. Left out: line 387, whose value nobody read; condition codes of SIC, which are old ones;
  // the two low bits of message data: they tell which of the driver's vectors the device chose.
  it.each([
    ['the value of a configuration load', /^PCILG .*as=15 .*data=(\w+)/, 15],
    ['the value of a load', /^PCILG .*as=[14] .*data=(\w+)/, 15],
    ['the value of a configuration store', /^PCISTG .*as=15 .*data=(\w+)/, 15],
    ['the value of a store', /^PCISTG .*as=[14] .*data=(\w+)/, 15],
    ['the value of a doorbell', /^PCISTG .*off=0x300\w data=(\w+)/, 15],
    ['the offset of a load or store', /^PCI.*off=0x(\w+)/, 15],
    ['the condition code of an instruction', /^(?!SIC).*cc=(\d)/, 3],
    ['what configuration space answered or got', /^ +config .*value=0x(\w+)/, 15],
    ['where configuration space was accessed', /^ +config .*off=0x(\w+)/, 15],
    ['what a register answered', /^ +device read .*value=0x(\w+)/, 15],
    ['what a register got', /^ +device write region=(?!msix-s390).*value=0x(\w+)/, 15],
    ['where a register was accessed', /^ +device .*region=(?!msix-s390).*addr=0x(\w+)/, 15],
    ['the data of a message', /^ +device write region=msix-s390.*value=0x(\w+)/, 12],
    ['the address of a message', /^ +device write region=msix-s390.*addr=0x(\w+)/, 15],
  ] as const)('differs once %s is another one', async (_what, pattern, bits) => {
    const lines = LINUX_LOG.flatMap((text, n) => (n + 1 !== 387 && pattern.test(text) ? [n] : []));
    const flips = [1, 2, 4, 8].filter((bit) => (bits & bit) !== 0);
    const change = fc.record({
      line: fc.constantFrom(...lines),
      digit: fc.nat(),
      bit: fc.constantFrom(...flips),
    });
    const changed = change.map(({ line, digit, bit }) => {
      const text = LINUX_LOG[line] as string;
      return [line, flip(text, pattern, digit, bit)] as const;
    });
    await fc.assert(
      fc.asyncProperty(changed, async ([line, text]) => {
        const log = readLog(LINUX_LOG.with(line, text));
        const { differences } = await replay(core(), log, 'emulated');
        expect(differences.length, `line ${line + 1}: ${text}`).toBeGreaterThan(0);
      }),
      { seed: SEEDS[build], numRuns: 1, endOnFailure: true },
    );
  });
});

/** Other changes on each build. */
const SEEDS = { debug: 1, release: 2 } as const;

/** `text` with one bit of one digit of what the pattern's group matched changed. */
function flip(text: string, pattern: RegExp, digit: number, bit: number): string {
  const match = new RegExp(pattern, 'd').exec(text);
  const [from, to] = match?.indices?.[1] ?? [0, 0];
  const at = from + (digit % (to - from));
  const changed = (Number.parseInt(text.charAt(at), 16) ^ bit).toString(16);
  return text.slice(0, at) + changed + text.slice(at + 1);
}
