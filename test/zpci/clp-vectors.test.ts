/** CLP against what QEMU 7.2 was observed to answer: every CLP case of vectors/zpci-qemu72.json. */
import { describe, expect, it } from 'vitest';
import { runClp } from '../../src/zpci/clp.js';
import { casesOf, outcomeOf, setUp } from './guest-support.js';

const CASES = casesOf('CLP');

describe('the CLP cases', () => {
  it('are 31: 29 of the architecture and 2 that say QEMU has no MIO', () => {
    expect(CASES.length).toBe(31);
    const specific = CASES.filter(({ basis }) => basis !== 'architecture');
    expect(specific.map(({ id }) => id)).toEqual(['clp.set-008', 'clp.set-009']);
  });

  it.each(CASES)('$id agrees', (vector) => {
    const { operands, expect: expected } = vector;
    const guest = setUp(vector);
    const memory = new Uint8Array(8192);
    memory.set(Buffer.from(operands.requestHex, 'hex'));
    const view = new DataView(memory.buffer);
    const requestLength = view.getUint16(0);
    view.setUint16(
      requestLength % 8 === 0 && requestLength < 64 ? requestLength : 32,
      operands.responseLengthField,
    );
    const result = runClp(memory, guest, operands.problemState);
    const outcome = outcomeOf(vector);
    if (!('cc' in result)) {
      expect(result).toEqual(outcome);
      return;
    }
    expect({ cc: result.cc, status: 0 }).toEqual(outcome);
    expect(result.block.length).toBe(requestLength + operands.responseLengthField);
    memory.set(result.block);
    const response = memory.subarray(requestLength);
    const wanted = Buffer.from(expected.response, 'hex');
    expect(Buffer.from(response.subarray(0, wanted.length)).toString('hex')).toBe(expected.response);
    expect(view.getUint16(requestLength)).toBe(expected.responseLength);
    expect(view.getUint16(requestLength + 2)).toBe(Number(expected.responseCode));
  });
});
