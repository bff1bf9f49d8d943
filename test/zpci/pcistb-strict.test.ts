/** PCI STORE BLOCK under the strict rules, and the rules that hold in both modes (zpci.md 3.1). */
import { describe, expect, it } from 'vitest';
import type { U64 } from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import {
  BAD_SPACE,
  DONE,
  differs,
  OPERAND,
  RELAXED_MODES,
  RELAXED_NATIVE,
  rigsOf,
  SOURCE,
  SPECIFICATION,
  STRICT_MODES,
} from './pcistb-support.js';

describe.each(BUILDS)('PCISTB on the %s build', (build) => {
  const { rig } = rigsOf(build);

  describe('under the strict rules', () => {
    it('Z-PCISTB-01: strict, length 16, offset 0 and an aligned source store 16 bytes and count one block', async () => {
      const { fn, machine } = await rig();
      expect(fn.handle).toBe(0x8002_0001);
      expect(fn.options.maxstbl).toBe(128);
      fn.barMemory(0).fill(0xee);
      const source = Uint8Array.from({ length: 16 }, (_, n) => n + 1);
      expect(machine.cpu.pcistb({ fh: 0x8002_0001, as: 0, offset: 0, length: 16, source })).toEqual(DONE);
      expect([...fn.barMemory(0).subarray(0, 17)]).toEqual([...source, 0xee]);
      expect(fn.stats).toMatchObject({ storeBlocks: 1, stores: 0, loads: 0 });
    });

    it('Z-PCISTB-02: strict, length 8 is a specification exception', async () => {
      (await rig()).refuses({ length: 8 }, SPECIFICATION);
    });

    it('Z-PCISTB-03: strict, length 0 is a specification exception', async () => {
      (await rig()).refuses({ length: 0 }, SPECIFICATION);
    });

    it('Z-PCISTB-04: strict, length 11 is a specification exception', async () => {
      (await rig()).refuses({ length: 11 }, SPECIFICATION);
    });

    it('Z-PCISTB-05: strict, length 128 is stored, 136 above maxstbl 128 is a specification exception', async () => {
      const one = await rig();
      one.accepts({ length: 128 });
      one.refuses({ length: 136 }, SPECIFICATION);
    });

    it('Z-PCISTB-06: strict, offset 4 is a specification exception', async () => {
      (await rig()).refuses({ offset: 4 }, SPECIFICATION);
    });

    it('Z-PCISTB-07: strict, length 12 is a specification exception', async () => {
      (await rig()).refuses({ length: 12 }, SPECIFICATION);
    });

    it('Z-PCISTB-08: strict, a source at 4 modulo 8 is a specification exception', async () => {
      const one = await rig();
      one.refuses({ sourceAddress: 4 }, SPECIFICATION);
      one.refuses({ source: 0x1004 }, SPECIFICATION);
    });

    it.each(STRICT_MODES)(
      'accepts 16, 24, ... maxstbl bytes and no other length with %o (3.1)',
      async (options) => {
        for (const maxstbl of [16, 128, 4096]) {
          const one = await rig({ ...options, maxstbl });
          for (let length = 0; length <= 160; length++) {
            const legal = length > 8 && length % 8 === 0 && length <= maxstbl;
            if (legal) one.accepts({ length, offset: 8 });
            else one.refuses({ length, offset: 8 }, SPECIFICATION);
          }
          const long = { length: 4096 };
          if (maxstbl === 4096) one.accepts(long);
          else one.refuses(long, SPECIFICATION);
          one.refuses({ length: 4104 }, SPECIFICATION);
        }
      },
    );

    it.each(STRICT_MODES)('wants offset and source at multiples of 8 with %o (3.1)', async (options) => {
      const one = await rig(options);
      for (let low = 1; low < 8; low++) {
        one.refuses({ offset: low }, SPECIFICATION);
        one.refuses({ offset: 0x1230 + low }, SPECIFICATION);
        one.refuses({ sourceAddress: low }, SPECIFICATION);
        one.refuses({ sourceAddress: 2n ** 64n - 8n + BigInt(low) }, SPECIFICATION);
        one.refuses({ source: 0x2000 + low }, SPECIFICATION);
      }
      one.accepts({ offset: 0x1238, sourceAddress: 2n ** 64n - 8n });
    });
  });

  describe('in both modes', () => {
    it('Z-PCISTB-09: offset 0xfc0 takes 64 bytes and refuses 72, strict and relaxed', async () => {
      for (const options of [...STRICT_MODES, ...RELAXED_MODES]) {
        const one = await rig(options);
        one.accepts({ offset: 0xfc0, length: 64 });
        one.refuses({ offset: 0xfc0, length: 72 }, SPECIFICATION);
      }
    });

    it('Z-PCISTB-10: offset 0x1fc0 takes 64 bytes: the rule is modulo 4096', async () => {
      for (const options of [...STRICT_MODES, ...RELAXED_MODES]) {
        const one = await rig(options);
        one.accepts({ offset: 0x1fc0, length: 64 });
        one.accepts({ offset: 0x1000, length: 128 });
        one.refuses({ offset: 0x1fc0, length: 72 }, SPECIFICATION);
      }
    });

    it('Z-PCISTB-11: spaces 6 to 15, configuration space included, answer cc 1 status 20', async () => {
      for (const options of [{}, RELAXED_NATIVE]) {
        const one = await rig(options);
        for (let as = 6; as <= 15; as++) one.refuses({ as }, BAD_SPACE);
      }
    });

    it('Z-PCISTB-12: space 15 with length 12 answers cc 1 status 20: the space comes before the length', async () => {
      (await rig()).refuses({ as: 15, length: 12 }, BAD_SPACE);
    });

    it('reaches each of six BARs by its number, and only that one', async () => {
      const sizes = [256, 16, 4096, 512, 64, 0x2000];
      const one = await rig(
        {},
        sizes.map((size) => ({ size })),
      );
      sizes.forEach((size, as) => {
        for (let bar = 0; bar < 6; bar++) one.fn.barMemory(bar).fill(0x11);
        expect(one.store({ as, offset: size - 16 })).toEqual(DONE);
        for (let bar = 0; bar < 6; bar++) {
          const expected = new Uint8Array(sizes[bar] as number).fill(0x11);
          if (bar === as) expected.set(SOURCE.subarray(0, 16), size - 16);
          expect(differs(one.fn.barMemory(bar), expected), `BAR ${bar} after a store to ${as}`).toBe(false);
        }
        expect(one.store({ as, offset: size })).toEqual(OPERAND);
      });
    });

    it('refuses a BAR that is not implemented with an operand exception', async () => {
      for (const options of [{}, { zpciMode: 'native' }, RELAXED_NATIVE] as const) {
        const one = await rig(options, [{ size: 256 }, undefined, { size: 256 }]);
        for (const as of [1, 3, 4, 5]) one.refuses({ as }, OPERAND);
        expect(one.store({ as: 2 })).toEqual(DONE);
      }
    });

    it('refuses a range that leaves the BAR, also where the offset or its end passes 2^32 or 2^64', async () => {
      for (const options of [...STRICT_MODES, ...RELAXED_MODES]) {
        const one = await rig(options, [{ size: 64 }]);
        one.accepts({ offset: 48 });
        const beyond: readonly U64[] = [
          56,
          64,
          0x1000,
          2 ** 32,
          2 ** 32 + 8,
          2 ** 40,
          2n ** 63n,
          2n ** 64n - 0x1000n,
          2n ** 64n - 0x1000n + 64n,
          2n ** 64n - 0xff0n,
        ];
        for (const offset of beyond) one.refuses({ offset }, OPERAND);
        for (const offset of [2n ** 32n - 8n, 2n ** 64n - 8n]) one.refuses({ offset }, SPECIFICATION);
        one.refuses({ offset: 2n ** 32n - 16n }, OPERAND);
        one.refuses({ offset: 2n ** 64n - 16n }, OPERAND);
      }
    });
  });
});
