/** VT-d: whatever tables and descriptors hold, a request ends with an answer, and nothing outside RAM is read or written. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import * as L from '../../assembly/layout.js';
import { defaultOptions } from '../../src/base/options.js';
import type { Core } from '../../src/core/core.js';
import { VtdRegisters } from '../../src/iommu/vtd-registers.js';
import { VtdUnit } from '../../src/iommu/vtd-unit.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { CAP_FIRST, ECAP_FIRST } from './scalable-lab.js';
import { CAP, ECAP, MEMORY, SC, SMTS, UnitLab } from './unit-lab.js';

/** RAM begins and ends within host memory: what lies around it is marked, and must stay so. */
const FIRST = 0x1_0000;
const END = 0x2_0000;
const PAGES = (END - FIRST) / 4096;
const MARK = 0x5a5a_5a5a;
const ABORT = 1n << 52n;
/** All capabilities, those of the reference, and those of small units. */
const UNITS = [
  { cap: CAP_FIRST | (31n << 8n), ecap: ECAP_FIRST | SC | ABORT },
  { cap: CAP_FIRST | (2n << 8n), ecap: ECAP_FIRST },
  { cap: CAP, ecap: ECAP | SMTS },
  { cap: CAP & ~(3n << 34n), ecap: ECAP },
] as const;

describe.each(BUILDS)('a VT-d unit with hostile tables on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });

  /** Fills RAM with entries that lead to each other, to its borders and nowhere; `seed` decides. */
  const fill = (seed: number, density: number): (() => number) => {
    const words = core.u32.subarray(
      core.at(L.PLACE_HOST_MEMORY) >> 2,
      (core.at(L.PLACE_HOST_MEMORY) + MEMORY) >> 2,
    );
    words.fill(MARK);
    let state = seed | 1;
    const draw = (): number => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state >>> 0;
    };
    const targets = [FIRST - 4096, END - 4096, END, 0, 0x8000_0000];
    for (let at = FIRST; at < END; at += 8) {
      const isWild = draw() % 100 < density;
      const page =
        draw() % 8 === 0 ? (targets[draw() % targets.length] as number) : FIRST + (draw() % PAGES) * 4096;
      // Most entries are present, and lead on; some are only noise.
      const low = isWild ? draw() : page | (draw() & 0x67f) | 7;
      const high = isWild ? draw() : draw() % 16 === 0 ? draw() : 0;
      words[at >> 2] = low;
      words[(at >> 2) + 1] = high;
    }
    if (draw() % 2 === 0) shape(words, draw);
    return draw;
  };

  /** Root, contexts, directory and PASID table of scalable mode in the first four pages, so that walks get further. */
  const shape = (words: Uint32Array, draw: () => number): void => {
    const put = (at: number, low: number, high = 0): void => {
      words[at >> 2] = low;
      words[(at >> 2) + 1] = high;
    };
    for (let at = 0; at < 4096; at += 8) {
      put(FIRST + at, (FIRST + 4096) | 1);
      put(FIRST + 4096 + at, at % 32 === 0 ? (FIRST + 8192) | 0xd : 0);
      put(FIRST + 8192 + at, (FIRST + 12_288) | 1);
      const tables = FIRST + (4 + (draw() % (PAGES - 4))) * 4096;
      const word = (at / 8) % 8;
      if (word === 0)
        put(FIRST + 12_288 + at, tables | ((1 + (draw() % 4)) << 6) | (2 << 2) | (draw() & 0x200) | 1);
      else
        put(
          FIRST + 12_288 + at,
          word === 1 ? (1 << 23) | (draw() & 3) : word === 2 ? tables | (draw() & 1) : 0,
        );
    }
  };

  const isMarked = (): boolean => {
    const base = core.at(L.PLACE_HOST_MEMORY) >> 2;
    for (let at = 0; at < 0x3_0000; at += 4)
      if ((at < FIRST || at >= END) && core.u32[base + (at >> 2)] !== MARK) return false;
    return true;
  };

  const run = fc.record({
    seed: fc.integer(),
    density: fc.constantFrom(0, 5, 50, 100),
    which: fc.nat(UNITS.length - 1),
    root: fc.oneof(fc.tuple(fc.nat(PAGES), fc.nat(3)), fc.constant([0, 1] as [number, number])),
    vtdModel: fc.constantFrom('spec', 'spec', 'qemu72'),
    iotlbKey: fc.constantFrom('domain', 'requester'),
    hostWidth: fc.constantFrom(36, 48, 52),
  });
  type Run = typeof run extends fc.Arbitrary<infer T> ? T : never;

  const unitOf = ({ which, root: [page, mode], vtdModel, iotlbKey, hostWidth }: Run): VtdUnit => {
    core.x.unitMemory(FIRST, 0, END, 0, 0, 0);
    const { cap, ecap } = UNITS[which] as (typeof UNITS)[number];
    const options = { ...defaultOptions(), vtdModel, iotlbKey, iotlbEntries: 8 } as const;
    const unit = new VtdUnit(core, 0, { cap, ecap, hostWidth }, options);
    unit.rootTable = BigInt(FIRST + page * 4096) | (BigInt(mode) << 10n);
    unit.isOn = true;
    return unit;
  };

  it('answers every request, reads only RAM, and writes nothing else', () => {
    const paths = new Set<string>();
    fc.assert(
      fc.property(run, (input) => {
        const draw = fill(input.seed, input.density);
        const unit = unitOf(input);
        for (let n = 0; n < 24; n++) {
          // Mostly addresses that tables can have, in both halves of the first stage.
          const high = n % 4 === 0 ? draw() : draw() & 0x7fff;
          const half = n % 4 === 1 ? 0xffff_8000_0000_0000n : 0n;
          const address = half | (BigInt(high >>> 0) << 32n) | BigInt(draw());
          const pasid = draw() % 3 === 0 ? { pasid: draw() % (n % 2 === 0 ? 64 : 0x10_0000) } : {};
          const answer = unit.translate({
            sid: draw() & 0xffff,
            ...pasid,
            address,
            isWrite: draw() % 2 === 0,
            isPrivileged: draw() % 4 === 0,
            at:
              (['untranslated', 'untranslated', 'translation', 'translated'] as const)[draw() % 4] ??
              'untranslated',
            noWrite: draw() % 2 === 0,
          });
          paths.add(answer.kind === 'translated' ? answer.path : answer.kind);
          const { steps } = unit;
          expect(steps.length).toBeLessThan(64);
          for (const [at, step] of steps.entries()) {
            const isInside = BigInt(step.address) >= BigInt(FIRST) && BigInt(step.address) <= BigInt(END - 8);
            // What is outside answers with a bus error, which ends the walk.
            if (!isInside) expect([step.entry, at]).toEqual([0, steps.length - 1]);
          }
        }
        expect(isMarked()).toBe(true);
      }),
      { numRuns: 400 },
    );
    for (const path of ['first-stage', 'second-stage', 'nested', 'pass-through', 'translated', 'fault'])
      expect([path, paths.has(path)]).toEqual([path, true]);
  });

  it('takes any registers and any queue, and comes to an end', () => {
    let queues = 0;
    fc.assert(
      fc.property(run, (input) => {
        const draw = fill(input.seed, input.density);
        const unit = unitOf(input);
        const base = core.at(L.PLACE_HOST_MEMORY);
        const word = (at: number): bigint => BigInt(core.u32[(base + at) >> 2] as number);
        const isRam = (at: bigint, bytes: bigint): boolean =>
          at >= BigInt(FIRST) && at + bytes <= BigInt(END);
        const registers = new VtdRegisters({
          unit,
          memory: {
            read64: (at) => (isRam(at, 8n) ? (word(Number(at) + 4) << 32n) | word(Number(at)) : undefined),
            write64: (at, value) => {
              expect(at % 8n).toBe(0n);
              if (isRam(at, 8n))
                for (const half of [0, 4])
                  core.u32[(base + Number(at) + half) >> 2] = Number(
                    (value >> BigInt(8 * half)) & 0xffff_ffffn,
                  );
              return isRam(at, 8n);
            },
          },
        });
        // A queue of descriptors that mean something here and there.
        for (let at = FIRST; at < FIRST + 4096; at += 16)
          if (draw() % 8 !== 0) {
            core.u32.fill(0, (base + at) >> 2, (base + at + 16) >> 2);
            core.u32[(base + at) >> 2] = (draw() % 12) | ((draw() & 3) << 4);
          }
        registers.write(0x90, 8, BigInt(FIRST) | BigInt(draw() & 0x803));
        registers.write(0x18, 4, 2 ** 26);
        for (let n = 0; n < 40; n++) {
          if (draw() % 2 === 0) registers.write(0x88, 8, draw() & 0x1ff0);
          else registers.write((draw() % 0x100) & ~7, 8, (BigInt(draw()) << 32n) | BigInt(draw()));
          if (draw() % 4 === 0) registers.write(0x34, 4, 0x11);
          if (Number(registers.read(0x80, 8)) > 0) queues += 1;
        }
        expect(isMarked()).toBe(true);
      }),
      { numRuns: 200 },
    );
    expect(queues).toBeGreaterThan(100);
  });
});
