/** Dumps for tests: the bundled ones, and configuration space made of a few fields. */
import { fileURLToPath } from 'node:url';
import { type LspciFunction, LspciReader } from '../../src/pci/lspci.js';
import { openTrace, readLines } from '../../src/trace/lines.js';

export function dumpPath(name: string): string {
  return fileURLToPath(new URL(`../vectors/lspci/${name}.txt`, import.meta.url));
}

/** The functions of a text given as chunks. */
export async function functionsOf(
  source: AsyncIterable<Uint8Array | string>,
  reader = new LspciReader(),
): Promise<LspciFunction[]> {
  const functions: LspciFunction[] = [];
  for await (const batch of readLines(source)) functions.push(...reader.push(batch));
  return [...functions, ...reader.finish()];
}

/** The one function of a bundled dump. */
export async function bundled(name: 'qemu72-nvme' | 'qemu72-e1000e'): Promise<LspciFunction> {
  const { stream } = await openTrace(dumpPath(name));
  const [fn] = await functionsOf(stream, new LspciReader(true));
  if (fn === undefined) throw new Error(`${name} has no function`);
  return fn;
}

/** Bytes of configuration space, all 0 but for these: offset and little-endian 32-bit word. */
export function space(
  length: number,
  words: readonly (readonly [offset: number, word: number])[],
): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  for (const [offset, word] of words) view.setUint32(offset, word >>> 0, true);
  return bytes;
}
