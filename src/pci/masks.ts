/** What software and resets may do to each bit of configuration space: masks that the layouts paint. */

/** Rule of the bits of one register; what no mask names is read-only and belongs to the device. */
export interface FieldRule {
  /** Read-write (RW, RWS). */
  readonly rw?: number;
  /** Cleared by writing 1 (RW1C, RW1CS). */
  readonly w1c?: number;
  /** Kept by every reset but power-on: RWS, RW1CS, ROS (PCIe base specification 4.0 section 7.4). */
  readonly sticky?: number;
  /** Kept by a function level reset and by D3hot to D0, not by a hot reset: what belongs to the link (6.6.2). */
  readonly link?: number;
  /** Kept by D3hot to D0 only: the PME context (5.3.1.4). */
  readonly pme?: number;
  /** Value of all bits named above at power-on. Default 0. */
  readonly reset?: number;
}

/** One byte each per byte of configuration space. */
export class Masks {
  readonly write: Uint8Array;
  readonly clear: Uint8Array;
  readonly keepHot: Uint8Array;
  readonly keepFunction: Uint8Array;
  readonly keepD3hot: Uint8Array;
  /** Bits whose value at power-on the layouts know, and those values. */
  readonly known: Uint8Array;
  readonly reset: Uint8Array;

  constructor(readonly size: number) {
    const make = (): Uint8Array => new Uint8Array(size);
    this.write = make();
    this.clear = make();
    this.keepHot = make();
    this.keepFunction = make();
    this.keepD3hot = make();
    this.known = make();
    this.reset = make();
  }

  /** Adds `rule` to the register of `width` bytes at `offset`. What lies outside the space is left out. */
  paint(offset: number, width: 1 | 2 | 4, rule: FieldRule): void {
    const { rw = 0, w1c = 0, sticky = 0, link = 0, pme = 0, reset = 0 } = rule;
    for (let n = 0; n < width && offset + n < this.size; n++) {
      const at = offset + n;
      const add = (mask: Uint8Array, bits: number): void => {
        mask[at] = (mask[at] as number) | ((bits >>> (8 * n)) & 0xff);
      };
      add(this.write, rw & ~w1c);
      add(this.clear, w1c);
      add(this.keepHot, sticky);
      add(this.keepFunction, sticky | link);
      add(this.keepD3hot, sticky | link | pme);
      add(this.known, rw | w1c | sticky | link);
      add(this.reset, reset);
    }
  }

  /** Takes every rule off `length` bytes at `offset`. */
  protect(offset: number, length: number): void {
    const { write, clear, keepHot, keepFunction, keepD3hot, known, reset } = this;
    for (const mask of [write, clear, keepHot, keepFunction, keepD3hot, known, reset])
      mask.fill(0, offset, offset + length);
  }
}
