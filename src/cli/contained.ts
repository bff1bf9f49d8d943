/** Runs the code of a device's module in the thread of the command: what it prints and how it ends are contained. */
import { Console } from 'node:console';
import { EXIT_DATA, remark } from './output.js';

/** What is wrong with a module that leaves nothing to be done before it is loaded. */
export const ENDLESS_AWAIT = 'its top-level await never ends';

/**
 * Does `body`, in which `what` is loaded and called. Its `console` goes to stderr, so that it does not stand before what
 * the command prints. When the process ends meanwhile, one line says so and the exit code is 1.
 */
export async function contained<T>(what: string, body: () => Promise<T>): Promise<T> {
  const before = globalThis.console;
  globalThis.console = new Console(process.stderr, process.stderr);
  const end = (problem: string): void => {
    leave();
    remark(`${what}: ${problem}`);
    process.exit(EXIT_DATA);
  };
  const onIdle = (): void => end(ENDLESS_AWAIT);
  const onExit = (): void => end('ended the process while it was loaded');
  const leave = (): void => {
    process.off('beforeExit', onIdle);
    process.off('exit', onExit);
    globalThis.console = before;
  };
  process.on('beforeExit', onIdle);
  process.on('exit', onExit);
  try {
    return await body();
  } finally {
    leave();
  }
}
