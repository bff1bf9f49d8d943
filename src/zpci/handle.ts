/** zPCI function handles: their parts, and how an instruction finds the function that a handle names. */
import * as L from '../../assembly/layout.js';

//  31        24 23        16 15                       0
// +-+----------+------------+--------------------------+
// |E| instance |   marker   | index in function table  |
// +-+----------+------------+--------------------------+
//  E: enable bit. Marker: who executes the instructions (zpci.md 1.1).

const ENABLE_BIT = 2 ** L.HANDLE_ENABLE_LG2;

/** What a handle is looked up in. */
interface HasHandle {
  /** Index in the function table, 0 to 0xffff. */
  readonly index: number;
  /** Function handle as it is now, 32 bits. */
  readonly handle: number;
}

/** Whether handle `fh` carries the enable bit. */
export function isEnabledHandle(fh: number): boolean {
  return fh >>> L.HANDLE_ENABLE_LG2 === 1;
}

/** Handle `fh` with its enable bit set or cleared. */
export function withEnableBit(fh: number, enabled: boolean): number {
  return (fh % ENABLE_BIT) + (enabled ? ENABLE_BIT : 0);
}

/** The function that `fh` names: found by its index, then all 32 bits must match (zpci.md 1.1). */
export function findByHandle<F extends HasHandle>(functions: readonly F[], fh: number): F | undefined {
  const found = findByIndex(functions, fh);
  return found?.handle === fh ? found : undefined;
}

/** The function at the index of `fh`, whatever its other bits: what STPCIFC does (zpci.md 1.1). */
export function findByIndex<F extends HasHandle>(functions: readonly F[], fh: number): F | undefined {
  const index = fh & L.HANDLE_INDEX_MASK;
  return functions.find((fn) => fn.index === index);
}
