/** PCI STORE BLOCK: TLPs and device calls it becomes (zpci.md 8). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryDevice, type OptionInput } from '../../src/index.js';
import { BUILDS } from '../support/builds.js';
import { BEFORE, PAGE, RELAXED_NATIVE, Rig, rigsOf, SOURCE } from './pcistb-support.js';

describe.each(BUILDS)('PCISTB on the %s build', (build) => {
  const { machineOf, rig } = rigsOf(build);

  describe('traffic', () => {
    const LARGE: OptionInput = { zpciMode: 'native', relaxed: true, maxstbl: 4096 };

    it('8: an emulated function sees one device call per doubleword and no TLP', async () => {
      const one = await rig();
      one.machine.trace.start();
      one.accepts({ length: 128 });
      expect(one.fn.stats).toMatchObject({ deviceCalls: 16, tlps: 0, wireBytes: 0 });
      expect(one.machine.trace.take()).toEqual([]);
      one.accepts({ length: 24 });
      expect(one.fn.stats.deviceCalls).toBe(19);
    });

    it('8: vfio, native and interpreted functions see TLPs and no device call', async () => {
      for (const zpciMode of ['vfio', 'native', 'interpreted'] as const) {
        const one = await rig({ zpciMode });
        one.machine.trace.start();
        one.accepts({ length: 128 });
        expect(one.fn.stats.deviceCalls).toBe(0);
        expect(one.fn.stats.tlps).toBeGreaterThan(0);
        const trace = one.machine.trace.take();
        expect(trace.length).toBe(one.fn.stats.tlps);
        expect(trace.every(({ tlp }) => tlp.type === 'MWr')).toBe(true);
      }
    });

    it.each([
      [{ vfioGeneration: 3 }, 16, 2],
      [{ vfioGeneration: 2 }, 16, 2],
      [{ vfioGeneration: 1 }, 32, 1],
      [{ vfioWidth: 'preserve' }, 16, 2],
    ] as const)(
      '8.2, 8.4 rows E and F: 128 bytes to a vfio function with %o are %i TLPs of %i DW, ascending',
      async (options, tlps, dwords) => {
        const one = await rig({ zpciMode: 'vfio', ...options });
        one.machine.trace.start();
        one.accepts({ length: 128, offset: 0x1010 });
        const trace = one.machine.trace.take().map(({ tlp, data }) => ({ ...tlp, data }));
        expect(trace.length).toBe(tlps);
        trace.forEach(({ length, address, firstBe, lastBe, data }, n) => {
          expect([length, firstBe, lastBe]).toEqual([dwords, 0xf, dwords === 1 ? 0 : 0xf]);
          expect(Number(address)).toBe(2 ** 40 + 0x1010 + 4 * dwords * n);
          expect(data).toEqual(SOURCE.slice(4 * dwords * n, 4 * dwords * (n + 1)));
        });
      },
    );

    it('8.2: a relaxed store to a vfio function is walked greedily: 11 bytes at 3 are 1, 4, 4 and 2', async () => {
      for (const vfioGeneration of [1, 3] as const) {
        const one = await rig({ zpciMode: 'vfio', relaxed: true, interceptStrict: false, vfioGeneration });
        one.machine.trace.start();
        one.accepts({ length: 11, offset: 3 });
        const trace = one.machine.trace.take();
        expect(trace.map(({ tlp }) => [Number(tlp.address) - 2 ** 40, tlp.length, tlp.firstBe])).toEqual([
          [0, 1, 0b1000],
          [4, 1, 0b1111],
          [8, 1, 0b1111],
          [12, 1, 0b0011],
        ]);
        one.accepts({ length: 16, offset: 8 });
        expect(one.machine.trace.take().length).toBe(vfioGeneration === 1 ? 4 : 2);
      }
    });

    it('L-17, Z-PATH-04: 4096 bytes at 0, native, MPS 256 are 16 TLPs and 4480 bytes on the wire', async () => {
      const one = await rig(LARGE);
      one.machine.trace.start();
      one.accepts({ length: 4096 });
      expect(one.machine.trace.take().map(({ tlp }) => tlp.length)).toEqual(new Array<number>(16).fill(64));
      expect(one.fn.stats).toMatchObject({
        tlps: 16,
        tlpsDown: 16,
        tlpsUp: 0,
        wireBytes: 4480,
        wireBytesDown: 4480,
      });
      expect(one.machine.stats()).toMatchObject({ tlpsByType: { MWr: 16 }, payloadBytesDown: 4096 });
    });

    it('8.4 row C: 4096 bytes at MPS 128, 256, 512 and 4096 are 32, 16, 8 and 1 TLPs', async () => {
      for (const [mps, tlps] of [
        [128, 32],
        [256, 16],
        [512, 8],
        [1024, 4],
        [2048, 2],
        [4096, 1],
      ] as const) {
        const one = await rig({ ...LARGE, mps });
        one.accepts({ length: 4096 });
        expect(one.fn.stats).toMatchObject({ tlps, wireBytes: 4096 + 24 * tlps, storeBlocks: 1 });
      }
    });

    it('8.4: any block is cut at multiples of MPS: its TLPs count floor((o+n-1)/MPS) - floor(o/MPS) + 1', async () => {
      for (const mps of [128, 256, 512, 4096] as const) {
        const one = await rig({ ...LARGE, mps });
        fc.assert(
          fc.property(fc.nat(PAGE - 1), fc.integer({ min: 1, max: PAGE }), (offset, wish) => {
            const length = Math.min(wish, PAGE - offset);
            const before = one.fn.stats.tlps;
            one.fn.barMemory(0).set(BEFORE);
            one.accepts({ offset: 0x3000 + offset, length });
            const expected = Math.floor((offset + length - 1) / mps) - Math.floor(offset / mps) + 1;
            expect(one.fn.stats.tlps - before).toBe(expected);
          }),
          { numRuns: 100 },
        );
      }
    });

    it('Z-PATH-11: relaxed, 11 bytes at offset 3 are one TLP of 4 DW, first byte enables 8, last 3', async () => {
      const one = await rig(RELAXED_NATIVE);
      one.machine.trace.start();
      one.accepts({ length: 11, offset: 3, sourceAddress: 5 });
      const [only, ...more] = one.machine.trace.take();
      expect(more).toEqual([]);
      expect(only).toMatchObject({ direction: 'down', slot: 0 });
      expect(only?.tlp).toMatchObject({
        type: 'MWr',
        headerDw: 4,
        length: 4,
        firstBe: 0b1000,
        lastBe: 0b0011,
        address: one.fn.bars[0]?.address,
        wireBytes: 8 + 16 + 16,
      });
      expect([...(only?.data ?? [])]).toEqual([0, 0, 0, ...SOURCE.subarray(0, 11), 0, 0]);
    });

    it('Z-PCISTB-31: every TLP of a strict store has byte enables F/F and an even Length', async () => {
      for (const mps of [128, 256, 4096] as const) {
        for (const zpciMode of ['native', 'interpreted', 'vfio'] as const) {
          const one = await rig({ zpciMode, maxstbl: 4096, mps });
          one.machine.trace.start();
          for (let length = 16; length <= 4096; length += length < 256 ? 8 : 248) {
            for (const offset of [0, 8, 0x78, 0xf8]) {
              if (offset + length > PAGE) continue;
              one.fn.barMemory(0).set(BEFORE);
              one.accepts({ length, offset });
              const trace = one.machine.trace.take();
              let at = offset;
              for (const { tlp, data } of trace) {
                expect(tlp).toMatchObject({ type: 'MWr', firstBe: 0xf, lastBe: 0xf });
                expect(tlp.length % 2).toBe(0);
                expect(Number(tlp.address)).toBe(2 ** 40 + at);
                expect(data).toEqual(SOURCE.slice(at - offset, at - offset + 4 * tlp.length));
                at += 4 * tlp.length;
              }
              expect(at).toBe(offset + length);
            }
          }
        }
      }
    });

    it('leaves 3 DW headers below 4 GiB', async () => {
      const machine = await machineOf([{ device: memoryDevice(), options: LARGE, addresses: [0xe000_0000] }]);
      const one = new Rig(machine);
      one.accepts({ length: 4096 });
      expect(one.fn.stats).toMatchObject({ tlps: 16, wireBytes: 16 * (8 + 12 + 256) });
    });
  });
});
