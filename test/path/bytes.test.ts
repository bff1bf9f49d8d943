/** Every path: which bytes its TLPs touch, and that they are legal. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PATH_IDS, PATHS, type PathId } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { coverage } from '../support/reference.js';
import { accessOf, PAGE, spanCoverage, split, VFIO_PATHS, WRITE_PATHS } from './support.js';

const READ_PATHS = PATH_IDS.filter((id) => PATHS[id].read !== null);

/** Paths that may make TLPs of more than two dwords (AP-02). */
const LONG_PATHS: ReadonlySet<PathId> = new Set([
  'x86-wc-line',
  'x86-movdir64b',
  'x86-enqcmd',
  'zpci-memcpy-old',
  'zpci-memcpy-new',
  'zpci-pcistb',
  'zpci-interpreted',
  'zpci-io-region',
  'zpci-vfio-ism',
  'zpci-mio',
]);

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  useBuild(variant);

  const EXCLUDED = fc.option(
    fc
      .tuple(fc.integer({ min: 0, max: PAGE + 100 }), fc.integer({ min: 1, max: 200 }))
      .map(([first, bytes]) => [first, first + bytes] as const),
    { nil: undefined },
  );

  it.each(WRITE_PATHS)(
    'AP-01 and AP-02 %s writes each byte once, but for dropped ones, in legal TLPs',
    (id) => {
      fc.assert(
        fc.property(accessOf(id), EXCLUDED, (access, excluded) => {
          const { offset, bytes } = access;
          const result = split(id, 'write', access, excluded === undefined ? {} : { excluded });
          // A refused instruction ends the access: what came before it was done.
          const end = result.fault === undefined ? offset + bytes : result.fault.offset;
          const done = end - offset;
          const enabled = coverage(result.tlps, offset, bytes);
          const dropped = spanCoverage(result.dropped, offset, bytes);
          const accessed = spanCoverage(result.accesses, offset, bytes);
          const hasTlps = id !== 'zpci-emulated';
          for (let n = 0; n < bytes; n++) {
            const at = offset + n;
            const isExcluded = excluded !== undefined && at >= excluded[0] && at < excluded[1];
            const drop = n < done && VFIO_PATHS.has(id) && isExcluded ? 1 : 0;
            const write = n < done && drop === 0 ? 1 : 0;
            if (dropped[n] !== drop || accessed[n] !== write || enabled[n] !== (hasTlps ? write : 0)) {
              throw new Error(
                `byte ${at}: ${enabled[n]} times in TLPs, ${accessed[n]} in accesses, ${dropped[n]} dropped`,
              );
            }
          }
          expect(result.totals.bytesDone).toBe(done);
          expect(result.filledFF).toEqual([]);
          for (const tlp of result.tlps) {
            expect(tlp.type).toBe(id === 'x86-enqcmd' ? 'DMWr' : 'MWr');
            expect((Number(tlp.address) % PAGE) + 4 * tlp.length).toBeLessThanOrEqual(PAGE);
            if (!LONG_PATHS.has(id)) expect(tlp.length).toBeLessThanOrEqual(2);
          }
        }),
        { numRuns: 120 },
      );
    },
  );

  it.each(READ_PATHS)('AP-02 %s reads every byte asked for, in legal TLPs', (id) => {
    fc.assert(
      fc.property(accessOf(id), (access) => {
        const { offset, bytes } = access;
        const result = split(id, 'read', access);
        const end = result.fault === undefined ? offset + bytes : result.fault.offset;
        // Loads of whole lines and TCG's aligned pairs read up to 63 bytes around the range.
        const around = coverage(result.tlps, offset - 64, bytes + 128);
        const hasTlps = id !== 'zpci-emulated';
        for (let at = offset; at < end; at++) {
          if (hasTlps && (around[at - offset + 64] ?? 0) < 1) throw new Error(`byte ${at} is never read`);
        }
        const isWider = id === 'x86-wc-line' || id === 'tcg-qemu-vfio-w4';
        const total = around.reduce((sum, count) => sum + count, 0);
        if (hasTlps && !isWider) expect(total).toBe(end - offset);
        for (const tlp of result.tlps) {
          expect(tlp.type).toBe('MRd');
          expect((Number(tlp.address) % PAGE) + 4 * tlp.length).toBeLessThanOrEqual(PAGE);
          // A load of 8 bytes at any byte offset may touch three dwords; only s390 has one.
          if (id !== 'x86-wc-line') expect(tlp.length).toBeLessThanOrEqual(id.startsWith('zpci') ? 3 : 2);
        }
        expect(result.dropped).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});
