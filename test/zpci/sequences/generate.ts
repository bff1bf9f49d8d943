/** Steps of a sequence, chosen with the state of the reference in view so that deep states are reached. */

import type { Reference, ReferenceFunction } from '../reference/machine.js';
import { type Instruction, MSIA, SDMA } from '../reference/types.js';
import type { Dice } from './dice.js';
import { controls, steer } from './generate-control.js';
import { MATCHES_SHEET } from './known-differences.js';
import { AT, FRAME_COUNT, INVALID, INVALID_PAGE, PAGE_COUNT } from './layout.js';
import { MEMORY_BYTES } from './rig.js';

/** What a choice looks at. */
export interface Scene {
  readonly dice: Dice;
  readonly machine: Reference;
  /** The function that the step is about. */
  readonly fn: ReferenceFunction;
}

/** Pages that most of what happens is about. */
const FEW = 3;

type Choice = (scene: Scene) => readonly Instruction[];

export const u64 = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
};

/** Mostly the function's own handle; else one that is wrong in some of its bits, or another function's. */
export function handle({ dice, fn, machine }: Scene): number {
  if (!dice.once(14)) return fn.handle;
  const wrong = [
    (fn.handle ^ 0x8000_0000) >>> 0,
    (fn.handle ^ 0x0100_0000) >>> 0,
    (fn.handle ^ 0x0003_0000) >>> 0,
    (fn.handle ^ 0x0000_4001) >>> 0,
    0,
    0x8000_0000,
    (machine.functions[(fn.slot + 1) % machine.functions.length] as ReferenceFunction).handle,
  ];
  return dice.of(wrong);
}

export const inProblemState = ({ dice }: Scene): boolean => dice.once(40);
const register = ({ dice }: Scene): number => (dice.once(60) ? 3 : 2);

function space({ dice }: Scene): number {
  return dice.weighted([
    [12, 0],
    [5, 3],
    [1, 1],
    [1, 4],
    [1, 6 + dice.below(9)],
  ] as const);
}

function offsetIn({ dice }: Scene, as: number): bigint {
  const size = as === 3 ? 0x1000 : 0x4000;
  return dice.weighted([
    [8, BigInt(8 * dice.below(size / 8))],
    [4, BigInt(dice.below(size))],
    [2, BigInt(Math.max(0, size - 16 + dice.below(24)))],
    [2, BigInt(4096 - 8 + dice.below(9))],
    [1, dice.of([1n << 32n, 1n << 63n, (1n << 64n) - 8n, (1n << 33n) + 8n])],
  ] as const);
}

/** Bytes of configuration space of which the sequences know what a write does to them. */
function configAccess({ dice }: Scene, isStore: boolean): { offset: bigint; length: number; data: bigint } {
  const length = dice.weighted([
    [4, 1],
    [4, 2],
    [4, 4],
    [1, dice.below(16)],
  ] as const);
  const data = BigInt(dice.below(0x10000)) * 0x1_0001_0001n;
  if (!isStore) {
    const offset = dice.weighted([
      [10, BigInt(dice.below(0x3c))],
      [1, 0x1000n + BigInt(dice.below(8))],
      [1, 1n << 60n],
    ] as const);
    return { offset, length, data };
  }
  return dice.of([
    { offset: 0x3cn, length: 1, data },
    { offset: 0x0cn, length: 1, data },
    { offset: BigInt(dice.below(4)), length, data },
    { offset: 0x08n, length: dice.of([4, 2, 1, 3, 8]), data },
    // Command, as a little-endian register: Memory Space Enable with Bus Master Enable or without.
    { offset: 4n, length: 2, data: dice.of([0x0600n, 0x0200n]) },
    { offset: 4n, length: 2, data: 0x0600n },
    { offset: 0x1000n, length, data },
  ]);
}

const loadOrStore =
  (kind: 'pcilg' | 'pcistg'): Choice =>
  (scene) => {
    const { dice } = scene;
    const common = { fh: handle(scene), problemState: inProblemState(scene), r2: register(scene) };
    const isConfig = dice.once(4);
    const as = isConfig ? 15 : space(scene);
    const plain = {
      offset: offsetIn(scene, as),
      length: dice.weighted([
        [3, 8],
        [3, 4],
        [2, 2],
        [2, 1],
        [2, dice.below(32)],
      ] as const),
      data: (BigInt(dice.below(65_536)) << 48n) | BigInt(dice.below(65_536) * 65_537),
    };
    const asked = isConfig ? configAccess(scene, kind === 'pcistg') : plain;
    const { length, data } = asked;
    const isEmulated = scene.machine.byHandle(common.fh)?.shape.mode === 'emulated';
    const isKnown = isEmulated && !isConfig && [2, 4, 8].includes(length % 16);
    const offset =
      isKnown && !MATCHES_SHEET.unalignedToEmulatedMemory
        ? asked.offset - (asked.offset % BigInt(length % 16))
        : asked.offset;
    if (kind === 'pcilg') return [{ kind, ...common, as, offset, length }];
    return [{ kind, ...common, as, offset, length, data }];
  };

const storeBlock: Choice = (scene) => {
  const { dice, fn } = scene;
  const as = dice.once(12) ? 15 : space(scene);
  const length = dice.weighted([
    [8, 8 * (2 + dice.below(15))],
    [3, 1 + dice.below(140)],
    [2, fn.shape.maxstbl + 8 * dice.below(2)],
    [2, dice.of([8, 4096, 4097, 8191, 2048])],
    [1, 0x2000 * dice.below(4) + 64],
    [1, 0],
  ] as const);
  const from = dice.weighted([
    [10, BigInt(8 * dice.below(MEMORY_BYTES / 8 - 512))],
    [2, BigInt(dice.below(MEMORY_BYTES - 4096))],
    [1, BigInt(MEMORY_BYTES - 64 + 8 * dice.below(12))],
    [1, dice.of([1n << 32n, (1n << 63n) + 8n])],
  ] as const);
  const asked = offsetIn(scene, as);
  // Nothing is stored, but the sheet does not say from where and to where that may be.
  const [offset, source] = length === 0 ? [asked % 0x1000n, 0n] : [asked, from];
  return [
    { kind: 'pcistb', fh: handle(scene), as, offset, length, source, problemState: inProblemState(scene) },
  ];
};

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

/** Mostly what lacks for `choice` to get far comes first. */
const needing =
  (what: 'translation' | 'interrupts', choice: Choice): Choice =>
  (scene) =>
    scene.fn[what] === undefined && scene.fn.isControlled && !scene.dice.once(4)
      ? steer(scene)
      : choice(scene);

const refresh: Choice = (scene) => {
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

const tableStore: Choice = (scene) => {
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

const deviceRequest: Choice = (scene) => {
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
const message: Choice = (scene) => {
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

const firmware: Choice = (scene) => {
  const { fn, dice } = scene;
  const { slot } = fn;
  if (fn.state === 'reserved') return [{ kind: 'firmware', slot, state: 'disabled' }];
  if (fn.state === 'standby') return [{ kind: 'firmware', slot, state: 'reserved' }];
  if (!dice.once(2)) return [];
  return [{ kind: 'firmware', slot, state: 'permanent-error' }];
};

const pass: Choice = ({ dice }) => [{ kind: 'run', ns: dice.of([4e9, 1e9, 9e9, 0]) }];

const CHOICES: readonly (readonly [weight: number, choice: Choice])[] = [
  [8, loadOrStore('pcilg')],
  [8, loadOrStore('pcistg')],
  [8, storeBlock],
  [24, steer],
  [10, needing('translation', refresh)],
  [14, needing('translation', deviceRequest)],
  [12, needing('interrupts', message)],
  [18, controls],
  [9, needing('translation', tableStore)],
  [7, pass],
  [3, firmware],
];

/** The instructions of one step. Most of the steps of a sequence are about function `focus`, which so gets far. */
export function step(dice: Dice, machine: Reference, focus: number): readonly Instruction[] {
  const choice = dice.weighted(CHOICES);
  // Functions in states that are seldom and soon left get more than their share.
  const unusual = machine.functions.filter(({ state }) => state !== 'enabled');
  const main = machine.functions[focus % machine.functions.length] as ReferenceFunction;
  const fn = !dice.once(3) ? main : dice.of(unusual.length > 0 ? unusual : machine.functions);
  return choice({ dice, machine, fn });
}
