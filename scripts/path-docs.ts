/** Writes the generated table of docs/paths.md from the table of access paths; with --check it only compares. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PATH_IDS, PATHS } from '../src/path/table.js';
import { ownUses } from '../src/report/used-options.js';

const path = fileURLToPath(new URL('../../docs/paths.md', import.meta.url)); // seen from dist/scripts
const START = '<!-- generated: npm run docs -->\n';
const END = '<!-- end -->';

function rows(): string {
  const head = [
    'path',
    'what it is',
    'platform',
    'stores',
    'loads',
    'implied options',
    'further options it uses',
    'sheet',
  ];
  const body = PATH_IDS.map((id) => {
    const { title, platform, stores, loads, options, read, sheet } = PATHS[id];
    const implied = Object.entries(options).map(([name, value]) => `\`${name}=${value}\``);
    const further = ownUses(id).filter((name) => !Object.hasOwn(options, name));
    const uses = further.map((name) => `\`${name}\``).join(' ');
    return [
      `\`${id}\``,
      title,
      platform,
      stores,
      read === null ? 'n/a' : loads,
      implied.join(' '),
      uses,
      sheet,
    ];
  });
  return [head, head.map(() => '---'), ...body].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

const before = readFileSync(path, 'utf8');
const from = before.indexOf(START);
const to = before.indexOf(END);
if (from < 0 || to < from) throw new Error('docs/paths.md has lost the marks of its generated table');
const text = `${before.slice(0, from + START.length)}\n${rows()}\n\n${before.slice(to)}`;
if (!process.argv.includes('--check')) {
  if (text !== before) writeFileSync(path, text);
} else if (text !== before) {
  console.error('docs/paths.md differs from the table of paths: run npm run docs');
  process.exitCode = 1;
}
