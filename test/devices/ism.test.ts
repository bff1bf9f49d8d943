/** ISM: identity, instructions, commands, signal area, event queue, buffers, life cycle (ism.md 1 to 5, 7, 8, 10). */
import { describe, expect, it } from 'vitest';
import { ISM_GROUP, IsmFabric, type IsmOptions, ism } from '../../src/devices/index.js';
import type { Machine, OptionInput, PciFunction } from '../../src/index.js';
import { machinesOf } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { IEQ, IsmDriver, SBA } from './ism-driver.js';

const BYTES = 1 << 21;
/** Pages of the second function's driver, and buffers of both. */
const SECOND = 0x10000;
const BUFFER = 0x10_0000;

describe.each(BUILDS)('ISM on the %s core', (build) => {
  const { make } = machinesOf(build);
  /** Two functions with GIDs 0x11 and 0x22 in one machine, and their drivers, before the probe. */
  async function two(
    options: OptionInput = {},
    input: IsmOptions = {},
  ): Promise<{ machine: Machine; one: IsmDriver; other: IsmDriver }> {
    const fabric = new IsmFabric();
    const slot = (gid: number) => ({ device: ism({ gid, fabric, ...input }), state: 'enabled' as const });
    const machine = await make({
      platform: 's390x',
      hostMemoryBytes: BYTES,
      options: { zpciMode: 'native', ...ISM_GROUP, ...options },
      slots: [slot(0x11), slot(0x22)],
    });
    const [first, second] = machine.functions as [PciFunction, PciFunction];
    return { machine, one: new IsmDriver(machine, first), other: new IsmDriver(machine, second, SECOND) };
  }
  async function up(options: OptionInput = {}, input: IsmOptions = {}): ReturnType<typeof two> {
    const pair = await two(options, input);
    for (const driver of [pair.one, pair.other]) {
      expect(driver.probe()).toBe('up');
      driver.takeLog();
    }
    return pair;
  }
  const word = (machine: Machine, at: number): number => {
    const bytes = machine.memory.read(at, 4);
    return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  };

  it('ISM-ID-01: identity, function type 5, relaxed group, no MIO', async () => {
    const { machine, one } = await two();
    expect(machine.config.read(one.fn.id, 0, 4)).toBe(0x04ed_1014);
    expect(one.fn.identity.type).toBe(5);
    const clp = 0x8000;
    const ask = (length: number, code: number, at: number, value: number): Uint8Array => {
      const request = new Uint8Array(4096);
      const view = new DataView(request.buffer);
      view.setUint16(0, length);
      view.setUint16(2, code);
      view.setUint32(at, value);
      view.setUint16(length, 4096 - length);
      machine.memory.write(clp, request);
      expect(machine.cpu.clp({ address: clp })).toMatchObject({ cc: 0 });
      return machine.memory.read(clp + length, 256);
    };
    const query = ask(32, 3, 16, one.fn.handle);
    expect(new DataView(query.buffer, query.byteOffset).getUint16(2)).toBe(0x0010);
    // No MIO addresses.
    expect([query[63], (query[18] ?? 0) & 2]).toEqual([5, 0]);
    expect(one.fn.mio).toBeUndefined();
    const group = ask(32, 4, 16, query[19] ?? 0);
    expect((group[19] ?? 0) & 8).toBe(8);
  });

  it('ISM-ID-02: one MSI vector, no MSI-X', async () => {
    const { one } = await two();
    expect([one.fn.config.capability(0x11), one.fn.config.capability(5)]).toEqual([undefined, 0x40]);
    expect((one.fn.config.read(0x42, 2) >>> 1) & 7).toBe(0);
  });

  it('ISM-INS-01, ISM-INS-02: PCISTG to either BAR is an operand exception, counted, and changes nothing', async () => {
    const { machine, one, other } = await up();
    const token = other.registerDmb({ address: BUFFER, bytes: 4096, peer: 0x11n }) as bigint;
    const before = machine.memory.read(BUFFER, 4096);
    const window = machine.cpu.pcilg({ fh: one.fn.handle, as: 2, offset: 0, length: 8 }).data;
    for (const [n, [as, offset]] of (
      [
        [2, 0n],
        [2, 8n],
        [0, token],
        [0, token | 0x10n],
      ] as const
    ).entries()) {
      for (const length of [1, 4, 8] as const) {
        const answer = machine.cpu.pcistg({ fh: one.fn.handle, as, offset, length, data: 0x0300_0000n });
        expect([as, length, answer.programInterruption?.name]).toEqual([as, length, 'operand']);
      }
      expect(one.fn.stats.policyViolations).toBe(3 * (n + 1));
    }
    expect(machine.memory.read(BUFFER, 4096)).toEqual(before);
    expect(machine.cpu.pcilg({ fh: one.fn.handle, as: 2, offset: 0, length: 8 }).data).toEqual(window);
  });

  it('ISM-INS-02: with ismForbiddenAccess perform a PCISTG is carried out', async () => {
    const { machine, one, other } = await up({ ismForbiddenAccess: 'perform' });
    const token = other.registerDmb({ address: BUFFER, bytes: 4096, peer: 0x11n }) as bigint;
    expect(
      machine.cpu.pcistg({ fh: one.fn.handle, as: 0, offset: token | 8n, length: 4, data: 0x01020304n }).cc,
    ).toBe(0);
    expect([...machine.memory.read(BUFFER + 8, 4)]).toEqual([1, 2, 3, 4]);
    expect(one.fn.stats.policyViolations).toBe(0);
  });

  it('ISM-INS-03: MIO forms answer condition code 1 with status 20, and are counted', async () => {
    const { machine, one } = await up();
    // Nothing names its BARs by an address, but software can make one up.
    const answers = [0, 2].flatMap((bar) => {
      const { writeThrough: address } = one.fn.mioAddresses(bar);
      return [
        machine.cpu.pcistgi({ address, length: 8, data: 3n }),
        machine.cpu.pcilgi({ address, length: 8 }),
      ];
    });
    for (const { cc, status } of answers) expect([cc, status]).toEqual([1, 20]);
    expect(one.fn.stats.policyViolations).toBe(answers.length);
  });

  it('ISM-INS-04: configuration space is loaded from and stored to', async () => {
    const { machine, one } = await two();
    const fh = one.fn.handle;
    expect(machine.cpu.pcistg({ fh, as: 15, offset: 0x3c, length: 1, data: 0x5an }).cc).toBe(0);
    expect(machine.cpu.pcilg({ fh, as: 15, offset: 0x3c, length: 1 })).toMatchObject({ cc: 0, data: 0x5a });
    expect(one.fn.stats.policyViolations).toBe(0);
  });

  it('ISM-INS-05, ISM-INS-06: 8 bytes at offset 0 are taken by a relaxed function; on a strict one the probe fails', async () => {
    const relaxed = await two();
    expect(relaxed.one.store(2, 0, Uint8Array.of(0, 0, 0, 3, 0, 0, 0, 8))).toEqual({ cc: 0, status: 0 });
    const strict = await two({ relaxed: false });
    const { cc, programInterruption } = strict.machine.cpu.pcistb({
      fh: strict.one.fn.handle,
      as: 2,
      offset: 0,
      length: 8,
      source: new Uint8Array(8),
    });
    expect([cc, programInterruption?.name]).toEqual([null, 'specification']);
    expect(strict.one.probe()).toBe('REG_SBA 65535');
  });

  it('ISM-CMD-01, ISM-CMD-02: the header runs the command with the payload before it', async () => {
    const { one } = await two();
    const sba = new Uint8Array(8);
    new DataView(sba.buffer).setBigUint64(0, 0x5000n);
    const header = Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 16);
    // Payload alone.
    one.store(2, 8, sba);
    expect(one.run(0x08).response.getBigUint64(32)).toBe(0n);
    // Header first: that payload was of the command before, and the one behind comes too late.
    one.store(2, 0, header);
    one.store(2, 8, sba);
    const { response } = one.run(0x08);
    expect(response.getBigUint64(32)).toBe(0n);
    one.store(2, 8, sba);
    one.store(2, 0, header);
    expect(one.run(0x08).response.getBigUint64(32)).toBe(0x5000n);
  });

  it('ISM-CMD-03 to ISM-CMD-06: instructions per command, the code in the response, lengths', async () => {
    const { one, other } = await up();
    const cases: [string, () => { ret: number; response: DataView }, string[], number][] = [
      ['READ_GID', () => one.run(0x03), ['pcistb 2:0 8', 'pcilg 2:0 8', 'pcilg 2:8 8'], 16],
      ['QUERY_RGID', () => one.run(0x09, 0x22n, 0, 0), ['pcistb 2:8 16', 'pcistb 2:0 8', 'pcilg 2:0 8'], 8],
      [
        'SIGNAL_IEQ',
        () => one.run(0x0e, 0x22n, 1, 0x83, 7n),
        ['pcistb 2:8 24', 'pcistb 2:0 8', 'pcilg 2:0 8'],
        8,
      ],
      [
        'REG_DMB',
        () => one.run(0x0a, 0x9000n, 4096, 40, 0, 0, 0x22n),
        ['pcistb 2:8 32', 'pcistb 2:0 8', 'pcilg 2:0 8', 'pcilg 2:8 8'],
        16,
      ],
      ['SET_VLAN', () => one.run(0x06), ['pcistb 2:0 8', 'pcilg 2:0 8'], 8],
      ['RESET_VLAN', () => one.run(0x07), ['pcistb 2:0 8', 'pcilg 2:0 8'], 8],
    ];
    const codes = [3, 9, 14, 10, 6, 7];
    for (const [n, [name, go, log, length]] of cases.entries()) {
      const { ret, response } = go();
      expect([name, ret, response.getUint32(0), response.getUint16(6)]).toEqual([name, 0, codes[n], length]);
      expect([name, one.takeLog()]).toEqual([name, log]);
    }
    expect(one.run(0x03).response.getBigUint64(8)).toBe(0x11n);
    expect(other.gid).toBe(0x22n);
    one.takeLog();
    const { response } = one.run(0x08);
    expect(one.takeLog()).toEqual([
      'pcistb 2:0 8',
      ...Array.from({ length: 25 }, (_, n) => `pcilg 2:${(8 * n).toString(16)} 8`),
    ]);
    const fields = [8, 12, 48, 56, 60, 64, 68].map((at) => response.getUint32(at));
    // The VLAN is the one by which the driver tells the version.
    expect([...fields, response.getUint16(72)]).toEqual([2, 2 ** 20, 512, 1, 1, 0, 1, 0x1fff]);
    expect([16, 24, 32, 40].map((at) => response.getBigUint64(at))).toEqual([
      0n,
      0x11n,
      BigInt(SBA),
      BigInt(IEQ),
    ]);
  });

  it('ISM-CMD-07 to ISM-CMD-10: what fails is one PCILG, changes nothing, and says why', async () => {
    const { one } = await up();
    const state = (): string => JSON.stringify([...new Uint8Array(one.run(0x08).response.buffer)]);
    const before = state();
    one.takeLog();
    for (const code of [0x00, 0x0c, 0x0d, 0x0f, 0x10, 0x13, 0xffff]) {
      expect([code, one.run(code).ret]).toEqual([code, 1]);
      expect(one.takeLog()).toEqual(['pcistb 2:0 8', 'pcilg 2:0 8']);
    }
    // Lengths that the commands do not have.
    for (const [code, length] of [
      [0x01, 8],
      [0x01, 24],
      [0x03, 16],
      [0x08, 0],
      [0x0a, 32],
      [0x0e, 24],
    ] as const)
      expect([code, length, one.command(code, new Uint8Array(0), length).ret]).toEqual([code, length, 1]);
    expect([one.run(0x01, 0x5000n).ret, one.run(0x02, 0x5000n, 512n).ret]).toEqual([4, 4]);
    expect([one.run(0x02, 0x5000n, 4096n).ret, one.run(0x09, 0x33n, 0, 0).ret]).toEqual([2, 3]);
    expect(state()).toBe(before);
    expect([one.run(0x11).ret, one.run(0x11).ret, one.run(0x12).ret, one.run(0x12).ret]).toEqual([
      0, 0xffff, 0, 0xffff,
    ]);
  });

  it('ISM-CMD-11: a header in two halves does not start the command', async () => {
    const { one } = await two();
    one.store(2, 0, Uint8Array.of(0, 0, 0, 3));
    one.store(2, 4, Uint8Array.of(0, 0, 0, 8));
    expect(one.machine.cpu.pcilg({ fh: one.fn.handle, as: 2, offset: 0, length: 8 }).data).toBe(0);
  });

  it('ISM-SBA-01, ISM-SBA-02, ISM-SBA-03: where bits and masks of an index stand', async () => {
    for (const [order, mask] of [
      ['msb', 0x2000],
      ['lsb', 0x0004],
    ] as const)
      for (const [index, byte, bit, at] of [
        [32, 8, 0x80, 320],
        [1919, 243, 0x01, 4094],
      ] as const) {
        const { machine, one, other } = await up({ ismMaskBitOrder: order });
        const token = other.registerDmb({ address: BUFFER, bytes: 4096, peer: 0x11n, index }) as bigint;
        one.move(token, 2, true, 0, Uint8Array.of(1));
        expect(word(machine, other.sba)).toBe(0x8000_0000);
        expect(machine.memory.read(other.sba + byte, 1)[0]).toBe(bit);
        expect((word(machine, other.sba + (at & ~3)) >>> (at & 2 ? 0 : 16)) & 0xffff).toBe(mask);
        const area = machine.memory.read(other.sba, 4096);
        expect(area.filter((value) => value !== 0)).toHaveLength(3);
      }
    const { machine, one, other } = await up();
    one.run(0x0e, 0x22n, 1, 0x80, 0n);
    expect(word(machine, other.sba)).toBe(0xc000_0000);
  });

  it('ISM-SBA-04: a signal that comes during the scan is not lost', async () => {
    const { one, other } = await up();
    const [low, high] = [32, 50].map((index) =>
      other.registerDmb({ address: BUFFER + 0x1000 * index, bytes: 4096, peer: 0x11n, index }),
    ) as [bigint, bigint];
    one.move(high, 0, true, 0, Uint8Array.of(1));
    let hasCome = false;
    other.duringScan = () => {
      if (hasCome) return;
      hasCome = true;
      one.move(low, 1, true, 0, Uint8Array.of(2));
    };
    expect(other.handle().signals).toEqual([[50, 0x8000]]);
    // S is set again, so there is another interrupt.
    expect(other.interrupts()).toBe(2);
    expect(other.handle().signals).toEqual([[32, 0x4000]]);
    expect(other.handle()).toEqual({ signals: [], events: [] });
  });

  it('ism.md 4: no interrupt while S is set, unless ismSuppressMsi is off', async () => {
    for (const ismSuppressMsi of [true, false]) {
      const { one, other } = await up({ ismSuppressMsi });
      const token = other.registerDmb({ address: BUFFER, bytes: 4096, peer: 0x11n }) as bigint;
      for (let n = 0; n < 3; n++) one.move(token, n, true, 0, Uint8Array.of(n));
      expect([ismSuppressMsi, other.interrupts()]).toEqual([ismSuppressMsi, ismSuppressMsi ? 1 : 3]);
      expect(other.handle().signals).toEqual([[32, 0xe000]]);
    }
  });

  it('ISM-SBA-05, ISM-DMB-01, ISM-DMB-03: indices and lengths of buffers, 1888 of them', async () => {
    const { one } = await up();
    const register = (bytes: number, index?: number): bigint | string =>
      one.registerDmb({ address: BUFFER, bytes, peer: 0x22n, ...(index === undefined ? {} : { index }) });
    expect(register(4096, 31)).toBe('-EINVAL');
    expect(register(2 ** 20 + 1)).toBe('-EINVAL');
    expect(register(2 ** 20)).toBe(1n << 28n);
    expect(register(4096, 32)).toBe('-EINVAL');
    // The device itself.
    for (const [bytes, index, ret] of [
      [4096, 31, 2],
      [4096, 1920, 2],
      [0, 40, 2],
      [2 ** 20 + 1, 40, 2],
      [4096, 32, 4],
    ] as const)
      expect([index, one.run(0x0a, 0x9000n, bytes, index, 0, 0, 0x22n).ret]).toEqual([index, ret]);
    const tokens = Array.from({ length: 1887 }, () => register(16384));
    expect(register(16384)).toBe('-ENOSPC');
    for (const token of tokens) expect(BigInt(token) & 0xfff_ffffn).toBe(0n);
    expect(new Set(tokens).size).toBe(1887);
  });

  it('ISM-IEQ-01, ISM-IEQ-02: each event is consumed once, over the end of the queue', async () => {
    const { machine, one, other } = await up();
    expect(other.handle().events).toEqual([]);
    const index = (): number => word(machine, other.ieq + 4);
    const signal = (code: number): number => one.run(0x0e, 0x22n, 1, code, 9n).ret;
    for (let n = 0; n < 15; n++) signal(n);
    expect(index()).toBe(15);
    expect(other.handle().events.map(({ code }) => code)).toEqual(Array.from({ length: 15 }, (_, n) => n));
    signal(100);
    expect([index(), word(machine, other.ieq + 32 + 4)]).toEqual([1, 100]);
    expect(other.handle().events.map(({ code }) => code)).toEqual([100]);
    for (let n = 0; n < 40; n++) {
      signal(n);
      expect(other.handle().events.map(({ code }) => code)).toEqual([n]);
    }
  });

  it('ISM-IEQ-03, ISM-IEQ-04: a software event comes as it was sent; test link is asked and answered', async () => {
    const { one, other } = await up();
    const info = (what: bigint): bigint => (0xaabb_ccddn << 32n) | (5n << 16n) | what;
    expect(one.run(0x0e, 0x22n, 1, 0x83, info(1n)).ret).toBe(0);
    expect(other.interrupts()).toBe(1);
    const [asked] = other.handle().events;
    expect(asked).toEqual({ type: 2, code: 0x83, token: 0x11n, info: info(1n) });
    other.run(0x0e, asked?.token ?? 0n, 1, 0x83, (asked?.info ?? 0n) + 1n);
    expect(one.handle().events).toEqual([{ type: 2, code: 0x83, token: 0x22n, info: info(2n) }]);
  });

  it('ISM-DMB-04, ISM-DMB-05: a token of another pair, of nobody, or given back is refused', async () => {
    const { machine, one, other } = await up();
    const mine = other.registerDmb({ address: BUFFER, bytes: 4096, peer: 0x11n }) as bigint;
    const others = one.registerDmb({ address: BUFFER, bytes: 4096, peer: 0x33n }) as bigint;
    const before = machine.memory.read(BUFFER, 64);
    const refused = { cc: 1, status: 40 };
    expect(other.store(0, others, Uint8Array.of(1))).toEqual(refused);
    expect(one.store(0, mine + (99n << 28n), Uint8Array.of(1))).toEqual(refused);
    expect(one.store(0, 2n ** 63n, Uint8Array.of(1))).toEqual(refused);
    expect(one.run(0x0b, mine).ret).toBe(0xffff);
    expect(other.unregisterDmb(mine, 32)).toBe(0);
    expect(one.store(0, mine, Uint8Array.of(1))).toEqual(refused);
    expect(other.unregisterDmb(mine, 32)).toBe(0xffff);
    expect(machine.memory.read(BUFFER, 64)).toEqual(before);
    expect(one.fn.stats.policyViolations).toBe(3);
    const fresh = await up({ ismRejectStatus: 12 });
    expect(fresh.one.store(0, mine, Uint8Array.of(1))).toEqual({ cc: 1, status: 12 });
  });

  it('ISM-VLAN-01, ISM-VLAN-02: version 2 takes the reserved ID; VLANs are listed, shared and removed', async () => {
    const old = await up({}, { version: 1 });
    expect([old.one.isV2, old.one.run(0x08).response.getUint32(8)]).toEqual([false, 1]);
    const { one, other } = await up();
    expect(one.isV2).toBe(true);
    const listed = (): number[] => {
      const { response } = one.run(0x08);
      return Array.from({ length: response.getUint32(68) }, (_, n) => response.getUint16(72 + 2 * n));
    };
    expect([0n, 4095n, 5000n].map((id) => one.run(0x04, id).ret)).toEqual([2, 2, 2]);
    expect([7n, 7n, 8n].map((id) => one.run(0x04, id).ret)).toEqual([0, 4, 0]);
    expect(listed()).toEqual([0x1fff, 7, 8]);
    expect([one.run(0x09, 0x22n, 1, 7).ret, other.run(0x04, 7n).ret, one.run(0x09, 0x22n, 1, 7).ret]).toEqual(
      [3, 0, 0],
    );
    expect([one.run(0x05, 7n).ret, one.run(0x05, 7n).ret]).toEqual([0, 0xffff]);
    expect(listed()).toEqual([0x1fff, 8]);
    for (let id = 100n; id < 162n; id++) expect(one.run(0x04, id).ret).toBe(0);
    expect([listed().length, one.run(0x04, 200n).ret]).toEqual([64, 4]);
  });

  it('ISM-LIFE-01: probe and remove, instruction by instruction', async () => {
    const { one } = await two();
    expect(one.probe()).toBe('up');
    const header = (...answers: number[]): string[] => [
      'pcistb 2:0 8',
      ...answers.map((at) => `pcilg 2:${at.toString(16)} 8`),
    ];
    expect(one.takeLog()).toEqual([
      'pcistb 2:8 8',
      ...header(0),
      'pcistb 2:8 16',
      ...header(0),
      ...header(0, 8),
      'pcistb 2:8 8',
      ...header(0),
      ...header(...Array.from({ length: 25 }, (_, n) => 8 * n)),
    ]);
    expect(one.remove()).toEqual([0, 0, 0]);
    expect(one.takeLog()).toEqual(['pcistb 2:8 8', ...header(0), ...header(0), ...header(0)]);
    // What is gone already counts as done.
    expect(one.remove()).toEqual([0xffff, 0xffff, 0xffff]);
  });

  it('ISM-LIFE-02: a reset drops everything, peers are told, and the function can be probed again', async () => {
    const { machine, one, other } = await up();
    const token = other.registerDmb({ address: BUFFER, bytes: 4096, peer: 0x11n }) as bigint;
    other.run(0x04, 9n);
    const bars = [0x10, 0x14, 0x18, 0x1c].map((at) => [at, machine.config.read(other.fn.id, at, 4)] as const);
    machine.resetFunction(other.fn, 'flr');
    expect(one.handle().events).toEqual([{ type: 1, code: 0, token: 0x22n, info: 0n }]);
    expect(one.store(0, token, Uint8Array.of(1))).toEqual({ cc: 1, status: 40 });
    expect(one.run(0x09, 0x22n, 0, 0).ret).toBe(3);
    for (const [at, value] of bars) machine.config.write(other.fn.id, at, value, 4);
    machine.config.write(other.fn.id, 4, 6, 2);
    const again = new IsmDriver(machine, other.fn, SECOND);
    expect([again.probe(), again.gid]).toEqual(['up', 0x22n]);
    const { response } = again.run(0x08);
    expect([response.getUint32(56), response.getUint32(68)]).toEqual([0, 1]);
    expect(again.run(0x0b, token).ret).toBe(0xffff);
    expect(other.fn.instance?.errors).toEqual([]);
    expect(one.fn.instance?.errors).toEqual([]);
  });

  it('interrupts come only while signal area and event queue are registered', async () => {
    const { one, other } = await up();
    const token = other.registerDmb({ address: BUFFER, bytes: 4096, peer: 0x11n }) as bigint;
    other.run(0x12);
    one.move(token, 0, true, 0, Uint8Array.of(1));
    expect([other.interrupts(), one.run(0x0e, 0x22n, 1, 1, 1n).ret]).toEqual([0, 0]);
    expect(other.handle()).toEqual({ signals: [[32, 0x8000]], events: [] });
  });

  it('a GID that another function has does nothing, and says so', async () => {
    const fabric = new IsmFabric();
    const machine = await make({
      platform: 's390x',
      options: { zpciMode: 'native', ...ISM_GROUP },
      slots: [1, 1].map((gid) => ({ device: ism({ gid, fabric }), state: 'enabled' as const })),
    });
    const [first, second] = machine.functions.map((fn) => new IsmDriver(machine, fn)) as [
      IsmDriver,
      IsmDriver,
    ];
    expect(first.run(0x03).ret).toBe(0);
    expect(second.run(0x03).response.getUint16(6)).toBe(0);
    expect(machine.takeLog().join()).toContain('its GID belongs to another function');
  });
});

describe('options of ism()', () => {
  it.each([
    [{ gid: 0 }, 'gid'],
    [{ gid: -1 }, 'gid'],
    [{ fabric: {} }, 'fabric'],
    [{ version: 3 }, 'version'],
    [{ gids: 1 }, 'options.gids'],
  ])('%j is refused', (options, field) => {
    expect(() => ism(options as IsmOptions)).toThrow(expect.objectContaining({ field }));
  });
});
