/** The link of the reference simulation: the rules of link.md 11 where no recording looks. */
import { describe, expect, it } from 'vitest';
import { parseLink } from '../../src/base/link.js';
import { COCOTBEXT_CREDITS } from '../../src/link/ports.js';
import {
  ReferencePort,
  type ReferenceTlp,
  Schedule,
  type SentPacket,
} from '../../src/link/reference-link.js';

type Packet = SentPacket<number>;

interface Trace {
  readonly down: Packet[];
  readonly up: Packet[];
  readonly received: number[];
}

/** Sends TLPs down at time 0 to a receiver that frees its buffers after `holdFs`, for 25 us or `forFs`. */
function trace(
  name: string,
  tlps: readonly ReferenceTlp<number>[],
  credits = COCOTBEXT_CREDITS.endpoint,
  holdFs = 0,
  forFs = 2.5e10,
): Trace {
  const schedule = new Schedule();
  const found: Trace = { down: [], up: [], received: [] };
  const common = { link: parseLink(name), delayFs: 1e7, schedule };
  const root = new ReferencePort<number>({
    ...common,
    credits: COCOTBEXT_CREDITS.root,
    receive: (_tlp, release, done) => {
      release();
      done();
    },
    sent: (packet) => found.down.push(packet),
  });
  const endpoint = new ReferencePort<number>({
    ...common,
    credits,
    receive: ({ content }, release, done) => {
      found.received.push(content);
      if (holdFs === 0) release();
      else schedule.after(holdFs, release);
      done();
    },
    sent: (packet) => found.up.push(packet),
  });
  root.connect(endpoint);
  for (const tlp of tlps) root.send(tlp);
  schedule.runWhile((fs) => fs < forFs);
  expect(root.isQuiet).toBe(true);
  expect(endpoint.isQuiet).toBe(true);
  return found;
}

function write(content: number, bytes = 64): ReferenceTlp<number> {
  return { flow: 'P', dataCredits: bytes / 16, wire: 20 + bytes, content };
}

function kind(packet: Packet): string {
  if ('tlp' in packet) return 'TLP';
  const { dllp } = packet;
  return dllp.type === 'Ack' ? 'Ack' : `${dllp.type}_${dllp.flow}`;
}

describe('the link of the reference simulation', () => {
  it('initialises with InitFC1, then InitFC2 once it knows all classes, then stops', () => {
    const { down } = trace('gen3x1', []);
    const kinds = down.map(kind);
    const order = [...new Set(kinds)];
    expect(order.slice(0, 3)).toEqual(['InitFC1_P', 'InitFC1_NP', 'InitFC1_CPL']);
    expect(kinds.lastIndexOf('InitFC1_NP')).toBeLessThan(
      kinds.findIndex((name) => name.startsWith('InitFC2')),
    );
    expect(kinds.at(-1)).toMatch(/^UpdateFC/);
  });

  it('L-31 an idle link carries only UpdateFC: every class again 30 us after its last one, looked at every 10 us', () => {
    const { up } = trace('gen3x8', [], COCOTBEXT_CREDITS.endpoint, 0, 1e11);
    const updates = up.filter((packet) => kind(packet).startsWith('UpdateFC'));
    const classes = ['UpdateFC_P', 'UpdateFC_NP', 'UpdateFC_CPL'];
    const rounds = Array.from({ length: updates.length / 3 }, (_, n) => updates.slice(3 * n, 3 * n + 3));
    for (const round of rounds) expect(round.map(kind)).toEqual(classes);
    const begins = rounds.map(([first]) => first?.fs as number);
    expect(begins).toEqual([1e10, 4e10, 7e10]);
  });

  it('delivers every TLP once and in order, and acknowledges the last one', () => {
    const { received, up } = trace(
      'gen2x4',
      Array.from({ length: 300 }, (_, n) => write(n)),
    );
    expect(received).toEqual(Array.from({ length: 300 }, (_, n) => n));
    const acks = up.flatMap((packet) =>
      'dllp' in packet && packet.dllp.type === 'Ack' ? [packet.dllp] : [],
    );
    expect(acks.at(-1)?.sequence).toBe(299);
  });

  it('an Ack goes before an UpdateFC that is due at the same time', () => {
    const { up } = trace('gen1x1', [write(0)]);
    const kinds = up.map(kind);
    expect(kinds.slice(kinds.indexOf('Ack'), kinds.indexOf('Ack') + 2)).toEqual(['Ack', 'UpdateFC_P']);
  });

  it('an Ack leaves the unrounded limit of MPS 128 after the first TLP: 237.4 symbols at gen1x1', () => {
    const { down, up } = trace('gen1x1', [write(0)]);
    const sent = down.find((packet) => 'tlp' in packet) as Packet;
    const ack = up.find((packet) => kind(packet) === 'Ack') as Packet;
    expect(ack.fs - sent.fs).toBe(84 * 4e6 + 1e7 + 237.4 * 4e6);
  });

  it('L-29 no more TLPs are under way than the receiver gave credits for', () => {
    const credits = { ...COCOTBEXT_CREDITS.endpoint, ph: 3 };
    const { down, up } = trace(
      'gen4x4',
      Array.from({ length: 20 }, (_, n) => write(n)),
      credits,
      5e8,
    );
    let granted = 3;
    const events = [
      ...down.map((packet) => ({ packet, at: packet.fs })),
      ...up.map((packet) => ({ packet, at: packet.fs + 1e7 })),
    ];
    let used = 0;
    for (const { packet } of events.sort((one, other) => one.at - other.at)) {
      if ('tlp' in packet) used++;
      else if (packet.dllp.type === 'UpdateFC' && packet.dllp.flow === 'P')
        granted = packet.dllp.headerCredits;
      expect(used).toBeLessThanOrEqual(granted);
    }
    expect(used).toBe(20);
  });

  it('L-30 a class without credits holds no other', () => {
    const reads = Array.from(
      { length: 4 },
      (_, n): ReferenceTlp<number> => ({ flow: 'NP', dataCredits: 0, wire: 20, content: n }),
    );
    const { received } = trace(
      'gen3x4',
      [...reads, write(9)],
      { ...COCOTBEXT_CREDITS.endpoint, nph: 1 },
      1e9,
    );
    expect(received.slice(0, 2)).toEqual([0, 9]);
    expect(received.filter((content) => content < 4)).toEqual([0, 1, 2, 3]);
  });
});
