/** The virtio-like function against the zPCI vectors that were recorded on one, and as its options shape it. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DeviceInstance } from '../../src/device/instance.js';
import { type VirtioLikeOptions, virtioLike } from '../../src/devices/index.js';
import { type Device, ZtlpError } from '../../src/index.js';
import { ConfigModel } from '../../src/pci/config-model.js';
import { ConfigSpace } from '../../src/pci/config-space.js';
import { plug, TestHost } from '../device/host.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { drive, le } from './support.js';

interface Case {
  readonly id: string;
  readonly basis: string;
  readonly instruction: string;
  readonly device?: { readonly id: string; readonly bars: Record<string, { readonly sizeLog2: number }> };
  readonly state: { readonly memoryBefore?: { readonly offset: string; readonly hex: string } };
  readonly operands: {
    readonly as: number;
    readonly offset: string;
    readonly len: number;
    readonly data?: string;
    readonly sourceHex?: string;
  };
  readonly expect: {
    readonly cc: number | null;
    readonly data?: string;
    readonly memoryAfter?: { readonly offset: string; readonly hex: string };
    readonly programInterruption: { readonly name: string } | null;
  };
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/zpci-qemu72.json', import.meta.url), 'utf8')) as {
  readonly cases: readonly Case[];
};
/** The two functions of the vectors. */
const NET0: VirtioLikeOptions = {
  vectors: 1024,
  deviceConfig: Uint8Array.of(0x52, 0x54, 0x00, 0xa1, 0xb2, 0xc3, 0x00, 0x01),
};
const RNG0: VirtioLikeOptions = { deviceId: 0x1044, classCode: 0x00ff00, vectors: 4 };

const unhex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

/** Loads, stores and store blocks of one dispatch each that reach the device; other checks are the instruction's. */
function reaches({
  instruction,
  operands,
  basis,
  state,
  expect: { cc, programInterruption },
}: Case): boolean {
  const { as, len } = operands;
  const at = Number(operands.offset) % 8;
  if (instruction !== 'PCILG' && instruction !== 'PCISTG') return false;
  if (basis !== 'architecture' && basis !== 'region') return false;
  if (state.memoryBefore === undefined || (cc !== 0 && programInterruption?.name !== 'operand')) return false;
  return (as === 1 || as === 4) && [1, 2, 4, 8].includes(len) && at + len <= 8;
}

describe('the loads and stores of the zPCI vectors', () => {
  const cases = vectors.cases.filter(reaches);

  it('are many, on both BARs, accepted and refused', () => {
    for (const as of [1, 4]) {
      const own = cases.filter(({ operands }) => operands.as === as);
      expect(own.filter(({ expect: { cc } }) => cc === 0).length).toBeGreaterThan(10);
      expect(own.filter(({ expect: { cc } }) => cc === null).length).toBeGreaterThan(3);
    }
  });

  it.each(cases.map((one) => [one.id, one] as const))('%s', (_, one) => {
    const { instance } = plug(virtioLike(NET0));
    const { as, len, data } = one.operands;
    const offset = Number(one.operands.offset);
    const before = one.state.memoryBefore as { readonly offset: string; readonly hex: string };
    // As software would put it there: the table takes whole doublewords, the registers single bytes.
    const bytes = unhex(before.hex);
    const start = Number(before.offset);
    const unit = as === 1 ? 8 : 1;
    for (let n = 0; n < bytes.length; n += unit)
      expect(instance.write(as, start + n, bytes.subarray(n, n + unit), undefined, { emulated: true })).toBe(
        'ok',
      );
    expect(instance.read(as, start, bytes.length)).toEqual(bytes);
    if (one.instruction === 'PCILG') {
      const answer = instance.read(as, offset, len, { emulated: true });
      if (one.expect.cc === null) expect(answer).toBe('rejected');
      else expect(answer).toEqual(unhex((one.expect.data as string).slice(-2 * len)));
      return;
    }
    const answer = instance.write(as, offset, unhex((data as string).slice(-2 * len)), undefined, {
      emulated: true,
    });
    expect(answer).toBe(one.expect.cc === null ? 'rejected' : 'ok');
    const after = one.expect.memoryAfter as { readonly offset: string; readonly hex: string };
    expect(instance.read(as, Number(after.offset), after.hex.length / 2)).toEqual(unhex(after.hex));
  });

  it('accept the store blocks to the Pending Bit Array, and ignore them', () => {
    const blocks = vectors.cases.filter(({ id }) => id.startsWith('pcistb.pba'));
    expect(blocks.length).toBeGreaterThan(0);
    for (const { operands } of blocks) {
      const { instance } = plug(virtioLike(NET0));
      const source = unhex(operands.sourceHex as string);
      const offset = Number(operands.offset);
      for (let n = 0; n < source.length; n += 8)
        expect(
          instance.write(operands.as, offset + n, source.subarray(n, n + 8), undefined, { emulated: true }),
        ).toBe('ok');
      expect(instance.read(operands.as, offset, source.length)).toEqual(new Uint8Array(source.length));
    }
  });
});

describe('the configuration space of the zPCI vectors', () => {
  const config = (): ConfigModel => {
    const { config: bytes, bars } = virtioLike(NET0);
    return new ConfigModel(bytes as Uint8Array, {
      bars: bars.map((bar) => (bar === undefined ? undefined : { size: bar.size })),
    });
  };
  const cases = vectors.cases.filter(
    ({ operands, expect: { cc }, state }) =>
      operands?.as === 15 && cc === 0 && state.memoryBefore !== undefined,
  );

  it.each(cases.map((one) => [one.id, one] as const))('%s', (_, { operands, state, expect: result }) => {
    const model = config();
    const before = state.memoryBefore as { readonly offset: string; readonly hex: string };
    const start = Number(before.offset);
    const byteAt = (n: number): number => Number(model.read(start + n, 1));
    // Cache Line Size and Interrupt Line are the first bytes of their windows, and what cases leave behind in them.
    if (operands.data !== undefined) model.write(start, unhex(before.hex)[0] as number, 1);
    expect([...unhex(before.hex)].map((_byte, n) => byteAt(n))).toEqual([...unhex(before.hex)]);
    const { len } = operands;
    const offset = Number(operands.offset);
    if (operands.data === undefined) {
      const read = Array.from({ length: len }, (_byte, n) => Number(model.read(offset + n, 1)));
      expect(Uint8Array.from(read)).toEqual(unhex((result.data as string).slice(-2 * len)));
      return;
    }
    const bytes = unhex(operands.data.slice(-2 * len));
    const value = bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
    model.write(offset, value, len as 1 | 2 | 4);
    const after = unhex(result.memoryAfter?.hex as string);
    expect([...after].map((_byte, n) => byteAt(n))).toEqual([...after]);
  });

  it('has the BARs of the functions that the vectors name', () => {
    for (const [id, options] of [
      ['net0', NET0],
      ['rng0', RNG0],
    ] as const) {
      const named = vectors.cases.find(({ device }) => device?.id === id)?.device?.bars ?? {};
      const { bars } = virtioLike(options);
      const sizes = bars.flatMap((bar, n) => (bar === undefined ? [] : [[String(n), bar.size]]));
      expect(sizes).toEqual(Object.entries(named).map(([n, { sizeLog2 }]) => [n, 2 ** sizeLog2]));
    }
  });

  it('is a well-formed dump whose capabilities name the places that are served', () => {
    const device = virtioLike(NET0);
    const space = new ConfigSpace(device.config as Uint8Array);
    expect(space.problems).toEqual([]);
    expect(space.capabilities.map(({ offset }) => offset)).toEqual([
      0x98, 0x84, 0x70, 0x60, 0x50, 0x40, 0xa4,
    ]);
    expect([space.vendorId, space.deviceId, space.revision, space.classCode]).toEqual([
      0x1af4, 0x1041, 1, 0x02_0000,
    ]);
    expect(device.capabilities.msix).toEqual({
      vectors: 1024,
      bar: 1,
      tableOffset: 0,
      pbaOffset: 0x4000,
      pbaBar: 1,
    });
    const view = new DataView((device.config as Uint8Array).buffer);
    expect([view.getUint8(0x64), view.getUint32(0x68, true), view.getUint32(0x6c, true)]).toEqual([
      4, 0x2000, 0x1000,
    ]);
  });
});

const W = {
  ADDRESS: 0x3000,
  LENGTH: 0x3008,
  NOTIFY: 0x300c,
  RING: 0x3010,
  VECTOR: 0x3018,
  STATUS: 0x301c,
} as const;

describe('the DMA writer', () => {
  function request(instance: DeviceInstance<unknown>, address: number, length: number, vector = 0): void {
    instance.write(4, W.ADDRESS, le(address, 8));
    instance.write(4, W.LENGTH, le(length, 4));
    instance.write(4, W.VECTOR, le(vector, 2));
    instance.write(4, W.NOTIFY, le(0, 2));
  }
  const answer = (instance: DeviceInstance<unknown>): unknown => instance.read(4, W.STATUS, 8);
  const pattern = (from: number, length: number): number[] =>
    Array.from({ length }, (_, n) => (3 * (from + n) + 1) & 0xff);

  it('writes the pattern, then reads the ring, and runs on from request to request', () => {
    const { host, instance } = plug(virtioLike(RNG0));
    instance.setMsixControl(true, false);
    instance.write(1, 12, le(0, 4));
    instance.write(4, W.RING, le(0x40, 8));
    request(instance, 0x107, 37);
    request(instance, 0x300, 300);
    expect([...host.ram.subarray(0x107, 0x107 + 37)]).toEqual(pattern(0, 37));
    expect([...host.ram.subarray(0x300, 0x300 + 300)]).toEqual(pattern(37, 300));
    expect(host.ram[0x106]).toBe(0);
    expect(answer(instance)).toEqual(le((300n << 32n) | 1n, 8));
    expect(host.sent.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      'write 263',
      'read 64',
      'msix 0',
      'write 768',
      'read 64',
      'msix 0',
    ]);
  });

  it('is completed when the read is, not when the write is', () => {
    const { host, instance } = plug(virtioLike());
    instance.setMsixControl(true, false);
    instance.write(1, 12, le(0, 4));
    request(instance, 0x2000, 64); // nothing is there: a posted write gets no answer
    expect(answer(instance)).toEqual(le((64n << 32n) | 1n, 8));
    instance.write(4, W.RING, le(0x2000, 8));
    request(instance, 0x100, 64);
    expect(answer(instance)).toEqual(le(2, 8));
    expect([...host.ram.subarray(0x100, 0x104)]).toEqual(pattern(64, 4));
    expect(host.sent.filter((line) => line.startsWith('msix')).length).toBe(1);
  });

  it('is failed when nothing leaves the function', () => {
    class Blocked extends TestHost {
      override dmaWrite: TestHost['dmaWrite'] = (_address, _bytes, _options, done) =>
        done({ status: 'blocked' });
      override dmaRead: TestHost['dmaRead'] = (_address, _length, _options, done) =>
        done({ status: 'blocked' });
    }
    const instance = new DeviceInstance(virtioLike(), new Blocked());
    request(instance, 0, 16);
    expect(answer(instance)).toEqual(le(2, 8));
  });

  it('sends no message without a vector, or with one that there is not', () => {
    const { host, instance } = plug(virtioLike({ vectors: 2 }));
    instance.setMsixControl(true, false);
    for (const vector of [0, 1]) instance.write(1, 16 * vector + 12, le(0, 4));
    for (const vector of [0xffff, 2, 1]) request(instance, 0, 1, vector);
    expect(host.sent.filter((line) => line.startsWith('msix'))).toEqual(['msix 1 0x0 0x0']);
    expect(instance.errors).toEqual([]);
  });

  it('is saved with its position', () => {
    const { host, instance } = plug(virtioLike());
    request(instance, 0, 10);
    const other = plug(virtioLike());
    other.instance.load(JSON.parse(JSON.stringify(instance.save())));
    request(other.instance, 0, 3);
    expect([...other.host.ram.subarray(0, 3)]).toEqual(pattern(10, 3));
    expect([...host.ram.subarray(0, 3)]).toEqual(pattern(0, 3));
  });
});

describe.each(BUILDS)('in a machine on the %s core', (build) => {
  const core = useBuild(build);

  it('writes by TLPs and interrupts behind the data', async () => {
    const driver = await drive(virtioLike(RNG0), { core: core() });
    driver.arm(4);
    driver.write64(4, W.ADDRESS, 0x1fc0);
    driver.write32(4, W.LENGTH, 128);
    driver.write(4, W.VECTOR, le(3, 2));
    driver.write(4, W.NOTIFY, le(0, 2));
    const expected = Uint8Array.from({ length: 128 }, (_, n) => 3 * n + 1);
    expect(driver.machine.memory.read(0x1fc0, 128)).toEqual(expected);
    expect(driver.read32(4, W.STATUS)).toBe(1);
    expect(driver.vectors()).toEqual([3]);
  });

  it('is found by firmware with both BARs, and has the configuration of the vectors on the bus', async () => {
    const { machine, fn } = await drive(virtioLike(NET0), { core: core() });
    const [found] = machine.enumerate();
    expect([found?.vendorId, found?.deviceId]).toEqual([0x1af4, 0x1041]);
    expect(fn.bars.map((bar) => bar?.size)).toEqual([
      undefined,
      0x8000,
      undefined,
      undefined,
      0x4000,
      undefined,
    ]);
    expect(machine.config.read(fn.id, 0x34, 4)).toBe(0x98);
    expect(machine.config.read(fn.id, 0x98, 4)).toBe(0x03ff_8411);
    machine.enableMsix(fn, [{ address: 0xfee0_0000, data: 0 }]);
    expect(machine.config.read(fn.id, 0x9a, 2)).toBe(0x83ff);
    expect(machine.config.read(fn.id, 0x100, 4)).toBe(0xffff_ffff);
  });
});

describe('the options of a virtio-like function', () => {
  it('place BARs, tables and registers', () => {
    const device = virtioLike({
      name: 'small',
      vectors: 2048,
      msixBar: 3,
      registerBar: 0,
      registerBarBytes: 256,
      deviceConfig: Uint8Array.of(7),
      writableBytes: 0,
    });
    expect(device.bars.map((bar) => bar?.size)).toEqual([
      256,
      undefined,
      undefined,
      0x10000,
      undefined,
      undefined,
    ]);
    const { instance } = plug(device);
    instance.write(0, 128, Uint8Array.of(9));
    expect(instance.read(0, 128, 1)).toEqual(Uint8Array.of(7));
    instance.write(3, 2047 * 16, le(5, 4));
    expect(instance.read(3, 2047 * 16, 4)).toEqual(le(5, 4));
  });

  it.each<[object | null, string]>([
    [{ vectors: 0 }, 'vectors'],
    [{ vectors: 2049 }, 'vectors'],
    [{ msixBar: 4 }, 'msixBar'],
    [{ msixBar: 5 }, 'msixBar'],
    [{ msixBar: 6 }, 'msixBar'],
    [{ registerBar: 5 }, 'registerBar'],
    [{ vectors: 256, msixBarBytes: 4096 }, 'msixBarBytes'],
    [{ msixBarBytes: 5000 }, 'msixBarBytes'],
    [{ registerBarBytes: 128 }, 'registerBarBytes'],
    [{ registerBarBytes: 300 }, 'registerBarBytes'],
    [{ deviceConfig: new Uint8Array(0) }, 'deviceConfig'],
    [{ deviceConfig: [1] }, 'deviceConfig'],
    [{ registerBarBytes: 256, deviceConfig: new Uint8Array(65) }, 'deviceConfig'],
    [{ writableBytes: 9 }, 'writableBytes'],
    [{ deviceId: 0x1_0000 }, 'deviceId'],
    [{ classCode: -1 }, 'classCode'],
    [{ name: 'a b' }, 'name'],
    [{ bar: 1 }, 'options.bar'],
    [null, 'options'],
  ])('are checked: %o', (options, field) => {
    let made: Device | undefined;
    let error: unknown;
    try {
      made = virtioLike(options as VirtioLikeOptions);
    } catch (thrown) {
      error = thrown;
    }
    expect(made).toBeUndefined();
    expect(error).toBeInstanceOf(ZtlpError);
    expect((error as ZtlpError).field).toBe(field);
    expect((error as ZtlpError).allowed).toBeTruthy();
  });
});
