/** Copies both builds of the core beside the compiled host, where the package looks for them. */
import { copyFileSync, mkdirSync } from 'node:fs';

const from = new URL('../../build/', import.meta.url);
const to = new URL('../build/', import.meta.url);
mkdirSync(to, { recursive: true });
for (const name of ['release.wasm', 'debug.wasm']) copyFileSync(new URL(name, from), new URL(name, to));
