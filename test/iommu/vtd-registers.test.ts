/** VT-d: registers and the invalidation queue, as a driver uses them (iommu.md 2.1, 2.7, 5; specification 6.5, 11.4). */
import { beforeAll, describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import type { Core } from '../../src/core/core.js';
import type { DeviceInvalidation } from '../../src/iommu/vtd-queue.js';
import { VtdRegisters } from '../../src/iommu/vtd-registers.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  CAP_FIRST,
  ECAP_FIRST,
  FIRST,
  FIRST_TOP,
  PAGE1,
  PASID_TABLE,
  SCALABLE_CONTEXT,
  ScalableLab,
  SECOND,
} from './scalable-lab.js';
import {
  CAP,
  DID,
  DT,
  ECAP,
  hex,
  IOVA,
  MEMORY,
  PAGE,
  RAM_END,
  READ,
  ROOT,
  RW,
  SID,
  UnitLab,
} from './unit-lab.js';

const GCMD = 0x18;
const GSTS = 0x1c;
const RTADDR = 0x20;
const CCMD = 0x28;
const FSTS = 0x34;
const FECTL = 0x38;
const FEDATA = 0x3c;
const FEADDR = 0x40;
const IQH = 0x80;
const IQT = 0x88;
const IQA = 0x90;
const ICS = 0x9c;
const IECTL = 0xa0;
const IVA = 0xf0;
const IOTLB = 0xf8;
const FRCD = 0x220;
const TE = 2 ** 31;
const SRTP = 2 ** 30;
const QIE = 2 ** 26;
const IVT = 1n << 63n;
const QUEUE = 0xc_0000n;
const STATUS = 0xd_0000n;
const OTHER = PAGE + 0x7000n;
/** A status write of 0x1234 to STATUS. */
const WAIT = [5n | (1n << 5n) | (0x1234n << 32n), STATUS];

class Driver {
  readonly registers: VtdRegisters;
  readonly interrupts: string[] = [];
  readonly devices: DeviceInvalidation[] = [];
  private tail = 0n;

  constructor(readonly lab: UnitLab) {
    this.registers = new VtdRegisters({
      unit: lab.unit,
      memory: {
        read64: (at) => (at + 8n > RAM_END ? undefined : at < BigInt(MEMORY) ? lab.peek(at) : 0n),
        write64: (at, value) => {
          if (at + 8n <= BigInt(MEMORY)) lab.poke(at, value);
          return at + 8n <= BigInt(MEMORY);
        },
      },
      interrupt: (address, data) => this.interrupts.push(`${hex(BigInt(address))}=${data}`),
      invalidateDevice: (request) => this.devices.push(request),
    });
  }

  /** Turns the queue on, of descriptors of 128 or 256 bits. */
  startQueue(isWide = false, at = QUEUE): void {
    this.registers.write(IQA, 8, at | (isWide ? 1n << 11n : 0n));
    this.registers.write(GCMD, 4, (Number(this.registers.read(GSTS, 4)) | QIE) >>> 0);
  }

  submit(...words: bigint[]): void {
    for (const word of words) {
      this.lab.poke(QUEUE + this.tail, word);
      this.tail = (this.tail + 8n) % 4096n;
    }
    this.registers.write(IQT, 8, this.tail);
  }

  get isStuck(): boolean {
    return (Number(this.registers.read(FSTS, 4)) & 0x10) !== 0;
  }
}

describe.each(BUILDS)('the registers of a VT-d unit on the %s core', (build) => {
  const module = useBuild(build);
  let core: Core;
  beforeAll(async () => {
    core = await UnitLab.load(module());
  });
  const legacy = (ecap = ECAP, cap = CAP): Driver => new Driver(UnitLab.on(core, { ecap, cap }));

  it('iommu.md 2.1: capabilities read as given, the root pointer is taken over by SRTP, translation by TE', () => {
    const one = legacy();
    const { registers, lab } = one;
    expect([
      registers.read(0, 4),
      registers.read(8, 8),
      registers.read(0x10, 8),
      registers.read(0x14, 4),
    ]).toEqual([0x10, CAP, Number(ECAP), 0]);
    lab.map(IOVA, PAGE | RW);
    lab.unit.isOn = false;
    lab.unit.rootTable = 0xf000n;
    registers.write(RTADDR, 8, ROOT);
    registers.write(GCMD, 4, TE);
    expect([registers.read(GSTS, 4), lab.go(IOVA)]).toEqual([TE, 'fault 1']);
    registers.write(GCMD, 4, TE + SRTP);
    expect([registers.read(GSTS, 4), lab.go(IOVA)]).toEqual([TE + SRTP, hex(PAGE)]);
    registers.write(GCMD, 4, 0);
    expect([registers.read(GSTS, 4), lab.go(IOVA)]).toEqual([SRTP, hex(IOVA)]);
    registers.write(8, 8, 0n);
    registers.write(GSTS, 4, 0xffff_ffff);
    expect([registers.read(8, 8), registers.read(GSTS, 4), registers.read(0xff8, 8)]).toEqual([CAP, SRTP, 0]);
    for (const [offset, bytes] of [
      [4094, 4],
      [4, 8],
      [0, 5],
    ] as const)
      expect(() => registers.read(offset, bytes as 4)).toThrow(ZtlpError);
  });

  it('specification 6.6: SRTP drops what is kept on units with ESRTPS alone', () => {
    for (const cap of [CAP, CAP | (1n << 63n)]) {
      const { registers, lab } = legacy(ECAP, cap);
      registers.write(RTADDR, 8, ROOT);
      registers.write(GCMD, 4, TE + SRTP);
      lab.map(IOVA, PAGE | RW);
      lab.go(IOVA);
      lab.map(IOVA, OTHER | RW);
      registers.write(GCMD, 4, TE + SRTP);
      expect(lab.go(IOVA)).toBe(hex(cap === CAP ? PAGE : OTHER));
    }
  });

  it('IOM-28, IOM-29, IOM-30: CCMD and IOTLB drop what they say, and say what they did', () => {
    const did = BigInt(DID) << 32n;
    const cases: [string, boolean, number, (one: Driver) => void][] = [
      ['global', true, 1, ({ registers }) => registers.write(IOTLB, 8, IVT | (1n << 60n))],
      ['domain', true, 2, ({ registers }) => registers.write(IOTLB, 8, IVT | (2n << 60n) | did)],
      [
        'other domain',
        false,
        2,
        ({ registers }) => registers.write(IOTLB, 8, IVT | (2n << 60n) | (did << 1n)),
      ],
      [
        'page',
        true,
        3,
        ({ registers }) => {
          registers.write(IVA, 8, (IOVA & ~0x7fffn) | 3n);
          registers.write(IOTLB, 8, IVT | (3n << 60n) | did);
        },
      ],
      [
        'other page',
        false,
        3,
        ({ registers }) => {
          registers.write(IVA, 8, IOVA ^ 0x1000n);
          registers.write(IOTLB, 8, IVT | (3n << 60n) | did);
        },
      ],
      [
        'too wide a range is done for the domain',
        true,
        2,
        ({ registers }) => {
          registers.write(IVA, 8, 0n | 19n);
          registers.write(IOTLB, 8, IVT | (3n << 60n) | did);
        },
      ],
      ['reserved', false, 0, ({ registers }) => registers.write(IOTLB, 8, IVT)],
      ['no command', false, 0, ({ registers }) => registers.write(IOTLB, 8, 1n << 60n)],
      [
        'with the queue in use',
        false,
        0,
        (one) => {
          one.startQueue();
          one.registers.write(IOTLB, 8, IVT | (1n << 60n));
        },
      ],
    ];
    for (const [name, isSeen, granularity, drop] of cases) {
      const one = legacy();
      one.lab.map(IOVA, PAGE | RW);
      one.lab.go(IOVA);
      one.lab.map(IOVA, OTHER | RW);
      drop(one);
      const done = BigInt(one.registers.read(IOTLB, 8));
      expect([name, one.lab.go(IOVA), (done >> 57n) & 3n, done >> 63n]).toEqual([
        name,
        hex(isSeen ? OTHER : PAGE),
        BigInt(granularity),
        0n,
      ]);
    }
    const device = (BigInt(SID) << 16n) | BigInt(DID);
    for (const [command, isSeen] of [
      [1n << 61n, true],
      [(2n << 61n) | BigInt(DID), true],
      [(2n << 61n) | BigInt(DID + 1), false],
      [(3n << 61n) | device, true],
      [(3n << 61n) | (device ^ (4n << 16n)), false],
      [(3n << 61n) | (device ^ (4n << 16n)) | (1n << 32n), true],
      [0n, false],
    ] as const) {
      const one = legacy();
      one.lab.map(IOVA, PAGE | RW);
      one.lab.go(IOVA);
      one.lab.context({ low: 0n });
      one.registers.write(CCMD, 8, (1n << 63n) | command);
      const done = BigInt(one.registers.read(CCMD, 8));
      expect([command, (done >> 59n) & 3n, done >> 63n]).toEqual([command, (command >> 61n) & 3n, 0n]);
      one.lab.unit.invalidateIotlb();
      expect([command, one.lab.go(IOVA)]).toEqual([command, isSeen ? 'fault 2' : hex(PAGE)]);
    }
  });

  it('IOM-26, IOM-27: a fault record reads as its fields, F and PFO are cleared by writing 1, PPF follows', () => {
    const { registers, lab, interrupts } = legacy();
    registers.write(FEDATA, 4, 0x41);
    registers.write(FEADDR, 8, 0xfee0_1000n);
    lab.context({ sid: 0x21 });
    expect(lab.go(IOVA + 0x123n)).toBe('fault 6');
    registers.checkFaults();
    // Masked from reset on: the event is pending.
    expect([registers.read(FECTL, 4), interrupts]).toEqual([0xc000_0000, []]);
    registers.write(FECTL, 4, 0);
    expect([registers.read(FECTL, 4), interrupts]).toEqual([0, ['0xfee01000=65']]);
    expect([registers.read(FRCD, 8), registers.read(FRCD + 8, 8)]).toEqual([
      Number(IOVA),
      (1n << 63n) | (1n << 62n) | (6n << 32n) | BigInt(SID),
    ]);
    expect(registers.read(FSTS, 4)).toBe(2);
    lab.go(IOVA, true, 0x21);
    registers.checkFaults();
    expect([registers.read(FSTS, 4), interrupts.length]).toEqual([3, 1]);
    registers.write(FRCD + 12, 4, 0x7fff_ffff);
    expect(registers.read(FSTS, 4)).toBe(3);
    registers.write(FRCD + 8, 8, 1n << 63n);
    expect([registers.read(FSTS, 4), Number(registers.read(FRCD + 12, 4)) >= TE]).toEqual([1, false]);
    registers.write(FSTS, 4, 1);
    expect(registers.read(FSTS, 4)).toBe(0);
    lab.go(IOVA, true, 0x21);
    registers.checkFaults();
    expect([interrupts.length, registers.read(FRCD + 12, 4)]).toEqual([2, 0x8000_0005]);
  });

  it('iommu.md 2.7: a record has PASID, privilege and address type, of several registers', () => {
    const cap = CAP_FIRST | (1n << 40n);
    const two = new ScalableLab(core, { cap });
    const { registers, lab } = new Driver(two.lab);
    two.pasid({ type: FIRST, pasid: 5, first: 1n });
    expect(two.go(IOVA, { pasid: 5, isPrivileged: true, isWrite: true })).toBe('fault 71');
    lab.unit.translate({ sid: 0x21, address: PAGE, isWrite: false, at: 'translated' });
    const high = (1n << 63n) | (5n << 40n) | (0x71n << 32n) | (1n << 31n) | (1n << 29n) | BigInt(SID);
    expect(registers.read(FRCD + 8, 8)).toBe(high);
    expect(registers.read(FRCD + 24, 8)).toBe((3n << 62n) | (2n << 60n) | (0x41n << 32n) | 0x21n);
    expect(registers.read(FSTS, 4)).toBe(2);
    registers.write(FRCD + 28, 4, 0x8000_0000);
    expect(lab.unit.faults.map(({ sid }) => sid)).toEqual([SID]);
  });

  it('specification 6.5.2: descriptors of legacy mode drop what they say, and a wait tells when', () => {
    const did = BigInt(DID) << 16n;
    const cases: [string, boolean, bigint[]][] = [
      ['global', true, [2n | (1n << 4n), 0n]],
      ['domain', true, [2n | (2n << 4n) | did, 0n]],
      ['other domain', false, [2n | (2n << 4n) | (did << 1n), 0n]],
      ['page', true, [2n | (3n << 4n) | did, (IOVA & ~0x7fffn) | 3n]],
      ['other page', false, [2n | (3n << 4n) | did, IOVA ^ 0x1000n]],
      ['interrupt entries', false, [4n, 0n]],
    ];
    for (const isWide of [false, true])
      for (const [name, isSeen, words] of cases) {
        const one = legacy();
        one.lab.map(IOVA, PAGE | RW);
        one.lab.go(IOVA);
        one.lab.map(IOVA, OTHER | RW);
        one.startQueue(isWide);
        const pad = isWide ? [0n, 0n] : [];
        one.submit(...words, ...pad, ...WAIT, ...pad);
        expect([name, one.isStuck, one.lab.go(IOVA)]).toEqual([name, false, hex(isSeen ? OTHER : PAGE)]);
        expect([one.lab.peek(STATUS), one.registers.read(IQH, 8)]).toEqual([0x1234n, isWide ? 64 : 32]);
      }
    const context = legacy();
    context.lab.map(IOVA, PAGE | RW);
    context.lab.go(IOVA);
    context.lab.context({ low: 0n });
    context.startQueue();
    context.submit(1n | (3n << 4n) | did | (BigInt(SID) << 32n), 0n, 2n | (1n << 4n), 0n);
    expect(context.lab.go(IOVA)).toBe('fault 2');
  });

  it('specification 6.5.2.5: device TLBs hear of a page or of a region', () => {
    const one = legacy(ECAP | DT);
    one.startQueue();
    const device = 3n | (BigInt(SID) << 32n);
    one.submit(device, IOVA, device, IOVA | 0xf000n | 1n, device, 0x7fff_ffff_ffff_f001n);
    expect(one.isStuck).toBe(false);
    const region = (IOVA >> 17n) << 17n;
    expect(one.devices).toEqual([
      { sid: SID, isGlobal: false, first: IOVA, last: IOVA + 0xfffn },
      { sid: SID, isGlobal: false, first: region, last: region + 0x1_ffffn },
      { sid: SID, isGlobal: false, first: 0n, last: (1n << 64n) - 1n },
    ]);
  });

  it('specification 6.5.2.11: a descriptor that is not valid keeps the head until software has dealt with it', () => {
    const mask19 = [2n | (3n << 4n), 19n];
    const bad: [string, bigint[]][] = [
      ['type 0', [0n, 0n]],
      ['type 6 in legacy mode', [6n | (2n << 4n), 0n]],
      ['type 11', [0xbn, 0n]],
      ['type 3 without device TLBs', [3n, 0n]],
      ['a high type', [2n | (1n << 4n) | (1n << 9n), 0n]],
      ['reserved granularity of contexts', [1n, 0n]],
      ['reserved granularity of pages', [2n, 0n]],
      ['a mask above MAMV', mask19],
      ['reserved bits', [2n | (1n << 4n) | (1n << 32n), 0n]],
      ['reserved bits of the second word', [1n | (1n << 4n), 1n]],
    ];
    for (const [name, words] of bad) {
      const one = legacy();
      one.startQueue();
      one.registers.write(FEADDR, 8, 0xfee0_0000n);
      one.registers.write(FECTL, 4, 0);
      one.submit(4n, 0n, ...words, ...WAIT);
      expect([name, one.isStuck, one.registers.read(IQH, 8), one.lab.peek(STATUS)]).toEqual([
        name,
        true,
        16,
        0n,
      ]);
      expect(one.interrupts).toEqual(['0xfee00000=0']);
      // Nothing is fetched while the error stands.
      one.submit(...WAIT);
      expect([one.registers.read(IQH, 8), one.lab.peek(STATUS)]).toEqual([16, 0n]);
      one.lab.poke(QUEUE + 16n, 4n);
      one.lab.poke(QUEUE + 24n, 0n);
      one.registers.write(FSTS, 4, 0x10);
      expect([name, one.isStuck, one.registers.read(IQH, 8), one.lab.peek(STATUS)]).toEqual([
        name,
        false,
        64,
        0x1234n,
      ]);
    }
    // 256 bits have to be padded, and a queue has to be in memory and its tail in the queue.
    const wide = legacy();
    wide.startQueue(true);
    wide.submit(4n, 0n, 1n, 0n);
    expect(wide.isStuck).toBe(true);
    const outside = legacy();
    outside.startQueue(false, RAM_END);
    outside.registers.write(IQT, 8, 16n);
    expect(outside.isStuck).toBe(true);
    for (const [tail, isWide] of [
      [0x1000n, false],
      [0x10n, true],
    ] as const) {
      const beyond = legacy();
      beyond.startQueue(isWide);
      for (let at = 0n; at < 4096n; at += 16n) beyond.lab.poke(QUEUE + at, 4n);
      beyond.registers.write(IQT, 8, tail);
      expect([tail, beyond.isStuck, beyond.registers.read(IQH, 8)]).toEqual([tail, true, 0]);
    }
  });

  it('specification 6.5.2: the queue wraps at its end, and starts over when it is turned off', () => {
    const one = legacy();
    one.startQueue();
    for (let n = 0; n < 255; n++) one.submit(4n, 0n);
    expect(one.registers.read(IQH, 8)).toBe(0xff0);
    one.submit(...WAIT, 4n, 0n);
    expect([one.registers.read(IQH, 8), one.isStuck, one.lab.peek(STATUS)]).toEqual([16, false, 0x1234n]);
    one.registers.write(GCMD, 4, 0);
    expect(one.registers.read(IQH, 8)).toBe(0);
    const off = legacy();
    off.submit(...WAIT);
    expect(off.lab.peek(STATUS)).toBe(0n);
    // A unit without queued invalidation has none to turn on.
    const none = legacy(ECAP & ~2n);
    none.startQueue();
    none.submit(...WAIT);
    expect([none.registers.read(GSTS, 4), none.lab.peek(STATUS)]).toEqual([0, 0n]);
  });

  it('specification 6.5.2.10: a wait with IF sets IWC and raises its event, once until it is cleared', () => {
    const one = legacy();
    one.startQueue();
    one.registers.write(IECTL + 4, 4, 7);
    one.registers.write(IECTL + 8, 8, 0xfee0_2000n);
    one.submit(5n | (1n << 4n), 0n);
    expect([one.registers.read(ICS, 4), one.registers.read(IECTL, 4), one.interrupts]).toEqual([
      1,
      0xc000_0000,
      [],
    ]);
    one.registers.write(IECTL, 4, 0);
    expect(one.interrupts).toEqual(['0xfee02000=7']);
    one.submit(5n | (1n << 4n), 0n);
    expect(one.interrupts.length).toBe(1);
    one.registers.write(ICS, 4, 1);
    expect(one.registers.read(ICS, 4)).toBe(0);
    one.submit(5n | (1n << 4n), 0n);
    expect(one.interrupts.length).toBe(2);
  });

  it('specification 6.5.2, table 26: which descriptors each mode takes', () => {
    const types = (mode: bigint, isWide: boolean): number[] =>
      [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n]
        .filter((type) => {
          const one = legacy(ECAP_FIRST | (1n << 52n), CAP_FIRST);
          one.registers.write(RTADDR, 8, ROOT | (mode << 10n));
          one.registers.write(GCMD, 4, SRTP);
          one.startQueue(isWide);
          const granularity = type === 6n ? 2n << 4n : type < 3n ? 1n << 4n : 0n;
          one.submit(type | granularity, 0n, ...(isWide ? [0n, 0n] : []));
          return !one.isStuck;
        })
        .map(Number);
    const all = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    expect([types(0n, false), types(0n, true)]).toEqual([all.slice(0, 5), all.slice(0, 5)]);
    expect([types(1n, false), types(1n, true)]).toEqual([[], all]);
    expect([types(2n, false), types(2n, true)]).toEqual([[], []]);
    expect([types(3n, false), types(3n, true)]).toEqual([[], all]);
  });

  describe('in scalable mode', () => {
    const scalable = (iotlbKey: 'domain' | 'requester' = 'domain'): { two: ScalableLab; driver: Driver } => {
      const two = new ScalableLab(core, { options: { iotlbKey } });
      const driver = new Driver(two.lab);
      driver.registers.write(RTADDR, 8, ROOT | (1n << 10n));
      driver.registers.write(GCMD, 4, TE + SRTP);
      driver.startQueue(true);
      return { two, driver };
    };
    const did = 3n << 16n;

    it('specification 6.5.2, tables 23 and 24: IOTLB invalidations drop what they name, by domain, PASID and page', () => {
      // Who notices: PASID 1 and 2 with a first stage each, PASID 3 with a second one; all in domain 3.
      const cases: [string, string, bigint, bigint][] = [
        ['global', '123', 2n | (1n << 4n), 0n],
        ['domain', '123', 2n | (2n << 4n) | did, 0n],
        ['another domain', '', 2n | (2n << 4n) | (4n << 16n), 0n],
        ['page of the domain', '123', 2n | (3n << 4n) | did, IOVA],
        ['another page of the domain', '12', 2n | (3n << 4n) | did, IOVA ^ 0x1000n],
        ['PASID', '13', 6n | (2n << 4n) | did | (1n << 32n), 0n],
        ['PASID in another domain', '', 6n | (2n << 4n) | (4n << 16n) | (1n << 32n), 0n],
        ['page of the PASID', '2', 6n | (3n << 4n) | did | (2n << 32n), IOVA],
        ['pages of the PASID', '2', 6n | (3n << 4n) | did | (2n << 32n), (IOVA & ~0x7fffn) | 3n],
        ['another page of the PASID', '', 6n | (3n << 4n) | did | (2n << 32n), IOVA ^ 0x1000n],
      ];
      for (const iotlbKey of ['domain', 'requester'] as const)
        for (const [name, expected, first, second] of cases) {
          const { two, driver } = scalable(iotlbKey);
          const tops = [FIRST_TOP, 0x9_0000n] as const;
          const change = (to: bigint): void => {
            for (const top of tops) two.map(IOVA, to | PAGE1, { top });
            two.lab.map(IOVA, to | RW);
          };
          two.pasid({ type: FIRST, pasid: 1, top: tops[0] });
          two.pasid({ type: FIRST, pasid: 2, top: tops[1] });
          two.pasid({ type: SECOND, pasid: 3 });
          change(PAGE);
          for (const pasid of [1, 2, 3]) expect(two.go(IOVA, { pasid })).toBe(hex(PAGE));
          change(OTHER);
          driver.submit(first, second, 0n, 0n);
          expect(driver.isStuck).toBe(false);
          const noticed = [1, 2, 3].filter((pasid) => two.go(IOVA, { pasid }) === hex(OTHER));
          expect([iotlbKey, name, noticed.join('')]).toEqual([iotlbKey, name, expected]);
        }
    });

    it('specification 6.5.2.2: PASID entries are kept until an invalidation names them', () => {
      const cases: [string, string, bigint][] = [
        ['domain', '12', 7n | did],
        ['another domain', '', 7n | (4n << 16n)],
        ['PASID', '2', 7n | (1n << 4n) | did | (2n << 32n)],
        ['global', '123', 7n | (3n << 4n)],
        ['contexts', '123', 1n | (1n << 4n)],
        ['contexts of a domain', '123', 1n | (2n << 4n) | (9n << 16n)],
        ['contexts of a requester', '123', 1n | (3n << 4n) | (9n << 16n) | (BigInt(SID) << 32n)],
        ['contexts of another requester', '', 1n | (3n << 4n) | (BigInt(SID ^ 1) << 32n)],
      ];
      for (const [name, expected, first] of cases) {
        const { two, driver } = scalable();
        two.lab.map(IOVA, PAGE | RW);
        for (const pasid of [1, 2, 3]) {
          two.pasid({ type: SECOND, pasid, did: pasid === 3 ? 5n : 3n });
          expect(two.go(IOVA, { pasid })).toBe(hex(PAGE));
          two.lab.poke(PASID_TABLE + 64n * BigInt(pasid), 0n);
        }
        driver.submit(first, 0n, 0n, 0n);
        expect(driver.isStuck).toBe(false);
        const noticed = [1, 2, 3].filter((pasid) => two.go(IOVA, { pasid }) === 'fault 59');
        expect([name, noticed.join('')]).toEqual([name, expected]);
      }
    });

    it('specification 6.5.2.6: PASID-based descriptors reach the device TLB, reserved granularities stop the queue', () => {
      const { driver } = scalable();
      driver.submit(8n | (BigInt(SID) << 16n) | (5n << 32n), IOVA | 0x800n, 0n, 0n);
      driver.submit(8n | (BigInt(SID) << 16n), 0x7fff_ffff_ffff_f801n, 0n, 0n);
      const first = (IOVA >> 16n) << 16n;
      expect(driver.devices).toEqual([
        { sid: SID, pasid: 5, isGlobal: false, first, last: first + 0xffffn },
        { sid: SID, pasid: 0, isGlobal: true, first: 0n, last: (1n << 64n) - 1n },
      ]);
      for (const word of [6n | (1n << 4n), 6n, 7n | (2n << 4n)]) {
        const { driver: other } = scalable();
        other.submit(word, 0n, 0n, 0n);
        expect([word, other.isStuck]).toEqual([word, true]);
      }
    });

    it('specification 6.5.1: CCMD knows no domains here', () => {
      const { two, driver } = scalable();
      driver.registers.write(GCMD, 4, TE);
      two.pasid({ type: SECOND });
      two.lab.map(IOVA, PAGE | READ);
      two.go(IOVA);
      two.lab.poke(SCALABLE_CONTEXT, 0n);
      driver.registers.write(CCMD, 8, (1n << 63n) | (2n << 61n) | 9n);
      expect(two.go(IOVA)).toBe('fault 41');
    });
  });
});
