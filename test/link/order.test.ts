/** The order in which what is due leaves an end, and the list of packets that shows it (timing.md 4, link.md 13). */
import { describe, expect, it } from 'vitest';
import * as L from '../../assembly/layout.js';
import * as P from '../../assembly/link-layout.js';
import { Core } from '../../src/core/core.js';
import { type Packet, type SimulationInput, simulateLink } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';

describe.each(BUILDS)('what leaves an end on the %s build', (build) => {
  const core = useBuild(build);

  it('LNK-08: Nak, due Ack, due UpdateFC, replay and a new TLP that wait together leave in that order', async () => {
    // The memory of the core that a simulation left shows its ports: they are written to, and run on.
    const kept = await Core.load(core(), 1 << 20, 1 << 16, 1 << 23);
    const { x, u8 } = kept;
    const word = (end: number, at: number, value?: number): number => {
      const view = new DataView(u8.buffer);
      const place = kept.at(L.PLACE_LINK) + end * P.LINK_PORT_STRIDE + at;
      if (value !== undefined) view.setUint32(place, value, true);
      return view.getUint32(place, true);
    };
    for (const end of [0, 1]) {
      word(end, P.LINK_TICKS_PER_BYTE, 520);
      word(end, P.LINK_MPS, 256);
      word(end, P.LINK_LATENCY, 300_000);
      for (const at of [P.LINK_ACK_INTERVAL, P.LINK_FC_INTERVAL]) word(end, at, 800_000);
      for (const at of [P.LINK_FC_REFRESH, P.LINK_REPLAY_LIMIT]) word(end, at, 100_000_000);
      word(end, P.LINK_REPLAY_BYTES, 1 << 16);
      word(end, P.LINK_RANDOM, 1);
      word(end, P.LINK_LOG_ROOM, 100);
      word(end, P.LOAD_RCB, 64);
      for (const kind of [0, 4, 8]) {
        word(end, P.LINK_CREDITS + kind, 100);
        word(end, P.LINK_CREDITS + 12 + kind, 2000);
      }
      word(end, P.LOAD_WRITES, 40);
      word(end, P.LOAD_WRITE_BYTES, 256);
      word(end, P.LOAD_WRITE_CUT, 256);
      word(end, P.LOAD_WRITE_WINDOW, 1 << 16);
      word(end, P.LOAD_WRITE_SOURCE, kept.at(L.PLACE_HOST_MEMORY));
    }
    x.linkStart(0);
    while (word(1, P.LINK_LOGGED) < 5) x.linkRun(1, 0, 0x7fff_ffff);
    const before = word(1, P.LINK_LOGGED);
    word(1, P.LINK_SEND_NAK, 1);
    word(1, P.LINK_SEND_FC, 0b111);
    word(1, P.LINK_REPLAY_NEXT, word(1, P.LINK_ACKED_SEQUENCE) + 3);
    while (word(1, P.LINK_LOGGED) < before + 7) x.linkRun(1, 0, 0x7fff_ffff);
    const view = new DataView(u8.buffer);
    const entry = (n: number): number[] => {
      const at = kept.at(L.PLACE_LINK_LOG) + (P.LOG_SLOTS + n) * P.LOG_STRIDE;
      return [view.getUint32(at + 8, true), view.getUint32(at + 12, true)];
    };
    const left = Array.from({ length: 7 }, (_, n) => entry(before + n));
    expect(left.map(([what]) => what)).toEqual([
      P.LOG_NAK,
      P.LOG_FC,
      P.LOG_FC,
      P.LOG_FC,
      P.LOG_TLP,
      P.LOG_TLP,
      P.LOG_TLP,
    ]);
    // Pools in their order; sequence numbers 3 and 4 again, then the new one.
    expect(left.slice(1, 4).map(([, value]) => (value ?? 0) >>> 24)).toEqual([0, 1, 2]);
    expect(left.slice(4).map(([, value]) => value)).toEqual([3, 4, 5]);
    // An Ack stands where the Nak did, an SKP ordered set before all.
    const again = word(1, P.LINK_LOGGED);
    word(1, P.LINK_SEND_ACK, 1);
    word(1, P.LINK_SEND_FC, 0b1);
    word(1, P.LINK_SEND_FC + 4, 1);
    while (word(1, P.LINK_LOGGED) < again + 4) x.linkRun(1, 0, 0x7fff_ffff);
    expect([0, 1, 2, 3].map((n) => entry(again + n)[0])).toEqual([P.LOG_SKP, P.LOG_ACK, P.LOG_FC, P.LOG_TLP]);
  });

  it('packets: a write, its Ack and its UpdateFC at their times, a request with its header', async () => {
    const input: SimulationInput = {
      packets: 10,
      up: { writes: { count: 1, bytes: 64 }, reads: { count: 1, bytes: 8, tags: 1 } },
      core: core(),
    };
    const { up, down } = await simulateLink(input);
    const ticks = (bytes: number): number => (bytes * 520) / 4096;
    const short = ({ kind, ns, sequence }: Packet) => [kind, ns, sequence];
    expect(up.packets.slice(0, 2).map(short)).toEqual([
      ['TLP', 0, 0],
      ['TLP', ticks(88), 1],
    ]);
    // MWr of 16 DW and MRd of 2 DW with 4 DW headers at 2^40.
    expect(up.packets[0]?.header).toEqual([0x6000_0010, 0xff, 0x100, 0]);
    expect(up.packets[1]?.header?.slice(0, 2)).toEqual([0x2000_0002, 0xff]);
    const completion = down.packets[0];
    expect([completion?.kind, completion?.ns, completion?.header?.length]).toEqual([
      'TLP',
      ticks(88) + ticks(24) + 75,
      3,
    ]);
    // The Ack limit runs from the first arrival; UpdateFC of the posted pool falls due in the same tick, behind it.
    const due = ticks(88) + 75 + 203 * 1; // 203 symbol times of 1 ns
    const [ack, fc] = down.packets.slice(1, 3);
    expect([ack?.kind, ack?.ns, ack?.sequence]).toEqual(['Ack', due, 1]);
    expect([fc?.kind, fc?.credits]).toEqual(['UpdateFC', { pool: 'P', header: 33, data: (256 + 4) & 0xfff }]);
    expect([...up.packets, ...down.packets].some(({ bad }) => bad)).toBe(false);
  });

  it('TLP-21: initialisation: InitFC1 of all classes both ways, then InitFC2, and no TLP before', async () => {
    for (const latencyNs of [0, 5, 75, 1000]) {
      const { up, down } = await simulateLink({
        init: true,
        packets: 1024,
        latencyNs,
        up: { writes: { count: 5, bytes: 64 } },
        down: { writes: { count: 5, bytes: 64 } },
        core: core(),
      });
      expect([up.tlps, down.tlps]).toEqual([5, 5]);
      for (const [own, other] of [
        [up.packets, down.packets],
        [down.packets, up.packets],
      ] as const) {
        const kinds = own.map(({ kind }) => kind);
        const [first1, first2] = [kinds.indexOf('InitFC1'), kinds.indexOf('InitFC2')];
        const firstTlp = kinds.indexOf('TLP');
        expect([
          first1,
          kinds.lastIndexOf('InitFC1') < first2,
          kinds.lastIndexOf('InitFC2') < firstTlp,
        ]).toEqual([0, true, true]);
        // Classes in their order, again and again.
        const pools = own.slice(0, first2).map(({ credits }) => credits?.pool);
        expect(pools).toEqual(pools.map((_, n) => ['P', 'NP', 'Cpl'][n % 3]));
        // Not before the last of the first three InitFC1 of the other end has arrived; no TLP before an InitFC2 has.
        const arrived = (n: number): number => (other[n]?.ns ?? 0) + (8 * 520) / 4096 + latencyNs;
        expect(own[first2]?.ns).toBeGreaterThanOrEqual(arrived(2));
        const otherSecond = other.findIndex(({ kind }) => kind === 'InitFC2');
        expect(own[firstTlp]?.ns).toBeGreaterThanOrEqual(arrived(otherSecond));
        expect(own.slice(0, 3).map(({ credits }) => credits?.header)).toEqual(
          own === up.packets ? [64, 64, 0] : [32, 32, 0],
        );
      }
    }
  });

  it('TLP-21: lost InitFCs are made up for', async () => {
    for (let seed = 0; seed < 30; seed++) {
      const end = { writes: { count: 50, bytes: 64 }, badDllps: 0.4 };
      const { up, down } = await simulateLink({ init: true, seed, up: end, down: end, core: core() });
      expect([seed, up.tlps, down.tlps]).toEqual([seed, 50, 50]);
    }
  });

  it('TLP-19: a gap gives exactly one Nak until a good TLP comes, and all behind it go again', async () => {
    let cases = 0;
    for (let seed = 0; seed < 40; seed++) {
      const { up, down } = await simulateLink({
        seed,
        packets: 400,
        up: { writes: { count: 120, bytes: 64 }, badTlps: 0.01 },
        core: core(),
      });
      const bad = up.packets.filter((packet) => packet.bad);
      if (bad.length !== 1) continue;
      cases += 1;
      expect(down.naks).toBe(1);
      expect(down.packets.filter(({ kind }) => kind === 'Nak')).toHaveLength(1);
      const sequences = up.packets.filter(({ kind }) => kind === 'TLP').map(({ sequence }) => sequence ?? 0);
      const lost = bad[0]?.sequence ?? 0;
      // In order up to where the Nak takes hold, then from the lost one on again to the end.
      const turn = sequences.findIndex((sequence, n) => n > 0 && sequence <= (sequences[n - 1] ?? 0));
      expect(sequences[turn]).toBe(lost);
      expect(sequences.slice(0, turn)).toEqual(Array.from({ length: turn }, (_, n) => n));
      expect(sequences.slice(turn)).toEqual(Array.from({ length: 120 - lost }, (_, n) => lost + n));
      expect(down.tlps).toBe(120);
    }
    expect(cases).toBeGreaterThan(5);
  });

  it('TLP-19: the 2048th TLP waits while 2047 are unacknowledged, to the tick', async () => {
    const none = { ph: 0, pd: 0, nph: 0, npd: 0, cplh: 0, cpld: 0 };
    const latencyNs = 10_000;
    const rounds = 4;
    const { down, up } = await simulateLink({
      latencyNs,
      ackNs: 0,
      replayBytes: 1 << 20,
      up: { writes: { count: 2047 * rounds, bytes: 4 } },
      down: { credits: none },
      core: core(),
    });
    const wire = (28 * 520) / 4096;
    const round = wire + latencyNs + (8 * 520) / 4096 + latencyNs;
    expect([up.replayed, down.tlps]).toEqual([0, 2047 * rounds]);
    // Each TLP goes when the Ack of the one 2047 before it has come; those of a round follow each other.
    expect(down.lastArrivalNs).toBeCloseTo((rounds - 1) * round + 2047 * wire + latencyNs, 6);
  });

  it('TLP-20: 127 header credits pass and the next TLP waits; infinite credits never do', async () => {
    const credits = { ph: 127, pd: 0, nph: 1, npd: 1, cplh: 0, cpld: 0 };
    const run = (ph: number) =>
      simulateLink({
        packets: 1000,
        updateFcNs: 0,
        replayBytes: 1 << 20,
        up: { writes: { count: 300, bytes: 4 } },
        down: { credits: { ...credits, ph }, drainNs: 5000 },
        core: core(),
      });
    const begins = (packets: readonly Packet[]): number[] =>
      packets.filter(({ kind }) => kind === 'TLP').map(({ ns }) => ns);
    const wire = (28 * 520) / 4096;
    const finite = begins((await run(127)).up.packets);
    expect(finite.slice(0, 127)).toEqual(Array.from({ length: 127 }, (_, n) => n * wire));
    expect(finite[127]).toBeGreaterThan(5000);
    const free = begins((await run(0)).up.packets);
    // An Ack never stands in their way: they go one behind the other.
    expect(free).toEqual(Array.from({ length: 300 }, (_, n) => n * wire));
  });
});
