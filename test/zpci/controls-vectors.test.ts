/** MPCIFC and STPCIFC against what QEMU 7.2 was observed to answer: every such case of vectors/zpci-qemu72.json. */
import { describe, expect, it } from 'vitest';
import { decodeFib, FIB_BYTES } from '../../src/zpci/fib.js';
import { blockOf, type Case, casesOf, outcomeOf, setUp } from './guest-support.js';

const MODIFY = casesOf('MPCIFC');
const STORE = casesOf('STPCIFC');

describe('the MPCIFC cases', () => {
  it('are 71: 49 of the architecture, 11 choices of a model and 11 QEMU deviations', () => {
    const of = (basis: Case['basis']): number => MODIFY.filter((vector) => vector.basis === basis).length;
    expect([MODIFY.length, of('architecture'), of('model'), of('qemu-specific')]).toEqual([71, 49, 11, 11]);
  });

  it.each(MODIFY)('$id agrees', (vector) => {
    const { operands, device, expect: expected } = vector;
    const guest = setUp(vector);
    const { answer } = guest.mpcifc(operands.oc, blockOf(operands.fib), {
      fh: Number(operands.fh),
      dmaas: operands.dmaas,
      fibAddress: Number(operands.fibAddress),
      problemState: operands.problemState,
    });
    expect(answer).toEqual(outcomeOf(vector));
    const after = guest.stpcifc({ fh: Number(device.fhEnabled) });
    expect(after.answer).toMatchObject({ cc: expected.stpcifcAfterCc });
    expect(after.fib).toEqual(expected.fibAfter && blockOf(expected.fibAfter));
  });
});

describe('the STPCIFC cases', () => {
  it('are 14, all of the architecture', () => {
    expect(STORE.map(({ basis }) => basis)).toEqual(Array.from({ length: 14 }, () => 'architecture'));
  });

  it.each(STORE)('$id agrees', (vector) => {
    const { operands, expect: expected } = vector;
    const { answer, fib, register } = setUp(vector).stpcifc({
      fh: Number(operands.fh),
      dmaas: operands.dmaas,
      fibAddress: Number(operands.fibAddress),
      problemState: operands.problemState,
    });
    expect(answer).toEqual(outcomeOf(vector));
    expect(register).toBe(BigInt(expected.requestRegisterAfter));
    if (expected.storedBytes === null) {
      expect(fib).toBeUndefined();
      return;
    }
    expect(fib?.length).toBe(FIB_BYTES);
    expect(Buffer.from(fib ?? []).toString('hex')).toBe(expected.storedBytes);
    expect(decodeFib(fib as Uint8Array).fc).toBe(expected.fib?.fc);
  });
});
