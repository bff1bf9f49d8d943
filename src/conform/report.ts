/** What a run of vector files reports, and how one case is judged: agreement, documented deviation, disagreement. */
import { type CaseFields, caseId, openCase } from './case.js';

/** Values as JSON holds them: a report is printed as JSON as it is. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** Counts of one group of cases; `agree`, `documented` and `disagree` add up to `cases`. */
interface GroupReport {
  readonly name: string;
  readonly cases: number;
  readonly agree: number;
  /** Cases that differ in a documented way; each is in `deviations`. */
  readonly documented: number;
  readonly disagree: number;
}

/** A case that differs: only the fields that do, by path, or the text of the error that stopped it. */
export interface Disagreement {
  /** The case's `id`, or `group#index`, or `lines#number` in a text file. */
  readonly id: string;
  readonly group: string;
  readonly expected: Json;
  readonly actual: Json;
}

/** A case that differs as its source is known to. */
interface Deviation {
  readonly id: string;
  readonly group: string;
  readonly rule: string;
}

/** A part of a file that this version cannot run. */
interface UnsupportedPart {
  readonly name: string;
  readonly cases: number;
}

export interface FileReport {
  readonly file: string;
  /** Name of the format that was recognised. */
  readonly format: string;
  /** The groups' cases add up to the file's cases. */
  readonly groups: readonly GroupReport[];
  /** In file order. Cases of the group `unsupported` are counted, not listed. */
  readonly disagreements: readonly Disagreement[];
  readonly deviations: readonly Deviation[];
  /** Figures that say more than a count of cases, a line each. Left out when there are none. */
  readonly notes?: readonly string[];
  /** The parts of the file that make up the group `unsupported`, by their names in it. Left out when there are none. */
  readonly unsupported?: readonly UnsupportedPart[];
}

export interface ConformReport {
  readonly files: readonly FileReport[];
}

/** Name of the group of everything that this version cannot run. */
const UNSUPPORTED = 'unsupported';

/** What became of one case. */
export type Verdict =
  | { readonly kind: 'agree' }
  | { readonly kind: 'documented'; readonly rule: string }
  | { readonly kind: 'disagree'; readonly expected: Json; readonly actual: Json };

/** Runs one case of a group through the library and judges it. May throw: that is a disagreement. */
export type CaseRunner = (fields: CaseFields) => Verdict;

export const AGREE: Verdict = { kind: 'agree' };

/** Takes in the verdicts of one file and makes its report. */
export class Tally {
  private readonly groups = new Map<string, { -readonly [F in keyof GroupReport]: GroupReport[F] }>();
  private readonly disagreements: Disagreement[] = [];
  private readonly deviations: Deviation[] = [];
  private readonly unsupported: UnsupportedPart[] = [];

  add(group: string, id: string, verdict: Verdict): void {
    const counts = this.group(group);
    counts.cases++;
    switch (verdict.kind) {
      case 'agree':
        counts.agree++;
        return;
      case 'documented':
        counts.documented++;
        this.deviations.push({ id, group, rule: verdict.rule });
        return;
      case 'disagree':
        counts.disagree++;
        this.disagreements.push({ id, group, expected: verdict.expected, actual: verdict.actual });
    }
  }

  /** Counts the cases of part `name` that cannot be run. */
  addUnsupported(name: string, cases: number): void {
    this.unsupported.push({ name, cases });
    const counts = this.group(UNSUPPORTED);
    counts.cases += cases;
    counts.disagree += cases;
  }

  /** Runs every entry of `cases`. Whatever a case throws is its disagreement: the others still run. */
  run(name: string, cases: readonly unknown[], runner: CaseRunner): void {
    this.group(name);
    cases.forEach((value, index) => {
      this.add(
        name,
        caseId(value, name, index),
        attempt(() => runCase(value, runner)),
      );
    });
  }

  report(file: string, format: string): FileReport {
    const { disagreements, deviations, unsupported } = this;
    const report = { file, format, groups: [...this.groups.values()], disagreements, deviations };
    return unsupported.length === 0 ? report : { ...report, unsupported };
  }

  private group(name: string) {
    let counts = this.groups.get(name);
    if (counts === undefined) {
      counts = { name, cases: 0, agree: 0, documented: 0, disagree: 0 };
      this.groups.set(name, counts);
    }
    return counts;
  }
}

function runCase(value: unknown, runner: CaseRunner): Verdict {
  const fields = openCase(value);
  const verdict = runner(fields);
  fields.done();
  return verdict;
}

/** What `run` says of one case; whatever it throws is a disagreement. */
export function attempt(run: () => Verdict): Verdict {
  try {
    return run();
  } catch (error) {
    return failed(error instanceof Error ? error.message : String(error));
  }
}

/** The verdict on a case that could not be run to its end. */
export function failed(message: string): Verdict {
  return { kind: 'disagree', expected: 'a case that runs', actual: message };
}

/** Equal, or a disagreement that holds only what differs. */
export function judge(
  expected: Readonly<Record<string, Json>>,
  actual: Readonly<Record<string, Json>>,
): Verdict {
  const left: Record<string, Json> = {};
  const right: Record<string, Json> = {};
  differ('', expected, actual, (path, one, other) => {
    left[path] = one;
    right[path] = other;
  });
  return Object.keys(left).length === 0 ? AGREE : { kind: 'disagree', expected: left, actual: right };
}

type Visit = (path: string, expected: Json, actual: Json) => void;

/** Longest text that is shown whole, in characters; of longer ones a piece from the first difference on. */
const SHOWN = 64;

function differ(path: string, expected: Json, actual: Json, visit: Visit): void {
  if (expected === actual) return;
  if (isList(expected) && isList(actual)) {
    differInList(path, expected, actual, visit);
  } else if (isRecord(expected) && isRecord(actual)) {
    for (const name of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
      const inner = path === '' ? name : `${path}.${name}`;
      differ(inner, expected[name] ?? null, actual[name] ?? null, visit);
    }
  } else if (typeof expected === 'string' && typeof actual === 'string') {
    differInText(path, expected, actual, visit);
  } else {
    visit(path, expected, actual);
  }
}

/** One difference tells what a person wants to know of two long lists: the first, and that the lengths differ. */
function differInList(path: string, expected: readonly Json[], actual: readonly Json[], visit: Visit): void {
  let found = false;
  const both = Math.max(expected.length, actual.length);
  for (let n = 0; n < both && !found; n++) {
    differ(`${path}[${n}]`, expected[n] ?? null, actual[n] ?? null, (...difference) => {
      found = true;
      visit(...difference);
    });
  }
  if (expected.length !== actual.length) visit(`${path}.length`, expected.length, actual.length);
}

function differInText(path: string, expected: string, actual: string, visit: Visit): void {
  if (Math.max(expected.length, actual.length) <= SHOWN) {
    visit(path, expected, actual);
    return;
  }
  let at = 0;
  while (at < expected.length && expected[at] === actual[at]) at++;
  at -= at % 2; // two hexadecimal digits are one byte
  const piece = (text: string): string => {
    const more = text.length > at + SHOWN;
    return `${at > 0 ? '...' : ''}${text.slice(at, at + SHOWN)}${more ? '...' : ''}`;
  };
  visit(at > 0 ? `${path} from character ${at}` : path, piece(expected), piece(actual));
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function isRecord(value: Json): value is { readonly [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Name of a file for a message: whole, because the end of a path says most. */
export function named(file: string): string {
  return JSON.stringify(file);
}

/** True when a case disagrees: the exit status of a run. */
export function hasDisagreement(report: ConformReport | FileReport): boolean {
  const files = 'files' in report ? report.files : [report];
  return files.some((file) => file.groups.some((group) => group.disagree > 0));
}
