/** Accesses made from a seed: whole registers, parts of them, blocks, holes, and time that passes in between. */
import { seeded } from '../base/random.js';
import type { Region } from '../device/bars.js';
import type { Device } from '../device/define.js';
import type { Register } from '../device/registers.js';

export type Access =
  | { readonly op: 'read'; readonly bar: number; readonly offset: number; readonly length: number }
  | { readonly op: 'write'; readonly bar: number; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly op: 'run'; readonly ns: number };

/** Bytes of host memory that the kit's machines have: addresses in the accesses lie mostly in it. */
export const HOST_BYTES = 1 << 16;

/** Most bytes of a block. */
const MAX_BLOCK = 64;
/** Small numbers that registers are fond of: lengths, indexes, enable bits. */
const FAVOURITES = [0, 0, 1, 1, 2, 3, 4, 8, 16, 64, 256, 4096] as const;
const TIMES = [0, 1, 10, 100, 1000, 10_000] as const;

interface Place {
  readonly bar: number;
  readonly region: Region;
}

/** Regions that software reaches by plain accesses: all but the MSI-X tables, which have a check of their own. */
export function placesOf(device: Device): Place[] {
  return device.bars.flatMap((bar) =>
    bar === undefined
      ? []
      : bar.regions
          .filter(({ kind }) => kind !== 'msix-table' && kind !== 'msix-pba')
          .map((region) => ({ bar: bar.index, region })),
  );
}

/** `count` accesses; the same for the same device and seed. */
export function accessesOf(device: Device, seed: number, count: number): Access[] {
  const next = seeded(seed);
  const pick = <T>(list: readonly T[]): T => list[next() % list.length] as T;
  // What calls the model comes more often than memory and holes, which do not.
  const weighted = placesOf(device).flatMap((place) => Array<Place>(weightOf(device, place)).fill(place));
  const list: Access[] = [];
  for (let n = 0; n < count; n++) {
    if (weighted.length === 0 || next() % 8 === 0) {
      list.push({ op: 'run', ns: pick(TIMES) });
      continue;
    }
    const place = pick(weighted);
    const isRead = next() % 3 === 0;
    const { offset, length } = spanOf(device, place, isRead, next);
    if (isRead) list.push({ op: 'read', bar: place.bar, offset, length });
    else
      list.push({
        op: 'write',
        bar: place.bar,
        offset,
        bytes: plausible(device, place, offset, length, next),
      });
  }
  return list;
}

function weightOf(device: Device, place: Place): number {
  const isHole = place.region.kind === 'registers' && registersOf(device, place).length === 0;
  return isHole || place.region.kind === 'memory' ? 1 : 4;
}

function registersOf(device: Device, { bar, region }: Place): Register<never>[] {
  const inside = ({ offset, width }: Register<never>): boolean =>
    offset >= region.offset && offset + width <= region.offset + region.size;
  return (device.bars[bar]?.registers ?? []).filter(inside);
}

function spanOf(
  device: Device,
  place: Place,
  isRead: boolean,
  next: () => number,
): { readonly offset: number; readonly length: number } {
  const { region } = place;
  const registers = registersOf(device, place);
  if (registers.length > 0 && next() % 4 !== 0) {
    // Half of the accesses of registers go to those that do something.
    const acting = registers.filter(({ hooks }) => (isRead ? hooks.read : hooks.write) !== undefined);
    const list = acting.length > 0 && next() % 2 === 0 ? acting : registers;
    const { offset, width } = list[next() % list.length] as Register<never>;
    return { offset, length: width };
  }
  // Most of the life of a callback region is near its start; the rest of a large one is looked at too.
  const span = next() % 4 === 0 ? region.size : Math.min(region.size, 256);
  const size = next() % 8 === 0 ? 1 + (next() % MAX_BLOCK) : 1 << (next() % 4);
  const length = Math.min(size, region.size);
  const random = region.offset + Math.floor((next() / 2 ** 32) * (span - length + 1));
  const isAligned = length <= 8 && next() % 4 !== 0;
  const offset = isAligned ? random - (random % length) : random;
  return offset < region.offset ? { offset: region.offset, length } : { offset, length };
}

/**
 * Values that a driver might write: small numbers and addresses in host memory, no dword above the size of host memory.
 * With any bits at all most models would be busy with nonsense, or with copies of gigabytes.
 */
function plausible(
  device: Device,
  { bar }: Place,
  offset: number,
  length: number,
  next: () => number,
): Uint8Array {
  const bytes = new Uint8Array(length);
  if (length % 4 === 0 || length <= 2) {
    for (let at = 0; at < length; at += 4) {
      const isUpper = at % 8 === 4 && length % 8 === 0;
      const value = isUpper ? 0 : plausibleDword(next) % (length < 4 ? 256 ** length : 2 ** 32);
      for (let n = 0; n < Math.min(4, length); n++) bytes[at + n] = (value >>> (8 * n)) & 0xff;
    }
  } else for (let at = 0; at < length; at++) bytes[at] = next() & 0xff;
  // Parts of a value must not add up to a large one.
  const isWhole = device.bars[bar]?.registers.some((one) => one.offset === offset && one.width === length);
  if (isWhole === true && !isBig(device, bar, offset)) return bytes;
  if (isWhole === true) return bytes.reverse();
  return bytes.map((byte, at) => (significance(device, bar, offset + at) % 4 < 2 ? byte : 0));
}

function plausibleDword(next: () => number): number {
  const kind = next() % 4;
  if (kind < 2) return FAVOURITES[next() % FAVOURITES.length] as number;
  if (kind === 2) return next() & 0x0fff;
  return (next() % HOST_BYTES) & ~0xf;
}

/** Which byte of a value stands at `offset`: 0 for the lowest. */
function significance(device: Device, bar: number, offset: number): number {
  const register = device.bars[bar]?.registers.find(
    (one) => offset >= one.offset && offset < one.offset + one.width,
  );
  if (register === undefined) return offset % 4;
  const at = offset - register.offset;
  return register.byteOrder === 'big' ? register.width - 1 - at : at;
}

function isBig(device: Device, bar: number, offset: number): boolean {
  return device.bars[bar]?.registers.find((one) => one.offset === offset)?.byteOrder === 'big';
}
