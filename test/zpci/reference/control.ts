/** MPCIFC, STPCIFC, SIC and SCLP as sheet zpci.md 1.3, 5.4 and 6 have them. */
import type { Interrupts, Reference, ReferenceFunction, Translation } from './machine.js';
import {
  DONE,
  EDMA,
  ENABLE_BIT,
  exception,
  FIB_BYTES,
  failed,
  type Operands,
  SDMA,
  UNAVAILABLE,
} from './types.js';

const SEQUENCE = failed(24);
const OPERAND = exception('operand', 6);

/** Section 6.1. */
export function modify(machine: Reference, operands: Operands<'mpcifc'>): string {
  const fn = machine.byHandle(operands.fh);
  const before = fn?.translation;
  const answer = perform(machine, operands, fn);
  // What an exception suppresses does not count, but for a reregistration that has dropped the old one.
  if (fn !== undefined && (answer.startsWith('cc ') || fn.translation !== before)) fn.isControlled = true;
  return answer;
}

function perform(
  machine: Reference,
  { oc, dmaas, fib, problemState }: Operands<'mpcifc'>,
  fn: ReferenceFunction | undefined,
): string {
  if (problemState) return exception('privileged operation', 6);
  if (fib % 8n !== 0n) return exception('specification', 6);
  if (fn === undefined) return UNAVAILABLE;
  if (!['enabled', 'error', 'error-ls-open'].includes(fn.state)) return UNAVAILABLE;
  if (!machine.readable(fib, FIB_BYTES)) return exception('addressing', 6);
  const { view } = machine;
  const at = Number(fib);
  if (view.getUint8(at) !== 0) return OPERAND;
  switch (oc) {
    case 2: {
      if (fn.interrupts !== undefined) return SEQUENCE;
      const interrupts = interruptsAt(view, at);
      const { aibv, aibvo, noi, aisb, aisbo } = interrupts;
      const lastBit = aibvo + noi === 0 ? 0 : aibvo + noi - 1;
      const bits = [aibv, aibv + BigInt(Math.floor(lastBit / 8)), aisb + BigInt(Math.floor(aisbo / 8))];
      if (!bits.every((at) => machine.readable(at, 1))) return failed(4);
      fn.interrupts = interrupts;
      return DONE;
    }
    case 3: {
      if (fn.interrupts === undefined) return SEQUENCE;
      fn.interrupts = undefined;
      return DONE;
    }
    case 4:
    case 5:
    case 6:
      return translate(fn, oc, dmaas, {
        pba: view.getBigUint64(at + 16),
        pal: view.getBigUint64(at + 24),
        iota: view.getBigUint64(at + 32),
      });
    case 7: {
      if (fn.state === 'enabled') return SEQUENCE;
      fn.become('enabled');
      return DONE;
    }
    case 9: {
      if (fn.state !== 'error') return SEQUENCE;
      fn.become('error-ls-open');
      return DONE;
    }
    case 10: {
      const address = view.getBigUint64(at + 64);
      if (address % 16n !== 0n) {
        machine.event(fn, 0x2c, address);
        return failed(0); // the status byte stays as it was
      }
      machine.measure(fn, address);
      return DONE;
    }
    default:
      return OPERAND;
  }
}

function interruptsAt(view: DataView, at: number): Interrupts {
  const word = view.getUint32(at + 40);
  return {
    isc: (word >>> 28) & 7,
    noi: (word >>> 16) & 0xfff,
    aibvo: (word >>> 8) & 0x3f,
    sum: (word & 0x80) !== 0,
    aisbo: word & 0x3f,
    aibv: view.getBigUint64(at + 48),
    aisb: view.getBigUint64(at + 56),
  };
}

/** Section 5.4: registration. */
function translate(fn: ReferenceFunction, oc: 4 | 5 | 6, dmaas: number, asked: Translation): string {
  if (dmaas !== 0) return failed(28);
  if ((oc === 4) === (fn.translation !== undefined)) return SEQUENCE;
  // A reregistration deregisters first: when it is refused the old one is gone (recorded cases).
  if (oc !== 4) fn.register(undefined);
  if (oc === 5) return DONE;
  const pba = asked.pba - (asked.pba % 4096n);
  const pal = asked.pal | 0xfffn;
  if (pba > pal || pba < SDMA || pal > EDMA) return OPERAND;
  const type = Number((asked.iota >> 2n) & 7n);
  if ((asked.iota & 0x800n) === 0n || (fn.shape.dtsm & (0x80 >> type)) === 0) return OPERAND;
  fn.register({ pba, pal, iota: asked.iota });
  return DONE;
}

/** Sections 1.4, 6.2 and 6.3. */
export function storeControls(
  machine: Reference,
  { fh, dmaas, fib, problemState }: Operands<'stpcifc'>,
): string {
  if (problemState) return exception('privileged operation', 6);
  if (dmaas !== 0) return failed(28);
  if (fib % 8n !== 0n) return exception('specification', 6);
  const fn = machine.byIndex(fh);
  if (fn === undefined || fn.state === 'reserved' || fn.state === 'standby') return UNAVAILABLE;
  if (fn.state === 'permanent-error') return failed(8);
  const hasEnableBit = fh >= ENABLE_BIT;
  if (fn.state === 'disabled' && hasEnableBit) return UNAVAILABLE;
  if (!machine.readable(fib, FIB_BYTES)) return exception('addressing', 6);
  const at = Number(fib);
  machine.memory.fill(0, at, at + FIB_BYTES);
  if (fn.state === 'disabled') return DONE;
  const { view } = machine;
  const code = { enabled: 0x80, 'error-ls-open': 0xc0, error: 0xe0 }[fn.state];
  view.setUint8(at + 8, code | (fn.translation === undefined ? 0 : 0x10));
  if (fn.translation !== undefined) {
    view.setBigUint64(at + 16, fn.translation.pba);
    view.setBigUint64(at + 24, fn.translation.pal);
    view.setBigUint64(at + 32, fn.translation.iota);
  }
  if (fn.interrupts !== undefined) {
    const { isc, noi, aibvo, sum, aisbo, aibv, aisb } = fn.interrupts;
    const word = isc * 2 ** 28 + noi * 2 ** 16 + aibvo * 2 ** 8 + (sum ? 0x80 : 0) + aisbo;
    view.setUint32(at + 40, word);
    view.setBigUint64(at + 48, aibv);
    view.setBigUint64(at + 56, aisb);
  }
  view.setBigUint64(at + 64, fn.fmb);
  return hasEnableBit ? DONE : `${DONE} sets the enable bit`;
}

/** Section 6.5. */
export function setInterruption(
  machine: Reference,
  { operation, isc, problemState }: Operands<'sic'>,
): string {
  if (problemState) return exception('privileged operation', 6);
  if (operation > 1) return OPERAND;
  machine.single[isc] = operation === 1;
  machine.given[isc] = false;
  return DONE;
}

/** Section 1.3: response codes of SCLP. */
export function configure(machine: Reference, { command, fid }: Operands<'sclp'>): string {
  const answer = (code: number): string => `response 0x${code.toString(16)}`;
  const fn = machine.functions.find(({ shape }) => shape.fid === fid);
  if (fn === undefined) return answer(0x09f0);
  if (fn.state === 'reserved') return answer(0x05f0);
  const isThere = (fn.state === 'standby') === (command === 'deconfigure');
  if (isThere) return answer(0x0120);
  fn.isControlled = true;
  if (command === 'deconfigure') {
    fn.interrupts = undefined;
    fn.register(undefined);
    fn.become('standby');
  } else fn.become('disabled');
  return answer(0x0020);
}
