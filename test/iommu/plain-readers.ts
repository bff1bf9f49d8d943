/** Page tables read as the sheets draw them (iommu.md 2 to 4, zpci.md 5), without the writers' knowledge. */

export interface PlainPage {
  readonly address: bigint;
  readonly lg2: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly force: boolean;
}

type Read = (address: bigint) => bigint;
type Reader = (read: Read, root: bigint, iova: bigint) => PlainPage | null;

const bit = (word: bigint, at: number): boolean => ((word >> BigInt(at)) & 1n) === 1n;
const field = (word: bigint, high: number, low: number): bigint =>
  (word >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
const index = (iova: bigint, low: number, count: number): bigint => field(iova, low + count - 1, low);
const page = (base: bigint, iova: bigint, lg2: number): bigint => {
  const size = 1n << BigInt(lg2);
  if (base % size !== 0n) throw new Error(`page of 2^${lg2} at ${base.toString(16)}`);
  return base + (iova % size);
};

/** VT-d second stage and x86-64, from `top` down. */
const x86 =
  (top: number, leaf: (entry: bigint) => Omit<PlainPage, 'address' | 'lg2'> | null): Reader =>
  (read, root, iova) => {
    let table = root;
    for (let low = 12 + 9 * (top - 1); ; low -= 9) {
      const entry = read(table + 8n * index(iova, low, 9));
      const found = leaf(entry);
      if (found === null) return null;
      const to = field(entry, 51, 12) << 12n;
      if (low === 12 || bit(entry, 7)) return { address: page(to, iova, low), lg2: low, ...found };
      // Entries that name tables allow everything, and force nothing.
      if (!found.read || !found.write || found.force) throw new Error(`table entry ${entry.toString(16)}`);
      table = to;
    }
  };

export const vtdSecondReader = (levels: number): Reader =>
  x86(levels, (entry) =>
    bit(entry, 0) || bit(entry, 1)
      ? { read: bit(entry, 0), write: bit(entry, 1), force: bit(entry, 11) }
      : null,
  );

export const vtdFirstReader = (levels: number): Reader =>
  x86(levels, (entry) => {
    if (!bit(entry, 0)) return null;
    if (!bit(entry, 2) || !bit(entry, 5)) throw new Error('user and accessed have to be set');
    return { read: true, write: bit(entry, 1), force: false };
  });

export const amdReader =
  (levels: number): Reader =>
  (read, root, iova) => {
    let table = root;
    let low = 12 + 9 * (levels - 1);
    for (let level = levels; ; ) {
      const entry = read(table + 8n * index(iova, low, level === 6 ? 7 : 9));
      if (!bit(entry, 0)) return null;
      const next = Number(field(entry, 11, 9));
      const to = field(entry, 51, 12) << 12n;
      const found = { read: bit(entry, 61), write: bit(entry, 62), force: bit(entry, 60) };
      if (next === 0) return { address: page(to, iova, low), lg2: low, ...found };
      if (next === 7) {
        let ones = 0;
        while (bit(to, 12 + ones)) ones++;
        const lg2 = 13 + ones;
        if (lg2 <= low || lg2 >= low + 9) throw new Error(`2^${lg2} bytes at level ${level}`);
        return { address: page((to >> BigInt(lg2)) << BigInt(lg2), iova, lg2), lg2, ...found };
      }
      if (next !== level - 1 || !found.read || !found.write) throw new Error(`NextLevel ${next}`);
      table = to;
      level--;
      low -= 9;
    }
  };

/** Stage 1 or 2 with `width` bits, from level `start` of the architecture. */
export const lpaeReader =
  (stage: 1 | 2, width: number, start: number): Reader =>
  (read, root, iova) => {
    let table = root;
    for (let level = start; ; level++) {
      const low = 12 + 9 * (3 - level);
      const entry = read(table + 8n * index(iova, low, level === start ? width - low : 9));
      const type = Number(field(entry, 1, 0));
      const to = field(entry, 47, 12) << 12n;
      if (type === 3 && level < 3) {
        table = to;
        continue;
      }
      if (type === 0) return null;
      if (type !== (level === 3 ? 3 : 1) || level === 0) throw new Error(`type ${type} at level ${level}`);
      if (!bit(entry, 10)) throw new Error('the access flag has to be set');
      const found =
        stage === 1
          ? { read: bit(entry, 6), write: bit(entry, 6) && !bit(entry, 7) }
          : { read: bit(entry, 6), write: bit(entry, 7) };
      return { address: page(to, iova, low), lg2: low, ...found, force: false };
    }
  };

/** From region table `regions` (1 third, 2 second, 3 first; 0 segments). Words are big-endian. */
export const s390Reader =
  (regions: number): Reader =>
  (read, root, iova) => {
    const entryAt = (address: bigint): bigint => {
      const bytes = new DataView(new ArrayBuffer(8));
      bytes.setBigUint64(0, read(address), true);
      return bytes.getBigUint64(0);
    };
    let table = root;
    for (let region = regions; region >= 0; region--) {
      const entry = entryAt(table + 8n * index(iova, 20 + 11 * region, 11));
      if (bit(entry, 5)) return null;
      if (Number(field(entry, 3, 2)) !== region) throw new Error(`table type in ${entry.toString(16)}`);
      if (region > 0) {
        if (field(entry, 1, 0) !== 3n || field(entry, 7, 6) !== 0n) throw new Error('length of a region');
        table = (entry >> 14n) << 14n;
      } else if (bit(entry, 10)) {
        const base = (entry >> 20n) << 20n;
        return {
          address: base + (iova % 0x10_0000n),
          lg2: 20,
          read: true,
          write: !bit(entry, 9),
          force: false,
        };
      } else table = (entry >> 11n) << 11n;
    }
    const entry = entryAt(table + 8n * index(iova, 12, 8));
    if (bit(entry, 10)) return null;
    const base = (entry >> 12n) << 12n;
    return { address: base + (iova % 4096n), lg2: 12, read: true, write: !bit(entry, 9), force: false };
  };
