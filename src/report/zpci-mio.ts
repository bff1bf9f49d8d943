/** The MIO forms of the zPCI instructions in a script: an address instead of handle, space and offset. */
import { invalid } from '../base/errors.js';
import { unknownName } from '../base/names.js';
import { hex64, type U64 } from '../core/u64.js';
import type { PciFunction } from '../machine/function.js';
import type { ZpciAnswer } from '../zpci/answer.js';
import {
  accessRule,
  answersOf,
  blockStoreRule,
  checkData,
  dataText,
  noteOf,
  patternBytes,
  registerOf,
  withRule,
} from './zpci-instructions.js';
import { bytes, number, type Operand, optional, parseU64, pattern, u64 } from './zpci-operands.js';
import { type Done, instruction, type Scene, type Verb } from './zpci-verbs.js';

/** An address: as a number, or where MIO finds a BAR. */
type AddressWord =
  | U64
  | { readonly name: string; readonly bar: number; readonly isWriteBack: boolean; readonly offset: U64 };

const BLOCK_BYTES = 8192;
const PLACE = /^([a-z][a-z0-9_-]*)\.bar([0-5])(wb)?(?:\+(.+))?$/i;

/** `0x10000000000000`, `nic.bar0+0x10`, or `nic.bar0wb+0x10` for write-back. */
const address: Operand<AddressWord> = {
  place: 'key',
  isRequired: true,
  parse(text, field, { functions }) {
    const [, named, bar, wb, offset = '0'] = PLACE.exec(text) ?? [];
    if (named === undefined) {
      if (/^\d/.test(text)) return parseU64(field, text);
      throw invalid(field, text, 'an address, or NAME.bar0+OFFSET');
    }
    const name = functions.find((one) => one.toLowerCase() === named.toLowerCase());
    if (name === undefined) throw unknownName(field, named, 'a function of the script', functions);
    return { name, bar: Number(bar), isWriteBack: wb !== undefined, offset: parseU64(field, offset) };
  },
};

function addressOf(scene: Scene, word: AddressWord): U64 {
  if (typeof word === 'number' || typeof word === 'bigint') return word;
  const { writeBack, writeThrough } = scene.named(word.name).mioAddresses(word.bar);
  return BigInt(word.isWriteBack ? writeBack : writeThrough) + BigInt(word.offset);
}

/** Which BAR an address reaches, for the rule that a refused access broke. */
function placeOf(scene: Scene, at: U64): { fn: PciFunction; as: number; offset: number } | undefined {
  for (const fn of scene.functions.values()) {
    for (const [as, bar] of fn.bars.entries()) {
      if (bar === undefined) continue;
      const { writeBack, writeThrough } = fn.mioAddresses(as);
      for (const base of [writeBack, writeThrough]) {
        const offset = BigInt(at) - BigInt(base);
        if (offset >= 0n && offset < BigInt(bar.size)) return { fn, as, offset: Number(offset) };
      }
    }
  }
  return undefined;
}

/** Why it was refused: the places that the forms with a handle do not have, then their rules. */
function noteFor(
  name: string,
  answer: ZpciAnswer,
  at: U64,
  rule: (place: NonNullable<ReturnType<typeof placeOf>>) => string | undefined,
  place: ReturnType<typeof placeOf>,
): string | undefined {
  const note = noteOf(name, answer);
  if (answer.programInterruption?.name === 'operation') return `${note}: the machine has no MIO`;
  if (answer.programInterruption?.name === 'addressing' && place === undefined)
    return `${note}: no BAR at ${hex64(at)}`;
  if (answer.cc === 3 && place !== undefined) return unavailable(place.fn);
  if (answer.cc === 1 && answer.status === 20 && place?.fn.takesMio === false)
    return 'status 20: the function has no MIO';
  return withRule(note, place && rule(place));
}

/** Why condition code 3: a VMM, no MIO for this guest, or the state. */
function unavailable({ options, mio, mioEnabled, state }: PciFunction): string {
  if (options.zpciMode !== 'native') return `a function in mode ${options.zpciMode} has no MIO`;
  if (mio !== undefined && !mioEnabled && state === 'enabled') return 'MIO is not enabled: CLP set oc=2';
  return `the function is ${state}`;
}

const WHERE = { addr: address, len: number(0xffff_ffff) } as const;
const R2 = { r2: optional(number(15)) } as const;

const pcilgi = instruction({
  name: 'PCILGI',
  operands: { ...WHERE, data: optional(bytes(8)), ...R2 },
  answers: ['data'],
  check: ({ data, len }) => checkData(data, len),
  run(scene, { addr, len: length, r2 = 2 }): Done {
    const at = addressOf(scene, addr);
    const answer = scene.machine.cpu.pcilgi({ address: at, length, r2 });
    const place = placeOf(scene, at);
    return {
      answers: { ...answersOf(answer), data: dataText(answer.data, length) },
      note: noteFor(
        'PCILG',
        answer,
        at,
        (on) => accessRule(answer, { ...on, bytes: length, r2 }, on.fn),
        place,
      ),
      fn: place?.fn,
    };
  },
});

const pcistgi = instruction({
  name: 'PCISTGI',
  operands: { ...WHERE, data: optional(bytes(8)), ...R2 },
  check: ({ data, len }) => checkData(data, len),
  run(scene, { addr, len: length, data, r2 = 2 }): Done {
    const at = addressOf(scene, addr);
    const answer = scene.machine.cpu.pcistgi({ address: at, length, data: registerOf(data), r2 });
    const place = placeOf(scene, at);
    return {
      answers: answersOf(answer),
      note: noteFor(
        'PCISTG',
        answer,
        at,
        (on) => accessRule(answer, { ...on, bytes: length, r2 }, on.fn),
        place,
      ),
      fn: place?.fn,
    };
  },
});

const pcistbi = instruction({
  name: 'PCISTBI',
  operands: {
    ...WHERE,
    src: optional(u64),
    data: optional(bytes(BLOCK_BYTES)),
    fill: optional(pattern),
  },
  check({ data, len, src, fill }) {
    checkData(data, len);
    if ([data, src, fill].filter((given) => given !== undefined).length > 1)
      throw invalid('PCISTBI', 'several sources', 'one of src=, data= and fill=');
  },
  run(scene, { addr, len: length, src, data, fill }): Done {
    const at = addressOf(scene, addr);
    // A length that no rule takes needs no bytes.
    const source = src ?? data ?? (length > BLOCK_BYTES ? 0 : patternBytes(fill ?? 'counting', length));
    const answer = scene.machine.cpu.pcistbi({ address: at, length, source });
    const place = placeOf(scene, at);
    const form = { bytes: length, src: src ?? 0 };
    return {
      answers: answersOf(answer),
      note: noteFor('PCISTB', answer, at, (on) => blockStoreRule(answer, { ...on, ...form }, on.fn), place),
      fn: place?.fn,
    };
  },
});

const pciwb = instruction({
  name: 'PCIWB',
  operands: {},
  run(scene): Done {
    const answer = scene.machine.cpu.pciwb();
    return { answers: answersOf(answer), note: noteOf('PCIWB', answer) };
  },
});

export const MIO_FORMS: readonly Verb[] = [pcilgi, pcistgi, pcistbi, pciwb];
