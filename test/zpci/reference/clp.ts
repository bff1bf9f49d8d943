/** CLP as sheet zpci.md 4 has it: the block in guest memory, and its commands. */
import type { Reference, ReferenceFunction } from './machine.js';
import {
  DONE,
  EDMA,
  ENABLE_BIT,
  exception,
  MSIA,
  MUI_NS,
  type Operands,
  SDMA,
  UNAVAILABLE,
} from './types.js';

const OK = 0x0010;
const REQUEST = 32;
const OPERAND = exception('operand', 4);
const ADDRESSING = exception('addressing', 4);

/** Section 4.1. */
export function callLogicalProcessor(machine: Reference, { address, problemState }: Operands<'clp'>): string {
  if (problemState) return exception('privileged operation', 4);
  if (!machine.readable(address, 4)) return ADDRESSING;
  const { view } = machine;
  const at = Number(address);
  const length = view.getUint16(at);
  if (length < 16 || length > 8184 || length % 8 !== 0) return OPERAND;
  const response = at + length;
  if (!machine.readable(address, length + 4)) return ADDRESSING;
  const room = view.getUint16(response);
  if (room < 8 || room > 8176 || room % 8 !== 0 || length + room > 8192) return OPERAND;
  if (!machine.readable(address, length + room)) return ADDRESSING;
  const end = (code: number, answer = DONE): string => {
    view.setUint16(response + 2, code);
    return `${answer} response 0x${code.toString(16)}`;
  };
  if (length !== REQUEST) return end(0x0050);
  const block = new Block(view, at, response, room);
  switch (view.getUint16(at + 2)) {
    case 2: {
      const code = list(machine, block);
      // Only the last of the checks of a list answers cc 3.
      return typeof code === 'number' ? end(code) : end(code.code, UNAVAILABLE);
    }
    case 3:
      return end(queryFunction(machine, block));
    case 4:
      return end(queryGroup(machine, block));
    case 5:
      return end(setFunction(machine, block));
    default:
      return end(0x0020);
  }
}

/** Request and response; what does not fit into the response is not stored. */
class Block {
  constructor(
    readonly view: DataView,
    readonly request: number,
    readonly response: number,
    readonly room: number,
  ) {}

  get handle(): number {
    return this.view.getUint32(this.request + 16);
  }

  put(offset: number, bytes: 1 | 2 | 4 | 8, value: bigint | number): void {
    const whole = BigInt(value);
    for (let n = 0; n < bytes; n++) {
      if (offset + n >= this.room) return;
      this.view.setUint8(this.response + offset + n, Number((whole >> BigInt(8 * (bytes - 1 - n))) & 0xffn));
    }
  }

  clear(from: number, end: number): void {
    for (let offset = from; offset < end; offset++) this.put(offset, 1, 0);
  }
}

/** Section 4.3. */
function list(machine: Reference, block: Block): number | { readonly code: number } {
  const { view, request, room } = block;
  const control = view.getUint32(request + 4);
  if (control >>> 28 !== 0) return 0x0040;
  // The sheet does not say whether the eight bytes behind the token count as well: the sequences leave them 0.
  if (control !== 0 || view.getBigUint64(request + 8) !== 0n) return 0x0070;
  const token = view.getBigUint64(request + 16);
  const ordered = [...machine.functions].sort((one, other) => one.shape.index - other.shape.index);
  const first = token === 0n ? 0 : ordered.findIndex(({ shape }) => BigInt(shape.index) === token);
  if (first < 0) return 0x010a;
  if (room < 48) return 0x0060;
  if ((room - 32) % 16 !== 0) return { code: 0x0050 };
  const present = ordered.slice(first).filter(({ state }) => state !== 'reserved');
  const shown = present.slice(0, (room - 32) / 16);
  block.put(0, 2, 32 + 16 * shown.length);
  block.put(16, 8, present[shown.length]?.shape.index ?? 0);
  block.put(24, 4, 0x00ff_0000);
  block.put(28, 2, 4096);
  block.put(30, 1, 1);
  block.put(31, 1, 16);
  shown.forEach(({ shape, state, handle }, n) => {
    const at = 32 + 16 * n;
    const { config } = shape;
    block.put(at, 2, (config[2] as number) | ((config[3] as number) << 8));
    block.put(at + 2, 2, (config[0] as number) | ((config[1] as number) << 8));
    block.put(at + 4, 4, state === 'standby' ? 0 : 0x8000_0000);
    block.put(at + 8, 4, shape.fid);
    block.put(at + 12, 4, handle);
  });
  return OK;
}

/** Section 4.4: the first 192 bytes. */
function queryFunction(machine: Reference, block: Block): number {
  const fn = machine.byHandle(block.handle);
  if (fn === undefined) return 0x0101;
  const { shape } = fn;
  block.clear(16, 192);
  block.put(19, 1, shape.groupId);
  block.put(20, 4, shape.fid);
  shape.bars.forEach((bar, n) => {
    const size = bar?.size ?? (n === shape.doorbellBar ? shape.doorbellBytes : 0);
    if (size > 0) block.put(24 + n, 1, Math.log2(size));
  });
  // Little-endian words, as they stand in configuration space (X3).
  for (let n = 0; n < 24; n++) block.put(32 + n, 1, fn.config[0x10 + n] as number);
  block.put(64, 8, SDMA);
  block.put(72, 8, EDMA);
  block.put(124, 4, shape.uid);
  return OK;
}

/** Section 4.5. */
function queryGroup(machine: Reference, block: Block): number {
  const id = block.view.getUint8(block.request + 19);
  const shape = machine.functions.find((fn) => fn.shape.groupId === id)?.shape;
  if (shape === undefined) return 0x010b;
  block.clear(16, 64);
  block.put(16, 2, 128);
  block.put(19, 1, shape.relaxed ? 0x09 : 0x01);
  block.put(20, 2, shape.maxstbl);
  block.put(22, 2, MUI_NS / 1e6);
  block.put(24, 1, shape.dtsm);
  block.put(40, 8, MSIA);
  return OK;
}

/** Section 4.6. */
function setFunction(machine: Reference, block: Block): number {
  const fn = machine.byHandle(block.handle);
  if (fn === undefined) return 0x0101;
  const oc = block.view.getUint8(block.request + 22);
  const ndas = block.view.getUint8(block.request + 23);
  const code = oc === 0 ? enable(fn, ndas) : oc === 1 ? disable(machine, fn) : 0x0102;
  // No MIO addresses follow: the functions have none.
  if (code === OK) block.put(16, 4, fn.handle);
  return code;
}

function enable(fn: ReferenceFunction, ndas: number): number {
  if (ndas === 0) return 0x0103;
  if (ndas > 1) return 0x0104;
  if (fn.handle >= ENABLE_BIT) return 0x0102;
  if (fn.state === 'permanent-error') return 0x0106;
  if (fn.state !== 'disabled') return 0x0102;
  fn.isControlled = true;
  fn.become('enabled');
  return OK;
}

function disable(machine: Reference, fn: ReferenceFunction): number {
  if (fn.handle < ENABLE_BIT) return 0x0102;
  fn.isControlled = true;
  fn.resetDevice();
  fn.register(undefined);
  fn.interrupts = undefined;
  machine.measure(fn, 0n);
  fn.become('disabled');
  return OK;
}
