/** What a benchmark is: one large unit of work, the baseline it is set against and the C loop that does the same. */

/** Loops of bench/native: `form` copies the payload too, `headers` forms header and descriptor alone. */
export type NativeName = 'form' | 'headers' | 'crc' | 'copy' | 'walk';

export interface NativeLoop {
  readonly loop: NativeName;
  /** Run-time length: payload of one TLP, message, or block; of `walk` the pages that are mapped. */
  readonly bytes: number;
  /** CRC-32 of what the loop has to produce: the same bytes as the case beside it; of `walk` a sum over what it found. */
  readonly check: number;
}

/** At most `limit` times the time of the baseline, or at least `limit` times the speed of the C loop. */
export interface Goal {
  readonly of: 'baseline' | 'C';
  readonly limit: number;
}

export interface Case {
  /** Unique within its group. */
  readonly name: string;
  /** Bytes that one unit moves; 0 when it moves none. */
  readonly bytes: number;
  /** Units that one call of `run` does: the time is divided by it. */
  readonly units: number;
  readonly run: () => void;
  /** Throws when `run` did not do what its name says; called once before anything is measured. */
  readonly check?: () => void;
  /** Name of the case in the same group that ratios are taken against. Default: the group's. */
  readonly baseline?: string;
  readonly native?: NativeLoop;
  readonly goal?: Goal;
}

export interface Group {
  readonly title: string;
  /** What one unit is. */
  readonly unit: string;
  /** Name of the case that ratios are taken against. */
  readonly baseline: string;
  readonly cases: readonly Case[];
}

/** The name of a case in results: unique among all groups. */
export function fullName(group: Group, name: string): string {
  return `${group.title}: ${name}`;
}

/** The name of the C loop beside a case. */
export function nativeName(name: string): string {
  return `${name} (C)`;
}

export function baselineOf(group: Group, one: Case): string {
  return one.baseline ?? group.baseline;
}

/** Throws an ordinary error: a benchmark that does the wrong work is a mistake in the benchmark. */
export function ensure(holds: boolean, what: string): void {
  if (!holds) throw new Error(`benchmark check failed: ${what}`);
}

/** Bytes that differ from their neighbours; the C loops make the same. */
export function pattern(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, n) => n * 7 + (n >> 8) * 13 + 1);
}

/**
 * The groups with the cases whose full name holds `text`, without regard to case, and the baselines that their ratios
 * need. Groups without such a case are left out.
 */
export function chooseCases(groups: readonly Group[], text: string): Group[] {
  const wanted = text.toLowerCase();
  return groups.flatMap((group) => {
    const chosen = group.cases.filter(({ name }) => fullName(group, name).toLowerCase().includes(wanted));
    if (chosen.length === 0) return [];
    const needed = new Set(chosen.flatMap((one) => [one.name, baselineOf(group, one)]));
    return [{ ...group, cases: group.cases.filter(({ name }) => needed.has(name)) }];
  });
}
