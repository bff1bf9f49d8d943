/** The core behind the plain functions (`encodeTlp`, `splitAccess`, ...): one instance without a machine. */
import { ZtlpError } from '../base/errors.js';
import { Core, type CoreSource } from './core.js';

let shared: Core | undefined;

/**
 * Loads the core for the plain functions; await it once before the first of them. With `source` (bytes, a compiled
 * module or a response) that build is taken, also in place of an earlier one.
 */
export async function ready(source?: CoreSource | Promise<CoreSource>): Promise<void> {
  if (shared === undefined || source !== undefined) shared = await Core.load(source, 0, 0);
}

/** The shared core. Throws when `ready` was not awaited. */
export function sharedCore(): Core {
  if (shared === undefined) {
    throw new ZtlpError('resource', 'the core is not loaded yet: await ready() first');
  }
  return shared;
}
