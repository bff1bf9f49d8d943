/** The zPCI instructions of a script that control functions: MPCIFC, STPCIFC, SIC, CLP, SCLP. */
import { invalid, ZtlpError } from '../base/errors.js';
import { hex64, type U64 } from '../core/u64.js';
import type { PciFunction } from '../machine/function.js';
import type { ZpciAnswer } from '../zpci/answer.js';
import { MPCIFC_OC } from '../zpci/controls.js';
import { decodeFib, encodeFib, FIB_BYTES, type FibInput } from '../zpci/fib.js';
import {
  type ClpRequest,
  clpFields,
  clpResponse,
  encodeClpRequest,
  fibFields,
  responseText,
} from './zpci-blocks.js';
import { answersOf, noteOf } from './zpci-instructions.js';
import { flag, functionName, handle, number, optional, parseU64, u64 } from './zpci-operands.js';
import { type Done, instruction, type Scene, type Verb, verb } from './zpci-verbs.js';

/** First DMA address of QEMU's default group, and the last that a region-third table reaches (zpci.md 4.4, 5.4). */
const PBA = 0x1_0000_0000n;
const PAL = 0x3ff_ffff_ffffn;

const FIELDS = {
  pba: optional(u64),
  pal: optional(u64),
  iota: optional(u64),
  isc: optional(number(7)),
  noi: optional(number(0xfff)),
  aibv: optional(u64),
  aibvo: optional(number(63)),
  aisb: optional(u64),
  aisbo: optional(number(63)),
  sum: optional(number(1)),
  fmb: optional(u64),
} as const;
const FIELD_NAMES = Object.keys(FIELDS);

const mpcifc = instruction({
  name: 'MPCIFC',
  operands: {
    fh: handle,
    dmaas: optional(number(0xff)),
    oc: number(0xff),
    fib: optional(u64),
    ...FIELDS,
    problem: flag,
  },
  check(values) {
    const given = FIELD_NAMES.find((name) => values[name as keyof typeof values] !== undefined);
    if (values.fib !== undefined && given !== undefined)
      throw invalid('MPCIFC', `fib= and ${given}=`, 'the address of a block, or its fields');
  },
  run(scene, { fh: word, dmaas = 0, oc, fib: given, problem: problemState = false, ...fields }) {
    const fh = scene.handle(word);
    const fn = scene.byHandle(fh);
    const fib = given ?? scene.scratch;
    const block = given === undefined ? blockOf(scene, fn, oc, fields) : undefined;
    if (block !== undefined) scene.machine.memory.write(fib, encodeFib(block));
    const answer = scene.machine.cpu.mpcifc({ fh, dmaas, oc, fib, problemState });
    const { iota = 0, pba = 0, pal = 0 } = block ?? {};
    // Said where nobody wrote it.
    const isOwn = fields.iota === undefined && iota !== 0;
    const lines = isOwn && answer.cc === 0 ? [`iota ${hex64(iota)}, ${hex64(pba)} to ${hex64(pal)}`] : [];
    return { answers: answersOf(answer), note: mpcifcNote(answer, oc, fib, block), lines, fn };
  },
});

/** Why MPCIFC refuses a block, as far as one look tells (zpci.md 5.4, 6.1). */
function blockRule(oc: number, { format, pba = 0, pal = 0, iota = 0 }: FibInput): string | undefined {
  if (!Object.values<number>(MPCIFC_OC).includes(oc)) return `there is no operation ${oc}`;
  if (oc >= MPCIFC_OC.REGISTER_DIRECTED) return 'directed interrupts are not built';
  if (format !== undefined && format !== 0) return `format ${format} is for directed interrupts`;
  if (BigInt(pba) > BigInt(pal)) return `pba ${hex64(pba)} is behind pal ${hex64(pal)}`;
  if (BigInt(pba) < BigInt(PBA)) return `pba ${hex64(pba)} is below SDMA, ${hex64(PBA)}`;
  return `iota ${hex64(iota)} has a form that the group does not take, or pal is above EDMA`;
}

/** A specification exception of these two has one reason only. */
function withBlock(note: string | undefined, answer: ZpciAnswer, fib: U64): string | undefined {
  if (answer.programInterruption?.name !== 'specification') return note;
  return `${note}: block address ${hex64(fib)} is not a multiple of 8`;
}

function mpcifcNote(
  answer: ZpciAnswer,
  oc: number,
  fib: U64,
  block: FibInput | undefined,
): string | undefined {
  const note = withBlock(noteOf('MPCIFC', answer), answer, fib);
  if (answer.programInterruption?.name !== 'operand' || block === undefined) return note;
  return `${note}: ${blockRule(oc, block)}`;
}

type Fields = { readonly [K in keyof FibInput]?: FibInput[K] | undefined };

/** Registering a translation without saying which takes the tables of the function and all that they reach. */
function blockOf(
  scene: Scene,
  fn: PciFunction | undefined,
  oc: number,
  { sum, ...fields }: Omit<Fields, 'sum'> & { readonly sum?: number | undefined },
): FibInput {
  const isTranslation = oc === MPCIFC_OC.REGISTER_IOAT || oc === MPCIFC_OC.REREGISTER_IOAT;
  const iota = isTranslation && fn !== undefined ? (fields.iota ?? scene.tables(fn).iota) : fields.iota;
  const range = isTranslation ? { pba: PBA, pal: PAL } : {};
  const own = Object.entries({ ...fields, iota }).filter(([, value]) => value !== undefined);
  return { ...range, ...Object.fromEntries(own), sum: sum === 1 };
}

const stpcifc = instruction({
  name: 'STPCIFC',
  operands: { fh: handle, dmaas: optional(number(0xff)), fib: optional(u64), problem: flag },
  answers: ['fc'],
  run(scene, { fh: word, dmaas = 0, fib = scene.scratch, problem: problemState = false }) {
    const fh = scene.handle(word);
    const answer = scene.machine.cpu.stpcifc({ fh, dmaas, fib, problemState });
    const fn = scene.byHandle(fh);
    const stored = answer.cc === 0 ? decodeFib(scene.machine.memory.read(fib, FIB_BYTES)) : undefined;
    const lines = answer.setsEnableBit ? ['the request register now holds the enabled handle'] : [];
    const told = {
      answers: answersOf(answer),
      note: withBlock(noteOf('STPCIFC', answer), answer, fib),
      lines,
      fn,
    };
    if (stored === undefined) return told;
    return { ...told, answers: { ...told.answers, fc: hex64(stored.fc) }, fields: fibFields(stored) };
  },
});

const sic = instruction({
  name: 'SIC',
  operands: { oc: number(0xffff), isc: number(7), problem: flag },
  run(scene, { oc: operation, isc, problem: problemState = false }) {
    const answer = scene.machine.cpu.sic({ operation, isc, problemState });
    // A recorded line holds the condition code of the instruction before it.
    const note = noteOf('SIC', answer);
    const isUnknown = answer.programInterruption?.name === 'operand';
    return {
      answers: answersOf(answer),
      note: isUnknown ? `${note}: operations are 0, all interrupts, and 1, single` : note,
      unchecked: ['cc'],
    };
  },
});

function runClp(scene: Scene, request: ClpRequest, problemState = false): Done {
  const block = encodeClpRequest(request);
  const { machine, scratch } = scene;
  machine.memory.write(scratch, block);
  const fn = 'fh' in request ? scene.byHandle(request.fh) : undefined;
  const answer = machine.cpu.clp({ address: scratch, problemState });
  if (answer.cc === null) return { answers: answersOf(answer), note: noteOf('CLP', answer), fn };
  const after = machine.memory.read(scratch, block.length);
  const response = clpResponse(after);
  const failure = responseText('clp', response);
  const fields = failure === undefined ? clpFields(request.command, after) : [];
  return { answers: { ...answersOf(answer), response }, note: failure, fields, fn };
}

const clpList = instruction({
  name: 'CLP list',
  operands: { problem: flag },
  answers: ['response'],
  run: (scene, { problem }) => runClp(scene, { command: 'list' }, problem),
});

const clpQuery = instruction({
  name: 'CLP query',
  operands: { fh: handle, problem: flag },
  answers: ['response'],
  run: (scene, { fh, problem }) => runClp(scene, { command: 'query', fh: scene.handle(fh) }, problem),
});

const clpGroup = instruction({
  name: 'CLP group',
  operands: { id: number(0xff), problem: flag },
  answers: ['response'],
  run: (scene, { id, problem }) => runClp(scene, { command: 'group', id }, problem),
});

const clpSet = instruction({
  name: 'CLP set',
  operands: { fh: handle, oc: number(0xff), ndas: optional(number(0xff)), problem: flag },
  answers: ['response'],
  run(scene, { fh, oc, ndas = oc === 0 ? 1 : 0, problem }) {
    return runClp(scene, { command: 'set', fh: scene.handle(fh), oc, ndas }, problem);
  },
});

const clp = instruction({
  name: 'CLP',
  operands: { block: optional(u64), problem: flag },
  answers: ['response'],
  run(scene, { block: address, problem: problemState = false }) {
    if (address === undefined)
      return { answers: {}, unchecked: ['cc'], lines: ['not run: a log does not hold the block'] };
    const answer = scene.machine.cpu.clp({ address, problemState });
    if (answer.cc === null) return { answers: answersOf(answer), note: noteOf('CLP', answer) };
    const request = new DataView(scene.machine.memory.read(address, 2).buffer).getUint16(0);
    const at = BigInt(address) + BigInt(request) + 2n;
    const response = new DataView(scene.machine.memory.read(at, 2).buffer).getUint16(0);
    const code = response.toString(16).padStart(4, '0');
    return { answers: { ...answersOf(answer), response: code }, note: responseText('clp', code) };
  },
});

/** A function ID, or the function whose ID is meant. */
const fid: typeof functionName = {
  ...functionName,
  place: 'key',
  parse: (text, field, known) =>
    /^\d/.test(text)
      ? hex64(parseU64(field, text, 0n, 0xffff_ffffn))
      : functionName.parse(text, field, known),
};

function sclp(command: 'configure' | 'deconfigure'): Verb {
  return verb({
    name: `SCLP ${command}`,
    kind: 'instruction',
    operands: { fid },
    answers: ['response'],
    run(scene, { fid: given }) {
      const fn = given.startsWith('0x')
        ? [...scene.functions.values()].find((one) => one.fid === Number(given))
        : scene.named(given);
      const response = scene.machine.cpu
        .sclp(command, fn?.fid ?? Number(given))
        .toString(16)
        .padStart(4, '0');
      return { answers: { response }, note: responseText('sclp', response), fn };
    },
  });
}

/** What `state` prints of the registrations of a function; an instruction that counts nothing. */
export function registrations(scene: Scene, fn: PciFunction): Done['fields'] {
  const { machine, scratch: fib } = scene;
  const { cc } = machine.cpu.stpcifc({ fh: fn.handle, fib });
  if (cc === null) throw new ZtlpError('resource', 'STPCIFC found no memory for its block');
  return cc === 0 ? fibFields(decodeFib(machine.memory.read(fib, FIB_BYTES))) : [];
}

export const CONTROLS: readonly Verb[] = [
  mpcifc,
  stpcifc,
  sic,
  clp,
  clpList,
  clpQuery,
  clpGroup,
  clpSet,
  sclp('configure'),
  sclp('deconfigure'),
];
