/** What the groups share: the 4 KiB that are moved, machines to move them to, and the copy they are set against. */
import {
  createMachine,
  type Machine,
  type MachineConfig,
  memoryDevice,
  type PciFunction,
} from '../src/index.js';
import { type Case, ensure, pattern } from './case.js';

export const PAGE = 4096;

/**
 * Where in its buffer the block starts. Buffers of this size begin at a page, and pages of BAR memory do too: half a page
 * apart, no load of a copy waits for a store because their addresses are alike in the low 12 bits. A block in a buffer of
 * its own starts anywhere, and the same copy takes up to half as long again from one run to the next.
 */
const BLOCK_AT = PAGE / 2;

export const BLOCK: Uint8Array = new Uint8Array(2 ** 20).subarray(BLOCK_AT, BLOCK_AT + PAGE);
BLOCK.set(pattern(PAGE));

/** A machine with one function of plain memory. */
export interface Bed {
  readonly machine: Machine;
  readonly fn: PciFunction;
  /** The first 4 KiB of BAR 0. */
  readonly page: Uint8Array;
}

type SlotOptions = NonNullable<NonNullable<MachineConfig['slots']>[number]['options']>;

export async function bedOf(platform: Machine['platform'], options: SlotOptions = {}): Promise<Bed> {
  const machine = await createMachine({ platform, slots: [{ device: memoryDevice(), options }] });
  const [fn] = machine.functions;
  if (fn === undefined) throw new Error('the machine has no function');
  machine.memory.write(0, BLOCK);
  return { machine, fn, page: fn.barMemory(0).subarray(0, PAGE) };
}

/** A zPCI function that takes any PCISTB of up to 4 KiB. */
export function blockBed(): Promise<Bed> {
  return bedOf('s390x', { zpciMode: 'native', maxstbl: PAGE, relaxed: true });
}

export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** A check that `run` puts the whole block into the page. */
export function fillsPage(page: Uint8Array, name: string, run: () => void): () => void {
  return () => {
    page.fill(0);
    run();
    ensure(isEqual(page, BLOCK), `${name} leaves other bytes in the page`);
  };
}

export const SET_NAME = 'Uint8Array.set of 4 KiB';

/** The baseline of everything that moves a block: one 4 KiB `Uint8Array.set` into the same page. */
export function setCase(page: Uint8Array): Case {
  const units = 500;
  const run = (): void => {
    for (let n = 0; n < units; n++) page.set(BLOCK);
  };
  return { name: SET_NAME, bytes: PAGE, units, run, check: fillsPage(page, SET_NAME, run) };
}
