/** MODIFY and STORE PCI FUNCTION CONTROLS: their checks in order, and what each operation makes of the controls. */
import type { Options } from '../base/options.js';
import type { U64 } from '../core/u64.js';
import type { ZpciOutcome } from './answer.js';
import { PEC } from './events.js';
import { decodeFib, encodeFib, type Fib, functionControlBits } from './fib.js';
import { isEnabledHandle } from './handle.js';
import { type FunctionState, isConfigured, type Registration, transition } from './states.js';

/** Operation controls of MPCIFC (zpci.md 6.1). */
export const MPCIFC_OC = {
  REGISTER_INTERRUPTS: 2,
  DEREGISTER_INTERRUPTS: 3,
  REGISTER_IOAT: 4,
  DEREGISTER_IOAT: 5,
  REREGISTER_IOAT: 6,
  RESET_ERROR: 7,
  RESET_LOAD_STORE_BLOCK: 9,
  SET_MEASUREMENT: 10,
  REGISTER_DIRECTED: 16,
  DEREGISTER_DIRECTED: 17,
} as const;

/** A registered I/O address translation: whole pages from `pba` to `pal`. */
export interface IoatControls {
  readonly pba: bigint;
  /** Last address, so it ends in 0xfff. */
  readonly pal: bigint;
  readonly iota: bigint;
}

/** Registered adapter interrupts, fields as in the block. */
export type InterruptControls = Pick<Fib, 'isc' | 'noi' | 'aibv' | 'aibvo' | 'aisb' | 'aisbo' | 'sum'>;

/** All that MPCIFC changes and STPCIFC reports of a function. */
export interface FunctionControls {
  readonly state: FunctionState;
  readonly ioat?: IoatControls;
  readonly interrupts?: InterruptControls;
  /** Address of the measurement block. */
  readonly fmb?: bigint;
  readonly gisa?: number;
}

/** What a registration is measured by. */
export interface RegistrationLimits {
  /** First and last DMA address of the function (zpci.md 4.4). */
  readonly sdma: U64;
  readonly edma: U64;
  /** Function type (pft). Default 0. */
  readonly type?: number;
  /** Supported designation types: bit 0x80 >> type (zpci.md 4.5). */
  readonly dtsm: number;
  /** A translation without a table (T = 0) may be registered (zpci.md 5.1). */
  readonly rtr: boolean;
  /** Whether the guest memory of an indicator can be used; without it every one can. */
  readonly mapsIndicators?: (interrupts: InterruptControls) => boolean;
}

/** Request register of MPCIFC and STPCIFC as fields (zpci.md 2.2). */
export interface ControlsRequest {
  readonly fh: number;
  readonly dmaas: number;
  readonly oc: number;
}

/** What MPCIFC did. */
export interface ModifyResult {
  readonly answer: ZpciOutcome;
  /** With cc 1: the status byte of the request register stays as it was, so `answer.status` is not stored. */
  readonly keepsStatus?: true;
  /** Controls afterwards, when they changed. A refused reregistration, too, has dropped the old one. */
  readonly next?: FunctionControls;
  /** Error event to report; it leaves the state of the function alone. */
  readonly event?: { readonly pec: number; readonly address: bigint };
}

/** What STPCIFC did. */
export interface StoreResult {
  readonly answer: ZpciOutcome;
  /** The block to store; only with cc 0. */
  readonly fib?: Uint8Array;
  /** Bit 0 (MSB0) of the request register becomes 1: it now holds the enabled handle. */
  readonly setsEnableBit: boolean;
}

const PAGE_MASK = 0xfffn;
/** Function type of ISM. */
const ISM = 5;
const IOTA_TRANSLATED = 0x800n;

const DONE: ZpciOutcome = { cc: 0, status: 0 };
const NO_FUNCTION: ZpciOutcome = { cc: 3, status: 0 };
const OPERAND: ZpciOutcome = { programInterruption: 'operand' };
const SPECIFICATION: ZpciOutcome = { programInterruption: 'specification' };
const ADDRESSING: ZpciOutcome = { programInterruption: 'addressing' };
const PRIVILEGED: ZpciOutcome = { programInterruption: 'privileged operation' };
/** Statuses of MPCIFC and STPCIFC (zpci.md 2.4). */
const failed = (status: number): ZpciOutcome => ({ cc: 1, status });
const NO_RESOURCES = failed(4);
const PERMANENT_ERROR = failed(8);
const SEQUENCE = failed(24);
const BAD_DMAAS = failed(28);

/** Fields of a request register (zpci.md 2.2). */
export function decodeControlsRequest(register: U64): ControlsRequest {
  const bits = BigInt(register);
  return {
    fh: Number((bits >> 32n) & 0xffff_ffffn),
    dmaas: Number((bits >> 16n) & 0xffn),
    oc: Number(bits & 0xffn),
  };
}

/** A request register after the instruction: the status comes back in bits 32-39 (MSB0), the enable bit in bit 0. */
export function registerAfter(register: U64, { answer, ...more }: ModifyResult | StoreResult): bigint {
  let bits = BigInt(register);
  if ('cc' in answer && answer.cc === 1 && !('keepsStatus' in more))
    bits = (bits & ~0xff00_0000n) | (BigInt(answer.status) << 24n);
  if ('setsEnableBit' in more && more.setsEnableBit) bits |= 1n << 63n;
  return bits;
}

/** Operands of an MPCIFC, as far as the rules need them. */
export interface MpcifcInput {
  readonly request: ControlsRequest;
  /** Address of the block. */
  readonly fibAddress: U64;
  /** The 80 bytes there; undefined where guest memory ends. */
  readonly fib: Uint8Array | undefined;
  readonly problemState: boolean;
}

/**
 * MODIFY PCI FUNCTION CONTROLS with all checks in order (zpci.md 6.1). `current` are the controls of the function
 * whose handle matches in all 32 bits, undefined if there is none.
 */
export function executeMpcifc(
  { request, fibAddress, fib, problemState }: MpcifcInput,
  current: FunctionControls | undefined,
  limits: RegistrationLimits,
): ModifyResult {
  if (problemState) return { answer: PRIVILEGED };
  if ((BigInt(fibAddress) & 7n) !== 0n) return { answer: SPECIFICATION };
  if (current === undefined) return { answer: NO_FUNCTION };
  if (!isConfigured(current.state) || current.state === 'disabled' || current.state === 'permanent-error')
    return { answer: NO_FUNCTION };
  if (fib === undefined) return { answer: ADDRESSING };
  return modifyFunction(request.oc, decodeFib(fib), request.dmaas, current, limits);
}

/**
 * What operation `oc` of MPCIFC makes of the controls of a function that the instruction reached: format, operation,
 * then its own rules (zpci.md 6.1, 5.4).
 */
export function modifyFunction(
  oc: number,
  fib: Fib,
  dmaas: number,
  current: FunctionControls,
  limits: RegistrationLimits,
): ModifyResult {
  if (fib.format !== 0) return { answer: OPERAND };
  switch (oc) {
    case MPCIFC_OC.REGISTER_INTERRUPTS:
      return registerInterrupts(fib, current, limits);
    case MPCIFC_OC.DEREGISTER_INTERRUPTS:
      if (current.interrupts === undefined) return { answer: SEQUENCE };
      return { answer: DONE, next: without(current, ['interrupts']) };
    case MPCIFC_OC.REGISTER_IOAT:
      if (dmaas !== 0) return { answer: BAD_DMAAS };
      return current.ioat === undefined ? registerIoat(fib, current, limits) : { answer: SEQUENCE };
    case MPCIFC_OC.DEREGISTER_IOAT:
    case MPCIFC_OC.REREGISTER_IOAT: {
      if (dmaas !== 0) return { answer: BAD_DMAAS };
      if (current.ioat === undefined) return { answer: SEQUENCE };
      const next = without(current, ['ioat']);
      if (oc === MPCIFC_OC.DEREGISTER_IOAT) return { answer: DONE, next };
      return { next, ...registerIoat(fib, next, limits) };
    }
    case MPCIFC_OC.RESET_ERROR:
      return stepped(current, 'reset-error');
    case MPCIFC_OC.RESET_LOAD_STORE_BLOCK:
      return stepped(current, 'reset-load-store-block');
    case MPCIFC_OC.SET_MEASUREMENT:
      return setMeasurement(fib, current);
    default:
      return { answer: OPERAND };
  }
}

function registerInterrupts(
  { isc, noi, aibv, aibvo, aisb, aisbo, sum }: Fib,
  current: FunctionControls,
  { mapsIndicators }: RegistrationLimits,
): ModifyResult {
  if (current.interrupts !== undefined) return { answer: SEQUENCE };
  const interrupts = { isc, noi, aibv, aibvo, aisb, aisbo, sum };
  if (mapsIndicators?.(interrupts) === false) return { answer: NO_RESOURCES };
  return { answer: DONE, next: { ...current, interrupts } };
}

/** Range, then designation (zpci.md 5.4, 5.1). The exceptions suppress the instruction: no status is stored. */
function registerIoat(
  { pba: base, pal: limit, iota }: Fib,
  current: FunctionControls,
  limits: RegistrationLimits,
): ModifyResult {
  const pba = base & ~PAGE_MASK;
  const pal = limit | PAGE_MASK;
  // Linux registers a page too many for ISM, whose limit check is off by one (ism.md 1).
  const end = BigInt(limits.edma) + (limits.type === ISM ? PAGE_MASK + 1n : 0n);
  if (pba > pal || pba < BigInt(limits.sdma) || pal > end) return { answer: OPERAND };
  if (!isDesignationSupported(iota, limits)) return { answer: OPERAND };
  return { answer: DONE, next: { ...current, ioat: { pba, pal, iota } } };
}

/** Whether anchor `iota` has a form that the group allows (zpci.md 5.1): T = 1 and a type of `dtsm`, or T = 0 with `rtr`. */
export function isDesignationSupported(iota: bigint, { dtsm, rtr }: Pick<Options, 'dtsm' | 'rtr'>): boolean {
  if ((iota & IOTA_TRANSLATED) === 0n) return rtr;
  const type = Number((iota >> 2n) & 7n);
  return (dtsm & (0x80 >> type)) !== 0;
}

function stepped(current: FunctionControls, event: 'reset-error' | 'reset-load-store-block'): ModifyResult {
  const step = transition(current.state, event);
  if ('refused' in step) return { answer: SEQUENCE };
  return { answer: DONE, next: { ...current, state: step.state } };
}

/** An address with key bits is refused, and reported; 0 stops the measurement (zpci.md 6.1). */
function setMeasurement({ fmb }: Fib, current: FunctionControls): ModifyResult {
  if ((fmb & 0xfn) !== 0n)
    return { answer: failed(0), keepsStatus: true, event: { pec: PEC.FMB_PROTECTION, address: fmb } };
  const next = without(current, ['fmb']);
  return { answer: DONE, next: fmb === 0n ? next : { ...next, fmb } };
}

/** `controls` after `registrations` were undone: what a step of the state table asks for. */
export function without(
  controls: FunctionControls,
  registrations: readonly Registration[],
): FunctionControls {
  const next: { -readonly [N in keyof FunctionControls]: FunctionControls[N] } = { ...controls };
  for (const name of registrations) delete next[name];
  return next;
}

/** Operands of an STPCIFC, as far as the rules need them. */
export interface StpcifcInput {
  readonly request: Omit<ControlsRequest, 'oc'>;
  readonly fibAddress: U64;
  readonly problemState: boolean;
}

/**
 * STORE PCI FUNCTION CONTROLS with all checks in order (zpci.md 6.3). `current` are the controls of the function at
 * the index of the handle, whatever its other bits; undefined if there is none. That the block can be written is the
 * caller's to check, last.
 */
export function storeControls(
  { request: { fh, dmaas }, fibAddress, problemState }: StpcifcInput,
  current: FunctionControls | undefined,
): StoreResult {
  const refuse = (answer: ZpciOutcome): StoreResult => ({ answer, setsEnableBit: false });
  if (problemState) return refuse(PRIVILEGED);
  if (dmaas !== 0) return refuse(BAD_DMAAS);
  if ((BigInt(fibAddress) & 7n) !== 0n) return refuse(SPECIFICATION);
  if (current === undefined) return refuse(NO_FUNCTION);
  switch (current.state) {
    case 'reserved':
    case 'standby':
      return refuse(NO_FUNCTION);
    case 'disabled':
      if (isEnabledHandle(fh)) return refuse(NO_FUNCTION);
      return { answer: DONE, fib: encodeFib({}), setsEnableBit: false };
    case 'permanent-error':
      return refuse(PERMANENT_ERROR);
    default:
      return { answer: DONE, fib: fibOf(current), setsEnableBit: !isEnabledHandle(fh) };
  }
}

function fibOf({ state, ioat, interrupts, fmb = 0n, gisa = 0 }: FunctionControls): Uint8Array {
  const fc = functionControlBits(state, ioat !== undefined);
  return encodeFib({ fc, ...ioat, ...interrupts, fmb, gisa });
}
