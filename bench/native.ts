/** Compiles the C loops of bench/native when there is a compiler on PATH, and runs one of them. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ZtlpError } from '../src/base/errors.js';
import type { NativeLoop } from './case.js';

/** `-march` is left out on purpose: WebAssembly has no choice of processor either. */
export const FLAGS: readonly string[] = ['-O3', '-std=c11'];
/** The loops that stand beside single cases, and the model of the simulated link. */
export const LOOPS: readonly string[] = ['crc.c', 'form.c', 'main.c', 'walk.c'];
export const LINK_MODEL: readonly string[] = ['crc.c', 'link.c', 'link-main.c'];
const COMPILERS: readonly string[] = ['cc', 'gcc', 'clang'];

export interface Native {
  /** First line of what the compiler says about itself. */
  readonly compiler: string;
  readonly program: string;
}

/** Samples of one loop, in ns per unit. */
export interface NativeAnswer {
  readonly check: number;
  readonly ns: readonly number[];
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]?.trim() ?? '';
}

function findCompiler(): { readonly command: string; readonly version: string } | undefined {
  for (const command of COMPILERS) {
    const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
    if (status === 0) return { command, version: firstLine(stdout) };
  }
  return undefined;
}

/** Compiles `files` of folder `sources` into `program`; answers why not in one line where that fails. */
export function compileNative(
  sources: string,
  program: string,
  files = LOOPS,
  flags: readonly string[] = [],
): Native | string {
  const found = findCompiler();
  if (found === undefined) return `no C compiler (${COMPILERS.join(', ')}) on PATH`;
  const paths = files.map((name) => join(sources, name));
  const { status, stderr } = spawnSync(found.command, [...FLAGS, ...flags, ...paths, '-o', program], {
    encoding: 'utf8',
  });
  if (status !== 0) return `${found.command} failed: ${firstLine(stderr ?? '') || `status ${status}`}`;
  return { compiler: found.version, program };
}

/** Reads what a loop printed: one line of JSON. */
export function parseAnswer(text: string): NativeAnswer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const { check, ns } = (value ?? {}) as Partial<Record<keyof NativeAnswer, unknown>>;
  const isTime = (item: unknown): boolean => typeof item === 'number' && item > 0;
  if (typeof check === 'number' && Array.isArray(ns) && ns.length > 0 && ns.every(isTime))
    return { check, ns: ns as number[] };
  throw new ZtlpError(
    'malformed',
    `a C loop printed ${JSON.stringify(firstLine(text))} instead of its times`,
  );
}

/** Runs one loop: `samples` samples of `milliseconds` or more. Throws when it did other work than its case. */
export function runNative(
  native: Native,
  loop: NativeLoop,
  samples: number,
  milliseconds: number,
): readonly number[] {
  const args = [loop.loop, String(loop.bytes), String(samples), String(milliseconds)];
  const { status, stdout } = spawnSync(native.program, args, { encoding: 'utf8' });
  if (status !== 0) throw new ZtlpError('resource', `the C loop ${args.join(' ')} ended with ${status}`);
  const answer = parseAnswer(stdout);
  if (answer.check !== loop.check)
    throw new ZtlpError('malformed', `the C loop ${args.join(' ')} made other bytes than the core`);
  return answer.ns;
}
