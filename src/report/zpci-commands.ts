/** The commands of a zPCI script that are no instructions: memory, translation tables, the device's side, time, state. */
import { invalid, ZtlpError } from '../base/errors.js';
import { add64, hex64, type U64 } from '../core/u64.js';
import { MSI_ADDRESS } from '../machine/function.js';
import { formatHex } from '../tlp/text.js';
import { registrations } from './zpci-controls.js';
import { patternBytes } from './zpci-instructions.js';
import { IO_PAGE } from './zpci-io-tables.js';
import {
  bar,
  bytes,
  choice,
  flag,
  functionName,
  number,
  type Operand,
  optional,
  parseU64,
  pattern,
  rest,
  u64,
  word,
} from './zpci-operands.js';
import { type Scene, type Verb, verb } from './zpci-verbs.js';

/** Most bytes of one fill, one dump and one DMA request. */
const MAX_FILL = 1 << 26;
const MAX_DUMP = 1 << 13;
const MAX_DMA = 1 << 20;
const MAX_MAP = 1 << 24;

const memory = verb({
  name: 'memory',
  operands: { address: word(u64), hex: rest(bytes(MAX_DUMP)) },
  run(scene, { address, hex }) {
    guestRange(scene, address, hex.length);
    scene.machine.memory.write(address, hex);
    return { answers: {} };
  },
});

const fill = verb({
  name: 'fill',
  operands: { address: word(u64), length: word(number(MAX_FILL)), byte: word(pattern) },
  run(scene, { address, length, byte }) {
    guestRange(scene, address, length);
    scene.machine.memory.write(address, patternBytes(byte, length));
    return { answers: {} };
  },
});

const show = verb({
  name: 'show',
  operands: {
    name: optional(word(functionName)),
    bar: optional(word(bar)),
    address: word(u64),
    length: word(number(MAX_DUMP, 1)),
  },
  answers: ['data'],
  check({ name, bar: index }) {
    if ((name === undefined) !== (index === undefined))
      throw invalid('show', name ?? `bar${index}`, 'ADDRESS LENGTH, or FUNCTION BAR OFFSET LENGTH');
  },
  run(scene, { name, bar: index, address, length }) {
    if (name === undefined || index === undefined) {
      guestRange(scene, address, length);
      const data = scene.machine.memory.read(address, length);
      return { answers: { data: formatHex(data) }, lines: dump(data, address) };
    }
    const fn = scene.named(name);
    const bytes = fn.barMemory(index);
    const from = Number(address);
    if (from + length > bytes.length)
      throw invalid('offset', hex64(address), `0 to ${bytes.length - length}`, 'out-of-range');
    const data = bytes.slice(from, from + length);
    return { answers: { data: formatHex(data) }, lines: dump(data, address), fn };
  },
});

/** Throws unless `length` bytes of guest memory begin at `address`. */
function guestRange({ machine }: Scene, address: U64, length: number): void {
  const { size } = machine.memory;
  if (BigInt(address) + BigInt(length) <= BigInt(size)) return;
  const allowed = `${length} bytes in guest memory, which ends at ${hex64(size)}`;
  throw invalid('address', hex64(address), allowed, 'out-of-range');
}

/** 16 bytes a line, as hexdump -C prints them. */
function dump(data: Uint8Array, address: U64): string[] {
  const lines: string[] = [];
  for (let at = 0; at < data.length; at += 16) {
    const part = data.subarray(at, at + 16);
    const hex = Array.from(part, (byte) => byte.toString(16).padStart(2, '0'));
    const words = [hex.slice(0, 8), hex.slice(8)].map((half) => half.join(' '));
    const text = Array.from(part, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'));
    const place = BigInt(address) + BigInt(at);
    lines.push(`${place.toString(16).padStart(8, '0')}  ${words.join('  ').padEnd(48)}  |${text.join('')}|`);
  }
  return lines;
}

const tables = verb({
  name: 'tables',
  operands: { name: word(functionName), at: optional(u64) },
  answers: ['iota'],
  run(scene, { name, at }) {
    const fn = scene.named(name);
    if (scene.hasTables(fn))
      throw new ZtlpError(
        'invalid-value',
        `${name} has its tables already: iota ${hex64(scene.tables(fn).iota)}`,
        {
          field: 'tables',
          value: name,
        },
      );
    return { answers: { iota: hex64(scene.tables(fn, at).iota) }, fn };
  },
});

const map = verb({
  name: 'map',
  operands: {
    name: word(functionName),
    iova: word(u64),
    frame: word(u64),
    len: optional(number(MAX_MAP, IO_PAGE)),
    ro: flag,
  },
  answers: ['iota'],
  check: ({ len }) => checkPages(len),
  run(scene, { name, iova, frame, len = IO_PAGE, ro: isProtected = false }) {
    const fn = scene.named(name);
    const table = scene.tables(fn);
    for (let at = 0; at < len; at += IO_PAGE) table.map(add64(iova, at), add64(frame, at), isProtected);
    return { answers: { iota: hex64(table.iota) }, fn };
  },
});

const unmap = verb({
  name: 'unmap',
  operands: { name: word(functionName), iova: word(u64), len: optional(number(MAX_MAP, IO_PAGE)) },
  answers: [],
  check: ({ len }) => checkPages(len),
  run(scene, { name, iova, len = IO_PAGE }) {
    const fn = scene.named(name);
    const table = scene.tables(fn);
    for (let at = 0; at < len; at += IO_PAGE) table.unmap(add64(iova, at));
    return { answers: {}, fn };
  },
});

function checkPages(len: number | undefined): void {
  if (len !== undefined && len % IO_PAGE !== 0) throw invalid('len', len, 'a multiple of 4096');
}

const dma = verb({
  name: 'dma',
  operands: {
    name: word(functionName),
    op: word(choice('read', 'write')),
    address: word(u64),
    what: rest(anyText()),
  },
  answers: ['outcome', 'data'],
  check: ({ op, what }) => void dmaOperand(op, what),
  run(scene, { name, op, address, what }) {
    const fn = scene.named(name);
    const { status, data } = scene.dma(fn, address, dmaOperand(op, what));
    const isUnregistered = fn.usesTranslation && fn.translation === undefined;
    return {
      note: isUnregistered ? 'no I/O translation is registered: the request reaches nothing' : undefined,
      answers: { outcome: status, data: data === undefined ? undefined : formatHex(data) },
      lines: data === undefined ? [] : dump(data.subarray(0, 64), address),
      fn,
    };
  },
});

function anyText(): Operand<string> {
  return { place: 'key', isRequired: true, parse: (text) => text };
}

/** The length of a read, the bytes of a write. */
function dmaOperand(op: 'read' | 'write', text: string): number | Uint8Array {
  if (op === 'read') return Number(parseU64('length', text, 1n, BigInt(MAX_DMA)));
  const [, length = '', byte = ''] = /^(\S+)\s+of\s+(\S+)$/i.exec(text) ?? [];
  if (length === '') return bytes(MAX_DUMP).parse(text, 'data', { functions: [] });
  const count = Number(parseU64('length', length, 1n, BigInt(MAX_DMA)));
  return patternBytes(pattern.parse(byte, 'byte', { functions: [] }), count);
}

const msi = verb({
  name: 'msi',
  operands: { name: word(functionName), data: word(number(0xffff_ffff)) },
  answers: ['outcome'],
  run(scene, { name, data }) {
    const fn = scene.named(name);
    const message = new Uint8Array(4);
    new DataView(message.buffer).setUint32(0, data, true);
    const { status } = scene.dma(fn, MSI_ADDRESS, message);
    const isRegistered = registrations(scene, fn)?.some(([name]) => name === 'interrupts') ?? false;
    return {
      answers: { outcome: status },
      note: isRegistered ? undefined : 'no adapter interrupts are registered: MPCIFC oc=2',
      fn,
    };
  },
});

const plug = verb({
  name: 'plug',
  operands: { name: word(functionName) },
  run(scene, { name }) {
    const fn = scene.named(name);
    if (fn.state !== 'reserved')
      throw invalid('plug', `${name} is ${fn.state}`, 'a function in state reserved');
    scene.machine.plug(fn);
    return { answers: {}, fn };
  },
});

const unplug = verb({
  name: 'unplug',
  operands: { name: word(functionName), surprise: flag },
  run(scene, { name, surprise = false }) {
    const fn = scene.named(name);
    if (fn.state === 'reserved') throw invalid('unplug', `${name} is reserved`, 'a function that is there');
    scene.machine.unplug(fn, { surprise });
    return { answers: {}, fn };
  },
});

const TIME_UNITS: Readonly<Record<string, number>> = { '': 1, ns: 1, us: 1e3, ms: 1e6, s: 1e9 };
const MAX_NS = 2e12;

const duration: Operand<number> = {
  place: 'word',
  isRequired: true,
  parse(text, field) {
    const [, digits = '', unit = ''] = /^(\d{1,15})(ns|us|ms|s)?$/i.exec(text) ?? [];
    const ns = digits === '' ? Number.NaN : Number(digits) * (TIME_UNITS[unit.toLowerCase()] ?? 1);
    if (ns <= MAX_NS) return ns;
    throw invalid(field, text, 'a time such as 100, 5us, 4s; at most 2000s');
  },
};

const run = verb({
  name: 'run',
  operands: { time: duration },
  run(scene, { time }) {
    scene.machine.run(time);
    return { answers: {} };
  },
});

const state = verb({
  name: 'state',
  operands: { name: optional(word(functionName)) },
  run(scene, { name }) {
    const names = name === undefined ? [...scene.functions.keys()] : [name];
    const fields = names.flatMap((one) => stateFields(scene, one));
    fields.push(['time', `${scene.machine.time.ns} ns`]);
    return { answers: {}, fields, fn: name === undefined ? undefined : scene.named(name) };
  },
});

function stateFields(scene: Scene, name: string): (readonly [string, string])[] {
  const fn = scene.named(name);
  const { loads, stores, storeBlocks, refreshes, tlps, wireBytes, deviceCalls, policyViolations } = fn.stats;
  const counters = `loads ${loads}, stores ${stores}, store blocks ${storeBlocks}, refreshes ${refreshes}`;
  return [
    [
      name,
      `${fn.state}, fh ${fn.handle.toString(16).padStart(8, '0')}, fid ${hex64(fn.fid)}, ${fn.options.zpciMode}`,
    ],
    ...(registrations(scene, fn) ?? []).map(([part, value]) => [`${name} ${part}`, value] as const),
    [`${name} counters`, counters],
    [`${name} traffic`, `${tlps} TLPs, ${wireBytes} wire bytes, ${deviceCalls} device calls`],
    ...(policyViolations === 0 ? [] : [[`${name} refused`, `${policyViolations} instructions`] as const]),
  ];
}

const reset = verb({
  name: 'reset',
  operands: {},
  run(scene) {
    scene.reset();
    return { answers: {} };
  },
});

export const COMMANDS: readonly Verb[] = [
  memory,
  fill,
  show,
  tables,
  map,
  unmap,
  dma,
  msi,
  plug,
  unplug,
  run,
  state,
  reset,
];
