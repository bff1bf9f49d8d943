/**
 * Runs the group `linkTrace` of `tlp-vectors/1`: what a root port and an endpoint send each other, packet by packet, with
 * `credits`, `txArbitration` and `ackPolicy` of the reference simulation, without SKP.
 */
import { invalid, show, ZtlpError } from '../base/errors.js';
import { parseLink } from '../base/link.js';
import type { U64 } from '../core/u64.js';
import { COCOTBEXT_CREDITS } from '../link/ports.js';
import {
  type ReferenceDllp,
  ReferencePort,
  type ReferenceTlp,
  Schedule,
  type SentPacket,
} from '../link/reference-link.js';
import { decodeTlp, encodeTlp } from '../tlp/codec.js';
import { type Dllp, encodeDllp } from '../tlp/dllp.js';
import { splitCompletion, splitRequest } from '../tlp/split.js';
import type { Tlp, TlpInput } from '../tlp/types.js';
import { type CaseFields, toHex } from './case.js';
import { PRESETS } from './presets.js';
import { type Json, judge, type Verdict } from './report.js';

const ENDPOINT = 0x0100;
const ROOT_COMPLEX = 0;

/**
 * What the recordings do before their operations: configuration requests to the endpoint, one after another. Their
 * number shows in the first sequence numbers and credits behind them; requests to the root port itself, which are on no
 * link, take tags as well.
 */
const ENUMERATION = { reads: 28, writes: 19, firstTag: 1, tagAfter: 24 } as const;
/** Tags of each side. */
const TAGS = { ep: 256, rc: 32 } as const;
/** The largest completion boundary that each side's completions are cut at. */
const RCB = { ep: 128, rc: 64 } as const;
const SIZES = { mps: 256, mrrs: 512 } as const;
/** Times differ by this much per packet that was sent before. */
const FS_PER_PACKET = 1000;
/** Longest trace: no case of minutes. */
const MOST_FS = 1e13;

type Side = 'ep' | 'rc';
type Direction = 'up' | 'down';

interface Operation {
  readonly fs: number;
  readonly side: Side;
  readonly op: 'read' | 'write';
  readonly address: U64;
  readonly bytes: number;
}

/** A packet in the form of the file, and when it began. */
interface Line {
  readonly fs: number;
  readonly packet: Json;
}

type Traffic = Record<Direction, Line[]>;

/** One side's requester and completer on its port. */
class Agent {
  port: ReferencePort<Tlp> | undefined;
  nextTag: number = ENUMERATION.firstTag;
  /** By tag: bytes still to come, and what waits for them. */
  private readonly reads = new Map<number, (tlp: Tlp) => void>();

  constructor(private readonly side: Side) {}

  /** Performs a transfer: posted writes one by one, reads all at once; `done` when they left or were answered. */
  transfer({ op, address, bytes }: Operation, done: () => void): void {
    const requester = this.side === 'ep' ? ENDPOINT : ROOT_COMPLEX;
    const requests = splitRequest({
      op,
      address,
      bytes,
      requester,
      options: { ...PRESETS.split, ...SIZES },
    });
    if (op === 'write') {
      this.sendAll(requests, done);
      return;
    }
    let open = requests.length;
    for (const request of requests) {
      this.request(request, () => {
        open--;
        if (open === 0) done();
      });
    }
  }

  /** Sends a request that is answered. */
  request(tlp: Tlp, answered: () => void): void {
    const tag = this.nextTag;
    this.nextTag = (tag + 1) % TAGS[this.side];
    this.reads.set(tag, ({ length, byteCount, lowerAddress, type }) => {
      const isLast = type === 'Cpl' || byteCount <= 4 * length - (lowerAddress & 3);
      if (!isLast) return;
      this.reads.delete(tag);
      answered();
    });
    this.send({ ...tlp, tag });
  }

  receive(tlp: Tlp, release: () => void, done: () => void): void {
    release();
    if (tlp.flow === 'CPL') {
      this.reads.get(tlp.tag)?.(tlp);
      done();
    } else {
      this.sendAll(this.completionsOf(tlp), done);
    }
  }

  private completionsOf(request: Tlp): Tlp[] {
    const completer = this.side === 'ep' ? ENDPOINT : ROOT_COMPLEX;
    const { requester, tag } = request;
    switch (request.type) {
      case 'MRd':
        return splitCompletion({
          request,
          completer,
          options: { mps: SIZES.mps, rcb: RCB[this.side], completionPolicy: 'fewest' },
        });
      case 'CfgRd0':
        return [made({ type: 'CplD', completer, requester, tag, byteCount: 4, length: 1 })];
      case 'CfgWr0':
        return [made({ type: 'Cpl', completer, requester, tag, byteCount: 4 })];
      default:
        return [];
    }
  }

  private sendAll(tlps: readonly Tlp[], done: () => void): void {
    const [first, ...rest] = tlps;
    if (first === undefined) done();
    else this.send(first, () => this.sendAll(rest, done));
  }

  private send(tlp: Tlp, put?: () => void): void {
    const { flow, dataCredits } = tlp;
    // The source has no digest.
    this.port?.send({ flow, dataCredits, wire: 8 + tlp.headerBytes + tlp.payloadBytes, content: tlp }, put);
  }
}

/** A TLP by its fields; its data do not matter. */
function made(input: TlpInput): Tlp {
  const hasData = input.type === 'CplD' || input.type === 'CfgWr0';
  return decodeTlp(encodeTlp(input, new Uint8Array(hasData ? 4 : 0)));
}

function configurationRequest(isWrite: boolean): Tlp {
  const type = isWrite ? 'CfgWr0' : 'CfgRd0';
  return made({ type, requester: ROOT_COMPLEX, destination: ENDPOINT, register: 0, firstBe: 15, lastBe: 0 });
}

function headerOf(tlp: Tlp): string {
  const bytes = encodeTlp(tlp, new Uint8Array(tlp.payloadBytes), { digest: false });
  return toHex(bytes.subarray(0, tlp.headerBytes));
}

const NAMES = { InitFC1: 'INIT_FC1', InitFC2: 'INIT_FC2', UpdateFC: 'UPDATE_FC' } as const;

function dllpLine(dllp: ReferenceDllp): Json {
  if (dllp.type === 'Ack') return ['DLLP', toHex(encodeDllp(dllp)), 'ACK'];
  const { type, flow, headerCredits, dataCredits } = dllp;
  const whole: Dllp = {
    type,
    flow,
    vc: 0,
    headerScale: 0,
    headerCredits: headerCredits & 0xff,
    dataScale: 0,
    dataCredits: dataCredits & 0xfff,
  };
  return ['DLLP', toHex(encodeDllp(whole)), `${NAMES[type]}_${flow}`];
}

function lineOf(sent: SentPacket<Tlp>): Line {
  if ('dllp' in sent) return { fs: sent.fs, packet: dllpLine(sent.dllp) };
  const { fs, sequence, tlp } = sent;
  return { fs, packet: ['TLP', sequence, headerOf(tlp.content), tlp.content.payloadBytes / 4, tlp.wire] };
}

/** Rows [time, direction, packet...] of a case. */
function traffic(fields: CaseFields, name: string): Traffic {
  const found: Traffic = { up: [], down: [] };
  for (const row of fields.list(name)) {
    const [fs, direction, ...packet] = Array.isArray(row) ? row : [];
    if (!isTime(fs) || (direction !== 'up' && direction !== 'down'))
      throw invalid(name, row, 'a list of time, up or down, and a packet', 'malformed');
    found[direction as Direction].push({ fs, packet: packet as Json[] });
  }
  return found;
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= MOST_FS;
}

const OPERATION = /^(ep|rc) mem_(read|write) (base|bar0)\+(0x[0-9a-f]+|\d+) (\d+)$/;

function operations(fields: CaseFields): Operation[] {
  const bases = { base: fields.u64('base'), bar0: fields.u64('bar0') };
  return fields.list('ops').map((row) => {
    const [fs, text, ...rest] = Array.isArray(row) ? row : [];
    const match = typeof text === 'string' ? OPERATION.exec(text) : null;
    if (!isTime(fs) || match === null || rest.length > 0)
      throw invalid('ops', row, 'a time and e.g. "ep mem_write base+0 64"', 'malformed');
    const [, side, op, base, offset = '', bytes] = match;
    const address = BigInt(bases[base as keyof typeof bases]) + BigInt(offset);
    return {
      fs,
      side: side as Side,
      op: op as Operation['op'],
      address: address < 2n ** 53n ? Number(address) : address,
      bytes: Number(bytes),
    };
  });
}

/** What a run gave: both directions from time 0 on, and when the last operation ended. */
interface Run {
  readonly sent: Traffic;
  readonly endFs: number;
}

interface RunInput {
  readonly link: string;
  readonly delayFs: number;
  readonly operations: readonly Operation[];
  /** Goes on at least to here: refreshes have no end of their own. */
  readonly untilFs: number;
}

/**
 * A root port and an endpoint from time 0: flow control, the configuration requests, the operations. An operation begins
 * when the one before has ended, and not before its time.
 */
function run({ link: name, delayFs, operations: list, untilFs }: RunInput): Run {
  const link = parseLink(name);
  const schedule = new Schedule();
  const sent: Traffic = { up: [], down: [] };
  const agents = { ep: new Agent('ep'), rc: new Agent('rc') };
  const portOf = (side: Side): ReferencePort<Tlp> => {
    const direction = side === 'ep' ? 'up' : 'down';
    const agent = agents[side];
    const port = new ReferencePort<Tlp>({
      link,
      delayFs,
      credits: COCOTBEXT_CREDITS[side === 'ep' ? 'endpoint' : 'root'],
      schedule,
      receive: ({ content }: ReferenceTlp<Tlp>, release, done) => agent.receive(content, release, done),
      sent: (packet) => sent[direction].push(lineOf(packet)),
    });
    agent.port = port;
    return port;
  };
  const root = portOf('rc');
  const endpoint = portOf('ep');
  root.connect(endpoint);
  let endFs = 0;
  let isDone = false;
  const operate = (index: number): void => {
    const operation = list[index];
    if (operation === undefined) {
      endFs = schedule.now;
      isDone = true;
      return;
    }
    const begin = (): void => agents[operation.side].transfer(operation, () => operate(index + 1));
    // Within the tolerance of times it follows at once.
    const near = FS_PER_PACKET * (1 + sent.up.length + sent.down.length);
    if (operation.fs - schedule.now <= near) begin();
    else schedule.at(operation.fs, begin);
  };
  const { reads, writes, tagAfter } = ENUMERATION;
  const enumerate = (index: number): void => {
    if (index < reads + writes) {
      agents.rc.request(configurationRequest(index >= reads), () => enumerate(index + 1));
      return;
    }
    agents.rc.nextTag = tagAfter;
    operate(0);
  };
  enumerate(0);
  schedule.runWhile((fs) => fs <= untilFs || (!(isDone && root.isQuiet && endpoint.isQuiet) && fs < MOST_FS));
  if (!isDone) throw new ZtlpError('invalid-value', `the operations do not end within ${show(MOST_FS)} fs`);
  return { sent, endFs };
}

/** Our packet, with the time of `expected` where ours is near enough: `before` packets were sent before. */
function timed(expected: Line | undefined, { fs, packet }: Line, before: number): Json {
  const isNear = expected !== undefined && Math.abs(expected.fs - fs) <= FS_PER_PACKET * Math.max(before, 1);
  return [isNear ? expected.fs : fs, packet];
}

/** Both directions of a part of the trace: what the file has, and what was sent from packet `first` on. */
function compared(
  expected: Traffic,
  sent: Traffic,
  first: Readonly<Record<Direction, number>>,
): [Json, Json] {
  const sides = (['up', 'down'] as const).map((direction): [string, Json, Json] => {
    const want = expected[direction];
    const have = sent[direction];
    const lines = have.map((line, n) => timed(want[n], line, first[direction] + n));
    return [direction, want.map(({ fs, packet }): Json => [fs, packet]), lines];
  });
  const part = (side: 1 | 2): Json => Object.fromEntries(sides.map((entry) => [entry[0], entry[side]]));
  return [part(1), part(2)];
}

/**
 * Order of the packets of each direction, their headers and bytes; start times within 1 ps per packet that was sent
 * before. What the file holds of the start is compared as far as it goes.
 */
export function runLinkTrace(fields: CaseFields): Verdict {
  const start = traffic(fields, 'fcInitStart');
  const events = traffic(fields, 'events');
  const list = operations(fields);
  const expectedEnd = fields.integer('end');
  const delayFs = fields.integer('portDelayFs');
  if (!isTime(delayFs)) throw invalid('portDelayFs', delayFs, `0 to ${MOST_FS}`, 'out-of-range');
  const untilFs = Math.max(0, ...[...events.up, ...events.down].map(({ fs }) => fs));
  const link = `gen${fields.integer('gen')}x${fields.integer('width')}`;
  const { sent, endFs } = run({ link, delayFs, operations: list, untilFs });
  const beginFs = list[0]?.fs ?? 0;
  const countBefore = (direction: Direction): number =>
    sent[direction].filter(({ fs }) => fs < beginFs - FS_PER_PACKET).length;
  const first = { up: countBefore('up'), down: countBefore('down') };
  const head = (direction: Direction): Line[] => sent[direction].slice(0, start[direction].length);
  const [wantStart, haveStart] = compared(start, { up: head('up'), down: head('down') }, { up: 0, down: 0 });
  const rest = { up: sent.up.slice(first.up), down: sent.down.slice(first.down) };
  const [wantEvents, haveEvents] = compared(events, rest, first);
  const isNearEnd = Math.abs(endFs - expectedEnd) <= FS_PER_PACKET * (sent.up.length + sent.down.length);
  return judge(
    { fcInitStart: wantStart, events: wantEvents, end: expectedEnd },
    {
      fcInitStart: haveStart,
      events: haveEvents,
      end: isNearEnd ? expectedEnd : endFs,
    },
  );
}
