// The reader of s390x PCI instruction logs: every count of its README, printing back, byte order, corrupt lines (TRC-10).
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecordReader } from '../../src/trace/record-reader.js';
import {
  formatZpciRecord,
  isInstruction,
  parseZpciLine,
  readZpciLog,
  ZPCI_LOG,
  type ZpciInstruction,
  type ZpciRecord,
  zpciAccess,
} from '../../src/trace/zpci-log.js';
import { collect, vector } from './collect.js';
import { chunks, cutAt } from './input.js';

const FILE = vector('trace-linux-s390x-virtio-net.log');

const LINES = [
  '  config read dev=virtio-net-pci off=0x9a value=0x3',
  'SIC oc=1 isc=2 -> cc=3',
  'CLP -> cc=0',
  'MPCIFC fh=80020000 dmaas=0 oc=4 -> cc=0',
  'MPCIFC fh=00020000 dmaas=0 oc=16 -> cc=1 status=40',
  'PCILG fh=80020000 as=15 len=4 off=0x0 data=f41a4110 -> cc=0',
  'PCISTG fh=80020000 as=4 len=8 off=0x1000000000 data=0102030405060708 -> cc=0',
  'RPCIT fh=80020000 start=0x1002bf000 len=0x2000 -> cc=0',
  '  device write region=msix-s390-0001 addr=0x0 size=4 value=0x0',
];

function instruction(text: string): ZpciInstruction {
  const record = parseZpciLine(text);
  if (record.kind === 'bad' || record.kind === 'other' || !isInstruction(record)) throw new Error(text);
  return record;
}

describe('the recorded log', () => {
  async function all(): Promise<readonly ZpciRecord[]> {
    const records = await collect(readZpciLog(chunks(await readFile(FILE)), { strict: true }));
    return records.map(({ record }) => record);
  }

  it('has the instructions of its README', async () => {
    const reader = new RecordReader(ZPCI_LOG, true);
    await collect(readZpciLog(chunks(await readFile(FILE)), { reader }));
    const { PCILG, PCISTG, RPCIT, SIC, MPCIFC, CLP, ...effects } = reader.counts;
    expect({ PCILG, PCISTG, RPCIT, SIC, MPCIFC, CLP }).toEqual({
      PCILG: 251,
      PCISTG: 281,
      RPCIT: 607,
      SIC: 156,
      MPCIFC: 4,
      CLP: 4,
    });
    expect(effects).toEqual({
      'config read': 201,
      'config write': 24,
      'device read': 52,
      'device write': 289,
    });
    expect([reader.bad, reader.other]).toEqual([0, 0]);
  });

  it('has the widths of its README, and no access of 8 bytes', async () => {
    const widths = new Map<string, number>();
    for (const record of await all()) {
      const access = isInstruction(record) ? zpciAccess(record, 1) : undefined;
      if (access === undefined) continue;
      const { op, bar = 'config', width } = access;
      const key = `${op} ${bar} ${width}`;
      widths.set(key, (widths.get(key) ?? 0) + 1);
    }
    const of = (what: string): number[] => [1, 2, 4, 8].map((width) => widths.get(`${what} ${width}`) ?? 0);
    expect(of('read config')).toEqual([62, 109, 28, 0]);
    expect(of('write 4')).toEqual([7, 204, 24, 0]);
    expect(of('read 1')).toEqual([0, 0, 12, 0]);
    expect(of('write 1')).toEqual([0, 0, 22, 0]);
    expect([...widths.keys()].filter((key) => key.endsWith(' 8'))).toEqual([]);
  });

  it('refreshes one page 510 times and two pages 97 times', async () => {
    const lengths = new Map<number, number>();
    for (const record of await all())
      if (record.kind === 'RPCIT') lengths.set(record.lenLo, (lengths.get(record.lenLo) ?? 0) + 1);
    expect(lengths).toEqual(
      new Map([
        [0x1000, 510],
        [0x2000, 97],
      ]),
    );
  });

  it('tells in the lines below an instruction the value that it carried', async () => {
    let access: ReturnType<typeof zpciAccess>;
    let compared = 0;
    for (const record of await all()) {
      if (isInstruction(record)) {
        access = zpciAccess(record, 1);
      } else if ((record.kind === 'config read' || record.kind === 'config write') && access !== undefined) {
        // What was read is what was loaded: most significant byte of the register is the lowest address.
        expect([record.offset, record.value]).toEqual([access.addressLo, access.valueLo]);
        compared++;
      }
    }
    // The load of line 387 stands in the log twice, the first time without what it did.
    expect(compared).toBe(198 + 24);
  });

  it('prints back byte for byte', async () => {
    const printed = (await all()).map((record) => `${formatZpciRecord(record)}\n`).join('');
    expect(printed === (await readFile(FILE, 'utf8'))).toBe(true);
  });
});

describe('a line', () => {
  it.each(LINES)('is printed as it was: %s', (text) => {
    expect(formatZpciRecord(parseZpciLine(text) as ZpciRecord)).toBe(text);
  });

  it.each([
    ['PCILG', 'line: is missing'],
    ['PCILG fh=x', 'fh: "x" is not a hexadecimal number of at most 32 bits'],
    ['PCILG fh=1 as=4 len=2 off=0x0 data=01 -> cc=0', 'data: "01" is not 4 hexadecimal digits'],
    ['PCILG fh=1 as=4 len=2 off=0x0 data=01zz -> cc=0', 'data: "01zz" is not 4 hexadecimal digits'],
    ['PCISTG fh=1 as=4 len=9 off=0x0 data=010203040506070809 -> cc=0', 'len: 9 is not 1 to 8'],
    ['PCISTG fh=1 as=4 len=0 off=0x0 data= -> cc=0', 'len: 0 is not 1 to 8'],
    ['CLP -> cc=4', 'cc: 4 is not 0, 1, 2 or 3'],
    ['RPCIT fh=1 start=0x0 len=0x1000', 'behind len: is missing'],
    ['  device read region=x addr=0x0 size=3 value=0x0', 'width: "3" is not 1, 2, 4 or 8'],
  ])('names the field: %s', (text, reason) => {
    expect(parseZpciLine(text)).toEqual({ kind: 'bad', reason });
  });

  it.each(['', 'PCISTB fh=80020000', '  PCILG fh=80020000', 'config read dev=x off=0x0 value=0x0', 'hello'])(
    'of something else is none: %j',
    (text) => {
      expect(parseZpciLine(text)).toEqual({ kind: 'other' });
    },
  );

  it('is the same after printing and parsing', () => {
    const u32 = fc.integer({ min: 0, max: 0xffffffff });
    const half = fc.oneof(fc.constant(0), u32);
    const cc = fc.nat(3);
    const data = fc
      .uint8Array({ minLength: 1, maxLength: 8 })
      .map((bytes) => ({ len: bytes.length, data: Buffer.from(bytes).toString('hex') }));
    const access = fc
      .tuple(
        fc.record({
          kind: fc.constantFrom('PCILG', 'PCISTG'),
          fh: u32,
          as: fc.nat(15),
          lo: u32,
          hi: half,
          cc,
        }),
        data,
      )
      .map(([a, b]) => ({ ...a, ...b }));
    const ended = fc.oneof(
      access,
      fc.record({
        kind: fc.constant('RPCIT'),
        fh: u32,
        startLo: u32,
        startHi: half,
        lenLo: u32,
        lenHi: half,
        cc,
      }),
      fc.record({ kind: fc.constant('MPCIFC'), fh: u32, dmaas: fc.nat(255), oc: fc.nat(255), cc }),
      fc.record({ kind: fc.constant('CLP'), cc }),
      fc.record({ kind: fc.constant('SIC'), oc: fc.nat(255), isc: fc.nat(7), cc }),
    );
    const withStatus = fc.tuple(ended, fc.nat(255)).map(([r, status]) => (r.cc === 1 ? { ...r, status } : r));
    const name = fc.string({ unit: 'binary' }).map((s) => s.replaceAll(/[\r\n]/g, ''));
    const effect = fc.record({
      kind: fc.constant('config read'),
      device: name,
      offset: fc.nat(0xfff),
      value: u32,
    });
    fc.assert(
      fc.property(fc.oneof(withStatus, effect), (r) => {
        expect(parseZpciLine(formatZpciRecord(r as ZpciRecord))).toEqual(r);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('reading', () => {
  it('gives the same records for any chunking', async () => {
    const whole = await collect(readZpciLog(chunks(LINES.join('\n'))));
    expect(whole).toHaveLength(LINES.length);
    const bytes = Buffer.from(`\ufeff${LINES.join('\r\n')}\r\n`);
    for (let at = 0; at <= bytes.length; at++)
      expect(await collect(readZpciLog(chunks(...cutAt(bytes, [at]))))).toEqual(whole);
  });

  it('TRC-10 reports a corrupt line with its number and goes on; strict throws', async () => {
    const lines = (await readFile(FILE, 'utf8')).split('\n');
    lines[999] = 'RPCIT fh=80020000 start=0x len=0x1000 -> cc=0';
    const reader = new RecordReader(ZPCI_LOG);
    expect(await collect(readZpciLog(chunks(lines.join('\n')), { reader }))).toHaveLength(1868);
    expect(reader.firstBad).toMatchObject({ line: 1000, text: lines[999] });
    await expect(collect(readZpciLog(chunks(lines.join('\n')), { strict: true }))).rejects.toMatchObject({
      code: 'malformed',
      field: 'line 1000',
    });
  });
});

describe('the accesses', () => {
  it('have little-endian values and the BAR of the address space', () => {
    expect(zpciAccess(instruction(LINES[5] as string), 6)).toEqual({
      line: 6,
      op: 'read',
      space: 'config',
      device: 'fh 80020000',
      addressLo: 0,
      addressHi: 0,
      width: 4,
      valueLo: 0x10411af4,
      valueHi: 0,
    });
    expect(zpciAccess(instruction(LINES[6] as string), 7)).toEqual({
      line: 7,
      op: 'write',
      space: 'memory',
      device: 'fh 80020000',
      bar: 4,
      addressLo: 0,
      addressHi: 0x10,
      width: 8,
      valueLo: 0x04030201,
      valueHi: 0x08070605,
    });
  });

  it.each([
    'RPCIT fh=80020000 start=0x0 len=0x1000 -> cc=0',
    'PCISTG fh=80020000 as=4 len=2 off=0x0 data=0102 -> cc=1 status=12',
    'PCISTG fh=80020000 as=4 len=2 off=0x0 data=0102 -> cc=3',
    'PCISTG fh=80020000 as=4 len=3 off=0x0 data=010203 -> cc=0',
    'PCISTG fh=80020000 as=6 len=1 off=0x0 data=01 -> cc=0',
  ])('are not made by %s', (text) => {
    expect(zpciAccess(instruction(text), 1)).toBeUndefined();
  });
});
