/** The examples about translation units: what they print. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, runNode } from '../support/cli.js';

describe('examples/no-snoop', () => {
  it('reads stale data, flushed data, and coherent data once the domain enforces it', async () => {
    const { code, stdout, stderr } = await runNode(join(ROOT, 'dist/examples/no-snoop.js'), []);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines.filter((line) => line.startsWith('  '))).toEqual([
      '  the device reads "2nd data", No Snoop clear',
      '  the device reads "1st data", No Snoop set',
      '  the device reads "2nd data", No Snoop set',
      '  the device reads "3rd data", No Snoop set',
    ]);
    expect(lines.filter((line) => /: (true|false|\d)/.test(line))).toEqual([
      'with a mapping that lacks SNP the domain cannot enforce: false',
      'without mappings it can: true; from now on each leaf has SNP',
      'reads that lost their No Snoop: 1, not coherent: 2',
    ]);
  });
});
