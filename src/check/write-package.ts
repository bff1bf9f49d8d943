/** Writes the files of a new package: all of them or none, and never over a file that is there. */
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { ZtlpError } from '../base/errors.js';

/**
 * Writes `files` (text by name) into `directory`, which is made when it is not there; returns their paths. Throws ZtlpError
 * `invalid-value` when one of them exists, and `io` when writing fails; nothing was written then.
 */
export function writePackage(directory: string, files: ReadonlyMap<string, string>): string[] {
  const paths = [...files.keys()].map((name) => join(directory, name));
  const found = statSync(directory, { throwIfNoEntry: false });
  if (found !== undefined && !found.isDirectory()) throw exists(directory, 'is a file');
  const taken = paths.find((path) => existsSync(path));
  if (taken !== undefined) throw exists(taken, 'exists already');
  try {
    if (found === undefined) writeDirectory(directory, files);
    else writeInto(directory, files);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ZtlpError('io', `${directory}: cannot be written: ${reason}`, {
      field: 'dir',
      value: directory,
      cause: error,
    });
  }
  return paths;
}

function exists(path: string, what: string): ZtlpError {
  return new ZtlpError('invalid-value', `${path}: ${what}, nothing was written`, {
    field: 'dir',
    value: path,
    allowed: 'a directory that has no such file, with --dir',
  });
}

/** Made under another name first, so that it is there with everything in it. */
function writeDirectory(directory: string, files: ReadonlyMap<string, string>): void {
  const target = resolve(directory);
  mkdirSync(dirname(target), { recursive: true });
  const made = `${target}.${process.pid}.tmp`;
  mkdirSync(made);
  try {
    for (const [name, text] of files) writeFileSync(join(made, name), text, { flag: 'wx' });
    renameSync(made, target);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    throw error;
  }
}

function writeInto(directory: string, files: ReadonlyMap<string, string>): void {
  const written: string[] = [];
  try {
    for (const [name, text] of files) {
      const path = join(directory, name);
      writeFileSync(path, text, { flag: 'wx' });
      written.push(path);
    }
  } catch (error) {
    for (const path of written) rmSync(path, { force: true });
    throw error;
  }
}
