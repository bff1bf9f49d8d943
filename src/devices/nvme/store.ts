/** The namespace's data: pages of memory, or what the user gave; and what a controller remembers beyond resets. */
import { parseMemory, SparseMemory } from '../../device/memory.js';
import type { Setup } from './setup.js';

/**
 * Where the data of a namespace is. Offsets and lengths are in bytes, whole blocks, inside the namespace. Calls are
 * synchronous. What throws, and a read that gives another number of bytes, is a media error of the command.
 */
export interface NvmeBacking {
  /** Bytes that there are. Default size of the namespace. */
  readonly bytes?: number;
  /** Writes are answered with Namespace is Write Protected. Default false. */
  readonly readOnly?: boolean;
  read(offset: number, length: number): Uint8Array;
  /** `bytes` may be kept. */
  write(offset: number, bytes: Uint8Array): void;
  /** Makes everything that was written last. */
  flush(): void;
}

/** Counters of the SMART log (section 5.14.1.2) that only grow. */
export interface Health {
  blocksRead: number;
  blocksWritten: number;
  reads: number;
  writes: number;
  powerCycles: number;
  unsafeShutdowns: number;
  mediaErrors: number;
  errors: number;
}

/** An entry of the Error Information log (section 5.14.1.1). */
export interface LoggedError {
  readonly count: number;
  /** 0xffff: of no command. */
  readonly sqid: number;
  readonly cid: number;
  readonly status: number;
  /** Lower and upper half. */
  readonly lba: readonly [low: number, high: number];
  readonly nsid: number;
}

/** What a reset of the function does not clear. A device's state is new after each reset, so this stands beside it. */
export interface Lasting {
  /** Of a namespace in memory: by number; what is missing is all zeros. */
  readonly pages: Map<number, Uint8Array>;
  readonly health: Health;
  /** The newest first, at most `ERROR_ENTRIES`. */
  readonly errors: LoggedError[];
  /** Enabled since the last shutdown: to lose power now is unsafe. */
  inUse: boolean;
}

export const ERROR_ENTRIES = 64;
const PAGE = 4096;
/** Zeros are written to a user's backing in pieces of this many bytes. */
const ZEROS = 1 << 20;

export function freshLasting(setup: Setup): Lasting {
  const pages = new Map<number, Uint8Array>();
  if (setup.image !== undefined) memoryBacking(pages).write(0, setup.image);
  return {
    pages,
    health: {
      blocksRead: 0,
      blocksWritten: 0,
      reads: 0,
      writes: 0,
      powerCycles: 1,
      unsafeShutdowns: 0,
      mediaErrors: 0,
      errors: 0,
    },
    errors: [],
    inUse: false,
  };
}

/** The namespace's data as one interface, whoever holds it. */
export function backingOf(setup: Setup, { pages }: Lasting): NvmeBacking {
  return setup.backing ?? memoryBacking(pages);
}

/** Fills [offset, offset + length) with zeros. Pages of memory that are zeros cost nothing. */
export function writeZeros(setup: Setup, lasting: Lasting, offset: number, length: number): void {
  const backing = backingOf(setup, lasting);
  const end = offset + length;
  if (setup.backing !== undefined) {
    for (let at = offset; at < end; at += ZEROS) backing.write(at, new Uint8Array(Math.min(ZEROS, end - at)));
    return;
  }
  const first = Math.ceil(offset / PAGE) * PAGE;
  const last = Math.floor(end / PAGE) * PAGE;
  if (first >= last) {
    backing.write(offset, new Uint8Array(length));
    return;
  }
  backing.write(offset, new Uint8Array(first - offset));
  for (let at = first; at < last; at += PAGE) lasting.pages.delete(at / PAGE);
  backing.write(last, new Uint8Array(end - last));
}

function memoryBacking(pages: Map<number, Uint8Array>): NvmeBacking {
  /** Cuts [offset, offset + length) at page borders. */
  const visit = (
    offset: number,
    length: number,
    piece: (page: number, at: number, from: number, bytes: number) => void,
  ): void => {
    for (let from = 0; from < length; ) {
      const at = (offset + from) % PAGE;
      const bytes = Math.min(PAGE - at, length - from);
      piece((offset + from - at) / PAGE, at, from, bytes);
      from += bytes;
    }
  };
  return {
    read(offset, length) {
      const out = new Uint8Array(length);
      visit(offset, length, (page, at, from, bytes) => {
        const stored = pages.get(page);
        if (stored !== undefined) out.set(stored.subarray(at, at + bytes), from);
      });
      return out;
    },
    write(offset, data) {
      visit(offset, data.length, (page, at, from, bytes) => {
        const stored = pages.get(page) ?? new Uint8Array(PAGE);
        pages.set(page, stored);
        stored.set(data.subarray(from, from + bytes), at);
      });
    },
    flush: () => undefined,
  };
}

/** Pages, counters and errors as plain data. With a user's backing the data is the user's to save. */
export function saveLasting({ pages, health, errors, inUse }: Lasting): unknown {
  const copy = new SparseMemory();
  for (const [page, bytes] of pages) copy.write(page * PAGE, bytes);
  return { pages: copy.save(), health: { ...health }, errors: errors.map((error) => ({ ...error })), inUse };
}

/** Takes what `saveLasting` gave. Throws ZtlpError for pages that the namespace does not have. */
export function loadLasting(setup: Setup, saved: unknown): Lasting {
  const { pages, health, errors, inUse } = saved as Omit<Lasting, 'pages'> & { readonly pages: unknown };
  return {
    pages: new Map(parseMemory('save.state.lasting.pages', pages, setup.blocks * setup.lbaBytes)),
    health: { ...health },
    errors: [...errors],
    inUse,
  };
}
