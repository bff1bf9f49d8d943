/** Simulated time beside the formulas: `widths` and `replay` with `timed`. */
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/index.js';
import { type ReplaySummary, replayFile } from '../../src/report/replay.js';
import { formatReplay } from '../../src/report/replay-text.js';
import { PLAIN } from '../../src/report/style.js';
import { compareWidths, type WidthsInput, type WidthsRow } from '../../src/report/widths.js';
import { formatWidths } from '../../src/report/widths-text.js';

const NVME = new URL('../vectors/traces/nvme-e1000e-linux61.mmiotrace.txt', import.meta.url).pathname;
const S390 = new URL('../vectors/trace-linux-s390x-virtio-net.log', import.meta.url).pathname;

async function row(path: WidthsRow['path'], input: WidthsInput = {}): Promise<WidthsRow> {
  const { rows } = await compareWidths({ paths: [path], timed: true, ...input });
  return rows[0] as WidthsRow;
}

describe('the comparison in simulated time', () => {
  it('does what every path does, and is never faster than the wire', async () => {
    for (const op of ['write', 'read'] as const) {
      const { rows } = await compareWidths({ op, size: 256, timed: true });
      for (const { path, timed, fault, notApplicable, wireNs = 0 } of rows) {
        if (fault !== undefined || notApplicable !== undefined) expect(timed, path).toBeUndefined();
        else if (op === 'write') expect(timed?.ns, path).toBeGreaterThanOrEqual(wireNs);
        // Requests and completions go at the same time.
        else expect(timed?.ns, path).toBeGreaterThanOrEqual(wireNs / 2);
      }
    }
  });

  it('L-18: is the wire law and the latency where nothing stalls', async () => {
    const { timed, totalNs = 0 } = await row('zpci-pcistb');
    expect(timed).toMatchObject({ ns: totalNs + 75, cpuNs: 0, stalls: 0, replayed: 0 });
    expect(timed?.gbps).toBeCloseTo((8 * 4096) / (568.75 + 75), 6);
  });

  it('shows where credits hold small stores back', async () => {
    const { timed, totalNs = 0 } = await row('zpci-pcistg8');
    expect(timed?.stalls).toBeGreaterThan(0);
    expect(timed?.ns).toBeGreaterThan(2 * totalNs);
    const more = await row('zpci-pcistg8', { options: { credits: 'cocotbext' } });
    expect(more.timed?.ns).toBeLessThan(timed?.ns as number);
  });

  it('charges loads that wait as the formula does', async () => {
    const { timed, totalNs } = await row('x86-uc', { op: 'read', size: 64 });
    expect(timed?.ns).toBe(totalNs);
  });

  it('charges software', async () => {
    const { timed } = await row('zpci-pcistg4', { costs: 'example' });
    expect(timed?.cpuNs).toBe(102_400);
  });

  it('has a table of its own', async () => {
    const report = await compareWidths({ paths: ['zpci-pcistb', 'x86-uc'], timed: true });
    expect(formatWidths(report, PLAIN)).toContain('In simulated time');
    const without = await compareWidths({ paths: ['zpci-pcistb'] });
    expect(formatWidths(without, PLAIN)).not.toContain('In simulated time');
  });

  it.each<[object, string]>([
    [{ timed: 'yes' }, 'timed'],
    [{ timed: true, size: 2 << 20 }, 'size'],
    [{ options: { credits: 'cocotbext' } }, 'credits'],
    [{ timed: true, options: { hostReadNs: 5 } }, 'hostReadNs'],
  ])('refuses %o', async (input, field) => {
    await expect(compareWidths(input as WidthsInput)).rejects.toMatchObject({ field });
  });
});

describe('a replay in simulated time', () => {
  it('times every access of a trace', async () => {
    const summary = await replayFile(NVME, { timed: true });
    const { timed, accesses } = summary;
    expect(timed).toMatchObject({ link: 'gen3x8', timed: accesses, untimed: 0, replayed: 0 });
    // Each load waits for the latency both ways and the service.
    expect(timed?.loadNs).toBeGreaterThanOrEqual(summary.reads * 180);
    expect(formatReplay(summary, PLAIN)).toContain('in simulated time, all on one gen3x8 link');
    const slow = await replayFile(NVME, { timed: true, link: 'gen1x1', options: { linkLatencyNs: 500 } });
    expect(slow.timed?.ns).toBeGreaterThan(timed?.ns as number);
    const untimed = (one: ReplaySummary): object => {
      const { timed: _, byPhase, ...rest } = one;
      return { ...rest, byPhase: byPhase.map((phase) => ({ ...phase, cpuNs: undefined })) };
    };
    expect(untimed(slow)).toEqual(untimed(summary));
  });

  it('tells how long each phase takes of the processor', async () => {
    const { byPhase, timed } = await replayFile(NVME, { timed: true });
    const sum = byPhase.reduce((ns, phase) => ns + (phase.cpuNs ?? 0), 0);
    expect(sum).toBeCloseTo(timed?.cpuNs as number, 3);
    // Every load waits for latency both ways and service, at least; stores leave without waiting.
    for (const { reads, cpuNs = 0 } of byPhase) expect(cpuNs).toBeGreaterThanOrEqual(reads * 180);
    const [first] = byPhase;
    expect(first).toMatchObject({ mark: 'load nvme', reads: 28 });
    expect(first?.cpuNs).toBeLessThan(28 * 300);
  });

  it('takes instructions of s390x', async () => {
    const { timed, accesses } = await replayFile(S390, { timed: true });
    expect((timed?.timed as number) + (timed?.untimed as number)).toBe(accesses);
    expect(timed?.utilisationDown).toBeGreaterThan(0);
  });

  it.each([
    [{ link: 'gen3x8' }, 'link'],
    [{ timed: true, link: 'gen9x1' }, 'link'],
    [{ timed: true, options: { hostReadNs: 1 } }, 'hostReadNs'],
    [{ options: { linkLatencyNs: 1 } }, 'linkLatencyNs'],
  ])('refuses %o', async (options, field) => {
    const error = await replayFile(NVME, options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ZtlpError);
    expect(error).toMatchObject({ field });
  });
});
