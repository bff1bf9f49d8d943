/** Writes the real output of the commands, and the tested example, into README.md; `--check` only compares. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
const path = (name: string): string => fileURLToPath(new URL(name, root));

function ztlp(...args: string[]): string {
  return ztlpWith('', ...args);
}

/** With `input` as standard input. */
function ztlpWith(input: string, ...args: string[]): string {
  const env = { ...process.env, NO_COLOR: '1', COLUMNS: '' };
  return execFileSync(process.execPath, [path('dist/src/cli/main.js'), ...args], {
    cwd: path('.'),
    encoding: 'utf8',
    env,
    input,
    stdio: 'pipe', // what a command says beside its output is in the error if it fails
  });
}

/** A block store, one that strict rules refuse, and a function that an error stops. */
const SCRIPT = `function nic bar0=64K zpciMode=native mps=128
PCISTB fh=nic as=0 len=128 off=0x100
PCISTB fh=nic as=0 len=11 off=0x100
map nic 0x1_0000_0000 0x10000
MPCIFC fh=nic oc=4
dma nic read 0x1_0000_0000 8
PCISTB fh=nic as=0 len=128 off=0x100 -> cc=1 status=12
`;

/** A flag for each size. */
function sizes(...bytes: number[]): string[] {
  return bytes.flatMap((size) => ['--size', String(size)]);
}

/** Replaces the fenced block behind the line `mark`. */
function fill(text: string, mark: string, fence: string, body: string): string {
  const pattern = new RegExp(`(${mark}\\n${fence}\\n)[^]*?(\`\`\`)`);
  if (!pattern.test(text)) throw new Error(`README.md has no block behind ${mark}`);
  return text.replace(pattern, (_all, head: string, tail: string) => `${head}${body.trimEnd()}\n${tail}`);
}

const file = path('README.md');
const before = readFileSync(file, 'utf8');
let text = fill(before, '<!-- widths -->', '```', ztlp('widths'));
text = fill(
  text,
  '<!-- replay -->',
  '```',
  ztlp('replay', 'test/vectors/traces/nvme-e1000e-linux61.mmiotrace.txt'),
);
text = fill(
  text,
  '<!-- bandwidth -->',
  '```',
  ztlp('bandwidth', '--preset', 'hsw2620', '--model', 'pcie-bench', ...sizes(64, 128, 256, 257, 512, 1024)),
);
text = fill(text, '<!-- zpci -->', '```', ztlpWith(SCRIPT, 'zpci'));
const vectors = [
  'tlp-cocotbext-pcie',
  'access-paths',
  'zpci-qemu72',
  'vtd-qemu72',
  'smmuv3-qemu72',
  'pcie-bench-model',
].map((name) => `test/vectors/${name}.json`);
text = fill(text, '<!-- iommu -->', '```', quiet('iommu', 'walk', 'examples/walk.yaml'));
text = fill(text, '<!-- conform -->', '```', quiet('conform', ...vectors));
text = fill(
  text,
  'runs as plain JavaScript:\n',
  '```ts',
  readFileSync(path('examples/pcistb-against-split.ts'), 'utf8').replace(/^\/\*\*.*\*\/\n/, ''),
);

/** Exits with 1 while groups are unsupported, or where a walk ends with a fault: no failure here. */
function quiet(...args: string[]): string {
  try {
    return ztlp(...args);
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

if (process.argv.includes('--check')) {
  if (text !== before) {
    console.error('README.md does not show the real output: run npm run docs');
    process.exitCode = 1;
  }
} else if (text !== before) writeFileSync(file, text);
