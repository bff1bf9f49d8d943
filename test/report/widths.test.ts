/** What the comparison charges, and the input that it refuses. */
import { describe, expect, it } from 'vitest';
import { PATHS } from '../../src/index.js';
import { compareWidths, type WidthsInput, type WidthsRow } from '../../src/report/widths.js';

const COSTS = { instructionNs: 1000, exitNs: 50_000, syscallNs: 3000, hostOpNs: 700 };

async function row(path: WidthsRow['path'], options: WidthsInput['options'] = {}): Promise<WidthsRow> {
  const { rows } = await compareWidths({ paths: [path], size: 4096, options: { ...COSTS, ...options } });
  return rows[0] as WidthsRow;
}

describe('the comparison', () => {
  it.each(['kvm-qemu-vfio-w4', 'kvm-qemu-vfio-w8'] as const)(
    'charges %s with vfioMmap as the guest instructions that it is: once',
    async (path) => {
      const mapped = await row(path, { vfioMmap: true });
      const native = await row('x86-uc');
      expect(mapped).toMatchObject({ exits: 0, systemCalls: 0, guestInstructions: 512, hostOperations: 512 });
      expect(mapped.totalNs).toBe(native.totalNs);
      // Trapped, the same path pays for everything that happens.
      const { guestInstructions, exits, systemCalls, hostOperations, totalNs = 0 } = await row(path);
      const software =
        guestInstructions * COSTS.instructionNs +
        exits * COSTS.exitNs +
        systemCalls * COSTS.syscallNs +
        hostOperations * COSTS.hostOpNs;
      expect(totalNs).toBeGreaterThan(software);
      expect(totalNs - software).toBeLessThan(COSTS.hostOpNs);
    },
  );

  it('charges a path without exits and system calls its instructions alone', async () => {
    const { rows } = await compareWidths({ size: 4096, options: COSTS });
    for (const { path, exits, systemCalls, guestInstructions, totalNs = 0, wireNs = 0 } of rows) {
      if (exits > 0 || systemCalls > 0 || PATHS[path].write === null || totalNs === 0) continue;
      const software = guestInstructions * COSTS.instructionNs;
      expect(totalNs, path).toBeLessThanOrEqual(software + wireNs);
      expect(totalNs, path).toBeGreaterThanOrEqual(software);
    }
  });

  it.each<[object | null, string, string]>([
    [{ costs: 'toString' }, 'invalid-value', 'costs'],
    [{ costs: 'free' }, 'invalid-value', 'costs'],
    [{ sise: 64 }, 'unknown-name', 'input.sise'],
    [{ paths: 'x86-uc' }, 'invalid-value', 'paths'],
    [{ options: null }, 'invalid-value', 'options'],
    [{ options: { toString: 1 } }, 'unknown-name', 'toString'],
    [null, 'invalid-value', 'input'],
  ])('refuses %j', async (input, code, field) => {
    await expect(compareWidths(input as WidthsInput)).rejects.toMatchObject({
      name: 'ZtlpError',
      code,
      field,
    });
  });
});
