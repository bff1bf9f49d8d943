/** MSI-X: masks hold messages back, each pending one is sent once, and software cannot write the pending bits. */
import type { MsixCapability } from '../../device/capabilities.js';
import { type Bench, MESSAGE_ADDRESS } from '../bench.js';
import { type Check, exercise, Failed, type Kit, NotApplicable } from '../kit.js';
import { plural, shown, where } from '../text.js';

const MESSAGE = /to 0x([0-9a-f]+) data 0x([0-9a-f]+)/;

export const msix: Check = {
  id: 'msix',
  title: 'MSI-X masks and pending bits',
  async run(kit) {
    const capability = kit.device.capabilities.msix;
    if (capability === undefined) throw new NotApplicable('the device has no MSI-X capability');
    let raised = 0;
    for (const bench of [kit.direct(), await kit.best()])
      raised = Math.max(raised, new Tables(kit, bench, capability).check());
    if (raised > 0) return `${plural(raised, 'vector')} raised while masked, each sent once`;
    return `tables only: no vector was raised in ${2 * kit.count} accesses`;
  },
};

class Tables {
  constructor(
    private readonly kit: Kit,
    private readonly bench: Bench,
    private readonly msix: Required<MsixCapability>,
  ) {}

  /** How many vectors were found pending. */
  check(): number {
    const { kit, bench } = this;
    const { vectors } = this.msix;
    this.program();
    bench.setMsix(true, false);
    this.pendingStays();
    exercise(bench, kit.accesses(2));
    kit.needRunning(bench);
    this.expectMessages([], 'while every vector is masked');
    const pending = this.pending();
    // The function mask holds back what the vectors let through.
    bench.setMsix(true, true);
    for (let vector = 0; vector < vectors; vector++) this.mask(vector, false);
    this.expectMessages([], 'while the function is masked');
    bench.setMsix(true, false);
    this.expectMessages(pending, 'when the function mask is taken off');
    this.expectPending([]);
    for (let vector = 0; vector < vectors; vector++) this.mask(vector, true);
    bench.takeEvents();
    exercise(bench, kit.accesses(3));
    kit.needRunning(bench);
    this.expectMessages([], 'while every vector is masked again');
    const again = this.pending();
    for (const vector of again) {
      this.mask(vector, false);
      this.expectMessages([vector], `when vector ${vector} is unmasked`);
    }
    this.expectPending([]);
    return new Set([...pending, ...again]).size;
  }

  /** Gives each vector a message of its own, and reads the table back. */
  private program(): void {
    const { bar, tableOffset, vectors } = this.msix;
    for (let vector = 0; vector < vectors; vector++) {
      const entry = tableOffset + 16 * vector;
      const words = [MESSAGE_ADDRESS + 16 * vector, 0, vector + 1, 1];
      words.forEach((word, n) => {
        const done = this.bench.write(bar, entry + 4 * n, new Uint8Array(Uint32Array.of(word).buffer));
        const answer = this.bench.read(bar, entry + 4 * n, 4);
        const expected = `0x${word.toString(16).padStart(8, '0')}`;
        if (done === 'ok' && shown(answer) === expected) return;
        this.fail(
          `${where(bar, entry + 4 * n)} (table, vector ${vector}) reads as ${shown(answer)}, not ${expected}`,
        );
      });
    }
  }

  private pendingStays(): void {
    const { pbaBar, pbaOffset, vectors } = this.msix;
    const before = this.pending();
    for (let at = 0; at < vectors; at += 64)
      this.bench.write(pbaBar, pbaOffset + at / 8, new Uint8Array(8).fill(0xff));
    const after = this.pending();
    if (String(before) !== String(after))
      this.fail(`a write to the pending bits at ${where(pbaBar, pbaOffset)} changes them`);
  }

  private mask(vector: number, masked: boolean): void {
    const { bar, tableOffset } = this.msix;
    this.bench.write(bar, tableOffset + 16 * vector + 12, Uint8Array.of(masked ? 1 : 0, 0, 0, 0));
  }

  /** Vectors whose pending bit is set, ascending. */
  private pending(): number[] {
    const { pbaBar, pbaOffset, vectors } = this.msix;
    const list: number[] = [];
    for (let first = 0; first < vectors; first += 64) {
      const answer = this.bench.read(pbaBar, pbaOffset + first / 8, 8);
      if (typeof answer === 'string')
        this.fail(`the pending bits at ${where(pbaBar, pbaOffset)} answer ${answer}`);
      for (let n = 0; n < 64; n++)
        if ((((answer as Uint8Array)[n >>> 3] as number) & (1 << (n & 7))) !== 0) list.push(first + n);
    }
    return list;
  }

  private expectPending(vectors: readonly number[]): void {
    const pending = this.pending();
    if (String(pending) === String(vectors)) return;
    this.fail(`pending are ${pending.join(', ') || 'none'}, not ${vectors.join(', ') || 'none'}`);
  }

  /** The messages since the last call are those of `vectors`, one each. */
  private expectMessages(vectors: readonly number[], when: string): void {
    // What is sent leaves with the next access.
    this.pending();
    const sent = this.bench
      .takeEvents()
      .map((event) => MESSAGE.exec(event))
      .filter((match) => match !== null)
      .map(([, address, data]) => `0x${address} data 0x${data}`)
      .sort();
    const expected = vectors
      .map(
        (vector) => `0x${(MESSAGE_ADDRESS + 16 * vector).toString(16)} data 0x${(vector + 1).toString(16)}`,
      )
      .sort();
    if (String(sent) === String(expected)) return;
    this.fail(`${when} the messages are ${sent.join(', ') || 'none'}, not ${expected.join(', ') || 'none'}`);
  }

  private fail(what: string): never {
    throw new Failed(`${what} (${this.bench.way})`);
  }
}
