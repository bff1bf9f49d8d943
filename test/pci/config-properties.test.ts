// Properties of live configuration space that hold for any write: read-only bits, byte enables, sizing, resets.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildConfig } from '../../src/pci/build-config.js';
import { ConfigModel, type ResetKind } from '../../src/pci/config-model.js';
import { ConfigSpace } from '../../src/pci/config-space.js';
import { describeConfig } from '../../src/pci/describe.js';
import { AT, dumped, everything } from './models.js';

const RUNS = { numRuns: 100 };
let models: Record<string, () => ConfigModel>;

beforeAll(async () => {
  const e1000e = await dumped('qemu72-e1000e');
  const nvme = await dumped('qemu72-nvme');
  /** The same function anew: the dump is read once. */
  const copy = (model: ConfigModel): ConfigModel =>
    new ConfigModel(model.save(), {
      bars: [0, 1, 2, 3, 4, 5].map((index) => model.bar(index)),
      rom: model.bar(6),
    });
  models = { everything, e1000e: () => copy(e1000e), nvme: () => copy(nvme) };
});

const write = fc.record({
  register: fc.integer({ min: 0, max: 127 }).map((dword) => 4 * dword),
  value: fc.oneof(
    fc.integer({ min: 0, max: 0xffff_ffff }),
    fc.constantFrom(0, 1, 2, 3, 0xffff_ffff, 0xffff_0000),
  ),
  byteEnables: fc.integer({ min: 0, max: 15 }),
});
const writes = fc.array(write, { maxLength: 40 });
const NAMES = ['everything', 'e1000e', 'nvme'];
const make = (name: string): ConfigModel => (models[name] as () => ConfigModel)();

function apply(
  model: ConfigModel,
  list: readonly { register: number; value: number; byteEnables: number }[],
) {
  for (const { register, value, byteEnables } of list) model.writeDw(register, value, byteEnables);
}

/** Bits of each byte that a write of that byte alone can change, after power-on. */
function changeable(name: string): Uint8Array {
  const model = make(name);
  return Uint8Array.from({ length: model.size }, (_, offset) => {
    model.reset('power-on');
    let bits = 0;
    for (const value of [0, 0xff, 0x7f, 0x01, 0]) {
      const before = model.read(offset, 1);
      model.write(offset, value, 1);
      bits |= before ^ model.read(offset, 1);
    }
    return bits;
  });
}

/** Throws unless all bytes are the same; faster than a deep comparison. */
function same(a: ConfigModel | Uint8Array, b: ConfigModel | Uint8Array): void {
  const [left, right] = [a, b].map((each) => Buffer.from(each instanceof ConfigModel ? each.save() : each));
  expect(left?.toString('hex')).toBe(right?.toString('hex'));
}

describe.each(NAMES)('%s', (name) => {
  it('any writes leave read-only bits as they were, and the chains in order', () => {
    const bits = changeable(name);
    const initial = make(name);
    initial.reset('power-on');
    const before = initial.save();
    fc.assert(
      fc.property(writes, (list) => {
        const model = make(name);
        model.reset('power-on');
        apply(model, list);
        const now = model.save();
        same(
          now.map((byte, n) => byte & ~(bits[n] as number)),
          before.map((byte, n) => byte & ~(bits[n] as number)),
        );
        const chains = (bytes: Uint8Array): unknown => {
          const { capabilities, extendedCapabilities, problems } = new ConfigSpace(bytes);
          return [capabilities, extendedCapabilities, problems];
        };
        expect(chains(now)).toEqual(chains(before));
      }),
      RUNS,
    );
  });

  it('a write with byte enables is the writes of its bytes in order', () => {
    fc.assert(
      fc.property(writes, write, (list, { register, value, byteEnables }) => {
        const [whole, parts] = [make(name), make(name)];
        for (const model of [whole, parts]) apply(model, list);
        whole.writeDw(register, value, byteEnables);
        for (let n = 0; n < 4; n++) {
          if ((byteEnables & (1 << n)) !== 0) parts.write(register + n, (value >>> (8 * n)) & 0xff, 1);
        }
        same(whole, parts);
      }),
      RUNS,
    );
  });

  it('narrow writes are dword writes with byte enables', () => {
    fc.assert(
      fc.property(
        writes,
        write,
        fc.constantFrom(1, 2, 4),
        fc.nat(3),
        (list, { register, value }, width, at) => {
          const shift = Math.min(at, 4 - width);
          const part = width === 4 ? value : value % 2 ** (8 * width);
          const [narrow, dword] = [make(name), make(name)];
          for (const model of [narrow, dword]) apply(model, list);
          narrow.write(register + shift, part, width as 1 | 2 | 4);
          dword.writeDw(register, (part << (8 * shift)) >>> 0, ((1 << width) - 1) << shift);
          same(narrow, dword);
          expect(narrow.read(register + shift, width as 1 | 2 | 4)).toBe(
            dword.read(register + shift, width as 4),
          );
        },
      ),
      RUNS,
    );
  });

  it('a reset ends in one state, and power-on in the initial one', () => {
    const initial = make(name);
    initial.reset('power-on');
    const kinds: readonly ResetKind[] = ['power-on', 'function', 'hot', 'd3hot'];
    fc.assert(
      fc.property(writes, fc.constantFrom(...kinds), (list, kind) => {
        const model = make(name);
        apply(model, list);
        model.reset(kind);
        const once = model.save();
        model.reset(kind);
        same(model, once);
        // BARs, Command and Interrupt Line are never kept.
        same(once.slice(0, 0x40), initial.save().slice(0, 0x40));
        model.reset('power-on');
        same(model, initial);
      }),
      RUNS,
    );
  });

  it('an observer that keeps what it is told knows the state', () => {
    fc.assert(
      fc.property(writes, (list) => {
        const model = make(name);
        const seen: Record<string, unknown> = {};
        const note = (key: string) => (state: unknown) => {
          seen[key] = state;
        };
        model.reset('power-on');
        const start = { ...state(model) };
        model.observer = {
          command: note('command'),
          msi: note('msi'),
          msix: note('msix'),
          deviceControl: note('deviceControl'),
          powerState: note('powerState'),
          bar: (bar) => note(`bar ${bar.index}`)(bar),
        };
        apply(model, list);
        expect({ ...start, ...seen }).toEqual(state(model));
      }),
      RUNS,
    );
  });

  it('a snapshot brings everything back', () => {
    fc.assert(
      fc.property(writes, writes, (first, second) => {
        const model = make(name);
        apply(model, first);
        const saved = model.save();
        const lines = describeConfig(model);
        apply(model, second);
        model.load(saved);
        same(model, saved);
        expect(describeConfig(model)).toEqual(lines);
      }),
      { numRuns: 50 },
    );
  });
});

function state(model: ConfigModel): Record<string, unknown> {
  const { command, msi, msix, deviceControl, powerState } = model;
  const bars = model.bars.map(({ index }) => [`bar ${index}`, model.bar(index)] as const);
  return { command, msi, msix, deviceControl, powerState, ...Object.fromEntries(bars) };
}

describe('sizing', () => {
  const sized = (definition: Parameters<typeof buildConfig>[0]['bars'], register: number, upper: boolean) => {
    const model = buildConfig({ vendorId: 1, deviceId: 2, bars: definition ?? [] });
    model.write(register, 0xffff_ffff, 4);
    if (upper) model.write(register + 4, 0xffff_ffff, 4);
    const hi = upper ? BigInt(model.read(register + 4, 4)) : 0xffff_ffffn;
    const lo = model.read(register, 4);
    const mask = (hi << 32n) | BigInt((lo & ((lo & 1) === 1 ? ~3 : ~15)) >>> 0);
    return { size: (1n << 64n) - mask, flags: lo & ((lo & 1) === 1 ? 3 : 15) };
  };

  it('tells any size and the kind', () => {
    for (let index = 0; index < 6; index++) {
      const bars = (bar: object) => [...Array<undefined>(index), bar as { size: number }];
      const register = 0x10 + 4 * index;
      for (let log = 4; log < 32; log++) {
        const size = 2 ** log;
        expect(sized(bars({ size }), register, false)).toEqual({ size: BigInt(size), flags: 0 });
        expect(sized(bars({ size, prefetchable: true }), register, false).flags).toBe(8);
      }
      for (let log = 2; log <= 8; log++)
        expect(sized(bars({ size: 2 ** log, io: true }), register, false)).toEqual({
          size: BigInt(2 ** log),
          flags: 1,
        });
      if (index === 5) continue;
      for (let log = 4; log < 64; log++)
        expect(sized(bars({ size: 2 ** log, bits: 64 }), register, true)).toEqual({
          size: 1n << BigInt(log),
          flags: 4,
        });
    }
  });
});

describe('status bits', () => {
  it('are cleared by exactly the ones written', () => {
    const bits = fc.nat(0xffff);
    fc.assert(
      fc.property(bits, bits, (set, cleared) => {
        const model = everything();
        for (const [offset, mask] of [
          [0x06, 0xf900],
          [AT.pcie + 0x0a, 0x000f],
          [AT.aer + 0x04, 0xf030],
          [AT.aer + 0x10, 0xf1c1],
          [AT.pri + 0x06, 0x0003],
        ] as const) {
          const fixed = model.read(offset, 2);
          model.poke(offset, fixed | (set & mask), 2);
          model.write(offset, cleared, 2);
          expect(model.read(offset, 2)).toBe(fixed | (set & mask & ~cleared));
        }
      }),
      RUNS,
    );
  });
});
