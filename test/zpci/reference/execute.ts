/** One instruction on the reference machine: what the guest sees of it, as text. */
import { callLogicalProcessor } from './clp.js';
import { configure, modify, setInterruption, storeControls } from './control.js';
import { load, ring, store, storeBlock } from './load-store.js';
import type { Reference, ReferenceFunction } from './machine.js';
import { refresh, transfer } from './translation.js';
import { DONE, type Instruction, type Operands } from './types.js';

export function execute(machine: Reference, instruction: Instruction): string {
  switch (instruction.kind) {
    case 'pcilg':
      return load(machine, instruction);
    case 'pcistg':
      return store(machine, instruction);
    case 'pcistb':
      return storeBlock(machine, instruction);
    case 'rpcit':
      return refresh(machine, instruction);
    case 'mpcifc':
      return modify(machine, instruction);
    case 'stpcifc':
      return storeControls(machine, instruction);
    case 'clp':
      return callLogicalProcessor(machine, instruction);
    case 'sic':
      return setInterruption(machine, instruction);
    case 'sclp':
      return configure(machine, instruction);
    case 'store':
      machine.memory.set(instruction.bytes, instruction.address);
      return '';
    case 'dma':
      return request(machine, instruction);
    case 'firmware':
      (machine.functions[instruction.slot] as ReferenceFunction).become(instruction.state);
      return '';
    case 'run':
      machine.run(instruction.ns);
      return '';
  }
}

/** A device starts when its doorbell was rung, or by itself. */
function request(machine: Reference, instruction: Operands<'dma'>): string {
  const { doorbell, slot } = instruction;
  const rung = doorbell === undefined ? DONE : ring(machine, doorbell);
  if (rung !== DONE) return rung;
  const fn = machine.functions[slot];
  const told = transfer(machine, fn as ReferenceFunction, instruction);
  machine.seen.push(`device of slot ${slot}: ${told}`);
  return DONE;
}
