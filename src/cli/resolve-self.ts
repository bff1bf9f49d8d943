/** Lets a device file outside of any package import `ztlp`: what its own folders do not have is the `ztlp` that runs. */
import { register } from 'node:module';

/** What a device may import, and where this package has it. */
const OWN: Readonly<Record<string, string>> = {
  ztlp: new URL('../index.js', import.meta.url).href,
  'ztlp/device': new URL('../device/index.js', import.meta.url).href,
  'ztlp/devices': new URL('../devices/index.js', import.meta.url).href,
};

/** The hook runs in a thread of its own, so it is text. An installed `ztlp` comes first. */
const HOOK = `
const own = ${JSON.stringify(OWN)};
export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error?.code !== 'ERR_MODULE_NOT_FOUND' || !Object.hasOwn(own, specifier)) throw error;
    return { url: own[specifier], format: 'module', shortCircuit: true };
  }
}`;

let isRegistered = false;

/** From now on imports of this thread find `ztlp`. */
export function resolveSelf(): void {
  if (isRegistered) return;
  isRegistered = true;
  register(`data:text/javascript,${encodeURIComponent(HOOK)}`);
}
