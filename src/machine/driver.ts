/** What a device driver does to a function before it uses it, by the same accesses. */
import { inRange, invalid, ZtlpError } from '../base/errors.js';
import { checkU64, high32, low32, type U64 } from '../core/u64.js';
import type { PathId } from '../path/table.js';
import { CAP } from '../pci/registers.js';
import type { PciFunction } from './function.js';
import type { Machine } from './machine.js';

/** What one MSI-X vector sends. */
export interface MsixMessage {
  /** A multiple of 4. */
  readonly address: U64;
  /** 32 bits. */
  readonly data: number;
}

const ENTRY = 16;
const VECTOR_CONTROL = 12;
const MASKED = 1;
const ENABLE = 0x8000;
const FUNCTION_MASK = 0x4000;

/** @param platformAddress where interrupts go on this platform; 0: nothing is known */
export function enableMsix(
  machine: Machine,
  fn: PciFunction,
  given: readonly MsixMessage[] | undefined,
  platformAddress: number,
): void {
  const { config } = machine;
  const at = capabilityOf(fn);
  const control = config.read(fn.id, at + 2, 2);
  const vectors = (control & 0x7ff) + 1;
  if (given === undefined && platformAddress === 0)
    throw new ZtlpError(
      'invalid-value',
      `messages: ${machine.platform} has no interrupt address of its own`,
      {
        field: 'messages',
        allowed: 'one { address, data } per vector',
      },
    );
  const messages =
    given ?? Array.from({ length: vectors }, (_, data): MsixMessage => ({ address: platformAddress, data }));
  if (!Array.isArray(messages) || messages.length > vectors)
    throw invalid('messages', messages, `a list of at most ${vectors}`);
  messages.forEach((message: MsixMessage, n) => {
    const address = checkU64(`messages[${n}].address`, message?.address);
    if ((low32(address) & 3) !== 0) throw invalid(`messages[${n}].address`, address, 'a multiple of 4');
    inRange(`messages[${n}].data`, message.data, 0, 0xffff_ffff);
  });
  if (!fn.decodes)
    throw new ZtlpError(
      'invalid-value',
      `${fn.name}: its BARs do not answer, so the table cannot be written`,
      {
        field: 'function',
        allowed: 'a function in D0 with Memory Space Enable',
      },
    );
  const table = config.read(fn.id, at + 4, 4);
  // Masked as a whole while the entries change, as drivers do it.
  config.write(fn.id, at + 2, control | ENABLE | FUNCTION_MASK, 2);
  for (let n = 0; n < vectors; n++) {
    const message = messages[n];
    const at = (table & ~7) + ENTRY * n;
    // The others stay masked, or become so.
    if (message === undefined)
      writeWords(machine, fn, table & 7, at + VECTOR_CONTROL, Uint32Array.of(MASKED));
    else {
      const { address, data } = message;
      const entry = Uint32Array.of(low32(address), high32(address), data, 0);
      writeWords(machine, fn, table & 7, at, entry);
    }
  }
  config.write(fn.id, at + 2, (control | ENABLE) & ~FUNCTION_MASK, 2);
}

function capabilityOf(fn: PciFunction): number {
  const at = fn.config.capability(CAP.MSIX);
  if (at !== undefined) return at;
  throw new ZtlpError('not-found', `${fn.name}: has no MSI-X capability`, { field: 'capabilities.msix' });
}

/** Doublewords, by the access that software of the platform would use. */
function writeWords(
  machine: Machine,
  fn: PciFunction,
  bar: number,
  offset: number,
  words: Uint32Array,
): void {
  const path = PATHS[machine.platform] ?? ZPCI_PATHS[fn.options.zpciMode];
  words.forEach((word, n) => {
    const data = new Uint8Array(4);
    new DataView(data.buffer).setUint32(0, word, true);
    machine.cpu.write({ path, function: fn, bar, offset: offset + 4 * n, data, block: false });
  });
}

const PATHS: Readonly<Record<string, PathId | undefined>> = { 'x86-64': 'x86-uc', arm64: 'arm64-device' };
const ZPCI_PATHS: Readonly<Record<PciFunction['options']['zpciMode'], PathId>> = {
  emulated: 'zpci-emulated',
  vfio: 'zpci-vfio-w8',
  native: 'zpci-pcistg8',
  interpreted: 'zpci-interpreted',
};
