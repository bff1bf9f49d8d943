/** PCI STORE BLOCK: the order of its checks (zpci.md 2.7). */
import { describe, expect, it } from 'vitest';
import { type FunctionState, memoryDevice, type OptionInput, type ZpciAnswer } from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import {
  ADDRESSING,
  BAD_SPACE,
  BAR_BYTES,
  BEFORE,
  BLOCKED,
  DONE,
  differs,
  ENABLE,
  HOST_BYTES,
  NO_FUNCTION,
  OPERAND,
  PRIVILEGED,
  RELAXED_NATIVE,
  Rig,
  rigsOf,
  SPECIFICATION,
} from './pcistb-support.js';

describe.each(BUILDS)('PCISTB on the %s build', (build) => {
  const { machineOf } = rigsOf(build);

  describe('order of checks (2.7)', () => {
    /** A store with everything that can be wrong with it, one field per property. */
    interface Attempt {
      slot: number;
      state: FunctionState;
      handleBits: number;
      problemState: boolean;
      as: number;
      offsetLow: bigint;
      offsetInPage: bigint;
      offsetHigh: bigint;
      length: number;
      sourceHigh: bigint;
      sourceLow: bigint;
    }

    interface Violation {
      readonly step: number;
      readonly name: string;
      readonly answer: ZpciAnswer;
      readonly set: Partial<Attempt>;
    }

    const LEGAL: Attempt = {
      slot: 0,
      state: 'enabled',
      handleBits: 0,
      problemState: false,
      as: 0,
      offsetLow: 0n,
      offsetInPage: 0x100n,
      offsetHigh: 0n,
      length: 16,
      sourceHigh: 0x1000n,
      sourceLow: 0n,
    };

    const COMMON: readonly Violation[] = [
      { step: 1, name: 'problem state', answer: PRIVILEGED, set: { problemState: true } },
      { step: 2, name: 'enable bit clear', answer: NO_FUNCTION, set: { handleBits: ENABLE } },
      { step: 2, name: 'unknown index', answer: NO_FUNCTION, set: { handleBits: 0x0700 } },
      { step: 2, name: 'other instance bits', answer: NO_FUNCTION, set: { handleBits: 0x0100_0000 } },
      { step: 2, name: 'function disabled', answer: NO_FUNCTION, set: { state: 'disabled' } },
      { step: 3, name: 'ERROR', answer: BLOCKED, set: { state: 'error' } },
      { step: 3, name: 'PERMANENT_ERROR', answer: BLOCKED, set: { state: 'permanent-error' } },
      { step: 4, name: 'space 6', answer: BAD_SPACE, set: { as: 6 } },
      { step: 4, name: 'space 14', answer: BAD_SPACE, set: { as: 14 } },
      { step: 4, name: 'space 15', answer: BAD_SPACE, set: { as: 15 } },
      { step: 6, name: 'length 136', answer: SPECIFICATION, set: { length: 136 } },
      { step: 6, name: 'length 4104', answer: SPECIFICATION, set: { length: 4104 } },
      { step: 7, name: 'crosses 4 KiB', answer: SPECIFICATION, set: { offsetInPage: 0xff8n } },
      { step: 9, name: 'BAR not implemented', answer: OPERAND, set: { as: 1 } },
      { step: 9, name: 'outside the BAR', answer: OPERAND, set: { offsetHigh: BigInt(BAR_BYTES) } },
      { step: 9, name: '2^32 outside the BAR', answer: OPERAND, set: { offsetHigh: 1n << 32n } },
      { step: 10, name: 'source behind memory', answer: ADDRESSING, set: { sourceHigh: BigInt(HOST_BYTES) } },
      {
        step: 10,
        name: 'source runs past memory',
        answer: ADDRESSING,
        set: { sourceHigh: BigInt(HOST_BYTES - 8) },
      },
      { step: 10, name: 'source near 2^64', answer: ADDRESSING, set: { sourceHigh: 2n ** 64n - 8n } },
    ];
    const STRICT_ONLY: readonly Violation[] = [
      { step: 5, name: 'offset 4 mod 8', answer: SPECIFICATION, set: { offsetLow: 4n } },
      { step: 5, name: 'offset 1 mod 8', answer: SPECIFICATION, set: { offsetLow: 1n } },
      { step: 6, name: 'length 12', answer: SPECIFICATION, set: { length: 12 } },
      { step: 6, name: 'length 8', answer: SPECIFICATION, set: { length: 8 } },
      { step: 6, name: 'length 0', answer: SPECIFICATION, set: { length: 0 } },
      { step: 8, name: 'source 4 mod 8', answer: SPECIFICATION, set: { sourceLow: 4n } },
    ];
    const RELAXED_ONLY: readonly Violation[] = [
      { step: 6, name: 'length 0 refused', answer: SPECIFICATION, set: { length: 0 } },
      { step: 6, name: 'length 129', answer: SPECIFICATION, set: { length: 129 } },
    ];
    const EMULATED_ONLY: readonly Violation[] = [
      { step: 9, name: 'region takes 4 bytes at most', answer: OPERAND, set: { slot: 1 } },
    ];

    const zero: OptionInput = { relaxedZeroLength: 'specificationPe' };
    const SETUPS: readonly (readonly [string, OptionInput, readonly Violation[]])[] = [
      ['strict and emulated', {}, [...COMMON, ...STRICT_ONLY, ...EMULATED_ONLY]],
      ['strict and native', { zpciMode: 'native' }, [...COMMON, ...STRICT_ONLY]],
      ['strict and vfio', { zpciMode: 'vfio' }, [...COMMON, ...STRICT_ONLY]],
      ['relaxed and native', { ...RELAXED_NATIVE, ...zero }, [...COMMON, ...RELAXED_ONLY]],
      [
        'relaxed and emulated without interceptStrict',
        { relaxed: true, interceptStrict: false, ...zero },
        [...COMMON, ...RELAXED_ONLY, ...EMULATED_ONLY],
      ],
    ];

    async function attempts(options: OptionInput): Promise<(...violations: Violation[]) => ZpciAnswer> {
      const small = { size: BAR_BYTES, valid: { min: 1, max: 4 } };
      const machine = await machineOf([
        { device: memoryDevice(), options },
        { device: memoryDevice({ bars: [small] }), options },
      ]);
      return (...violations) => {
        const a: Attempt = Object.assign({}, LEGAL, ...violations.map(({ set }) => set));
        const one = new Rig(machine, a.slot);
        const { handle } = one.fn;
        one.fn.state = a.state;
        const before = one.fn.stats;
        const answer = one.store({
          fh: (handle ^ a.handleBits) >>> 0,
          as: a.as,
          offset: a.offsetHigh + a.offsetInPage + a.offsetLow,
          length: a.length,
          source: a.sourceHigh + a.sourceLow,
          problemState: a.problemState,
        });
        one.fn.state = 'enabled';
        if (answer.cc !== 0) {
          expect(differs(one.fn.barMemory(0), BEFORE), 'memory changed').toBe(false);
          expect(one.fn.stats).toEqual(before);
        }
        return answer;
      };
    }

    it.each(SETUPS)(
      '%s: each violation alone has its own answer, and none is cc 0',
      async (_, options, list) => {
        const attempt = await attempts(options);
        expect(attempt()).toEqual(DONE);
        for (const violation of list) expect(attempt(violation), violation.name).toEqual(violation.answer);
      },
    );

    it.each(SETUPS)('%s: of every two violations the earlier one wins', async (_, options, list) => {
      const attempt = await attempts(options);
      let pairs = 0;
      for (const first of list) {
        for (const second of list) {
          const shared = Object.keys(first.set).some((key) => key in second.set);
          if (first.step >= second.step || shared) continue; // two values of one field cannot meet
          expect(attempt(second, first), `${first.name}, then ${second.name}`).toEqual(first.answer);
          pairs += 1;
        }
      }
      expect(pairs).toBeGreaterThan(150);
    });

    it.each(SETUPS)('%s: of all violations at once the earliest one wins', async (_, options, list) => {
      const attempt = await attempts(options);
      const steps = [...new Set(list.map(({ step }) => step))].sort((a, b) => a - b);
      for (const step of steps) {
        for (const first of list.filter((violation) => violation.step === step)) {
          const later = list.filter((violation) => violation.step > step);
          expect(attempt(...later, first), first.name).toEqual(first.answer);
        }
      }
    });
  });
});
