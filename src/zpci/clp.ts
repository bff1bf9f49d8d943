/** CALL LOGICAL PROCESSOR over the block in guest memory: its checks in order, and the commands of PCI. */
import type { ProgramInterruption } from './answer.js';
import { QUERY_FUNCTION_BYTES, writeFunction, writeGroup, writeMio } from './clp-query.js';
import type { ClpFunction, ClpView } from './clp-types.js';
import { findByHandle, isEnabledHandle } from './handle.js';
import { CLP_RESPONSE, transition } from './states.js';

export type { ClpFunction, ClpGroup, ClpSetAnswer, ClpView } from './clp-types.js';

//  request (length L1)                       response (length L2), at address + L1
//  +--------+---------+--------+----------+  +--------+---------------+--------+----------+---
//  | u16 L1 | command | format | reserved |  | u16 L2 | response code | format | reserved | ...
//  +--------+---------+--------+----------+  +--------+---------------+--------+----------+---
//  0        2         4        8       16..32                                          16

/** Commands (zpci.md 4.1). Command 1 is known on machines with MIO alone: QEMU 7.2, which has none, does not know it. */
export const CLP_COMMAND = {
  STORE_CHARACTERISTICS: 1,
  LIST: 2,
  QUERY_FUNCTION: 3,
  QUERY_GROUP: 4,
  SET_FUNCTION: 5,
} as const;

/** Logical processor selectors. */
export const CLP_LPS = { BASE: 0, PCI: 2 } as const;

/** With c = 1: the operand that asks which logical processors are installed. */
export const CLP_MASK_COMMAND = 1;

/** The mask of the installed logical processors, selector 0 the leftmost bit (Linux arch/s390/pci/pci_clp.c). */
export function installedMask(): bigint {
  return Object.values(CLP_LPS).reduce((mask, lps) => mask | (1n << BigInt(63 - lps)), 0n);
}

/** Operations of set PCI function (zpci.md 4.6). */
export const CLP_SET_OC = { ENABLE: 0, DISABLE: 1, ENABLE_MIO: 2, DISABLE_MIO: 3 } as const;

/** Most bytes that request and response have together. */
export const CLP_BLOCK_BYTES = 8192;

/** How CLP ended. */
export type ClpResult =
  | { readonly programInterruption: ProgramInterruption['name'] }
  | {
      readonly cc: 0 | 3;
      /** Request and response as they stand in memory afterwards: what is to be written at the address of the block. */
      readonly block: Uint8Array;
    };

/** A command: fills the response after its length and returns the condition code, where it is not 0. */
type Command = (request: DataView, response: Response, view: ClpView) => 3 | undefined;

interface Response {
  /** As the request gives it, bytes. */
  readonly length: number;
  /** The response with room behind it: what stands beyond `length` is not written back. */
  readonly data: DataView;
}

const REQUEST_BYTES = 32;
const LENGTH = 0;
const CODE = 2;
const FORMAT = 4;
const RESERVED = 8;
const FORMAT_BITS = 0xf000_0000;

/**
 * Executes CLP (zpci.md 4.1). `block` is guest memory from the address of the block on: up to 8192 bytes, fewer where
 * memory ends, and then a block that reaches further is an addressing exception. It is not changed.
 */
export function runClp(
  block: Uint8Array,
  view: ClpView,
  problemState = false,
  lps: number = CLP_LPS.PCI,
): ClpResult {
  if (problemState) return { programInterruption: 'privileged operation' };
  const lengths = checkLengths(block);
  if (typeof lengths === 'string') return { programInterruption: lengths };
  const [requestLength, responseLength] = lengths;
  const after = block.slice(0, requestLength + responseLength);
  const room = new Uint8Array(Math.max(responseLength, QUERY_FUNCTION_BYTES));
  room.set(after.subarray(requestLength));
  const response = { length: responseLength, data: new DataView(room.buffer) };
  const cc = runCommand(new DataView(after.buffer, 0, requestLength), response, view, lps);
  after.set(room.subarray(0, responseLength), requestLength);
  return { cc, block: after };
}

/** Steps 2 to 5: what is not readable is an addressing exception, in the order in which it is read. */
function checkLengths(
  block: Uint8Array,
): readonly [request: number, response: number] | 'addressing' | 'operand' {
  const u16 = (at: number): number => ((block[at] ?? 0) << 8) | (block[at + 1] ?? 0);
  if (block.length < 4) return 'addressing';
  const request = u16(0);
  if (request < 16 || request > 8184 || request % 8 !== 0) return 'operand';
  if (block.length < request + 4) return 'addressing';
  const response = u16(request);
  if (response < 8 || response > 8176 || response % 8 !== 0) return 'operand';
  if (request + response > CLP_BLOCK_BYTES) return 'operand';
  if (block.length < request + response) return 'addressing';
  return [request, response];
}

function runCommand(request: DataView, response: Response, view: ClpView, lps: number): 0 | 3 {
  if (lps !== CLP_LPS.BASE && lps !== CLP_LPS.PCI) return 3; // no such logical processor
  const commands = lps === CLP_LPS.PCI ? COMMANDS : BASE_COMMANDS;
  const command = request.byteLength === REQUEST_BYTES ? commands[request.getUint16(CODE)] : badLength;
  return (command ?? unknownCommand)(request, response, view) ?? 0;
}

const badLength: Command = (_, response) => end(response, CLP_RESPONSE.BAD_LENGTH);
const unknownCommand: Command = (_, response) => end(response, CLP_RESPONSE.COMMAND_UNKNOWN);

function end({ data }: Response, code: number): undefined {
  data.setUint16(CODE, code);
}

const LIST_HEADER = 32;
const LIST_ENTRY = 16;
const LIST_TOKEN = 16;
const LIST_MASK = 24;
const LIST_MAXIMUM = 28;
const LIST_UID_CHECKING = 30;
const LIST_ENTRY_SIZE = 31;
/** The handle bits that mark who executes the instructions. */
const MARKER_MASK = 0x00ff_0000;
const MAX_FUNCTIONS = 4096;
const ENTRY_CONFIGURED = 0x8000_0000;

/** Command 2 (zpci.md 4.3). Functions come in the order of their indexes, so that index 0 is never a resume token. */
const listFunctions: Command = (request, response, view) => {
  const format = request.getUint32(FORMAT);
  if ((format & FORMAT_BITS) !== 0) return end(response, CLP_RESPONSE.BAD_FORMAT);
  if (format !== 0 || request.getBigUint64(RESERVED) !== 0n)
    return end(response, CLP_RESPONSE.RESERVED_NOT_ZERO);
  const token = request.getBigUint64(LIST_TOKEN);
  const functions = [...view.functions()].sort((one, other) => one.index - other.index);
  if (token !== 0n && !functions.some(({ index }) => BigInt(index) === token))
    return end(response, CLP_RESPONSE.TOKEN_UNKNOWN);
  const { length, data } = response;
  if (length < LIST_HEADER + LIST_ENTRY) return end(response, CLP_RESPONSE.NEEDS_8K);
  if ((length - LIST_HEADER) % LIST_ENTRY !== 0) {
    end(response, CLP_RESPONSE.BAD_LENGTH);
    return 3;
  }
  const rest = functions.filter(({ index, state }) => BigInt(index) >= token && state !== 'reserved');
  const room = (length - LIST_HEADER) / LIST_ENTRY;
  const listed = rest.slice(0, room);
  data.setUint16(LENGTH, LIST_HEADER + listed.length * LIST_ENTRY);
  data.setBigUint64(LIST_TOKEN, BigInt(rest[room]?.index ?? 0));
  data.setUint32(LIST_MASK, MARKER_MASK);
  data.setUint16(LIST_MAXIMUM, MAX_FUNCTIONS);
  data.setUint8(LIST_UID_CHECKING, view.uidChecking === false ? 0 : 1);
  data.setUint8(LIST_ENTRY_SIZE, LIST_ENTRY);
  listed.forEach((fn, n) => {
    const at = LIST_HEADER + n * LIST_ENTRY;
    data.setUint16(at, fn.deviceId);
    data.setUint16(at + 2, fn.vendorId);
    data.setUint32(at + 4, fn.state === 'standby' ? 0 : ENTRY_CONFIGURED);
    data.setUint32(at + 8, fn.fid);
    data.setUint32(at + 12, fn.handle);
  });
  return end(response, CLP_RESPONSE.OK);
};

const HANDLE = 16;
const GROUP_ID = 19;

/** Command 3 (zpci.md 4.4): in every state, if the handle matches. */
const queryFunction: Command = (request, response, view) => {
  const fn = findByHandle(view.functions(), request.getUint32(HANDLE));
  if (fn === undefined) return end(response, CLP_RESPONSE.BAD_HANDLE);
  writeFunction(response.data, fn, view);
  return end(response, CLP_RESPONSE.OK);
};

/** Command 4 (zpci.md 4.5). */
const queryGroup: Command = (request, response, view) => {
  const group = view.group(request.getUint8(GROUP_ID));
  if (group === undefined) return end(response, CLP_RESPONSE.GROUP_UNKNOWN);
  writeGroup(response.data, group);
  return end(response, CLP_RESPONSE.OK);
};

const SET_OC = 22;
const SET_NDAS = 23;
const SET_GISA = 28;
const SET_MIO = 32;

/** Command 5 (zpci.md 4.6). The new handle is stored only when it is done. */
const setFunction: Command = (request, response, view) => {
  const fn = findByHandle(view.functions(), request.getUint32(HANDLE));
  if (fn === undefined) return end(response, CLP_RESPONSE.BAD_HANDLE);
  const oc = request.getUint8(SET_OC);
  const answer = view.setFunction(fn.index, oc, request.getUint8(SET_NDAS), request.getUint32(SET_GISA));
  if (answer.response === CLP_RESPONSE.OK) {
    response.data.setUint32(HANDLE, answer.handle);
    if (oc === CLP_SET_OC.ENABLE_MIO && fn.mio !== undefined) writeMio(response.data, SET_MIO, fn.mio);
  }
  return end(response, answer.response);
};

const CHARACTERISTICS_BYTES = 128;
const WRITE_BACK = 80;
const WRITE_BACK_VALID = 0x80;

/** Command 1 (zpci.md 4.2). The masks of functions and commands, whose bits no source names, are 0. */
const storeCharacteristics: Command = (_, response, view) => {
  const { writeBackBit } = view;
  if (writeBackBit === undefined) return end(response, CLP_RESPONSE.COMMAND_UNKNOWN);
  if (response.length < CHARACTERISTICS_BYTES) return end(response, CLP_RESPONSE.BAD_LENGTH);
  response.data.setUint8(WRITE_BACK, WRITE_BACK_VALID | writeBackBit);
  return end(response, CLP_RESPONSE.OK);
};

const BASE_COMMANDS: Readonly<Record<number, Command>> = {
  [CLP_COMMAND.STORE_CHARACTERISTICS]: storeCharacteristics,
};

const COMMANDS: Readonly<Record<number, Command>> = {
  ...BASE_COMMANDS,
  [CLP_COMMAND.LIST]: listFunctions,
  [CLP_COMMAND.QUERY_FUNCTION]: queryFunction,
  [CLP_COMMAND.QUERY_GROUP]: queryGroup,
  [CLP_COMMAND.SET_FUNCTION]: setFunction,
};

/** What set PCI function is to do to a function, or why it does nothing. */
export interface SetFunctionResponse {
  /** Response code; 0x0010 when the step is to be taken. */
  readonly response: number;
  /** Enable and disable are steps of the state table; the others leave the state alone. */
  readonly step?: 'enable' | 'disable' | 'enable-mio' | 'disable-mio';
}

/**
 * The rules of set PCI function (zpci.md 4.6): what operation `oc` with `ndas` DMA address spaces is answered on a
 * function that the handle named. Operations 2 and 3 exist for an enabled function with MIO addresses only.
 */
export function setFunctionResponse(
  { state, handle, mio }: Pick<ClpFunction, 'state' | 'handle' | 'mio'>,
  oc: number,
  ndas: number,
): SetFunctionResponse {
  const enabled = isEnabledHandle(handle);
  switch (oc) {
    case CLP_SET_OC.ENABLE:
      if (ndas === 0) return { response: CLP_RESPONSE.BAD_DMA_SPACE };
      if (ndas > 1) return { response: CLP_RESPONSE.RESOURCES };
      return enabled ? { response: CLP_RESPONSE.HANDLE_NOT_VALID } : stepped(state, 'enable');
    case CLP_SET_OC.DISABLE:
      return enabled ? stepped(state, 'disable') : { response: CLP_RESPONSE.HANDLE_NOT_VALID };
    case CLP_SET_OC.ENABLE_MIO:
    case CLP_SET_OC.DISABLE_MIO:
      if (!enabled || mio === undefined) return { response: CLP_RESPONSE.HANDLE_NOT_VALID };
      return {
        response: CLP_RESPONSE.OK,
        step: oc === CLP_SET_OC.ENABLE_MIO ? 'enable-mio' : 'disable-mio',
      };
    default:
      return { response: CLP_RESPONSE.HANDLE_NOT_VALID };
  }
}

function stepped(state: ClpFunction['state'], step: 'enable' | 'disable'): SetFunctionResponse {
  const taken = transition(state, step);
  if ('refused' in taken) return { response: taken.refused ?? CLP_RESPONSE.HANDLE_NOT_VALID };
  return { response: CLP_RESPONSE.OK, step };
}
