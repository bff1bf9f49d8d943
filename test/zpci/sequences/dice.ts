/** Choices made by small numbers: 0 is always the ordinary one, so that a shrunk sequence is a plain one. */
export class Dice {
  private next = 0;

  constructor(private readonly numbers: readonly number[]) {}

  /** 0 to `count` - 1. */
  below(count: number): number {
    const number = this.numbers[this.next++ % this.numbers.length] as number;
    // Used up: the same numbers again would repeat the same choices.
    return (number + Math.floor(this.next / (this.numbers.length + 1)) * 7) % count;
  }

  /** True once in `count` times. */
  once(count: number): boolean {
    return this.below(count) === count - 1;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** A choice that prefers those with a greater weight. */
  weighted<T>(choices: readonly (readonly [weight: number, choice: T])[]): T {
    let left = this.below(choices.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, choice] of choices) {
      if (left < weight) return choice;
      left -= weight;
    }
    throw new Error('no choices');
  }
}
