/** The options under which vector files are run: section 3 of the vectors' README as data. */
import { checkOption, type OptionInput } from '../base/options.js';
import type { CaseFields } from './case.js';

/** By format and group; only what differs from the defaults. Entries of groups that are not built yet wait here. */
export const PRESETS = {
  split: { writeSplit: 'greedy', readSplit: 'cocotbext' },
  zpci: { relaxed: false, maxstbl: 128, dwordRule: 'qemu', clpBarWords: 'big' },
  /** Over `zpci`, for cases with basis `qemu-specific`. */
  zpciQemuSpecific: { qemuQuirks: true, dmaInErrorLsOpen: 'allowed' },
  vtd: {
    vtdModel: 'qemu72',
    faultReasons: 'qemu72',
    splitFault: 'perPage',
    interruptRangeCheck: 'span',
  },
  smmuv3: { smmuModel: 'qemu72' },
} as const satisfies Readonly<Record<string, OptionInput>>;

/** Access paths: what the name of the path says. Every entry that matches holds. */
const PATH_PRESETS: readonly (readonly [name: RegExp, options: OptionInput])[] = [
  [/^(kvm|tcg)-/, { vfioMmap: false }],
  [/-w4$/, { vfioGeneration: 1 }],
  [/-w8$/, { vfioGeneration: 3 }],
];

/** Options of a case of access path `path`. */
export function pathPreset(path: string): OptionInput {
  const matching = PATH_PRESETS.filter(([name]) => name.test(path));
  return Object.assign({}, ...matching.map(([, options]) => options));
}

/** Options of a `split` case: the preset and the sizes and policy that the case names. */
export function splitPreset(fields: CaseFields): OptionInput {
  return {
    ...PRESETS.split,
    completionPolicy: fields.flag('splitAllRcb') ? 'rcb' : 'fewest',
    rcb: checkOption('rcb', fields.integer('rcb')),
    mps: checkOption('mps', fields.integer('mps')),
    mrrs: checkOption('mrrs', fields.integer('mrrs')),
  };
}
