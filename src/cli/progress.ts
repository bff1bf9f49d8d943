/** A progress bar on stderr while a large file is read: only on a terminal, never in a pipe. */
import { Presets, SingleBar } from 'cli-progress';

export interface Progress {
  update(bytes: number, total: number | undefined): void;
  stop(): void;
}

const NONE: Progress = { update: () => undefined, stop: () => undefined };
const MIB = 2 ** 20;

/** A bar labelled `label`, or nothing at all when stderr is no terminal or `quiet` is set. */
export function progress(label: string, quiet = false): Progress {
  if (quiet || process.stderr.isTTY !== true) return NONE;
  let bar: SingleBar | undefined;
  return {
    update: (bytes, total) => {
      if (bar === undefined) {
        const format =
          total === undefined ? `${label} {value} MiB` : `${label} {bar} {value}/{total} MiB  {eta} s left`;
        bar = new SingleBar(
          {
            format,
            stream: process.stderr,
            clearOnComplete: true,
            // Nothing to put back when Ctrl-C ends the program: no hidden cursor, no changed wrapping.
            linewrap: true,
            hideCursor: false,
          },
          Presets.shades_classic,
        );
        bar.start(total === undefined ? 1 : Math.ceil(total / MIB), 0);
      }
      bar.update(Math.floor(bytes / MIB));
    },
    stop: () => bar?.stop(),
  };
}
