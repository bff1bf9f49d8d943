/** The JSON formats by their `format` field: which groups run how, and how the cases of the others are counted. */
import { invalid, show, ZtlpError } from '../base/errors.js';
import { runAccessPath, runMemoryRegion } from './access-path.js';
import { runCrc, runDllp } from './dllp.js';
import { runLinkTrace } from './link-trace.js';
import { runPcieBench } from './pcie-bench.js';
import { type CaseRunner, type FileReport, named, Tally } from './report.js';
import { smmuRunner } from './smmu.js';
import { runSplit } from './split.js';
import { runBeCount, runByteRange, runTlp } from './tlp.js';
import { vtdRunner } from './vtd.js';
import { runZpci } from './zpci.js';

type Json = Readonly<Record<string, unknown>>;

/** Takes the cases of one file into `tally`; throws when the file is not of its format. */
type FileRunner = (json: Json, tally: Tally) => void;

const FORMATS: ReadonlyMap<string, FileRunner> = new Map([
  [
    'tlp-vectors/1',
    groups({
      tlp: runTlp,
      byteRange: runByteRange,
      beCount: runBeCount,
      dllp: runDllp,
      crc: runCrc,
      split: runSplit,
      linkTrace: runLinkTrace,
    }),
  ],
  ['access-path-vectors/1', groups({ cases: runAccessPath, memoryRegionOps: runMemoryRegion })],
  ['zpci-vectors/1', groups({ cases: runZpci })],
  ['vtd-vectors/1', (json, tally) => groups({ cases: vtdRunner(json) })(json, tally)],
  ['smmuv3-vectors/1', (json, tally) => groups({ cases: smmuRunner(json) })(json, tally)],
  ['vfio-migration-vectors/1', counted('transitions', countTransitions)],
  ['pcie-bench-vectors/1', runPcieBench],
]);

/**
 * Runs an already parsed vector file, by its `format`. Await `ready()` before. Throws ZtlpError when the format is
 * unknown or the file does not follow it; a broken case is a disagreement.
 */
export function runFormat(file: string, json: unknown): FileReport {
  if (!isRecord(json))
    throw new ZtlpError('malformed', `${named(file)} is not a vector file: it holds ${kindOf(json)}`);
  const { format } = json;
  if (typeof format !== 'string') {
    const what =
      format === undefined ? 'it has no field "format"' : `its field "format" holds ${kindOf(format)}`;
    throw new ZtlpError('malformed', `${named(file)} is not a vector file: ${what}`, {
      field: 'format',
      value: format,
    });
  }
  const runner = FORMATS.get(format);
  if (runner === undefined) {
    throw new ZtlpError('unsupported', `${named(file)}: format ${show(format)} is not known`, {
      field: 'format',
      value: format,
      allowed: [...FORMATS.keys()].join(', '),
    });
  }
  const tally = new Tally();
  try {
    runner(json, tally);
  } catch (error) {
    if (!(error instanceof ZtlpError)) throw error;
    throw new ZtlpError(error.code, `${named(file)}: ${error.message}`, { cause: error });
  }
  return tally.report(file, format);
}

/**
 * A format whose groups are top-level lists of cases. A group without a runner is counted as unsupported, and so is a
 * list of objects that is not in the table: no case of a file passes by being overlooked.
 */
function groups(table: Readonly<Record<string, CaseRunner | null>>): FileRunner {
  return (json, tally) => {
    const names = Object.keys(table).filter((name) => Object.hasOwn(json, name));
    if (names.length === 0) {
      throw new ZtlpError('malformed', 'it has no group of cases', {
        allowed: Object.keys(table).join(', '),
      });
    }
    // Shape first: a file that does not follow its format is not run in part.
    const lists = names.map((name) => ({ name, cases: listOf(json, name), runner: table[name] }));
    const isBuilt = lists.some(({ runner }) => runner);
    for (const { name, cases, runner } of lists) if (runner) tally.run(name, cases, runner);
    for (const { name, cases, runner } of lists) {
      if (!runner && (cases.length > 0 || !isBuilt)) tally.addUnsupported(name, cases.length);
    }
    for (const [name, value] of Object.entries(json)) {
      if (Object.hasOwn(table, name) || !Array.isArray(value) || !value.every(isRecord)) continue;
      if (value.length > 0) tally.addUnsupported(name, value.length);
    }
  };
}

/** A format that is not built yet, whose cases, called `name`, `count` finds. */
function counted(name: string, count: (json: Json) => number): FileRunner {
  return (json, tally) => tally.addUnsupported(name, count(json));
}

/** One per cell of each capability set: from a state to a state. */
function countTransitions(json: Json): number {
  return listOf(json, 'capSets').reduce((sum: number, set, n) => {
    if (!isRecord(set)) throw invalid(`capSets[${n}]`, set, 'an object', 'malformed');
    return sum + listOf(set, 'transitions').length;
  }, 0);
}

function listOf(json: Json, name: string): readonly unknown[] {
  const value = json[name];
  if (Array.isArray(value)) return value;
  throw invalid(name, value, 'a list of cases', 'malformed');
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
