/** Both builds of the core, as bytes, for tests that have to hold on each of them. */
import { readFile } from 'node:fs/promises';
import { beforeAll } from 'vitest';
import { ready } from '../../src/index.js';

export const BUILDS = ['debug', 'release'] as const;
export type Build = (typeof BUILDS)[number];

export function readBuild(variant: Build): Promise<Uint8Array<ArrayBuffer>> {
  const file = new URL(`../../build/${variant}.wasm`, import.meta.url);
  return readFile(file) as Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * For the head of a `describe`: before its tests run, compiles the core of a build and makes it the shared one. Answers how
 * a test gets at the module.
 */
export function useBuild(variant: Build): () => WebAssembly.Module {
  let core: WebAssembly.Module | undefined;
  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(variant));
    await ready(core);
  });
  return () => {
    if (core === undefined) throw new Error('the core is there once the tests run');
    return core;
  };
}
