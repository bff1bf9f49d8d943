/** Rates, wire sizes and framing of links: the checklist of link.md and the wire-format laws of timing.md. */
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TICKS_PER_NS } from '../../assembly/layout.js';
import { type AnyLink, DLLP_WIRE_BYTES, parseAnyLink, parseLink, wireNs } from '../../src/base/link.js';
import { decodeStpToken, encodeStpToken, frameTlp, SYMBOL } from '../../src/link/framing.js';
import {
  FLIT,
  flitTicks,
  gigatransfers,
  lineCode,
  rawGbps,
  symbolTicks,
  tlpRatio,
  usesFlits,
} from '../../src/link/rates.js';
import { efficiency, skpRatio, TLP_OVERHEAD_BYTES, tlpWireBytes, wireLawGbps } from '../../src/link/wire.js';

const LANES = [1, 2, 4, 8, 16] as const;
const GENERATIONS = [1, 2, 3, 4, 5, 6, 7] as const;

/** A fraction in lowest terms, as text: exact figures are compared as such. */
function exact(over: bigint, under: bigint): string {
  let [a, b] = [over, under];
  while (b !== 0n) [a, b] = [b, a % b];
  return `${over / a}/${under / a}`;
}

/** Gb/s of the wire law as an exact fraction, by the definition alone: 8 bits of payload per time of the wire bytes. */
function lawExactly(link: AnyLink, payload: number, wire: number): string {
  return exact(8n * BigInt(payload) * BigInt(TICKS_PER_NS), BigInt(wire) * BigInt(link.ticksPerByte));
}

describe('rates', () => {
  it('LNK-01 ticks per byte are those of the table, 32 at gen6x16 and 16 at gen7x16', () => {
    const table: Readonly<Record<number, readonly number[]>> = {
      1: [16384, 8192, 4096, 2048, 1024],
      2: [8192, 4096, 2048, 1024, 512],
      3: [4160, 2080, 1040, 520, 260],
      4: [2080, 1040, 520, 260, 130],
      5: [1040, 520, 260, 130, 65],
    };
    for (const [generation, row] of Object.entries(table)) {
      const ticks = LANES.map((lanes) => parseLink(`gen${generation}x${lanes}`).ticksPerByte);
      expect(ticks, generation).toEqual(row);
    }
    expect([parseAnyLink('gen6x16').ticksPerByte, parseAnyLink('gen7x16').ticksPerByte]).toEqual([32, 16]);
  });

  it('LNK-01 ticks per byte follow from transfers and line code, exactly', () => {
    for (const generation of GENERATIONS) {
      const [bits, of] = { '8b/10b': [8, 10], '128b/130b': [128, 130], '1b/1b': [1, 1] }[
        lineCode(generation)
      ];
      for (const lanes of LANES) {
        const { ticksPerByte } = parseAnyLink(`gen${generation}x${lanes}`);
        // Bits per ns x ticks per byte = 8 x ticks per ns; 2.5 GT/s are made whole by a factor of 2.
        const bitsPerNs = 2 * gigatransfers(generation) * lanes * (bits as number);
        expect(bitsPerNs * ticksPerByte).toBe(2 * 8 * TICKS_PER_NS * (of as number));
      }
    }
  });

  it('LNK-01 raw rates per lane are 2, 4, 7.876923, 15.753846 and 31.507692 Gb/s', () => {
    const rates = [1, 2, 3, 4, 5].map((generation) => rawGbps(parseLink(`gen${generation}x1`)));
    expect(rates).toEqual([2, 4, 512 / 65, 1024 / 65, 2048 / 65]);
    expect(rawGbps(parseLink('gen3x8'))).toBeCloseTo(63.0153846, 7);
  });

  it('symbol times go by the name of the rate: 4, 2, 1, 0.5, 0.25 ns', () => {
    const times = ([1, 2, 3, 4, 5] as const).map((generation) => symbolTicks(generation) / TICKS_PER_NS);
    expect(times).toEqual([4, 2, 1, 0.5, 0.25]);
  });

  it.each(['gen6x16', 'gen0x1', 'gen3x12', 'gen3x32', 'gen3', 'x8', '', 'gen3x08'])(
    'refuses the link %j for a machine',
    (text) => {
      expect(() => parseLink(text)).toThrow(/gen1 to gen5/);
    },
  );

  it('refuses generation 8 for the calculator too', () => {
    expect(() => parseAnyLink('gen8x1')).toThrow(/gen1 to gen7/);
    expect(parseAnyLink('GEN7X4')).toEqual({ generation: 7, lanes: 4, ticksPerByte: 64, name: 'gen7x4' });
  });
});

const GEN3X8 = parseLink('gen3x8');

/** A write of whole DWs. */
function write(bytes: number, headerDw: 3 | 4, ecrc = false): number {
  return tlpWireBytes({ headerDw, payloadDw: Math.ceil(bytes / 4), ecrc });
}

/** Payload, header DWs, ECRC; wire bytes, Gb/s as the sheet prints it. */
type WriteLaw = readonly [
  id: string,
  bytes: number,
  headerDw: 3 | 4,
  ecrc: boolean,
  wire: number,
  gbps: number,
];

describe('bytes on the wire', () => {
  it('LNK-02 the formulas give the wire field of every TLP and DLLP vector', async () => {
    const text = await readFile(new URL('../vectors/tlp-cocotbext-pcie.json', import.meta.url), 'utf8');
    const { tlp } = JSON.parse(text) as { tlp: { hdr: string; data?: string; wire: number }[] };
    expect(tlp.length).toBe(2472);
    for (const { hdr, wire } of tlp) {
      const fmt = Number.parseInt(hdr.slice(0, 2), 16) >>> 5;
      const dw0 = Number.parseInt(hdr.slice(0, 8), 16);
      const payloadDw = (fmt & 2) === 0 ? 0 : (dw0 & 0x3ff) === 0 ? 1024 : dw0 & 0x3ff;
      const headerDw = (fmt & 1) === 0 ? 3 : 4;
      // The vectors count a TLP without its digest.
      expect(tlpWireBytes({ headerDw, payloadDw }), hdr).toBe(wire);
      expect(tlpWireBytes({ headerDw, payloadDw, ecrc: true }), hdr).toBe(wire + 4);
    }
    expect(DLLP_WIRE_BYTES).toBe(8);
  });

  const LAWS: readonly WriteLaw[] = [
    ['L-01', 4, 3, false, 24, 10.5026],
    ['L-02', 4, 4, false, 28, 9.0022],
    ['L-03', 8, 4, false, 32, 15.7538],
    ['L-04', 64, 4, false, 88, 45.8294],
    ['L-05', 64, 3, false, 84, 48.0117],
    ['L-06', 128, 4, false, 152, 53.0656],
    ['L-07', 256, 4, false, 280, 57.6141],
    ['L-08', 256, 3, false, 276, 58.4491],
    ['L-08 with ECRC', 256, 4, true, 284, 56.8026],
    ['L-09', 512, 4, false, 536, 60.1938],
    ['L-09 of 4 KiB', 4096, 4, false, 4120, 62.6483],
  ];

  it.each(LAWS)('%s: a write of %i bytes with a %i DW header', (_id, bytes, headerDw, ecrc, wire, gbps) => {
    expect(write(bytes, headerDw, ecrc)).toBe(wire);
    const rate = wireLawGbps(GEN3X8, bytes, wire);
    expect(rate.toFixed(4)).toBe(gbps.toFixed(4));
    // 63.015... Gb/s are 4096/65 exactly, and the rate is that times payload over wire.
    expect(exact(4096n * BigInt(bytes), 65n * BigInt(wire))).toBe(lawExactly(GEN3X8, bytes, wire));
    expect(rate).toBe((4096 * bytes) / (65 * wire));
  });

  it('L-01 to L-04, L-07: times, efficiencies and TLPs per second', () => {
    const perSecond = (bytes: number, wire: number): number =>
      wireLawGbps(GEN3X8, bytes, wire) / bytes / 8e-3;
    expect(wireNs(GEN3X8, 24).toFixed(4)).toBe('3.0469');
    expect(wireNs(GEN3X8, 28).toFixed(4)).toBe('3.5547');
    expect([wireNs(GEN3X8, 32), wireNs(GEN3X8, 280)]).toEqual([4.0625, 35.546875]);
    expect(wireNs(GEN3X8, 88).toFixed(4)).toBe('11.1719');
    expect([efficiency(GEN3X8, 4, 24), efficiency(GEN3X8, 4, 28)]).toEqual([1 / 6, 1 / 7]);
    expect(efficiency(GEN3X8, 256, 280).toFixed(6)).toBe('0.914286');
    expect(perSecond(4, 24).toFixed(3)).toBe('328.205');
    expect(perSecond(4, 28).toFixed(3)).toBe('281.319');
    expect(perSecond(8, 32).toFixed(3)).toBe('246.154');
    expect(perSecond(64, 88).toFixed(4)).toBe('89.5105');
  });

  it('L-10 completions of 64, 128 and 256 bytes are bound to 48.0117, 54.4998 and 58.4491 Gb/s', () => {
    const bounds = [64, 128, 256].map((bytes) => {
      const wire = tlpWireBytes({ headerDw: 3, payloadDw: bytes / 4 });
      return [wire, wireLawGbps(GEN3X8, bytes, wire).toFixed(4)];
    });
    expect(bounds).toEqual([
      [84, '48.0117'],
      [148, '54.4998'],
      [276, '58.4491'],
    ]);
  });

  it('L-13 a DLLP takes 1.0156 ns at gen3x8 and 32 ns at gen1x1', () => {
    expect(wireNs(GEN3X8, DLLP_WIRE_BYTES)).toBe(1.015625);
    expect(wireNs(parseLink('gen1x1'), DLLP_WIRE_BYTES)).toBe(32);
  });

  it('L-14 gen2x4 takes 2048 ticks per byte, gen5x16 65, and twice the lanes half the time', () => {
    expect([parseLink('gen2x4').ticksPerByte, parseLink('gen5x16').ticksPerByte]).toEqual([2048, 65]);
    fc.assert(
      fc.property(fc.constantFrom(...GENERATIONS), fc.integer({ min: 1, max: 4124 }), (generation, bytes) => {
        const times = LANES.map((lanes) => wireNs(parseAnyLink(`gen${generation}x${lanes}`), bytes));
        for (const [n, time] of times.slice(1).entries()) expect(2 * time).toBe(times[n]);
      }),
    );
  });

  it('L-15 a 4-byte write with a 3 DW header takes 96 ns at gen1x1', () => {
    expect(wireNs(parseLink('gen1x1'), write(4, 3))).toBe(96);
  });

  it('prefixes take 4 bytes each, and no header or payload beyond a TLP is taken', () => {
    expect(tlpWireBytes({ headerDw: 4, payloadDw: 1, prefixes: 2 })).toBe(36);
    for (const tlp of [
      { headerDw: 5 as 4, payloadDw: 0 },
      { headerDw: 3 as const, payloadDw: 1025 },
      { headerDw: 3 as const, payloadDw: 0.5 },
      { headerDw: 3 as const, payloadDw: 1, prefixes: -1 },
    ])
      expect(() => tlpWireBytes(tlp)).toThrow(expect.objectContaining({ code: 'out-of-range' }));
  });
});

describe('flits', () => {
  const GEN6X16 = parseAnyLink('gen6x16');

  it('LNK-09 a flit of 256 bytes takes 2 ns at gen6x16, 236 of them for TLPs, which have no framing', () => {
    expect(flitTicks(GEN6X16)).toBe(2 * TICKS_PER_NS);
    expect(flitTicks(parseAnyLink('gen6x1'))).toBe(32 * TICKS_PER_NS);
    expect(flitTicks(parseAnyLink('gen7x16'))).toBe(TICKS_PER_NS);
    expect(FLIT.tlpBytes + FLIT.dlpBytes + FLIT.crcBytes + FLIT.eccBytes).toBe(FLIT.bytes);
    for (const generation of GENERATIONS) {
      const bytes = tlpWireBytes({ headerDw: 4, payloadDw: 64 }, generation);
      expect(bytes).toBe(usesFlits(generation) ? 272 : 272 + TLP_OVERHEAD_BYTES);
    }
  });

  it('L-16 gen6x16 carries 944 Gb/s of TLPs, 888.47 of payload in 256 bytes with a 16-byte header', () => {
    const { over, under } = tlpRatio(GEN6X16);
    expect(over / under).toBe(944);
    expect(wireLawGbps(GEN6X16, 256, 272).toFixed(2)).toBe('888.47');
    expect(exact(BigInt(over), BigInt(under))).toBe('944/1');
  });
});

describe('SKP ordered sets', () => {
  it('take 4 of 1538 symbols or 1 of 375 blocks, more when they stand closer', () => {
    expect(skpRatio(1)).toEqual({ over: 1, under: 1 });
    expect(skpRatio(2, { skp: 'on' })).toEqual({ over: 1534, under: 1538 });
    expect(skpRatio(5, { skp: 'on' })).toEqual({ over: 374, under: 375 });
    expect(skpRatio(1, { skp: 'on', interval: 1180 })).toEqual({ over: 1176, under: 1180 });
    const lost = 1 - wireLawGbps(GEN3X8, 256, 280, { skp: 'on' }) / wireLawGbps(GEN3X8, 256, 280);
    expect(lost).toBeCloseTo(1 / 375, 12);
  });

  it('are refused where no figure is known or none counts', () => {
    expect(() => skpRatio(6, { skp: 'on' })).toThrow(/flits/);
    expect(() => skpRatio(3, { skp: 'on', interval: 1538 })).toThrow(/skpBlocks/);
    expect(() => skpRatio(3, { skp: 'off', interval: 375 })).toThrow(/skpInterval/);
    expect(() => skpRatio(3, { skp: 'yes' as 'on' })).toThrow(/skp: "yes"/);
  });
});

describe('framing', () => {
  const tlp = Uint8Array.from({ length: 20 }, (_, n) => n + 1);
  const lcrc = Uint8Array.of(0xa0, 0xa1, 0xa2, 0xa3);

  it('LNK-05 an STP token carries the DWs of the TLP and 2, and the sequence number', () => {
    const dw = fc.integer({ min: 3, max: 1033 });
    fc.assert(
      fc.property(dw, fc.integer({ min: 0, max: 4095 }), (tlpDw, sequence) => {
        expect(decodeStpToken(encodeStpToken(tlpDw, sequence))).toEqual({ length: tlpDw + 2, sequence });
      }),
    );
  });

  it('LNK-05 the frame CRC is the four sums of bits of the sheet, and parity makes the ones even', () => {
    const taps = [
      [10, 7, 6, 4, 2, 1, 0],
      [10, 9, 7, 5, 4, 3, 2],
      [9, 8, 6, 4, 3, 2, 1],
      [8, 7, 5, 3, 2, 1, 0],
    ];
    for (let tlpDw = 3; tlpDw <= 1033; tlpDw++) {
      const [, b1 = 0, b2 = 0] = encodeStpToken(tlpDw, 0);
      const length = tlpDw + 2;
      const sums = taps.map((bits) => bits.reduce((sum, bit) => sum ^ ((length >>> bit) & 1), 0));
      expect(b2 >>> 4).toBe(sums.reduce((crc, sum, bit) => crc | (sum << bit), 0));
      const ones = [...`${length.toString(2)}${(b2 >>> 4).toString(2)}`].filter((digit) => digit === '1');
      expect(b1 >>> 7).toBe(ones.length % 2);
    }
  });

  it('LNK-05 both line codes cost the same bytes: the TLP and 8', () => {
    const old = frameTlp(2, tlp, 0xabc, lcrc);
    const token = frameTlp(3, tlp, 0xabc, lcrc);
    expect([...old]).toEqual([SYMBOL.STP, 0x0a, 0xbc, ...tlp, ...lcrc, SYMBOL.END]);
    expect([...token]).toEqual([...encodeStpToken(5, 0xabc), ...tlp, ...lcrc]);
    const wire = tlpWireBytes({ headerDw: 4, payloadDw: 1 });
    expect([old.length, token.length]).toEqual([wire, wire]);
  });

  it('finds every single wrong bit of length, CRC and parity of a token', () => {
    const token = encodeStpToken(70, 0x123);
    for (let bit = 0; bit < 20; bit++) {
      const changed = Uint8Array.from(token);
      changed[bit >>> 3] = (changed[bit >>> 3] as number) ^ (0x80 >>> (bit & 7));
      expect(() => decodeStpToken(changed), `bit ${bit}`).toThrow(
        expect.objectContaining({ code: 'malformed' }),
      );
    }
    expect(() => decodeStpToken(token.subarray(1))).toThrow(/STP token/);
  });

  it('refuses what is no TLP', () => {
    expect(() => frameTlp(3, tlp.subarray(1), 0, lcrc)).toThrow(/whole DWs/);
    expect(() => frameTlp(1, tlp, 4096, lcrc)).toThrow(/sequence/);
    expect(() => frameTlp(1, tlp, 0, tlp)).toThrow(/lcrc/);
    expect(() => frameTlp(3, tlp.subarray(8), 0, lcrc)).not.toThrow();
    expect(() => frameTlp(3, tlp.subarray(12), 0, lcrc)).toThrow(/tlpDw/);
  });
});

describe('efficiency', () => {
  it('LNK-10 the table of payload over wire bytes holds to two decimals', () => {
    // Payload; non-flit with 3 and 4 DW, flit with 3 and 4 DW, in percent (link.md 9).
    const table: readonly (readonly [number, string, string, string, string])[] = [
      [4, '16.67', '14.29', '23.05', '18.44'],
      [8, '28.57', '25.00', '36.88', '30.73'],
      [16, '44.44', '40.00', '52.68', '46.09'],
      [32, '61.54', '57.14', '67.05', '61.46'],
      [64, '76.19', '72.73', '77.63', '73.75'],
      [128, '86.49', '84.21', '84.29', '81.94'],
      [256, '92.75', '91.43', '88.06', '86.76'],
      [512, '96.24', '95.52', '90.08', '89.39'],
      [1024, '98.08', '97.71', '91.12', '90.77'],
      [2048, '99.03', '98.84', '91.65', '91.47'],
      [4096, '99.51', '99.42', '91.92', '91.83'],
    ];
    const flits = parseAnyLink('gen6x1');
    for (const [bytes, ...row] of table) {
      const found = [GEN3X8, flits].flatMap((link) =>
        ([3, 4] as const).map((headerDw) => {
          const wire = tlpWireBytes({ headerDw, payloadDw: bytes / 4 }, link.generation);
          return (100 * efficiency(link, bytes, wire)).toFixed(2);
        }),
      );
      expect(found, String(bytes)).toEqual(row);
    }
  });

  it('LNK-10 the bandwidth tables hold: GB/s of writes back to back', () => {
    const gigabytes = (name: string, bytes: number, headerDw: 3 | 4): string => {
      const link = parseAnyLink(name);
      const wire = tlpWireBytes({ headerDw, payloadDw: bytes / 4 }, link.generation);
      return (wireLawGbps(link, bytes, wire) / 8).toPrecision(5);
    };
    const rows: readonly (readonly [string, number, 3 | 4, number])[] = [
      ['gen1x1', 128, 3, 0.216],
      ['gen2x16', 4096, 4, 7.953],
      ['gen3x8', 256, 4, 7.202],
      ['gen4x16', 512, 3, 30.323],
      ['gen5x16', 1024, 4, 61.572],
      ['gen6x16', 256, 4, 111.06],
      ['gen7x8', 128, 3, 107.89],
      ['gen7x16', 4096, 4, 235.08],
    ];
    for (const [name, bytes, headerDw, expected] of rows) {
      const digits = String(expected).split('.')[1]?.length ?? 0;
      expect(Number(Number(gigabytes(name, bytes, headerDw)).toFixed(digits)), name).toBe(expected);
    }
  });
});
