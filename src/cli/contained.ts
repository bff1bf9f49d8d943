/** Runs the code of a device's module in the thread of the command: what it prints and how it ends are contained. */
import { Console } from 'node:console';
import { EXIT_DATA, remark } from './output.js';

/** Exit code of Node for a module whose `await` at the top never ends. */
const UNSETTLED = 13;

/**
 * Does `body`, in which `what` is loaded and called. Its `console` goes to stderr, so that it does not stand before what
 * the command prints. When the process ends meanwhile, one line says so and the exit code is 1.
 */
export async function contained<T>(what: string, body: () => Promise<T>): Promise<T> {
  const before = globalThis.console;
  globalThis.console = new Console(process.stderr, process.stderr);
  const onExit = (code: number): void => {
    const isWaiting = code === UNSETTLED || process.exitCode === UNSETTLED;
    remark(
      `${what}: ${isWaiting ? 'its top-level await never ends' : 'ended the process while it was loaded'}`,
    );
    process.exitCode = EXIT_DATA;
    if (isWaiting) process.exit(EXIT_DATA); // else Node adds a warning that names this program
  };
  process.on('exit', onExit);
  try {
    return await body();
  } finally {
    process.off('exit', onExit);
    globalThis.console = before;
  }
}
