/** Runs `zpci-vectors/1`: PCI instructions of a guest, DMA through its tables, and interrupts, on a machine. */
import { ZtlpError } from '../base/errors.js';
import { hex64, type U64 } from '../core/u64.js';
import type { ZpciAnswer } from '../zpci/answer.js';
import { type CaseFields, toHex } from './case.js';
import { type Json, judge, type Verdict } from './report.js';
import { blockOf, CLP_AT, FIB_AT, FILL, FRAMES, Guest } from './zpci-guest.js';

type Fields = Record<string, Json>;

/** What a case expects and what came out, field by field. */
interface Outcome {
  readonly expected: Fields;
  readonly actual: Fields;
}

/** The writer of the `rng0` device: its registers, and a start from which 227 bytes go by without the fill byte. */
const WRITER = {
  bar: 4,
  at: 0x3000,
  address: 0,
  length: 8,
  notify: 12,
  ring: 16,
  vector: 24,
  status: 28,
  count: 32,
};
const POSITION = 36;
const START = 29;

export function runZpci(fields: CaseFields): Verdict {
  fields.skip('group', 'basisNote', 'region');
  const basis = fields.text('basis');
  const operands = fields.object('operands');
  const device = fields.object('device');
  const state = fields.object('state');
  const wanted = fields.object('expect');
  const instruction = fields.text('instruction');
  const runner = RUNNERS[instruction];
  if (runner === undefined)
    throw new ZtlpError('unsupported', `instruction ${JSON.stringify(instruction)} is not known`);
  const handle = operands.has('fh') ? operands.u64('fh') : device.u64('fhEnabled');
  const guest = new Guest(basis === 'qemu-specific', Number(device.u64('fhEnabled')) & 1);
  guest.setUp(state);
  const { expected, actual } = runner({ guest, fh: Number(handle), operands, state, wanted });
  // What a register of the observed device held is not part of a case that does not set it.
  const unknown = instruction === 'PCILG' && wanted.has('data') && !state.has('memoryBefore');
  if (unknown && operands.integer('as') < 6 && expected.data !== actual.data) {
    const others = judge({ ...expected, data: null }, { ...actual, data: null });
    if (others.kind === 'agree')
      return { kind: 'documented', rule: 'the content of the observed register is not in the case' };
  }
  return judge(expected, actual);
}

interface Run {
  readonly guest: Guest;
  readonly fh: number;
  readonly operands: CaseFields;
  readonly state: CaseFields;
  readonly wanted: CaseFields;
}

const RUNNERS: Readonly<Record<string, (run: Run) => Outcome>> = {
  PCILG: runLoad,
  PCISTG: runStore,
  PCISTB: runStoreBlock,
  RPCIT: runRefresh,
  MPCIFC: runModify,
  STPCIFC: runStoreControls,
  CLP: runCall,
  'DMA-WRITE': runTransfer,
  MSI: runMessage,
};

/** Condition code, status and interruption of an instruction. */
function answered(wanted: CaseFields, answer: ZpciAnswer): Outcome {
  const text = wanted.has('programInterruption') ? wanted.object('programInterruption') : undefined;
  const { programInterruption } = answer;
  return {
    expected: {
      cc: wanted.has('cc') ? wanted.integer('cc') : null,
      status: wanted.has('status') ? wanted.integer('status') : null,
      programInterruption: text === undefined ? null : [text.integer('code'), text.integer('ilc')],
    },
    actual: {
      cc: answer.cc,
      status: wanted.has('status') ? answer.status : null,
      programInterruption: programInterruption && [programInterruption.code, programInterruption.ilc],
    },
  };
}

function also(outcome: Outcome, name: string, expected: Json, actual: Json): Outcome {
  return {
    expected: { ...outcome.expected, [name]: expected },
    actual: { ...outcome.actual, [name]: actual },
  };
}

/** Bytes of a space of the function; `window` says where. */
function peek(guest: Guest, window: CaseFields): string {
  const { as, at, bytes } = placeOf(window);
  if (as === 15) return toHex(guest.fn.config.save().subarray(at, at + bytes.length));
  const seen = guest.fn.instance?.read(as, at, bytes.length);
  return seen instanceof Uint8Array ? toHex(seen) : String(seen);
}

function poke(guest: Guest, window: CaseFields): void {
  const { as, at, bytes } = placeOf(window);
  if (as === 15) {
    bytes.forEach((byte, n) => {
      guest.fn.config.poke(at + n, byte, 1);
    });
  } else guest.fn.instance?.write(as, at, bytes);
}

function placeOf(window: CaseFields): { as: number; at: number; bytes: Uint8Array } {
  return { as: window.integer('as'), at: Number(window.u64('offset')), bytes: window.bytes('hex') };
}

function withMemory(outcome: Outcome, { guest, wanted }: Run): Outcome {
  if (!wanted.has('memoryAfter')) return outcome;
  const window = wanted.object('memoryAfter');
  return also(outcome, 'memoryAfter', toHex(window.bytes('hex')), peek(guest, window));
}

function common({ guest, fh, operands, state }: Run) {
  if (state.has('memoryBefore')) poke(guest, state.object('memoryBefore'));
  return {
    fh,
    as: operands.integer('as'),
    offset: operands.u64('offset'),
    length: operands.integer('len'),
    problemState: operands.boolean('problemState'),
  };
}

function runLoad(run: Run): Outcome {
  const { guest, operands, wanted } = run;
  const answer = guest.machine.cpu.pcilg({ ...common(run), r2: operands.integer('r2') });
  const data = answer.data === undefined ? null : hex64(answer.data);
  return also(answered(wanted, answer), 'data', wanted.has('data') ? hex64(wanted.u64('data')) : null, data);
}

function runStore(run: Run): Outcome {
  const { guest, operands, wanted } = run;
  const input = { ...common(run), r2: operands.integer('r2'), data: operands.u64('data') };
  return withMemory(answered(wanted, guest.machine.cpu.pcistg(input)), run);
}

function runStoreBlock(run: Run): Outcome {
  const { guest, operands, wanted } = run;
  const input = common(run);
  const source = operands.u64('sourceAddress');
  const bytes = operands.bytes('sourceHex');
  const { memory, cpu } = guest.machine;
  const room = Number(BigInt(memory.size) - BigInt(source));
  if (room > 0) memory.write(source, bytes.subarray(0, room));
  return withMemory(answered(wanted, cpu.pcistb({ ...input, source })), run);
}

/** The block that STPCIFC stores for the function now; null when it stores none. */
function fibNow(guest: Guest, fh = guest.fn.handle): Json {
  const { cc } = guest.machine.cpu.stpcifc({ fh, fib: FIB_AT });
  return cc === 0 ? toHex(guest.machine.memory.read(FIB_AT, 80)) : null;
}

function withFib(outcome: Outcome, { guest, wanted }: Run): Outcome {
  if (!wanted.has('fibAfter')) return outcome;
  return also(outcome, 'fibAfter', toHex(blockOf(wanted.object('fibAfter'))), fibNow(guest));
}

function runRefresh(run: Run): Outcome {
  const { guest, fh, operands, wanted } = run;
  const answer = guest.machine.cpu.rpcit({
    fh,
    start: operands.u64('start'),
    length: operands.u64('length'),
    r2: operands.has('r2') ? operands.integer('r2') : 2,
    problemState: operands.has('problemState') && operands.boolean('problemState'),
  });
  return withFib(answered(wanted, answer), run);
}

function runModify(run: Run): Outcome {
  const { guest, fh, operands, wanted } = run;
  const fib = operands.u64('fibAddress');
  store(guest, fib, blockOf(operands.object('fib')));
  const answer = guest.machine.cpu.mpcifc({
    fh,
    oc: operands.integer('oc'),
    dmaas: operands.integer('dmaas'),
    fib,
    problemState: operands.boolean('problemState'),
  });
  const after = withFib(answered(wanted, answer), run);
  if (!wanted.has('stpcifcAfterCc')) return after;
  // Stored by the enabled handle, whether or not the function still has it.
  const enabled = guest.fn.handle % 2 ** 31;
  const { cc } = guest.machine.cpu.stpcifc({ fh: enabled + 2 ** 31, fib: FIB_AT });
  return also(after, 'stpcifcAfterCc', wanted.integer('stpcifcAfterCc'), cc);
}

function runStoreControls({ guest, fh, operands, wanted }: Run): Outcome {
  const fib = operands.u64('fibAddress');
  if (operands.has('memoryBefore')) store(guest, fib, filled(operands.text('memoryBefore')));
  const answer = guest.machine.cpu.stpcifc({
    fh,
    dmaas: operands.integer('dmaas'),
    fib,
    problemState: operands.boolean('problemState'),
  });
  const outcome = answered(wanted, answer);
  if (!wanted.has('storedBytes')) return outcome;
  const stored = toHex(guest.machine.memory.read(fib, 80));
  return also(outcome, 'storedBytes', wanted.text('storedBytes').toLowerCase(), stored);
}

/** 80 bytes as a case says it: `0xee in every byte`. */
function filled(words: string): Uint8Array {
  const byte = /^0x([0-9a-f]{2}) in every byte$/i.exec(words)?.[1];
  if (byte === undefined)
    throw new ZtlpError('unsupported', `memoryBefore ${JSON.stringify(words)} is not known`);
  return new Uint8Array(80).fill(Number.parseInt(byte, 16));
}

/** Into guest memory, as far as there is any. */
function store(guest: Guest, address: U64, bytes: Uint8Array): void {
  const { memory } = guest.machine;
  const room = Number(BigInt(memory.size) - BigInt(address));
  if (room > 0) memory.write(address, bytes.subarray(0, room));
}

function runCall({ guest, operands, wanted }: Run): Outcome {
  const { memory, cpu } = guest.machine;
  const request = operands.bytes('requestHex');
  const length = request.length < 2 ? 0 : new DataView(request.buffer).getUint16(0);
  const field = new Uint8Array(2);
  new DataView(field.buffer).setUint16(0, operands.integer('responseLengthField'));
  memory.write(CLP_AT, new Uint8Array(8192));
  memory.write(CLP_AT, request);
  memory.write(CLP_AT + (length % 8 === 0 && length < 64 ? length : 32), field);
  const answer = cpu.clp({ address: CLP_AT, problemState: operands.boolean('problemState') });
  let outcome = answered(wanted, answer);
  if (answer.cc === null || !wanted.has('response')) return outcome;
  const response = memory.read(CLP_AT + length, wanted.bytes('response').length);
  const view = new DataView(memory.read(CLP_AT + length, 4).buffer);
  outcome = also(outcome, 'response', toHex(wanted.bytes('response')), toHex(response));
  outcome = also(outcome, 'responseCode', Number(wanted.u64('responseCode')), view.getUint16(2));
  return also(outcome, 'responseLength', wanted.integer('responseLength'), view.getUint16(0));
}

/** Lets the writer of the device write `length` bytes to `iova`; then how that ended. */
function transfer({ guest, operands, wanted }: Run, vector: number): Outcome {
  const { fn, machine } = guest;
  const put = (offset: number, value: U64, width: number): void => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
    fn.instance?.write(WRITER.bar, WRITER.at + offset, bytes.subarray(0, width));
  };
  const get = (offset: number): number => {
    const bytes = fn.instance?.read(WRITER.bar, WRITER.at + offset, 4);
    return bytes instanceof Uint8Array ? new DataView(bytes.slice().buffer).getUint32(0, true) : -1;
  };
  const iova = operands.u64('iova');
  put(POSITION, START, 4);
  put(WRITER.address, iova, 8);
  put(WRITER.length, operands.integer('length'), 4);
  // It looks for completion where the base of the range is mapped, in every case that lets it complete.
  put(WRITER.ring, 0x1_0000_0000n, 8);
  put(WRITER.vector, vector, 2);
  put(WRITER.notify, 1, 4);
  machine.config.read(fn.id, 0, 4); // any access ends with what the device has set going
  const expected = {
    deviceCompleted: wanted.boolean('deviceCompleted'),
    bytesWritten: wanted.integer('bytesWritten'),
  };
  const actual = { deviceCompleted: get(WRITER.status) === 1, bytesWritten: get(WRITER.count) };
  return also({ expected, actual }, 'memoryChanged', 'as observed', changes(guest, wanted));
}

/** The watched memory: the windows hold what was observed, but for where the counting bytes begin. */
function changes(guest: Guest, wanted: CaseFields): string {
  const image = guest.machine.memory.read(FRAMES.from, FRAMES.to - FRAMES.from);
  let shift: number | undefined;
  let problem = '';
  wanted.objects('memoryChanged', (window) => {
    const from = Number(window.u64('address')) - FRAMES.from;
    window.bytes('hex').forEach((byte, n) => {
      const now = image[from + n] as number;
      image[from + n] = FILL;
      const difference = (byte - now) & 0xff;
      // No byte of ours is the fill byte, so what holds it was not written.
      if (now === FILL ? byte !== FILL : difference !== (shift ?? difference))
        problem ||= `differs at 0x${(FRAMES.from + from + n).toString(16)}`;
      if (now !== FILL) shift ??= difference;
    });
  });
  const other = image.findIndex((byte) => byte !== FILL);
  if (problem === '' && other >= 0) problem = `changed at 0x${(FRAMES.from + other).toString(16)} too`;
  return problem === '' ? 'as observed' : problem;
}

function runTransfer(run: Run): Outcome {
  const { guest, operands, state } = run;
  const iova = BigInt(operands.u64('iova'));
  if (state.has('afterRpcit')) change(guest, state.text('afterRpcit'), iova);
  operands.skip('device');
  return withFib(transfer(run, 0xffff), run);
}

/** What a case does to the tables after the refresh, in words. */
function change(guest: Guest, words: string, iova: bigint): void {
  const entry = 0x1100_8000 + 8 * Number((iova >> 12n) & 0xffn);
  const { memory, cpu } = guest.machine;
  const old = new DataView(memory.read(entry, 8).buffer).getBigUint64(0);
  if (words.includes('set to 0x400')) guest.putQword(entry, 0x400n);
  else if (words.includes('set to 0')) guest.putQword(entry, 0n);
  else if (words.includes('protection bit')) {
    guest.putQword(entry, old | 0x200n);
    cpu.rpcit({ fh: guest.fn.handle, start: iova & ~0xfffn, length: 0x1000 });
  } else if (words.includes('deregister-ioat')) guest.mpcifc(5, new Uint8Array(80));
  else if (words.includes('function to error')) {
    guest.fail(0x8_0000_0000n);
    guest.mpcifc(9, new Uint8Array(80));
  } else throw new ZtlpError('unsupported', `afterRpcit ${JSON.stringify(words)} is not known`);
}

function runMessage(run: Run): Outcome {
  const { guest, operands, wanted } = run;
  const { fn, machine } = guest;
  const block = operands.object('interrupt');
  const registered = guest.mpcifc(2, blockOf(block));
  const message = operands.object('msix');
  machine.enableMsix(fn, [{ address: message.u64('address'), data: message.integer('data') }]);
  fn.instance?.write(1, 12, Uint8Array.of(message.integer('vectorControl'), 0, 0, 0));
  const areas = [
    ['aibv', 32],
    ['aisb', 16],
  ] as const;
  const at = (name: 'aibv' | 'aisb'): number => Number(BigInt(block.u64(name)) & ~7n);
  for (const [name, length] of areas) machine.memory.write(at(name), new Uint8Array(length));
  let outcome = also(withFib(transfer(run, 0), run), 'registered', 0, registered);
  for (const [name, length] of areas) {
    const now = toHex(machine.memory.read(at(name), length));
    outcome = also(outcome, name, wanted.text(name).toLowerCase(), now);
  }
  return outcome;
}
