/** The states of a zPCI function as a table: what leads from one to another, what that undoes, what each permits. */
import { PEC } from './events.js';

//  reserved <-- unplug -- standby <-- deconfigure -- (any state below)
//     |                      |
//    plug                configure
//     |                      |
//     +------> disabled <----+------ disable, reset -- (any state below)
//                 | enable
//                 v
//              enabled -- fault --> error -- operation 9 --> error-ls-open
//                 ^                  |  ^                      |   |
//                 +-- operation 7 ---+--|-- operation 7 -------+   |
//                                       +--------- fault ----------+

/** zPCI function states (zpci.md 1.2; `error-ls-open` is QEMU's BLOCKED: load and store work, the error remains). */
export type FunctionState =
  | 'reserved'
  | 'standby'
  | 'disabled'
  | 'enabled'
  | 'error-ls-open'
  | 'error'
  | 'permanent-error';

/** What can happen to a function. */
export type FunctionEvent =
  | 'plug' // the device appears
  | 'unplug' // the device goes
  | 'remove' // the device goes, configured or not: nobody was asked
  | 'unplug-request' // the operator wants a configured device back
  | 'configure' // SCLP command 0x001a0001
  | 'deconfigure' // SCLP command 0x001b0001
  | 'enable' // CLP set PCI function, operation 0
  | 'disable' // CLP set PCI function, operation 1
  | 'fault' // refused DMA, or an error met by RPCIT
  | 'reset-load-store-block' // MPCIFC operation 9
  | 'reset-error' // MPCIFC operation 7
  | 'permanent-error' // the function is beyond recovery
  | 'reset';

/** What a guest registers with MPCIFC and a transition may undo. */
export type Registration = 'ioat' | 'interrupts' | 'fmb';

/** A step that is taken. */
export interface Transition {
  readonly state: FunctionState;
  /** Enable bit of the handle afterwards; absent: as it was. */
  readonly enableBit?: boolean;
  /** The device behind the function is reset. */
  readonly resetsDevice: boolean;
  readonly tearsDown: readonly Registration[];
  /** SCLP or CLP response code, for an event that is such a request. */
  readonly response?: number;
  /** Event code of the record that tells the guest; for `plug` only when the guest runs already (hot plug). */
  readonly event?: number;
}

/** A step that is not taken: nothing changes. */
export interface Refusal {
  /** SCLP or CLP response code, or status of MPCIFC; undefined for an event that no one asked for. */
  readonly refused: number | undefined;
}

/** Response codes of the SCLP commands (zpci.md 1.3). */
export const SCLP_RESPONSE = {
  COMPLETED: 0x0020,
  NO_ACTION: 0x0120,
  RESERVED: 0x05f0,
  UNKNOWN_ADAPTER: 0x09f0,
} as const;

/** Response codes of CLP (zpci.md 4.1). */
export const CLP_RESPONSE = {
  OK: 0x0010,
  COMMAND_UNKNOWN: 0x0020,
  NOT_AUTHORISED: 0x0030,
  BAD_FORMAT: 0x0040,
  BAD_LENGTH: 0x0050,
  NEEDS_8K: 0x0060,
  RESERVED_NOT_ZERO: 0x0070,
  NO_DATA: 0x0080,
  FUNCTION_CODE_UNKNOWN: 0x0100,
  BAD_HANDLE: 0x0101,
  HANDLE_NOT_VALID: 0x0102,
  BAD_DMA_SPACE: 0x0103,
  RESOURCES: 0x0104,
  ALREADY_IN_STATE: 0x0105,
  PERMANENT_ERROR: 0x0106,
  RECOVERY_PENDING: 0x0107,
  BUSY: 0x0108,
  TOKEN_UNKNOWN: 0x010a,
  GROUP_UNKNOWN: 0x010b,
} as const;

/** Status of MPCIFC: the operation does not fit what went before (zpci.md 2.4). */
const STATUS_SEQUENCE = 24;

const ALL: readonly Registration[] = ['ioat', 'interrupts', 'fmb'];
const NONE: readonly Registration[] = [];

type Row = Partial<Record<FunctionState, Transition>> & { readonly otherwise: number | undefined };

const to = (state: FunctionState, more: Partial<Transition> = {}): Transition => ({
  state,
  resetsDevice: false,
  tearsDown: NONE,
  ...more,
});

const CONFIGURED = ['disabled', 'enabled', 'error-ls-open', 'error', 'permanent-error'] as const;
const forConfigured = (
  make: (state: FunctionState) => Transition,
): Partial<Record<FunctionState, Transition>> =>
  Object.fromEntries(CONFIGURED.map((state) => [state, make(state)]));

const { COMPLETED, NO_ACTION, RESERVED } = SCLP_RESPONSE;

const CONFIGURE = to('disabled', { enableBit: false, response: COMPLETED });
const DECONFIGURE = to('standby', {
  enableBit: false,
  tearsDown: ['ioat', 'interrupts'],
  response: COMPLETED,
});
const ENABLE = to('enabled', { enableBit: true, response: CLP_RESPONSE.OK });
const RESET = to('disabled', { enableBit: false, resetsDevice: true, tearsDown: ALL });
const DISABLE: Transition = { ...RESET, response: CLP_RESPONSE.OK };

/** Section 1.3, a row for each event; a state that a row does not name refuses with `otherwise`. */
const TABLE: Readonly<Record<FunctionEvent, Row>> = {
  plug: {
    reserved: to('disabled', { enableBit: false, event: PEC.TO_CONFIGURED }),
    otherwise: undefined,
  },
  unplug: {
    standby: to('reserved', { enableBit: false, event: PEC.STANDBY_TO_RESERVED }),
    otherwise: undefined,
  },
  remove: {
    ...forConfigured(() =>
      to('reserved', { enableBit: false, tearsDown: ALL, event: PEC.TO_STANDBY_OR_RESERVED }),
    ),
    otherwise: undefined,
  },
  'unplug-request': {
    ...forConfigured((state) => to(state, { event: PEC.DECONFIGURE_REQUESTED })),
    otherwise: undefined,
  },
  configure: { standby: CONFIGURE, otherwise: NO_ACTION },
  deconfigure: { ...forConfigured(() => DECONFIGURE), otherwise: NO_ACTION },
  enable: { disabled: ENABLE, otherwise: CLP_RESPONSE.HANDLE_NOT_VALID },
  disable: {
    enabled: DISABLE,
    error: DISABLE,
    'error-ls-open': DISABLE,
    'permanent-error': DISABLE,
    otherwise: CLP_RESPONSE.HANDLE_NOT_VALID,
  },
  fault: { enabled: to('error'), 'error-ls-open': to('error'), otherwise: undefined },
  'reset-load-store-block': { error: to('error-ls-open'), otherwise: STATUS_SEQUENCE },
  'reset-error': {
    error: to('enabled'),
    'error-ls-open': to('enabled'),
    otherwise: STATUS_SEQUENCE,
  },
  'permanent-error': {
    ...forConfigured(() => to('permanent-error', { event: PEC.PERMANENT_ERROR })),
    'permanent-error': to('permanent-error'),
    otherwise: undefined,
  },
  reset: { ...forConfigured(() => RESET), otherwise: undefined },
};

/**
 * What `event` does to a function in `state` (zpci.md 1.3).
 *
 * SCLP requests on a reserved function are refused with 0x05f0; a permanent error cannot be enabled away (0x0106).
 */
export function transition(state: FunctionState, event: FunctionEvent): Transition | Refusal {
  const row = TABLE[event];
  const step = row[state];
  if (step !== undefined) return step;
  const isSclp = event === 'configure' || event === 'deconfigure';
  if (isSclp && state === 'reserved') return { refused: RESERVED };
  if (event === 'enable' && state === 'permanent-error') return { refused: CLP_RESPONSE.PERMANENT_ERROR };
  return { refused: row.otherwise };
}

/**
 * SCLP response and the step to take for a configure or deconfigure request (zpci.md 1.3). `state` is undefined when
 * no function has the adapter ID of the request, which is its function ID.
 */
export function sclpRequest(
  state: FunctionState | undefined,
  command: 'configure' | 'deconfigure',
): { readonly response: number; readonly step?: Transition } {
  if (state === undefined) return { response: SCLP_RESPONSE.UNKNOWN_ADAPTER };
  const step = transition(state, command);
  if ('refused' in step) return { response: step.refused ?? NO_ACTION };
  return { response: COMPLETED, step };
}

/** Whether the function is in the configuration: Linux' meta-state CONFIGURED (zpci.md 1.2). */
export function isConfigured(state: FunctionState): boolean {
  return state !== 'reserved' && state !== 'standby';
}
