/** What tests of zPCI machines share: CLP requests through guest memory. */
import type { Machine } from '../../src/index.js';

const CLP = 0x2000;

/** Issues a CLP request of 32 bytes with a response of `responseBytes`; the response, and the condition code. */
export function clp(
  machine: Machine,
  command: number,
  fill: (request: DataView) => void,
  responseBytes = 384,
  lps?: number,
): { readonly cc: number | null; readonly code: number; readonly data: DataView } {
  const block = new Uint8Array(32 + responseBytes);
  const view = new DataView(block.buffer);
  view.setUint16(0, 32);
  view.setUint16(2, command);
  fill(view);
  view.setUint16(32, responseBytes);
  machine.memory.write(CLP, block);
  const { cc } = machine.cpu.clp({ address: CLP, ...(lps === undefined ? {} : { lps }) });
  const data = new DataView(machine.memory.read(CLP + 32, responseBytes).buffer);
  return { cc, code: data.getUint16(2), data };
}

/** CLP set PCI function: the response code and the handle in the response. */
export function setFunction(
  machine: Machine,
  fh: number,
  oc: number,
  ndas = 1,
): { readonly code: number; readonly fh: number; readonly data: DataView } {
  const { code, data } = clp(
    machine,
    5,
    (request) => {
      request.setUint32(16, fh);
      request.setUint8(22, oc);
      request.setUint8(23, ndas);
    },
    160,
  );
  return { code, fh: data.getUint32(16), data };
}

/** CLP query PCI function. */
export function queryFunction(
  machine: Machine,
  fh: number,
): { readonly code: number; readonly data: DataView } {
  return clp(machine, 3, (request) => request.setUint32(16, fh));
}
