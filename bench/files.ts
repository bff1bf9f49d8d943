/** Finds the folder of the package, reads and writes files; every failure is one line. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ZtlpError } from '../src/base/errors.js';

/** The folder with package.json above this file, compiled or not. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const above = dirname(folder);
    if (above === folder) throw new ZtlpError('not-found', 'no package.json above the benchmarks');
    folder = above;
  }
  return folder;
}

function reason(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const isMissing = reason(cause) === 'ENOENT';
    const what = isMissing ? `${file}: no such file` : `${file}: cannot be read (${reason(cause)})`;
    throw new ZtlpError(isMissing ? 'not-found' : 'io', what, { cause });
  }
}

export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new ZtlpError('io', `${folder}: cannot be made (${reason(cause)})`, { cause });
  }
}

export function writeText(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (cause) {
    throw new ZtlpError('io', `${file}: cannot be written (${reason(cause)})`, { cause });
  }
}
