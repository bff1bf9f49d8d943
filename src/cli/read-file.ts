/** Reads a whole file, or standard input for `-`, up to a size. */
import { ZtlpError } from '../base/errors.js';
import { openTrace } from '../trace/lines.js';
import { announceInput } from './output.js';

/** What messages call `file`. */
export function nameOfFile(file: string): string {
  return file === '-' ? 'standard input' : file;
}

/** `what` is what a person at a terminal is to type. Throws ZtlpError `not-found`, `io`, or `resource` above `most` bytes. */
export async function readWhole(file: string, most: number, what: string): Promise<Buffer> {
  const { stream, size } = await openTrace(file);
  if (size !== undefined && size > most) throw tooLong(file, most);
  if (file === '-') announceInput(what);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > most) throw tooLong(file, most);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function tooLong(file: string, most: number): ZtlpError {
  return new ZtlpError('resource', `${nameOfFile(file)}: more than ${most} bytes`, {
    field: 'file',
    value: file,
    allowed: `up to ${most} bytes`,
  });
}
