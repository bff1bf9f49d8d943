/** PCI STORE BLOCK: where its bytes come from, and the region of an emulated function. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMachine, dispatchRegion, type OptionInput } from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import {
  ADDRESSING,
  BAR_BYTES,
  DONE,
  differs,
  HOST_BYTES,
  OPERAND,
  PAGE,
  RELAXED_MODES,
  RELAXED_NATIVE,
  Rig,
  rigsOf,
  SOURCE,
  SPECIFICATION,
  STRICT_MODES,
} from './pcistb-support.js';

describe.each(BUILDS)('PCISTB on the %s build', (build) => {
  const { core, rig } = rigsOf(build);

  describe('the source', () => {
    it('Z-PCISTB-19: an unreadable source is an addressing exception, after a bad length, and nothing is written', async () => {
      for (const options of [...STRICT_MODES, ...RELAXED_MODES]) {
        const one = await rig(options);
        one.refuses({ source: HOST_BYTES }, ADDRESSING);
        one.refuses({ source: 2n ** 64n - 8n }, ADDRESSING);
        one.refuses({ source: HOST_BYTES, length: 4104 }, SPECIFICATION);
      }
      (await rig()).refuses({ source: HOST_BYTES, length: 12 }, SPECIFICATION);
    });

    it('may end with the last byte of memory and not one byte later', async () => {
      const strict = await rig();
      strict.machine.memory.write(HOST_BYTES - 64, SOURCE.subarray(0, 64));
      strict.accepts({ source: HOST_BYTES - 64, length: 64 });
      for (let past = 8; past <= 64; past += 8) {
        strict.refuses({ source: HOST_BYTES - 64 + past, length: 64 }, ADDRESSING);
      }
      const relaxed = await rig(RELAXED_NATIVE);
      relaxed.machine.memory.write(HOST_BYTES - 11, SOURCE.subarray(0, 11));
      relaxed.accepts({ source: HOST_BYTES - 11, length: 11, offset: 3 });
      relaxed.refuses({ source: HOST_BYTES - 10, length: 11, offset: 3 }, ADDRESSING);
    });

    it('is a 64-bit address: 2^32, 2^33 or 2^63 above readable memory is not readable, nor where it wraps', async () => {
      for (const options of [{}, RELAXED_NATIVE]) {
        const one = await rig(options);
        for (const source of [2 ** 32 + 0x1000, 2 ** 33, 2n ** 63n, 2n ** 64n - 16n, 2n ** 64n - 8n]) {
          one.refuses({ source }, ADDRESSING);
        }
      }
    });

    it('is nowhere when the machine has no host memory', async () => {
      const machine = await createMachine({ core: core(), platform: 's390x', hostMemoryBytes: 0 });
      const one = new Rig(machine);
      one.refuses({ source: 0 }, ADDRESSING);
      one.accepts();
    });

    it('may cross a 4 KiB border, in both modes (3.1)', async () => {
      for (const options of [{}, RELAXED_NATIVE]) {
        const one = await rig(options);
        one.machine.memory.write(PAGE - 8, SOURCE.subarray(0, 128));
        one.accepts({ source: PAGE - 8, length: 128 });
      }
    });

    it('gives the same as bytes and as a guest address, for any legal store', async () => {
      const one = await rig({ ...RELAXED_NATIVE, maxstbl: 4096 });
      const other = await rig({ ...RELAXED_NATIVE, maxstbl: 4096 });
      fc.assert(
        fc.property(
          fc.uint8Array({ minLength: 0, maxLength: 300 }),
          fc.nat(PAGE - 300),
          fc.nat(HOST_BYTES - 300),
          (data, offset, address) => {
            one.machine.memory.write(address, data);
            const input = { offset, length: data.length };
            expect(one.store({ ...input, source: address })).toEqual(other.store({ ...input, source: data }));
            expect(differs(one.fn.barMemory(0), other.fn.barMemory(0))).toBe(false);
            expect(one.fn.stats).toEqual(other.fn.stats);
          },
        ),
        { numRuns: 300 },
      );
    });

    it('is read when the instruction executes: a later change of memory does not reach the BAR', async () => {
      const one = await rig();
      one.machine.memory.write(0x100, SOURCE.subarray(0, 16));
      one.accepts({ source: 0x100 });
      one.machine.memory.write(0x100, new Uint8Array(16));
      expect(one.fn.barMemory(0).slice(0, 16)).toEqual(SOURCE.slice(0, 16));
      one.refuses({ source: 0x100, length: 12 }, SPECIFICATION);
    });
  });

  describe('the region of an emulated function', () => {
    it('Z-PCISTB-20: a valid maximum of 4 is an operand exception and nothing is written', async () => {
      const one = await rig({}, [{ size: BAR_BYTES, valid: { min: 1, max: 4 } }]);
      one.refuses({}, OPERAND);
      one.refuses({ length: 128 }, OPERAND);
    });

    it('Z-PCISTB-21, but for the order a device would see: an impl maximum of 4 makes two 4-byte calls of each doubleword', async () => {
      for (const max of [4, 0]) {
        const one = await rig({}, [{ size: BAR_BYTES, impl: { min: 1, max } }]);
        one.accepts({ length: 128, offset: 8 });
        expect(one.fn.stats).toMatchObject({ deviceCalls: 32, tlps: 0 });
        const call = { offset: 8, bytes: 8, valid: { min: 1, max: 8 }, impl: { min: 1, max } };
        expect(dispatchRegion(call)).toEqual({
          result: 'ok',
          calls: [
            { offset: 8, bytes: 4 },
            { offset: 12, bytes: 4 },
          ],
        });
      }
    });

    it('is asked for doublewords: it needs a maximum of 8, or none, and at most a minimum of 8 (8.2)', async () => {
      for (const [min, max, accepted] of [
        [1, 8, true],
        [4, 8, true],
        [8, 8, true],
        [0, 0, true],
        [8, 0, true],
        [1, 1, false],
        [1, 2, false],
        [4, 4, false],
      ] as const) {
        const one = await rig({}, [{ size: 256, valid: { min, max } }]);
        if (accepted) one.accepts({ length: 128 });
        else one.refuses({ length: 128 }, OPERAND);
      }
    });

    it('is walked greedily by a relaxed store: 11 bytes at 3 are 1, 4, 4 and 2 (8.2)', async () => {
      const relaxed: OptionInput = { zpciMode: 'emulated', relaxed: true, interceptStrict: false };
      const store = { length: 11, offset: 3 };
      const any = await rig(relaxed, [{ size: 256 }]);
      any.accepts(store);
      expect(any.fn.stats.deviceCalls).toBe(4);
      const bytes = await rig(relaxed, [{ size: 256, impl: { min: 1, max: 1 } }]);
      bytes.accepts(store);
      expect(bytes.fn.stats.deviceCalls).toBe(11);
      (await rig(relaxed, [{ size: 256, valid: { min: 1, max: 4 } }])).accepts(store);
      (await rig(relaxed, [{ size: 256, valid: { min: 1, max: 2 } }])).refuses(store, OPERAND);
      (await rig(relaxed, [{ size: 256, valid: { min: 2, max: 8 } }])).refuses(store, OPERAND);
      (await rig(relaxed, [{ size: 256, valid: { min: 2, max: 8 } }])).accepts({ length: 10, offset: 2 });
    });

    it('refuses the whole block for its last piece, so that nothing is written (2.7 step 9)', async () => {
      const relaxed: OptionInput = { zpciMode: 'emulated', relaxed: true, interceptStrict: false };
      const one = await rig(relaxed, [{ size: 256, valid: { min: 4, max: 8 } }]);
      one.accepts({ length: 12, offset: 8 });
      one.refuses({ length: 14, offset: 8 }, OPERAND);
      one.refuses({ length: 13, offset: 8 }, OPERAND);
      one.refuses({ length: 14, offset: 2 }, OPERAND);
    });

    it('gets zero-extended values where it insists on calls larger than a piece (access-paths 4, step 3)', async () => {
      const relaxed: OptionInput = { zpciMode: 'emulated', relaxed: true, interceptStrict: false };
      const one = await rig(relaxed, [{ size: 16, impl: { min: 4, max: 8 } }]);
      one.fn.barMemory(0).fill(0xee);
      expect(one.store({ length: 3, offset: 8 })).toEqual(DONE);
      const [a, b, c] = SOURCE;
      expect([...one.fn.barMemory(0).subarray(6)]).toEqual(
        [0xee, 0xee, a, b, c, 0, 0, 0, 0xee, 0xee].slice(0, 10),
      );
      expect(one.fn.stats.deviceCalls).toBe(2);
      expect(one.store({ length: 1, offset: 15 })).toEqual(DONE);
      expect(one.fn.barMemory(0)[15]).toBe(a);
    });

    it('has no say about functions that nobody emulates', async () => {
      for (const zpciMode of ['native', 'interpreted', 'vfio'] as const) {
        const sizes = { min: 1, max: 1 };
        const one = await rig({ zpciMode }, [{ size: 256, valid: sizes, impl: sizes }]);
        one.accepts();
        expect(one.fn.stats.deviceCalls).toBe(0);
      }
    });
  });
});
