/** Ack and UpdateFC limits and replay timers: the tables of link.md 5 and the laws of timing.md about them. */
import { describe, expect, it } from 'vitest';
import { parseLink } from '../../src/base/link.js';
import {
  ackLimit,
  ackLimitNs,
  dllpShare,
  replaySymbols,
  replayTicks,
  TIMER_WIDTHS,
  unroundedAckLimit,
  usualReplayTimer,
} from '../../src/link/timers.js';

const SIZES = [128, 256, 512, 1024, 2048, 4096] as const;

/** Symbol times by generation, MPS and width, as the sheet prints them. */
const TABLES: Readonly<Record<1 | 2 | 3, readonly (readonly number[])[]>> = {
  1: [
    [237, 128, 73, 67, 58, 48, 33],
    [416, 217, 118, 107, 90, 72, 45],
    [559, 289, 154, 86, 109, 86, 52],
    [1071, 545, 282, 150, 194, 150, 84],
    [2095, 1057, 538, 278, 365, 278, 148],
    [4143, 2081, 1050, 534, 706, 534, 276],
  ],
  2: [
    [288, 179, 124, 118, 109, 99, 84],
    [467, 268, 169, 158, 141, 123, 96],
    [610, 340, 205, 137, 160, 137, 103],
    [1122, 596, 333, 201, 245, 201, 135],
    [2146, 1108, 589, 329, 416, 329, 199],
    [4194, 2132, 1101, 585, 757, 585, 327],
  ],
  3: [
    [333, 224, 169, 163, 154, 144, 129],
    [512, 313, 214, 203, 186, 168, 141],
    [655, 385, 250, 182, 205, 182, 148],
    [1167, 641, 378, 246, 290, 246, 180],
    [2191, 1153, 634, 374, 461, 374, 244],
    [4239, 2177, 1146, 630, 802, 630, 372],
  ],
};

describe('the Ack limit', () => {
  it.each([1, 2, 3] as const)(
    'LNK-03 every entry of generation %i follows from the formula',
    (generation) => {
      const found = SIZES.map((mps) => TIMER_WIDTHS.map((width) => ackLimit(generation, width, mps)));
      expect(found).toEqual(TABLES[generation]);
    },
  );

  it('LNK-03 16 and 32 GT/s have the limits of 8 GT/s', () => {
    for (const mps of SIZES)
      for (const width of TIMER_WIDTHS) {
        expect(ackLimit(4, width, mps)).toBe(ackLimit(3, width, mps));
        expect(ackLimit(5, width, mps)).toBe(ackLimit(3, width, mps));
      }
  });

  it('L-32 MPS 256: 416, 107, 158, 203, 168 and 512 symbols, and their times', () => {
    const limits = [
      [1, 1, 416],
      [1, 8, 107],
      [2, 8, 158],
      [3, 8, 203],
      [3, 16, 168],
      [3, 1, 512],
    ] as const;
    for (const [generation, width, symbols] of limits) expect(ackLimit(generation, width, 256)).toBe(symbols);
    const times = ['gen1x1', 'gen1x8', 'gen2x8', 'gen3x8'].map((name) => ackLimitNs(parseLink(name), 256));
    expect(times).toEqual([1664, 428, 316, 203]);
  });

  it('rounds down what is a fraction', () => {
    expect(unroundedAckLimit(3, 8, 256)).toEqual({ over: 284 * 25 + 115 * 80, under: 80 });
    expect(ackLimit(3, 8, 256)).toBe(Math.floor(203.75));
  });

  it('L-36 (wire side) one Ack per interval costs 0.49 %, one per TLP of 256 bytes 2.86 %', () => {
    expect(dllpShare(parseLink('gen3x8'), 256)).toBe(8 / (203 * 8));
    expect((100 * dllpShare(parseLink('gen3x8'), 256)).toFixed(2)).toBe('0.49');
    expect(((100 * 8) / 280).toFixed(2)).toBe('2.86');
  });

  it.each([
    [0, 1, 128],
    [6, 1, 128],
    [3, 3, 128],
    [3, 8, 100],
    [3, 8, 8192],
  ])('refuses generation %i, width %i, MPS %i', (generation, width, mps) => {
    expect(() => ackLimit(generation as 1, width as 1, mps)).toThrow(
      expect.objectContaining({ name: 'ZtlpError' }),
    );
  });
});

describe('the replay timer', () => {
  it('LNK-04 is three Ack limits, 711 symbols at gen1x1 with MPS 128, or 24,000', () => {
    expect(replaySymbols(1, 1, 128, 'table')).toBe(711);
    expect(replaySymbols(1, 1, 128, 'simplified')).toBe(24_000);
  });

  it('LNK-04 is the table up to 8 GT/s and the simplified range from 16 GT/s, unless chosen', () => {
    const usual = ([1, 2, 3, 4, 5] as const).map((generation) => usualReplayTimer(generation));
    expect(usual).toEqual(['table', 'table', 'table', 'simplified', 'simplified']);
    expect(replaySymbols(3, 8, 256)).toBe(609);
    expect(replaySymbols(4, 8, 256)).toBe(24_000);
    expect(() => replaySymbols(3, 8, 256, 'never' as 'table')).toThrow(/replayTimer/);
  });

  it('LNK-04 never ends before an Ack can be back: at 500 ns one way, 609 ns are too short', () => {
    const link = parseLink('gen3x8');
    const tlpTicks = 280 * link.ticksPerByte;
    const near = replayTicks(link, { mps: 256, latencyTicks: 75 * 4096, tlpTicks });
    expect(near).toBe(609 * 4096);
    const far = replayTicks(link, { mps: 256, latencyTicks: 500 * 4096, tlpTicks });
    expect(far / 4096).toBe(203 + 1000 + 2 * 35.546875);
  });
});
