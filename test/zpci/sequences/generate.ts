/** Steps of a sequence, chosen with the state of the reference in view so that deep states are reached. */
import type { Reference, ReferenceFunction } from '../reference/machine.js';
import type { Instruction } from '../reference/types.js';
import type { Dice } from './dice.js';
import { loadOrStore, storeBlock } from './generate-access.js';
import { controls, steer } from './generate-control.js';
import { deviceRequest, message, refresh, tableStore } from './generate-dma.js';
import type { Choice } from './scene.js';

/** Where it can be had, mostly what lacks for `choice` to get far comes first. */
const needing =
  (what: 'translation' | 'interrupts', choice: Choice): Choice =>
  (scene) => {
    const { fn, dice } = scene;
    const lacks = fn[what] === undefined && fn.isControlled && fn.state === 'enabled';
    return lacks && !dice.once(4) ? steer(scene) : choice(scene);
  };

const firmware: Choice = (scene) => {
  const { fn, dice } = scene;
  const { slot } = fn;
  if (fn.state === 'reserved') return [{ kind: 'firmware', slot, state: 'disabled' }];
  if (fn.state === 'standby') return [{ kind: 'firmware', slot, state: 'reserved' }];
  if (!dice.once(2)) return [];
  return [{ kind: 'firmware', slot, state: 'permanent-error' }];
};

const pass: Choice = ({ dice }) => [{ kind: 'run', ns: dice.of([4e9, 1e9, 9e9, 0]) }];

const CHOICES: readonly (readonly [weight: number, choice: Choice])[] = [
  [8, loadOrStore('pcilg')],
  [8, loadOrStore('pcistg')],
  [8, storeBlock],
  [24, steer],
  [10, needing('translation', refresh)],
  [14, needing('translation', deviceRequest)],
  [12, needing('interrupts', message)],
  [18, controls],
  [9, needing('translation', tableStore)],
  [7, pass],
  [3, firmware],
];

/** The instructions of one step. Most of the steps of a sequence are about function `focus`, which so gets far. */
export function step(dice: Dice, machine: Reference, focus: number): readonly Instruction[] {
  const choice = dice.weighted(CHOICES);
  // Functions in states that are seldom and soon left get more than their share.
  const unusual = machine.functions.filter(({ state }) => state !== 'enabled');
  const main = machine.functions[focus % machine.functions.length] as ReferenceFunction;
  const fn = !dice.once(3) ? main : dice.of(unusual.length > 0 ? unusual : machine.functions);
  return choice({ dice, machine, fn });
}
