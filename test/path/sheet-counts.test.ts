/** Counts that the sheets print: 4096 bytes along every path, longer transfers, wire ratios. */
import { describe, expect, it } from 'vitest';
import {
  type AccessTotals,
  countAccess,
  createMachine,
  memoryDevice,
  type OptionInput,
  type PathId,
} from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { labels, pattern } from '../support/reference.js';
import { block, PAGE } from './support.js';

/** access-paths.md 7: TLPs of a write: `offset,size: vfio-rw-w4 vfio-rw-w8 x86-memcpy-toio arm64-memcpy-io x86-wc-line`. */
const LONGER = `
0,3: 2 2 2 3 1
1,3: 2 2 2 3 1
2,6: 2 2 2 6 1
0,11: 4 3 4 4 2
1,11: 4 4 4 11 2
3,11: 4 4 4 11 2
5,11: 4 3 4 4 2
0,12: 3 2 3 5 2
2,12: 4 4 4 12 2
4,12: 3 2 3 5 2
0,16: 4 2 4 2 2
1,16: 6 5 6 9 3
4,16: 4 3 4 9 3
7,16: 6 5 6 9 3
0,17: 5 3 5 3 3
3,17: 5 4 5 10 3
0,24: 6 3 6 3 3
6,27: 8 5 8 6 5
0,31: 9 6 9 10 4
1,31: 9 6 9 10 4
0,32: 8 4 8 4 4
2,32: 9 6 9 11 5
0,33: 9 5 9 5 5
5,59: 16 9 16 10 8
0,63: 17 10 17 14 8
1,63: 17 10 17 14 8
0,64: 16 8 16 8 1
1,64: 18 11 18 15 -
3,64: 18 11 18 15 -
3d,7: 3 3 3 7 -
7f,3: 2 2 2 3 -
ff8,16: 4 2 4 2 -
ffd,6: 4 4 4 6 -
fff,1: 1 1 1 1 1
0,96: 24 12 24 12 -
2,100: 26 15 26 23 -
0,128: 32 16 32 16 -
8,128: 32 16 32 16 -
1,128: 34 19 34 23 -
0,256: 64 32 64 32 -
0,4096: 1024 512 1024 512 -
1,4095: 1025 514 1025 518 -
0,2048: 512 256 512 256 -`;

const LONGER_PATHS: readonly PathId[] = [
  'vfio-rw-w4',
  'vfio-rw-w8',
  'x86-memcpy-toio',
  'arm64-memcpy-io',
  'x86-wc-line',
];

/** zpci.md 8.4: name, path, offset, options, then instructions, exits, system calls, host operations, TLPs by MPS. */
type Row = readonly [
  name: string,
  path: PathId,
  offset: number,
  options: OptionInput,
  instructions: number,
  exits: number,
  calls: number,
  operations: number,
  tlps: readonly [number, number, number, number],
];

const ROWS: readonly Row[] = [
  ['A, old helper', 'zpci-memcpy-old', 0, {}, 32, 0, 0, 32, [32, 32, 32, 32]],
  ['A, new helper', 'zpci-memcpy-new', 0, {}, 32, 0, 0, 32, [32, 32, 32, 32]],
  ['A with the MIO forms', 'zpci-mio', 0, {}, 32, 0, 0, 32, [32, 32, 32, 32]],
  ['B', 'zpci-memcpy-old', 4, {}, 1024, 0, 0, 1024, [1024, 1024, 1024, 1024]],
  ["B'", 'zpci-memcpy-new', 4, {}, 513, 0, 0, 513, [513, 513, 513, 513]],
  ['C', 'zpci-pcistb', 0, {}, 1, 0, 0, 1, [32, 16, 8, 1]],
  ['D', 'zpci-emulated', 0, {}, 32, 32, 0, 0, [0, 0, 0, 0]],
  ['E', 'zpci-vfio-w4', 0, {}, 32, 32, 512, 1024, [1024, 1024, 1024, 1024]],
  ['F', 'zpci-vfio-w8', 0, {}, 32, 32, 512, 512, [512, 512, 512, 512]],
  ['G', 'zpci-io-region', 0, {}, 1, 1, 1, 1, [32, 16, 8, 1]],
  ['H as A', 'zpci-interpreted', 0, {}, 32, 0, 0, 32, [32, 32, 32, 32]],
  ['I', 'zpci-vfio-ism', 0, {}, 1, 1, 1, 1, [32, 16, 8, 1]],
];

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  const core = useBuild(variant);

  const PICTURE: readonly (readonly [string, PathId, number | null, number | null, number])[] = [
    ['one PCISTB, ISM driver', 'zpci-vfio-ism', 1, 1, 16],
    ['one PCISTB, I/O region', 'zpci-io-region', 1, 1, 16],
    ['s390 memcpy_toio', 'zpci-memcpy-new', null, 32, 32],
    ['x86 WC, full lines', 'x86-wc-line', null, null, 64],
    ['x86 MOVDIR64B', 'x86-movdir64b', null, 64, 64],
    ['arm64 __memcpy_toio', 'arm64-memcpy-io', null, 512, 512],
    ['x86 memcpy_toio', 'x86-memcpy-toio', null, 1024, 1024],
    ['one pwrite, generation 3', 'vfio-rw-w8', null, 512, 512],
    ['one pwrite, generation 1', 'vfio-rw-w4', null, 1024, 1024],
    ['guest 8-byte stores, generation 3', 'kvm-qemu-vfio-w8', 512, 512, 512],
    ['guest 8-byte stores, generation 1', 'kvm-qemu-vfio-w4', 512, 1024, 1024],
  ];

  it.each(PICTURE)(
    'AP-12 4096 bytes at 0 by %s (%s): exits, host stores and TLPs of section 6',
    (_name, id, exits, stores, tlps) => {
      const { totals } = block(id, 0, 4096);
      expect(totals.exits).toBe(exits ?? 0);
      if (stores !== null) expect(totals.hostOperations).toBe(stores);
      expect(totals.tlps).toBe(id === 'x86-enqcmd' ? 2 * tlps : tlps);
      expect(totals.requests).toBe(tlps);
    },
  );

  it('AP-12 4096 bytes at 0 by 4-byte guest stores take 1024 of everything, whatever the generation', () => {
    for (const id of ['kvm-qemu-vfio-w4', 'kvm-qemu-vfio-w8'] as const) {
      const sum = { exits: 0, hostOperations: 0, tlps: 0 };
      for (let offset = 0; offset < 4096; offset += 4) {
        const { totals } = countAccess(id, { op: 'write', offset, bytes: 4 });
        sum.exits += totals.exits;
        sum.hostOperations += totals.hostOperations;
        sum.tlps += totals.tlps;
      }
      expect(sum).toEqual({ exits: 1024, hostOperations: 1024, tlps: 1024 });
    }
  });

  it('AP-12 a system call of 4096 bytes is one, and a path without guest has no instructions', () => {
    for (const id of ['vfio-rw-w4', 'vfio-rw-w8'] as const) {
      expect(block(id, 0, 4096).totals).toMatchObject({ guestInstructions: 0, exits: 0, systemCalls: 1 });
    }
    expect(block('x86-wc-line', 0, 4096).totals.guestInstructions).toBe(64);
  });

  it('access-paths.md 7: the number of TLPs of every longer transfer', () => {
    const wrong: string[] = [];
    const rows = LONGER.trim().split('\n');
    expect(rows.length).toBe(43);
    for (const row of rows) {
      const [, offset = '', size = '', cells = ''] = /^(\w+),(\d+): (.*)$/.exec(row) ?? [];
      for (const [n, cell] of cells.split(' ').entries()) {
        const id = LONGER_PATHS[n];
        if (cell === '-' || id === undefined) continue;
        const { tlps } = block(id, Number.parseInt(offset, 16), Number(size));
        if (tlps.length !== Number(cell))
          wrong.push(`${id} ${offset},${size}: ${tlps.length} instead of ${cell}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it.each(ROWS)(
    'zpci.md 8.4 row %s (%s at %d)',
    (_name, id, offset, options, instructions, exits, calls, operations, tlps) => {
      for (const [n, mps] of ([128, 256, 512, 4096] as const).entries()) {
        const { totals, fault } = countAccess(id, {
          op: 'write',
          offset,
          bytes: 4096,
          block: true,
          options: { ...options, mps },
        });
        expect(fault).toBeUndefined();
        expect({
          guestInstructions: totals.guestInstructions,
          exits: totals.exits,
          systemCalls: totals.systemCalls,
          hostOperations: totals.hostOperations,
          tlps: totals.tlps,
          deviceCalls: totals.deviceCalls,
        }).toEqual({
          guestInstructions: instructions,
          exits,
          systemCalls: calls,
          hostOperations: operations,
          tlps: tlps[n],
          deviceCalls: id === 'zpci-emulated' ? 512 : 0,
        });
      }
    },
  );

  it("zpci.md 8.4 row G': the I/O region fed by memcpy_toio takes 32 of everything", () => {
    const sum = { guestInstructions: 0, exits: 0, systemCalls: 0, hostOperations: 0, tlps: 0 };
    for (let offset = 0; offset < 4096; offset += 128) {
      const { totals } = countAccess('zpci-io-region', {
        op: 'write',
        offset,
        bytes: 128,
        options: { maxstbl: 128 },
      });
      sum.guestInstructions += totals.guestInstructions;
      sum.exits += totals.exits;
      sum.systemCalls += totals.systemCalls;
      sum.hostOperations += totals.hostOperations;
      sum.tlps += totals.tlps;
    }
    expect(sum).toEqual({ guestInstructions: 32, exits: 32, systemCalls: 32, hostOperations: 32, tlps: 32 });
  });

  it('zpci.md 8.4 row D: 512 device calls of 8 bytes, 1024 of 4 where the region takes no more', async () => {
    for (const [max, calls] of [
      [8, 512],
      [4, 1024],
      [0, 1024],
    ] as const) {
      const device = memoryDevice({ bars: [{ size: PAGE, impl: { min: 1, max } }] });
      const machine = await createMachine({
        core: core(),
        platform: 's390x',
        slots: [{ device }],
        hostMemoryBytes: PAGE,
      });
      const [fn] = machine.functions;
      if (fn === undefined) throw new Error('no function');
      const data = pattern(PAGE);
      const { totals } = machine.cpu.write({ path: 'zpci-emulated', function: fn, bar: 0, offset: 0, data });
      expect(totals).toMatchObject({ deviceCalls: calls, tlps: 0, exits: 32, guestInstructions: 32 });
      expect(machine.stats(fn).deviceCalls).toBe(calls);
      expect(Buffer.compare(fn.barMemory(0), data)).toBe(0);
    }
  });

  it('zpci.md 8.4: reading 4096 bytes takes 512 PCILG, 512 exits when intercepted, 1024 host loads of an old vfio', () => {
    const read = (id: PathId): AccessTotals =>
      countAccess(id, { op: 'read', offset: 0, bytes: 4096, block: true }).totals;
    for (const id of ['zpci-memcpy-old', 'zpci-memcpy-new'] as const) {
      expect(read(id)).toMatchObject({ guestInstructions: 512, exits: 0, hostOperations: 512 });
    }
    expect(read('zpci-vfio-w4')).toMatchObject({ guestInstructions: 512, exits: 512, hostOperations: 1024 });
    expect(read('zpci-vfio-w8')).toMatchObject({ guestInstructions: 512, exits: 512, hostOperations: 512 });
  });

  it('Z-PATH-11 a relaxed PCISTB of 11 bytes at 3 is one TLP of four dwords', () => {
    expect(labels(block('zpci-pcistb', 3, 11).tlps)).toEqual(['0:4/8.3']);
  });

  it('L-18 4096 bytes in pieces of 4 take 6.4 times the wire of one store block, in pieces of 8 3.6571 times', () => {
    const wire = (id: PathId): number =>
      countAccess(id, { op: 'write', offset: 0, bytes: 4096, block: true, base: 2 ** 40 }).totals
        .wireBytesDown;
    expect(wire('zpci-pcistb')).toBe(4480);
    expect(wire('zpci-pcistg4') / wire('zpci-pcistb')).toBe(6.4);
    expect(wire('zpci-pcistg8') / wire('zpci-pcistb')).toBeCloseTo(3.6571, 4);
  });
});
