// MSI-X: masks of vectors and of the function, pending bits, and what is sent when, against a plain model of the rules.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { Msix } from '../../src/device/msix.js';
import { bytes, le } from './host.js';

function make(vectors = 3) {
  const sent: string[] = [];
  const msix = new Msix(vectors, (vector, address, data) => {
    sent.push(`${vector} 0x${address.toString(16)} 0x${data.toString(16)}`);
  });
  const program = (vector: number, address: bigint, data: number, mask = 0): void =>
    msix.writeTable(16 * vector, bytes(...le(address, 8), ...le(data), ...le(mask)), undefined);
  const mask = (vector: number, value: number): void =>
    msix.writeTable(16 * vector + 12, bytes(value), undefined);
  return { msix, sent, program, mask };
}

describe('after a reset', () => {
  it('every vector is masked, with address and data 0, and nothing is pending', () => {
    const { msix } = make(2);
    const entry = [...Array(12).fill(0), 1, 0, 0, 0];
    expect([...msix.readTable(0, 32)]).toEqual([...entry, ...entry]);
    expect(msix.readPending(0, 8)).toEqual(new Uint8Array(8));
  });
});

describe('a vector that is raised', () => {
  it('sends address and data of its entry as they are at that time', () => {
    const { msix, sent, program } = make();
    msix.control(true, false);
    program(1, 0x1_fee0_0000n, 0x41);
    msix.raise(1);
    program(1, 0xffff_ffff_fee0_0003n, 0x42);
    msix.raise(1);
    expect(sent).toEqual(['1 0x1fee00000 0x41', '1 0xfffffffffee00000 0x42']);
  });

  it('becomes pending while masked, once, and is sent when the mask goes', () => {
    const { msix, sent, program, mask } = make();
    msix.control(true, false);
    program(2, 0x1000n, 7, 1);
    msix.raise(2);
    msix.raise(2);
    expect([sent, [...msix.readPending(0, 8)]]).toEqual([[], [4, 0, 0, 0, 0, 0, 0, 0]]);
    mask(2, 0);
    mask(2, 0);
    expect([sent, msix.isPending(2)]).toEqual([['2 0x1000 0x7'], false]);
  });

  it('waits for the function mask too', () => {
    const { msix, sent, program } = make();
    program(0, 0x1000n, 1);
    program(2, 0x1000n, 3);
    msix.control(true, true);
    msix.raise(2);
    msix.raise(0);
    expect([sent, msix.isPending(0), msix.isPending(2)]).toEqual([[], true, true]);
    msix.control(true, false);
    expect(sent).toEqual(['0 0x1000 0x1', '2 0x1000 0x3']);
  });

  it('waits while MSI-X is not enabled, as in QEMU', () => {
    const { msix, sent, program } = make();
    program(0, 0x1000n, 1);
    msix.raise(0);
    expect([sent, msix.isPending(0)]).toEqual([[], true]);
    msix.control(true, false);
    expect(sent).toEqual(['0 0x1000 0x1']);
  });

  it('can be taken back', () => {
    const { msix, sent, mask } = make();
    msix.control(true, false);
    msix.raise(1);
    msix.clear(1);
    mask(1, 0);
    expect(sent).toEqual([]);
  });

  it('has to exist', () => {
    const { msix } = make();
    for (const vector of [-1, 3, 0.5]) {
      expect(() => msix.raise(vector)).toThrow(ZtlpError);
      expect(() => msix.clear(vector)).toThrow('an integer from 0 to 2');
    }
  });
});

describe('the table', () => {
  it('keeps bytes that are not enabled, also the one with the mask', () => {
    const { msix, sent } = make();
    msix.control(true, false);
    msix.raise(0);
    msix.writeTable(8, new Uint8Array(8).fill(0), bytes(1, 1, 1, 1, 0, 1, 1, 1));
    expect([msix.readTable(12, 4), sent]).toEqual([le(1), []]);
  });

  it('holds all 2048 vectors', () => {
    const { msix, sent, program } = make(2048);
    msix.control(true, false);
    program(2047, 0x1000n, 9, 1);
    msix.raise(2047);
    expect(msix.readPending(255, 1)).toEqual(bytes(0x80));
    program(2047, 0x1000n, 9);
    expect(sent).toEqual(['2047 0x1000 0x9']);
  });
});

describe('save and load', () => {
  it('keep masks and what is pending, and send nothing', () => {
    const first = make();
    first.msix.control(true, true);
    first.program(1, 0x1000n, 5);
    first.msix.raise(1);
    const saved = JSON.parse(JSON.stringify(first.msix.save()));
    const second = make();
    second.msix.checkSaved(saved);
    second.msix.load(saved);
    expect([second.sent, second.msix.save()]).toEqual([[], first.msix.save()]);
    second.msix.control(true, false);
    expect(second.sent).toEqual(['1 0x1000 0x5']);
  });

  it.each([
    ['another size', { table: [0] }],
    ['a byte that is none', { pending: [256, 0, 0, 0, 0, 0, 0, 0] }],
    ['no list', { table: 'x' }],
    ['no boolean', { enabled: 'yes' }],
    ['an unknown field', { more: 1 }],
  ])('refuse %s', (_, wrong) => {
    const { msix } = make();
    expect(() => msix.checkSaved({ ...msix.save(), ...wrong })).toThrow(ZtlpError);
  });
});

describe('any sequence', () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ op: fc.constant('raise' as const), vector: fc.nat(3) }),
      fc.record({ op: fc.constant('mask' as const), vector: fc.nat(3), value: fc.nat(1) }),
      fc.record({ op: fc.constant('control' as const), enabled: fc.boolean(), functionMask: fc.boolean() }),
    ),
    { maxLength: 40 },
  );

  it('sends and holds back what the rules say', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { msix, sent, mask } = make(4);
        const masked = [true, true, true, true];
        const pending = [false, false, false, false];
        const expected: number[] = [];
        let open = false;
        for (const step of list) {
          if (step.op === 'raise') {
            msix.raise(step.vector);
            pending[step.vector] = true;
          } else if (step.op === 'mask') {
            mask(step.vector, step.value);
            masked[step.vector] = step.value === 1;
          } else {
            msix.control(step.enabled, step.functionMask);
            open = step.enabled && !step.functionMask;
          }
          for (let vector = 0; vector < 4; vector++) {
            if (!open || masked[vector] || !pending[vector]) continue;
            pending[vector] = false;
            expected.push(vector);
          }
          expect(sent.map((text) => Number(text[0]))).toEqual(expected);
          expect([0, 1, 2, 3].map((vector) => msix.isPending(vector))).toEqual(pending);
        }
      }),
    );
  });
});
