/** PCI STORE BLOCK under the relaxed rules, and who decides about them (zpci.md 3.1, 3.2). */
import { describe, expect, it } from 'vitest';
import { ZPCI_RELAXED } from '../../assembly/layout.js';
import { resolveOptions } from '../../src/base/options.js';
import { memoryDevice } from '../../src/index.js';
import { zpciFlags } from '../../src/zpci/mode.js';
import { BUILDS } from '../support/builds.js';
import {
  BEFORE,
  DONE,
  RELAXED_MODES,
  RELAXED_NATIVE,
  Rig,
  rigsOf,
  SOURCE,
  SPECIFICATION,
} from './pcistb-support.js';

describe.each(BUILDS)('PCISTB on the %s build', (build) => {
  const { machineOf, rig } = rigsOf(build);

  describe('under the relaxed rules', () => {
    it('Z-PCISTB-13: relaxed, length 11 at offset 3 from a source at 5 modulo 8 stores 11 bytes at 3 to 13', async () => {
      for (const options of RELAXED_MODES) {
        const one = await rig(options);
        one.accepts({ length: 11, offset: 3, sourceAddress: 5 });
        one.machine.memory.write(0x2005, SOURCE.subarray(0, 11));
        one.fn.barMemory(0).set(BEFORE);
        one.accepts({ length: 11, offset: 3, source: 0x2005 });
      }
    });

    it('Z-PCISTB-14: relaxed, length 8 at offset 0 is stored', async () => {
      (await rig(RELAXED_NATIVE)).accepts({ length: 8 });
    });

    it('Z-PCISTB-15: relaxed, length 4096 with maxstbl 4096 is stored and counts exactly one block', async () => {
      for (const options of RELAXED_MODES) {
        const one = await rig({ ...options, maxstbl: 4096 });
        one.accepts({ length: 4096 });
        expect(one.fn.stats.storeBlocks).toBe(1);
      }
    });

    it('Z-PCISTB-16: relaxed, length 4096 at offset 1 is a specification exception: the 4 KiB rule stays', async () => {
      (await rig({ ...RELAXED_NATIVE, maxstbl: 4096 })).refuses({ length: 4096, offset: 1 }, SPECIFICATION);
    });

    it('Z-PCISTB-17: relaxed, length 1 at offset 0xfff is stored', async () => {
      const one = await rig(RELAXED_NATIVE);
      one.accepts({ length: 1, offset: 0xfff });
      one.refuses({ length: 2, offset: 0xfff }, SPECIFICATION);
    });

    it('Z-PCISTB-18: relaxed, length 4097 is a specification exception whatever the maximum', async () => {
      for (const relaxedMaximum of ['maxstbl', 'page'] as const) {
        for (const maxstbl of [128, 4096]) {
          const one = await rig({ ...RELAXED_NATIVE, maxstbl, relaxedMaximum });
          one.refuses({ length: 4097 }, SPECIFICATION);
          one.refuses({ length: 8191 }, SPECIFICATION);
        }
      }
    });

    it('Z-PCISTB-29: relaxed, length 0 does nothing or is a specification exception, as relaxedZeroLength says', async () => {
      for (const options of RELAXED_MODES) {
        const noop = await rig(options);
        noop.accepts({ length: 0 });
        noop.accepts({ length: 0, offset: 5, sourceAddress: 3 });
        expect(noop.fn.stats).toMatchObject({ tlps: 0, deviceCalls: 0 });
        const refusing = await rig({ ...options, relaxedZeroLength: 'specificationPe' });
        refusing.refuses({ length: 0 }, SPECIFICATION);
        refusing.accepts({ length: 1 });
      }
    });

    it('Z-PCISTB-30: relaxed, maxstbl 128, length 136 is refused, or stored with relaxedMaximum page', async () => {
      for (const options of RELAXED_MODES) {
        const one = await rig(options);
        one.refuses({ length: 136 }, SPECIFICATION);
        one.refuses({ length: 129 }, SPECIFICATION);
        one.accepts({ length: 128 });
        const page = await rig({ ...options, relaxedMaximum: 'page' });
        page.accepts({ length: 136 });
        page.accepts({ length: 4096 });
        page.refuses({ length: 4097 }, SPECIFICATION);
      }
    });

    it('gives relaxedMaximum and relaxedZeroLength no say in a strict group (3.1)', async () => {
      const one = await rig({ relaxedMaximum: 'page', relaxedZeroLength: 'noop' });
      one.refuses({ length: 136 }, SPECIFICATION);
      one.refuses({ length: 0 }, SPECIFICATION);
    });

    it('stores every length from 1 to 64 at every offset from 0 to 15, whoever executes it', async () => {
      for (const options of RELAXED_MODES) {
        const one = await rig(options, [{ size: 256 }]);
        for (let offset = 0; offset < 16; offset++) {
          for (let length = 1; length <= 64; length++) one.accepts({ offset, length, sourceAddress: length });
        }
      }
    });
  });

  describe('and who decides about relaxed', () => {
    it('Z-PCISTB-24: relaxed is a property of the group: two functions of one group agree', async () => {
      for (const relaxed of [false, true]) {
        const device = memoryDevice();
        const machine = await machineOf([{ device }, { device }], { zpciMode: 'native', relaxed });
        const answers = [0, 1].map((slot) => new Rig(machine, slot).store({ length: 11, offset: 3 }));
        expect(answers).toEqual(relaxed ? [DONE, DONE] : [SPECIFICATION, SPECIFICATION]);
      }
    });

    it('Z-PCISTB-25: relaxed translation alone leaves PCISTB strict', async () => {
      for (const rtr of [false, true])
        (await rig({ zpciMode: 'native', rtr })).refuses({ length: 11, offset: 3 }, SPECIFICATION);
      for (const zpciMode of ['emulated', 'vfio', 'native', 'interpreted'] as const) {
        const strict = zpciFlags(resolveOptions({ zpciMode }));
        expect(zpciFlags(resolveOptions({ zpciMode, rtr: true }))).toBe(strict);
        expect(strict & ZPCI_RELAXED).toBe(0);
      }
    });

    it('Z-PCISTB-26: an intercepted vfio function with maxstbl 128 refuses 4096 bytes', async () => {
      (await rig({ zpciMode: 'vfio' })).refuses({ length: 4096 }, SPECIFICATION);
      (await rig({ zpciMode: 'vfio', relaxed: true })).refuses({ length: 4096 }, SPECIFICATION);
    });

    it('Z-PCISTB-27: the same strict 64-byte store works on an ISM-type and on a NIC-type function', async () => {
      const machine = await machineOf([
        {
          device: memoryDevice({ name: 'ism' }),
          options: { zpciMode: 'native', relaxed: true, maxstbl: 4096 },
        },
        { device: memoryDevice({ name: 'nic' }), options: { zpciMode: 'native' } },
      ]);
      for (const slot of [0, 1]) new Rig(machine, slot).accepts({ length: 64, offset: 0x40 });
    });

    it('Z-PCISTB-28: a NIC-type function takes 11 bytes at offset 3 in a relaxed group, not in a strict one', async () => {
      (await rig(RELAXED_NATIVE)).accepts({ length: 11, offset: 3 });
      (await rig({ zpciMode: 'native' })).refuses({ length: 11, offset: 3 }, SPECIFICATION);
    });

    it('interceptStrict makes an intercepting mode strict and leaves native and interpreted alone (3.2)', async () => {
      for (const zpciMode of ['emulated', 'vfio', 'native', 'interpreted'] as const) {
        for (const interceptStrict of [true, false]) {
          const one = await rig({ zpciMode, relaxed: true, interceptStrict });
          const intercepted = zpciMode === 'emulated' || zpciMode === 'vfio';
          if (intercepted && interceptStrict) one.refuses({ length: 11, offset: 3 }, SPECIFICATION);
          else one.accepts({ length: 11, offset: 3 });
        }
      }
    });
  });
});
