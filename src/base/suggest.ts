/** `did you mean`: the known name that is nearest to a misspelt one. */

/** The candidate nearest to `name`, or undefined when none is near. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  const [nearest] = [...candidates]
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  const near = nearest !== undefined && nearest.distance <= Math.max(2, name.length / 2);
  return near ? nearest.candidate : undefined;
}

/** Smallest number of letters to insert, delete or replace to turn `from` into `to`. Case does not count. */
function editDistance(from: string, to: string): number {
  if (from.length > 3 * to.length) return from.length;
  const target = [...to.toLowerCase()];
  let row = [0, ...target.map((_, index) => index + 1)];
  for (const letter of from.toLowerCase()) {
    const next = [(row[0] ?? 0) + 1];
    target.forEach((other, index) => {
      const replace = (row[index] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replace, (row[index + 1] ?? 0) + 1, (next[index] ?? 0) + 1));
    });
    row = next;
  }
  return row.at(-1) ?? 0;
}
