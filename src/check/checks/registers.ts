/** Registers do what their declaration says: access kinds, write masks, and parts of them that leave the rest alone. */
import type { Register } from '../../device/registers.js';
import type { Bench } from '../bench.js';
import { type Check, Failed, type Kit } from '../kit.js';
import { equal, plural, shown, where } from '../text.js';

export const registers: Check = {
  id: 'registers',
  title: 'registers as declared',
  async run(kit) {
    const declared = kit.device.bars.flatMap((bar) =>
      (bar?.registers ?? []).map((register) => ({ bar: bar?.index ?? 0, register })),
    );
    let plain = 0;
    for (const bench of await kit.each()) {
      // An emulator may make larger calls than the access, which is not the device's doing.
      if (bench.way === 'emulated') continue;
      plain = 0;
      for (const { bar, register } of declared) {
        const { hooks } = register;
        if (hooks.read !== undefined || hooks.write !== undefined) {
          ringOnes(kit, bench, bar, register);
          continue;
        }
        plain++;
        new PlainRegister(kit, bench, bar, register).check();
      }
    }
    return `${plural(plain, 'plain register')}, ${declared.length - plain} with hooks`;
  },
};

/** What a hook does is the model's own; that it takes every value is not. */
function ringOnes(kit: Kit, bench: Bench, bar: number, { offset, width }: Register<never>): void {
  for (const byte of [0xff, 0]) {
    bench.reset('cold');
    bench.read(bar, offset, width);
    bench.write(bar, offset, new Uint8Array(width).fill(byte));
    bench.read(bar, offset, width);
    kit.needRunning(bench);
  }
  bench.reset('cold');
}

/** A register without hooks: nothing but its declaration decides. */
class PlainRegister {
  private readonly mask: Uint8Array;

  constructor(
    private readonly kit: Kit,
    private readonly bench: Bench,
    private readonly bar: number,
    private readonly register: Register<never>,
  ) {
    const { width, byteOrder, writeMask } = register;
    this.mask = Uint8Array.from({ length: width }, (_, at) => {
      const place = byteOrder === 'little' ? at : width - 1 - at;
      return Number((BigInt(writeMask) >> BigInt(8 * place)) & 0xffn);
    });
  }

  check(): void {
    const { width, access } = this.register;
    const value = this.read();
    if (access === 'rc') {
      this.expect(new Uint8Array(width), 'after a read that clears it');
      return;
    }
    this.byBytes(value);
    if (access === 'wo') this.expect(new Uint8Array(width), 'as it is write-only');
    const ones = new Uint8Array(width).fill(0xff);
    this.write(0, ones);
    this.expect(this.merged(value, ones), 'after all ones were written');
    this.parts();
    if (access !== 'rw') return;
    this.write(0, new Uint8Array(width));
    this.expect(this.merged(this.merged(value, ones), new Uint8Array(width)), 'after zeros were written');
    this.parts();
    this.write(0, value);
  }

  /** Its bytes, read one by one, are the whole. */
  private byBytes(value: Uint8Array): void {
    value.forEach((byte, at) => {
      const answer = this.bench.read(this.bar, this.register.offset + at, 1);
      if (typeof answer !== 'string' && answer[0] === byte) return;
      this.fail(`byte ${at} reads as ${shown(answer)}, in the whole it is ${shown(Uint8Array.of(byte))}`);
    });
  }

  /** A write of one byte changes that byte by the rule, and no other; none where only whole writes are taken. */
  private parts(): void {
    const { width, wholeWrites } = this.register;
    if (width === 1) return;
    for (let at = 0; at < width; at++) {
      const before = this.read();
      this.write(at, Uint8Array.of(0xa5));
      const after = before.slice();
      const written = this.merged(before, new Uint8Array(width).fill(0xa5));
      if (!wholeWrites) after[at] = written[at] as number;
      this.expect(after, `after 0xa5 was written to its byte ${at}, before ${shown(before)}`);
      this.write(0, before);
    }
  }

  private merged(old: Uint8Array, written: Uint8Array): Uint8Array {
    const { access } = this.register;
    return old.map((byte, at) => {
      const [mask, given] = [this.mask[at] as number, written[at] as number];
      if (access === 'rw') return (byte & ~mask) | (given & mask);
      return access === 'rw1c' ? byte & ~(given & mask) : byte;
    });
  }

  private read(): Uint8Array {
    const { offset, width } = this.register;
    const answer = this.bench.read(this.bar, offset, width);
    if (typeof answer !== 'string') return answer;
    return this.fail(`a read answers ${answer}${this.kit.reason(this.bench)}`);
  }

  private write(at: number, bytes: Uint8Array): void {
    const answer = this.bench.write(this.bar, this.register.offset + at, bytes);
    if (answer !== 'ok')
      this.fail(`a write of ${shown(bytes)} answers ${answer}${this.kit.reason(this.bench)}`);
  }

  private expect(value: Uint8Array, when: string): void {
    const answer = this.read();
    if (!equal(answer, value)) this.fail(`reads as ${shown(answer)}, not ${shown(value)}, ${when}`);
  }

  private fail(what: string): never {
    const { name, offset } = this.register;
    throw new Failed(`${name} (${where(this.bar, offset)}, ${this.bench.way}) ${what}`);
  }
}
