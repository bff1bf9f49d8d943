/** What passes a function while the recorded Linux log is replayed, as lines of the log: what arrives, and its messages. */
import { vi } from 'vitest';
import { decodeTlp, encodeTlp, type PciFunction, type TracedTlp } from '../../src/index.js';
import { formatDeviceRecord } from '../../src/trace/device-log.js';
import type { ZpciAccess } from '../../src/trace/zpci-log.js';
import { arrival, DOORBELLS } from './linux-device.js';
import { MESSAGES } from './linux-log.js';

const DEVICE = 'virtio-net-pci';

interface Tap {
  /** The load or store of configuration space that runs. */
  running(): ZpciAccess | undefined;
  config(op: 'read' | 'write', offset: number, value: number): void;
  /** An access of the MSI-X table, as the log prints it. */
  table(line: string): void;
}

/** Tells of what arrives where no callback of the model is asked: configuration space and the MSI-X table. */
export function tapArrivals({ config, instance }: PciFunction, tap: Tap): void {
  if (instance === undefined) throw new Error('the function has no model');
  const readConfig = config.read.bind(config);
  vi.spyOn(config, 'read').mockImplementation((offset, width) => {
    const value = readConfig(offset, width);
    const running = tap.running();
    // A request for configuration space is for a doubleword; the log has the bytes that were wanted.
    if (running !== undefined)
      tap.config('read', offset | (running.lo & 3), part(value, running.lo & 3, running.len));
    return value;
  });
  const writeConfig = config.writeDw.bind(config);
  vi.spyOn(config, 'writeDw').mockImplementation((offset, value, enables) => {
    const first = 31 - Math.clz32(enables & -enables);
    const bytes = 32 - Math.clz32(enables) - first;
    tap.config('write', offset + first, part(value, first, bytes));
    writeConfig(offset, value, enables);
  });
  const read = instance.read.bind(instance);
  vi.spyOn(instance, 'read').mockImplementation((bar, offset, length, options) => {
    const bytes = read(bar, offset, length, options);
    if (bar !== DOORBELLS.bar && bytes instanceof Uint8Array)
      tap.table(arrival('read', { bar, offset }, bytes));
    return bytes;
  });
  const write = instance.write.bind(instance);
  vi.spyOn(instance, 'write').mockImplementation((bar, offset, bytes, enables, options) => {
    if (bar !== DOORBELLS.bar) tap.table(arrival('write', { bar, offset }, bytes));
    return write(bar, offset, bytes, enables, options);
  });
}

/** `bytes` bytes of a doubleword from byte `first` on, as a number. */
function part(doubleword: number, first: number, bytes: number): number {
  return Math.floor((doubleword >>> 0) / 2 ** (8 * first)) % 2 ** (8 * bytes);
}

/** An access that reached configuration space. */
export function configLine(op: 'read' | 'write', offset: number, value: number): string {
  return formatDeviceRecord({ kind: `config ${op}`, device: DEVICE, offset, value });
}

/** A message on its way up. */
export function messageLine({ tlp, data }: TracedTlp): string {
  const address = BigInt(tlp.address);
  return formatDeviceRecord({
    kind: 'device write',
    region: MESSAGES,
    lo: Number(address & 0xffff_ffffn),
    hi: Number(address >> 32n),
    width: data.length as 4,
    valueLo: new DataView(data.buffer).getUint32(0, true),
    valueHi: 0,
  });
}

/** What the decoder finds wrong with a TLP. */
export function problemsOf({ tlp, data }: TracedTlp): string[] {
  const bytes = encodeTlp(tlp, data.length > 0 ? data : undefined, { malformed: true });
  const { malformed } = decodeTlp(bytes, { beCheck: true });
  return malformed === undefined ? [] : [`${tlp.type}: ${malformed.rule}`];
}
