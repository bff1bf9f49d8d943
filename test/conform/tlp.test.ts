/** Changed TLP vectors are found: each field of each group counts, and only the documented deviation passes. */
import { beforeAll, describe, expect, it, test } from 'vitest';
import type { FileReport } from '../../src/conform/index.js';
import { encodeDllp } from '../../src/tlp/dllp.js';
import {
  type AnyCase,
  BUILDS,
  casesOf,
  readVectors,
  runCases,
  runChanged,
  useCore,
  type VectorFile,
} from './support.js';

const FORMAT = 'tlp-vectors/1';
const RULE = /^zero-length read: Lower Address/;

let vectors: VectorFile;

beforeAll(async () => {
  vectors = await readVectors('tlp-cocotbext-pcie.json');
});

/** The first case of a group for which `matches` holds. */
function find(group: string, matches: (entry: AnyCase) => boolean): AnyCase {
  const found = casesOf(vectors, group).find(matches);
  if (found === undefined) throw new Error(`${group} has no such case`);
  return found;
}

/** `hex` with one bit of byte `at` flipped. */
function flipped(hex: string, at: number, bit = 1): string {
  const bytes = Buffer.from(hex, 'hex');
  bytes[at] = (bytes[at] ?? 0) ^ bit;
  return bytes.toString('hex');
}

/** Another value of the same kind as `value`. */
function other(value: unknown): unknown {
  if (value === 'P') return 'NP';
  if (value === 'NP' || value === 'CPL') return 'P';
  if (typeof value === 'number') return value === 0 ? 1 : value - 1;
  if (typeof value === 'string' && value.startsWith('0x')) return `0x${(BigInt(value) ^ 4n).toString(16)}`;
  return flipped(String(value), 0, 0x10);
}

/** Exactly the middle case of three disagrees. */
function expectOnlyMiddle(report: FileReport, group: string): FileReport['disagreements'][number] {
  expect(report.groups).toEqual([{ name: group, cases: 3, agree: 2, documented: 0, disagree: 1 }]);
  expect(report.disagreements).toHaveLength(1);
  const [first] = report.disagreements;
  expect(first).toMatchObject({ id: `${group}#1`, group });
  return first as FileReport['disagreements'][number];
}

describe.each(BUILDS)('%s core', (build) => {
  beforeAll(() => useCore(build));

  test.each([
    ['MRd32', 0],
    ['MRd64', 0],
    ['MRdLk32', 0],
    ['MWr32', 1],
    ['MWr64', 1],
    ['IORd', 0],
    ['IOWr', 0],
    ['CfgRd0', 0],
    ['CfgWr1', 0],
    ['Cpl', 0],
    ['CplD', 1],
    ['CplDLk', 0],
    ['FetchAdd32', 1],
    ['Swap64', 1],
    ['CAS32', 0],
  ])('TLP-01: a change of any field of a %s case is found', (name, td) => {
    const original = find('tlp', (entry) => entry.k === name && entry.td === td && entry.len < 8);
    const names = Object.keys(original).filter((field) => field !== 'i' && field !== 'k');
    for (const field of names) {
      const report = runChanged(FORMAT, 'tlp', original, (copy) => {
        copy[field] = other(copy[field]);
      });
      expect(expectOnlyMiddle(report, 'tlp'), field).toBeDefined();
    }
  });

  it('TLP-01: names only what differs', () => {
    const original = find('tlp', (entry) => entry.k === 'MRd32' && entry.td === 0);
    const wire = runChanged(FORMAT, 'tlp', original, (copy) => {
      copy.wire += 4;
    });
    expect(wire.disagreements[0]).toMatchObject({
      expected: { wire: original.wire + 4 },
      actual: { wire: original.wire },
    });
    const hdr = runChanged(FORMAT, 'tlp', original, (copy) => {
      copy.hdr = flipped(copy.hdr, 4);
    });
    const { expected, actual } = expectOnlyMiddle(hdr, 'tlp');
    expect(actual).toMatchObject({ hdr: original.hdr, req: original.req ^ 0x100 });
    expect(Object.keys(expected as object).sort()).toEqual(['hdr', 'lcrc', 'req']);
  });

  it('TLP-01: a payload is judged by its checksum and its length', () => {
    const original = find('tlp', (entry) => entry.k === 'CplD' && entry.len > 100 && entry.td === 0);
    const changed = runChanged(FORMAT, 'tlp', original, (copy) => {
      copy.data = flipped(copy.data, 300);
    });
    const { expected } = expectOnlyMiddle(changed, 'tlp');
    expect(Object.keys(expected as object)).toEqual(['lcrc']); // the payload goes in and comes out as given
    const cut = runChanged(FORMAT, 'tlp', original, (copy) => {
      copy.data = copy.data.slice(0, -8);
    });
    expect(expectOnlyMiddle(cut, 'tlp').actual).toMatch(/^data: .* is not valid/);
  });

  it('TLP-02: a change of any field of a byteRange case is found', () => {
    const original = find('byteRange', (entry) => entry.bytes === 7);
    for (const field of Object.keys(original)) {
      const report = runChanged(FORMAT, 'byteRange', original, (copy) => {
        copy[field] += field === 'addr' ? 1 : 4;
      });
      expectOnlyMiddle(report, 'byteRange');
    }
  });

  it('TLP-02: pads of no bytes are not compared', () => {
    const original = find('byteRange', (entry) => entry.bytes === 0);
    const changed = runChanged(FORMAT, 'byteRange', original, (copy) => {
      copy.firstPad = 17;
    });
    expect(changed.groups[0]).toMatchObject({ cases: 3, agree: 3 });
  });

  it('TLP-02: a change of any field of a beCount case is found', () => {
    const original = find('beCount', (entry) => entry.len === 2 && entry.fbe === 15 && entry.lbe === 15);
    for (const field of Object.keys(original)) {
      const report = runChanged(FORMAT, 'beCount', original, (copy) => {
        copy[field] = field === 'lbe' ? 7 : copy[field] + (field === 'fbe' ? -1 : 1);
      });
      expectOnlyMiddle(report, 'beCount');
    }
  });

  it('TLP-02: offsets without an enabled byte in the first DW are not compared, the count is', () => {
    const original = find('beCount', (entry) => entry.fbe === 0);
    const offsets = runChanged(FORMAT, 'beCount', original, (copy) => {
      copy.firstOffset = 9;
      copy.lastOffset = 9;
    });
    expect(offsets.groups[0]).toMatchObject({ cases: 3, agree: 3 });
    const count = runChanged(FORMAT, 'beCount', original, (copy) => {
      copy.byteCount += 1;
    });
    expect(expectOnlyMiddle(count, 'beCount').expected).toEqual({ byteCount: original.byteCount + 1 });
  });

  it.each([
    ['ACK', { seq: 5 }],
    ['INIT_FC1_P', { vc: 3, hdrScale: 2, hdrFC: 200, dataScale: 3, dataFC: 4000 }],
    ['UPDATE_FC_CPL', { vc: 7, hdrScale: 3, hdrFC: 9, dataScale: 2, dataFC: 77 }],
    ['DATA_LINK_FEATURE', { featureSupport: 77, featureAck: 0 }],
    ['PM_ENTER_L23', {}],
  ])('TLP-04: a change of any field of a %s case is found', (name, changes) => {
    const original = find('dllp', (entry) => entry.k === name);
    for (const [field, value] of Object.entries(changes)) {
      const report = runChanged(FORMAT, 'dllp', original, (copy) => {
        copy[field] = copy[field] === value ? 1 : value;
      });
      expectOnlyMiddle(report, 'dllp');
    }
    for (let bit = 0; bit < 48; bit++) {
      const report = runChanged(FORMAT, 'dllp', original, (copy) => {
        copy.bytes = flipped(copy.bytes, bit >> 3, 1 << (bit & 7));
      });
      expectOnlyMiddle(report, 'dllp');
    }
  });

  it.each([
    ['PM_ENTER_L1', { type: 'PM_Enter_L1' }],
    ['PM_ACTIVE_STATE_REQUEST_L1', { type: 'PM_Active_State_Request_L1' }],
    ['PM_REQUEST_ACK', { type: 'PM_Request_Ack' }],
    ['NOP', { type: 'NOP', value: 0 }],
  ] as const)('TLP-04: knows %s, of which this copy of the file has no case', (k, dllp) => {
    const bytes = Buffer.from(encodeDllp(dllp)).toString('hex');
    expect(runCases(FORMAT, 'dllp', [{ k, bytes }]).groups[0]).toMatchObject({ cases: 1, agree: 1 });
  });

  it.each(['dllp16', 'lcrc32', 'ecrc32'])('TLP-04: a change of a %s case is found', (alg) => {
    const original = find('crc', (entry) => entry.alg === alg);
    for (const field of ['in', 'out']) {
      const report = runChanged(FORMAT, 'crc', original, (copy) => {
        copy[field] = flipped(copy[field], 3 % (copy[field].length / 2));
      });
      expectOnlyMiddle(report, 'crc');
    }
    const renamed = runChanged(FORMAT, 'crc', original, (copy) => {
      copy.alg = 'crc8';
    });
    expect(expectOnlyMiddle(renamed, 'crc').actual).toMatch(/dllp16, lcrc32, ecrc32/);
  });

  describe('split', () => {
    /** A read of at least three requests, each with completions. */
    const longRead = () =>
      find('split', (entry) => entry.op === 'read' && entry.req.length >= 3 && entry.cpl.length > 4);
    const zeroRead = () => find('split', (entry) => entry.op === 'read' && entry.bytes === 0);

    const changes: [string, (copy: AnyCase) => void][] = [
      ['a request header', (copy) => (copy.req[1][0] = flipped(copy.req[1][0], 11, 4))],
      ['a First BE', (copy) => (copy.req[0][0] = flipped(copy.req[0][0], 7))],
      ['a requester', (copy) => (copy.req[2][0] = flipped(copy.req[2][0], 5))],
      ['the payload DW of a request', (copy) => (copy.req[0][1] += 1)],
      ['a lost request', (copy) => copy.req.pop()],
      ['the order of requests', (copy) => copy.req.reverse()],
      ['a completion header', (copy) => (copy.cpl[2][0] = flipped(copy.cpl[2][0], 7, 4))],
      ['a Lower Address', (copy) => (copy.cpl[0][0] = flipped(copy.cpl[0][0], 11))],
      ['the payload DW of a completion', (copy) => (copy.cpl[3][1] -= 1)],
      ['a lost completion', (copy) => copy.cpl.shift()],
      ['a completion too many', (copy) => copy.cpl.push(copy.cpl[0])],
      ['the order of completions', (copy) => copy.cpl.reverse()],
      ['the completion policy', (copy) => (copy.splitAllRcb = 1 - copy.splitAllRcb)],
      ['the Traffic Class', (copy) => (copy.tc = (copy.tc + 1) % 8)],
      ['the attributes', (copy) => (copy.attr ^= 2)],
      ['the side', (copy) => (copy.side = copy.side === 'ep' ? 'rc' : 'ep')],
    ];

    test.each(changes)('TLP-03: a change of %s is found', (_what, change) => {
      const policyMatters = (entry: AnyCase): boolean =>
        entry.op === 'read' && entry.req.length >= 3 && entry.cpl.length > entry.req.length + 2;
      expectOnlyMiddle(runChanged(FORMAT, 'split', find('split', policyMatters), change), 'split');
    });

    /** The case with every tag mapped. */
    const retag = (copy: AnyCase, tag: (tag: number, n: number) => number, all = copy.cpl): void => {
      const set = (entry: [string, number], at: number, n: number): void => {
        const bytes = Buffer.from(entry[0], 'hex');
        const mapped = tag(bytes[at] ?? 0, n);
        bytes[at] = mapped & 0xff;
        bytes[1] = ((bytes[1] ?? 0) & 0x77) | ((mapped >> 2) & 0x80) | ((mapped >> 5) & 8);
        entry[0] = bytes.toString('hex');
      };
      copy.req.forEach((entry: [string, number], n: number) => void set(entry, 6, n));
      all.forEach((entry: [string, number], n: number) => void set(entry, 10, n));
    };

    it('TLP-03: tags may be numbered in another way', () => {
      for (const map of [
        (tag: number) => 200 - tag,
        (tag: number) => 0x300 + tag,
        (tag: number) => tag ^ 1,
      ]) {
        const report = runChanged(FORMAT, 'split', longRead(), (copy) => retag(copy, map));
        expect(report.groups[0]).toMatchObject({ cases: 3, agree: 3 });
      }
    });

    it('TLP-03: tags may come round again once 32 requests are behind', () => {
      const original = find('split', (entry) => entry.op === 'read' && entry.req.length === 33);
      const round = runChanged(FORMAT, 'split', original, (copy) => retag(copy, (tag) => tag % 32));
      expect(round.groups[0]).toMatchObject({ cases: 3, agree: 3 });
      const early = runChanged(FORMAT, 'split', original, (copy) => retag(copy, (tag) => tag % 31));
      expectOnlyMiddle(early, 'split');
    });

    it('TLP-03: posted writes have no tag to compare', () => {
      const original = find('split', (entry) => entry.op === 'write' && entry.req.length > 2);
      const report = runChanged(FORMAT, 'split', original, (copy) => retag(copy, (_tag, n) => n + 7));
      expect(report.groups[0]).toMatchObject({ cases: 3, agree: 3 });
    });

    it('TLP-03: a completion must carry the tag of its request', () => {
      for (const tag of [2, 99]) {
        const report = runChanged(FORMAT, 'split', longRead(), (copy) => {
          copy.cpl[0][0] = `${copy.cpl[0][0].slice(0, 20)}${tag.toString(16).padStart(2, '0')}${copy.cpl[0][0].slice(22)}`;
        });
        expectOnlyMiddle(report, 'split');
      }
    });

    it('TLP-03: the zero-length read deviates only by the bits that are documented', () => {
      const same = runCases(FORMAT, 'split', [zeroRead()]);
      expect(same.groups).toEqual([{ name: 'split', cases: 1, agree: 0, documented: 1, disagree: 0 }]);
      expect(same.deviations).toEqual([{ id: 'split#0', group: 'split', rule: expect.stringMatching(RULE) }]);
      expect(same.disagreements).toEqual([]);

      const asSpecified = structuredClone(zeroRead());
      asSpecified.cpl[0][0] = flipped(asSpecified.cpl[0][0], 11, 3);
      expect(runCases(FORMAT, 'split', [asSpecified]).groups[0]).toMatchObject({ agree: 1, documented: 0 });
    });

    const beyond: [string, (copy: AnyCase) => void][] = [
      ['bits 1:0 are 1', (copy) => (copy.cpl[0][0] = flipped(copy.cpl[0][0], 11, 2))],
      ['bits 1:0 are 2', (copy) => (copy.cpl[0][0] = flipped(copy.cpl[0][0], 11, 1))],
      ['higher bits differ', (copy) => (copy.cpl[0][0] = flipped(copy.cpl[0][0], 11, 4))],
      ['the byte count differs', (copy) => (copy.cpl[0][0] = flipped(copy.cpl[0][0], 7, 2))],
      ['the completion comes twice', (copy) => copy.cpl.push(copy.cpl[0])],
      ['the request differs', (copy) => (copy.req[0][0] = flipped(copy.req[0][0], 7))],
    ];

    test.each(beyond)('TLP-03: no deviation when %s', (_what, change) => {
      const copy = structuredClone(zeroRead());
      change(copy);
      const report = runCases(FORMAT, 'split', [copy]);
      expect(report.groups).toEqual([{ name: 'split', cases: 1, agree: 0, documented: 0, disagree: 1 }]);
      expect(report.deviations).toEqual([]);
    });

    it('TLP-03: Lower Address 3 is no deviation of a read that has bytes', () => {
      const original = find(
        'split',
        (entry) => entry.op === 'read' && entry.bytes > 0 && /[048c]$/.test(entry.addr),
      );
      const report = runChanged(FORMAT, 'split', original, (copy) => {
        copy.cpl[0][0] = flipped(copy.cpl[0][0], 11, 3);
      });
      expectOnlyMiddle(report, 'split');
    });
  });
});
