/** Memory of a BAR: pages of the instance's own that come to be when they are written, or the machine's. */
import { inRange, invalid } from '../base/errors.js';
import type { Region } from './bars.js';
import type { DeviceHost } from './host.js';
import type { BarMemory } from './types.js';

const PAGE = 4096;
/** Cleared at a time. */
const CHUNK = 1 << 20;

/** Pages by number, each in hexadecimal text. */
export type SavedMemory = Record<string, string>;

/** Memory that an instance resets, saves and loads. */
export interface HeldMemory extends BarMemory {
  clear(): void;
  save(): SavedMemory;
  /** Takes what `save` gave and `parseMemory` passed. */
  load(pages: ReadonlyMap<number, Uint8Array>): void;
}

/** The memory regions of BAR `bar` as the machine holds them. */
export class HostMemory implements HeldMemory {
  constructor(
    private readonly memory: NonNullable<DeviceHost['memory']>,
    private readonly bar: number,
    private readonly regions: readonly Region[],
  ) {}

  read(offset: number, length: number): Uint8Array {
    return this.memory.read(this.bar, offset, length);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.memory.write(this.bar, offset, bytes);
  }

  clear(): void {
    for (const { offset, size } of this.regions) {
      for (let done = 0; done < size; done += CHUNK)
        this.write(offset + done, new Uint8Array(Math.min(CHUNK, size - done)));
    }
  }

  save(): SavedMemory {
    const copy = new SparseMemory();
    for (const { offset, size } of this.regions) {
      for (let done = 0; done < size; done += PAGE) {
        const bytes = this.read(offset + done, Math.min(PAGE, size - done));
        if (bytes.some((byte) => byte !== 0)) copy.write(offset + done, bytes);
      }
    }
    return copy.save();
  }

  load(pages: ReadonlyMap<number, Uint8Array>): void {
    this.clear();
    const copy = new SparseMemory();
    copy.load(pages);
    for (const { offset, size } of this.regions) {
      for (const page of pages.keys()) {
        const from = Math.max(page * PAGE, offset);
        const to = Math.min((page + 1) * PAGE, offset + size);
        if (from < to) this.write(from, copy.read(from, to - from));
      }
    }
  }
}

/** Zeros until written. Accesses are checked by the caller. */
export class SparseMemory implements HeldMemory {
  private pages = new Map<number, Uint8Array>();

  read(offset: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    this.visit(offset, length, (page, at, from, bytes) => {
      const stored = this.pages.get(page);
      if (stored !== undefined) out.set(stored.subarray(at, at + bytes), from);
    });
    return out;
  }

  write(offset: number, data: Uint8Array): void {
    this.visit(offset, data.length, (page, at, from, bytes) => {
      const stored = this.pages.get(page) ?? new Uint8Array(PAGE);
      this.pages.set(page, stored);
      stored.set(data.subarray(from, from + bytes), at);
    });
  }

  clear(): void {
    this.pages.clear();
  }

  /** Only pages that are not all zeros, in ascending order: the same contents give the same save. */
  save(): SavedMemory {
    const used = [...this.pages].filter(([, bytes]) => bytes.some((byte) => byte !== 0));
    used.sort(([a], [b]) => a - b);
    return Object.fromEntries(used.map(([page, bytes]) => [String(page), toHex(bytes)]));
  }

  load(pages: ReadonlyMap<number, Uint8Array>): void {
    this.pages = new Map([...pages].map(([page, bytes]) => [page, bytes.slice()]));
  }

  /** Cuts [offset, offset + length) at page borders: page number, offset in it, offset in the access, bytes. */
  private visit(
    offset: number,
    length: number,
    piece: (page: number, at: number, from: number, bytes: number) => void,
  ): void {
    for (let from = 0; from < length; ) {
      const at = (offset + from) % PAGE;
      const bytes = Math.min(PAGE - at, length - from);
      piece((offset + from - at) / PAGE, at, from, bytes);
      from += bytes;
    }
  }
}

/** Reads what `SparseMemory.save` gave, for a BAR of `size` bytes. */
export function parseMemory(field: string, saved: unknown, size: number): ReadonlyMap<number, Uint8Array> {
  if (typeof saved !== 'object' || saved === null) throw invalid(field, saved, 'pages by number');
  const pages = Object.entries(saved).map(([key, text]: [string, unknown]): [number, Uint8Array] => {
    const page = inRange(`${field} page`, Number(key), 0, Math.ceil(size / PAGE) - 1);
    if (typeof text !== 'string' || !/^[0-9a-f]*$/.test(text) || text.length !== 2 * PAGE)
      throw invalid(`${field}[${key}]`, text, `${PAGE} bytes in hexadecimal`);
    return [page, fromHex(text)];
  });
  return new Map(pages);
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length / 2 }, (_, index) =>
    Number.parseInt(text.slice(2 * index, 2 * index + 2), 16),
  );
}
