/** The regression the project exists for: a 4 KiB PCISTB against 128-, 8- and 4-byte splits, on both builds. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type CoreSource,
  createMachine,
  type Machine,
  memoryDevice,
  type PciFunction,
} from '../../src/index.js';
import { runRegression } from '../../src/report/regress.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { ztlp } from '../support/cli.js';
import { ismLike } from '../support/models.js';

const WAYS = ['zpci-pcistb', 'zpci-memcpy-old', 'zpci-pcistg8', 'zpci-pcistg4'] as const;

describe('the report', () => {
  it.each([
    [128, 32],
    [256, 16],
    [512, 8],
    [4096, 1],
  ])(
    'Z-PATH-04, L-17, L-18: at MPS %i one PCISTB of 4 KiB is %i TLPs, the splits 32, 512 and 1024',
    async (mps, tlps) => {
      const report = await runRegression({ mps, cases: 20 });
      expect(report.rows.map(({ operations }) => operations)).toEqual([1, 32, 512, 1024]);
      expect(report.rows.map((row) => row.tlps)).toEqual([tlps, 32, 512, 1024]);
      expect(report.rows.map(({ wireBytes }) => wireBytes)).toEqual([4096 + 24 * tlps, 4864, 16384, 28672]);
      expect(report.rows.every(({ memoryEqual }) => memoryEqual)).toBe(true);
      expect(report.mismatches).toEqual([]);
      expect(report.refusals.map(({ actual, written }) => [actual, written])).toEqual(
        report.refusals.map(() => ['specification exception', false]),
      );
      expect(report.passed).toBe(true);
    },
  );

  it('is printed by ztlp regress, which exits 0', async () => {
    const { code, stdout } = await ztlp(['regress', '--cases', '10']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^1 PCISTB of 4096 +1 +16 +4,480 +yes$/m);
    expect(stdout).toMatch(/^1024 PCISTG of 4 +1,024 +1,024 +28,672 +yes$/m);
    expect(stdout.trimEnd().endsWith('passed')).toBe(true);
  });

  it('refuses an MPS without counts in the sheets', async () => {
    const { code, stderr } = await ztlp(['regress', '--mps', '2048']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/128, 256, 512, 4096/);
  });
});

describe.each(BUILDS)('on the %s core', (build) => {
  let machine: Machine;
  let fn: PciFunction;
  beforeAll(async () => {
    machine = await createMachine({
      core: (await readBuild(build)) as CoreSource,
      platform: 's390x',
      slots: [
        {
          device: memoryDevice({ bars: [{ size: 0x4000 }] }),
          options: { zpciMode: 'native', maxstbl: 4096, relaxed: true },
        },
      ],
    });
    fn = machine.functions[0] as PciFunction;
  });

  it('Z-PATH-10: every (offset, length) within 4 KiB leaves the same memory on all ways', () => {
    const memory = fn.barMemory(0);
    const where = fc
      .tuple(fc.nat(4095), fc.nat(3))
      .chain(([inPage, page]) =>
        fc.tuple(fc.constant(page * 4096 + inPage), fc.integer({ min: 1, max: 4096 - inPage })),
      );
    fc.assert(
      fc.property(where, fc.nat(255), ([offset, length], seed) => {
        const data = Uint8Array.from({ length }, (_, n) => (seed + 31 * n + (n >> 8)) & 0xff);
        const images = WAYS.map((path) => {
          memory.fill(0xee);
          const { fault } = machine.cpu.write({
            path,
            function: fn,
            bar: 0,
            offset,
            data,
            sourceAddress: offset,
          });
          expect(fault).toBeUndefined();
          return memory.slice();
        });
        const expected = new Uint8Array(memory.length).fill(0xee);
        expected.set(data, offset);
        for (const image of images) expect(Buffer.compare(image, expected)).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('every length and border of a small block leaves the same memory on all ways', () => {
    const memory = fn.barMemory(0);
    for (let offset = 0; offset <= 9; offset++) {
      for (const length of [
        1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 63, 64, 65, 127, 128, 129, 136, 255, 256, 257,
      ]) {
        const data = Uint8Array.from({ length }, (_, n) => (offset * 7 + n + 1) & 0xff);
        for (const path of WAYS) {
          memory.fill(0, 0, 512);
          machine.cpu.write({ path, function: fn, bar: 0, offset, data, sourceAddress: offset });
          expect(Buffer.compare(memory.subarray(offset, offset + length), data)).toBe(0);
          expect(memory.subarray(0, offset).some((byte) => byte !== 0)).toBe(false);
          expect(memory.subarray(offset + length, 512).some((byte) => byte !== 0)).toBe(false);
        }
      }
    }
  });

  it('ISM-PATH-02: a function of PCISTB and PCILG takes the block, and refuses all 1024 PCISTG of the split', async () => {
    const ism = await createMachine({
      core: (await readBuild(build)) as CoreSource,
      platform: 's390x',
      slots: [{ device: ismLike(), options: { zpciMode: 'native', maxstbl: 4096, relaxed: true } }],
    });
    const dmb = ism.functions[0] as PciFunction;
    const data = Uint8Array.from({ length: 4096 }, (_, n) => (n * 29 + (n >> 8) + 1) & 0xff);
    const memory = dmb.barMemory(0).subarray(0, 4096);
    const block = { path: 'zpci-pcistb', function: dmb, bar: 0, offset: 0, data } as const;
    // The split stops at its first store; software that goes on fares no better.
    const first = ism.cpu.write({ ...block, path: 'zpci-pcistg4' });
    expect([first.fault?.offset, first.totals.tlps]).toEqual([0, 0]);
    for (let offset = 0; offset < 4096; offset += 4) {
      const part = data.subarray(offset, offset + 4);
      expect(ism.cpu.write({ ...block, path: 'zpci-pcistg4', offset, data: part }).fault).toMatchObject({
        kind: 'zpci',
        offset,
        answer: { programInterruption: { name: 'operand' } },
      });
    }
    expect(memory.every((byte) => byte === 0)).toBe(true);
    expect(dmb.instance?.stats).toEqual({ policyViolations: 1025 });
    expect(ism.stats(dmb)).toMatchObject({ stores: 0, tlps: 0 });
    expect(ism.cpu.write(block).fault).toBeUndefined();
    expect(Buffer.compare(memory, data)).toBe(0);
    expect(ism.stats(dmb)).toMatchObject({ storeBlocks: 1, tlps: 16 });
  });
});
