/** Every reset makes a device that was used the same as one that was not. */
import type { ResetKind } from '../../device/types.js';
import { armInterrupts, type Bench, courseOf, differenceOf, performAll } from '../bench.js';
import { type Access, placesOf } from '../generator.js';
import { type Check, Failed, type Kit } from '../kit.js';
import { shown, where } from '../text.js';

const KINDS: readonly ResetKind[] = ['cold', 'warm', 'hot', 'flr', 'd3hot'];
/** Bytes at the start of each region that are read after the reset. */
const LOOK = 128;
/** Time in which something that the reset should have ended could still come. */
const AFTER_NS = 100_000;

export const resets: Check = {
  id: 'resets',
  title: 'resets leave nothing behind',
  async run(kit) {
    const accesses = kit.accesses(1);
    const ways: (() => Promise<Bench>)[] = [async () => kit.direct(), () => kit.best()];
    for (const kind of KINDS) for (const way of ways) await compare(kit, kind, accesses, way);
    return `${KINDS.join(', ')} after ${accesses.length} accesses each`;
  },
};

/** A reset of a device that did the accesses against one of a device that did not. */
async function compare(
  kit: Kit,
  kind: ResetKind,
  accesses: readonly Access[],
  make: () => Promise<Bench>,
): Promise<void> {
  const look = lookOf(kit, accesses);
  // The fresh one first: what the other one leaves outside of its state could reach it.
  const fresh = await make();
  const time = accesses.reduce((sum, access) => (access.op === 'run' ? sum + access.ns : sum), 0);
  fresh.run(time);
  fresh.reset(kind);
  checkReset(kit, fresh, kind);
  const expected = courseOf(fresh, look);
  const views = viewsOf(kit, fresh);

  const used = await make();
  armInterrupts(used);
  performAll(used, accesses);
  kit.needRunning(used);
  used.reset(kind);
  checkReset(kit, used, kind);
  const seen = courseOf(used, look);
  // Counters of a model go on over a reset.
  const difference =
    differenceOf(look, ['after use', { ...seen, stats: '' }], ['without', { ...expected, stats: '' }]) ??
    viewDifference(viewsOf(kit, used), views);
  if (difference !== undefined) throw new Failed(`${kind} reset (${used.way}): ${difference}`);
}

/** What is the same for every model: registers at their reset values unless the model sets others, MSI-X masked. */
function checkReset(kit: Kit, bench: Bench, kind: ResetKind): void {
  for (const bar of kit.device.bars) {
    if (bar === undefined || kit.device.definition.reset !== undefined) continue;
    for (const { name, offset, value, reset } of bench.instance.describeRegisters(bar.index)) {
      if (value !== reset)
        throw new Failed(
          `${kind} reset: ${name} (${where(bar.index, offset)}) is 0x${value.toString(16)}, not 0x${reset.toString(16)}`,
        );
    }
  }
  const { msix } = kit.device.capabilities;
  if (msix === undefined) return;
  for (let vector = 0; vector < msix.vectors; vector++) {
    const control = bench.read(msix.bar, msix.tableOffset + 16 * vector + 12, 4);
    if (typeof control !== 'string' && ((control[0] as number) & 1) === 1) continue;
    throw new Failed(
      `${kind} reset: Vector Control of MSI-X vector ${vector} is ${shown(control)}, not masked`,
    );
  }
}

/** Reads of what the accesses touched and of the start of each region, then time in which nothing may come. */
function lookOf(kit: Kit, accesses: readonly Access[]): Access[] {
  const look: Access[] = [];
  const seen = new Set<string>();
  const add = (bar: number, offset: number, length: number): void => {
    const key = `${bar} ${offset} ${length}`;
    if (seen.has(key)) return;
    seen.add(key);
    look.push({ op: 'read', bar, offset, length });
  };
  for (const { bar, region } of placesOf(kit.device)) {
    for (let at = 0; at + 4 <= Math.min(region.size, LOOK); at += 4) add(bar, region.offset + at, 4);
  }
  for (const access of accesses) {
    if (access.op === 'read') add(access.bar, access.offset, access.length);
    if (access.op === 'write') add(access.bar, access.offset, access.bytes.length);
  }
  const { msix } = kit.device.capabilities;
  if (msix !== undefined)
    for (let at = 0; at < msix.vectors; at += 64) add(msix.pbaBar, msix.pbaOffset + at / 8, 8);
  return [{ op: 'run', ns: AFTER_NS }, ...look];
}

function viewsOf(kit: Kit, bench: Bench): string[] {
  return kit.device.bars.flatMap((bar) =>
    bar === undefined
      ? []
      : bench.instance
          .describeRegisters(bar.index)
          .map(({ name, offset, value }) => `${name} (${where(bar.index, offset)}) 0x${value.toString(16)}`),
  );
}

function viewDifference(one: readonly string[], other: readonly string[]): string | undefined {
  const at = one.findIndex((view, n) => view !== other[n]);
  return at < 0 ? undefined : `${one[at]} after use, ${other[at]} without`;
}
