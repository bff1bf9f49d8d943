/** Which file of a device has the syntax error: Node names it only where nothing hooks into its loading. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Relative names in `import` and `export ... from`. */
const IMPORTED = /(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g;
const MOST_FILES = 50;
const TIMEOUT_MS = 5000;

/** Path and line, among `file` and what it imports by relative names; undefined when nothing is found. */
export function syntaxPlace(file: string): readonly [path: string, line: string] | undefined {
  const files = new Set([file]);
  for (const path of files) {
    const { stderr } = spawnSync(process.execPath, ['--check', path], {
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    });
    const [, place, line] = /^(.+):(\d+)$/m.exec(stderr.includes('SyntaxError') ? stderr : '') ?? [];
    if (place !== undefined && line !== undefined)
      return [place.startsWith('file:') ? fileURLToPath(place) : place, line];
    for (const [, name = ''] of readFileSync(path, 'utf8').matchAll(IMPORTED)) {
      const next = resolve(dirname(path), name);
      if (files.size < MOST_FILES && existsSync(next)) files.add(next);
    }
  }
  return undefined;
}
