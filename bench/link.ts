/**
 * `npm run bench:link`: host time of the simulated link per TLP, against a C model that does the same and has to agree
 * with the core in every hash, count and time, and against an encode kernel that needs no compiler.
 */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { TICKS_PER_NS } from '../assembly/layout.js';
import { print, report } from '../src/cli/output.js';
import { table } from '../src/report/table.js';
import { ensure } from './case.js';
import { makeFolder, packageRoot } from './files.js';
import { type Kernel, loadKernel } from './kernel.js';
import { CoreLink, nativeOutcome, nativeTime, type Setting, settingOf } from './link-setup.js';
import { compileNative, LINK_MODEL } from './native.js';
import { type Estimate, estimate } from './statistics.js';
import { digits } from './text.js';

const TLPS = 5_000_000;
const ROUNDS = 7;
const LONGER = 10;
/** Long runs, each between two short ones. */
const LONG_PAIRS = 5;
/** Part of a run that is run to warm up, so that the engine has compiled the core for good. */
const WARM_UP = 10;
/** How much more a TLP of a long run may cost. */
const LONG_LIMIT = 1.1;
const MODES = [
  { name: '-O3', flags: [] },
  { name: '-O3 -march=native', flags: ['-march=native'] },
] as const;

interface LinkCase {
  readonly name: string;
  /** The setting of a run that delivers `tlps` TLPs. */
  readonly setting: (tlps: number) => Setting;
  /** Payload of the kernel's TLPs. */
  readonly kernelBytes: 64 | 256;
  /** Least speed relative to the C model, most time relative to the kernel. */
  readonly ofC: number;
  readonly ofKernel: number;
}

/** With this delay a read takes 500 ns: request and completion on the wire, and both ways. */
function completerDelay(): number {
  const [{ ticksPerByte, latency }] = settingOf({});
  return 500 * TICKS_PER_NS - 2 * latency - (24 + 20 + 64) * ticksPerByte;
}

const CASES: readonly LinkCase[] = [
  {
    name: 'posted 64 B',
    setting: (tlps) => settingOf({ writeCut: 64 }, { writes: Math.ceil(tlps / 64) }),
    kernelBytes: 64,
    ofC: 0.4,
    ofKernel: 20,
  },
  {
    name: 'posted 256 B',
    setting: (tlps) => settingOf({}, { writes: Math.ceil(tlps / 16) }),
    kernelBytes: 256,
    ofC: 0.55,
    ofKernel: 13,
  },
  {
    name: 'read 64 B',
    setting: (tlps) => settingOf({ completerDelay: completerDelay() }, { reads: Math.ceil(tlps / 2) }),
    kernelBytes: 64,
    ofC: 0.4,
    ofKernel: 30,
  },
];

interface Program {
  readonly mode: string;
  readonly program: string;
}

/** The C model in both modes; the reason where there is none. */
function compileModel(folder: string): Program[] | string {
  const programs: Program[] = [];
  for (const [n, { name, flags }] of MODES.entries()) {
    const program = join(folder, `bench-link-${n}`);
    const native = compileNative(join(packageRoot(), 'bench', 'native'), program, LINK_MODEL, flags);
    if (typeof native === 'string') return native;
    programs.push({ mode: name, program });
  }
  return programs;
}

/** Throws where the C model and the core differ in anything that a run of the case leaves. */
async function compareModel(one: LinkCase, programs: readonly Program[]): Promise<void> {
  const setting = one.setting(TLPS);
  const link = await CoreLink.create();
  link.run(setting);
  const core = link.outcome();
  for (const { mode, program } of programs) {
    const native = nativeOutcome(program, setting);
    const both = `core ${JSON.stringify(core)}\nC    ${JSON.stringify(native)}`;
    ensure(
      isDeepStrictEqual(core, native),
      `${one.name}: the core and the C model (${mode}) differ\n${both}`,
    );
  }
}

function timeKernel(kernel: Kernel, bytes: number): number {
  const start = process.cpuUsage();
  kernel(2 * TLPS, bytes);
  return (process.cpuUsage(start).user * 1000) / (2 * TLPS);
}

/** Samples of one case in ns per TLP, one of each kind per round. */
interface Samples {
  readonly core: number[];
  readonly kernel: number[];
  readonly native: number[][];
}

function sampleRound(
  one: LinkCase,
  link: CoreLink,
  kernel: Kernel,
  programs: readonly Program[],
  to: Samples,
): void {
  const setting = one.setting(TLPS);
  const user = link.run(setting);
  ensure(link.delivered() >= TLPS, `${one.name}: less than ${TLPS} TLPs`);
  to.core.push(user / link.delivered());
  to.kernel.push(timeKernel(kernel, one.kernelBytes));
  for (const [n, { program }] of programs.entries())
    to.native[n]?.push(nativeTime(program, setting) / link.delivered());
}

function spread({ value, spread: part }: Estimate): string {
  return `${digits(value)} ±${digits(part)} %`;
}

function ratio(over: readonly number[], under: readonly number[]): Estimate {
  return estimate(over.map((value, round) => value / (under[round] ?? Number.NaN)));
}

function judged(found: Estimate, target: string, isMet: boolean): string[] {
  return [spread(found), `${target}: ${isMet ? 'met' : 'missed'}`];
}

function rowOf(one: LinkCase, { core, kernel, native }: Samples): string[] {
  const byKernel = ratio(core, kernel);
  const cells = [one.name, spread(estimate(core)), spread(estimate(kernel))];
  cells.push(...judged(byKernel, `<= ${one.ofKernel}`, byKernel.value <= one.ofKernel));
  if (native.length === 0) return cells;
  // The faster mode, by its median, is the opponent.
  const sorted = native.toSorted((a, b) => estimate(a).value - estimate(b).value);
  const byC = ratio(sorted[0] as number[], core);
  for (const samples of native) cells.push(spread(estimate(samples)));
  return [...cells, ...judged(byC, `>= ${one.ofC}`, byC.value >= one.ofC)];
}

async function bench(): Promise<void> {
  const folder = join(packageRoot(), 'build');
  makeFolder(folder);
  const model = compileModel(folder);
  const programs = typeof model === 'string' ? [] : model;
  if (typeof model === 'string') await print(`no C model: ${model}`);
  for (const one of CASES) if (programs.length > 0) await compareModel(one, programs);
  if (programs.length > 0)
    await print(
      `core and C model agree: hashes, memory, counts, final time (${CASES.length} cases, both modes)`,
    );

  const kernel = await loadKernel();
  const link = await CoreLink.create();
  const before = link.memoryBytes;
  for (const one of CASES) {
    link.run(one.setting(TLPS / WARM_UP));
    timeKernel(kernel, one.kernelBytes);
  }
  const samples = CASES.map((): Samples => ({ core: [], kernel: [], native: programs.map(() => []) }));
  for (let round = 0; round < ROUNDS; round++)
    for (const [n, one] of CASES.entries()) sampleRound(one, link, kernel, programs, samples[n] as Samples);

  const [posted] = CASES as [LinkCase];
  const ratios: number[] = [];
  const longs: number[] = [];
  for (let pair = 0; pair < LONG_PAIRS; pair++) {
    const short = (): number => link.run(posted.setting(TLPS)) / link.delivered();
    const before = short();
    const long = link.run(posted.setting(LONGER * TLPS)) / link.delivered();
    longs.push(long);
    ratios.push((2 * long) / (before + short()));
  }
  const ratio = estimate(ratios);
  ensure(link.memoryBytes === before, `memory grew from ${before} to ${link.memoryBytes} bytes`);

  const head = ['', 'core, ns', 'kernel, ns', 'core / kernel', 'target'];
  if (programs.length > 0) head.push(...programs.map(({ mode }) => `C ${mode}, ns`), 'speed of C', 'target');
  const rows = CASES.map((one, n) => rowOf(one, samples[n] as Samples));
  await print(table(head, rows, { align: head.map((_, n) => (n === 0 ? 'left' : 'right')) }));
  const isFlat = ratio.value <= LONG_LIMIT;
  await print(
    [
      `user CPU per delivered TLP, median of ${ROUNDS} interleaved runs of ${TLPS / 1e6} M TLPs; a read is two TLPs`,
      `${posted.name}, ${LONGER} times as long: ${digits(estimate(longs).value)} ns, ${digits(ratio.value)} of the short runs around it, median of ${LONG_PAIRS} (<= ${LONG_LIMIT}: ${isFlat ? 'met' : 'missed'})`,
      `WebAssembly memory: ${before / 65536} pages before and after`,
    ].join('\n'),
  );
}

try {
  await bench();
} catch (error) {
  report(error);
}
