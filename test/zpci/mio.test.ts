/** The MIO forms of the PCI instructions: addresses, order of checks, CLP around them, and who uses them (zpci.md 2.9). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Device, defineDevice } from '../../src/device/index.js';
import {
  createMachine,
  type Machine,
  type OptionInput,
  type PciFunction,
  type SlotConfig,
} from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { clp, queryFunction, setFunction } from './machine-support.js';

const NATIVE: OptionInput = { zpciMode: 'native' };
const DONE = { cc: 0, status: 0, programInterruption: null };
const BAR0 = 0x10_0000_0000_0000n;
const WRITE_BACK = 1n << 57n;

const nic = (mio = true): Device =>
  defineDevice({
    name: 'nic',
    vendorId: 0x1af4,
    deviceId: 0x10f1,
    bars: [{ size: 0x4000, bits: 64, memory: true }, undefined, { size: 0x1000, memory: true }],
    zpci: { mio },
  }) as Device;

describe.each(BUILDS)('MIO on the %s build', (build) => {
  const core = useBuild(build);

  const make = async (
    slots: readonly SlotConfig[] = [{ device: nic() }],
    options: OptionInput = NATIVE,
  ): Promise<{ machine: Machine; fn: PciFunction }> => {
    const machine = await createMachine({
      core: core(),
      platform: 's390x',
      options,
      slots,
      hostMemoryBytes: 0x1_0000,
    });
    return { machine, fn: machine.functions[0] as PciFunction };
  };

  it('Z-CLP-12: query function and set function give the addresses, and oc 2 and 3 switch them', async () => {
    const { machine, fn } = await make();
    const { data } = queryFunction(machine, fn.handle);
    expect(data.getUint8(18) & 2).toBe(2);
    expect(data.getUint32(256)).toBe(0xa000_0000); // BAR 0 and BAR 2
    expect([0, 1, 2].map((n) => data.getBigUint64(264 + 16 * n))).toEqual([
      BAR0 | WRITE_BACK,
      0n,
      (BAR0 + (2n << 32n)) | WRITE_BACK,
    ]);
    expect(data.getBigUint64(272)).toBe(BAR0);
    expect(fn.mio?.[2]).toEqual({
      writeThrough: BAR0 + (2n << 32n),
      writeBack: (BAR0 + (2n << 32n)) | WRITE_BACK,
    });
    const load = () => machine.cpu.pcilgi({ address: BAR0, length: 4 });
    expect(load().cc).toBe(0); // as a driver's probe leaves it
    expect(setFunction(machine, fn.handle, 3).code).toBe(0x10);
    expect(load()).toMatchObject({ cc: 3 });
    const enabled = setFunction(machine, fn.handle, 2);
    expect([enabled.code, enabled.data.getUint32(32), enabled.data.getBigUint64(48)]).toEqual([
      0x10,
      0xa000_0000,
      BAR0,
    ]);
    expect(load().cc).toBe(0);
    setFunction(machine, fn.handle, 1);
    expect(setFunction(machine, fn.handle, 2).code).toBe(0x102); // not enabled
    setFunction(machine, fn.handle, 0);
    expect(load()).toMatchObject({ cc: 3 }); // enabling does not bring MIO back
    expect(fn.mioEnabled).toBe(false);
    setFunction(machine, fn.handle, 2);
    expect([fn.mioEnabled, load().cc]).toEqual([true, 0]);
    machine.reset();
    expect(load().cc).toBe(0);
  });

  it('CLP command 1 tells the write-back bit where there is MIO; form c the logical processors', async () => {
    const { machine } = await make();
    for (const lps of [0, 2]) {
      const { cc, code, data } = clp(machine, 1, () => undefined, 128, lps);
      expect([cc, code, data.getUint8(80)]).toEqual([0, 0x10, 0x80 | 6]);
      expect(1n << BigInt(63 - 6)).toBe(WRITE_BACK);
    }
    expect(clp(machine, 1, () => undefined, 120).code).toBe(0x50);
    expect(clp(machine, 2, () => undefined, 48, 0).code).toBe(0x20); // PCI commands are those of lps 2
    expect(clp(machine, 2, () => undefined, 48, 1).cc).toBe(3);
    expect(machine.cpu.clpImmediate({ command: 1 })).toEqual({ ...DONE, mask: 0xa000_0000_0000_0000n });
    expect(machine.cpu.clpImmediate({ command: 2 })).toMatchObject({ cc: 3, mask: 0n });
    expect(machine.cpu.clpImmediate({ command: 1, problemState: true })).toMatchObject({
      programInterruption: { name: 'privileged operation' },
    });
    const { machine: without } = await make([{ device: nic() }], { ...NATIVE, mio: false });
    expect(clp(without, 1, () => undefined, 128).code).toBe(0x20);
    expect(() => machine.cpu.clp({ address: 0x2000, lps: 8 })).toThrow(/lps/);
  });

  it('loads, stores and blocks reach the BAR through both addresses, with the bytes in their order', async () => {
    const { machine, fn } = await make();
    for (const address of [BAR0 + 0x10n, (BAR0 + 0x20n) | WRITE_BACK]) {
      const at = Number(address & 0xffffn);
      expect(machine.cpu.pcistgi({ address, length: 4, data: 0x1122_3344 })).toEqual(DONE);
      expect(fn.barMemory(0).subarray(at, at + 4)).toEqual(Uint8Array.of(0x11, 0x22, 0x33, 0x44));
      expect(machine.cpu.pcilgi({ address, length: 4 })).toEqual({ ...DONE, data: 0x1122_3344 });
      // The whole page is one rule: natively a doubleword may be crossed.
      expect(machine.cpu.pcilgi({ address: address + 1n, length: 8 }).cc).toBe(0);
    }
    const source = Uint8Array.from({ length: 128 }, (_, n) => n + 1);
    expect(machine.cpu.pcistbi({ address: BAR0 + 0x100n, length: 128, source })).toEqual(DONE);
    expect(fn.barMemory(0).subarray(0x100, 0x180)).toEqual(source);
    machine.memory.write(0x5000, source);
    expect(machine.cpu.pcistbi({ address: BAR0 + 0x200n, length: 64, source: 0x5000 })).toEqual(DONE);
    expect(fn.barMemory(0).subarray(0x200, 0x240)).toEqual(source.subarray(0, 64));
    expect(machine.cpu.pciwb()).toEqual(DONE);
    expect(machine.stats(fn)).toMatchObject({ loads: 4, stores: 2, storeBlocks: 2, policyViolations: 0 });
  });

  it('addresses name all six BARs of each slot, and nothing behind them', async () => {
    const device = defineDevice({
      name: 'six',
      vendorId: 0x1af4,
      deviceId: 0x10f1,
      bars: Array.from({ length: 6 }, () => ({ size: 0x1000, memory: true }) as const),
    }) as Device;
    const { machine } = await make([{ device }, { device }]);
    for (const [slot, fn] of machine.functions.entries()) {
      for (let bar = 0; bar < 6; bar++) {
        const { writeThrough, writeBack } = fn.mioAddresses(bar);
        const data = 16 * (slot + 1) + bar;
        expect(machine.cpu.pcistgi({ address: BigInt(writeBack) + 0xff8n, length: 8, data })).toEqual(DONE);
        expect(machine.cpu.pcilgi({ address: BigInt(writeThrough) + 0xff8n, length: 8 }).data).toBe(data);
        expect(fn.barMemory(bar)[0xfff]).toBe(data);
      }
      // The two numbers behind the last BAR are none.
      for (const bar of [6, 7]) {
        const address = BigInt(fn.mioAddresses(0).writeThrough) + (BigInt(bar) << 32n);
        expect(machine.cpu.pcilgi({ address, length: 4 })).toMatchObject({
          programInterruption: { name: 'addressing' },
        });
      }
    }
  });

  it('answers in the order: operation, specification, address, handle, state, form', async () => {
    const { machine, fn } = await make();
    const load = (change: object) => machine.cpu.pcilgi({ address: BAR0, length: 4, ...change });
    const interruption = (name: string) => ({ cc: null, programInterruption: { name } });
    expect(load({ r2: 3, address: 0 })).toMatchObject(interruption('specification'));
    for (const address of [
      0,
      BAR0 - 1n,
      BAR0 + (1n << 32n),
      BAR0 + 0x4000n,
      BAR0 + (1n << 36n),
      2n ** 64n - 1n,
    ])
      expect(load({ address, length: 9 })).toMatchObject(interruption('addressing'));
    for (const length of [0, 3, 9, 16, 0xffff_ffff])
      expect(load({ length })).toMatchObject(interruption('operand'));
    expect(load({ address: BAR0 + 0xffdn, length: 4 })).toMatchObject(interruption('operand'));
    const block = (change: object) =>
      machine.cpu.pcistbi({ address: BAR0, length: 64, source: 0x5000, ...change });
    expect(block({ address: BAR0 + 4n })).toMatchObject(interruption('specification'));
    expect(block({ length: 8 })).toMatchObject(interruption('specification'));
    // All bits of the length count, unlike those of a request register.
    expect(block({ length: 0x2000 + 64 })).toMatchObject(interruption('specification'));
    expect(block({ length: 0xffff_fff8 })).toMatchObject(interruption('specification'));
    expect(block({ source: 2n ** 40n })).toMatchObject(interruption('addressing'));
    fn.state = 'error';
    expect(load({ length: 9 })).toMatchObject({ cc: 1, status: 12 });
    expect(block({ length: 8 })).toMatchObject({ cc: 1, status: 12 });
    fn.state = 'disabled';
    expect(load({ length: 9 })).toMatchObject({ cc: 3 });
    const { machine: without } = await make([{ device: nic() }], { ...NATIVE, mio: false });
    expect(without.cpu.pcilgi({ address: BAR0, length: 9, r2: 3 })).toMatchObject(interruption('operation'));
    const { cpu } = without;
    const forms = [
      [cpu.pcilgi({ address: BAR0, length: 4 }), 4],
      [cpu.pcistgi({ address: BAR0, length: 4, data: 0 }), 4],
      [cpu.pcistbi({ address: BAR0, length: 64, source: 0 }), 6],
      [cpu.pciwb(), 4],
    ] as const;
    for (const [answer, ilc] of forms)
      expect(answer.programInterruption).toEqual({ code: 1, name: 'operation', ilc });
    expect(without.functions[0]?.mio).toBeUndefined();
    expect(machine.stats(fn)).toMatchObject({ loads: 0, stores: 0, storeBlocks: 0, tlps: 0 });
  });

  it('a function without MIO answers cc 1 status 20, and each is counted', async () => {
    const { machine, fn } = await make([{ device: nic(false) }]);
    expect(queryFunction(machine, fn.handle).data.getUint8(18) & 2).toBe(0);
    expect(setFunction(machine, fn.handle, 2).code).toBe(0x102);
    const { writeThrough: address } = fn.mioAddresses(0);
    const refused = { cc: 1, status: 20 };
    expect(machine.cpu.pcilgi({ address, length: 4 })).toMatchObject({ ...refused, data: undefined });
    expect(machine.cpu.pcistgi({ address, length: 4, data: 1 })).toMatchObject(refused);
    expect(machine.cpu.pcistbi({ address, length: 64, source: 0x5000 })).toMatchObject(refused);
    expect(machine.stats(fn)).toMatchObject({ policyViolations: 3, tlps: 0 });
    expect(machine.cpu.pcistg({ fh: fn.handle, as: 0, offset: 0, length: 4, data: 1 })).toEqual(DONE);
  });

  it('behind a VMM there is no MIO', async () => {
    for (const zpciMode of ['emulated', 'vfio', 'interpreted'] as const) {
      const { machine, fn } = await make([{ device: nic() }], { zpciMode });
      expect(queryFunction(machine, fn.handle).data.getUint8(18) & 2).toBe(0);
      expect(setFunction(machine, fn.handle, 2).code).toBe(0x102);
      expect(machine.cpu.pcilgi({ address: BAR0, length: 4 })).toMatchObject({
        programInterruption: { name: 'operation' },
      });
    }
    // Beside a native function the machine has the instructions; the others are not there for them.
    const { machine } = await make([
      { device: nic(), options: { zpciMode: 'emulated' } },
      { device: nic(), options: NATIVE },
    ]);
    expect(machine.cpu.pcilgi({ address: BAR0, length: 4 })).toMatchObject({ cc: 3 });
    expect(machine.cpu.pcilgi({ address: BAR0 + (1n << 36n), length: 4 }).cc).toBe(0);
  });

  describe('a copy', () => {
    const data = Uint8Array.from({ length: 300 }, (_, n) => (n * 7 + 1) & 0xff);

    it('Z-CHUNK-16: with MIO on the same sequence uses PCISTBI and PCISTGI; busy is not tried again', async () => {
      const run = async (mio: boolean) => {
        const asked: string[] = [];
        let busy = 0;
        const device = defineDevice({
          name: 'listener',
          vendorId: 0x1af4,
          deviceId: 0x10f1,
          bars: [{ size: 0x1000, memory: true }],
          acceptInstruction({ op, offset, length }) {
            asked.push(`${op} ${offset} ${length}`);
            return busy-- > 0 ? { cc: 2, status: 0 } : true;
          },
        }) as Device;
        const { machine, fn } = await make([{ device }], { ...NATIVE, mio });
        const input = { path: 'zpci-memcpy-new', function: fn, bar: 0, offset: 8, data } as const;
        const first = machine.cpu.write(input);
        const sequence = asked.splice(0);
        busy = 2;
        return { first, sequence, second: machine.cpu.write(input), again: asked, fn };
      };
      const mio = await run(true);
      const handle = await run(false);
      expect(mio.sequence).toEqual(handle.sequence.map((line) => line.replace(/^\w+/, '$&i')));
      expect(handle.sequence).toEqual(
        ['pcistb 8 128', 'pcistb 136 128', 'pcistg 264 8', 'pcistg 272 8'].concat([
          'pcistg 280 8',
          'pcistg 288 8',
          'pcistg 296 8',
          'pcistg 304 4',
        ]),
      );
      expect(mio.first.totals.mioOperations).toBe(mio.first.totals.hostOperations);
      expect(handle.first.totals.mioOperations).toBe(0);
      expect(mio.second.fault).toMatchObject({ kind: 'zpci', errno: 'EIO', answer: { cc: 2 }, offset: 8 });
      expect(mio.again).toEqual(['pcistbi 8 128']);
      // Busy is neither a refusal nor a violation.
      expect(mio.fn.stats.policyViolations).toBe(0);
      // Z-CHUNK-17: the form with a handle is executed three times.
      expect(handle.second.fault).toBeUndefined();
      expect(handle.again.slice(0, 4)).toEqual([
        'pcistb 8 128',
        'pcistb 8 128',
        'pcistb 8 128',
        'pcistb 136 128',
      ]);
      expect(handle.second.totals.guestInstructions).toBe(handle.first.totals.guestInstructions + 2);
      expect(handle.fn.stats.storeBlocks).toBe(4);
      expect(handle.fn.barMemory(0).subarray(8, 308)).toEqual(data);
    });

    it('Z-CHUNK-17: a function that stays busy ends the copy, and a bare instruction answers cc 2', async () => {
      const device = defineDevice({
        name: 'busy',
        vendorId: 0x1af4,
        deviceId: 0x10f1,
        bars: [{ size: 0x1000, memory: true }],
        acceptInstruction: () => ({ cc: 2, status: 0 }),
      }) as Device;
      const { machine, fn } = await make([{ device }], { ...NATIVE, mio: false });
      const input = { function: fn, bar: 0, offset: 0, data: data.subarray(0, 8) };
      const bare = machine.cpu.write({ ...input, path: 'zpci-pcistg8' });
      expect(bare.fault).toMatchObject({ answer: { cc: 2 } });
      expect(bare.totals.guestInstructions).toBe(0);
      expect(machine.cpu.write({ ...input, path: 'zpci-memcpy-new' }).fault).toMatchObject({
        answer: { cc: 2 },
      });
    });

    it('Z-PATH-12: the host of E and F uses MIO, each a violation for a function without; G does not', async () => {
      for (const generation of [1, 3] as const) {
        const path = generation === 1 ? 'zpci-vfio-w4' : 'zpci-vfio-w8';
        const options: OptionInput = { zpciMode: 'vfio', vfioGeneration: generation };
        const write = async (mio: boolean, machineMio = true) => {
          const { machine, fn } = await make([{ device: nic(mio) }], { ...options, mio: machineMio });
          const result = machine.cpu.write({
            path,
            function: fn,
            bar: 0,
            offset: 0,
            data: data.subarray(0, 256),
          });
          return { ...result.totals, fault: result.fault, fn, machine };
        };
        const operations = 256 / (generation === 1 ? 4 : 8);
        const capable = await write(true);
        expect([capable.hostOperations, capable.mioOperations]).toEqual([operations, operations]);
        expect(capable.fn.stats.policyViolations).toBe(0);
        expect(capable.fn.barMemory(0).subarray(0, 256)).toEqual(data.subarray(0, 256));
        const without = await write(false);
        expect([without.mioOperations, without.fault]).toEqual([operations, undefined]);
        expect(without.fn.stats).toMatchObject({ policyViolations: operations, tlps: 0 });
        expect(without.fn.barMemory(0).every((byte) => byte === 0)).toBe(true);
        const read = without.machine.cpu.read({ path, function: without.fn, bar: 0, offset: 0, length: 16 });
        expect(read.data.every((byte) => byte === 0xff)).toBe(true);
        const old = await write(false, false);
        expect([old.mioOperations, old.fn.stats.policyViolations]).toEqual([0, 0]);
        expect(old.fn.barMemory(0).subarray(0, 256)).toEqual(data.subarray(0, 256));
      }
      const { machine, fn } = await make([{ device: nic(false) }], {
        zpciMode: 'vfio',
        interceptStrict: false,
        relaxed: true,
        maxstbl: 4096,
      });
      for (const path of ['zpci-io-region', 'zpci-vfio-ism', 'vfio-ism-rw'] as const) {
        const { totals } = machine.cpu.write({
          path,
          function: fn,
          bar: 0,
          offset: 0,
          data: new Uint8Array(4096),
        });
        expect([totals.hostOperations, totals.mioOperations]).toEqual([1, 0]);
      }
      expect(fn.stats).toMatchObject({ policyViolations: 0, storeBlocks: 3 });
    });

    it('Z-PATH-12: the same instruction by instruction, asked or not', async () => {
      for (const asks of [false, true]) {
        const seen: string[] = [];
        const device = defineDevice({
          name: 'no-mio',
          vendorId: 0x1af4,
          deviceId: 0x10f1,
          bars: [{ size: 0x1000, memory: true }],
          zpci: { mio: false },
          ...(asks
            ? {
                acceptInstruction: ({ op, length }: { op: string; length: number }) => {
                  seen.push(`${op} ${length}`);
                  return true as const; // performs what it may refuse
                },
              }
            : {}),
        }) as Device;
        const { machine, fn } = await make([{ device }], { zpciMode: 'vfio', vfioGeneration: 1 });
        const at = { fh: fn.handle, as: 0, offset: 0 };
        expect(machine.cpu.pcistb({ ...at, length: 16, source: data.subarray(0, 16) })).toEqual(DONE);
        expect(machine.cpu.pcistg({ ...at, offset: 16, length: 8, data: 1 })).toEqual(DONE);
        expect(machine.cpu.pcilg({ ...at, length: 8 }).data).toBe(
          asks ? new DataView(data.buffer).getBigUint64(0) : 2n ** 64n - 1n,
        );
        expect(fn.stats.policyViolations).toBe(8);
        expect(seen).toEqual(asks ? [...Array(6).fill('pcistgi 4'), ...Array(2).fill('pcilgi 4')] : []);
      }
    });
  });

  it('any store by address is what the store by handle does', async () => {
    const { machine, fn } = await make([{ device: nic() }], { ...NATIVE, relaxed: true, maxstbl: 4096 });
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0x3fff }),
        fc.integer({ min: 0, max: 4200 }),
        fc.boolean(),
        fc.boolean(),
        (offset, length, isBlock, isWriteBack) => {
          const address = (BAR0 + BigInt(offset)) | (isWriteBack ? WRITE_BACK : 0n);
          const run = (isMio: boolean) => {
            machine.reset();
            const source = Uint8Array.from({ length }, (_, n) => (n * 5 + offset + 1) & 0xff);
            const at = { fh: fn.handle, as: 0, offset };
            const bytes = length % 16;
            const answer = isBlock
              ? isMio
                ? machine.cpu.pcistbi({ address, length, source })
                : machine.cpu.pcistb({ ...at, length, source })
              : isMio
                ? machine.cpu.pcistgi({ address, length: bytes, data: 0x1122_3344_5566_7788n })
                : machine.cpu.pcistg({ ...at, length: bytes, data: 0x1122_3344_5566_7788n });
            const load = isMio
              ? machine.cpu.pcilgi({ address, length: bytes })
              : machine.cpu.pcilg({ ...at, length: bytes });
            const bytesAfter = Buffer.from(fn.barMemory(0)).toString('latin1');
            return { answer, load, bytesAfter, stats: fn.stats };
          };
          expect(run(true)).toEqual(run(false));
        },
      ),
      { numRuns: 150 },
    );
  });

  it('a wrong operand is a typed error', async () => {
    const { machine } = await make();
    const cpu = machine.cpu as unknown as Record<string, (input: unknown) => unknown>;
    const refused = (name: string, input: unknown, field: string) =>
      expect(() => cpu[name]?.(input)).toThrow(expect.objectContaining({ name: 'ZtlpError', field }));
    refused('pcilgi', undefined, 'input');
    refused('pcilgi', { address: -1, length: 4 }, 'address');
    refused('pcilgi', { address: 0, length: 1.5 }, 'length');
    refused('pcilgi', { address: 0, length: 4, r2: 16 }, 'r2');
    refused('pcistgi', { address: 0, length: 4 }, 'data');
    refused('pcistbi', { address: 0, length: 4, source: 'x' }, 'source');
    refused('pcistbi', { address: 0, length: 4, source: new Uint8Array(3) }, 'source');
    refused('clpImmediate', { command: 'x' }, 'command');
    const plain = await createMachine({ core: core() });
    expect(() => plain.cpu.pcilgi({ address: 0, length: 4 })).toThrow(/s390x/);
    expect(() => plain.cpu.pciwb()).toThrow(/s390x/);
  });
});
