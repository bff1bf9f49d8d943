/** Hierarchies of functions for tests, and ports that reach them as bridges route. */
import type { ConfigModel } from '../../src/pci/config-model.js';
import type { ConfigPort } from '../../src/pci/probe.js';

/** The number of a function in a hierarchy. */
export function bdf(bus: number, device: number, fn = 0): number {
  return (bus << 8) | (device << 3) | fn;
}

/** One device of a bus: its functions by number, and the bus behind it where function 0 is a bridge. */
export interface Slot {
  readonly functions: readonly (ConfigModel | undefined)[];
  readonly behind?: Bus;
}

/** A device of one function. */
export const one = (model: ConfigModel): Slot => ({ functions: [model] });

/** Devices by number. */
export type Bus = Readonly<Record<number, Slot>>;

/** Reaches the functions of a hierarchy as bridges route: by their secondary and subordinate bus numbers. */
export function portOf(root: Bus, rootNumber = 0): ConfigPort {
  const find = (at: Bus, number: number, target: number): ConfigModel | undefined => {
    if (target >> 8 === number) return at[(target >> 3) & 31]?.functions[target & 7];
    for (const { functions, behind } of Object.values(at)) {
      const [bridge] = functions;
      if (behind === undefined || bridge === undefined) continue;
      const secondary = bridge.read(0x19, 1);
      if (target >> 8 >= secondary && target >> 8 <= bridge.read(0x1a, 1) && secondary > number)
        return find(behind, secondary, target);
    }
    return undefined;
  };
  return {
    read: (target, offset, width) =>
      find(root, rootNumber, target)?.read(offset, width) ?? 2 ** (8 * width) - 1,
    write: (target, offset, value, width) => {
      find(root, rootNumber, target)?.write(offset, value, width);
    },
  };
}
