/** Every path: which bytes its TLPs touch, and that they are legal. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PATH_IDS, PATHS, type PathId, type Span, splitAccess, type Tlp } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { coverage, label, labels, requestFor } from '../support/reference.js';
import { accessOf, LINE_PATHS, PAGE, spanCoverage, split, VFIO_PATHS, WRITE_PATHS } from './support.js';

const READ_PATHS = PATH_IDS.filter((id) => PATHS[id].read !== null);

/** Paths with PCISTB, whose blocks are of any length. */
const BLOCK_PATHS: ReadonlySet<PathId> = new Set([
  'zpci-memcpy-old',
  'zpci-memcpy-new',
  'zpci-pcistb',
  'zpci-interpreted',
  'zpci-io-region',
  'zpci-vfio-ism',
  'vfio-ism-rw',
  'zpci-mmio-call',
  'zpci-mio',
]);

/**
 * AP-02: DWs that a TLP of one access may have. Whole lines of write-combining, MOVDIR64B and ENQCMD: 16. Store blocks:
 * any. Everything else at most 2. One exception that the sheet does not name: a PCI instruction of up to 8 bytes is one
 * TLP at any byte offset, so that 8 bytes off a multiple of 4 are 3.
 */
function mayHave(id: PathId, { offset, bytes }: Span): readonly number[] {
  if (LINE_PATHS.has(id)) return [16];
  if (id === 'x86-wc-line') return bytes === 64 ? [16] : [1, 2];
  if (!id.startsWith('zpci') && id !== 'vfio-ism-rw') return [1, 2];
  if (BLOCK_PATHS.has(id) && bytes > 8) return Array.from({ length: 1024 }, (_, n) => n + 1);
  return [requestFor({ at: offset, bytes }).length];
}

/** The access of `accesses` that a request belongs to, by its first enabled byte. */
function ownerOf(accesses: readonly Span[], { address, firstBe }: Tlp): Span {
  const first = Number(address) + Math.log2(firstBe & -firstBe);
  const owner = accesses.find(({ offset, bytes }) => first >= offset && first < offset + bytes);
  if (owner === undefined) throw new Error(`no access holds byte ${first}`);
  return owner;
}

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
            const owner = ownerOf(result.accesses, tlp);
            if (!mayHave(id, owner).includes(tlp.length))
              throw new Error(`${label(tlp)} of ${owner.bytes} bytes at ${owner.offset}`);
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
          const owner = ownerOf(result.accesses, tlp);
          if (!mayHave(id, owner).includes(tlp.length))
            throw new Error(`${label(tlp)} of ${owner.bytes} bytes at ${owner.offset}`);
        }
        expect(result.dropped).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('AP-02 an 8-byte PCISTG or PCILG off a multiple of 4 is one TLP of three dwords, at no other place', () => {
    for (const op of ['write', 'read'] as const) {
      for (let offset = 0; offset < 24; offset++) {
        const input = { op, offset, bytes: 8, block: true } as const;
        const tlps = labels(splitAccess('zpci-memcpy-new', input).tlps);
        expect(tlps).toEqual([label(requestFor({ at: offset, bytes: 8 }))]);
        expect(tlps[0]?.includes(':3/')).toBe(offset % 4 !== 0);
      }
    }
  });
});
