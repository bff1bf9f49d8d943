/** Saturation formulas of timing.md 6 against the figures of its laws. */
import { describe, expect, it } from 'vitest';
import { parseLink } from '../../src/base/link.js';
import {
  creditGbps,
  dataCredits,
  iotlbAddedNs,
  iotlbHitRatio,
  littleGbps,
  replayBufferGbps,
  roundTripNs,
  tagsToSaturate,
  tlpsInFlight,
  uplinkShares,
  walkerGbps,
} from '../../src/link/saturation.js';
import { ackLimitNs } from '../../src/link/timers.js';
import { wireLawGbps } from '../../src/link/wire.js';

const GEN3X8 = parseLink('gen3x8');
const WRITE = { wire: 280, latencyNs: 75 };
const LIMIT = ackLimitNs(GEN3X8, 256);

/** What the credits and the wire allow together. */
function posted(data: number, updateNs: number): string {
  const pool = { headers: Number.POSITIVE_INFINITY, data };
  const credits = creditGbps(GEN3X8, pool, 256, { ...WRITE, updateNs });
  return Math.min(credits, wireLawGbps(GEN3X8, 256, 280)).toFixed(3);
}

describe('credits', () => {
  it('L-25 data credits of 1, 16, 17, 64, 100, 256, 512 and 4096 bytes', () => {
    expect([1, 16, 17, 64, 100, 256, 512, 4096].map(dataCredits)).toEqual([1, 1, 2, 4, 7, 16, 32, 256]);
    expect(dataCredits(0)).toBe(0);
    expect(() => dataCredits(4097)).toThrow(/payload/);
  });

  it('L-26 (formula) 16, 32 and 64 data credits with instant UpdateFC; 128 saturate', () => {
    expect(roundTripNs(GEN3X8, WRITE).toFixed(2)).toBe('186.56');
    expect([16, 32, 64, 128].map((data) => posted(data, 0))).toEqual([
      '10.978',
      '21.955',
      '43.910',
      '57.614',
    ]);
  });

  it('L-27 (formula) the same with UpdateFC at its limit: 64 credits, a lower bound for 128; 256 saturate', () => {
    expect(roundTripNs(GEN3X8, { ...WRITE, updateNs: LIMIT }).toFixed(2)).toBe('389.56');
    expect([64, 128, 256].map((data) => posted(data, LIMIT))).toEqual(['21.029', '42.057', '57.614']);
  });

  it('L-28 (formula) eight header credits allow 51.76 M writes of 4 bytes per second; 64 saturate', () => {
    const trip = { wire: 28, latencyNs: 75 };
    expect(roundTripNs(GEN3X8, trip).toFixed(2)).toBe('154.57');
    const million = (headers: number): number => {
      const pool = { headers, data: Number.POSITIVE_INFINITY };
      return Math.min(creditGbps(GEN3X8, pool, 4, trip), wireLawGbps(GEN3X8, 4, 28)) / 32e-3;
    };
    expect([million(8).toFixed(2), million(64).toFixed(2)]).toEqual(['51.76', '281.32']);
  });

  it('an infinite pool never blocks, and reads take header credits alone', () => {
    expect(tlpsInFlight({ headers: 3, data: 0 }, 0)).toBe(3);
    expect(tlpsInFlight({ headers: Number.POSITIVE_INFINITY, data: Number.POSITIVE_INFINITY }, 256)).toBe(
      Number.POSITIVE_INFINITY,
    );
    expect(() => roundTripNs(GEN3X8, { wire: 28, latencyNs: -1 })).toThrow(/latencyNs/);
    expect(() => roundTripNs(GEN3X8, { wire: 28, latencyNs: 0, drainNs: Number.NaN })).toThrow(/drainNs/);
  });

  it('L-33 (formula) replay buffers of 4, 7, 8, 10 and 11 TLPs with the Ack at its limit', () => {
    const trip = { ...WRITE, updateNs: LIMIT };
    const gbps = (tlps: number): number => replayBufferGbps(GEN3X8, tlps * 280, 256, trip);
    expect([4, 7, 8].map((tlps) => gbps(tlps).toFixed(3))).toEqual(['21.029', '36.800', '42.057']);
    expect(gbps(10).toFixed(2)).toBe('52.57');
    expect(gbps(11)).toBeGreaterThan(wireLawGbps(GEN3X8, 256, 280));
    // What is under way in one round trip: 3069 bytes, ten TLPs and a part.
    expect(Math.ceil((roundTripNs(GEN3X8, trip) * 4096) / GEN3X8.ticksPerByte)).toBe(3069);
  });
});

describe('reads', () => {
  it('L-37 (formula) 1, 8 and 32 reads of 64 bytes at 500 ns; 64 are bound by completions', () => {
    expect([1, 8, 32].map((tags) => littleGbps(tags, 64, 500))).toEqual([1.024, 8.192, 32.768]);
    expect(littleGbps(64, 64, 500)).toBeGreaterThan(wireLawGbps(GEN3X8, 64, 84));
    expect(wireLawGbps(GEN3X8, 64, 84).toFixed(3)).toBe('48.012');
    expect(() => littleGbps(1, 64, 0)).toThrow(/latencyNs/);
  });

  it('L-38 (formula) eight tags of 256 bytes at 1000 ns give 16.384, 32 saturate at 58.449', () => {
    expect(littleGbps(8, 256, 1000)).toBe(16.384);
    expect(littleGbps(32, 256, 1000)).toBeGreaterThan(wireLawGbps(GEN3X8, 256, 276));
    expect(wireLawGbps(GEN3X8, 256, 276).toFixed(3)).toBe('58.449');
  });

  it('L-39 tags to saturate with 512-byte requests, and with 4096-byte ones at gen5x16', () => {
    const tags = (name: string, mps: number, request: number): number[] => {
      const gbps = wireLawGbps(parseLink(name), mps, 20 + mps);
      return [500, 1000].map((ns) => tagsToSaturate(gbps, request, ns));
    };
    expect(tags('gen3x8', 256, 512)).toEqual([8, 15]);
    expect(tags('gen4x16', 256, 512)).toEqual([29, 58]);
    expect(tags('gen5x16', 512, 512)).toEqual([60, 119]);
    expect(tags('gen5x16', 512, 4096)).toEqual([8, 15]);
  });

  it('L-41 (formula) 653 ns instead of 546 predict 0.836 of the rate', () => {
    expect((littleGbps(34, 64, 653) / littleGbps(34, 64, 546)).toFixed(3)).toBe('0.836');
  });
});

describe('the IOMMU', () => {
  it('L-43 (formula) no misses up to E pages, half of them at 2 E, with W/2 more', () => {
    expect([1, 64, 128].map((pages) => iotlbHitRatio(128, pages))).toEqual([1, 1, 1]);
    expect(iotlbHitRatio(128, 256)).toBe(0.5);
    expect(iotlbAddedNs(0.5, 250)).toBe(125);
    expect(walkerGbps(1, 250, 6, 64)).toBe(Number.POSITIVE_INFINITY);
    expect(() => iotlbHitRatio(0, 1)).toThrow(/entries/);
    expect(() => iotlbHitRatio(1, 0)).toThrow(/pages/);
  });

  it('L-44 (formula) hsw2620: mean of 64-byte reads at 128 to 16384 pages', () => {
    const means = [128, 256, 512, 1024, 16384].map((pages) =>
      (550.6 + iotlbAddedNs(iotlbHitRatio(119, pages), 229)).toFixed(1),
    );
    // The sheet does not name the base of the fit: 550.6 makes all five figures.
    expect(means).toEqual(['566.7', '673.2', '726.4', '753.0', '777.9']);
  });

  it('L-45 and L-46 (formula) 64-byte writes with k walkers at 256 to 16384 pages', () => {
    const rates = (entries: number, walk: number, walkers: number): string[] =>
      [256, 512, 1024, 16384].map((pages) =>
        walkerGbps(iotlbHitRatio(entries, pages), walk, walkers, 64).toFixed(2),
      );
    expect(rates(119, 229, 5)).toEqual(['20.89', '14.56', '12.65', '11.26']);
    expect(rates(117, 289, 6)).toEqual(['19.58', '13.78', '12.00', '10.71']);
  });

  it('L-47 (formula) a superpage divides the pages by its size over 4096', () => {
    const span = 64 * 2 ** 20;
    expect(iotlbHitRatio(128, span / 4096)).toBe(128 / 16384);
    expect(iotlbHitRatio(128, span / 2 ** 21)).toBe(1);
  });
});

it('L-56 (formula) equal senders share an uplink alike, unequal ones in proportion to their TLPs', () => {
  expect(uplinkShares(60, [280, 280, 280])).toEqual([20, 20, 20]);
  expect(uplinkShares(60, [84, 276])).toEqual([14, 46]);
});
