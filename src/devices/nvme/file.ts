/** A file as the backing of a namespace. */
import { inRange, invalid, ZtlpError } from '../../base/errors.js';
import type { NvmeBacking } from './store.js';

export interface FileBackingOptions {
  /** Opens the file for reading only: the namespace is write protected. Default: as the file's permissions say. */
  readonly readOnly?: boolean;
}

/** A file that is open. */
export interface FileBacking extends NvmeBacking {
  readonly bytes: number;
  readonly readOnly: boolean;
  /** Closes the file. Reads and writes fail afterwards. */
  close(): void;
}

const DENIED: readonly unknown[] = ['EACCES', 'EPERM', 'EROFS'];

/**
 * Opens `path`, a file that exists and keeps its size: the namespace's default size is that of the file. Synchronous, with
 * `node:fs`; throws ZtlpError `unsupported` where there is none, `not-found` and `io` for what the system refuses.
 */
export function fileBacking(path: string, options: FileBackingOptions = {}): FileBacking {
  if (typeof path !== 'string' || path === '') throw invalid('path', path, 'the path of a file');
  const fs = globalThis.process?.getBuiltinModule?.('node:fs');
  if (fs === undefined)
    throw new ZtlpError('unsupported', 'fileBacking: there are no files here', {
      field: 'path',
      value: path,
    });
  const attempt = <T>(what: () => T): T => {
    try {
      return what();
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'not-found' : 'io';
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ZtlpError(code, `${path}: ${reason}`, { field: 'path', value: path, cause });
    }
  };
  let readOnly = options.readOnly === true;
  const open = (): number => {
    if (readOnly) return fs.openSync(path, 'r');
    try {
      return fs.openSync(path, 'r+');
    } catch (error) {
      if (!DENIED.includes((error as NodeJS.ErrnoException).code)) throw error;
      readOnly = true;
      return fs.openSync(path, 'r');
    }
  };
  const file = attempt(open);
  const bytes = inRange('size', attempt(() => fs.fstatSync(file)).size, 0, Number.MAX_SAFE_INTEGER);
  return {
    bytes,
    readOnly,
    read(offset, length) {
      const out = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const count = fs.readSync(file, out, done, length - done, offset + done);
        if (count === 0) throw new ZtlpError('io', `${path}: ends at ${offset + done}`, { field: 'path' });
        done += count;
      }
      return out;
    },
    write(offset, data) {
      for (let done = 0; done < data.length; )
        done += fs.writeSync(file, data, done, data.length - done, offset + done);
    },
    flush: () => {
      if (!readOnly) fs.fsyncSync(file);
    },
    close: () => fs.closeSync(file),
  };
}
