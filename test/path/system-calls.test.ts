/** System calls of the host that move bytes with PCI instructions: ranges they refuse, and what they issue. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countAccess, type PathId, splitAccess } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { pattern } from '../support/reference.js';
import { block, comparable, PAGE, rig, sizesOf } from './support.js';

const CALL: PathId = 'zpci-mmio-call';
const ISM: PathId = 'vfio-ism-rw';

/** Ranges of up to two pages, half of them leaving their page. */
const RANGE = fc.record({
  offset: fc.oneof(fc.nat(2 * PAGE), fc.constantFrom(0, 1, PAGE - 1, PAGE)),
  bytes: fc.oneof(fc.integer({ min: 1, max: 2 * PAGE }), fc.constantFrom(1, 8, PAGE - 1, PAGE, PAGE + 1)),
});
const isWithinPage = (offset: number, bytes: number): boolean => bytes > 0 && (offset % PAGE) + bytes <= PAGE;

describe.each(BUILDS)('system calls with the %s build', (variant) => {
  const core = useBuild(variant);

  it('Z-CHUNK-18 s390_pci_mmio_write of 4096 bytes succeeds at a page, is EINVAL one byte later and for 0 bytes', () => {
    const good = block(CALL, PAGE, PAGE);
    expect([good.error, good.fault]).toEqual([undefined, undefined]);
    expect(sizesOf(good)).toEqual(sizesOf(block('zpci-memcpy-new', PAGE, PAGE)));
    expect(good.totals).toMatchObject({ systemCalls: 1, hostOperations: 32, guestInstructions: 0, exits: 0 });
    for (const op of ['write', 'read'] as const) {
      for (const [offset, bytes] of [
        [PAGE + 1, PAGE],
        [PAGE, 0],
        [PAGE + 5, 0],
        [0, PAGE + 1],
        [PAGE - 1, 2],
      ] as const) {
        const input = { op, offset, bytes, block: true } as const;
        const refused = splitAccess(CALL, input);
        expect(refused.error, `${op} ${bytes} at ${offset}`).toBe('EINVAL');
        expect(refused.fault).toEqual({
          kind: 'call',
          text: 'EINVAL',
          errno: 'EINVAL',
          offset,
          answer: null,
        });
        expect([refused.accesses, refused.tlps, refused.totals.bytesDone]).toEqual([[], [], 0]);
        expect(countAccess(CALL, input)).toEqual({ totals: refused.totals, fault: refused.fault });
      }
    }
  });

  it('zpci.md 3.4: within a page the call is the copy of memcpy_toio, in one system call', async () => {
    const { machine, fn } = await rig(core(), CALL);
    const memory = fn.barMemory(0);
    fc.assert(
      fc.property(RANGE, fc.nat(64), fc.nat(200), ({ offset, bytes }, source, seed) => {
        const base = fn.bars[0]?.address ?? 0;
        const input = { op: 'write', offset, bytes, block: true, sourceAddress: source, base } as const;
        const listed = splitAccess(CALL, input);
        const data = pattern(bytes, seed);
        memory.fill(0xee);
        const call = { path: CALL, function: fn, bar: 0, offset, data, sourceAddress: source } as const;
        const { fault, totals } = machine.cpu.write(call);
        expect(fault).toEqual(listed.fault);
        expect(comparable(totals)).toEqual(comparable(listed.totals));
        const expected = new Uint8Array(memory.length).fill(0xee);
        if (isWithinPage(offset, bytes)) {
          expect(listed.error).toBeUndefined();
          expect(listed.accesses).toEqual(splitAccess('zpci-memcpy-new', input).accesses);
          expect(totals.systemCalls).toBe(1);
          expected.set(data, offset);
        } else {
          expect(listed.error).toBe('EINVAL');
          expect(totals.systemCalls).toBe(0);
        }
        expect(Buffer.compare(memory, expected)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('zpci.md 3.4: instructions of the call answer and count as the machine says, a blocked function stops it', async () => {
    const { machine, fn } = await rig(core(), CALL);
    const call = { path: CALL, function: fn, bar: 0, offset: 0, data: pattern(152) } as const;
    expect(machine.cpu.write(call).fault).toBeUndefined();
    // 128, then 24: two blocks.
    expect(fn.stats).toMatchObject({ storeBlocks: 2, stores: 0, loads: 0 });
    fn.barMemory(0).fill(0);
    fn.state = 'error';
    const { fault, totals } = machine.cpu.write(call);
    expect(fault).toMatchObject({ kind: 'zpci', offset: 0, errno: 'EIO', answer: { cc: 1, status: 12 } });
    expect(totals).toMatchObject({ bytesDone: 0, hostOperations: 0, tlps: 0 });
    expect(fn.barMemory(0).every((byte) => byte === 0)).toBe(true);
    expect(fn.stats.storeBlocks).toBe(2);
  });

  it('zpci.md 3.4: a refused instruction in the middle ends the call behind what was done', async () => {
    // 7 bytes at 3 are 4, 2 and 1; the doubleword rule refuses the 2 at 7.
    const options = { dwordRule: 'qemu' } as const;
    const listed = splitAccess(CALL, { op: 'write', offset: 3, bytes: 7, block: true, options });
    expect(listed.fault).toMatchObject({
      kind: 'zpci',
      text: 'operand exception',
      errno: 'ENXIO',
      offset: 7,
    });
    expect(listed.fault?.answer?.programInterruption?.ilc).toBe(4);
    expect([listed.error, sizesOf(listed), listed.totals.bytesDone]).toEqual([undefined, [4], 4]);
    const { machine, fn } = await rig(core(), CALL, options);
    const data = pattern(7, 3);
    const { fault } = machine.cpu.write({ path: CALL, function: fn, bar: 0, offset: 3, data });
    expect(fault).toEqual(listed.fault);
    const [a, b, c, d] = data;
    expect([...fn.barMemory(0).subarray(0, 10)]).toEqual([0, 0, 0, a, b, c, d, 0, 0, 0]);
    expect(fn.stats).toMatchObject({ stores: 1, storeBlocks: 0 });
  });

  it('Z-PATH-13 a pwrite within a page is one PCISTB of its length, any other is EINVAL and writes nothing', async () => {
    const { machine, fn } = await rig(core(), ISM);
    const memory = fn.barMemory(0);
    let [done, refused] = [0, 0];
    fc.assert(
      fc.property(RANGE, fc.nat(200), ({ offset, bytes }, seed) => {
        const listed = block(ISM, offset, bytes);
        const data = pattern(bytes, seed);
        memory.fill(0xee);
        const before = fn.stats;
        const written = machine.cpu.write({ path: ISM, function: fn, bar: 0, offset, data });
        const expected = new Uint8Array(memory.length).fill(0xee);
        expect(written.fault).toEqual(listed.fault);
        if (isWithinPage(offset, bytes)) {
          done += 1;
          expect([listed.error, listed.fault]).toEqual([undefined, undefined]);
          expect(listed.accesses).toEqual([{ offset, bytes }]);
          expect(written.totals).toMatchObject({ systemCalls: 1, hostOperations: 1, guestInstructions: 0 });
          expect(fn.stats.storeBlocks - before.storeBlocks).toBe(1);
          expect(fn.stats.stores).toBe(before.stores);
          expected.set(data, offset);
        } else {
          refused += 1;
          expect(listed.error).toBe('EINVAL');
          expect(written.fault).toMatchObject({ kind: 'call', text: 'EINVAL' });
          expect(fn.stats).toEqual(before);
        }
        expect(Buffer.compare(memory, expected)).toBe(0);
      }),
      { numRuns: 200 },
    );
    expect(Math.min(done, refused)).toBeGreaterThan(20);
    expect(block(ISM, 0, PAGE).accesses).toEqual([{ offset: 0, bytes: PAGE }]);
    expect(block(ISM, 0, PAGE + 1).error).toBe('EINVAL');
    expect(block(ISM, 1, PAGE).error).toBe('EINVAL');
    expect(block(ISM, 0, 0).error).toBe('EINVAL');
  });

  it('only system calls that check their range take 0 bytes', () => {
    expect(() => block('vfio-rw-w8', 0, 0)).toThrow(/from 1 to/);
    expect(() => block('zpci-memcpy-new', 0, 0)).toThrow(/from 1 to/);
  });
});
