// Register bank: any accesses to any registers against a plain model that works on values, one byte at a time.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RegisterBank } from '../../src/device/register-bank.js';
import { type Register, resolveRegisters } from '../../src/device/registers.js';

const SIZE = 40;
const WIDTHS = [1, 2, 4, 8] as const;
const ACCESSES = ['ro', 'rw', 'rw1c', 'wo', 'rc'] as const;

/** Registers with random gaps between them, in whatever order. */
const layouts = fc
  .array(
    fc.record({
      gap: fc.nat(3),
      width: fc.constantFrom(...WIDTHS),
      access: fc.constantFrom(...ACCESSES),
      reset: fc.bigInt(0n, 2n ** 64n - 1n),
      mask: fc.bigInt(0n, 2n ** 64n - 1n),
    }),
    { maxLength: 10 },
  )
  .map((parts) => {
    let offset = 0;
    return parts.flatMap(({ gap, width, access, reset, mask }, index) => {
      offset += gap;
      if (offset + width > SIZE) return [];
      const at = offset;
      offset += width;
      const modulus = 1n << BigInt(8 * width);
      return [{ name: `R${index}`, offset: at, width, access, reset: reset % modulus, mask: mask % modulus }];
    });
  });

const accesses = fc.array(
  fc.record({
    write: fc.boolean(),
    offset: fc.nat(SIZE),
    data: fc.uint8Array({ maxLength: 20 }),
    enables: fc.option(fc.uint8Array({ min: 0, max: 1, minLength: 20, maxLength: 20 }), { nil: undefined }),
  }),
  { maxLength: 12 },
);

/** Values as bigints, one byte of one register at a time: nothing in common with the bank but the rules. */
class Model {
  readonly values = new Map<string, bigint>();
  constructor(
    private readonly layout: readonly {
      name: string;
      offset: number;
      width: number;
      access: string;
      reset: bigint;
      mask: bigint;
    }[],
  ) {
    for (const { name, reset } of layout) this.values.set(name, reset);
  }

  private at(offset: number) {
    return this.layout.find((r) => r.offset <= offset && offset < r.offset + r.width);
  }

  read(offset: number, length: number): number[] {
    const cleared = new Set<string>();
    const out = Array.from({ length }, (_, index) => {
      const register = this.at(offset + index);
      if (register === undefined || register.access === 'wo') return 0;
      if (register.access === 'rc') cleared.add(register.name);
      const value = this.values.get(register.name) ?? 0n;
      return Number((value >> BigInt(8 * (offset + index - register.offset))) & 0xffn);
    });
    for (const name of cleared) this.values.set(name, 0n);
    return out;
  }

  write(offset: number, data: Uint8Array, enables: Uint8Array | undefined): void {
    data.forEach((byte, index) => {
      const register = this.at(offset + index);
      if (register === undefined || (enables !== undefined && enables[index] === 0)) return;
      const shift = BigInt(8 * (offset + index - register.offset));
      const bits = (0xffn << shift) & register.mask;
      const old = this.values.get(register.name) ?? 0n;
      const written = BigInt(byte) << shift;
      if (register.access === 'rw1c') this.values.set(register.name, old & ~(written & bits));
      else if (register.access === 'rw' || register.access === 'wo')
        this.values.set(register.name, (old & ~bits) | (written & bits));
    });
  }
}

describe('any accesses to any registers', () => {
  it('read and leave what a plain model says, with each hook once per touched register', () => {
    fc.assert(
      fc.property(layouts, accesses, (layout, list) => {
        const calls = new Map<string, number>();
        const count = (name: string) => (): void => void calls.set(name, (calls.get(name) ?? 0) + 1);
        const map = layout.map(({ name, offset, width, access, reset, mask }) => {
          const number = (value: bigint) => (width === 8 ? value : Number(value));
          const isWritten = access !== 'ro' && access !== 'rc';
          return [
            name,
            {
              offset,
              width,
              access,
              reset: number(reset),
              ...(isWritten ? { writeMask: number(mask), write: count(name) } : {}),
              ...(access === 'wo' ? {} : { read: count(name) }),
            },
          ];
        });
        const registers = resolveRegisters('r', Object.fromEntries(map.reverse()), { size: SIZE });
        const bank = new RegisterBank(registers as Register[], { size: SIZE, context: undefined });
        const model = new Model(
          layout.map((r) => (r.access === 'ro' || r.access === 'rc' ? { ...r, mask: 0n } : r)),
        );
        for (const { write, offset, data: all, enables: some } of list) {
          const data = all.subarray(0, SIZE - offset);
          const enables = some?.subarray(0, data.length);
          calls.clear();
          const touched = layout.filter((r) =>
            [...data.keys()].some((index) => {
              const at = offset + index;
              const isEnabled = !write || enables === undefined || enables[index] !== 0;
              return isEnabled && r.offset <= at && at < r.offset + r.width;
            }),
          );
          const hooked = touched.filter((r) =>
            write ? r.access !== 'ro' && r.access !== 'rc' : r.access !== 'wo',
          );
          if (write) {
            bank.writeBytes(offset, data, enables);
            model.write(offset, data, enables);
          } else {
            expect([...bank.readBytes(offset, data.length)]).toEqual(model.read(offset, data.length));
          }
          expect([...calls]).toEqual(hooked.map(({ name }) => [name, 1]));
          for (const { name, value } of bank.describe()) expect(BigInt(value)).toBe(model.values.get(name));
        }
        const saved = bank.save();
        bank.reset();
        bank.load(saved);
        expect(bank.save()).toEqual(saved);
      }),
      { numRuns: 500 },
    );
  });
});
