/** Writes docs/options.md from the option table; with --check it only tests that the file is up to date. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type OptionDef, SCOPES } from '../src/base/option-table.js';
import {
  BUILT_OPTIONS,
  explainOption,
  formatAllowed,
  formatValue,
  OPTIONS,
  type OptionName,
} from '../src/base/options.js';

const path = fileURLToPath(new URL('../../docs/options.md', import.meta.url)); // seen from dist/scripts
const names = Object.keys(OPTIONS) as OptionName[];
const built = names.filter((name) => BUILT_OPTIONS.has(name));
const planned = names.filter((name) => !BUILT_OPTIONS.has(name));
const text = `# Named options

Every disputed fact and every model choice has one name. All names, values and defaults below come from the option table
in \`src/base/option-table.ts\`; this page is generated from it, so change the table and not the page. On a command line
an option is written \`name=value\`. Reports list the options that do not hold their default. Source names the sheet and
section, or the checklist statement, that states the fact ([sources.md](sources.md)).

Two parts: the ${built.length} options that [this version acts on](#options-of-this-version), and the ${planned.length} that are
[planned](#planned-options) and have no effect yet: setting one of those to another value than its default is refused.
No command ignores an option in silence either: \`ztlp widths\` and \`ztlp replay\` refuse one that no path of the call acts
on, and say which they use ([paths.md](paths.md) lists them per path).

Scope says what an option belongs to: ${scopes()}.

## Options of this version

### Choices

${table('values', built.filter(isChoice))}

### Numbers

${table('range', built.filter(isQuantity))}

## Planned options

Names and values are decided, nothing acts on them yet.

### Planned choices

${table('values', planned.filter(isChoice))}

### Planned numbers

${table('range', planned.filter(isQuantity))}
`;

if (!process.argv.includes('--check')) {
  writeFileSync(path, text);
} else if (current() !== text) {
  console.error('docs/options.md differs from the option table: run node dist/scripts/option-docs.js');
  process.exitCode = 1;
}

function current(): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Sizes, counts, times and codes: everything that has a unit. */
function isQuantity(name: OptionName): boolean {
  return 'unit' in OPTIONS[name];
}

function isChoice(name: OptionName): boolean {
  return !isQuantity(name);
}

function scopes(): string {
  return Object.entries(SCOPES)
    .map(([letter, owner]) => `${letter} ${owner}`)
    .join(', ');
}

function table(values: string, rows: readonly OptionName[]): string {
  const head = ['option', values, 'default', 'scope', 'what it changes', 'source'];
  return [head, head.map(() => '---'), ...rows.map(cells)].map(line).join('\n');
}

function cells(name: OptionName): string[] {
  const def: OptionDef = OPTIONS[name];
  const standard = formatValue(name, OPTIONS[name].default);
  return [`\`${name}\``, formatAllowed(name), standard, def.scope, explainOption(name), def.source];
}

function line(row: readonly string[]): string {
  return `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
