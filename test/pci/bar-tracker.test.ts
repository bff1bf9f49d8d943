// Where BARs lie, learnt from the configuration accesses of a trace.
import { describe, expect, it } from 'vitest';
import { BarTracker } from '../../src/pci/bar-tracker.js';
import { openTrace } from '../../src/trace/lines.js';
import { mmioAccesses, QEMU_VECTOR, qemuAccesses } from '../trace/collect.js';

/** Sizes and sets a register as software does. */
function assign(bars: BarTracker, device: string, offset: number, mask: number, address: number): void {
  bars.config(device, 'write', offset, 4, 0xffff_ffff);
  bars.config(device, 'read', offset, 4, mask >>> 0);
  bars.config(device, 'write', offset, 4, address >>> 0);
}

const hit = (bars: BarTracker, lo: number, hi = 0): string | undefined => {
  const found = bars.resolve(lo, hi);
  return found === undefined ? undefined : `${found.device} ${found.bar}${found.io ? ' io' : ''}`;
};

describe('the recorded trace', () => {
  it('gives the BARs and sizes that the kernel prints in the mmiotrace of the same run', async () => {
    const bars = new BarTracker();
    const { stream } = await openTrace(QEMU_VECTOR);
    const outside: number[] = [];
    for (const { space, device = '', op, addressLo, addressHi, width, valueLo } of await qemuAccesses(
      stream,
    )) {
      if (space === 'config') bars.config(device, op, addressLo, width, valueLo);
      else if (bars.resolve(addressLo, addressHi) === undefined) outside.push(addressLo);
    }
    expect(outside).toEqual([]);
    expect(bars.list().map(({ device, bar, io, lo, size }) => [device, bar, io, lo, size])).toEqual([
      ['00:01.0 nvme', 0, false, 0xfebc0000, 0x4000],
      ['00:02.0 e1000e', 0, false, 0xfeb80000, 0x20000],
      ['00:02.0 e1000e', 1, false, 0xfeba0000, 0x20000],
      ['00:02.0 e1000e', 2, true, 0xc040, 0x20],
      ['00:02.0 e1000e', 3, false, 0xfebc4000, 0x4000],
    ]);
    for (const { addressLo } of await mmioAccesses()) expect(bars.resolve(addressLo, 0)).toBeDefined();
  });
});

describe('a register', () => {
  it('of 32 bits, of I/O ports, and the ROM', () => {
    const bars = new BarTracker();
    assign(bars, 'a', 0x10, 0xfffff000, 0xe0000000);
    assign(bars, 'a', 0x14, 0xffffffe1, 0xc001);
    assign(bars, 'a', 0x30, 0xffff0001, 0xfea00001);
    expect(hit(bars, 0xe0000000)).toBe('a 0');
    expect(hit(bars, 0xe0000fff)).toBe('a 0');
    expect(hit(bars, 0xe0001000)).toBeUndefined();
    expect(hit(bars, 0xe0000000, 1)).toBeUndefined();
    expect(hit(bars, 0xc01f)).toBe('a 1 io');
    expect(hit(bars, 0xc020)).toBeUndefined();
    expect(hit(bars, 0xfea0ffff)).toBe('a 6');
    assign(bars, 'a', 0x30, 0xffff0001, 0xfea00000);
    expect(hit(bars, 0xfea00000)).toBeUndefined(); // not enabled
  });

  it('of 64 bits takes the next one too', () => {
    const bars = new BarTracker();
    assign(bars, 'a', 0x10, 0xfff0000c, 0xc);
    assign(bars, 'a', 0x14, 0xffffffff, 0x12);
    expect(bars.list()).toEqual([{ device: 'a', bar: 0, io: false, lo: 0, hi: 0x12, size: 0x100000 }]);
    expect(hit(bars, 0xfffff, 0x12)).toBe('a 0');
    const large = new BarTracker();
    assign(large, 'a', 0x18, 0x0000000c, 0xc);
    assign(large, 'a', 0x1c, 0xfffffffe, 0x40);
    expect(large.list()[0]).toMatchObject({ bar: 2, hi: 0x40, size: 2 ** 33 });
  });

  it('that is not sized, not assigned or not implemented holds nothing', () => {
    const bars = new BarTracker();
    bars.config('a', 'write', 0x10, 4, 0xe0000000);
    assign(bars, 'a', 0x14, 0xfffff000, 0);
    assign(bars, 'a', 0x18, 0, 0);
    bars.config('a', 'write', 0x1c, 2, 0xffff);
    expect(bars.list()).toEqual([]);
    expect(hit(bars, 0)).toBeUndefined();
  });

  it('that is sized later keeps the address that was read or written before', () => {
    const bars = new BarTracker();
    bars.config('a', 'read', 0x10, 4, 0xe0000008);
    assign(bars, 'a', 0x10, 0xffff0008, 0xe0000008);
    expect(hit(bars, 0xe000ffff)).toBe('a 0');
    assign(bars, 'a', 0x10, 0xffff0008, 0xd0000008);
    expect([hit(bars, 0xe0000000), hit(bars, 0xd0000000)]).toEqual([undefined, 'a 0']);
  });

  it('behind the second is no BAR in a bridge', () => {
    const bars = new BarTracker();
    bars.config('a', 'read', 0x0e, 1, 0x81);
    assign(bars, 'a', 0x10, 0xfffff000, 0xe0000000);
    assign(bars, 'a', 0x20, 0xfffffff0, 0xd000d000);
    expect(bars.list().map(({ bar }) => bar)).toEqual([0]);
  });
});

describe('a BAR that the trace tells as such', () => {
  it('is there from then on, until it goes', () => {
    const bars = new BarTracker();
    bars.map('a', 0, 0xfebc0000, 0, 0x4000);
    bars.map('a', 2, 0xc000, 0, 0x40);
    bars.map('b', 0, 0, 0x10, 2 ** 33);
    expect([hit(bars, 0xfebc3fff), hit(bars, 0xc03f), hit(bars, 5, 0x11)]).toEqual(['a 0', 'a 2 io', 'b 0']);
    bars.unmap('a', 0);
    bars.unmap('c', 0);
    expect(hit(bars, 0xfebc0000)).toBeUndefined();
  });

  it('wins over later ones that overlap it, whatever was looked up before', () => {
    const places = [0xe0000800, 0xe0001800, 0xe0002800, 0xe0000fff, 0xe0001000];
    const right = ['a 0', 'b 0', 'c 0', 'a 0', 'b 0'];
    for (const first of places) {
      const bars = new BarTracker();
      bars.map('a', 0, 0xe0000000, 0, 0x1000);
      bars.map('b', 0, 0xe0000000, 0, 0x2000);
      bars.map('c', 0, 0xe0000000, 0, 0x4000);
      hit(bars, first);
      expect(places.map((place) => hit(bars, place))).toEqual(right);
    }
  });
});
