/** Works out from the bytes of configuration space which BARs there are and what may change each bit. */
import { invalid, ZtlpError } from '../base/errors.js';
import { type BarLayout, type BarSizes, layOutBars, layOutRom, paintBar } from './bars.js';
import { FIRST_EXTENDED } from './capabilities.js';
import { ConfigSpace } from './config-space.js';
import { type CapabilityPainter, LAYOUTS } from './layout-capabilities.js';
import { EXTENDED_LAYOUTS, paintRootAer } from './layout-extended.js';
import { paintHeader } from './layout-header.js';
import { type FieldRule, Masks } from './masks.js';
import { CAP, CONVENTIONAL, EXT, EXTENDED, REG } from './registers.js';

/** What the bytes of configuration space do not tell. */
export interface ModelShape extends BarSizes {
  /** Sizes of the VF BARs in bytes. A VF BAR that has none is read-only. */
  readonly vfBars?: readonly ({ readonly size: number } | undefined)[];
  /** Bits that software may set in bytes that the specifications leave to the vendor. */
  readonly writable?: readonly { readonly offset: number; readonly mask: Uint8Array }[];
}

export interface ConfigLayout {
  /** By index; the expansion ROM last. */
  readonly bars: readonly BarLayout[];
  readonly masks: Masks;
  /** The bytes at power-on: those given, with the layouts' value for every bit that software may change. */
  readonly initial: Uint8Array;
  /** Offsets of the first capability of each identifier. */
  readonly at: ReadonlyMap<number, number>;
  /** The same for extended capabilities. */
  readonly extendedAt: ReadonlyMap<number, number>;
}

/** First VF BAR in the SR-IOV capability (PCIe base specification 4.0 section 9.3.3.14). */
const VF_BARS = 0x24;
const ROOT_PORT = 4;
const EVENT_COLLECTOR = 10;

/** Throws ZtlpError for another length than 256 or 4096, for a header without a model, for a BAR without a size. */
export function layOut(bytes: Uint8Array, shape: ModelShape): ConfigLayout {
  if (bytes.length !== CONVENTIONAL && bytes.length !== EXTENDED)
    throw invalid('bytes', bytes, `${CONVENTIONAL} or ${EXTENDED} bytes`, 'out-of-range');
  const space = new ConfigSpace(bytes);
  if (space.headerType > 1) {
    throw new ZtlpError('unsupported', `headerType: ${space.headerType} has no model`, {
      field: 'headerType',
      value: space.headerType,
      allowed: '0 (endpoint), 1 (bridge)',
    });
  }
  const isBridge = space.headerType === 1;
  const bars = layOutBars(bytes, shape, isBridge ? 2 : 6);
  const rom = layOutRom(bytes, shape, isBridge ? REG.ROM_BRIDGE : REG.ROM);
  if (rom !== undefined) bars.push(rom);
  const at = new Map([...space.capabilities].reverse().map(({ id, offset }) => [id, offset]));
  const extendedAt = new Map([...space.extendedCapabilities].reverse().map(({ id, offset }) => [id, offset]));
  const masks = new Masks(bytes.length);
  paintHeader(masks, bytes, at.has(CAP.PCIE));
  for (const bar of bars) paintBar(masks, bar);
  paintCapabilities(masks, space, at.get(CAP.PCIE));
  paintVfBars(masks, space, shape);
  for (const { offset, mask } of shape.writable ?? [])
    mask.forEach((bits, n) => {
      masks.paint(offset + n, 1, { rw: bits, reset: bits & (bytes[offset + n] as number) });
    });
  // Chains that run over each other must not make a link of them writable.
  for (const { offset } of space.capabilities) masks.protect(offset, 2);
  for (const { offset } of space.extendedCapabilities) masks.protect(offset, 4);
  const initial = bytes.map((byte, n) => {
    const known = masks.known[n] as number;
    return (byte & ~known) | ((masks.reset[n] as number) & known);
  });
  return { bars, masks, initial, at, extendedAt };
}

function paintCapabilities(masks: Masks, space: ConfigSpace, pcie: number | undefined): void {
  const painter = (base: number, end: number): CapabilityPainter => ({
    get: (offset, width) => {
      let value = 0;
      for (let n = width - 1; n >= 0; n--) value = (value << 8) | (space.bytes[base + offset + n] ?? 0);
      return value >>> 0;
    },
    paint: (offset: number, width: 1 | 2 | 4, rule: FieldRule) => {
      if (base + offset + width <= end) masks.paint(base + offset, width, rule);
    },
  });
  const end = Math.min(space.bytes.length, FIRST_EXTENDED);
  for (const { id, offset } of space.capabilities) LAYOUTS[id]?.(painter(offset, end));
  const type = pcie === undefined ? 0 : (space.bytes[pcie + 2] as number) >>> 4;
  for (const { id, offset } of space.extendedCapabilities) {
    const at = painter(offset, space.bytes.length);
    EXTENDED_LAYOUTS[id]?.(at);
    if (id === EXT.AER && (type === ROOT_PORT || type === EVENT_COLLECTOR)) paintRootAer(at);
  }
}

function paintVfBars(
  masks: Masks,
  { bytes, extendedCapabilities }: ConfigSpace,
  { vfBars }: ModelShape,
): void {
  if (vfBars === undefined) return;
  const sriov = extendedCapabilities.find(({ id }) => id === EXT.SRIOV);
  if (sriov === undefined) throw invalid('vfBars', vfBars, 'undefined: there is no SR-IOV capability');
  const first = sriov.offset + VF_BARS;
  const sized = bytes.slice();
  for (let bar = 0; bar < 6; bar++)
    if (vfBars[bar] === undefined) sized.fill(0, first + 4 * bar, first + 4 * bar + 4);
  for (const bar of layOutBars(sized, { bars: vfBars }, 6, first, 'vfBars')) paintBar(masks, bar);
}
