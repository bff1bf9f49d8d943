/** Both builds of the core, as bytes, for tests that have to hold on each of them. */
import { readFile } from 'node:fs/promises';

export const BUILDS = ['debug', 'release'] as const;

export function readBuild(variant: (typeof BUILDS)[number]): Promise<Uint8Array<ArrayBuffer>> {
  const file = new URL(`../../build/${variant}.wasm`, import.meta.url);
  return readFile(file) as Promise<Uint8Array<ArrayBuffer>>;
}
