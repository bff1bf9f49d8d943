/** PCILG, PCISTG and PCISTB of a sequence. */

import { MEMORY_BYTES } from './rig.js';
import { type Choice, handle, inProblemState, register, type Scene } from './scene.js';

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

export const loadOrStore =
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
    const { offset, length, data } = asked;
    if (kind === 'pcilg') return [{ kind, ...common, as, offset, length }];
    return [{ kind, ...common, as, offset, length, data }];
  };

export const storeBlock: Choice = (scene) => {
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
