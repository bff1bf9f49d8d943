/** The NIC's completion and event queues: owner bits, arming, moderation, overrun, MSI-X. */
import { describe, expect, it } from 'vitest';
import { BUILDS, useBuild } from '../support/builds.js';
import {
  ALWAYS,
  ASYNC_EQN,
  ASYNC_VECTOR,
  be32,
  EQ_VECTOR,
  frame,
  type NicDriver,
  NOP,
  nic,
  SEND_CQN,
  SQN,
  tlps,
  type Variant,
  WITH_EVENT,
} from './mlx-support.js';
import { MESSAGE_ADDRESS } from './support.js';

describe.each(BUILDS)('completions of the NIC on the %s core', (build) => {
  const core = useBuild(build);
  const make = (variant: Variant = {}): Promise<NicDriver> => nic(variant, { core: core() });
  const nop = (driver: NicDriver, fields = {}): void => driver.post({ opcode: NOP, ...fields });
  const writes = (driver: NicDriver): string[] => tlps(driver).filter((line) => line.startsWith('up MWr'));

  it.each([64, 128] as const)(
    'MLX-16 and MLX-17 write CQEs of stride %i whole, with the owner of the lap',
    async (stride) => {
      const driver = await make({ logs: { cq: 2 }, stride });
      driver.machine.trace.start();
      const owners: number[] = [];
      for (let n = 0; n < 12; n++) {
        nop(driver);
        const cqe = driver.machine.trace
          .take()
          .find(({ direction, tlp }) => direction === 'up' && tlp.type === 'MWr');
        expect(cqe?.tlp).toMatchObject({ length: 16, firstBe: 0xf, lastBe: 0xf });
        expect(cqe?.tlp.address).toBe(driver.cqAt + (n % 4) * stride + stride - 64);
        owners.push(driver.poll()?.owner ?? -1);
      }
      expect(owners).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
      // Of an entry of 128 bytes the first half is never written.
      if (stride === 128) expect(driver.machine.memory.read(driver.cqAt, 64)).toEqual(new Uint8Array(64));
    },
  );

  it('MLX-18 raises EQE type 4 when the consumer record does not go on, and the CQ takes nothing more', async () => {
    const driver = await make({ logs: { cq: 2 } });
    for (let n = 0; n < 4; n++) nop(driver);
    driver.machine.trace.start();
    nop(driver);
    expect(tlps(driver).slice(3, 4)).toEqual([`up MRd 0x${driver.recordOf(SEND_CQN).toString(16)} 1`]);
    const event = driver.pollEq(ASYNC_EQN) as Uint8Array;
    expect([event[1], [...event.subarray(32, 36)], event[43]]).toEqual([4, [...be32(SEND_CQN)], 1]);
    expect(driver.vectors()).toEqual([ASYNC_VECTOR]);
    for (let n = 0; n < 4; n++) expect(driver.poll()?.counter).toBe(n);
    nop(driver);
    expect(driver.poll()).toBeUndefined();
    expect(driver.pollEq(ASYNC_EQN)).toBeUndefined();
    expect(driver.stats.completionsLost).toBe(2);
    expect(driver.errors).toEqual([]);
  });

  it('MLX-18 goes on when the record shows that entries were read', async () => {
    const driver = await make({ logs: { cq: 2 } });
    for (let n = 0; n < 40; n++) {
      nop(driver);
      if (n % 4 === 3)
        expect(driver.pollAll().map(({ counter }) => counter)).toEqual([n - 3, n - 2, n - 1, n]);
    }
    expect(driver.pollEq(ASYNC_EQN)).toBeUndefined();
  });

  it('MLX-18 writes over old entries with oi, without a look at the record', async () => {
    const driver = await make({ logs: { cq: 2 }, cq: { overrunIgnore: true } });
    driver.machine.trace.start();
    for (let n = 0; n < 6; n++) nop(driver);
    expect(tlps(driver).filter((line) => line.endsWith(' 1'))).toEqual([]);
    expect(driver.pollEq(ASYNC_EQN)).toBeUndefined();
    const counters = [0, 1, 2, 3].map((n) => driver.machine.memory.read(driver.cqAt + 64 * n + 61, 1)[0]);
    expect(counters).toEqual([4, 5, 2, 3]);
  });

  it('MLX-19 writes one EQE with the CQN in bytes 56 to 59 for a completion of an armed CQ', async () => {
    const driver = await make();
    driver.armEq();
    driver.armCq(0);
    nop(driver);
    const events = driver.pollEqs();
    expect(events.map((one) => [one[1], [...one.subarray(56, 60)]])).toEqual([[0, [...be32(SEND_CQN)]]]);
    expect(driver.vectors()).toEqual([EQ_VECTOR]);
  });

  it('MLX-20 fires at once for a completion that came before the arm', async () => {
    const driver = await make();
    nop(driver);
    expect(driver.pollEqs()).toEqual([]);
    driver.armCq(0, { ci: 0 });
    expect(driver.pollEqs().length).toBe(1);
    driver.poll();
    driver.armCq(1, { ci: 1 });
    expect(driver.pollEqs()).toEqual([]);
    nop(driver);
    expect(driver.pollEqs().length).toBe(1);
  });

  it('MLX-21 writes no second EQE without another arm', async () => {
    const driver = await make();
    driver.armCq(0);
    for (let n = 0; n < 3; n++) nop(driver);
    expect(driver.pollEqs().length).toBe(1);
  });

  it('MLX-22 waits for a solicited completion with bit 24, before and after the arm', async () => {
    const driver = await make();
    driver.armCq(0, { solicited: true });
    nop(driver);
    expect(driver.pollEqs()).toEqual([]);
    nop(driver, { solicited: true });
    expect(driver.pollEqs().length).toBe(1);
    expect(driver.pollAll().map(({ solicited }) => solicited)).toEqual([false, true]);
    nop(driver);
    driver.armCq(1, { solicited: true });
    expect(driver.pollEqs()).toEqual([]);
    driver.post({ opcode: 0x7f }); // an error is solicited too
    expect(driver.pollEqs().length).toBe(1);
    driver.armCq(2, { solicited: true, ci: 3 });
    expect(driver.pollEqs().length).toBe(1);
  });

  it('MLX-23 ignores an arm whose sequence number is not that of now', async () => {
    const driver = await make();
    for (const sn of [1, 2, 3]) driver.armCq(sn);
    nop(driver);
    expect(driver.pollEqs()).toEqual([]);
    expect(driver.stats.staleArms).toBe(3);
    for (let n = 0; n < 6; n++) {
      driver.armCq(n % 4, { ci: 0 });
      driver.armCq(n % 4, { ci: 0 });
      expect(driver.pollEqs().length).toBe(1);
    }
    expect(driver.stats.staleArms).toBe(9);
  });

  it('takes the CQ doorbell as two dwords, and not the second one alone', async () => {
    const driver = await make();
    nop(driver);
    driver.uar(0x24, be32(SEND_CQN));
    expect(driver.stats['protocolErrors: CQ doorbell without its first dword']).toBe(1);
    driver.uar(0x20, be32(0));
    expect(driver.pollEqs()).toEqual([]);
    driver.uar(0x24, be32(SEND_CQN));
    expect(driver.pollEqs().length).toBe(1);
  });

  it('MLX-24 toggles the owner of EQEs with the lap, from 0', async () => {
    const driver = await make({ logs: { eq: 2 } });
    const owners: number[] = [];
    for (let n = 0; n < 12; n++) {
      driver.armCq(n % 4);
      nop(driver);
      driver.poll();
      owners.push((driver.pollEq()?.[63] ?? 9) & 1);
      driver.armEq(0x48);
    }
    expect(owners).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
  });

  it('MLX-25 arms with 0x40, and only takes the consumer index with 0x48', async () => {
    const driver = await make();
    const event = (n: number): void => {
      driver.armCq(n % 4);
      nop(driver);
      driver.poll();
      expect(driver.pollEqs().length).toBe(1);
    };
    event(0);
    expect(driver.vectors()).toEqual([]); // never armed
    driver.armEq(0x48);
    event(1);
    expect(driver.vectors()).toEqual([]);
    driver.armEq(0x40, 1); // one behind: fires again
    expect(driver.vectors()).toEqual([EQ_VECTOR]);
    driver.armEq(0x40);
    expect(driver.vectors()).toEqual([]);
    event(2);
    event(3);
    expect(driver.vectors()).toEqual([EQ_VECTOR]);
  });

  it('MLX-26 sends one message per ARMED to FIRED, behind the EQE and without Relaxed Ordering', async () => {
    const driver = await make();
    driver.armEq();
    driver.armCq(0);
    driver.machine.trace.start();
    nop(driver);
    const up = driver.machine.trace
      .take()
      .filter(({ direction, tlp }) => direction === 'up' && tlp.type === 'MWr');
    expect(up.map(({ tlp }) => tlp.address)).toEqual([driver.cqAt, driver.eqAt, MESSAGE_ADDRESS]);
    expect(up.map(({ tlp }) => tlp.attr)).toEqual(up.map(() => ({ ns: false, ro: false, ido: false })));
    driver.armCq(1);
    nop(driver);
    expect(driver.pollEqs().length).toBe(2);
    expect(driver.vectors()).toEqual([EQ_VECTOR]);
  });

  it('MLX-26 sends a message for every event of an EQ that is always armed', async () => {
    const driver = await make({ eq: { arm: 'always' } });
    for (let n = 0; n < 3; n++) {
      driver.armCq(n, { ci: n });
      nop(driver);
    }
    expect(driver.vectors()).toEqual([EQ_VECTOR, EQ_VECTOR, EQ_VECTOR]);
  });

  it('MLX-27 sets the pending bit of a masked vector, and sends when it is unmasked', async () => {
    const driver = await make();
    driver.armEq();
    driver.armCq(0);
    const control = 0x2000 + 16 * EQ_VECTOR + 12;
    driver.write32(0, control, 1);
    nop(driver);
    expect(driver.vectors()).toEqual([]);
    expect(driver.read64(0, 0x3000)).toBe(1n << BigInt(EQ_VECTOR));
    driver.write32(0, control, 0);
    expect(driver.vectors()).toEqual([EQ_VECTOR]);
    expect(driver.read64(0, 0x3000)).toBe(0n);
  });

  it('holds an event back for cq_period, or until cq_max_count completions', async () => {
    const driver = await make({ cq: { period: 8, maxCount: 3 } });
    driver.armCq(0);
    nop(driver);
    driver.machine.run(7999);
    expect(driver.pollEqs()).toEqual([]);
    driver.machine.run(1);
    expect(driver.pollEqs().length).toBe(1);
    driver.poll();
    driver.armCq(1);
    nop(driver);
    nop(driver);
    expect(driver.pollEqs()).toEqual([]);
    nop(driver);
    expect(driver.pollEqs().length).toBe(1);
    driver.machine.run(20_000);
    expect(driver.pollEqs()).toEqual([]);
  });

  it('writes an EQE for CE = 3 even when the CQ is not armed', async () => {
    const driver = await make();
    nop(driver, { ce: ALWAYS });
    expect(driver.pollEqs()).toEqual([]);
    nop(driver, { ce: WITH_EVENT });
    expect(driver.pollEqs().length).toBe(1);
    driver.armCq(1);
    nop(driver);
    expect(driver.pollEqs().length).toBe(1);
  });

  it('loses events of an EQ that is full', async () => {
    const driver = await make({ logs: { eq: 1 } });
    for (let n = 0; n < 4; n++) nop(driver, { ce: WITH_EVENT });
    expect(driver.pollEqs().length).toBe(2);
    expect(driver.stats.eventsLost).toBe(2);
    driver.armEq(0x48);
    nop(driver, { ce: WITH_EVENT });
    expect(driver.pollEqs().length).toBe(1);
  });

  it.each<[string, (driver: NicDriver) => void]>([
    ['an EQ that is not there', (driver) => driver.armEq(0x40, 0, 99)],
    ['a consumer index ahead of the EQ', (driver) => driver.armEq(0x40, 1)],
    ['a CQ that is not there', (driver) => driver.armCq(0, { cqn: 99 })],
    ['a consumer index ahead of the CQ', (driver) => driver.armCq(0, { ci: 2 })],
    ['one byte', (driver) => driver.uar(0x40, Uint8Array.of(1))],
    ['three bytes of a BlueFlame register', (driver) => driver.uar(0x805, Uint8Array.of(1))],
    ['the middle of a BlueFlame register', (driver) => driver.uar(0x844, be32(1))],
  ])('counts a doorbell of %s, and does nothing', async (_, act) => {
    const driver = await make();
    driver.machine.trace.start();
    act(driver);
    expect(writes(driver)).toEqual([]);
    expect(driver.stats.protocolErrors).toBe(1);
    nop(driver, { data: [], ce: ALWAYS });
    expect(driver.poll()).toMatchObject({ opcode: 0, qpn: SQN });
    expect(driver.errors).toEqual([]);
  });

  it('says when a completion was written, in ns', async () => {
    const driver = await make();
    driver.machine.run(1234);
    driver.post({ header: frame(18), data: [frame(46)] });
    const raw = driver.poll()?.raw as Uint8Array;
    expect(new DataView(raw.buffer, raw.byteOffset).getBigUint64(48)).toBe(1234n);
  });
});
