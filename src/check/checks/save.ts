/** A device that was saved and loaded goes on as one that was not. */
import { ZtlpError } from '../../base/errors.js';
import type { SavedDevice } from '../../device/save.js';
import { armInterrupts, type Bench, continueFrom, courseOf, differenceOf } from '../bench.js';
import { type Check, exercise, Failed, type Kit, NotApplicable } from '../kit.js';

export const saveLoad: Check = {
  id: 'save-load',
  title: 'saved and loaded, it goes on the same',
  async run(kit) {
    await compare(kit, async () => kit.direct());
    await compare(kit, () => kit.best());
    return `${kit.count} accesses, save, load, ${kit.count} accesses`;
  },
};

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
  kit.needRunning(saved);
  const state = saveOf(saved);
  // Into a device that has a past of its own: a load replaces everything.
  const loaded = await make();
  loaded.setMsix(true, false); // configuration space is the machine's to save
  exercise(loaded, kit.accesses(8, Math.min(kit.count, 50)));
  continueFrom(loaded, saved);
  try {
    loaded.instance.load(structuredClone(state));
  } catch (error) {
    if (error instanceof ZtlpError) throw new Failed(error.message);
    throw error;
  }
  const course = courseOf(untouched, after);
  const difference =
    differenceOf(after, ['after a load', courseOf(loaded, after)], ['without', course]) ??
    differenceOf(after, ['after a save', courseOf(saved, after)], ['without', course]);
  kit.needRunning(loaded);
  if (difference !== undefined) throw new Failed(`${difference} (${loaded.way})`);
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
