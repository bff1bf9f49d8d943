/** The zPCI I/O region of the 2021 proposal: header, requests, and the system calls it refuses (zpci.md 8.3). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type IoRegionInstruction,
  type IoRegionResult,
  ioRegionCall,
  ioRegionRequest,
  splitAccess,
  ZtlpError,
} from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { hex, pattern, thrownBy } from '../support/reference.js';
import { PAGE, rig } from './support.js';

const BLOCK: IoRegionInstruction = { name: 'PCISTB', buffer: 0x10000, offset: 0, bytes: 128, as: 2 };

/** What the request for a legal block, changed by `change`, is answered. */
function ask(change: Partial<IoRegionInstruction>, maxstbl = 4096): IoRegionResult {
  return ioRegionCall(ioRegionRequest({ ...BLOCK, ...change }), maxstbl);
}

function errorOf(result: IoRegionResult): string | undefined {
  return result.error;
}

describe('the zPCI I/O region', () => {
  it('8.3: a request stands as flags, buffer, offset, length and space in the 32 bytes from 16 on', () => {
    const { position, data } = ioRegionRequest({
      name: 'PCISTB',
      buffer: 0x1122_3344_5566_7000n,
      offset: 0x0102_0304_0506_0708n,
      bytes: 0x0abc,
      as: 5,
    });
    expect(position).toBe(16);
    expect(hex(data)).toBe(
      '00 00 00 00 00 00 00 02 11 22 33 44 55 66 70 00 01 02 03 04 05 06 07 08 00 00 00 00 0a bc 05 00',
    );
    expect(hex(ioRegionRequest({ ...BLOCK, name: 'PCILG', bytes: 8 }).data.subarray(0, 8))).toBe(
      '00 00 00 00 00 00 00 01',
    );
  });

  it('8.3: a request executes the instruction it asks for', () => {
    for (const instruction of [
      BLOCK,
      { name: 'PCISTB', buffer: 0x2000n, offset: 3n, bytes: 11, as: 0 },
      { name: 'PCILG', buffer: 0x2ff8n, offset: 0xfffn, bytes: 8, as: 15 },
    ] as const) {
      const result = ioRegionCall(ioRegionRequest(instruction), 4096);
      const { buffer, offset } = instruction;
      expect(result).toEqual({
        error: undefined,
        instruction: { ...instruction, buffer: BigInt(buffer), offset: BigInt(offset) },
      });
    }
  });

  it('8.3: the header holds maxstbl and is read in parts', () => {
    const header = ioRegionCall({ op: 'read', position: 0, bytes: 16 }, 0x1000);
    expect(header).toEqual({
      error: undefined,
      data: Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0x10, ...Array(7).fill(0)]),
    });
    const part = ioRegionCall({ op: 'read', position: 8, bytes: 2 }, 128);
    expect(part).toEqual({ error: undefined, data: Uint8Array.from([0, 128]) });
  });

  it('Z-PATH-09 a buffer at 4 modulo 8, one that crosses a page, a read of 9 and a block above max are EIO', () => {
    expect(errorOf(ask({}))).toBeUndefined();
    for (let low = 1; low < 8; low++) expect(errorOf(ask({ buffer: 0x10000 + low })), `${low}`).toBe('EIO');
    expect(errorOf(ask({ buffer: 0x10f80 }))).toBeUndefined();
    expect(errorOf(ask({ buffer: 0x10f88 }))).toBe('EIO');
    expect(errorOf(ask({ bytes: 4096 }))).toBeUndefined();
    expect(errorOf(ask({ bytes: 4096, buffer: 0x10008 }))).toBe('EIO');
    expect(errorOf(ask({ name: 'PCILG', bytes: 8 }))).toBeUndefined();
    expect(errorOf(ask({ name: 'PCILG', bytes: 9 }))).toBe('EIO');
    expect(errorOf(ask({ bytes: 128 }, 128))).toBeUndefined();
    expect(errorOf(ask({ bytes: 129 }, 128))).toBe('EIO');
    expect(errorOf(ask({ bytes: 4097 }))).toBe('EIO');
  });

  it('Z-PATH-09 a read at 16, one that runs past the header and a write before the request are EFAULT', () => {
    const read = (position: number, bytes: number): string | undefined =>
      errorOf(ioRegionCall({ op: 'read', position, bytes }, 128));
    expect(read(16, 1)).toBe('EFAULT');
    expect(read(16, 32)).toBe('EFAULT');
    expect(read(8, 9)).toBe('EFAULT');
    expect(read(0, 48)).toBe('EFAULT');
    expect(read(47, 1)).toBe('EFAULT');
    const { data } = ioRegionRequest(BLOCK);
    for (const position of [0, 8, 15]) {
      expect(errorOf(ioRegionCall({ op: 'write', position, data }, 4096)), `${position}`).toBe('EFAULT');
    }
  });

  it('8.3: positions behind the region are EINVAL, unknown flags EIO, a length of 0 at a page EIO', () => {
    const { data } = ioRegionRequest(BLOCK);
    for (const position of [48, 49, 2 ** 40]) {
      expect(errorOf(ioRegionCall({ op: 'write', position, data }, 4096))).toBe('EINVAL');
      expect(errorOf(ioRegionCall({ op: 'read', position, bytes: 1 }, 4096))).toBe('EINVAL');
    }
    for (const flags of [0, 3, 4, 0x80]) {
      const changed = Uint8Array.from(data);
      changed[7] = flags;
      expect(errorOf(ioRegionCall({ op: 'write', position: 16, data: changed }, 4096)), `${flags}`).toBe(
        'EIO',
      );
    }
    expect(errorOf(ask({ bytes: 0 }))).toBe('EIO');
    expect(errorOf(ask({ bytes: 0, buffer: 0x10008 }))).toBeUndefined();
    // Model: only a whole request executes.
    for (const [position, length] of [
      [16, 31],
      [16, 33],
      [24, 24],
    ] as const) {
      const part = new Uint8Array(length);
      expect(errorOf(ioRegionCall({ op: 'write', position, data: part }, 4096))).toBe('EINVAL');
    }
  });

  it('Z-PATH-09 a request is executed exactly when no rule refuses it', () => {
    const requests = fc.record({
      name: fc.constantFrom('PCILG' as const, 'PCISTB' as const),
      buffer: fc.oneof(
        fc.nat(3 * PAGE),
        fc.nat(400).map((n) => 8 * n),
      ),
      offset: fc.nat(PAGE),
      bytes: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 4200 })),
      as: fc.nat(5),
    });
    fc.assert(
      fc.property(requests, fc.constantFrom(128, 4096), (request, maxstbl) => {
        const { name, buffer, bytes } = request;
        const legal =
          bytes <= (name === 'PCILG' ? 8 : maxstbl) && buffer % 8 === 0 && (buffer % PAGE) + bytes <= PAGE;
        expect(errorOf(ask(request, maxstbl))).toBe(legal ? undefined : 'EIO');
      }),
      { numRuns: 500 },
    );
  });

  it('refuses what is no call', () => {
    const wrong: readonly (readonly [() => unknown, string])[] = [
      [() => ioRegionCall({ op: 'copy' } as never, 128), 'op'],
      [() => ioRegionCall({ op: 'read', position: -1, bytes: 1 }, 128), 'position'],
      [() => ioRegionCall({ op: 'read', position: 0, bytes: 0.5 }, 128), 'bytes'],
      [() => ioRegionCall({ op: 'write', position: 16, data: [1] as never }, 128), 'data'],
      [() => ioRegionRequest({ ...BLOCK, name: 'PCISTG' as never }), 'name'],
      [() => ioRegionRequest({ ...BLOCK, bytes: 65536 }), 'bytes'],
      [() => ioRegionRequest({ ...BLOCK, as: 256 }), 'as'],
      [() => ioRegionRequest({ ...BLOCK, buffer: -8 }), 'buffer'],
      [() => ioRegionRequest({ ...BLOCK, offset: 0.5 }), 'offset'],
    ];
    for (const [action, field] of wrong) {
      const error = thrownBy(action);
      expect(error, field).toBeInstanceOf(ZtlpError);
      expect(error).toMatchObject({ field });
    }
  });
});

describe.each(BUILDS)('the zPCI I/O region with the %s build', (variant) => {
  const core = useBuild(variant);

  it('Z-PATH-03 row G: 1 exit, 1 pwrite of 32 bytes at 16, 1 host PCISTB of 4096', async () => {
    const listed = splitAccess('zpci-io-region', { op: 'write', offset: 0, bytes: PAGE });
    expect(listed.totals).toMatchObject({
      guestInstructions: 1,
      exits: 1,
      systemCalls: 1,
      hostOperations: 1,
    });
    expect(listed.accesses).toEqual([{ offset: 0, bytes: PAGE }]);
    // The one system call, and the instruction the kernel makes of it.
    const request = ioRegionRequest({ name: 'PCISTB', buffer: 0, offset: 0, bytes: PAGE, as: 0 });
    expect([request.op, request.position, request.data.length]).toEqual(['write', 16, 32]);
    const answer = ioRegionCall(request, PAGE);
    if (!('instruction' in answer)) throw new Error(`refused: ${answer.error}`);
    const { name, bytes, as, offset } = answer.instruction;
    expect([name, bytes, as, offset]).toEqual(['PCISTB', PAGE, 0, 0n]);
    // That instruction on a native function of a relaxed group does what the path does.
    const data = pattern(PAGE, 9);
    const host = await rig(core(), 'zpci-pcistb');
    const store = { fh: host.fn.handle, as, offset, length: bytes, source: data };
    expect(host.machine.cpu.pcistb(store)).toEqual({ cc: 0, status: 0, programInterruption: null });
    const guest = await rig(core(), 'zpci-io-region');
    guest.machine.cpu.write({ path: 'zpci-io-region', function: guest.fn, bar: 0, offset: 0, data });
    expect(Buffer.compare(guest.fn.barMemory(0), host.fn.barMemory(0))).toBe(0);
    expect(guest.fn.stats).toMatchObject({ storeBlocks: 1, stores: 0, tlps: 16 });
    expect(host.fn.stats).toMatchObject({ storeBlocks: 1, stores: 0, tlps: 16 });
  });
});
