/** Loads a device model: one that comes with ztlp, a file, or an installed package. */
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, isAbsolute, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type ErrorCode, show, ZtlpError } from '../base/errors.js';
import { didYouMean } from '../base/names.js';
import { type Device, defineDevice } from '../device/define.js';
import type { DeviceDefinition } from '../device/types.js';
import { BUILTIN_DEVICES } from '../devices/builtin.js';
import { resolveSelf } from './resolve-self.js';
import { syntaxPlace } from './syntax-place.js';

const TYPESCRIPT: ReadonlySet<string> = new Set(['.ts', '.mts', '.cts']);
const CONDITIONS: ReadonlySet<string> = new Set(['.', 'node', 'import', 'default']);
/** `./x`, `../x`, `C:\x`, `x/y.js`, `x.js`: a file. Everything else may be a package. */
const FILE_LIKE = /^\.{1,2}(?:[\\/]|$)|^[A-Za-z]:[\\/]|\\|\.[cm]?[jt]s$/;

/**
 * The device that `name` means: a model of ztlp, a file (relative to `cwd`) or a package that is installed there. Its
 * default export is a device, a definition, or a function that gives one. Throws ZtlpError: `not-found` for what is not
 * there, `unsupported` for TypeScript on a Node without it, `malformed` for everything that is wrong inside.
 */
export async function loadDevice(name: string, cwd = process.cwd()): Promise<Device> {
  const builtin = Object.hasOwn(BUILTIN_DEVICES, name) ? BUILTIN_DEVICES[name] : undefined;
  if (builtin !== undefined) return builtin();
  const file = fileOf(name, cwd);
  if (TYPESCRIPT.has(extname(file)) && !stripsTypes())
    throw failure(
      'unsupported',
      name,
      `this Node (${process.version}) does not run TypeScript: compile it, or take Node 22.18 or newer`,
    );
  if (extname(file) === '.json')
    throw failure('malformed', name, 'is JSON: a device is a module with a default export');
  let module: Readonly<Record<string, unknown>>;
  resolveSelf();
  try {
    module = await import(pathToFileURL(file).href);
  } catch (error) {
    throw failure('malformed', name, loadProblem(error, file, cwd), error);
  }
  return deviceOf(name, module);
}

/** Path of the file that `name` means. */
function fileOf(name: string, cwd: string): string {
  if (name === '') throw failure('not-found', name, 'is no name');
  const path = resolve(cwd, name);
  const found = kindOf(path);
  if (found === 'file') return path;
  const isFile = isAbsolute(name) || FILE_LIKE.test(name);
  if (found === 'directory' && (isFile || /[\\/]$/.test(name)))
    throw failure('not-found', name, 'is a directory, not a module: name the file in it');
  if (isFile) throw failure('not-found', name, 'there is no such file');
  try {
    const path = createRequire(join(cwd, 'device.js')).resolve(name);
    if (isAbsolute(path)) return path;
    throw new Error(`${name} is a module of Node`);
  } catch (error) {
    const target = importOf(name, cwd);
    if (target !== undefined) return target;
    if (found === 'directory')
      throw failure('not-found', name, 'is a directory, not a module: name the file in it');
    const names = Object.keys(BUILTIN_DEVICES);
    const what = `is no file, no installed package and none of ${names.join(', ')}`;
    throw failure('not-found', name, `${what}${didYouMean(name, names)}`, error);
  }
}

/** The module of an installed package that exports nothing to `require`, which is all that Node 20 resolves. */
function importOf(name: string, cwd: string): string | undefined {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const root = join(folder, 'node_modules', name);
    const manifest = join(root, 'package.json');
    if (kindOf(manifest) === 'file') {
      const { exports } = JSON.parse(readFileSync(manifest, 'utf8')) as { readonly exports?: unknown };
      const target = targetOf(exports);
      return target === undefined ? undefined : join(root, target);
    }
    if (dirname(folder) === folder) return undefined;
  }
}

/** What `import` of the package itself gets of an `exports` field (Node: conditional exports). */
function targetOf(exports: unknown): string | undefined {
  if (typeof exports === 'string') return exports;
  if (typeof exports !== 'object' || exports === null) return undefined;
  for (const [key, value] of Object.entries(exports)) {
    const target = CONDITIONS.has(key) ? targetOf(value) : undefined;
    if (target !== undefined) return target;
  }
  return undefined;
}

function kindOf(path: string): 'file' | 'directory' | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? undefined : found.isDirectory() ? 'directory' : 'file';
}

function stripsTypes(): boolean {
  const { typescript } = process.features as { readonly typescript?: unknown };
  return typescript !== undefined && typescript !== false;
}

function deviceOf(name: string, module: Readonly<Record<string, unknown>>): Device {
  let given = module.default;
  if (given === undefined || isEmpty(given))
    throw failure('malformed', name, 'has no default export: export default defineDevice({ ... })');
  if (typeof given === 'function') {
    try {
      given = (given as () => unknown)();
    } catch (error) {
      throw failure(
        'malformed',
        name,
        `its default export, called without arguments: ${messageOf(error)}`,
        error,
      );
    }
  }
  if (typeof given !== 'object' || given === null)
    throw failure('malformed', name, `its default export gives ${show(given)}, not a device`);
  // A device of another copy of ztlp is made anew, so that this one's rules hold.
  const definition = 'definition' in given ? given.definition : given;
  try {
    return defineDevice(definition as DeviceDefinition<unknown>);
  } catch (error) {
    if (error instanceof ZtlpError) throw failure('malformed', name, error.message, error);
    throw error;
  }
}

/** What an empty CommonJS file exports. */
function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function loadProblem(error: unknown, file: string, cwd: string): string {
  if (error instanceof SyntaxError) return syntaxProblem(error, file, cwd);
  if (error instanceof ZtlpError) return error.message;
  return `fails when it is loaded: ${messageOf(error)}`;
}

/** With the file that has the error, which may be one that the device imports, and the line. */
function syntaxProblem(error: SyntaxError, file: string, cwd: string): string {
  const [, url, line] = /^(file:.*?):(\d+)$/m.exec(error.stack ?? '') ?? [];
  const place =
    url === undefined || line === undefined ? syntaxPlace(file) : ([fileURLToPath(url), line] as const);
  const text = place === undefined ? '' : ` in ${shortPath(place[0], cwd)}:${place[1]}`;
  return `has a syntax error${text}: ${error.message}`;
}

/** As seen from `cwd` when it lies there. */
function shortPath(file: string, cwd: string): string {
  const path = relative(cwd, file);
  return path.startsWith('..') || isAbsolute(path) ? file : path;
}

function messageOf(error: unknown): string {
  try {
    if (error instanceof ZtlpError) return error.message;
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  } catch {
    return 'what it throws has no text';
  }
}

function failure(code: ErrorCode, name: string, what: string, cause?: unknown): ZtlpError {
  return new ZtlpError(code, `${name === '' ? '""' : name}: ${what}`, {
    field: 'device',
    value: name,
    cause,
  });
}
