/** A device that was saved and loaded goes on as one that was not. */
import { ZtlpError } from '../../base/errors.js';
import type { SavedDevice } from '../../device/save.js';
import {
  armInterrupts,
  type Bench,
  type Course,
  continueFrom,
  courseOf,
  describe,
  differenceOf,
  performAll,
} from '../bench.js';
import type { DirectBench } from '../direct-bench.js';
import type { Access } from '../generator.js';
import { type Check, exercise, Failed, type Kit, NotApplicable } from '../kit.js';
import { looksOf, type Moments, momentsOf, untilRest } from '../moments.js';
import { plural } from '../text.js';

/** How far the clocks of the other machine are ahead. */
const AHEAD_NS = 1_000_000_000;

export const saveLoad: Check = {
  id: 'save-load',
  title: 'saved and loaded, it goes on the same',
  async run(kit) {
    await compare(kit, async () => kit.direct());
    await compare(kit, () => kit.best());
    const { saves, refused } = whileTimersAreSet(kit);
    const more = [
      saves === 0 ? '' : `; ${plural(saves, 'save')} while timers were set`,
      refused === 0 ? '' : `; save refused while timers were set, ${plural(refused, 'time')}`,
    ];
    return `${kit.count} accesses, save, load, ${kit.count} accesses${more.join('')}`;
  },
};

/** Saves while something is set for later, on every time scale, and loads where the clock stands elsewhere. */
function whileTimersAreSet(kit: Kit): { readonly saves: number; readonly refused: number } {
  const moments = momentsOf(kit, 10, 2);
  let refused = 0;
  for (const [n, end] of moments.ends.entries()) if (!goesOn(kit, moments, n, end)) refused++;
  return { saves: moments.ends.length - refused, refused };
}

/** Moment `n`, behind `end` accesses. False: the device refuses to be saved then, which it may. */
function goesOn(kit: Kit, { accesses, ends }: Moments, n: number, end: number): boolean {
  const isQuiet = n % 2 === 1;
  const make = (ns: number): DirectBench => {
    const bench = kit.direct();
    bench.run(ns);
    armInterrupts(bench);
    performAll(bench, accesses.slice(0, end));
    kit.needRunning(bench);
    if (isQuiet) bench.instance.quiesce();
    return bench;
  };
  const saved = make(0);
  let state: SavedDevice;
  try {
    state = saveOf(saved);
  } catch (error) {
    if (error instanceof NotApplicable) return false;
    throw error;
  }
  // The one that is left alone has lived by the other clock from the start, so that both tell the same time.
  const twin = make(AHEAD_NS);
  const loaded = kit.direct();
  loaded.setMsix(true, false);
  continueFrom(loaded, twin);
  const last = accesses.slice(0, end).findLast(({ op }) => op !== 'run') as Access;
  const waited = describe(accesses[end - 1] as Access);
  const when = `saved ${waited} after ${describe(last)}, ${isQuiet ? 'quiesced' : 'a timer set'}`;
  loadInto(loaded, state, ` (${when})`);
  for (const bench of [twin, loaded]) bench.timeEvents();
  // Half of the times nothing touches the device while it waits: an access could set going what the load forgot.
  const looks = looksOf(kit);
  const watched = watch(kit, twin, n % 4 < 2 ? [] : looks);
  watched.add([...looks, ...kit.accesses(11, 20)]);
  const course = courseOf(loaded, watched.accesses);
  kit.needRunning(loaded);
  const difference = differenceOf(watched.accesses, ['after a load', course], ['without', watched.course()]);
  if (difference !== undefined) throw new Failed(`${difference} (${when}; ${n + 1} of ${ends.length})`);
  return true;
}

/** Lets time pass on `bench` until nothing is set any more, with `looks` in between; more accesses can be added. */
function watch(kit: Kit, bench: Bench, looks: readonly Access[]) {
  const accesses: Access[] = [];
  const courses: Course[] = [];
  const add = (list: readonly Access[]): void => {
    accesses.push(...list);
    courses.push(courseOf(bench, list));
  };
  for (const ns of untilRest(kit, bench)) add([{ op: 'run', ns }, ...looks]);
  const course = (): Course => ({
    answers: courses.flatMap(({ answers }) => answers),
    events: courses.flatMap(({ events }) => events),
    stats: courses.at(-1)?.stats ?? '',
  });
  return { accesses, add, course };
}

/** One device that is saved, one that is loaded, and one that is left alone. */
async function compare(kit: Kit, make: () => Promise<Bench>): Promise<void> {
  const before = kit.accesses(6);
  const after = kit.accesses(7);
  const untouched = await make();
  armInterrupts(untouched);
  exercise(untouched, before);
  const saved = await make();
  armInterrupts(saved);
  exercise(saved, before);
  // Without callbacks it can be saved only when nothing is set: it gets the time for that.
  if (kit.device.definition.load === undefined)
    for (const bench of [untouched, saved])
      if (!bench.instance.idle) for (const ns of untilRest(kit, bench)) bench.run(ns);
  kit.needRunning(saved);
  const state = saveOf(saved);
  // Into a device that has a past of its own: a load replaces everything.
  const loaded = await make();
  loaded.setMsix(true, false); // configuration space is the machine's to save
  exercise(loaded, kit.accesses(8, Math.min(kit.count, 50)));
  continueFrom(loaded, saved);
  loadInto(loaded, state);
  const course = courseOf(untouched, after);
  const difference =
    differenceOf(after, ['after a load', courseOf(loaded, after)], ['without', course]) ??
    differenceOf(after, ['after a save', courseOf(saved, after)], ['without', course]);
  kit.needRunning(loaded);
  if (difference !== undefined) throw new Failed(`${difference} (${loaded.way})`);
}

function loadInto(bench: Bench, state: SavedDevice, when = ''): void {
  try {
    bench.instance.load(structuredClone(state));
  } catch (error) {
    if (error instanceof ZtlpError) throw new Failed(`${error.message}${when}`);
    throw error;
  }
}

function saveOf(bench: Bench): SavedDevice {
  try {
    return bench.instance.save();
  } catch (error) {
    if (!(error instanceof ZtlpError)) throw error;
    // What is in flight cannot be saved; that is known, and said to whoever saves.
    if (error.code === 'unsupported' && error.field === 'save') throw new NotApplicable(error.message);
    throw new Failed(error.message);
  }
}
