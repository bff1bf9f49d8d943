/** What the tests of vector files share: the copied vectors, small files made of them, and temporary files. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ZtlpError } from '../../src/base/errors.js';
import { conformVectors, type FileReport } from '../../src/conform/index.js';
import { ready } from '../../src/core/shared.js';

export const BUILDS = ['debug', 'release'] as const;

/** Takes build `build` of the core for the plain functions. */
export async function useCore(build: (typeof BUILDS)[number]): Promise<void> {
  await ready(readFile(new URL(`../../build/${build}.wasm`, import.meta.url)));
}

export function vectorPath(name: string): string {
  return fileURLToPath(new URL(`../vectors/${name}`, import.meta.url));
}

/** A case as JSON, free to be changed. */
// biome-ignore lint/suspicious/noExplicitAny: the tests write what no type allows
export type AnyCase = Record<string, any>;

export interface VectorFile {
  format: string;
  [group: string]: AnyCase[] | unknown;
}

export async function readVectors(name: string): Promise<VectorFile> {
  return JSON.parse(await readFile(vectorPath(name), 'utf8')) as VectorFile;
}

/** The entries of group `name` as they stand in the file. */
export function casesOf(file: VectorFile, name: string): AnyCase[] {
  return file[name] as AnyCase[];
}

/** Runs single cases of one group. */
export function runCases(format: string, group: string, cases: readonly unknown[]): FileReport {
  return conformVectors('test.json', { format, [group]: cases });
}

/** Runs a changed copy of one case between two unchanged ones, which must agree. */
export function runChanged(
  format: string,
  group: string,
  original: AnyCase,
  change: (copy: AnyCase) => void,
): FileReport {
  const copy = structuredClone(original);
  change(copy);
  return runCases(format, group, [original, copy, original]);
}

/** A file with these contents, for the time of `use`. */
export async function withFile<T>(
  content: string | Uint8Array,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'ztlp-conform-'));
  try {
    const path = join(directory, 'input');
    await writeFile(path, content);
    return await use(path);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** The ZtlpError that `action` throws. */
export async function errorOf(action: () => unknown): Promise<ZtlpError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof ZtlpError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
