/** The named options: defaults, what each accepts and refuses, and text in and out. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import type { OptionDef } from '../../src/base/option-table.js';
import {
  COST_PRESETS,
  checkOption,
  defaultOptions,
  describeOption,
  formatAllowed,
  nonDefault,
  OPTIONS,
  type OptionInput,
  type OptionName,
  type Options,
  parseOption,
  refuseUnbuilt,
  resolveOptions,
} from '../../src/base/options.js';

/** Written out here so that a lost or renamed option is noticed. */
const EXPECTED_NAMES = `
  fidelity zpciMode dtsm writeSplit readSplit completionPolicy beCheck orderingMay crc txArbitration credits
  ackPolicy replayTimer skp switchMode ucSplitBoundary vectorUcChunk wcLineComplete wcChunkOrder ldpStp
  vfioGeneration vfioMmap vfioWidth coalescedMmio dwordRule chunking boundary mio clpBarWords relaxed
  interceptStrict relaxedMaximum relaxedZeroLength dmaInErrorLsOpen qemuQuirks rtr ismForbiddenAccess
  ismMaskBitOrder ismSuppressMsi ismRejectStatus sqDbrRead vtdModel faultReasons smmuModel interruptRangeCheck
  splitFault iotlbReplacement iotlbKey pagingStructureEntries passThroughSnoop passThroughWidthCheck pgsnpWithoutSc s390NoSnoop
  honourNoSnoop snoopTerms msiWindowOverflow allowUnsafeInterrupts dmaBypass bridgeHotplug ioasidProfile
  adjustRule inactiveError prioOrder notifierContext migrationCaps p2pKind pendingMsi arcFailure guestPromise
  vpriDrain rcb mps mrrs tags linkLatencyNs switchLatencyNs mmioServiceNs configServiceNs issueIntervalNs
  hostPreset hostReadNs hostLines storeBuffer iotlbEntries iotlbWalkNs iotlbWalkers snoopNs skpSymbols skpBlocks wcBuffers ncGatherBytes
  instructionNs exitNs syscallNs hostOpNs maxstbl prgTimeoutTicks`
  .trim()
  .split(/\s+/);

const entries = Object.entries(OPTIONS) as [OptionName, OptionDef][];

/** Values that an option must take: every one of a choice, the ends of a range. */
function goodValues(def: OptionDef): unknown[] {
  if (def.kind === 'choice') return [...def.values];
  if (def.kind === 'boolean') return [true, false];
  return [def.min, def.max, def.default];
}

/** Values that an option must refuse. */
function badValues(def: OptionDef): unknown[] {
  const never = ['nonsense', '', null, {}, [], 1n, Number.NaN];
  if (def.kind === 'choice') return [...never, -1, 1e12, true];
  if (def.kind === 'boolean') return [...never, 0, 1, 'true'];
  const fraction = def.integer ? [def.min + 0.5] : [];
  const odd = def.multipleOf === undefined ? [] : [def.min + 1];
  return [
    ...never,
    def.min - 1,
    def.max + 1,
    Infinity,
    -Infinity,
    true,
    String(def.default),
    ...fraction,
    ...odd,
  ];
}

function arbitraryValue(def: OptionDef): fc.Arbitrary<unknown> {
  if (def.kind === 'choice') return fc.constantFrom(...def.values);
  if (def.kind === 'boolean') return fc.boolean();
  const { min, max, integer, multipleOf = 1 } = def;
  if (!integer) return fc.double({ min, max, noNaN: true });
  return fc.integer({ min: min / multipleOf, max: max / multipleOf }).map((count) => count * multipleOf);
}

const arbitraryInput = fc.record(
  Object.fromEntries(entries.map(([name, def]) => [name, arbitraryValue(def)])),
  { requiredKeys: [] },
) as fc.Arbitrary<OptionInput>;

function errorOf(action: () => unknown): ZtlpError {
  try {
    action();
  } catch (error) {
    if (error instanceof ZtlpError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the table', () => {
  it('holds exactly the expected options', () => {
    expect(Object.keys(OPTIONS).sort()).toEqual([...EXPECTED_NAMES].sort());
  });

  it('has the important defaults', () => {
    expect(defaultOptions()).toMatchObject({
      fidelity: 'functional',
      zpciMode: 'emulated',
      dtsm: 0x40,
      writeSplit: 'aligned',
      readSplit: 'aligned',
      completionPolicy: 'fewest',
      crc: 'onExport',
      ackPolicy: 'perInterval',
      replayTimer: 'table',
      skp: 'off',
      vfioGeneration: 3,
      dwordRule: 'qemu',
      relaxed: false,
      interceptStrict: true,
      ismRejectStatus: 40,
      splitFault: 'perPage',
      ioasidProfile: 'setptr',
      migrationCaps: 7,
      rcb: 64,
      mps: 256,
      mrrs: 512,
      tags: 256,
      linkLatencyNs: 75,
      switchLatencyNs: 140,
      hostPreset: 'none',
      iotlbEntries: 128,
      iotlbWalkNs: 250,
      iotlbWalkers: 6,
      maxstbl: 128,
      prgTimeoutTicks: 10e6 * 4096,
    });
  });

  it('describes each option with full sentences', () => {
    for (const [name, { sentence, note = '.', defaultNote = '.', source }] of entries) {
      expect(sentence, name).toMatch(/^[A-Z].*\.$/);
      expect(note.endsWith('.') && defaultNote.endsWith('.'), name).toBe(true);
      expect(source, name).not.toBe('');
    }
  });

  it('has a zero cost preset equal to the defaults and a valid example', () => {
    expect(nonDefault(resolveOptions(COST_PRESETS.zero))).toEqual([]);
    expect(nonDefault(resolveOptions(COST_PRESETS.example)).map(({ name, value }) => [name, value])).toEqual([
      ['instructionNs', 100],
      ['exitNs', 2000],
      ['syscallNs', 300],
      ['hostOpNs', 100],
    ]);
  });
});

describe.each(entries)('option %s', (name, def) => {
  it('has a valid default', () => {
    expect(checkOption(name, def.default)).toBe(def.default);
  });

  it('accepts what it lists', () => {
    for (const value of goodValues(def)) expect(checkOption(name, value)).toBe(value);
  });

  it('refuses anything else, naming field, value and what is allowed', () => {
    for (const value of badValues(def)) {
      const { code, field, value: reported, allowed, message } = errorOf(() => checkOption(name, value));
      expect({ code, field, reported }).toEqual({ code: 'invalid-value', field: name, reported: value });
      expect(allowed).toBe(formatAllowed(name));
      expect(message).toContain(name);
    }
  });

  it('reads back the text of each value', () => {
    for (const value of goodValues(def)) expect(parseOption(`${name}=${value}`)).toEqual([name, value]);
  });

  it('tells its default and what it changes', () => {
    expect(describeOption(name)).toMatch(new RegExp(`^${name} \\(.+; default .+\\): .+\\.$`));
    expect(describeOption(name)).toContain(def.sentence);
  });
});

describe('an unknown name', () => {
  test.each([
    ['MPS', 'mps'],
    ['mpps', 'mps'],
    ['writesplit', 'writeSplit'],
    ['linkLatency', 'linkLatencyNs'],
  ])('%s suggests %s', (wrong, right) => {
    const error = errorOf(() => checkOption(wrong, 1));
    expect(error).toMatchObject({ code: 'unknown-name', field: wrong, value: 1 });
    expect(error.message).toBe(
      `"${wrong}" is not an option, did you mean ${right}?; allowed: a name of docs/options.md`,
    );
  });

  test.each([
    ['msiWindowsOverflow', 'msiWindowOverflow'],
    ['switchLatency', 'switchLatencyNs'],
  ])('%s is near to %s, which is planned only', (wrong, right) => {
    expect(errorOf(() => checkOption(wrong, 1)).message).toBe(
      `"${wrong}" is not an option (${right} is planned and has no effect in this version); allowed: a name of docs/options.md`,
    );
  });

  test.each(['', 'toString', '__proto__', 'constructor', 'x'.repeat(1e6)])(
    'strange name %# is refused',
    (wrong) => {
      expect(errorOf(() => checkOption(wrong, 1)).code).toBe('unknown-name');
      expect(errorOf(() => parseOption(`${wrong}=1`)).code).toBe('unknown-name');
      expect(errorOf(() => resolveOptions(JSON.parse(`{${JSON.stringify(wrong)}:1}`))).code).toBe(
        'unknown-name',
      );
      expect(errorOf(() => describeOption(wrong)).code).toBe('unknown-name');
    },
  );

  it('suggests nothing when nothing is near', () => {
    expect(errorOf(() => checkOption('q7!q7!q7!', 1)).message).not.toContain('did you mean');
  });
});

describe('resolveOptions', () => {
  it('is the identity on defaults', () => {
    expect(resolveOptions(defaultOptions())).toEqual(defaultOptions());
    expect(resolveOptions({})).toEqual(defaultOptions());
    expect(nonDefault(defaultOptions())).toEqual([]);
  });

  it('sets what is given, keeps the rest, and is idempotent', () => {
    fc.assert(
      fc.property(arbitraryInput, (input) => {
        const resolved = resolveOptions(input);
        expect(resolved).toEqual({ ...defaultOptions(), ...withoutNegativeZero(input) });
        expect(resolveOptions(resolved)).toEqual(resolved);
        expect(resolveOptions(defaultOptions(), resolved)).toEqual(defaultOptions());
      }),
    );
  });

  it('loses nothing when only the differences are given again', () => {
    fc.assert(
      fc.property(arbitraryInput, (input) => {
        const resolved = resolveOptions(input);
        const differences = nonDefault(resolved);
        for (const { name, value, default: standard } of differences) {
          expect(value).toBe(resolved[name]);
          expect(standard).toBe(OPTIONS[name].default);
        }
        const again = Object.fromEntries(differences.map(({ name, value }) => [name, value]));
        expect(resolveOptions(again as OptionInput)).toEqual(resolved);
      }),
    );
  });

  it('ignores undefined and changes neither argument', () => {
    const base = Object.freeze(resolveOptions({ mps: 128 }));
    const input = Object.freeze({ mps: undefined, tags: 32 } as const);
    expect(resolveOptions(input, base)).toEqual({ ...defaultOptions(), mps: 128, tags: 32 });
  });

  it('gives a fresh object each time', () => {
    defaultOptions().mps = 4096;
    expect(defaultOptions().mps).toBe(256);
  });

  it('reports differences from another base', () => {
    const base = resolveOptions({ relaxed: true, maxstbl: 4096 });
    expect(nonDefault(resolveOptions({ maxstbl: 2048 }, base), base)).toEqual([
      { name: 'maxstbl', value: 2048, default: 4096 },
    ]);
  });

  test.each([null, [], 'mps=128', 7])('refuses %j as options', (input) => {
    expect(errorOf(() => resolveOptions(input as unknown as OptionInput)).field).toBe('options');
  });
});

describe('refuseUnbuilt', () => {
  it.each(['beCheck'] as const)('refuses %s, which nothing reads', (name) => {
    expect(() => refuseUnbuilt({ [name]: true })).toThrow(
      expect.objectContaining({ name: 'ZtlpError', code: 'unsupported', field: name }),
    );
    expect(refuseUnbuilt({ [name]: false })).toEqual({ [name]: false });
  });

  it('leaves names that are no options to resolveOptions, those of any object too', () => {
    for (const name of ['toString', 'constructor', 'mpps']) {
      const input = { [name]: 1 } as OptionInput;
      expect(refuseUnbuilt(input)).toBe(input);
      expect(() => resolveOptions(input)).toThrow(expect.objectContaining({ code: 'unknown-name' }));
    }
  });

  it.each([[null], [[]], [7]])('refuses %j as options', (input) => {
    expect(() => refuseUnbuilt(input as OptionInput)).toThrow(expect.objectContaining({ field: 'options' }));
  });
});

describe('parseOption', () => {
  test.each([
    ['mps=0x200', 'mps', 512],
    ['dtsm=0xC0', 'dtsm', 0xc0],
    [' writeSplit = greedy ', 'writeSplit', 'greedy'],
    ['skp=on', 'skp', 'on'],
    ['relaxed=on', 'relaxed', true],
    ['mio=off', 'mio', false],
    ['bridgeHotplug=false', 'bridgeHotplug', false],
    ['bridgeHotplug=off', 'bridgeHotplug', false],
    ['linkLatencyNs=1.5e2', 'linkLatencyNs', 150],
    ['linkLatencyNs=.5', 'linkLatencyNs', 0.5],
    ['exitNs=-0', 'exitNs', 0],
    ['exitNs=+2000', 'exitNs', 2000],
    ['vfioGeneration=1', 'vfioGeneration', 1],
  ])('reads %s', (text, name, value) => {
    expect(parseOption(text)).toEqual([name, value]);
  });

  test.each([
    'mps=',
    'mps=256B',
    'mps=true',
    'exitNs=',
    'exitNs=1 2',
    'exitNs=0b1',
    'exitNs=Infinity',
    'relaxed=yes',
    'skp=true',
  ])('refuses %s', (text) => {
    const { code, value } = errorOf(() => parseOption(text));
    expect(code).toBe('invalid-value');
    expect(String(value)).toBe(text.slice(text.indexOf('=') + 1));
  });

  it('wants name=value', () => {
    expect(errorOf(() => parseOption('mps')).code).toBe('malformed');
    expect(errorOf(() => parseOption('')).code).toBe('malformed');
    expect(errorOf(() => parseOption('=1')).code).toBe('unknown-name');
  });

  it('is the inverse of printing, for every valid value', () => {
    fc.assert(
      fc.property(arbitraryInput, (input) => {
        const texts = Object.entries(input).map(([name, value]) => `${name}=${value}`);
        expect(Object.fromEntries(texts.map(parseOption))).toEqual(withoutNegativeZero(input));
      }),
    );
  });

  it('throws only ZtlpError, whatever the text', () => {
    const text = fc.oneof(
      fc.string(),
      fc.tuple(fc.constantFrom(...EXPECTED_NAMES), fc.string()).map(([name, word]) => `${name}=${word}`),
    );
    fc.assert(
      fc.property(text, (typed) => {
        try {
          parseOption(typed);
        } catch (error) {
          expect(error).toBeInstanceOf(ZtlpError);
        }
      }),
    );
  });
});

describe('text', () => {
  it('names values, ranges and units', () => {
    expect(formatAllowed('mps')).toBe('128, 256, 512, 1024, 2048, 4096 (B)');
    expect(formatAllowed('relaxed')).toBe('true, false');
    expect(formatAllowed('dtsm')).toBe('an integer from 0x00 to 0xff (bit mask)');
    expect(formatAllowed('maxstbl')).toBe('a multiple of 8 from 16 to 4096 (B)');
    expect(formatAllowed('exitNs')).toBe('a number from 0 to 1000000000 (ns)');
  });

  it('prints one line for a mistake', () => {
    expect(errorOf(() => checkOption('writeSplit', 'gready')).message).toBe(
      'writeSplit: "gready" is not valid; allowed: aligned, greedy',
    );
    expect(errorOf(() => checkOption('writeSplt', 'greedy')).message).toBe(
      '"writeSplt" is not an option, did you mean writeSplit?; allowed: a name of docs/options.md',
    );
  });

  it('describes an option in one line', () => {
    expect(describeOption('dtsm')).toBe(
      `dtsm (${formatAllowed('dtsm')}; default 0x40): ${OPTIONS.dtsm.sentence} ${OPTIONS.dtsm.note}`,
    );
  });
});

/** Types are checked by the compiler; this only has to compile. */
test('types follow the table', () => {
  const mps: Options['mps'] = 128;
  const word: Options['writeSplit'] = checkOption('writeSplit', 'greedy');
  const flag: boolean = defaultOptions().relaxed;
  // @ts-expect-error 100 is not a payload size
  const wrong: OptionInput = { mps: 100 };
  // @ts-expect-error no such option
  const unknown: OptionInput = { mpss: 128 };
  const [name, value] = parseOption('tags=32');
  if (name === 'tags') expect(value satisfies 32 | 256 | 768).toBe(32);
  expect([mps, word, flag]).toEqual([128, 'greedy', false]);
  expect(() => resolveOptions(wrong)).toThrow(ZtlpError);
  expect(() => resolveOptions(unknown)).toThrow(ZtlpError);
});

/** The options never hold -0. */
function withoutNegativeZero(input: OptionInput): OptionInput {
  return Object.fromEntries(Object.entries(input).map(([name, value]) => [name, value === 0 ? 0 : value]));
}
