/** Totals of single accesses, as exact numbers: what a comparison of two machines with each other would not notice. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createMachine,
  decodeTlp,
  encodeTlp,
  type Machine,
  memoryDevice,
  type PciFunction,
  ready,
  type SlotConfig,
  splitAccess,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

const BYTES = Uint8Array.from({ length: 4096 }, (_, n) => n * 3 + (n >> 8) + 1);

describe.each(BUILDS)('totals on the %s core', (build) => {
  let core: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    core = (await readBuild(build)) as Uint8Array<ArrayBuffer>;
    await ready(core);
  });

  async function machine(
    slot: Partial<SlotConfig>,
    platform: Machine['platform'] = 'x86-64',
  ): Promise<[Machine, PciFunction]> {
    const made = await createMachine({ core, platform, slots: [{ device: memoryDevice(), ...slot }] });
    return [made, made.functions[0] as PciFunction];
  }

  it('counts a write across 4 GiB with a 3 DW and a 4 DW header', () => {
    const { tlps, totals } = splitAccess('zpci-pcistb', {
      op: 'write',
      offset: 0xffc,
      bytes: 8,
      base: 0xffff_f000,
      ignoreFaults: true, // the instruction may not cross a page; its TLPs show the headers
    });
    expect(tlps.map(({ headerDw }) => headerDw)).toEqual([3, 4]);
    expect(totals.wireBytesDown).toBe(8 + 12 + 4 + 8 + 16 + 4);
  });

  it('gives the completions of an unaligned read the Byte Count that is left', async () => {
    const [made, fn] = await machine({ options: { vfioWidth: 'preserve', mps: 256 } });
    made.trace.start();
    made.cpu.read({ path: 'vfio-rw-w8', function: fn, bar: 0, offset: 1, length: 300 });
    const completions = made.trace.take().filter(({ tlp }) => tlp.type === 'CplD');
    expect(completions.map(({ tlp }) => [tlp.byteCount, tlp.lowerAddress])).toEqual([
      [300, 1],
      [45, 0],
    ]);
  });

  it('counts a write-combining line, and the last one of a fence apart', async () => {
    const [made, fn] = await machine({ addresses: [0x10000] });
    expect(made.cpu.wcStore({ function: fn, bar: 0, offset: 0, data: BYTES.subarray(0, 64) })).toMatchObject({
      requests: 1,
      tlps: 1,
      payloadBytesDown: 64,
      wireBytesDown: 84,
      wireBytesUp: 0,
    });
    made.cpu.wcStore({ function: fn, bar: 0, offset: 64, data: BYTES.subarray(0, 16) });
    made.cpu.wcStore({ function: fn, bar: 0, offset: 128, data: BYTES.subarray(0, 8) });
    expect(made.cpu.wcFence(fn)).toMatchObject({
      requests: 3,
      wireBytesDown: 3 * 28,
      lastWireBytesDown: 28,
      payloadBytesDown: 24,
    });
  });

  it('does not count a store that the region of an emulated function refuses', async () => {
    const device = memoryDevice({ bars: [{ size: 4096, valid: { min: 1, max: 4 } }] });
    const [made, fn] = await machine({ device }, 's390x');
    const input = { path: 'zpci-emulated', function: fn, bar: 0, offset: 0, block: false } as const;
    expect(made.cpu.write({ ...input, data: BYTES.subarray(0, 8) }).fault?.text).toContain('operand');
    expect(made.stats(fn).stores).toBe(0);
    made.cpu.write({ ...input, data: BYTES.subarray(0, 4) });
    expect(made.stats(fn).stores).toBe(1);
  });

  it('delivers no more than the write that is in the ring, whatever stood there before', async () => {
    const options = { zpciMode: 'native', maxstbl: 4096, relaxed: true } as const;
    const [made, fn] = await machine({ options }, 's390x');
    const write = (bytes: number): void => {
      made.cpu.write({
        path: 'zpci-pcistb',
        function: fn,
        bar: 0,
        offset: 0,
        data: BYTES.subarray(0, bytes),
      });
    };
    write(512);
    fn.barMemory(0).fill(0);
    write(256);
    expect(fn.barMemory(0).subarray(0, 256)).toEqual(BYTES.subarray(0, 256));
    expect(
      fn
        .barMemory(0)
        .subarray(256)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it('has nothing behind a TLP with its digest, and takes a message routed to device 0', () => {
    const bytes = encodeTlp({ type: 'MWr', td: true }, BYTES.subarray(0, 4));
    expect(decodeTlp(bytes)).toMatchObject({ digestOk: true, malformed: undefined });
    expect(decodeTlp(bytes).trailing.length).toBe(0);
    const message = encodeTlp({
      type: 'Msg',
      routing: 2,
      messageCode: 0x7e,
      message: 0x0102_0000_0000_0000n,
    });
    expect(decodeTlp(message).destination).toBe(0x0102);
  });

  it.each(['no', 1, null])('refuses td %o: a flag is a boolean', (td) => {
    expect(() => encodeTlp({ type: 'MRd', td: td as never })).toThrow(
      expect.objectContaining({ name: 'ZtlpError', field: 'td' }),
    );
  });

  it.each([{ prefixes: 'xx' }, { prefixes: null }, { prefixes: [null] }, { prefixes: 5 }])(
    'refuses %j with a typed error',
    ({ prefixes }) => {
      expect(() => encodeTlp({ type: 'MRd', prefixes: prefixes as never })).toThrow(
        expect.objectContaining({ name: 'ZtlpError' }),
      );
    },
  );
});
