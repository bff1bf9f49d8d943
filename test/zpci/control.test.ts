/** CLP, MPCIFC, STPCIFC and interrupts as instructions of a machine: the recorded cases, then what they do to DMA and devices. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Device, defineDevice } from '../../src/device/index.js';
import { virtioLike } from '../../src/devices/index.js';
import { createMachine, type Machine, type PciFunction, type U64 } from '../../src/index.js';
import { encodeFib, type FibInput } from '../../src/zpci/fib.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { blockOf, type Case, casesOf, INTERRUPTS_FIB, type Printed, VALID_FIB } from './guest-support.js';

const FIB = 0x1000;
const CLP = 0x2000;
const HOST_BYTES = 0x1420_0000;

const CONTROLS = [...casesOf('MPCIFC'), ...casesOf('STPCIFC')];

interface MsiCase {
  readonly id: string;
  readonly basis: string;
  readonly instruction: string;
  readonly operands: {
    readonly iova: string;
    readonly length: number;
    readonly msix: { readonly address: string; readonly data: number; readonly vectorControl: number };
    readonly interrupt: Printed;
  };
  readonly state: {
    readonly memory: readonly { readonly address: string; readonly qword: string }[];
    readonly rpcit: readonly { readonly start: string; readonly length: string }[];
    readonly registered: Printed;
  };
  readonly expect: { readonly aibv: string; readonly aisb: string; readonly fibAfter: Printed };
}
const MSI = (
  JSON.parse(readFileSync(new URL('../vectors/zpci-qemu72.json', import.meta.url), 'utf8')) as {
    cases: readonly MsiCase[];
  }
).cases.filter(({ instruction }) => instruction === 'MSI');

describe.each(BUILDS)('control instructions on the %s build', (build) => {
  let core: WebAssembly.Module;
  const machines = new Map<boolean, Machine>();

  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(build));
    for (const qemuQuirks of [false, true]) {
      const options = { qemuQuirks };
      machines.set(
        qemuQuirks,
        await createMachine({
          core,
          platform: 's390x',
          hostMemoryBytes: HOST_BYTES,
          slots: [
            { device: virtioLike({ vectors: 1024 }), handleIndex: 0, options },
            { device: virtioLike({ deviceId: 0x1044 }), handleIndex: 1, options },
          ],
        }),
      );
    }
    return () => machines.clear();
  });

  const fresh = (qemuQuirks = false): Machine => {
    const machine = machines.get(qemuQuirks) as Machine;
    machine.reset();
    return machine;
  };
  const first = (machine: Machine): PciFunction => machine.functions[0] as PciFunction;
  const mpcifc = (machine: Machine, oc: number, fib: FibInput = {}, fh = first(machine).handle) => {
    machine.memory.write(FIB, encodeFib(fib));
    return machine.cpu.mpcifc({ fh, oc, fib: FIB });
  };
  /** CLP set PCI function; the response code and the new handle. */
  const set = (machine: Machine, fh: number, oc: number, ndas = 1): readonly [number, number] => {
    const block = new Uint8Array(72);
    const view = new DataView(block.buffer);
    view.setUint16(0, 32);
    view.setUint16(2, 5);
    view.setUint32(16, fh);
    view.setUint8(22, oc);
    view.setUint8(23, ndas);
    view.setUint16(32, 40);
    machine.memory.write(CLP, block);
    expect(machine.cpu.clp({ address: CLP }).cc).toBe(0);
    const after = new DataView(machine.memory.read(CLP, 72).buffer);
    return [after.getUint16(34), after.getUint32(48)];
  };
  const rpcit = (machine: Machine, start: U64 = 0x1_0000_0000n) =>
    machine.cpu.rpcit({ fh: first(machine).handle, start, length: 0x1000 });

  /** The setups of the cases, done by instructions. */
  function setUp(machine: Machine, { state }: Pick<Case, 'state'>): void {
    for (const words of state.setup) {
      const fh = first(machine).handle;
      if (words === 'CLP disable function') expect(set(machine, fh, 1, 0)[0]).toBe(0x10);
      else if (words.startsWith('MPCIFC register-ioat')) expect(mpcifc(machine, 4, VALID_FIB).cc).toBe(0);
      else if (words.startsWith('MPCIFC register-interrupts'))
        expect(mpcifc(machine, 2, INTERRUPTS_FIB).cc).toBe(0);
      else if (words.includes('(oc 7)')) expect(mpcifc(machine, 7).cc).toBe(0);
      else if (words.includes('(oc 9)')) expect(mpcifc(machine, 9).cc).toBe(0);
      else if (words.startsWith('RPCIT with no')) expect(rpcit(machine)).toMatchObject({ cc: 1, status: 8 });
      else if (words === 'RPCIT outside the registered range')
        expect(rpcit(machine, 0x9_0000_0000n)).toMatchObject({ cc: 1, status: 8 });
      else throw new Error(`${words} is not known`);
    }
  }

  it.each(CONTROLS)('$id', (vector) => {
    const machine = fresh(vector.basis === 'qemu-specific');
    setUp(machine, vector);
    const { operands, expect: wanted, device } = vector;
    const address = Number(operands.fibAddress);
    const isModify = vector.instruction === 'MPCIFC';
    if (isModify && address + 80 <= HOST_BYTES) machine.memory.write(address, blockOf(operands.fib));
    const input = {
      fh: Number(operands.fh),
      dmaas: operands.dmaas,
      fib: address,
      problemState: operands.problemState,
    };
    const answer = isModify ? machine.cpu.mpcifc({ ...input, oc: operands.oc }) : machine.cpu.stpcifc(input);
    expect(answer).toMatchObject({
      cc: wanted.cc,
      programInterruption: wanted.programInterruption && {
        name: wanted.programInterruption.name.replaceAll('-', ' '),
        ilc: 6,
      },
    });
    if (wanted.status !== null) expect(answer.status).toBe(wanted.status);
    if (!isModify) {
      if (wanted.storedBytes !== null)
        expect(Buffer.from(machine.memory.read(address, 80)).toString('hex')).toBe(wanted.storedBytes);
      return;
    }
    const after = machine.cpu.stpcifc({ fh: Number(device.fhEnabled), fib: 0x3000 });
    expect(after.cc).toBe(wanted.stpcifcAfterCc);
    if (wanted.fibAfter !== undefined)
      expect(machine.memory.read(0x3000, 80)).toEqual(blockOf(wanted.fibAfter));
  });

  it.each(casesOf('CLP'))('$id', (vector) => {
    const { operands, expect: wanted } = vector;
    const machine = fresh(vector.basis === 'qemu-specific');
    setUp(machine, vector);
    const request = Uint8Array.from(Buffer.from(operands.requestHex, 'hex'));
    const length = new DataView(request.buffer).getUint16(0);
    machine.memory.write(CLP, new Uint8Array(8192));
    machine.memory.write(CLP, request);
    const place = length % 8 === 0 && length < 64 ? length : 32;
    const bytes = new Uint8Array(2);
    new DataView(bytes.buffer).setUint16(0, operands.responseLengthField);
    machine.memory.write(CLP + place, bytes);
    const answer = machine.cpu.clp({ address: CLP, problemState: operands.problemState });
    expect(answer).toMatchObject({
      cc: wanted.cc,
      programInterruption: wanted.programInterruption && {
        name: wanted.programInterruption.name.replaceAll('-', ' '),
        ilc: 4,
      },
    });
    if (answer.cc === null) return;
    const response = machine.memory.read(CLP + length, 4);
    expect(new DataView(response.buffer).getUint16(2)).toBe(Number(wanted.responseCode));
    const all = Buffer.from(machine.memory.read(CLP + length, wanted.response.length / 2)).toString('hex');
    expect(all).toBe(wanted.response);
  });

  it.each(MSI)('$id', (vector) => {
    const machine = fresh(vector.basis === 'qemu-specific');
    const fn = machine.functions[1] as PciFunction;
    const { operands, state, expect: wanted } = vector;
    const put = (address: number, value: bigint): void => {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, value);
      machine.memory.write(address, bytes);
    };
    for (let n = 0; n < 256; n++) for (const table of [0x1100_8000, 0x1100_8800]) put(table + 8 * n, 0x400n);
    for (const { address, qword } of state.memory) put(Number(address), BigInt(qword));
    const modify = (oc: number, fib: Printed): void => {
      machine.memory.write(FIB, blockOf(fib));
      expect(machine.cpu.mpcifc({ fh: fn.handle, oc, fib: FIB }).cc).toBe(0);
    };
    modify(4, state.registered);
    for (const { start, length } of state.rpcit)
      expect(machine.cpu.rpcit({ fh: fn.handle, start: BigInt(start), length: BigInt(length) }).cc).toBe(0);
    modify(2, operands.interrupt);
    const { address, data, vectorControl } = operands.msix;
    machine.enableMsix(fn, [{ address: BigInt(address), data }]);
    expect(fn.instance?.write(1, 12, Uint8Array.of(vectorControl, 0, 0, 0))).toBe('ok');
    const store = (offset: number, value: bigint, width: 2 | 4 | 8): void => {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, value, true);
      expect(fn.instance?.write(4, 0x3000 + offset, bytes.subarray(0, width))).toBe('ok');
    };
    store(0x00, BigInt(operands.iova), 8);
    store(0x08, BigInt(operands.length), 4);
    store(0x10, BigInt(operands.iova), 8);
    store(0x18, 0n, 2); // MSI-X vector of completion
    store(0x0c, 1n, 4);
    machine.config.read(fn.id, 0, 4);
    expect(fn.instance?.read(4, 0x301c, 1)).toEqual(Uint8Array.of(1));
    const base = (field: string): number => Number(BigInt(operands.interrupt[field] ?? 0) & ~7n);
    expect(Buffer.from(machine.memory.read(base('aibv'), 32)).toString('hex')).toBe(wanted.aibv);
    expect(Buffer.from(machine.memory.read(base('aisb'), 16)).toString('hex')).toBe(wanted.aisb);
    const raised = /[^0]/.test(wanted.aisb) ? [{ isc: 3, slot: 1, ns: 0 }] : [];
    expect(machine.takeAdapterInterrupts()).toEqual(raised);
    expect(machine.takeInterrupts()).toEqual([]);
    expect(machine.cpu.stpcifc({ fh: fn.handle, fib: 0x3000 }).cc).toBe(0);
    expect(machine.memory.read(0x3000, 80)).toEqual(blockOf(wanted.fibAfter));
  });

  it('Z-FH: disable resets the device and forgets its registrations, enable gives the handle its bit back', () => {
    const machine = fresh();
    const fn = first(machine);
    const { handle } = fn;
    mpcifc(machine, 4, VALID_FIB);
    mpcifc(machine, 2, INTERRUPTS_FIB);
    fn.instance?.write(4, 0x2000, Uint8Array.of(0x77));
    expect(set(machine, handle, 1, 0)).toEqual([0x10, handle - 2 ** 31]);
    expect([
      fn.state,
      fn.translation,
      machine.cpu.pcilg({ fh: handle, as: 0, offset: 0, length: 4 }).cc,
    ]).toEqual(['disabled', undefined, 3]);
    expect(set(machine, fn.handle, 0)).toEqual([0x10, handle]);
    expect(machine.cpu.stpcifc({ fh: handle, fib: FIB }).cc).toBe(0);
    expect(machine.memory.read(FIB, 80)).toEqual(encodeFib({ fc: 0x80 }));
    expect(fn.instance?.read(4, 0x2000, 1)).toEqual(Uint8Array.of(0x52));
    expect(fn.config.command.memory).toBe(true);
  });

  it('SCLP takes a function out of the configuration and back', () => {
    const machine = fresh();
    const fn = first(machine);
    expect(machine.cpu.sclp('configure', fn.fid)).toBe(0x0120);
    expect(machine.cpu.sclp('deconfigure', fn.fid)).toBe(0x0020);
    expect([fn.state, machine.cpu.sclp('deconfigure', fn.fid)]).toEqual(['standby', 0x0120]);
    expect(machine.cpu.sclp('configure', 0x999)).toBe(0x09f0);
    expect(machine.cpu.sclp('configure', fn.fid)).toBe(0x0020);
    expect(fn.state).toBe('disabled');
  });

  it('SIC: in single mode one interrupt of a subclass until the next SIC', async () => {
    const bell = defineDevice({
      name: 'bell',
      vendorId: 1,
      deviceId: 2,
      bars: [
        {
          size: 0x1000,
          registers: {
            RING: { offset: 0, width: 4, access: 'wo', write: (value, ctx) => ctx.msix.raise(value) },
          },
        },
      ],
      capabilities: { msix: { vectors: 2, bar: 0, tableOffset: 0x800, pbaOffset: 0xc00 } },
    }) as Device;
    const machine = await createMachine({
      core,
      platform: 's390x',
      hostMemoryBytes: 0x10000,
      slots: [{ device: bell, options: { zpciMode: 'native' } }],
    });
    const fn = first(machine);
    const summary = 0x5000;
    const fib = { isc: 3, noi: 2, aibvo: 0, sum: true, aisbo: 1, aibv: 0x4000, aisb: summary };
    expect(mpcifc(machine, 2, fib).cc).toBe(0);
    machine.enableMsix(
      fn,
      [0, 1].map((data) => ({ address: 0xfe00_0000_0000_0000n, data })),
    );
    /** Rings for vector 1 with the summary byte as given; the interrupts that come of it. */
    const ring = (before: number): number[] => {
      machine.memory.write(summary, Uint8Array.of(before));
      machine.memory.write(0x4000, new Uint8Array(8));
      const at = { fh: fn.handle, as: 0, offset: 0, length: 4 };
      expect(machine.cpu.pcistg({ ...at, data: 0x0100_0000 }).cc).toBe(0);
      expect([...machine.memory.read(0x4000, 1), ...machine.memory.read(summary, 1)]).toEqual([
        0x40,
        before | 0x40,
      ]);
      return machine.takeAdapterInterrupts().map(({ isc }) => isc);
    };
    expect([ring(0), ring(0), ring(0x40), ring(1)]).toEqual([[3], [3], [], []]);
    const sic = (operation: number, isc = 3) => machine.cpu.sic({ operation, isc }).cc;
    expect([sic(1), ring(0), ring(0), sic(1, 2), ring(0)]).toEqual([0, [3], [], 0, []]);
    expect([sic(1), ring(0), ring(0), sic(0), ring(0), ring(0)]).toEqual([0, [3], [], 0, [3], [3]]);
    expect(machine.cpu.sic({ operation: 2, isc: 3 }).programInterruption?.name).toBe('operand');
    const inProblemState = machine.cpu.sic({ operation: 1, isc: 3, problemState: true });
    expect(inProblemState.programInterruption?.name).toBe('privileged operation');
    expect(ring(0)).toEqual([3]);
  });

  it('Z-FMB-01: the measurement block counts each instruction once, and says when it was written', async () => {
    const machine = await createMachine({
      core,
      platform: 's390x',
      hostMemoryBytes: 0x10000,
      slots: [
        {
          device: virtioLike({ vectors: 1024 }),
          options: { zpciMode: 'native', relaxed: true, maxstbl: 4096 },
        },
      ],
    });
    const fn = first(machine);
    expect(mpcifc(machine, 10, { fmb: 0x4008n })).toMatchObject({ cc: 1 });
    expect(machine.takeEvents()).toMatchObject([{ code: 0x2c, address: 0x4008n }]);
    expect(mpcifc(machine, 10, { fmb: 0x4000n }).cc).toBe(0);
    machine.cpu.pcilg({ fh: fn.handle, as: 1, offset: 0, length: 8 });
    for (let n = 0; n < 2; n++) machine.cpu.pcistg({ fh: fn.handle, as: 1, offset: 0, length: 8, data: 1 });
    machine.cpu.pcistb({ fh: fn.handle, as: 1, offset: 0, length: 4096, source: new Uint8Array(4096) });
    machine.run(4e9);
    const block = new DataView(machine.memory.read(0x4000, 64).buffer);
    const counters = [16, 24, 32, 40].map((at) => Number(block.getBigUint64(at)));
    expect([block.getUint32(4), Number(block.getBigUint64(8)) & 1, ...counters]).toEqual([0, 0, 1, 2, 1, 0]);
    expect(Number(block.getBigUint64(8) >> 1n)).toBe(Math.floor(4e9 * 4.096));
    machine.run(8e9);
    expect(new DataView(machine.memory.read(0x4000, 8).buffer).getUint32(4)).toBe(2);
    expect(mpcifc(machine, 10, { fmb: 0n }).cc).toBe(0);
    machine.run(8e9);
    expect(new DataView(machine.memory.read(0x4000, 8).buffer).getUint32(4)).toBe(2);
    // A block outside memory: an event, and no further updates.
    expect(mpcifc(machine, 10, { fmb: 0x10_0000n }).cc).toBe(0);
    machine.run(9e9);
    expect(machine.takeEvents().map(({ code }) => code)).toEqual([0x2a]);
  });

  it('a measurement block that is registered anew is counted from the beginning, and the old one left alone', async () => {
    const machine = fresh();
    const samples = (at: number) => new DataView(machine.memory.read(at, 8).buffer).getUint32(4);
    for (const at of [0x4000, 0x4100]) machine.memory.write(at, new Uint8Array(64).fill(0xee));
    expect(mpcifc(machine, 10, { fmb: 0x4000n }).cc).toBe(0);
    machine.run(1e9);
    expect(mpcifc(machine, 10, { fmb: 0x4100n }).cc).toBe(0);
    machine.run(3.5e9); // the update of the first would have been in it
    expect([samples(0x4000), samples(0x4100)]).toEqual([0xeeee_eeee, 0xeeee_eeee]);
    machine.run(8e9);
    expect([samples(0x4000), samples(0x4100)]).toEqual([0xeeee_eeee, 1]);
    expect(machine.takeEvents()).toEqual([]);
  });

  it('refuses blocks outside memory, and other platforms', async () => {
    const machine = fresh();
    const fh = first(machine).handle;
    expect(machine.cpu.clp({ address: HOST_BYTES - 2 }).programInterruption?.name).toBe('addressing');
    expect(machine.cpu.mpcifc({ fh, oc: 4, fib: HOST_BYTES - 72 }).programInterruption?.name).toBe(
      'addressing',
    );
    expect(machine.cpu.stpcifc({ fh, fib: 2n ** 63n }).programInterruption?.name).toBe('addressing');
    const x86 = await createMachine({ core });
    expect(() => x86.cpu.clp({ address: 0 })).toThrow('CLP is an s390x instruction');
  });
});
