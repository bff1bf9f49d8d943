/** MSI of one function: messages as the capability in configuration space says, masked ones kept pending. */
import { low32, type U64 } from '../core/u64.js';
import type { ConfigModel } from '../pci/config-model.js';

export class Msi {
  constructor(
    private readonly config: ConfigModel,
    private readonly send: (address: U64, data: number) => void,
  ) {}

  /**
   * The interrupt condition of `vector`. Fewer vectors may be enabled than the device asked for: the number wraps, so that
   * several conditions share one message (PCI local bus specification 3.0 section 6.8.1.3, Multiple Message Enable).
   * False: MSI is not enabled, and no message is sent.
   */
  raise(vector: number): boolean {
    const { msi } = this.config;
    if (msi === undefined || !msi.enable) return false;
    const enabled = vector % msi.vectors;
    const bit = 2 ** enabled;
    if ((msi.mask & bit) !== 0) this.config.msiPending |= bit;
    // The low bits of the data name the vector.
    else this.send(msi.address, low32(msi.data - (msi.data % msi.vectors) + enabled));
    return true;
  }

  /** Address, enable or mask were written: sends what is no longer held back, the lowest vector first. */
  changed(): void {
    const { msi } = this.config;
    if (msi === undefined || !msi.enable) return;
    for (let vector = 0; vector < msi.vectors; vector++) {
      const bit = 2 ** vector;
      if ((this.config.msiPending & bit) === 0 || (msi.mask & bit) !== 0) continue;
      this.config.msiPending &= ~bit;
      this.raise(vector);
    }
  }
}
