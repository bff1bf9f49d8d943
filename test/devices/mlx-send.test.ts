/** The NIC's send side: doorbells, BlueFlame, WQE fetch, frames and errors. */
import { describe, expect, it } from 'vitest';
import { mlxNic, wire } from '../../src/devices/index.js';
import type { MachineConfig } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  ALWAYS,
  ASYNC_EQN,
  BUFFERS,
  be32,
  type Cqe,
  frame,
  LKEY,
  type NicDriver,
  NOP,
  nic,
  SEND_CQN,
  SQN,
  tlps,
  UAR_PAGE,
  type Variant,
} from './mlx-support.js';

const REQ = 0;
const REQ_ERR = 13;

describe.each(BUILDS)('the send side of the NIC on the %s core', (build) => {
  const core = useBuild(build);

  /** A NIC with a cable whose other end keeps the frames. */
  const make = async (
    variant: Variant = {},
    config: Omit<MachineConfig, 'slots'> = {},
  ): Promise<{ driver: NicDriver; sent: Uint8Array[] }> => {
    const cable = wire();
    const sent: Uint8Array[] = [];
    cable.b.receive = (one) => sent.push(one);
    const driver = await nic(
      { ...variant, nic: { port: cable.a, ...variant.nic } },
      { core: core(), ...config },
    );
    return { driver, sent };
  };
  const reads = (driver: NicDriver): string[] => tlps(driver).filter((line) => line.startsWith('up MRd'));
  const brief = ({ opcode, syndrome, counter }: Cqe): number[] => [
    opcode,
    opcode === REQ ? 0 : syndrome,
    counter,
  ];

  it('MLX-01 decodes doorbells, WQEs and records big-endian, and writes CQEs so', async () => {
    const { driver, sent } = await make();
    const header = frame(18);
    driver.machine.memory.write(BUFFERS, frame(100, 5));
    driver.post({ header, data: [{ address: BUFFERS, length: 0x64 }] });
    expect(sent).toEqual([Uint8Array.of(...header, ...frame(100, 5))]);
    const raw = driver.poll()?.raw as Uint8Array;
    expect([...raw.subarray(56, 62)]).toEqual([0x0a, 0, 0, SQN, 0, 0]);
    // The same doorbell in the other order names no SQ.
    driver.uar(0x800, driver.wqe({ opcode: NOP }).slice(0, 8).reverse());
    expect(driver.stats['protocolErrors: SQ doorbell of no SQ']).toBe(1);
  });

  it('MLX-02 starts the SQ in bits [31:8] of the second dword with 8 bytes at UAR + 0x800', async () => {
    const { driver } = await make();
    const wqe = driver.put(driver.wqe({ opcode: NOP }));
    expect(driver.poll()).toBeUndefined();
    driver.ring(wqe);
    expect(driver.poll()).toMatchObject({ opcode: REQ, qpn: SQN, counter: 0 });
  });

  it('MLX-03 takes the doorbell as two ascending dwords, and starts with the second', async () => {
    const { driver } = await make();
    const wqe = driver.put(driver.wqe({ opcode: NOP }));
    driver.machine.trace.start();
    driver.uar(0x800, wqe.slice(0, 4));
    expect(reads(driver)).toEqual([]);
    driver.uar(0x804, wqe.slice(4, 8));
    expect(reads(driver)).toEqual(['up MRd 0x8000 16']);
    expect(driver.poll()).toMatchObject({ opcode: REQ, counter: 0 });
    expect(driver.stats.protocolErrors).toBeUndefined();
  });

  it('MLX-04 ignores the second dword without the first, and counts it', async () => {
    const { driver } = await make();
    const wqe = driver.put(driver.wqe({ opcode: NOP }));
    driver.uar(0x804, wqe.slice(4, 8));
    expect(driver.poll()).toBeUndefined();
    expect(driver.stats.protocolErrors).toBe(1);
    // Not even when the first one was written to another register, or in the wrong order.
    driver.uar(0xa00, wqe.slice(0, 4));
    driver.uar(0x804, wqe.slice(4, 8));
    driver.uar(0x804, wqe.slice(4, 8));
    driver.uar(0x800, wqe.slice(0, 4));
    expect(driver.poll()).toBeUndefined();
    expect(driver.stats.protocolErrors).toBe(3);
  });

  it('MLX-05 reads the WQE at base + (index mod ring) * 64', async () => {
    const { driver } = await make({ logs: { sq: 2 } });
    driver.machine.trace.start();
    for (let n = 0; n < 10; n++) driver.post({ opcode: NOP });
    const fetched = reads(driver);
    expect(fetched).toEqual(
      [0, 1, 2, 3, 0, 1, 2, 3, 0, 1].map((n) => `up MRd 0x${(0x8000 + 64 * n).toString(16)} 16`),
    );
    expect(driver.pollAll().map(({ counter }) => counter)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('MLX-05 counts WQE indices modulo 2^16', async () => {
    const { driver } = await make({ logs: { sq: 7, cq: 2 } });
    const seen: number[] = [];
    for (let n = 0; n < 0x1_0000 / 16; n += 8) {
      for (let one = 0; one < 7; one++) driver.put(long(driver, 0));
      driver.ring(driver.put(long(driver, ALWAYS)));
      seen.push(driver.poll()?.counter ?? -1);
    }
    driver.post({ opcode: NOP });
    expect(seen).toEqual(seen.map((_, n) => 128 * n + 112));
    expect([seen.at(-1), driver.poll()?.counter]).toEqual([0xfff0, 0]);
  });

  it('MLX-06 reads ceil(DS / 4) blocks, in two reads when the WQE goes over the end of the ring', async () => {
    const { driver, sent } = await make({ logs: { sq: 2 } });
    driver.machine.trace.start();
    const payload = frame(100);
    driver.post({ header: frame(18), data: [payload] }); // 2 + 1 + 7 units: 3 blocks
    expect(reads(driver)).toEqual(['up MRd 0x8000 48']);
    driver.post({ header: frame(18, 1), data: [payload] });
    expect(reads(driver)).toEqual(['up MRd 0x80c0 16', 'up MRd 0x8000 32']);
    expect(sent).toEqual([0, 1].map((seed) => Uint8Array.of(...frame(18, seed), ...payload)));
  });

  it('MLX-06 reads a WQE of several blocks that no doorbell named in two steps', async () => {
    const { driver, sent } = await make();
    driver.machine.trace.start();
    driver.put(driver.wqe({ header: frame(18), data: [frame(100)] }));
    driver.post({ opcode: NOP });
    expect(reads(driver)).toEqual(['up MRd 0x8000 16', 'up MRd 0x8040 32', 'up MRd 0x80c0 16']);
    expect(sent.length).toBe(1);
    expect(driver.pollAll().map(({ counter }) => counter)).toEqual([0, 3]);
  });

  it('MLX-08 does nothing for an SQN that is not there, nor for a UAR page of another queue', async () => {
    const { driver } = await make();
    driver.machine.trace.start();
    driver.ring(driver.put(driver.wqe({ opcode: NOP, sqn: SQN + 1 })));
    const wqe = driver.put(driver.wqe({ opcode: NOP }));
    driver.uar(0x800, wqe.slice(0, 8), UAR_PAGE + 1);
    expect(tlps(driver).filter((line) => line.startsWith('up'))).toEqual([]);
    expect(driver.stats.protocolErrors).toBe(3); // a page that is no UAR counts each dword
  });

  it('MLX-09 does not read a WQE that one 64-byte write brought', async () => {
    const { driver, sent } = await make();
    const wqe = driver.put(driver.wqe({ header: frame(18), data: [frame(12)] }));
    expect(wqe.length).toBe(64);
    driver.machine.trace.start();
    driver.uar(0x800, wqe);
    expect(tlps(driver)).toEqual([`down MWr ${bar(driver, 0x800)} 16`, 'up MWr 0x3000 16']);
    expect(sent).toEqual([Uint8Array.of(...frame(18), ...frame(12))]);
  });

  it('MLX-10 takes eight ascending 8-byte writes as a doorbell, and passes over the rest', async () => {
    const { driver, sent } = await make();
    const wqe = driver.put(driver.wqe({ header: frame(18), data: [frame(12)] }));
    driver.machine.trace.start();
    for (let n = 0; n < 64; n += 8) driver.uar(0x800 + n, wqe.slice(n, n + 8));
    expect(reads(driver)).toEqual(['up MRd 0x8000 16']);
    expect(sent).toEqual([Uint8Array.of(...frame(18), ...frame(12))]);
    expect(driver.pollAll().map(brief)).toEqual([[REQ, 0, 0]]);
    expect(driver.stats.protocolErrors).toBeUndefined();
  });

  it('MLX-10 fetches a WQE whose copy breaks off: by smaller writes, by another access, or for good', async () => {
    const { driver, sent } = await make();
    const fields = { header: frame(18), data: [frame(100)] };
    driver.machine.trace.start();
    let wqe = driver.put(driver.wqe(fields));
    driver.uar(0x800, wqe.slice(0, 64));
    expect(reads(driver)).toEqual([]);
    for (let n = 64; n < 192; n += 8) driver.uar(0x800 + n, wqe.slice(n, n + 8));
    expect(reads(driver)).toEqual(['up MRd 0x8000 48']);

    wqe = driver.put(driver.wqe(fields));
    driver.uar(0x900, wqe.slice(0, 64));
    driver.post({ opcode: NOP }); // the other half of the same register
    expect(reads(driver)).toEqual(['up MRd 0x80c0 48', 'up MRd 0x8180 16']);

    wqe = driver.put(driver.wqe(fields));
    driver.uar(0x800, wqe.slice(0, 128));
    driver.machine.run(999);
    expect(reads(driver)).toEqual([]);
    driver.machine.run(1);
    expect(reads(driver)).toEqual(['up MRd 0x81c0 16', 'up MRd 0x8200 32']); // cut at a multiple of MRRS
    expect(sent.length).toBe(3);
    expect(driver.stats.protocolErrors).toBeUndefined();
    expect(driver.errors).toEqual([]);
  });

  it('MLX-11 takes WQEs in both halves of each of the four registers', async () => {
    const { driver, sent } = await make({ logs: { cq: 6 } });
    driver.machine.trace.start();
    for (let n = 0; n < 8; n++) {
      driver.uar(0x800 + 256 * n, driver.put(driver.wqe({ header: frame(18, n), data: [frame(12)] })));
      driver.uar(0x800 + 256 * n, driver.put(driver.wqe({ opcode: NOP })).slice(0, 8));
    }
    expect(sent.map((one) => one[0])).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(reads(driver).length).toBe(8);
    expect(driver.pollAll().length).toBe(16);
  });

  it.each([
    [128, 64],
    [512, 256],
  ])('MLX-12 refuses a copy longer than half of a register of %i bytes', async (bfRegSize, half) => {
    const { driver, sent } = await make({ nic: { bfRegSize }, logs: { cq: 6 } });
    const wqe = driver.put(driver.wqe({ header: frame(18), data: [frame(half)] }));
    expect(wqe.length).toBeGreaterThan(half);
    driver.machine.trace.start();
    for (let n = 0; n < wqe.length; n += 64) driver.uar(0x800 + n, wqe.slice(n, n + 64));
    driver.machine.run(5000);
    expect(tlps(driver).filter((line) => line.startsWith('up'))).toEqual([]);
    expect(driver.stats.protocolErrors).toBe(1);
    driver.ring(wqe); // it was posted, and a doorbell sends it
    expect(sent.length).toBe(1);
  });

  it('MLX-13 completes a NOP with one CQE, and reads nothing but its WQE', async () => {
    const { driver, sent } = await make();
    driver.machine.trace.start();
    driver.post({ opcode: NOP });
    expect(tlps(driver)).toEqual([
      `down MWr ${bar(driver, 0x800)} 2`,
      'up MRd 0x8000 16',
      'down CplD 16',
      'up MWr 0x3000 16',
    ]);
    expect(driver.pollAll().map(brief)).toEqual([[REQ, 0, 0]]);
    expect(sent).toEqual([]);
  });

  it('MLX-14 writes no CQE for CE = 0', async () => {
    const { driver, sent } = await make();
    driver.post({ header: frame(18), data: [frame(60)], ce: 0 });
    expect(sent.length).toBe(1);
    expect(driver.pollAll()).toEqual([]);
    driver.post({ opcode: NOP });
    expect(driver.pollAll().map(brief)).toEqual([[REQ, 0, 2]]);
  });

  it('MLX-15 gives the index of the WQE and the SQN in the CQE', async () => {
    const { driver } = await make();
    driver.post({ header: frame(18), data: [frame(60)] });
    driver.post({ header: frame(18), data: [frame(60)] });
    driver.post({ opcode: NOP });
    expect(driver.pollAll().map(({ counter, qpn, wqeOpcode }) => [counter, qpn, wqeOpcode])).toEqual([
      [0, SQN, 0x0a],
      [2, SQN, 0x0a],
      [4, SQN, NOP],
    ]);
  });

  it('MLX-29 never fetches an inline segment by itself', async () => {
    const { driver, sent } = await make();
    driver.machine.memory.write(BUFFERS, frame(40, 9));
    driver.machine.trace.start();
    driver.post({ data: [frame(20), { address: BUFFERS, length: 40 }, frame(7, 3)] });
    expect(reads(driver)).toEqual(['up MRd 0x8000 32', `up MRd 0x${BUFFERS.toString(16)} 10`]);
    expect(sent).toEqual([Uint8Array.of(...frame(20), ...frame(40, 9), ...frame(7, 3))]);
  });

  it.each([0, 1, 2, 3, 14, 17, 18, 19, 34, 35])(
    'MLX-30 sends %i bytes of inline header before the payload',
    async (length) => {
      const { driver, sent } = await make();
      driver.machine.memory.write(BUFFERS, frame(64, 9));
      driver.post({ header: frame(length, 1), data: [{ address: BUFFERS, length: 64 }] });
      expect(sent).toEqual([Uint8Array.of(...frame(length, 1), ...frame(64, 9))]);
    },
  );

  it('MLX-31 answers a key that is not there with syndrome 0x04, reads nothing, and the SQ is in error', async () => {
    const { driver, sent } = await make();
    driver.machine.trace.start();
    const data = [
      { address: BUFFERS, length: 64 },
      { address: BUFFERS, length: 64, lkey: LKEY + 1 },
    ];
    driver.post({ header: frame(18), data });
    expect(reads(driver)).toEqual(['up MRd 0x8000 32']);
    expect(driver.poll()).toMatchObject({
      opcode: REQ_ERR,
      syndrome: 4,
      qpn: SQN,
      counter: 0,
      wqeOpcode: 0x0a,
    });
    driver.post({ opcode: NOP });
    expect(driver.poll()).toMatchObject({ opcode: REQ_ERR, syndrome: 5 });
    expect(sent).toEqual([]);
  });

  it('MLX-32 flushes what is posted behind an error, now and later, with 0x05 for each WQE', async () => {
    const { driver, sent } = await make();
    driver.put(driver.wqe({ opcode: 0x7f, ce: 0 }));
    driver.put(driver.wqe({ header: frame(18), data: [frame(100)], ce: 0 })); // 3 blocks
    driver.put(driver.wqe({ opcode: NOP, ce: 0 }));
    driver.post({ header: frame(18), data: [frame(60)] });
    expect(driver.pollAll().map(brief)).toEqual([
      [REQ_ERR, 2, 0],
      [REQ_ERR, 5, 1],
      [REQ_ERR, 5, 4],
      [REQ_ERR, 5, 5],
    ]);
    driver.post({ opcode: NOP });
    expect(driver.pollAll().map(brief)).toEqual([[REQ_ERR, 5, 7]]);
    expect(sent).toEqual([]);
  });

  it('MLX-32 flushes without a CQE when flush_in_error_en is 0', async () => {
    const { driver } = await make({ sq: { flushInError: false } });
    driver.put(driver.wqe({ opcode: 0x7f }));
    driver.post({ opcode: NOP });
    expect(driver.pollAll().map(brief)).toEqual([[REQ_ERR, 2, 0]]);
  });

  it.each<[string, object, number]>([
    ['no data at all', { data: [] }, 1],
    ['a pointer segment of 0 bytes', { data: [{ address: BUFFERS, length: 0 }] }, 1],
    ['a frame that is too long', { data: [{ address: BUFFERS, length: 16385 }] }, 1],
    ['a frame of 2 GiB', { data: [{ address: BUFFERS, length: 0x7fff_ffff }] }, 1],
    ['units that the segments do not fill', { header: frame(18), units: 1 }, 2],
    ['no units', { header: frame(18), units: 0 }, 2],
    ['a header behind its end', { header: frame(40), units: 3 }, 2],
    ['more units than were posted', { header: frame(18), data: [frame(20)], units: 63 }, 2],
    ['another index', { index: 9, opcode: NOP }, 2],
    ['an opcode that is not served', { opcode: 0x0e }, 2],
    ['an address behind all memory', { data: [{ address: (1n << 64n) - 8n, length: 64 }] }, 4],
    ['a payload that nobody answers', { data: [{ address: 2 ** 41, length: 64 }] }, 0x11],
  ])('answers %s with one error CQE', async (_, fields, syndrome) => {
    const { driver, sent } = await make();
    const wqe = driver.put(driver.wqe(fields));
    const bell = wqe.slice(0, 8);
    bell.set([0, 0, 0], 0);
    bell[7] = Math.min(bell[7] as number, 4);
    driver.uar(0x800, bell);
    const [first, ...rest] = driver.pollAll().map(brief);
    expect(first).toEqual([REQ_ERR, syndrome, 0]);
    expect(rest.every(([opcode, flushed]) => opcode === REQ_ERR && flushed === 5)).toBe(true);
    expect(sent).toEqual([]);
    expect(driver.errors).toEqual([]);
  });

  it('MLX-38 goes to error without using data when a WQE fetch is answered with UR', async () => {
    const { driver, sent } = await make({ sq: { buffer: { pages: [2 ** 41], logPageSize: 16, offset: 0 } } });
    driver.ring(driver.wqe({ opcode: NOP }));
    expect(driver.pollAll().map(brief)).toEqual([[REQ_ERR, 2, 0]]);
    const event = driver.pollEq(ASYNC_EQN) as Uint8Array;
    expect([event[1], event[52], event[59]]).toEqual([5, 2, SQN]); // WQ_CATAS of an SQ
    driver.ring(driver.wqe({ opcode: NOP, index: 1 }));
    expect(driver.pollAll()).toEqual([]);
    expect(driver.pollEq(ASYNC_EQN)).toBeUndefined();
    expect(sent).toEqual([]);
    expect(driver.stats.wqeFetchErrors).toBe(2);
  });

  it('does nothing for a doorbell behind the ring, or for what was posted already', async () => {
    const { driver } = await make({ logs: { sq: 2 } });
    driver.machine.trace.start();
    driver.ring(driver.wqe({ opcode: NOP, index: 4 }));
    driver.ring(driver.wqe({ opcode: NOP, index: 0xfff0 }));
    expect(reads(driver)).toEqual([]);
    expect(driver.stats['protocolErrors: SQ doorbell behind the ring']).toBe(2);
    const wqe = driver.put(driver.wqe({ opcode: NOP }));
    driver.ring(wqe);
    driver.ring(wqe);
    expect(driver.pollAll().length).toBe(1);
    expect(driver.stats.protocolErrors).toBe(2);
  });

  it.each([
    ['never', [], 1],
    ['onDoorbellMiss', ['up MRd 0xc004 1'], 3],
    ['onDoorbell', ['up MRd 0xc004 1', 'up MRd 0xc004 1'], 3],
  ] as const)(
    'sqDbrRead %s: reads the record accordingly, and then sees what it posts',
    async (sqDbrRead, record, more) => {
      const { driver } = await make({ nic: { sqDbrRead } });
      driver.post({ opcode: NOP });
      driver.machine.trace.start();
      const isRecord = (line: string): boolean => line === 'up MRd 0xc004 1';
      const expected = sqDbrRead === 'onDoorbell' ? [record[0]] : [];
      driver.post({ opcode: NOP });
      expect(reads(driver).filter(isRecord)).toEqual(expected);
      expect(driver.pollAll().length).toBe(2);
      // Two doorbells got lost. The next one is an old one, behind which the record says more.
      driver.put(driver.wqe({ opcode: NOP }));
      const middle = driver.put(driver.wqe({ opcode: NOP, ce: 0 }));
      driver.put(driver.wqe({ opcode: NOP }));
      driver.put(driver.wqe({ opcode: NOP }));
      driver.ring(middle);
      expect(reads(driver).filter(isRecord).length).toBe(record.length > 0 ? 1 : 0);
      expect(driver.pollAll().length).toBe(more);
    },
  );

  it('keeps queues whose pages do not follow each other in their order', async () => {
    const pages = [0x2_1000, 0x2_0000];
    const { driver, sent } = await make({
      logs: { sq: 6 },
      sq: { buffer: { pages, logPageSize: 12, offset: 0xfc0 } },
    });
    const wqe = driver.wqe({ header: frame(18), data: [frame(60)] });
    driver.machine.memory.write(0x2_1fc0, wqe.subarray(0, 64));
    driver.machine.memory.write(0x2_0000, wqe.subarray(64));
    driver.ring(wqe);
    expect(sent).toEqual([Uint8Array.of(...frame(18), ...frame(60))]);
  });

  it('reads through a key with pages, and not behind them', async () => {
    const { driver, sent } = await make({
      mkeys: [{ key: 7, mode: 'pages', start: 0x10_0800, length: 0x1000, pages: [0x2_1000, 0x2_0000] }],
    });
    driver.machine.memory.write(0x2_1f00, frame(256));
    driver.machine.memory.write(0x2_0000, frame(256, 1));
    driver.post({ data: [{ address: 0x10_0f00, length: 512, lkey: 7 }] });
    expect(sent).toEqual([Uint8Array.of(...frame(256), ...frame(256, 1))]);
    driver.post({ data: [{ address: 0x10_1700, length: 257, lkey: 7 }] });
    expect(driver.pollAll().map(brief).at(-1)).toEqual([REQ_ERR, 4, 1]);
  });
});

/** A NOP of 16 blocks. */
function long(driver: NicDriver, ce: number): Uint8Array {
  const wqe = new Uint8Array(1024);
  wqe.set(driver.wqe({ opcode: NOP, ce, units: 63 }));
  return wqe;
}

/** Bus address of a UAR offset. */
function bar(driver: NicDriver, offset: number): string {
  const address = driver.fn.bars[0]?.address ?? 0;
  return `0x${(BigInt(address) + BigInt(UAR_PAGE * 4096 + offset)).toString(16)}`;
}

describe('options of the NIC', () => {
  const buffer = { pages: [0x1000], logPageSize: 12, offset: 0 };
  it.each<[object, string]>([
    [{ portt: 1 }, 'options.portt is not a field'],
    [{ vectors: 0 }, 'vectors: 0 is not valid'],
    [{ barBytes: 100_000 }, 'barBytes: 100000 is not valid'],
    [{ bfRegSize: 64 }, 'bfRegSize: 64 is not valid; allowed: 128, 256, 512'],
    [{ sqDbrRead: 'always' }, 'sqDbrRead: "always" is not valid'],
    [{ maxFrameBytes: 63 }, 'maxFrameBytes: 63 is not valid'],
    [{ queues: { eqs: 1 } }, 'queues.eqs: 1 is not valid'],
    [{ queues: { eqs: [{ buffer, logSize: 6, uar: 3 }] } }, 'uar: bad-parameter'],
    [{ queues: { eqs: [{ buffer, logSize: 7, uar: 4 }] } }, 'queues.eqs[0]: bad-parameter'],
    [{ queues: { eqs: [{ buffer, logSize: 6, uar: 4, vector: 64 }] } }, 'queues.eqs[0]: bad-parameter'],
    [{ queues: { cqs: [{ buffer, logSize: 6, uar: 4, eqn: 1, record: 0 }] } }, 'queues.cqs[0]: bad-resource'],
    [{ queues: { mkeys: [{ key: 1 }, { key: 1 }] } }, 'queues.mkeys[1]: bad-parameter'],
  ])('refuses %j', (options, message) => {
    expect(() => mlxNic(options as never)).toThrow(message);
  });

  it.each([
    [{ latencyNs: -1 }, 'latencyNs'],
    [{ bitsPerSecond: 1 }, 'bitsPerSecond'],
    [{ bitRate: 1 }, 'bitRate is not a field'],
  ])('refuses the cable %j', (options, message) => {
    expect(() => wire(options as never)).toThrow(message);
  });

  it('shows the identity of a ConnectX-5 Ex', () => {
    const device = mlxNic();
    expect([device.vendorId, device.deviceId, device.classCode]).toEqual([0x15b3, 0x1019, 0x02_0000]);
    expect(device.capabilities.msix).toMatchObject({
      vectors: 64,
      bar: 0,
      tableOffset: 0x2000,
      pbaOffset: 0x3000,
    });
    expect(device.bars[0]).toMatchObject({ size: 2 ** 25, bits: 64, prefetchable: true });
    expect(be32(SEND_CQN)).toEqual(Uint8Array.of(0, 0, 0, 10));
  });
});
