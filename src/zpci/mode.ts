/** What follows from how a zPCI function is executed (`zpciMode`): dword rule, interception, handle marker, delivery. */
import * as L from '../../assembly/layout.js';
import { type OptionInput, type Options, resolveOptions } from '../base/options.js';

export type ZpciMode = Options['zpciMode'];

interface ModeFacts {
  /** A VMM executes the instruction; strict rules hold also for a relaxed group unless `interceptStrict` is off. */
  readonly intercepted: boolean;
  /** The VMM's own device model serves it: device calls, no TLP. */
  readonly emulated: boolean;
  /** Software-handled marker of the function handle (zpci.md 1.1). */
  readonly marker: number;
  /** Default of `dwordRule` (zpci.md 0.1, X1). */
  readonly dwordRule: Options['dwordRule'];
}

const MODES: Readonly<Record<ZpciMode, ModeFacts>> = {
  emulated: { intercepted: true, emulated: true, marker: L.HANDLE_MARK_EMULATED, dwordRule: 'qemu' },
  vfio: { intercepted: true, emulated: false, marker: L.HANDLE_MARK_VFIO, dwordRule: 'qemu' },
  native: { intercepted: false, emulated: false, marker: 0, dwordRule: 'page' },
  interpreted: { intercepted: false, emulated: false, marker: 0, dwordRule: 'page' },
};

/** What a function group decides: functions for which it is the same are of one group. */
export function groupKey({ relaxed, maxstbl, dtsm, rtr }: Options): string {
  return [relaxed, maxstbl, dtsm, rtr].join();
}

/** What mode `mode` decides. */
export function modeFacts(mode: ZpciMode): ModeFacts {
  return MODES[mode];
}

/** `input` over `base`, where `dwordRule` follows the mode unless the user gives it. */
export function resolveZpciOptions(input: OptionInput, base: Options): Options {
  const mode = resolveOptions({ zpciMode: input.zpciMode }, base).zpciMode;
  return resolveOptions(input, resolveOptions({ dwordRule: MODES[mode].dwordRule }, base));
}

/** ZPCI_* flags of the core for a function or a path with these options. */
export function zpciFlags(options: Options): number {
  const { intercepted, emulated } = MODES[options.zpciMode];
  const relaxed = options.relaxed && !(intercepted && options.interceptStrict);
  return (
    (relaxed ? L.ZPCI_RELAXED : 0) |
    (options.dwordRule === 'page' ? L.ZPCI_DWORD_PAGE : 0) |
    (options.relaxedMaximum === 'page' ? L.ZPCI_RELAXED_MAXIMUM_PAGE : 0) |
    (options.relaxedZeroLength === 'specificationPe' ? L.ZPCI_ZERO_LENGTH_PE : 0) |
    (options.qemuQuirks ? L.ZPCI_QUIRKS : 0) |
    (options.mio ? L.ZPCI_HOST_MIO : 0) |
    (emulated ? L.ZPCI_EMULATED : 0) |
    (intercepted ? L.ZPCI_INTERCEPTED : 0)
  );
}
