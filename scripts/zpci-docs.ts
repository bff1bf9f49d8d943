/** Writes the tables and the real outputs of docs/zpci.md; with --check it only compares. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createMachine, type Device, defineDevice, type OptionInput, type PathId } from '../src/index.js';

const root = new URL('../../', import.meta.url); // seen from dist/scripts
const path = (name: string): string => fileURLToPath(new URL(name, root));
const file = path('docs/zpci.md');
const BLOCK = 4096;

const table = (rows: readonly (readonly unknown[])[]): string =>
  rows.map((row) => `| ${row.join(' | ')} |`).join('\n');

/** A memory device, with or without MIO. */
const device = (mio = true): Device =>
  defineDevice({
    name: 'memory',
    vendorId: 0x1af4,
    deviceId: 0x10f1,
    bars: [{ size: 0x4000, bits: 64, memory: true }],
    zpci: { mio },
  }) as Device;

async function storeBlock(id: PathId, options: OptionInput, mio = true, bytes = BLOCK) {
  const machine = await createMachine({
    platform: 's390x',
    hostMemoryBytes: 0x1_0000,
    slots: [{ device: device(mio), options }],
  });
  const [fn] = machine.functions;
  if (fn === undefined) throw new Error('the machine has no function');
  const data = Uint8Array.from({ length: bytes }, (_, n) => 1 + ((n * 7) & 0x7f)); // no byte that the BAR holds already
  const { totals } = machine.cpu.write({ path: id, function: fn, bar: 0, offset: 0, data });
  const arrived = data.filter((byte, n) => fn.barMemory(0)[n] === byte).length;
  return { totals, arrived, violations: fn.stats.policyViolations };
}

/** The ways of the first table, with the options that their names stand for (zpci.md 8.4). */
const GROUP: OptionInput = { maxstbl: 4096, relaxed: true };
const WAYS: readonly (readonly [way: string, path: PathId, options: OptionInput])[] = [
  ['native, `memcpy_toio`', 'zpci-memcpy-new', { zpciMode: 'native' }],
  ['native, one PCISTB (ISM driver)', 'zpci-pcistb', { zpciMode: 'native', ...GROUP }],
  ['native, split by 4', 'zpci-pcistg4', { zpciMode: 'native' }],
  ['emulated', 'zpci-emulated', { zpciMode: 'emulated' }],
  ['vfio-pci, 4 bytes', 'zpci-vfio-w4', { zpciMode: 'vfio', vfioGeneration: 1 }],
  ['vfio-pci, 8 bytes', 'zpci-vfio-w8', { zpciMode: 'vfio', vfioGeneration: 3 }],
  ['proposed region', 'zpci-io-region', { zpciMode: 'vfio', interceptStrict: false, ...GROUP }],
  ['interpreted', 'zpci-interpreted', { zpciMode: 'interpreted' }],
  ['device-specific vfio driver', 'zpci-vfio-ism', { zpciMode: 'vfio', interceptStrict: false, ...GROUP }],
];
const SIZES = [128, 256, 512, 4096] as const;

async function fourKib(): Promise<string> {
  const rows: unknown[][] = [];
  for (const [way, id, options] of WAYS) {
    const runs = await Promise.all(SIZES.map((mps) => storeBlock(id, { ...options, mps })));
    const totals = runs.map((run) => run.totals);
    const [first] = totals;
    if (first === undefined) throw new Error('no run');
    const { guestInstructions, exits, systemCalls, hostOperations, mioOperations } = first;
    const operations = first.deviceCalls > 0 ? `0 (${first.deviceCalls} device calls)` : hostOperations;
    const counts = [guestInstructions, exits, systemCalls, operations, mioOperations];
    rows.push([way, `\`${id}\``, ...counts, ...totals.map(({ tlps }) => tlps)]);
  }
  const head = [
    'way',
    'path',
    'guest instructions',
    'exits',
    'pwrite calls',
    'host operations',
    'of these MIO',
  ];
  const all = [...head, ...SIZES.map((mps, n) => (n === 0 ? `TLPs at MPS ${mps}` : mps))];
  return table([all, all.map(() => '---'), ...rows]);
}

async function bytes(): Promise<string> {
  const machine = await createMachine({
    platform: 's390x',
    hostMemoryBytes: 0x1_0000,
    slots: [{ device: device(), options: { zpciMode: 'native' } }],
  });
  const [fn] = machine.functions;
  if (fn === undefined) throw new Error('the machine has no function');
  machine.trace.start();
  const rows = (
    [
      ['PCISTG', 'write', 5, 1],
      ['PCISTG', 'write', 6, 2],
      ['PCISTG', 'write', 4, 4],
      ['PCISTG', 'write', 3, 8],
      ['PCILG', 'read', 5, 1],
      ['PCILG', 'read', 8, 8],
    ] as const
  ).map(([name, op, offset, length]) => {
    const at = { fh: fn.handle, as: 0, offset, length };
    const answer = op === 'write' ? machine.cpu.pcistg({ ...at, data: 0 }) : machine.cpu.pcilg(at);
    const requests = machine.trace.take().filter(({ direction }) => direction === 'down');
    const [{ tlp } = {}] = requests;
    if (answer.cc !== 0 || tlp === undefined || requests.length !== 1)
      throw new Error(`${name} at ${offset}`);
    if (!('firstBe' in tlp)) throw new Error(`${name} at ${offset}: no byte enables`);
    const bits = (enables: number): string => `${enables.toString(2).padStart(4, '0')}`;
    const dw = `0x${((offset >> 2) << 2).toString(16)}`;
    const what = `${name} of ${length} at ${offset} (${tlp.type})`;
    return [what, dw, tlp.length, bits(tlp.firstBe), bits(tlp.lastBe)];
  });
  const head = ['access', 'DW address', 'Length (DW)', 'First BE', 'Last BE'];
  return table([head, head.map(() => '---'), ...rows]);
}

async function forms(): Promise<string> {
  const rows: unknown[][] = [];
  for (const [way, id, options] of WAYS.filter(([, path]) => path !== 'zpci-emulated')) {
    const capable = await storeBlock(id, options);
    const without = await storeBlock(id, options, false);
    const { hostOperations, mioOperations } = capable.totals;
    rows.push([way, hostOperations - mioOperations, mioOperations, without.violations, without.arrived]);
  }
  const head = [
    'way',
    'function with MIO: FH forms',
    'MIO forms',
    'function without MIO: policy violations',
    'bytes that arrive',
  ];
  return table([head, head.map(() => '---'), ...rows]);
}

/** What a command prints; its exit code is part of what the page says, so it has to be 0. */
function output(command: string, args: readonly string[]): string {
  const program = command === 'ztlp' ? [path('dist/src/cli/main.js'), ...args] : args;
  const env = { ...process.env, NO_COLOR: '1', COLUMNS: '' };
  const run = spawnSync(process.execPath, program, { cwd: path('.'), encoding: 'utf8', env });
  if (run.status !== 0)
    throw new Error(`${command} ${args.join(' ')}: exit code ${run.status}\n${run.stderr}`);
  return run.stdout.trimEnd();
}

const TABLES: Readonly<Record<string, () => Promise<string>>> = { 'four-kib': fourKib, bytes, forms };

const before = readFileSync(file, 'utf8');
let text = before;
for (const [name, make] of Object.entries(TABLES)) {
  const made = await make();
  const pattern = new RegExp(`(<!-- table: ${name} -->\\n)[\\s\\S]*?(<!-- end -->)`);
  if (!pattern.test(text)) throw new Error(`docs/zpci.md has no table ${name}`);
  text = text.replace(pattern, (_all, head: string, tail: string) => `${head}${made}\n${tail}`);
}
text = text.replace(
  /(<!-- (ztlp|node) (.+) -->\n```\n)[\s\S]*?(```\n)/g,
  (_all, head: string, command: string, args: string, tail: string) =>
    `${head}$ ${command} ${args}\n${output(command, args.split(' '))}\n${tail}`,
);

if (process.argv.includes('--check')) {
  if (text !== before) {
    console.error('docs/zpci.md does not show the real output: run npm run docs');
    process.exitCode = 1;
  }
} else if (text !== before) writeFileSync(file, text);
