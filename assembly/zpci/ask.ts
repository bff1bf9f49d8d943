// Floor 6: asks a device model whether it accepts a PCI instruction, after handle, state and space, before the form.

import { slotOf } from '../fabric/functions';
import { pushRecord } from '../kernel/records';
import { FUNCTION_ZPCI_FLAGS, RECORD_INSTRUCTION, ZPCI_ASKS } from '../layout';

/** True for a function whose model looks at each instruction. */
export function asks(fn: usize): bool {
  return (load<u32>(fn, FUNCTION_ZPCI_FLAGS) & ZPCI_ASKS) != 0;
}

/** Records the question; there has to be room. `lastStatus` is the answer once the host has served it: DONE, or packed. */
export function ask(fn: usize, instruction: u32, space: u32, offset: u64, length: u32): void {
  pushRecord(RECORD_INSTRUCTION, slotOf(fn), space, offset, length, 0, instruction, 0, true);
}
