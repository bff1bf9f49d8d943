/** What domains ask of s390, as instructions of the processor: MPCIFC and RPCIT (zpci.md 5.4, 6.1). */
import { invalid, ZtlpError } from '../base/errors.js';
import type { S390Hardware } from '../iommu/s390-domain-unit.js';
import type { TableMemory } from '../iommu/table-memory.js';
import type { ZpciAnswer } from '../zpci/answer.js';
import { MPCIFC_OC } from '../zpci/controls.js';
import { encodeFib, type FibInput } from '../zpci/fib.js';
import type { PciFunction } from './function.js';
import type { Machine } from './machine.js';

/** Room for a function information block: a power of two. */
const BLOCK = 128;

/** `machine` as domains see it. Its calls throw ZtlpError for a function that is not there, or that refuses. */
export function s390Hardware(machine: Machine, memory: TableMemory): S390Hardware {
  const mpcifc = (sid: number, oc: number, fields: FibInput): void => {
    const fib = memory.allocate(BLOCK);
    try {
      machine.memory.write(fib, encodeFib(fields));
      need('MPCIFC', sid, machine.cpu.mpcifc({ fh: named(machine, sid).handle, oc, fib }));
    } finally {
      memory.free(fib);
    }
  };
  return {
    register: (sid, { first, last }, anchor) =>
      mpcifc(sid, MPCIFC_OC.REGISTER_IOAT, { pba: first, pal: last, iota: anchor }),
    deregister(sid) {
      // A function that was reset or taken away has lost its registration.
      if (named(machine, sid).translation !== undefined) mpcifc(sid, MPCIFC_OC.DEREGISTER_IOAT, {});
    },
    refresh(sid, { first, last }) {
      const fn = named(machine, sid);
      // A function in error does no DMA, and takes no refresh: recovery registers its tables anew (zpci.md 5.4).
      if (fn.state === 'error') return;
      need('RPCIT', sid, machine.cpu.rpcit({ fh: fn.handle, start: first, length: last - first + 1n }));
    },
  };
}

function named(machine: Machine, sid: number): PciFunction {
  const fn = machine.functions.find(({ id }) => id === sid);
  if (fn === undefined) throw invalid('sid', sid, 'the id of a function of the machine');
  return fn;
}

function need(instruction: string, sid: number, { cc, status }: ZpciAnswer): void {
  if (cc === 0) return;
  const isFull = cc === 1 && (status === 4 || status === 16);
  throw new ZtlpError(
    isFull ? 'resource' : 'invalid-value',
    `${instruction} refused the function: condition code ${cc}, status ${status}`,
    { field: 'sid', value: sid, errno: isFull ? 'ENOMEM' : 'EINVAL' },
  );
}
