/** A device that was saved and loaded goes on as one that was not. */
import { ZtlpError } from '../../base/errors.js';
import type { SavedDevice } from '../../device/save.js';
import { armInterrupts, courseOf, differenceOf } from '../bench.js';
import type { DirectBench } from '../direct-bench.js';
import { type Check, exercise, Failed, NotApplicable } from '../kit.js';

export const saveLoad: Check = {
  id: 'save-load',
  title: 'saved and loaded, it goes on the same',
  async run(kit) {
    const before = kit.accesses(6);
    const after = kit.accesses(7);
    const untouched = kit.direct();
    armInterrupts(untouched);
    exercise(untouched, before);
    const saved = kit.direct();
    armInterrupts(saved);
    exercise(saved, before);
    kit.needRunning(saved);
    const state = saveOf(saved);
    // Into a device that has a past of its own: a load replaces everything.
    const loaded = kit.direct();
    exercise(loaded, kit.accesses(8, Math.min(kit.count, 50)));
    loaded.continueFrom(saved);
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
    if (difference !== undefined) throw new Failed(difference);
    return `${before.length} accesses, save, load, ${after.length} accesses`;
  },
};

function saveOf(bench: DirectBench): SavedDevice {
  try {
    return bench.instance.save();
  } catch (error) {
    if (!(error instanceof ZtlpError)) throw error;
    // What is in flight cannot be saved; that is known, and said to whoever saves.
    if (error.code === 'unsupported' && error.field === 'save') throw new NotApplicable(error.message);
    throw new Failed(error.message);
  }
}
