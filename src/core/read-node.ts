/** Reads the WebAssembly core from beside the package's own files (Node). */
import { readFile } from 'node:fs/promises';

/** The release build of the core, as bytes. */
export function readWasm(): Promise<Uint8Array<ArrayBuffer>> {
  return readFile(new URL('../../build/release.wasm', import.meta.url)) as Promise<Uint8Array<ArrayBuffer>>;
}
