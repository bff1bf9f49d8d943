// Enumeration of functions that are broken: chains that loop, BARs with gaps, random registers. The walk ends.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { ConfigModel } from '../../src/pci/config-model.js';
import { enumerate } from '../../src/pci/enumerate.js';
import type { ConfigPort } from '../../src/pci/probe.js';
import { one, portOf } from './bus.js';
import { space } from './dumps.js';

const MEMORY = { base: 0xe000_0000, size: 0x1000_0000 };

describe('broken functions', () => {
  const raw = (words: readonly (readonly [number, number])[]): ConfigModel =>
    new ConfigModel(space(4096, [[0x00, 0x0001_1234], [0x04, 0x0010_0000], ...words]));
  const problems = (model: ConfigModel): readonly string[] =>
    enumerate(portOf({ 0: one(model) }), { memory: MEMORY })[0]?.problems ?? [];

  it('have chains that loop', () => {
    const loop = [
      [0x34, 0x40],
      [0x40, 0x0000_5001],
      [0x50, 0x0000_4010],
    ] as const;
    expect(problems(raw(loop))).toEqual([
      'capabilities: pointer 0x40 at 0x51 leads back: the chain is a loop',
    ]);
    expect(
      problems(
        raw([
          [0x34, 0x40],
          [0x40, 0x0010],
          [0x100, 0x2001_0001],
          [0x200, 0x1001_0003],
        ]),
      ),
    ).toEqual(['extended capabilities: pointer 0x100 at 0x200 leads back: the chain is a loop']);
  });

  it('have chains that lead nowhere', () => {
    expect(problems(raw([[0x34, 0x20]]))).toHaveLength(1);
    // Bits 1:0 of a pointer are reserved: software masks them (PCI local bus specification 3.0, 6.7).
    expect(problems(raw([[0x34, 0x41]]))).toEqual([]);
    expect(problems(raw([[0x34, 0x21]]))).toHaveLength(1);
    expect(
      problems(
        raw([
          [0x34, 0x40],
          [0x40, 0x0010],
          [0x100, 0x2001_0001],
        ]),
      ),
    ).toEqual(['extended capabilities: capability at 0x200 reads as 0x0']);
  });

  it('have BARs whose bits have gaps, and random ones: the walk ends', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 64, maxLength: 64 }),
        fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 64, maxLength: 64 }),
        (words, masks) => {
          const state = [...words];
          // Any register, any writable bits; a type 0 header, so that there is one bus.
          state[0] = 0x0001_1234;
          state[3] = (state[3] as number) & 0x00ff_ffff & ~0x00ff_0000;
          masks[3] = 0;
          masks[0] = 0;
          const port: ConfigPort = {
            read: (at, offset, width) =>
              at !== 0
                ? 2 ** (8 * width) - 1
                : width === 4
                  ? (state[(offset >> 2) % 64] as number) >>> 0
                  : ((state[(offset >> 2) % 64] as number) >>> (8 * (offset & 3))) & (2 ** (8 * width) - 1),
            write: (at, offset, value, width) => {
              if (at !== 0 || width !== 4) return;
              const mask = masks[(offset >> 2) % 64] as number;
              const old = state[(offset >> 2) % 64] as number;
              state[(offset >> 2) % 64] = ((old & ~mask) | (value & mask)) >>> 0;
            },
          };
          const run = (): unknown => enumerate(port, { memory: { base: 0, size: 2 ** 32 } });
          try {
            run();
          } catch (error) {
            expect(error).toBeInstanceOf(ZtlpError);
            expect((error as ZtlpError).code).toBe('resource');
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
