/** Who is told when a field of configuration space changes, and which bits belong to which field. */
import type { BarLayout } from './bars.js';
import {
  type BarState,
  type CommandState,
  type DeviceControlState,
  type MsiState,
  type MsixState,
  type PowerState,
  readBar,
  readCommand,
  readDeviceControl,
  readMsi,
  readMsix,
} from './config-fields.js';
import { CAP, REG } from './registers.js';

/**
 * Told after a write or a reset, once per field group that changed, with the new state of the whole group. A callback
 * may read and write the model.
 */
export interface ConfigObserver {
  command?(state: CommandState): void;
  bar?(state: BarState): void;
  msix?(state: MsixState): void;
  msi?(state: MsiState): void;
  deviceControl?(state: DeviceControlState): void;
  /** @param wasReset the way from D3hot to D0 reset the registers (No_Soft_Reset is 0): the device resets too */
  powerState?(state: PowerState, wasReset: boolean): void;
  /** Function level reset: the registers are reset already and the other callbacks were made. */
  flr?(): void;
  /** Any dword that changed, after the callbacks above; for fields that have none. */
  register?(offset: number, value: number, before: number): void;
}

/** A group of fields: the bits that belong to it, by register, and how to tell about it. */
export interface Watch {
  readonly bits: readonly (readonly [register: number, mask: number])[];
  report(observer: ConfigObserver): void;
}

const ALL = 0xffff_ffff;

/** The groups that this function has, reading from `bytes` as they stand then. */
export function watchesOf(
  bytes: Uint8Array,
  { bars, at }: { readonly bars: readonly BarLayout[]; readonly at: ReadonlyMap<number, number> },
): Watch[] {
  const watches: Watch[] = [
    { bits: [[REG.COMMAND, 0xffff]], report: (observer) => observer.command?.(readCommand(bytes)) },
  ];
  for (const bar of bars) {
    const { kind, register } = bar;
    const registers = kind === 'memory64' ? [register, register + 4] : [register];
    watches.push({
      bits: registers.map((offset) => [offset, ALL]),
      report: (observer) => observer.bar?.(readBar(bytes, bar)),
    });
  }
  const msix = at.get(CAP.MSIX);
  if (msix !== undefined)
    watches.push({
      bits: [[msix, 0xffff_0000]],
      report: (observer) => observer.msix?.(readMsix(bytes, msix)),
    });
  const msi = at.get(CAP.MSI);
  if (msi !== undefined)
    watches.push({
      // Message Control to the mask bits of the longest form: pending bits belong to the device.
      bits: [0, 4, 8, 12, 16].slice(0, msiDwords(bytes, msi)).map((n) => [msi + n, ALL]),
      report: (observer) => observer.msi?.(readMsi(bytes, msi)),
    });
  const pcie = at.get(CAP.PCIE);
  if (pcie !== undefined)
    watches.push({
      // Max_Payload_Size, Max_Read_Request_Size, and the three enables.
      bits: [[pcie + 8, 0x79f0]],
      report: (observer) => observer.deviceControl?.(readDeviceControl(bytes, pcie)),
    });
  return watches;
}

/** Dwords of an MSI capability without the pending bits (PCI local bus specification 3.0 figure 6-9). */
function msiDwords(bytes: Uint8Array, at: number): number {
  const control = bytes[at + 2] as number;
  const masking = (bytes[at + 3] as number) & 1;
  return ((control & 0x80) === 0 ? 3 : 4) + masking;
}
