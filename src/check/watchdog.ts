/** Runs the kit in a worker thread under a watchdog: a model that does not return is named, and ended. */
import { Worker } from 'node:worker_threads';
import { type ErrorCode, ZtlpError } from '../base/errors.js';
import { CHECK_TITLES } from './check-device.js';
import { where } from './text.js';
import type { CheckReport, CheckResult } from './types.js';

/** What the worker is given. */
export interface WorkerInput {
  /** File or package of the device. */
  readonly device: string;
  readonly seed: number;
  /** Random accesses in each part of each check; undefined: the default. */
  readonly accesses: number | undefined;
  /** Where the worker notes what it is doing: see `Note`. */
  readonly note: SharedArrayBuffer;
}

/** What the worker sends. */
export type WorkerMessage =
  | { readonly kind: 'loaded'; readonly name: string; readonly accesses: number }
  | { readonly kind: 'check'; readonly result: CheckResult }
  | { readonly kind: 'report'; readonly report: CheckReport }
  | { readonly kind: 'error'; readonly code: ErrorCode; readonly message: string };

export interface WatchedInput {
  readonly device: string;
  readonly seed: number;
  readonly accesses?: number;
  /** Seconds until the worker is ended. */
  readonly timeoutSeconds: number;
}

const TEXT_AT = 24;
const TEXT_BYTES = 232;

/**
 * What the worker is doing, in memory that both threads see: a worker that hangs can send no message. Offset as a double
 * at 0, BAR and length of the text as words at 8 and 12, from 24 on `check callback` as UTF-8.
 */
export class Note {
  private readonly offset: Float64Array;
  private readonly words: Int32Array;
  private readonly text: Uint8Array;
  private readonly encoder = new TextEncoder();
  private readonly known = new Map<string, Uint8Array>();

  constructor(readonly memory = new SharedArrayBuffer(TEXT_AT + TEXT_BYTES)) {
    this.offset = new Float64Array(memory, 0, 1);
    this.words = new Int32Array(memory, 8, 2);
    this.text = new Uint8Array(memory, TEXT_AT);
  }

  write(check: string, callback: string, bar: number, offset: number): void {
    const key = `${check} ${callback}`;
    const bytes = this.known.get(key) ?? this.encoder.encode(key).slice(0, TEXT_BYTES);
    this.known.set(key, bytes);
    this.offset[0] = offset;
    this.words[0] = bar;
    this.text.set(bytes);
    Atomics.store(this.words, 1, bytes.length);
  }

  read(): { readonly check: string; readonly what: string } {
    const length = Atomics.load(this.words, 1);
    const [check = '', callback = ''] = splitAtSpace(new TextDecoder().decode(this.text.slice(0, length)));
    const bar = this.words[0] as number;
    const place = bar < 0 ? '' : ` at ${where(bar, this.offset[0] as number)}`;
    return { check, what: callback === '' ? '' : `${callback}${place}` };
  }
}

function splitAtSpace(text: string): string[] {
  const at = text.indexOf(' ');
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/**
 * Checks the device that `worker` loads. A callback that does not return within the time is a check that failed; what was
 * not run is not applicable. Throws what the worker could not do, such as loading the device.
 */
export function checkWatched(worker: URL, input: WatchedInput): Promise<CheckReport> {
  const { device, seed, accesses, timeoutSeconds } = input;
  const note = new Note();
  const workerData: WorkerInput = { device, seed, accesses, note: note.memory };
  return new Promise((resolve, reject) => {
    const thread = new Worker(worker, { workerData, stdout: true });
    // What a model prints does not stand among what a program reads.
    thread.stdout.pipe(process.stderr, { end: false });
    const done: CheckResult[] = [];
    let loaded: { readonly name: string; readonly accesses: number } | undefined;
    let ended = false;
    const end = (finish: () => void): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      thread.stdout.unpipe(process.stderr);
      void thread.terminate().then(finish, reject);
    };
    const broken = (problem: string): void => {
      const { check, what } = note.read();
      if (loaded === undefined) {
        const message = `${device}: ${problem} while it was loaded`;
        end(() => reject(new ZtlpError('malformed', message, { field: 'device', value: device })));
        return;
      }
      const line = what === '' ? problem : `${what} ${problem}`;
      const report = partial({ device: loaded.name, seed, accesses: loaded.accesses }, done, check, line);
      end(() => resolve(report));
    };
    const timer = setTimeout(
      () => broken(`did not return within ${timeoutSeconds} s`),
      1000 * timeoutSeconds,
    );
    thread.on('message', (message: WorkerMessage) => {
      if (message.kind === 'loaded') loaded = message;
      else if (message.kind === 'check') done.push(message.result);
      else if (message.kind === 'report') end(() => resolve(message.report));
      else end(() => reject(new ZtlpError(message.code, message.message)));
    });
    thread.on('error', (error) => broken(`failed outside of its callbacks: ${textOf(error)}`));
    thread.on('exit', () => broken('ended the process'));
  });
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The report of a run that broke off in `check`. */
function partial(
  head: Pick<CheckReport, 'device' | 'seed' | 'accesses'>,
  done: readonly CheckResult[],
  check: string,
  line: string,
): CheckReport {
  const rest = CHECK_TITLES.slice(done.length).map(([id, title]): CheckResult => {
    if (id === check) return { id, title, outcome: 'fail', line };
    return { id, title, outcome: 'not-applicable', line: `not run: ${check} did not end` };
  });
  return { ...head, checks: [...done, ...rest], passed: false };
}
