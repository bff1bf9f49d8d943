/** Draws for the soak of tables: the same ones for the same seed. */
import { seeded } from '../../src/base/random.js';
import type { Core } from '../../src/core/core.js';

export class Draw {
  private readonly next: () => number;

  constructor(seed: number) {
    this.next = seeded(seed);
  }

  /** 0 to `n` - 1. */
  below(n: number): number {
    return this.next() % n;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** True `share` times of 100. */
  chance(share: number): boolean {
    return this.below(100) < share;
  }

  /** An address of `levels` indices below `n` of 9 bits each, and somewhere in its page. */
  address(levels: number, n: number): bigint {
    let address = 0n;
    for (let level = 0; level < levels; level++) address = (address << 9n) | BigInt(this.below(n));
    return (address << 12n) | BigInt(this.below(4096));
  }
}

/** What a format has to answer: tables that are filled anew, and addresses that go through them. */
export interface Format {
  /** Random tables, and no memory of the last ones. */
  fill(): void;
  /** One translation: what came of it, and what a plain walk says. */
  ask(): { readonly actual: string; readonly expected: string };
}

/** A format on a core that `UnitLab.load` made, with `structures` entries of paging-structure caches for each level. */
export type MakeFormat = (core: Core, draw: Draw, structures?: number) => Format;
