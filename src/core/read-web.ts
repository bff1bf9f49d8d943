/** Fetches the WebAssembly core from beside the package's own files (browser). */

/** The release build of the core, as a response to stream from. */
export function readWasm(): Promise<Response> {
  return fetch(new URL('../../build/release.wasm', import.meta.url));
}
