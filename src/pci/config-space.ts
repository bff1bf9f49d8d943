/** Configuration space of one function, over the bytes of a dump: identity, base address registers, capabilities. */
import { invalid } from '../base/errors.js';
import { join64, type U64 } from '../core/u64.js';
import {
  type Capability,
  type Chain,
  type ExtendedCapability,
  walkCapabilities,
  walkExtended,
  word32,
} from './capabilities.js';

/** A base address register that is in use. */
export interface Bar {
  /** Number of the register, 0 to 5; a 64-bit one takes the next register too. */
  readonly index: number;
  readonly kind: 'io' | 'memory32' | 'memory64';
  readonly prefetchable: boolean;
  readonly address: U64;
  /** The register as it stands; of a 64-bit BAR the lower half. */
  readonly raw: number;
}

/** Bytes of the standard header, and of the whole space of a PCIe function. */
const HEADER = 64;
const WHOLE = 4096;

// Register offsets: PCI local bus specification 3.0 section 6.1, PCI-to-PCI bridge architecture 1.2 section 3.2.
const CAPABILITY_LIST = 1 << 4; // of the status register
const FIRST_BAR = 0x10;

/** BAR registers and the place of the capability pointer, by header type. */
const LAYOUTS: Readonly<Record<number, { readonly bars: number; readonly pointer: number }>> = {
  0: { bars: 6, pointer: 0x34 },
  1: { bars: 2, pointer: 0x34 },
  2: { bars: 1, pointer: 0x14 },
};

/** Reads fields of configuration space. Nothing in the bytes makes it throw: what is wrong is in `problems`. */
export class ConfigSpace {
  /** Base address registers that do not read as 0. */
  readonly bars: readonly Bar[];
  readonly capabilities: readonly Capability[];
  readonly extendedCapabilities: readonly ExtendedCapability[];
  /** A chain goes on behind the known bytes: privileges were missing when they were read. */
  readonly truncated: boolean;
  /** What no function should have, in words. */
  readonly problems: readonly string[];

  /** @param bytes from offset 0 on, 64 to 4096 of them; they are not copied */
  constructor(readonly bytes: Uint8Array) {
    if (bytes.length < HEADER || bytes.length > WHOLE)
      throw invalid('bytes', bytes, `${HEADER} to ${WHOLE} bytes`, 'out-of-range');
    const problems: string[] = [];
    this.problems = problems;
    this.bars = [];
    this.capabilities = [];
    this.extendedCapabilities = [];
    this.truncated = false;
    if (bytes.every((byte) => byte === 0xff)) {
      problems.push('every byte reads as ones: there is no function');
      return;
    }
    const layout = LAYOUTS[this.headerType];
    if (layout === undefined) {
      problems.push(`header type ${this.headerType} is not known`);
      return;
    }
    this.bars = readBars(bytes, layout.bars, problems);
    const none: Chain<Capability> = { list: [], problem: undefined, truncated: false };
    const chain = (this.status & CAPABILITY_LIST) === 0 ? none : walkCapabilities(bytes, layout.pointer);
    const extended = walkExtended(bytes);
    this.capabilities = chain.list;
    this.extendedCapabilities = extended.list;
    this.truncated = chain.truncated || extended.truncated;
    if (chain.problem !== undefined) problems.push(`capabilities: ${chain.problem}`);
    if (extended.problem !== undefined) problems.push(`extended capabilities: ${extended.problem}`);
  }

  /** 0xffff in virtual functions, whose identity stands in the physical function's SR-IOV capability. */
  get vendorId(): number {
    return this.word16(0x00);
  }

  get deviceId(): number {
    return this.word16(0x02);
  }

  get command(): number {
    return this.word16(0x04);
  }

  get status(): number {
    return this.word16(0x06);
  }

  get revision(): number {
    return this.bytes[0x08] as number;
  }

  /** Base class, subclass and programming interface: 24 bits. */
  get classCode(): number {
    return word32(this.bytes, 0x08) >>> 8;
  }

  /** 0 endpoint, 1 bridge, 2 CardBus bridge; without the multifunction bit. */
  get headerType(): number {
    return (this.bytes[0x0e] as number) & 0x7f;
  }

  get multifunction(): boolean {
    return (this.bytes[0x0e] as number) >= 0x80;
  }

  /** The bytes [offset, offset + 2) as a little-endian number. */
  private word16(offset: number): number {
    return (this.bytes[offset] as number) | ((this.bytes[offset + 1] as number) << 8);
  }
}

/** PCI local bus specification 3.0 section 6.2.5.1. A register of 0 is not implemented or not assigned: left out. */
function readBars(bytes: Uint8Array, registers: number, problems: string[]): Bar[] {
  const bars: Bar[] = [];
  for (let index = 0; index < registers; index++) {
    const raw = word32(bytes, FIRST_BAR + 4 * index);
    if (raw === 0) continue;
    if ((raw & 1) === 1) {
      bars.push({ index, kind: 'io', prefetchable: false, address: (raw & ~3) >>> 0, raw });
      continue;
    }
    const lo = (raw & ~15) >>> 0;
    const prefetchable = (raw & 8) !== 0;
    const type = (raw >>> 1) & 3;
    if (type === 3) problems.push(`BAR ${index}: type 3 is reserved`);
    if (type !== 2) {
      bars.push({ index, kind: 'memory32', prefetchable, address: lo, raw });
    } else if (index + 1 >= registers) {
      problems.push(`BAR ${index}: is the last one and has no upper half`);
    } else {
      const address = join64(lo, word32(bytes, FIRST_BAR + 4 * index + 4));
      bars.push({ index, kind: 'memory64', prefetchable, address, raw });
      index++;
    }
  }
  return bars;
}
