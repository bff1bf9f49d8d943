/** Blocks of zPCI control instructions by name: requests and responses of CLP, the function information block, statuses. */
import { hex64 } from '../core/u64.js';
import { CLP_COMMAND } from '../zpci/clp.js';
import { PEC } from '../zpci/events.js';
import { FC, type Fib } from '../zpci/fib.js';
import { CLP_RESPONSE, SCLP_RESPONSE } from '../zpci/states.js';

export type Field = readonly [name: string, value: string];

const REQUEST_BYTES = 32;

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
const x = (value: number): string => `0x${value.toString(16)}`;

/** A CLP command with room for its response (zpci.md 4.1, 4.3 to 4.6). */
export type ClpRequest =
  | { readonly command: 'list' }
  | { readonly command: 'query'; readonly fh: number }
  | { readonly command: 'group'; readonly id: number }
  | { readonly command: 'set'; readonly fh: number; readonly oc: number; readonly ndas: number };

const COMMANDS = {
  list: [CLP_COMMAND.LIST, 4096 - REQUEST_BYTES],
  query: [CLP_COMMAND.QUERY_FUNCTION, 384],
  group: [CLP_COMMAND.QUERY_GROUP, 64],
  set: [CLP_COMMAND.SET_FUNCTION, 160],
} as const;

/** Request and empty response: what stands in memory before the instruction. */
export function encodeClpRequest(request: ClpRequest): Uint8Array {
  const [code, length] = COMMANDS[request.command];
  const block = new Uint8Array(REQUEST_BYTES + length);
  const view = new DataView(block.buffer);
  view.setUint16(0, REQUEST_BYTES);
  view.setUint16(2, code);
  view.setUint16(REQUEST_BYTES, length);
  if ('fh' in request) view.setUint32(16, request.fh);
  if ('id' in request) view.setUint8(19, request.id);
  if ('oc' in request) {
    view.setUint8(22, request.oc);
    view.setUint8(23, request.ndas);
  }
  return block;
}

/** Response code of the block after the instruction, four hexadecimal digits. */
export function clpResponse(block: Uint8Array): string {
  return hex(new DataView(block.buffer, block.byteOffset).getUint16(REQUEST_BYTES + 2), 4);
}

/** The fields of a response that was answered with 0010. */
export function clpFields(command: ClpRequest['command'], block: Uint8Array): Field[] {
  const response = new DataView(block.buffer, block.byteOffset + REQUEST_BYTES);
  return FIELDS[command](response);
}

const FIELDS: Readonly<Record<ClpRequest['command'], (view: DataView) => Field[]>> = {
  list(view) {
    const entries = Math.max(0, Math.floor((view.getUint16(0) - 32) / 16));
    return Array.from({ length: entries }, (_, n): Field => {
      const at = 32 + 16 * n;
      const id = `${hex(view.getUint16(at + 2), 4)}:${hex(view.getUint16(at), 4)}`;
      const isConfigured = (view.getUint32(at + 4) & 0x8000_0000) !== 0;
      const fid = x(view.getUint32(at + 8));
      return [
        `fh ${hex(view.getUint32(at + 12), 8)}`,
        `fid ${fid}, ${id}, ${isConfigured ? 'configured' : 'standby'}`,
      ];
    });
  },
  query(view) {
    const bars: Field[] = [];
    for (let n = 0; n < 6; n++) {
      const exponent = view.getUint8(24 + n);
      if (exponent > 0)
        bars.push([`bar${n}`, `${sizeText(2 ** exponent)}, stored ${hex(view.getUint32(32 + 4 * n), 8)}`]);
    }
    return [
      ['fid', x(view.getUint32(20))],
      ['uid', x(view.getUint32(124))],
      ['group', x(view.getUint8(19))],
      ['type', String(view.getUint8(63))],
      ['vfn, pchid', `${view.getUint16(16)}, ${x(view.getUint16(30))}`],
      ...bars,
      ['SDMA', hex64(view.getBigUint64(64))],
      ['EDMA', hex64(view.getBigUint64(72))],
      ...mioFields(view),
    ];
  },
  group(view) {
    const flags = view.getUint8(19);
    const names = FLAGS.filter(([mask]) => (flags & mask) !== 0).map(([, name]) => name);
    return [
      ['interrupts', String(view.getUint16(16) & 0xfff)],
      ['flags', `${x(flags)}${names.length > 0 ? `: ${names.join(', ')}` : ''}`],
      ['maxstbl', String(view.getUint16(20) & 0x1fff)],
      ['FMB interval', `${view.getUint16(22)} ms`],
      ['dtsm', x(view.getUint8(24))],
      ['MSI address', hex64(view.getBigUint64(40))],
    ];
  },
  set: (view) => [['fh', hex(view.getUint32(16), 8)]],
};

/** MIO addresses of the BARs that have some: write-through, then write-back. */
function mioFields(view: DataView): Field[] {
  if ((view.getUint8(18) & MIO_VALID) === 0) return [];
  const bars = view.getUint32(MIO_AT);
  return [0, 1, 2, 3, 4, 5]
    .filter((n) => (bars & (0x8000_0000 >>> n)) !== 0)
    .map((n) => {
      const at = MIO_AT + 8 + 16 * n;
      return [
        `MIO bar${n}`,
        `${hex64(view.getBigUint64(at + 8))}, write-back ${hex64(view.getBigUint64(at))}`,
      ];
    });
}

const MIO_VALID = 0x02;
const MIO_AT = 256;

/** Byte 19 of the group (zpci.md 3.2). */
const FLAGS = [
  [0x01, 'refresh'],
  [0x02, 'frame'],
  [0x08, 'relaxed length and alignment'],
  [0x20, 'relaxed translation'],
] as const;

/** Bytes as people write the size of a BAR. */
export function sizeText(bytes: number): string {
  for (const [unit, size] of [
    ['G', 2 ** 30],
    ['M', 2 ** 20],
    ['K', 1024],
  ] as const)
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  return String(bytes);
}

/** Name of a function control bit of byte 8 (zpci.md 6.2). */
const CONTROLS = [
  [FC.ENABLED, 'enabled'],
  [FC.ERROR, 'error'],
  [FC.LOAD_STORE_BLOCKED, 'load/store blocked'],
  [FC.DMA_REGISTERED, 'DMA registered'],
] as const;

/** A function information block; what is 0 in a part that nobody registered is left out. */
export function fibFields(fib: Fib): Field[] {
  const names = CONTROLS.filter(([mask]) => (fib.fc & mask) !== 0).map(([, name]) => name);
  const fields: Field[] = [['fc', `${x(fib.fc)}${names.length > 0 ? `: ${names.join(', ')}` : ''}`]];
  if (fib.iota !== 0n)
    fields.push(['translation', `iota ${hex64(fib.iota)}, ${hex64(fib.pba)} to ${hex64(fib.pal)}`]);
  if (fib.aibv !== 0n || fib.noi !== 0 || fib.aisb !== 0n) {
    const { isc, noi, aibv, aibvo, aisb, aisbo, sum } = fib;
    const vector = `aibv ${hex64(aibv)} from bit ${aibvo}`;
    const summary = `aisb ${hex64(aisb)} bit ${aisbo}${sum ? '' : ', no summary notification'}`;
    fields.push(['interrupts', `isc ${isc}, noi ${noi}, ${vector}, ${summary}`]);
  }
  if (fib.fmb !== 0n) fields.push(['measurement', `fmb ${hex64(fib.fmb)}`]);
  return fields;
}

const LOAD_STORE: Readonly<Record<number, string>> = {
  4: 'function not enabled',
  8: 'function in error state',
  12: 'function blocked',
  16: 'insufficient resources',
  20: 'invalid address space',
  24: 'function already enabled',
  28: 'DMA address space not enabled',
  36: 'second operand in invalid address space',
  40: 'function not available: error recovery',
  44: 'already in requested state',
};
const MODIFY: Readonly<Record<number, string>> = {
  4: 'resources not available',
  16: 'insufficient resources',
  24: 'sequence: it does not fit what went before',
  28: 'DMA address space invalid',
  32: 'frame invalid',
  40: 'error recovery',
};
const STORE: Readonly<Record<number, string>> = {
  8: 'permanent error',
  28: 'invalid DMA address space',
  40: 'error recovery',
};

/** What the status byte means for an instruction (zpci.md 2.4). */
export function statusText(instruction: string, status: number): string | undefined {
  const table = instruction === 'MPCIFC' ? MODIFY : instruction === 'STPCIFC' ? STORE : LOAD_STORE;
  return table[status];
}

/** `HANDLE_NOT_VALID` as words. */
function inWords(name: string): string {
  const text = name.toLowerCase().replaceAll('_', ' ');
  return text.replaceAll(/\b(fmb|msi|serr|aibv|dma|8k)\b/g, (part) => part.toUpperCase());
}

function nameIn(table: Readonly<Record<string, number>>, code: number): string | undefined {
  const found = Object.entries(table).find(([, value]) => value === code);
  return found === undefined ? undefined : inWords(found[0]);
}

/** Name of a PCI event code (zpci.md 5.6). */
export function eventText(code: number): string {
  return `event ${x(code)} ${nameIn(PEC, code) ?? 'of an unknown kind'}`;
}

/** What a response code of CLP or SCLP means; undefined for success. */
export function responseText(table: 'clp' | 'sclp', response: string): string | undefined {
  const code = Number.parseInt(response, 16);
  if (code === CLP_RESPONSE.OK && table === 'clp') return undefined;
  if (code === SCLP_RESPONSE.COMPLETED && table === 'sclp') return undefined;
  const name = nameIn(table === 'clp' ? CLP_RESPONSE : SCLP_RESPONSE, code);
  // Linux calls it so: the handle is right, the operation is not one for it.
  const text = code === CLP_RESPONSE.HANDLE_NOT_VALID && table === 'clp' ? `${name} for the operation` : name;
  return `response ${response}: ${text ?? 'unknown'}`;
}
