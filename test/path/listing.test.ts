/** Listing and counting agree for every path, at any size and after any other access. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  countAccess,
  type OptionInput,
  PATH_IDS,
  PATHS,
  type PathId,
  splitAccess,
  splitRequest,
  type Tlp,
} from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { coverage } from '../support/reference.js';
import { accessOf, PAGE } from './support.js';

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  useBuild(variant);

  const EXCLUDED = fc.option(
    fc
      .tuple(fc.integer({ min: 0, max: PAGE + 100 }), fc.integer({ min: 1, max: 200 }))
      .map(([first, bytes]) => [first, first + bytes] as const),
    { nil: undefined },
  );

  const OPTIONS: fc.Arbitrary<OptionInput> = fc.record({
    mps: fc.constantFrom(128, 256, 4096),
    mrrs: fc.constantFrom(128, 512),
    writeSplit: fc.constantFrom('aligned', 'greedy'),
    readSplit: fc.constantFrom('aligned', 'greedy', 'cocotbext'),
    completionPolicy: fc.constantFrom('fewest', 'rcb'),
    wcChunkOrder: fc.constantFrom('ascending', 'descending'),
    vfioWidth: fc.constantFrom('split', 'split', 'preserve'),
    coalescedMmio: fc.boolean(),
  });

  const OP = fc.constantFrom('read', 'write');

  it.each(PATH_IDS)('%s counts what it lists', (id) => {
    fc.assert(
      fc.property(accessOf(id), OP, OPTIONS, EXCLUDED, (access, op, options, excluded) => {
        fc.pre(PATHS[id][op] !== null);
        const input = { op, ...access, options, ...(excluded === undefined ? {} : { excluded }) };
        const listed = splitAccess(id, input);
        expect(countAccess(id, input)).toEqual({ totals: listed.totals, fault: listed.fault });
        expect(listed.totals.requests).toBe(listed.tlps.length);
        const sum = (of: (tlp: Tlp) => number): number =>
          listed.tlps.reduce((total, tlp) => total + of(tlp), 0);
        expect(listed.totals.wireBytesDown).toBe(sum(({ wireBytes }) => wireBytes));
        expect(listed.totals.payloadBytesDown).toBe(sum(({ payloadBytes }) => payloadBytes));
        const last = listed.accesses.at(-1);
        const ofLast = (tlp: Tlp): number => {
          const first = Number(tlp.address) + Math.log2(tlp.firstBe & -tlp.firstBe);
          const isLast = last !== undefined && first >= last.offset && first < last.offset + last.bytes;
          return isLast ? tlp.wireBytes : 0;
        };
        expect(listed.totals.lastWireBytesDown).toBe(sum(ofLast));
        const answers = listed.totals.tlps - listed.totals.requests;
        if (op === 'read') expect(listed.totals.payloadBytesUp).toBe(sum(({ length }) => 4 * length));
        else expect(listed.totals.payloadBytesUp).toBe(0);
        expect(listed.totals.wireBytesUp).toBe(20 * answers + listed.totals.payloadBytesUp);
      }),
      { numRuns: 60 },
    );
  });

  it('a block of 1 MiB is listed whole, over many rings of TLPs and operations', () => {
    for (const op of ['write', 'read'] as const) {
      const input = {
        op,
        offset: 4,
        bytes: (1 << 20) - 8,
        block: true,
        options: { vfioGeneration: 1 },
      } as const;
      const listed = splitAccess('vfio-rw-w4', input);
      expect(listed.tlps.length).toBe((1 << 18) - 2);
      expect(listed.accesses.length).toBe((1 << 18) - 2);
      expect(listed.tlps.findIndex((tlp, n) => tlp.address !== 4 * n + 4 || tlp.length !== 1)).toBe(-1);
      expect(countAccess('vfio-rw-w4', input).totals).toEqual(listed.totals);
    }
  });

  it.each(['x86-uc', 'vfio-rw-w8', 'x86-enqcmd'] as const)(
    '%s answers the same whatever was listed before',
    (id) => {
      const input = {
        op: id === 'x86-enqcmd' ? 'write' : 'read',
        offset: 0,
        bytes: id === 'x86-enqcmd' ? 64 : 8,
      } as const;
      const first = splitAccess(id, input);
      splitRequest({ op: 'read', address: 0, bytes: 4, firstTag: 77 });
      expect(splitAccess(id, input)).toEqual(first);
    },
  );

  it('L-24 no TLP crosses 4 KiB of the bus, wherever the access stands in its page', () => {
    for (const [id, bytes] of [
      ['x86-uc', 8],
      ['x86-movdir64b', 64],
      ['x86-wc-line', 64],
      ['zpci-pcistb', 300],
    ] as const) {
      for (let offset = PAGE - 296; offset < PAGE; offset += 4) {
        const base = (offset % 8 === 0 ? 7 : 2 ** 28) * PAGE;
        const { tlps } = splitAccess(id, {
          op: 'write',
          offset,
          bytes,
          base,
          // Some of these are refused as instructions; their TLPs would obey the bus all the same.
          ignoreFaults: true,
          options: { writeSplit: 'greedy' },
        });
        expect(tlps.every((tlp) => (Number(tlp.address) % PAGE) + 4 * tlp.length <= PAGE)).toBe(true);
        expect(coverage(tlps, base + offset, bytes).every((count) => count === 1)).toBe(true);
      }
    }
  });

  it('the wire bytes of the last operation are its requests and its completions alone', () => {
    const last = (id: PathId, op: 'read' | 'write', offset: number, bytes: number): number[] => {
      const { totals } = splitAccess(id, { op, offset, bytes, base: 2 ** 40, block: true });
      return [totals.lastWireBytesDown, totals.lastWireBytesUp];
    };
    expect(last('vfio-rw-w8', 'write', 0, 12)).toEqual([28, 0]);
    expect(last('vfio-rw-w8', 'write', 0, 16)).toEqual([32, 0]);
    expect(last('vfio-rw-w8', 'read', 0, 16)).toEqual([24, 28]);
    expect(last('zpci-pcistb', 'write', 0, 512)).toEqual([560, 0]);
    expect(last('x86-wc-line', 'read', 0, 128)).toEqual([24, 84]);
    expect(last('x86-enqcmd', 'write', 0, 128)).toEqual([88, 20]);
  });

  it('an access without a fault has no fault offset, also after one that faulted', () => {
    const input = { op: 'write', offset: 0, bytes: 8 } as const;
    expect(splitAccess('arm64-device', { ...input, offset: 4 }).totals.faultOffset).toBe(4);
    expect(splitAccess('arm64-device', input).totals.faultOffset).toBe(0);
    expect(countAccess('x86-uc', input).totals.faultOffset).toBe(0);
  });
});
