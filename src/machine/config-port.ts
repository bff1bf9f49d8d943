/** Configuration accesses of the CPU: type 0 configuration TLPs through the same fabric as everything else. */
import { inRange, invalid } from '../base/errors.js';
import type { Core } from '../core/core.js';
import type { ConfigPort } from '../pci/probe.js';

export interface ConfigPortParts {
  readonly core: Core;
  /** Puts link options, mode and origin into the parameter block. */
  prepare(): void;
  /** Delivers until nothing is left, serving models and trace. */
  finish(): void;
}

/** One DW of one function per request. Where no function answers, reads give all ones (PCIe base specification 2.3.2). */
export class ConfigAccess implements ConfigPort {
  constructor(private readonly parts: ConfigPortParts) {}

  /**
   * @param bdf bus << 8 | device << 3 | function, 0 to 0xffff: `PciFunction.id`
   * @param offset 0 to 4095
   * @param width 1, 2 or 4 bytes, within one DW
   */
  read(bdf: number, offset: number, width: 1 | 2 | 4): number {
    const word = this.access(bdf, offset, width, undefined) >>> (8 * (offset & 3));
    return width === 4 ? word : word & (2 ** (8 * width) - 1);
  }

  /** Writes the low `width` bytes of `value`, 0 to 2^(8 x width) - 1. Done when it returns, as it is non-posted. */
  write(bdf: number, offset: number, value: number, width: 1 | 2 | 4): void {
    inRange('value', value, 0, 2 ** (8 * width) - 1);
    this.access(bdf, offset, width, value);
  }

  private access(bdf: number, offset: number, width: number, value: number | undefined): number {
    inRange('bdf', bdf, 0, 0xffff);
    if (width !== 1 && width !== 2 && width !== 4) throw invalid('width', width, '1, 2, 4 (bytes)');
    inRange('offset', offset, 0, 4095);
    if ((offset & 3) + width > 4)
      throw invalid('offset', offset, `${width} bytes within one DW`, 'out-of-range');
    const { core } = this.parts;
    this.parts.prepare();
    const shift = offset & 3;
    const enables = ((1 << width) - 1) << shift;
    const word = value === undefined ? 0 : (value << (8 * shift)) >>> 0;
    const at = core.x.configBegin(bdf, value === undefined ? 0 : 1, offset & ~3, enables, word) >>> 0;
    this.parts.finish();
    return core.u32[at >>> 2] as number;
  }
}
