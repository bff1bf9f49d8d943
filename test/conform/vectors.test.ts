/** Agreement with every copied vector file, in full, on both builds of the core. */
import { beforeAll, describe, expect, it, test } from 'vitest';
import { conformFile, conformVectors, type FileReport, hasDisagreement } from '../../src/conform/index.js';
import { prepareSmmu } from '../../src/conform/smmu.js';
import { prepareVtd } from '../../src/conform/vtd.js';
import { readBuild } from '../support/builds.js';
import { BUILDS, readVectors, useCore, vectorPath } from './support.js';

const TLP = 'tlp-cocotbext-pcie.json';
const PATHS = 'access-paths.json';
/** A format whose cases are counted, not run. */
const UNBUILT = { format: 'vfio-migration-vectors/1', capSets: [{ transitions: [{}] }] };
const MMIOTRACE = 'traces/nvme-e1000e-linux61.mmiotrace.txt';

describe.each(BUILDS)('%s core', (build) => {
  let tlp: FileReport;
  let paths: FileReport;

  beforeAll(async () => {
    await useCore(build);
    tlp = await conformFile(vectorPath(TLP));
    paths = await conformFile(vectorPath(PATHS));
  });

  const groupOf = (report: FileReport, name: string) => report.groups.find((group) => group.name === name);

  it('TLP-01: agrees with every tlp case', () => {
    expect(groupOf(tlp, 'tlp')).toEqual({
      name: 'tlp',
      cases: 2472,
      agree: 2472,
      documented: 0,
      disagree: 0,
    });
  });

  it('IOM-62: agrees with every VT-d and every SMMUv3 case as QEMU 7.2 has them', async () => {
    await prepareVtd(await readBuild(build));
    await prepareSmmu(await readBuild(build));
    const smmu = await conformFile(vectorPath('smmuv3-qemu72.json'));
    expect(smmu.groups).toEqual([{ name: 'cases', cases: 109, agree: 109, documented: 0, disagree: 0 }]);
    const report = await conformFile(vectorPath('vtd-qemu72.json'));
    expect(report.groups).toEqual([{ name: 'cases', cases: 326, agree: 326, documented: 0, disagree: 0 }]);
  });

  it('TLP-02: agrees with every byteRange and every beCount case', () => {
    expect(groupOf(tlp, 'byteRange')).toEqual({
      name: 'byteRange',
      cases: 178,
      agree: 178,
      documented: 0,
      disagree: 0,
    });
    expect(groupOf(tlp, 'beCount')).toEqual({
      name: 'beCount',
      cases: 173,
      agree: 173,
      documented: 0,
      disagree: 0,
    });
  });

  it('TLP-03: agrees with every split case but the documented zero-length reads', () => {
    expect(groupOf(tlp, 'split')).toEqual({
      name: 'split',
      cases: 252,
      agree: 250,
      documented: 2,
      disagree: 0,
    });
    const rule =
      'zero-length read: Lower Address bits 1:0 are 0 by PCIe base specification 2.3.1.1, the source sends 3';
    expect(tlp.deviations).toEqual([
      { id: 'split#0', group: 'split', rule },
      { id: 'split#101', group: 'split', rule },
    ]);
  });

  it('TLP-04: agrees with every dllp and every crc case', () => {
    expect(groupOf(tlp, 'dllp')).toEqual({
      name: 'dllp',
      cases: 291,
      agree: 291,
      documented: 0,
      disagree: 0,
    });
    expect(groupOf(tlp, 'crc')).toEqual({ name: 'crc', cases: 72, agree: 72, documented: 0, disagree: 0 });
  });

  it('LNK-06: agrees with every linkTrace case, and so with the whole file', () => {
    expect(groupOf(tlp, 'linkTrace')).toEqual({
      name: 'linkTrace',
      cases: 12,
      agree: 12,
      documented: 0,
      disagree: 0,
    });
    expect(tlp.groups.map(({ name }) => name)).toEqual([
      'tlp',
      'byteRange',
      'beCount',
      'dllp',
      'crc',
      'split',
      'linkTrace',
    ]);
    expect(tlp.disagreements).toEqual([]);
    expect(hasDisagreement(tlp)).toBe(false);
  });

  it('AP-10: agrees with every case of the access paths', () => {
    expect(groupOf(paths, 'cases')).toEqual({
      name: 'cases',
      cases: 1057,
      agree: 1057,
      documented: 0,
      disagree: 0,
    });
  });

  it('AP-11: agrees with every memoryRegionOps case', () => {
    expect(groupOf(paths, 'memoryRegionOps')).toEqual({
      name: 'memoryRegionOps',
      cases: 112,
      agree: 112,
      documented: 0,
      disagree: 0,
    });
    expect(paths).toMatchObject({ disagreements: [], deviations: [], format: 'access-path-vectors/1' });
    expect(hasDisagreement(paths)).toBe(false);
  });
});

describe('zpci-qemu72.json', () => {
  it('agrees in all cases but two, whose data the file does not hold', async () => {
    const report = await conformFile(vectorPath('zpci-qemu72.json'));
    expect(report).toMatchObject({
      format: 'zpci-vectors/1',
      groups: [{ name: 'cases', cases: 545, agree: 543, documented: 2, disagree: 0 }],
      disagreements: [],
    });
    expect(report.deviations.map(({ id }) => id)).toEqual([
      'address-space.pcilg-000',
      'address-space.pcilg-001',
    ]);
    expect(hasDisagreement(report)).toBe(false);
  });

  it('disagrees where a case says something else, whatever field it is', async () => {
    const json = (await readVectors('zpci-qemu72.json')) as {
      format: string;
      cases: Record<string, object>[];
    };
    const changes: Record<string, (expected: Record<string, unknown>) => void> = {
      'pcilg.bar-dword-000': (expected) => Object.assign(expected, { cc: 1 }),
      'pcilg.bar-dword-005': (expected) => Object.assign(expected, { cc: 2 }),
      'pcistg.bar-dword-000': (expected) => Object.assign(expected, { programInterruption: null }),
      'rpcit.table-008': (expected) => Object.assign(expected, { status: 8, cc: 1 }),
      'dma-000': (expected) => Object.assign(expected, { bytesWritten: 63 }),
      'dma-002': (expected) => Object.assign(expected, { memoryChanged: [] }),
      'msi-000': (expected) => Object.assign(expected, { aibv: '40'.padEnd(64, '0') }),
      'clp.list-000': (expected) => Object.assign(expected, { responseCode: '0x0020' }),
    };
    const cases = json.cases.filter(({ id }) => String(id) in changes);
    for (const one of cases) changes[String(one.id)]?.(one.expect as Record<string, unknown>);
    expect(cases.length).toBe(5);
    const report = conformVectors('changed.json', { format: json.format, cases });
    expect(report.disagreements.map(({ id }) => id)).toEqual(cases.map(({ id }) => id));
  });

  it('names a case of which it does not know what it asks', () => {
    const broken = [{ id: 'a' }, { id: 'b', basis: 'architecture', instruction: 'NOP' }, 5];
    const report = conformVectors('broken.json', { format: 'zpci-vectors/1', cases: broken });
    expect(report.groups).toMatchObject([{ cases: 3, disagree: 3 }]);
  });
});

test.each([TLP, PATHS])('the groups of %s add up to its cases', async (name) => {
  const json = await readVectors(name);
  const entries = Object.values(json).flatMap((value) => (Array.isArray(value) ? value : []));
  const { groups } = await conformFile(vectorPath(name));
  expect(groups.reduce((sum, { cases }) => sum + cases, 0)).toBe(entries.length);
  for (const { cases, agree, documented, disagree } of groups) {
    expect(agree + documented + disagree).toBe(cases);
  }
});

test.each([
  ['TRC-01', MMIOTRACE, 'mmiotrace', 'lines', 4923],
  ['TRC-02', 'traces/nvme-e1000e-linux61.qemu-trace.txt', 'qemu-trace', 'lines', 8116],
  ['the s390x log', 'trace-linux-s390x-virtio-net.log', 'zpci-log', 'lines', 1869],
  ['the x86-64 log', 'trace-linux-x86_64-virtio-net.log', 'device-log', 'lines', 743],
  ['TRC-05 nvme', 'lspci/qemu72-nvme.txt', 'lspci', 'functions', 1],
  ['TRC-05 e1000e', 'lspci/qemu72-e1000e.txt', 'lspci', 'functions', 1],
])('%s: everything in the text is printed back as it was', async (_id, name, format, group, cases) => {
  const path = vectorPath(name);
  expect(await conformFile(path)).toEqual({
    file: path,
    format,
    groups: [{ name: group, cases, agree: cases, documented: 0, disagree: 0 }],
    disagreements: [],
    deviations: [],
  });
});

test('a report is JSON as it is', async () => {
  await useCore('release');
  const report = conformVectors('file.json', UNBUILT);
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  expect(Object.keys(report)).toEqual([
    'file',
    'format',
    'groups',
    'disagreements',
    'deviations',
    'unsupported',
  ]);
});

test('one disagreement among several files is one of the whole report', async () => {
  const good = await conformFile(vectorPath(PATHS));
  const bad = conformVectors('file.json', UNBUILT);
  expect(hasDisagreement({ files: [] })).toBe(false);
  expect(hasDisagreement({ files: [good] })).toBe(false);
  expect(hasDisagreement({ files: [good, bad] })).toBe(true);
});
