/** I/O translation as sheet zpci.md 5 has it: walks of the tables, RPCIT, and DMA that sees only what was refreshed. */
import { messageText, type Reference, type ReferenceFunction, type Translation } from './machine.js';
import { DONE, exception, failed, MSIA, type Operands, UNAVAILABLE } from './types.js';

const PAGE = 4096n;
const PROTECTED = 0x200n;
/** Address bits below the index, by level: segment table, region third, second and first table. */
const SHIFTS = [20n, 31n, 42n, 53n] as const;

type Walk =
  | { readonly code: number }
  /** Nothing is mapped up to `end`. */
  | { readonly end: bigint }
  | { readonly frame: bigint; readonly writable: boolean };

function entryAt(machine: Reference, address: bigint): bigint {
  return machine.readable(address, 8) ? machine.view.getBigUint64(Number(address)) : 0n;
}

/** Section 5.3. */
function walk(machine: Reference, iota: bigint, address: bigint): Walk {
  let writable = (iota & PROTECTED) === 0n;
  let origin = iota & ~0xfffn;
  for (let level = Number((iota >> 2n) & 7n); level >= 0; level--) {
    const shift = SHIFTS[level] as bigint;
    const entry = entryAt(machine, origin + 8n * ((address >> shift) % 2048n));
    if (entry === 0n) return { code: 7 };
    if ((entry & 0x20n) !== 0n) return { end: ((address >> shift) + 1n) << shift };
    if (level > 0 && ((entry & 3n) !== 3n || (entry & 0xc0n) !== 0n)) return { code: 8 };
    if (((entry >> 2n) & 3n) !== BigInt(level)) return { code: 9 };
    if ((entry & PROTECTED) !== 0n) writable = false;
    if (level === 0 && (entry & 0x400n) !== 0n)
      return { frame: (entry & ~0xf_ffffn) | (address & 0xf_f000n), writable };
    origin = level > 0 ? entry & ~0x3fffn : entry & ~0x7ffn;
  }
  const entry = entryAt(machine, origin + 8n * ((address >> 12n) % 256n));
  if (entry === 0n) return { code: 7 };
  if ((entry & 0x400n) !== 0n) return { end: ((address >> 12n) + 1n) << 12n };
  return { frame: entry & ~0xfffn, writable: writable && (entry & PROTECTED) === 0n };
}

/** Section 5.4, without a quota. */
export function refresh(
  machine: Reference,
  { fh, start, length, r2, problemState }: Operands<'rpcit'>,
): string {
  if (problemState) return exception('privileged operation', 4);
  if (r2 % 2 === 1) return exception('specification', 4);
  const fn = machine.byHandle(fh);
  if (fn === undefined) return UNAVAILABLE;
  fn.isControlled = true;
  if (fn.state === 'error') return failed(40);
  if (fn.state !== 'enabled' && fn.state !== 'error-ls-open') return UNAVAILABLE;
  const fails = (code: number, address: bigint): string => {
    machine.fault(fn, code, address);
    return failed(8);
  };
  if (fn.translation === undefined) return fails(1, start);
  const { pba, pal, iota } = fn.translation;
  const end = start + length;
  if (end < pba || start > pal) return fails(2, start);
  for (let at = start - (start % PAGE); at < end; ) {
    const found = walk(machine, iota, at);
    if ('code' in found) return fails(found.code, at);
    if ('end' in found) {
      const behind = found.end < end ? found.end : end;
      for (const page of fn.cache.keys()) if (page >= at && page < behind) fn.cache.delete(page);
      at = found.end;
    } else {
      fn.cache.set(at, found);
      at += PAGE;
    }
  }
  fn.stats.refreshes++;
  return DONE;
}

/** Where a request goes; undefined: it is refused, and what had to be told was told (5.6). */
function translated(
  machine: Reference,
  fn: ReferenceFunction,
  address: bigint,
  isRead: boolean,
): bigint | undefined {
  if (!fn.isControlled) return address;
  const runs =
    fn.state === 'enabled' || (fn.state === 'error-ls-open' && fn.shape.dmaInErrorLsOpen === 'allowed');
  const translation: Translation | undefined = runs ? fn.translation : undefined;
  if (translation === undefined) return undefined;
  const faults = (code: number): undefined => machine.fault(fn, code, address, isRead) as undefined;
  if (address < translation.pba || address > translation.pal) return faults(2);
  const page = fn.cache.get(address - (address % PAGE));
  if (page === undefined || !(isRead || page.writable)) return faults(4);
  return page.frame + (address % PAGE);
}

/** A request of the device, cut at pages: what the device is told of it. */
export function transfer(
  machine: Reference,
  fn: ReferenceFunction,
  { isRead, address, bytes }: Operands<'dma'>,
): string {
  if (!fn.isBusMaster) return 'blocked';
  if (fn.isControlled && address - (address % PAGE) === MSIA) {
    if (isRead) return `ok ${'ff'.repeat(bytes.length)}`;
    machine.message(fn, new DataView(bytes.buffer).getUint32(0, true));
    return 'ok';
  }
  // A function that no control software has named sends an ordinary message.
  if (!isRead && address - (address % PAGE) === MSIA) {
    machine.seen.push(messageText(fn.slot, new DataView(bytes.buffer).getUint32(0, true)));
    return 'ok';
  }
  const read = new Uint8Array(bytes.length);
  let isWhole = true;
  for (let done = 0; done < bytes.length; ) {
    const from = address + BigInt(done);
    const count = Math.min(bytes.length - done, Number(PAGE - (from % PAGE)));
    const to = translated(machine, fn, from, isRead);
    if (to === undefined || !machine.readable(to, count)) isWhole = false;
    else if (isRead) read.set(machine.memory.subarray(Number(to), Number(to) + count), done);
    else machine.memory.set(bytes.subarray(done, done + count), Number(to));
    done += count;
  }
  if (!isRead) return 'ok'; // nobody answers a posted write
  return isWhole ? `ok ${Buffer.from(read).toString('hex')}` : 'unsupported-request';
}
