/** Reads whole traces for tests: the records of any reader in one list, and the accesses they make. */
import { fileURLToPath } from 'node:url';
import type { Access } from '../../src/trace/access.js';
import { openTrace } from '../../src/trace/lines.js';
import { mmioAccess } from '../../src/trace/mmiotrace.js';
import { readMmiotrace } from '../../src/trace/mmiotrace-reader.js';
import { QemuAccesses, type QemuRecord, readQemuTrace } from '../../src/trace/qemu-trace.js';
import type { RecordBatch } from '../../src/trace/record-reader.js';
import { VECTOR } from './input.js';

export function vector(name: string): string {
  return fileURLToPath(new URL(`../vectors/${name}`, import.meta.url));
}

export const QEMU_VECTOR = vector('traces/nvme-e1000e-linux61.qemu-trace.txt');

/** A record with its line number. */
export interface Numbered<R> {
  readonly line: number;
  readonly record: R;
}

/** All records of a reader, in order. */
export async function collect<R>(batches: AsyncIterable<RecordBatch<R>>): Promise<Numbered<R>[]> {
  const all: Numbered<R>[] = [];
  for await (const { records, lines } of batches) {
    records.forEach((record, i) => {
      all.push({ line: lines[i] ?? 0, record });
    });
  }
  return all;
}

/** The accesses of a QEMU trace, given as chunks. */
export async function qemuAccesses(source: AsyncIterable<Uint8Array | string>): Promise<Access[]> {
  const accesses = new QemuAccesses();
  const all: Access[] = [];
  const take = (batch: RecordBatch<QemuRecord>): void => void all.push(...accesses.push(batch));
  for await (const batch of readQemuTrace(source, { strict: true })) take(batch);
  return [...all, ...accesses.finish()];
}

/** The accesses of the bundled mmiotrace log. */
export async function mmioAccesses(): Promise<Access[]> {
  const all: Access[] = [];
  const { stream } = await openTrace(VECTOR);
  for (const { record, line } of await collect(readMmiotrace(stream, { strict: true }))) {
    if (record.kind === 'read' || record.kind === 'write') all.push(mmioAccess(record, line));
  }
  return all;
}
