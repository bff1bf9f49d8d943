/** Groups `decode` (a TLP as bytes to and from an object) and `crc` (LCRC in the core against zlib and C). */
import { crc32 } from 'node:zlib';
import * as L from '../assembly/layout.js';
import { Core } from '../src/core/core.js';
import { decodeTlp, encodeTlp, ready, type TlpInput } from '../src/index.js';
import { type Case, ensure, type Group, pattern } from './case.js';
import { isEqual } from './page.js';

const DATA = pattern(64);
const WRITE: TlpInput = { type: 'MWr', address: 2 ** 40, length: DATA.length / 4 };
/** Keeps results alive, so that no engine leaves the work out. */
export let sink = 0;

function repeated(name: string, bytes: number, units: number, work: () => number): Case {
  const run = (): void => {
    for (let n = 0; n < units; n++) sink ^= work();
  };
  return { name, bytes, units, run };
}

export async function decodeGroup(): Promise<Group> {
  await ready();
  const tlp = encodeTlp(WRITE, DATA);
  ensure(isEqual(decodeTlp(tlp).data, DATA), 'decodeTlp loses the data');
  const core = await Core.load(undefined, 0, 0);
  core.u8.set(tlp, core.at(L.PLACE_WIRE) + L.WIRE_LEAD);
  ensure(core.x.tlpDecode(tlp.length) === L.DECODE_OK, 'the core does not decode the TLP');
  const alone = 'header, core call alone';
  return {
    title: 'decode',
    unit: 'TLP of 64 B',
    baseline: alone,
    cases: [
      repeated(alone, 0, 2000, () => core.x.tlpDecode(tlp.length)),
      repeated('decodeTlp', DATA.length, 200, () => decodeTlp(tlp).length),
      repeated('encodeTlp', DATA.length, 200, () => encodeTlp(WRITE, DATA).length),
    ],
  };
}

const SEQUENCE = 0x123;
/** The two bytes that lead a TLP into its LCRC. */
const LEAD = 2;

/** zlib's CRC-32 and the LCRC of the same bytes: the sequence number and `bytes` bytes behind it. */
function crcCases(core: Core, bytes: number): Case[] {
  const at = core.at(L.PLACE_WIRE) + L.WIRE_LEAD;
  const covered = core.u8.subarray(at - LEAD, at + bytes);
  const units = Math.ceil(65536 / bytes);
  const zlib = repeated(`zlib crc32, ${bytes} B`, bytes, units, () => crc32(covered));
  const lcrc = repeated(`lcrc, ${bytes} B`, bytes, units, () => core.x.tlpLcrc(bytes, SEQUENCE));
  const check = (): void => {
    const answer = core.x.tlpLcrc(bytes, SEQUENCE) >>> 0;
    ensure(answer === crc32(covered), `lcrc of ${bytes} B differs from zlib`);
  };
  const message = Uint8Array.from([SEQUENCE >> 8, SEQUENCE & 0xff, ...pattern(bytes)]);
  const native = { loop: 'crc', bytes, check: crc32(message) } as const;
  const baseline = zlib.name;
  return [
    { ...zlib, baseline },
    { ...lcrc, baseline, check, native },
  ];
}

export async function crcGroup(): Promise<Group> {
  const core = await Core.load(undefined, 0, 0);
  // The longest message runs over the end of the wire scratch: what stands behind it serves as well as any bytes.
  const wire = core.at(L.PLACE_WIRE);
  core.u8.set(pattern(L.WIRE_BYTES), wire);
  core.u8.set(pattern(65536), core.at(L.PLACE_RING));
  const cases = [84, 280, 65536].flatMap((bytes) => crcCases(core, bytes));
  return { title: 'crc', unit: 'message', baseline: cases[0]?.name ?? '', cases };
}
