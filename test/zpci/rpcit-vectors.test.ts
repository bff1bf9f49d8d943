/** RPCIT and DMA through I/O translation tables against what QEMU 7.2 was observed to do: cases of vectors/zpci-qemu72.json. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { virtioLike } from '../../src/devices/index.js';
import { createMachine, type Machine, type PciFunction } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

interface Range {
  readonly start: string;
  readonly length: string;
}

interface Case {
  readonly id: string;
  readonly group: string;
  readonly basis: 'architecture' | 'region' | 'model' | 'qemu-specific';
  readonly instruction: string;
  readonly state: {
    readonly function: string;
    readonly setup?: readonly string[];
    readonly memory?: readonly { readonly address: string; readonly qword: string }[];
    readonly memoryElsewhere?: string;
    readonly registered?: { readonly pba: string; readonly pal: string; readonly iota: string };
    readonly rpcit?: readonly Range[];
    readonly afterRpcit?: string;
  };
  readonly operands: {
    readonly fh: string;
    readonly start?: string;
    readonly length: string | number;
    readonly iova?: string;
    readonly r2?: number;
    readonly problemState?: boolean;
  };
  readonly expect: {
    readonly cc: number | null;
    readonly status: number | null;
    readonly programInterruption: { readonly code: number; readonly name: string } | null;
    readonly fibAfter?: { readonly fc: number };
    readonly deviceCompleted?: boolean;
    readonly bytesWritten?: number;
    readonly memoryChanged?: readonly { readonly address: string; readonly hex: string }[];
  };
}

const { cases } = JSON.parse(
  readFileSync(new URL('../vectors/zpci-qemu72.json', import.meta.url), 'utf8'),
) as { cases: readonly Case[] };
const REFRESHES = cases.filter(({ instruction }) => instruction === 'RPCIT');
const TRANSFERS = cases.filter(({ instruction }) => instruction === 'DMA-WRITE');

const REGION = 0x1100_0000;
const SEGMENT = 0x1100_4000;
const PAGES = [0x1100_8000, 0x1100_8800];
const VALID = { pba: 0x1_0000_0000, pal: 0x1_003f_ffff, iota: 0x1100_0804 };

// The fc bits of a function information block: enabled, error, blocked, registered.
function fcOf(fn: PciFunction): number {
  const registered = fn.translation === undefined ? 0 : 0x10;
  const state = { enabled: 0x80, 'error-ls-open': 0xc0, error: 0xe0 }[fn.state as string] ?? 0;
  return state | registered;
}

it('there are 48 cases of RPCIT and 21 of DMA', () => {
  expect([REFRESHES.length, TRANSFERS.length]).toEqual([48, 21]);
});

describe.each(BUILDS)('translation tables on the %s build', (build) => {
  const machines = new Map<boolean, Machine>();

  beforeAll(async () => {
    const core = await WebAssembly.compile(await readBuild(build));
    for (const qemuQuirks of [false, true])
      machines.set(
        qemuQuirks,
        await createMachine({
          core,
          platform: 's390x',
          hostMemoryBytes: 0x1420_0000,
          slots: [
            { device: virtioLike({ vectors: 1024 }), handleIndex: 0, options: { qemuQuirks } },
            {
              device: virtioLike({ deviceId: 0x1044 }),
              handleIndex: 1,
              options: { qemuQuirks, dmaInErrorLsOpen: qemuQuirks ? 'allowed' : 'blocked' },
            },
          ],
        }),
      );
    return () => machines.clear();
  });

  const put = (machine: Machine, address: number, value: bigint): void => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value);
    machine.memory.write(address, bytes);
  };

  /** Brings tables, registration and state to where the case begins. */
  function setUp({ state, operands }: Case, machine: Machine): PciFunction {
    for (const fn of machine.functions) {
      fn.state = 'enabled';
      fn.translation = undefined;
    }
    machine.memory.write(REGION, new Uint8Array(0x9000));
    machine.memory.write(0x1400_0000, new Uint8Array(0x20_0000).fill(0x55));
    if (state.memoryElsewhere?.startsWith('entries 0-7') === true) {
      for (const table of [REGION, SEGMENT])
        for (const n of [0, 1, 2, 3, 4, 5, 6, 7, 2047]) put(machine, table + 8 * n, 0x20n);
      for (const table of PAGES) for (let n = 0; n < 256; n++) put(machine, table + 8 * n, 0x400n);
    } else if (state.memoryElsewhere !== undefined) expect(state.memoryElsewhere).toMatch(/^zero|0x20|0x400/);
    for (const { address, qword } of state.memory ?? []) put(machine, Number(address), BigInt(qword));
    const index = Number(operands.fh) & 1;
    const fn = machine.functions[index] as PciFunction;
    const setup = state.setup ?? [];
    if (state.registered !== undefined) {
      const { pba, pal, iota } = state.registered;
      fn.translation = { pba: BigInt(pba), pal: BigInt(pal), iota: BigInt(iota) };
    } else if (setup.some((line) => line.startsWith('MPCIFC register-ioat'))) fn.translation = VALID;
    if (setup.some((line) => line.startsWith('RPCIT with no translation')))
      machine.cpu.rpcit({ fh: fn.handle, start: VALID.pba, length: 0x1000 });
    if (setup.some((line) => line.includes('oc 9'))) fn.state = 'error-ls-open';
    if (setup.some((line) => line.includes('oc 7')) || state.function === 'recovered') fn.state = 'enabled';
    if (state.function === 'disabled') fn.state = 'disabled';
    for (const { start, length } of state.rpcit ?? [])
      expect(machine.cpu.rpcit({ fh: fn.handle, start: BigInt(start), length: BigInt(length) }).cc).toBe(0);
    return fn;
  }

  it.each(REFRESHES)('$id', (vector) => {
    const machine = machines.get(vector.basis === 'qemu-specific') as Machine;
    const fn = setUp(vector, machine);
    const { operands, expect: wanted } = vector;
    const before = fn.stats.refreshes;
    machine.takeEvents();
    const answer = machine.cpu.rpcit({
      fh: Number(operands.fh),
      start: BigInt(operands.start ?? 0),
      length: BigInt(operands.length),
      r2: operands.r2 ?? 2,
      problemState: operands.problemState ?? false,
    });
    expect([answer.cc, answer.status, answer.programInterruption?.code ?? null]).toEqual([
      wanted.cc,
      wanted.status ?? 0,
      wanted.programInterruption?.code ?? null,
    ]);
    expect(fn.stats.refreshes - before).toBe(wanted.cc === 0 ? 1 : 0);
    expect(machine.takeEvents().length).toBe(wanted.status === 8 ? 1 : 0);
    if (wanted.fibAfter !== undefined) expect(fcOf(fn)).toBe(wanted.fibAfter.fc);
  });

  it.each(TRANSFERS)('$id', (vector) => {
    const machine = machines.get(vector.basis === 'qemu-specific') as Machine;
    const fn = setUp(vector, machine);
    const { operands, state, expect: wanted } = vector;
    const length = Number(operands.length);
    const iova = BigInt(operands.iova ?? 0);
    const dataEntry = 0x1100_8000 + 8 * Number((iova >> 12n) & 0xffn);
    const { afterRpcit } = state;
    if (afterRpcit?.includes('0x400') === true) put(machine, dataEntry, 0x400n);
    else if (afterRpcit?.includes('set to 0') === true) put(machine, dataEntry, 0n);
    else if (afterRpcit?.includes('protection bit') === true) {
      put(machine, dataEntry, 0x1410_3200n);
      machine.cpu.rpcit({ fh: fn.handle, start: iova & ~0xfffn, length: 0x1000 });
    } else if (afterRpcit?.includes('deregister') === true) fn.translation = undefined;
    else if (afterRpcit?.includes('to error') === true) {
      expect(machine.cpu.rpcit({ fh: fn.handle, start: 0x8_0000_0000, length: 0x1000 }).cc).toBe(1);
      fn.state = 'error-ls-open';
    } else expect(afterRpcit).toBeUndefined();
    // The writer: address, length, where to look for completion (a page that stays mapped), then the doorbell.
    const ring = ringPage(vector);
    const outcome: string[] = [];
    // From byte 29 on none of the next 227 is the fill byte.
    const bytes = Uint8Array.from({ length }, (_, p) => 3 * (p + 29) + 1);
    machine.takeEvents();
    const store = (offset: number, width: 4 | 8, value: bigint): void => {
      const data = new Uint8Array(width);
      if (width === 8) new DataView(data.buffer).setBigUint64(0, value, true);
      else new DataView(data.buffer).setUint32(0, Number(value), true);
      expect(fn.instance?.write(4, 0x3000 + offset, data)).toBe('ok');
    };
    store(0x24, 4, 29n); // POSITION
    store(0x00, 8, iova);
    store(0x08, 4, BigInt(length));
    store(0x10, 8, ring);
    store(0x0c, 4, 1n);
    machine.config.read(fn.id, 0, 4); // any access ends with what the device has set going
    const status = fn.instance?.read(4, 0x3000 + 0x1c, 4) as Uint8Array;
    outcome.push(status[0] === 1 ? 'completed' : 'failed');
    const count = fn.instance?.read(4, 0x3020, 4) as Uint8Array;
    const written = new DataView(count.slice().buffer).getUint32(0, true);
    expect([outcome[0], written]).toEqual([
      wanted.deviceCompleted === true ? 'completed' : 'failed',
      wanted.bytesWritten,
    ]);
    const changed = wanted.memoryChanged?.flatMap(({ address, hex }) =>
      [...Buffer.from(hex, 'hex').keys()].map((n) => Number(address) + n),
    );
    const image = machine.memory.read(0x1400_0000, 0x20_0000);
    const now = [...image.keys()].filter((n) => image[n] !== 0x55).map((n) => n + 0x1400_0000);
    if (changed?.length === 0) expect(now).toEqual([]);
    else {
      expect(now.every((at) => changed?.includes(at))).toBe(true);
      expect(image.filter((byte) => byte !== 0x55).length).toBeGreaterThan(0);
      expect(now.length).toBe(length);
      const seen = now.map((at) => image[at - 0x1400_0000]);
      // Frames that are not in the order of their pages hold the same bytes in another order.
      if (wanted.memoryChanged?.length === 1) expect(seen).toEqual([...bytes]);
      else expect(seen.sort()).toEqual([...bytes].sort());
    }
    if (wanted.fibAfter !== undefined) expect(fcOf(fn)).toBe(wanted.fibAfter.fc);
    expect(machine.takeEvents().length > 0).toBe(((wanted.fibAfter?.fc ?? 0) & 0x20) !== 0);
  });

  /** An I/O address that a completion can be read from where the case leaves the function able to. */
  function ringPage({ state }: Case): bigint {
    const first = state.memory?.find(({ address }) => Number(address) === 0x1100_8000);
    expect(first).toBeDefined();
    return 0x1_0000_0000n;
  }
});
