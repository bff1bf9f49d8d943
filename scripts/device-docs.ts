/** Writes the example files, and what they print, into docs/devices.md; `--check` only compares. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url); // seen from dist/scripts
const path = (name: string): string => fileURLToPath(new URL(name, root));

/** A line `<!-- file: NAME -->` or `<!-- output: NAME -->`, then a fenced block. */
const BLOCK = /(<!-- (file|output): (\S+) -->\n```\w*\n)(?:[\s\S]*?\n)??(```\n)/g;
const MARK = /<!-- (?:file|output): /g;

const page = path('docs/devices.md');
const before = readFileSync(page, 'utf8');
let blocks = 0;
const after = before.replace(BLOCK, (_all, head: string, kind: string, name: string, tail: string) => {
  blocks++;
  const text =
    kind === 'file'
      ? readFileSync(path(name), 'utf8')
      : execFileSync(process.execPath, [path(name)], { cwd: path('.'), encoding: 'utf8' });
  return `${head}${text.trimEnd()}\n${tail}`;
});
// A mark without its block would be passed over in silence.
if (blocks === 0 || blocks !== (before.match(MARK) ?? []).length)
  throw new Error(`docs/devices.md: ${blocks} blocks behind other marks than there are`);

if (after !== before && process.argv.includes('--check')) {
  console.error('docs/devices.md does not show the examples as they are: run npm run docs');
  process.exitCode = 1;
} else if (after !== before) writeFileSync(page, after);
