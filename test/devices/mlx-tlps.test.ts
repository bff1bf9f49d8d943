/** The NIC's TLPs: table A8 row by row, its counts, splitting, and ordering attributes. */
import { describe, expect, it } from 'vitest';
import { wire } from '../../src/devices/index.js';
import type { MachineConfig, TracedTlp } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  BUFFERS,
  frame,
  LKEY,
  type NicDriver,
  nic,
  type SendFields,
  UAR_PAGE,
  type Variant,
} from './mlx-support.js';
import { MESSAGE_ADDRESS } from './support.js';

/** The link of A8. */
const LINK = { mps: 256, mrrs: 512, rcb: 64 } as const;
const PCIE_CONTROL = 0x68; // Device Control

describe.each(BUILDS)('TLPs of the NIC on the %s core', (build) => {
  const core = useBuild(build);
  const make = (variant: Variant = {}, options: MachineConfig['options'] = LINK): Promise<NicDriver> =>
    nic(variant, { core: core(), options });
  /** Armed all the way, and traced. */
  const ready = (driver: NicDriver): void => {
    driver.armEq();
    driver.armCq(0);
    driver.machine.trace.start();
  };

  it('MLX-40 makes the TLPs of A8, row by row, for 1514 bytes by doorbell', async () => {
    const driver = await make();
    driver.machine.memory.write(BUFFERS, frame(1496));
    ready(driver);
    driver.post({ header: frame(18), data: [{ address: BUFFERS, length: 1496 }] });
    const trace = driver.machine.trace.take();
    const full = { firstBe: 0xf, lastBe: 0xf };
    const posted = { type: 'MWr', attr: { ns: false, ro: false, ido: false } };
    const bar = BigInt(driver.fn.bars[0]?.address ?? 0) + BigInt(4096 * UAR_PAGE);
    const requests = trace.filter(({ tlp }) => tlp.flow !== 'CPL');
    expect(
      requests.map(({ direction, tlp }) => [direction, tlp.type, BigInt(tlp.address), tlp.length]),
    ).toEqual([
      ['down', 'MWr', bar + 0x800n, 2], // row 1
      ['up', 'MRd', BigInt(driver.sqAt), 16], // row 2
      ['up', 'MRd', BigInt(BUFFERS), 128], // row 4
      ['up', 'MRd', BigInt(BUFFERS + 512), 128],
      ['up', 'MRd', BigInt(BUFFERS + 1024), 118],
      ['up', 'MWr', BigInt(driver.cqAt), 16], // row 6
      ['up', 'MWr', BigInt(driver.eqAt), 16], // row 7
      ['up', 'MWr', BigInt(MESSAGE_ADDRESS), 1], // row 8
    ]);
    for (const { tlp } of requests.slice(0, 7)) expect(tlp).toMatchObject(full);
    expect(requests[7]?.tlp).toMatchObject({ firstBe: 0xf, lastBe: 0 });
    for (const { tlp } of requests.slice(5)) expect(tlp).toMatchObject(posted);
    // Rows 3 and 5: completions of the WQE, then of 512 + 512 + 472 bytes at an MPS of 256.
    const completions = trace.filter(({ tlp }) => tlp.flow === 'CPL');
    expect(completions.map(({ direction, tlp }) => `${direction} ${tlp.type} ${tlp.length}`)).toEqual([
      'down CplD 16',
      ...[64, 64, 64, 64, 64, 54].map((dws) => `down CplD ${dws}`),
    ]);
  });

  const inline64: SendFields = { header: frame(18), data: [frame(46)] };
  const pointer = (length: number): SendFields => ({
    header: frame(18),
    data: [{ address: BUFFERS, length }],
  });
  it.each<[string, SendFields, 'copy' | 'doorbell', boolean, readonly [number, number, number, number]]>([
    ['64 B fully inline via BlueFlame, 128 B', inline64, 'copy', true, [2, 0, 0, 3]],
    ['64 B fully inline, doorbell', inline64, 'doorbell', true, [1, 1, 1, 3]],
    ['1514 B, 18 B inline, doorbell', pointer(1496), 'doorbell', true, [1, 1 + 3, 1 + 6, 3]],
    ['4096 B of pointer payload, doorbell', pointer(4096), 'doorbell', true, [1, 1 + 8, 1 + 16, 3]],
    ['the same, unarmed CQ', pointer(4096), 'doorbell', false, [1, 9, 17, 1]],
  ])('MLX-40 counts as the table for %s', async (_, fields, way, isArmed, counts) => {
    // One completion for a 128-byte WQE: the MPS allows it.
    const driver = await make();
    if (isArmed) ready(driver);
    else driver.machine.trace.start();
    const wqe = driver.put(driver.wqe(fields));
    if (way === 'copy') driver.uar(0x800, wqe);
    else driver.ring(wqe);
    const trace = driver.machine.trace.take();
    const count = (direction: string, type: string): number =>
      trace.filter((one) => one.direction === direction && one.tlp.type === type).length;
    expect([count('down', 'MWr'), count('up', 'MRd'), count('down', 'CplD'), count('up', 'MWr')]).toEqual(
      counts,
    );
    if (way === 'copy') expect(trace.slice(0, 2).map(({ tlp }) => tlp.length)).toEqual([16, 16]);
  });

  it.each<[number, number, number]>([
    [0, 1, 128],
    [1, 3, 128],
    [0xffe, 4, 512],
    [0xf80, 300, 128],
    [0x1c, 1500, 256],
    [0xfff, 4097, 512],
    [0x123, 9000, 4096],
    [0, 8192, 4096],
  ])(
    'MLX-07 and MLX-28 split a payload at offset %i of %i bytes by MRRS %i and 4 KiB',
    async (offset, length, mrrs) => {
      const driver = await make({}, { mps: 128, mrrs: mrrs as 128 });
      driver.machine.memory.write(BUFFERS + offset, frame(length));
      driver.machine.trace.start();
      driver.post({ header: frame(18), data: [{ address: BUFFERS + offset, length }] });
      const requests = driver.machine.trace.take().filter(({ tlp }) => tlp.type === 'MRd');
      expect(driver.poll()?.opcode).toBe(0);
      const start = BUFFERS + offset;
      let at = start;
      const end = at + length;
      for (const { tlp } of requests.slice(1)) {
        // Each goes from where the last one ended to a multiple of MRRS, so none crosses 4 KiB. The machine takes 4 KiB
        // of a request at a time.
        const part = start + (Math.floor((at - start) / 4096) + 1) * 4096;
        const next = Math.min(end, part, (Math.floor(at / mrrs) + 1) * mrrs);
        expect([Number(tlp.address), tlp.length]).toEqual([
          at & ~3,
          Math.ceil(next / 4) - Math.floor(at / 4),
        ]);
        expect(4 * tlp.length).toBeLessThanOrEqual(mrrs);
        expect(Math.floor(at / 4096)).toBe(Math.floor((next - 1) / 4096));
        at = next;
      }
      expect(at).toBe(end);
    },
  );

  describe('ordering', () => {
    const relaxed: Variant['mkeys'] = [{ key: LKEY, relaxedOrderingRead: true, relaxedOrderingWrite: true }];
    /** A frame comes in and goes out: requests upstream with their RO bits. */
    const both = async (before: (driver: NicDriver) => void): Promise<string[]> => {
      const cable = wire();
      const driver = await make({ mkeys: relaxed, nic: { port: cable.a } });
      before(driver);
      ready(driver);
      driver.armCq(0, { cqn: 11 });
      driver.postReceive([{ address: BUFFERS, length: 2048 }]);
      cable.b.send(frame(600));
      driver.machine.settle();
      driver.post({ header: frame(18), data: [{ address: BUFFERS, length: 256 }] });
      const trace: TracedTlp[] = driver.machine.trace.take();
      return trace
        .filter(({ direction, tlp }) => direction === 'up' && tlp.flow !== 'CPL')
        .map(
          ({ tlp }) =>
            `${tlp.type} 0x${tlp.address.toString(16)}${'attr' in tlp && tlp.attr?.ro ? ' RO' : ''}`,
        );
    };

    it('MLX-35 and MLX-36 write the payload first, RO on it alone', async () => {
      expect(await both(() => undefined)).toEqual([
        'MRd 0xc000',
        'MRd 0xa000',
        'MWr 0x10000 RO',
        'MWr 0x10100 RO',
        'MWr 0x10200 RO',
        'MWr 0x5000',
        'MWr 0x1000',
        'MWr 0xfee01000',
        'MRd 0x8000',
        'MRd 0x10000 RO',
        'MWr 0x3000',
        'MWr 0x1040',
      ]);
    });

    it('MLX-37 never sets RO while Enable Relaxed Ordering is 0', async () => {
      const seen = await both((driver) => {
        const { config } = driver.machine;
        const old = config.read(driver.fn.id, PCIE_CONTROL, 2);
        expect(old & 0x10).toBe(0x10);
        config.write(driver.fn.id, PCIE_CONTROL, old & ~0x10, 2);
      });
      expect(seen.length).toBe(12);
      expect(seen.filter((line) => line.endsWith('RO'))).toEqual([]);
    });
  });
});
