/** The linkTrace vectors: what the judgement holds, and what it tells apart. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type AnyCase, BUILDS, casesOf, readVectors, runCases, runChanged, useCore } from './support.js';

const FORMAT = 'tlp-vectors/1';
const GROUP = 'linkTrace';

describe.each(BUILDS)('linkTrace on the %s core', (build) => {
  let cases: AnyCase[];

  beforeAll(async () => {
    await useCore(build);
    cases = casesOf(await readVectors('tlp-cocotbext-pcie.json'), GROUP);
  });

  it('LNK-06 every generation and width: order, headers, bytes and times of all packets', () => {
    expect(new Set(cases.map(({ gen, width }) => `gen${gen}x${width}`)).size).toBe(12);
    expect(runCases(FORMAT, GROUP, cases)).toMatchObject({ groups: [{ cases: 12, agree: 12 }] });
  });

  const changes: readonly (readonly [string, (copy: AnyCase) => void])[] = [
    ['two packets of one direction in the other order', ({ events }) => events.reverse()],
    [
      'another sequence number',
      ({ events }) => {
        events[0][3]++;
      },
    ],
    [
      'another header',
      ({ events }) => {
        events[0][4] = events[0][4].replace('ff', 'fe');
      },
    ],
    [
      'another payload',
      ({ events }) => {
        events[0][5]++;
      },
    ],
    [
      'another byte in a DLLP',
      ({ events }) => {
        const dllp = events.find((event: unknown[]) => event[2] === 'DLLP');
        dllp[3] = dllp[3].replace(/.$/, (digit: string) => (digit === '0' ? '1' : '0'));
      },
    ],
    ['a packet less at the end', ({ events }) => events.pop()],
    ['a packet less at the start', ({ fcInitStart }) => fcInitStart.shift()],
    [
      'a packet half a nanosecond late',
      ({ events }) => {
        events.at(-1)[0] += 500_000;
      },
    ],
    [
      'an operation of another size',
      ({ ops }) => {
        ops[0][1] = 'ep mem_write base+0 60';
      },
    ],
    [
      'another end',
      (copy) => {
        copy.end += 1_000_000;
      },
    ],
    [
      'another link',
      (copy) => {
        copy.width = copy.width === 1 ? 4 : 1;
      },
    ],
    [
      'another delay',
      (copy) => {
        copy.portDelayFs *= 2;
      },
    ],
  ];

  it.each(changes)('finds %s', (_what, change) => {
    for (const original of cases)
      expect(runChanged(FORMAT, GROUP, original, change)).toMatchObject({
        groups: [{ cases: 3, agree: 2, disagree: 1 }],
      });
  });

  it('takes start times that are 1 ps per packet apart', () => {
    const report = runChanged(FORMAT, GROUP, cases[0] as AnyCase, ({ events }) => {
      for (const event of events) event[0] += 20_000;
    });
    expect(report).toMatchObject({ groups: [{ cases: 3, agree: 3 }] });
  });

  const broken: readonly (readonly [string, RegExp, (copy: AnyCase) => void])[] = [
    [
      'an operation nobody knows',
      /ops:/,
      ({ ops }) => {
        ops[0][1] = 'ep io_write base+0 4';
      },
    ],
    [
      'a time that is none',
      /events:/,
      ({ events }) => {
        events[0][0] = -1;
      },
    ],
    [
      'a direction that is none',
      /events:/,
      ({ events }) => {
        events[0][1] = 'left';
      },
    ],
    [
      'a link that is none',
      /link:/,
      (copy) => {
        copy.gen = 9;
      },
    ],
    [
      'a delay of hours',
      /portDelayFs:/,
      (copy) => {
        copy.portDelayFs = 1e19;
      },
    ],
    [
      'a field nobody knows',
      /"nak"/,
      (copy) => {
        copy.nak = 1;
      },
    ],
  ];

  it.each(broken)('counts a case with %s as disagreeing', (_what, message, change) => {
    const { disagreements } = runChanged(FORMAT, GROUP, cases[0] as AnyCase, change);
    expect(disagreements).toHaveLength(1);
    expect(disagreements[0]?.actual).toMatch(message);
  });
});
