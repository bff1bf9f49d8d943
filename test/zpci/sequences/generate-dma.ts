/** Changes of the translation tables, RPCIT, and what devices do by DMA. */
import { type Instruction, MSIA, SDMA } from '../reference/types.js';
import { AT, FRAME_COUNT, INVALID, INVALID_PAGE, PAGE_COUNT } from './layout.js';
import { type Choice, handle, inProblemState, register, type Scene, u64 } from './scene.js';

/** Pages that most of what happens is about. */
const FEW = 3;

/** An I/O address: one of few pages that are mapped, unmapped and protected again and again, or any that tables may map. */
function ioAddress({ dice, fn }: Scene): bigint {
  const { translation } = fn;
  if (translation !== undefined && dice.once(12))
    return dice.of([translation.pal + 1n, translation.pal - 4095n, translation.pba - 4096n]);
  if (!dice.once(3)) return SDMA + BigInt(4096 * dice.below(FEW));
  const cached = [...fn.cache.keys()];
  if (cached.length > 0 && !dice.once(3)) return dice.of(cached);
  if (dice.once(12)) return dice.of([0x1000n, SDMA - 4096n, 0x1_0200_0000n, 1n << 40n]);
  const region = dice.once(6) ? 1n << 31n : 0n;
  return SDMA + region + (BigInt(dice.below(4)) << 20n) + BigInt(4096 * dice.below(PAGE_COUNT + 2));
}

export const refresh: Choice = (scene) => {
  const { dice } = scene;
  const start = ioAddress(scene) + BigInt(dice.once(8) ? dice.below(4096) : 0);
  const length = dice.weighted([
    [6, 4096n],
    [5, BigInt(4096 * (1 + dice.below(8)))],
    [2, BigInt(dice.below(0x2001))],
    [1, 0x10_0000n],
    [1, 0x8000_0000n],
  ] as const);
  return [
    {
      kind: 'rpcit',
      fh: handle(scene),
      start,
      length,
      r2: register(scene),
      problemState: inProblemState(scene),
    },
  ];
};

/** An entry of a table of that level (-1: page), mostly a good one. */
function entry({ dice }: Scene, level: number): bigint {
  const good =
    level > 0
      ? BigInt(level === 2 ? AT.region : dice.of(AT.segments)) | BigInt(4 * level + 3)
      : level === 0
        ? dice.of([...AT.pages.map(BigInt), 0x400n, 0x600n])
        : BigInt(AT.frames + 4096 * dice.below(FRAME_COUNT));
  const flaws =
    level < 0 ? [0x200n, 0x200n, 0x200n, 0x800n, 1n << 30n] : [0x1n, 0x40n, 0x200n, 0x4n, 0x80n, 0x2n, 0xcn];
  return dice.weighted([
    [10, good],
    [4, level < 0 ? INVALID_PAGE : INVALID],
    [level === 0 ? 3 : 8, good ^ dice.of(flaws)],
    [1, 0n],
  ] as const);
}

export const tableStore: Choice = (scene) => {
  const { dice, fn } = scene;
  const place = dice.weighted([
    [16, { level: -1, table: AT.pages[0], index: dice.below(FEW) }],
    [4, { level: -1, table: dice.of(AT.pages), index: dice.below(PAGE_COUNT + 2) }],
    [4, { level: 0, table: dice.of(AT.segments), index: dice.below(3) }],
    [4, { level: 1, table: AT.region, index: 2 + dice.below(2) }],
    [1, { level: 2, table: AT.regionSecond, index: 0 }],
  ] as const);
  const { level, table, index } = place;
  const change: Instruction = {
    kind: 'store',
    address: table + 8 * index,
    bytes: u64(entry(scene, level)),
  };
  if (fn.translation === undefined || dice.once(3)) return [change];
  // As a driver does: the change is made known at once.
  const nth = (tables: readonly number[]): number => Math.max(0, tables.indexOf(table));
  const start = [
    { region: nth(AT.pages) >> 1, segment: nth(AT.pages) & 1, page: index },
    { region: nth(AT.segments), segment: index, page: 0 },
    { region: index - 2, segment: 0, page: 0 },
    { region: 0, segment: 0, page: 0 },
  ].map(
    ({ region, segment, page }) =>
      SDMA + (BigInt(region) << 31n) + (BigInt(segment) << 20n) + BigInt(4096 * page),
  )[level + 1] as bigint;
  const steps: Instruction[] = [change];
  steps.push({
    kind: 'rpcit',
    fh: fn.handle,
    start,
    length: 4096n,
    r2: 2,
    problemState: inProblemState(scene),
  });
  // And a device that goes on with what it had.
  const isRead = dice.below(2) === 0;
  const ask = { slot: fn.slot, isRead, address: start, bytes: new Uint8Array(8), doorbell: undefined };
  if (dice.once(2)) steps.push({ kind: 'dma', ...ask });
  return steps;
};

/** Handle for the doorbell; undefined: the device starts by itself. */
function doorbell(scene: Scene): number | undefined {
  const { dice, fn, machine } = scene;
  if (dice.once(3)) return undefined;
  const fh = handle(scene);
  return machine.byHandle(fh) === undefined ? fh : fn.handle;
}

export const deviceRequest: Choice = (scene) => {
  const { dice, fn } = scene;
  const isRead = dice.below(2) === 0;
  // Without translation an address is one of memory.
  const address = fn.isControlled ? ioAddress(scene) : BigInt(AT.frames + 4096 * dice.below(FRAME_COUNT + 2));
  const [inPage, length] = dice.weighted([
    [6, [4 * dice.below(1000), 4 + 4 * dice.below(16)]],
    [3, [0, 1 + dice.below(16)]],
    [3, [dice.below(4000), 1 + dice.below(96)]],
    [2, [4096 - 1 - dice.below(40), 1 + dice.below(80)]],
    [1, [dice.below(4096), 4096 + dice.below(600)]],
  ] as const);
  const first = dice.below(256);
  const bytes = Uint8Array.from({ length }, (_, n) => (first + 3 * n) & 0xff);
  return [
    {
      kind: 'dma',
      slot: fn.slot,
      isRead,
      address: address + BigInt(inPage),
      bytes,
      doorbell: doorbell(scene),
    },
  ];
};

/** A message, and sometimes before it what a handler does: it clears what it has seen and allows the next interrupt. */
export const message: Choice = (scene) => {
  const { dice, fn } = scene;
  const bytes = new Uint8Array(4);
  const data = dice.below(130) + (dice.once(8) ? 0x1_1800 : 0);
  new DataView(bytes.buffer).setUint32(0, data, true);
  const ask = { slot: fn.slot, isRead: dice.once(20), address: MSIA, bytes, doorbell: doorbell(scene) };
  const steps: Instruction[] = [];
  if (dice.once(2))
    steps.push({
      kind: 'store',
      address: AT.summaries,
      bytes: new Uint8Array(24).fill(dice.of([0, 0, 0, 0x41])),
    });
  if (dice.once(3))
    steps.push({
      kind: 'sic',
      operation: 1,
      isc: fn.interrupts?.isc ?? 2,
      problemState: inProblemState(scene),
    });
  return [...steps, { kind: 'dma', ...ask }];
};
