/** `ztlp bandwidth` as people meet it: the table, JSON, narrow terminals, wrong calls. */
import { describe, expect, it } from 'vitest';
import { ztlp } from '../support/cli.js';

describe('ztlp bandwidth', () => {
  it('prints a row per size, with the wire law of L-04 and L-07, and what the columns mean', async () => {
    const { code, stdout, stderr } = await ztlp(['bandwidth']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Writes on gen3x8 \(63\.015 Gb\/s raw\), MPS 256, 4 DW headers$/m);
    expect(stdout).toMatch(/^ +64 +1 +88 +45\.829 +5\.729 +89\.510 +72\.7 +wire +45\.829$/m);
    expect(stdout).toMatch(/^ +256 +1 +280 +57\.614 +7\.202 +28\.132 +91\.4 +wire +57\.614$/m);
    expect(stdout.match(/^ *[\d,]+ +\d+ +[\d,]+ /gm)).toHaveLength(11);
    expect(stdout).toContain('limit: the lowest bound');
  });

  it('gives the same as JSON, with every key in every row', async () => {
    const { code, stdout } = await ztlp(['bandwidth', '--json', '--op', 'read', '--preset', 'hsw2620']);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({
      op: 'read',
      link: 'gen3x8',
      preset: 'hsw2620',
      tags: 34,
      latencyNs: 550,
      model: null,
    });
    expect(report.rows).toHaveLength(43);
    const keys = Object.keys(report.rows[0]);
    for (const row of report.rows) expect(Object.keys(row)).toEqual(keys);
    const row = report.rows.find(({ size }: { size: number }) => size === 64);
    expect(row).toMatchObject({ bound: 'tags', model: null, measured: { gbps: 32.019 } });
  });

  it('puts a model and a measured host beside it, and says what is wrong with the model', async () => {
    const args = ['bandwidth', '--preset', 'bdw', '--model', 'pcie-bench', '--size', '256'];
    const { stdout } = await ztlp(args);
    expect(stdout).toMatch(/^ 256 .* wire +57\.614 +52\.923 +-8\.1 +50\.488 +-12\.4$/m);
    expect(stdout).toContain('with its known errors');
    expect(stdout).toContain('pcie-bench/data');
    const narrow = await ztlp(args, { env: { COLUMNS: '60' } });
    for (const line of narrow.stdout.split('\n').slice(1)) expect(line.length).toBeLessThanOrEqual(60);
  });

  it('is quiet when asked, and takes sizes with units', async () => {
    const { code, stdout } = await ztlp(['bandwidth', '--quiet']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    const sized = await ztlp(['bandwidth', '--size', '4k', '--size', '0x40', '--json', '--quiet']);
    expect(JSON.parse(sized.stdout).rows.map(({ size }: { size: number }) => size)).toEqual([64, 4096]);
  });

  it.each<[string[], RegExp]>([
    [['--link', 'gen8x1'], /gen1 to gen7/],
    [['--op', 'copy'], /write, read, both/],
    [['--preset', 'hsw262'], /did you mean hsw2620/],
    [['--preset', 'bdw', '--link', 'gen4x8'], /gen3x8, with preset bdw/],
    [['--tags', '8'], /only reads hold tags/],
    [['--latency', '-1', '--op', 'read'], /a time in ns/],
    [['--latency', '0', '--op', 'read'], /above 0/],
    [['--link', 'gen6x4', '--model', 'pcie-bench'], /guesses for flits/],
    [['--link', 'gen6x4', '--skp', 'on'], /no source gives the interval/],
    [['--skp', 'on', '--skp-interval', '99'], /370 to 375/],
    [['--mps', '128', '--option', 'mps=256'], /given as 256 and as 128/],
    [['--mrrs', '128'], /bandwidth of writes does not use/],
    [['--option', 'tags=32'], /tags: the bandwidth of writes does not use this option/],
    [['--size', '2M'], /at most 1048576/],
    [['--mps', '100'], /128, 256/],
    [['--model', 'gem5'], /pcie-bench/],
    [['more'], /too many arguments/],
  ])('refuses %j in one line with exit code 2', async (args, pattern) => {
    const { code, stdout, stderr } = await ztlp(['bandwidth', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^ztlp: [^\n]*\n$/);
    expect(stderr).toMatch(pattern);
  });
});
