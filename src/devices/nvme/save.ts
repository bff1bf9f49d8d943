/** The controller as plain data that JSON can hold: times as what is left of them, addresses in hexadecimal. */
import { invalid } from '../../base/errors.js';
import {
  type CompletionQueue,
  type Event,
  freshState,
  type Nvme,
  type SubmissionQueue,
} from './controller.js';
import { loadLasting, saveLasting } from './store.js';

type SavedQueue<Q extends { readonly base: bigint }> = Omit<Q, 'base'> & { readonly base: string };

/** What a save fits: the rest of the options may differ. */
const GEOMETRY = ['blocks', 'lbaBytes', 'queues', 'vectors'] as const;

interface SavedNvme {
  readonly geometry: Readonly<Record<(typeof GEOMETRY)[number], number>>;
  readonly epoch: number;
  readonly running: boolean;
  readonly shutdown: 'none' | 'asked' | 'done';
  readonly pageBytes: number;
  readonly submission: readonly SavedQueue<Omit<SubmissionQueue, 'deletion'>>[];
  readonly completion: readonly SavedQueue<CompletionQueue>[];
  readonly commands: readonly {
    readonly sqid: number;
    readonly cid: number;
    readonly entry: readonly number[];
    readonly waitNs: number;
  }[];
  readonly turn: number;
  readonly features: readonly (readonly [key: number, value: number])[];
  readonly events: { readonly asked: number[]; readonly pending: Event[]; readonly masked: number[] };
  readonly coalesced: readonly { readonly vector: number; readonly count: number; readonly waitNs: number }[];
  readonly pauseNs: number;
  readonly isHeld: boolean;
  readonly lasting: unknown;
}

/** Nothing is active and no queue is being fetched: an instance with DMA under way is not saved. */
export function save({ ctx, setup, lasting }: Nvme): SavedNvme {
  const { state } = ctx;
  const now = state.heldNs ?? ctx.time.ns;
  const { blocks, lbaBytes, queues, vectors } = setup;
  return {
    geometry: { blocks, lbaBytes, queues, vectors },
    epoch: state.epoch,
    running: state.running,
    shutdown: state.shutdown,
    pageBytes: state.pageBytes,
    submission: [...state.submission.values()].map(({ deletion: _, ...queue }) => withText(queue)),
    completion: [...state.completion.values()].map(withText),
    commands: state.commands.map(({ sqid, cid, entry, readyNs }) => {
      return { sqid, cid, entry: [...entry], waitNs: readyNs - now };
    }),
    turn: state.turn,
    features: [...state.features],
    events: state.events,
    coalesced: [...state.coalesced].map(([vector, { count, dueNs }]) => {
      return { vector, count, waitNs: dueNs - now };
    }),
    pauseNs: Math.max(0, state.pauseNs - now),
    isHeld: state.heldNs !== undefined,
    lasting: saveLasting(lasting),
  };
}

/** Takes what `save` gave, and goes on. Throws for what no `save` of such a controller gave. */
export function load(nvme: Nvme, given: unknown): void {
  const { ctx, setup, wake } = nvme;
  const saved = given as SavedNvme;
  for (const key of GEOMETRY)
    if (saved.geometry[key] !== setup[key])
      throw invalid(`save.state.${key}`, saved.geometry[key], String(setup[key]), 'unsupported');
  nvme.lasting = loadLasting(setup, saved.lasting);
  const { ns } = ctx.time;
  Object.assign(ctx.state, freshState(), {
    epoch: saved.epoch,
    running: saved.running,
    shutdown: saved.shutdown,
    pageBytes: saved.pageBytes,
    submission: new Map(
      saved.submission.map((queue) => [queue.id, { ...withNumber(queue), deletion: undefined }]),
    ),
    completion: new Map(saved.completion.map((queue) => [queue.id, withNumber(queue)])),
    commands: saved.commands.map(({ sqid, cid, entry, waitNs }) => {
      return { sqid, cid, entry: Uint8Array.from(entry), readyNs: ns + waitNs };
    }),
    turn: saved.turn,
    features: new Map(saved.features),
    events: saved.events,
    coalesced: new Map(
      saved.coalesced.map(({ vector, count, waitNs }) => [vector, { count, dueNs: ns + waitNs }]),
    ),
    pauseNs: ns + saved.pauseNs,
    heldNs: saved.isHeld ? ns : undefined,
  });
  wake();
}

function withText<Q extends { readonly base: bigint }>(queue: Q): SavedQueue<Q> {
  return { ...queue, base: `0x${queue.base.toString(16)}` };
}

function withNumber<Q extends { readonly base: string }>(queue: Q): Omit<Q, 'base'> & { base: bigint } {
  return { ...queue, base: BigInt(queue.base) };
}
