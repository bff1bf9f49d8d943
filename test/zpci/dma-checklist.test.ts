/** DMA of zPCI functions and their messages, by the items of the checklist (zpci.md 5, 6, 9). */
import { describe, expect, it } from 'vitest';
import { BUILDS, useBuild } from '../support/builds.js';
import { IOTA, type Prober, prober, SDMA, TABLES } from './dma-support.js';
import { setFunction } from './machine-support.js';

const FRAME = 0x2_0000;
const AIBV = 0x3_0000;
const AISB = 0x3_1000;
const REFUSED = expect.not.stringMatching(/^([0-9a-f]{2})+$|nothing/);

describe.each(BUILDS)('the checklist on the %s build', (build) => {
  const core = useBuild(build);
  const make = async (options = {}): Promise<Prober> => {
    const rig = await prober(core(), options);
    rig.register();
    rig.machine.memory.write(
      FRAME,
      Uint8Array.from({ length: 4096 }, (_, n) => n & 0xff),
    );
    return rig;
  };
  const page = (rig: Prober, n: number, entry: bigint): void => rig.put(TABLES.page + 8 * n, entry);

  it('Z-DMA-01: address 0x1_2345_6789 goes through RTX 2, SX 0x234, PX 0x56 to offset 0x789', async () => {
    const rig = await prober(core());
    rig.put(TABLES.region + 8 * 2, BigInt(TABLES.segment) | 7n);
    rig.put(TABLES.segment + 8 * 0x234, BigInt(TABLES.page));
    rig.put(TABLES.page + 8 * 0x56, BigInt(FRAME));
    rig.machine.memory.write(FRAME + 0x789, Uint8Array.of(1, 2, 3, 4));
    rig.mpcifc(4, { pba: SDMA, pal: 0x1_ffff_ffffn, iota: IOTA });
    expect(rig.rpcit(0x1_2345_6000n)).toMatchObject({ cc: 0 });
    expect([rig.read(0x1_2345_6789n), rig.events()]).toEqual(['01020304', []]);
  });

  it('Z-DMA-02, Z-DMA-03, Z-DMA-04: malformed entries are events 8, 9 and 7, and the function is in error', async () => {
    const malformed: readonly (readonly [bigint, number])[] = [
      [BigInt(TABLES.segment) | 6n, 0x8], // length 2
      [BigInt(TABLES.segment) | 0x47n, 0x8], // an offset
      [BigInt(TABLES.segment) | 0xbn, 0x9], // type of a region-second table
      [0n, 0x7],
    ];
    for (const [entry, code] of malformed) {
      const rig = await make();
      rig.put(TABLES.region + 16, entry);
      expect(rig.rpcit(SDMA + 0x5000n)).toMatchObject({ cc: 1, status: 8 });
      expect([rig.events(), rig.fn.state]).toEqual([[[code, SDMA + 0x5000n, false]], 'error']);
    }
    const rig = await make();
    rig.put(TABLES.region + 16, 0x20n);
    expect(rig.rpcit(SDMA)).toMatchObject({ cc: 0 });
    expect([rig.events(), rig.fn.state]).toEqual([[], 'enabled']);
    expect(rig.read(SDMA)).toEqual(REFUSED);
    expect(rig.events()).toEqual([[0x4, SDMA, true]]);
  });

  it('Z-DMA-05: protected at segment level, the page unprotected: read only', async () => {
    const rig = await make();
    rig.put(TABLES.segment, BigInt(TABLES.page) | 0x200n);
    page(rig, 0, BigInt(FRAME));
    expect(rig.rpcit(SDMA)).toMatchObject({ cc: 0 });
    expect(rig.read(SDMA + 0x10n)).toBe('10111213');
    expect(rig.write(SDMA + 0x10n, Uint8Array.of(9))).toEqual(REFUSED);
    expect([rig.events(), rig.fn.state]).toEqual([[[0x4, SDMA + 0x10n, false]], 'error']);
    expect(rig.machine.memory.read(FRAME + 0x10, 1)).toEqual(Uint8Array.of(0x10));
  });

  it('Z-DMA-06: an FC segment entry maps 1 MiB linearly', async () => {
    const rig = await make();
    rig.put(TABLES.segment, 0x10_0000n | 0x400n);
    rig.machine.memory.write(0x1f_fffc, Uint8Array.of(5, 6, 7, 8));
    expect(rig.rpcit(SDMA, 0x10_0000n)).toMatchObject({ cc: 0 });
    expect(rig.read(SDMA + 0xf_fffcn)).toBe('05060708');
    expect(rig.read(SDMA + 0x10_0000n)).toEqual(REFUSED);
  });

  it('Z-DMA-07: below PBA and above PAL is event 2 with the failing address', async () => {
    for (const address of [SDMA - 1n, SDMA + 0x40_0000n]) {
      const rig = await make();
      expect(rig.read(address, 1)).toEqual(REFUSED);
      expect([rig.events(), rig.fn.state]).toEqual([[[0x2, address, true]], 'error']);
    }
  });

  it('Z-DMA-07: with qemuQuirks a write above PAL is lost, and one below PBA is still event 2', async () => {
    const above = await make({ qemuQuirks: true });
    above.write(SDMA + 0x40_0000n, Uint8Array.of(1));
    expect([above.events(), above.fn.state]).toEqual([[], 'enabled']);
    const below = await make({ qemuQuirks: true });
    below.write(SDMA - 1n, Uint8Array.of(1));
    expect([below.events(), below.fn.state]).toEqual([[[0x2, SDMA - 1n, false]], 'error']);
  });

  it('Z-DMA-08, Z-DMA-09: DMA uses what was refreshed, and nothing else', async () => {
    const rig = await make();
    page(rig, 0, BigInt(FRAME));
    expect(rig.read(SDMA)).toEqual(REFUSED);
    expect(rig.events()).toEqual([[0x4, SDMA, true]]);
    expect(rig.mpcifc(7)).toMatchObject({ cc: 0 });
    expect(rig.rpcit(SDMA)).toMatchObject({ cc: 0 });
    expect(rig.read(SDMA)).toBe('00010203');
    page(rig, 0, 0x400n);
    expect(rig.read(SDMA)).toBe('00010203'); // still the old translation
    expect(rig.rpcit(SDMA)).toMatchObject({ cc: 0 });
    expect(rig.read(SDMA)).toEqual(REFUSED);
    expect(rig.events()).toEqual([[0x4, SDMA, true]]);
  });

  it('Z-DMA-11: beyond the quota cc 1 status 16; the state stays, the counter goes on', async () => {
    const rig = await make();
    // One segment table for a whole region, one page table for all segments: everything is mapped.
    for (let n = 0; n < 256; n++) page(rig, n, BigInt(FRAME));
    for (let n = 0; n < 2048; n++) rig.put(TABLES.segment + 8 * n, BigInt(TABLES.page));
    rig.mpcifc(6, { pba: SDMA, pal: 0x1_7fff_ffffn, iota: IOTA });
    expect(rig.rpcit(SDMA, 0x8000_0000n)).toMatchObject({ cc: 1, status: 16 });
    expect([rig.fn.state, rig.events(), rig.fn.stats.refreshes]).toEqual(['enabled', [], 1]);
    expect(rig.read(SDMA)).toBe('00010203');
  });

  it('Z-DMA-15: fault, operation 9, operation 7, and DMA works with the same tables', async () => {
    const rig = await make();
    page(rig, 0, BigInt(FRAME));
    rig.rpcit(SDMA);
    rig.read(SDMA + 0x5000n);
    expect(rig.fn.state).toBe('error');
    expect([rig.mpcifc(9).cc, rig.fn.state, rig.read(SDMA)]).toEqual([0, 'error-ls-open', REFUSED]);
    expect([rig.mpcifc(7).cc, rig.fn.state, rig.read(SDMA)]).toEqual([0, 'enabled', '00010203']);
  });

  it('Z-DMA-16: disable and enable leave no translation: no DMA until it is registered again', async () => {
    const rig = await make();
    page(rig, 0, BigInt(FRAME));
    rig.rpcit(SDMA);
    expect(rig.read(SDMA)).toBe('00010203');
    expect(setFunction(rig.machine, rig.fn.handle, 1).code).toBe(0x10);
    expect(setFunction(rig.machine, rig.fn.handle, 0).code).toBe(0x10);
    rig.fn.config.write(4, 6, 2);
    for (const address of [SDMA, BigInt(FRAME)]) expect(rig.read(address)).toEqual(REFUSED);
    expect([rig.fn.state, rig.fn.translation, rig.events()]).toEqual(['enabled', undefined, []]);
    rig.register();
    page(rig, 0, BigInt(FRAME));
    rig.rpcit(SDMA);
    expect(rig.read(SDMA)).toBe('00010203');
  });

  it('RPCIT: a range that ends at PBA or begins at PAL has a part of the registered one', async () => {
    for (const [start, length, outside] of [
      [SDMA - 0x1000n, 0xfffn, true],
      [SDMA - 0x1000n, 0x1000n, false],
      [SDMA + 0x3f_ffffn, 1n, false],
      [SDMA + 0x40_0000n, 1n, true],
    ] as const) {
      const rig = await make();
      // All of the region below is there, and not mapped.
      for (const n of [1, 2]) rig.put(TABLES.region + 8 * n, BigInt(TABLES.segment) | 7n);
      rig.put(TABLES.segment + 8 * 2047, 0x20n);
      for (let n = 1; n < 4; n++) rig.put(TABLES.segment + 8 * n, 0x20n);
      expect(rig.rpcit(start, length).cc).toBe(outside ? 1 : 0);
      expect(rig.events()).toEqual(outside ? [[0x2, start, false]] : []);
    }
  });

  describe('a message', () => {
    const ready = async (fields = {}): Promise<Prober> => {
      const rig = await make();
      rig.mpcifc(2, { isc: 5, noi: 16, aibv: AIBV, aisb: AISB, sum: true, ...fields });
      return rig;
    };
    const outcome = ({ machine }: Prober) => [
      Buffer.from(machine.memory.read(AIBV, 4)).toString('hex'),
      Buffer.from(machine.memory.read(AISB, 4)).toString('hex'),
      machine.takeAdapterInterrupts().map(({ isc }) => isc),
    ];

    it('Z-INT-01, Z-INT-02: AIBVO 3 and vector 7 are mask 0x20 of byte 1, AISBO 9 mask 0x40 of byte 1', async () => {
      const rig = await ready({ aibvo: 3, aisbo: 9 });
      rig.message(7);
      expect(outcome(rig)).toEqual(['00200000', '00400000', [5]]);
    });

    it('Z-INT-03: no new interrupt while the summary byte is not 0', async () => {
      const rig = await ready({ aisbo: 3 });
      rig.machine.memory.write(AISB, Uint8Array.of(0x80));
      rig.message(0);
      expect(outcome(rig)).toEqual(['80000000', '90000000', []]);
    });

    it('Z-INT-04: the vector is 11 bits of the data', async () => {
      const rig = await ready();
      rig.message(0x1805);
      expect(outcome(rig)).toEqual(['04000000', '80000000', [5]]);
    });

    it('Z-ST-12: in every state but ENABLED it sets no bit and makes no interrupt', async () => {
      for (const state of ['error', 'error-ls-open', 'permanent-error'] as const) {
        const rig = await ready();
        rig.fn.state = state;
        rig.message(0);
        expect(outcome(rig)).toEqual(['00000000', '00000000', []]);
        expect(rig.machine.takeInterrupts()).toEqual([]);
        rig.fn.state = 'enabled';
        rig.message(0);
        expect(outcome(rig)).toEqual(['80000000', '80000000', [5]]);
      }
    });

    it('the last bit of a vector, and that of the summary, may be the last of memory', async () => {
      const rig = await make();
      const end = rig.machine.memory.size;
      const register = (fields: object) => rig.mpcifc(2, { noi: 9, aibv: AIBV, aisb: AISB, ...fields });
      expect(register({ aibv: end - 2, aibvo: 7, noi: 10 })).toMatchObject({ cc: 1, status: 4 });
      expect(register({ aisb: end - 1, aisbo: 8 })).toMatchObject({ cc: 1, status: 4 });
      expect(register({ aibv: end - 2, aibvo: 7, aisb: end - 1, aisbo: 7 })).toMatchObject({ cc: 0 });
    });

    it('a handler is told when the access is done, and issues instructions as Linux does', async () => {
      const rig = await ready();
      const { machine } = rig;
      const told: unknown[] = [];
      machine.onAdapterInterrupt = ({ isc, slot }) => {
        // Scans and clears the summary, then asks for the next interrupt.
        const [summary] = machine.memory.read(AISB, 1);
        machine.memory.write(AISB, new Uint8Array(1));
        told.push([isc, slot, summary, machine.cpu.sic({ operation: 1, isc }).cc]);
        // A message that comes of what the handler does is the next interrupt, not one in between.
        if (told.length === 1) rig.message(1);
      };
      machine.cpu.sic({ operation: 1, isc: 5 });
      rig.message(0);
      expect(told).toEqual([
        [5, 0, 0x80, 0],
        [5, 0, 0x80, 0],
      ]);
      expect(machine.takeAdapterInterrupts()).toEqual([]);
      machine.onAdapterInterrupt = undefined;
      rig.message(2);
      expect(machine.takeAdapterInterrupts()).toHaveLength(1);
    });

    it('Z-INT-09: after SIC 1 the second interrupt waits for the next SIC 1; SIC 2 is an operand exception', async () => {
      const rig = await ready();
      const ring = (): unknown => {
        rig.machine.memory.write(AISB, new Uint8Array(1));
        rig.message(0);
        return outcome(rig)[2];
      };
      const sic = (operation: number) => rig.machine.cpu.sic({ operation, isc: 5 });
      expect([sic(1).cc, ring(), ring(), sic(1).cc, ring(), ring()]).toEqual([0, [5], [], 0, [5], []]);
      expect(sic(2)).toMatchObject({ programInterruption: { name: 'operand' } });
    });
  });
});
