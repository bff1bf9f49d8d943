/** What the tests of CLP, MPCIFC and STPCIFC share: functions that only the pure rules move, and vector cases. */
import { readFileSync } from 'node:fs';
import type { ProgramInterruption, ZpciOutcome } from '../../src/zpci/answer.js';
import {
  type ClpFunction,
  type ClpGroup,
  type ClpResult,
  type ClpSetAnswer,
  type ClpView,
  runClp,
  setFunctionResponse,
} from '../../src/zpci/clp.js';
import {
  decodeControlsRequest,
  executeMpcifc,
  type FunctionControls,
  type ModifyResult,
  type RegistrationLimits,
  registerAfter,
  type StoreResult,
  storeControls,
  without,
} from '../../src/zpci/controls.js';
import { encodeFib, type FibInput } from '../../src/zpci/fib.js';
import { findByHandle, findByIndex, withEnableBit } from '../../src/zpci/handle.js';
import { type FunctionEvent, transition } from '../../src/zpci/states.js';

export const SDMA = 0x1_0000_0000n;
export const EDMA = 0x01ff_ffff_ffff_ffffn;
export const MSIA = 0xfe00_0000_0000_0000n;

/** QEMU's default group. */
export const GROUP: ClpGroup = {
  noi: 128,
  refresh: true,
  relaxed: false,
  maxstbl: 128,
  mui: 4000,
  dtsm: 0x40,
  msia: MSIA,
};

export const LIMITS: RegistrationLimits = { sdma: SDMA, edma: EDMA, dtsm: 0x40, rtr: false };

/** A FIB whose translation can be registered. */
export const VALID_FIB: FibInput = { pba: SDMA, pal: 0x1_003f_ffff, iota: 0x1100_0804 };

export const INTERRUPTS_FIB: FibInput = {
  isc: 3,
  noi: 4,
  aibvo: 2,
  sum: true,
  aisbo: 5,
  aibv: 0x1300_0000,
  aisb: 0x1300_1000,
};

export const FUNCTION: ClpFunction = {
  index: 0,
  handle: 0x8002_0000,
  fid: 0x10,
  vendorId: 0x1af4,
  deviceId: 0x1041,
  state: 'enabled',
  groupId: 0xff,
  sdma: SDMA,
  edma: EDMA,
  bars: [],
  uid: 1,
};

export class GuestFunction {
  controls: FunctionControls = { state: 'enabled' };
  resets = 0;

  constructor(public fn: ClpFunction = FUNCTION) {
    this.controls = { state: fn.state };
  }

  get index(): number {
    return this.fn.index;
  }

  get handle(): number {
    return this.fn.handle;
  }

  /** Takes a step of the state table; false when it is refused. */
  step(event: FunctionEvent): boolean {
    const taken = transition(this.controls.state, event);
    if ('refused' in taken) return false;
    this.controls = { ...without(this.controls, taken.tearsDown), state: taken.state };
    const { enableBit } = taken;
    const handle = enableBit === undefined ? this.handle : withEnableBit(this.handle, enableBit);
    this.fn = { ...this.fn, state: taken.state, handle };
    if (taken.resetsDevice) this.resets++;
    return true;
  }

  set next(controls: FunctionControls) {
    this.controls = controls;
    this.fn = { ...this.fn, state: controls.state };
  }
}

/** A guest's view of some functions. */
export class Guest implements ClpView {
  clpBarWords: ClpView['clpBarWords'] = 'little';
  limits: RegistrationLimits = LIMITS;
  groups: Readonly<Record<number, ClpGroup>> = { 255: GROUP };
  readonly all: readonly GuestFunction[];

  constructor(functions: readonly ClpFunction[] = [FUNCTION]) {
    this.all = functions.map((fn) => new GuestFunction(fn));
  }

  get first(): GuestFunction {
    return this.all[0] as GuestFunction;
  }

  functions(): readonly ClpFunction[] {
    return this.all.map(({ fn }) => fn);
  }

  group(id: number): ClpGroup | undefined {
    return this.groups[id];
  }

  setFunction(index: number, oc: number, ndas: number): ClpSetAnswer {
    const target = findByIndex(this.all, index) as GuestFunction;
    const { response, step } = setFunctionResponse(target.fn, oc, ndas);
    if (step === 'enable' || step === 'disable') target.step(step);
    return { response, handle: target.handle };
  }

  /** CLP over a block of `request` and a response of `responseLength` bytes. */
  clp(request: Uint8Array, responseLength: number): ClpResult {
    const block = new Uint8Array(8192);
    block.set(request);
    new DataView(block.buffer).setUint16(request.length, responseLength);
    return runClp(block, this);
  }

  /** MPCIFC with a block; null: one that cannot be read. */
  mpcifc(
    oc: number,
    fib: FibInput | Uint8Array | null = {},
    { fh = this.first.handle, dmaas = 0, fibAddress = 0x1000, problemState = false } = {},
  ): ModifyResult {
    const target = findByHandle(this.all, fh);
    const bytes = fib === null ? undefined : fib instanceof Uint8Array ? fib : encodeFib(fib);
    const input = { request: { fh, dmaas, oc }, fibAddress, fib: bytes, problemState };
    const result = executeMpcifc(input, target?.controls, this.limits);
    if (result.next !== undefined && target !== undefined) target.next = result.next;
    return result;
  }

  stpcifc({
    fh = this.first.handle,
    dmaas = 0,
    fibAddress = 0x1000,
    problemState = false,
  } = {}): StoreResult & {
    readonly register: bigint;
  } {
    const register = (BigInt(fh) << 32n) | (BigInt(dmaas) << 16n);
    const input = { request: decodeControlsRequest(register), fibAddress, problemState };
    const result = storeControls(input, findByIndex(this.all, fh)?.controls);
    return { ...result, register: registerAfter(register, result) };
  }
}

/** A request of 32 bytes: command, and big-endian values by offset. */
export function requestOf(
  command: number,
  fields: Readonly<Record<number, readonly [value: number, bytes: 1 | 2 | 4]>> = {},
): Uint8Array {
  const request = new Uint8Array(32);
  const view = new DataView(request.buffer);
  view.setUint16(0, 32);
  view.setUint16(2, command);
  for (const [at, [value, bytes]] of Object.entries(fields)) {
    if (bytes === 1) view.setUint8(Number(at), value);
    else if (bytes === 2) view.setUint16(Number(at), value);
    else view.setUint32(Number(at), value);
  }
  return request;
}

export const setRequest = (fh: number, oc: number, ndas: number): Uint8Array =>
  requestOf(5, { 16: [fh, 4], 22: [oc, 1], 23: [ndas, 1] });

/** Condition code and response of a CLP that was not interrupted. */
export function responseOf(result: ClpResult): {
  readonly cc: number;
  readonly data: DataView;
  code: number;
} {
  if (!('cc' in result)) throw new Error(`${result.programInterruption} exception`);
  const data = new DataView(result.block.buffer, new DataView(result.block.buffer).getUint16(0));
  return { cc: result.cc, data, code: data.getUint16(2) };
}

/** Fields of the cases that these tests read. */
export interface Case {
  readonly id: string;
  readonly group: string;
  readonly instruction: string;
  readonly basis: 'architecture' | 'region' | 'model' | 'qemu-specific';
  readonly device: { readonly id: string; readonly fhEnabled: string };
  readonly state: { readonly function: string; readonly setup: readonly string[] };
  readonly operands: {
    readonly fh: string;
    readonly dmaas: number;
    readonly oc: number;
    readonly fibAddress: string;
    readonly fib: Readonly<Record<string, string | number>>;
    readonly problemState: boolean;
    readonly requestHex: string;
    readonly responseLengthField: number;
  };
  readonly expect: {
    readonly cc: 0 | 1 | 2 | 3 | null;
    readonly status: number | null;
    readonly programInterruption: { readonly name: string } | null;
    /** Absent when STPCIFC stored nothing afterwards. */
    readonly fibAfter?: Readonly<Record<string, string | number>>;
    readonly stpcifcAfterCc: number;
    readonly fib: Readonly<Record<string, string | number>> | null;
    readonly storedBytes: string | null;
    readonly requestRegisterAfter: string;
    readonly responseLength: number;
    readonly responseCode: string;
    readonly response: string;
  };
}

const VECTORS = JSON.parse(readFileSync(new URL('../vectors/zpci-qemu72.json', import.meta.url), 'utf8')) as {
  readonly cases: readonly Case[];
};

export const casesOf = (instruction: string): Case[] =>
  VECTORS.cases.filter((vector) => vector.instruction === instruction);

/** The two functions of the observed machine. */
export function observedGuest(): Guest {
  const rng = { ...FUNCTION, index: 1, handle: 0x8002_0001, fid: 0x11, deviceId: 0x1044, uid: 2 };
  const guest = new Guest([FUNCTION, rng]);
  guest.clpBarWords = 'big';
  return guest;
}

/** Operations that cases spell out in words. RPCIT is not built here: what counts is that it fails. */
const SETUPS: Readonly<Record<string, (guest: Guest) => boolean>> = {
  'CLP disable function': (guest) =>
    responseOf(guest.clp(setRequest(guest.first.handle, 1, 0), 40)).code === 0x10,
  'MPCIFC register-ioat (valid FIB)': (guest) => isDone(guest.mpcifc(4, VALID_FIB)),
  'MPCIFC register-interrupts isc=3 noi=4 aibvo=2 sum=1 aisbo=5': (guest) =>
    isDone(guest.mpcifc(2, INTERRUPTS_FIB)),
  'MPCIFC reset-error (oc 7)': (guest) => isDone(guest.mpcifc(7)),
  'MPCIFC reset-load/store-blocked (oc 9)': (guest) => isDone(guest.mpcifc(9)),
  'RPCIT outside the registered range': (guest) => guest.first.step('fault'),
  'RPCIT with no translation registered (function goes to error)': (guest) => guest.first.step('fault'),
};

function isDone({ answer }: ModifyResult): boolean {
  return 'cc' in answer && answer.cc === 0;
}

const STATE_NAMES: Readonly<Record<string, string>> = {
  'error-unblocked': 'error-ls-open',
  recovered: 'enabled',
};

/** A machine on which the setup of a case was done; the state that the case names came out of it. */
export function setUp({ state, id, group }: Case): Guest {
  const guest = observedGuest();
  for (const words of state.setup) {
    const done = SETUPS[words]?.(guest);
    if (done !== true) throw new Error(`${id}: ${words} ${done === false ? 'failed' : 'is not known'}`);
  }
  const expected = STATE_NAMES[state.function] ?? state.function;
  // CLP cases name the state of their start, before the setup.
  if (!group.startsWith('clp') && guest.first.controls.state !== expected)
    throw new Error(`${id}: ${guest.first.controls.state} instead of ${expected}`);
  return guest;
}

/** The expected outcome of a case in the form of an answer. */
export function outcomeOf({ expect: { cc, status, programInterruption } }: Case): ZpciOutcome {
  if (programInterruption === null) return { cc: cc ?? 0, status: status ?? 0 };
  const name = programInterruption.name.replaceAll('-', ' ');
  return { programInterruption: name as ProgramInterruption['name'] };
}

/** A block as cases print it. */
export type Printed = Readonly<Record<string, string | number>>;

export function blockOf(printed: Printed): Uint8Array {
  const number = (field: string): bigint => BigInt(printed[field] ?? 0);
  const bytes = encodeFib({
    format: 0,
    fc: Number(number('fc')),
    pba: number('pba'),
    pal: number('pal'),
    iota: number('iota'),
    aibv: number('aibv'),
    aisb: number('aisb'),
    fmb: number('fmbAddr'),
  });
  bytes[0] = Number(number('fmt'));
  new DataView(bytes.buffer).setUint32(40, Number(number('intData')));
  return bytes;
}
