/** Writes the real output of the commands, and the tested example, into README.md; `--check` only compares. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
const path = (name: string): string => fileURLToPath(new URL(name, root));

function ztlp(...args: string[]): string {
  const env = { ...process.env, NO_COLOR: '1', COLUMNS: '' };
  return execFileSync(process.execPath, [path('dist/src/cli/main.js'), ...args], {
    cwd: path('.'),
    encoding: 'utf8',
    env,
  });
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
const vectors = ['test/vectors/tlp-cocotbext-pcie.json', 'test/vectors/access-paths.json'];
text = fill(text, '<!-- conform -->', '```', quietConform(vectors));
text = fill(
  text,
  'runs as plain JavaScript:\n',
  '```ts',
  readFileSync(path('examples/pcistb-against-split.ts'), 'utf8').replace(/^\/\*\*.*\*\/\n/, ''),
);

/** Exits with 1 while groups are unsupported, which is no failure here. */
function quietConform(files: string[]): string {
  try {
    return ztlp('conform', ...files);
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
