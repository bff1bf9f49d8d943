/** All commands of a zPCI script by name. A new instruction is one entry of one of these lists. */
import { COMMANDS } from './zpci-commands.js';
import { CONTROLS } from './zpci-controls.js';
import { LOADS_AND_STORES } from './zpci-instructions.js';
import { MIO_FORMS } from './zpci-mio.js';
import { SETUP } from './zpci-setup.js';
import type { Verb } from './zpci-verbs.js';

/** By name in capitals. */
export const VERBS: ReadonlyMap<string, Verb> = new Map(
  [...SETUP, ...LOADS_AND_STORES, ...MIO_FORMS, ...CONTROLS, ...COMMANDS].map((verb) => [
    verb.name.toUpperCase(),
    verb,
  ]),
);
