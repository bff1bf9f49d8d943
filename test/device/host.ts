/** A machine for one device: host memory, simulated time, and everything that the device did, in order. */
import type { Device } from '../../src/device/define.js';
import type { DeviceHost, HostReadResult, HostWriteResult } from '../../src/device/host.js';
import { DeviceInstance, type InstanceOptions } from '../../src/device/instance.js';
import type { DmaOptions } from '../../src/device/types.js';

interface Event {
  readonly at: number;
  readonly run: () => void;
}

export class TestHost implements DeviceHost {
  ns = 0;
  readonly lines: string[] = [];
  /** DMA and interrupts as text. */
  readonly sent: string[] = [];
  readonly options: DmaOptions[] = [];
  readonly ram = new Uint8Array(4096);
  private events: Event[] = [];

  /** @param dmaNs how long DMA takes; undefined: it is done before the request returns */
  constructor(private readonly dmaNs?: number) {}

  now(): number {
    return this.ns;
  }

  after(ns: number, callback: () => void): void {
    this.events.push({ at: this.ns + ns, run: callback });
  }

  dmaRead(
    address: number | bigint,
    length: number,
    options: DmaOptions,
    done: (result: HostReadResult) => void,
  ): void {
    this.sent.push(`read ${address} ${length}`);
    this.options.push(options);
    const at = Number(address);
    this.answer(() => {
      if (at + length > this.ram.length) done({ status: 'unsupported-request' });
      else done({ status: 'ok', data: this.ram.slice(at, at + length) });
    });
  }

  dmaWrite(
    address: number | bigint,
    bytes: Uint8Array,
    options: DmaOptions,
    done: (result: HostWriteResult) => void,
  ): void {
    this.sent.push(`write ${address} ${[...bytes].join(' ')}`);
    this.options.push(options);
    this.answer(() => {
      if (Number(address) + bytes.length <= this.ram.length) this.ram.set(bytes, Number(address));
      done({ status: 'ok' });
    });
  }

  msix(vector: number, address: number | bigint, data: number): void {
    this.sent.push(`msix ${vector} 0x${address.toString(16)} 0x${data.toString(16)}`);
  }

  msi(vector: number): void {
    this.sent.push(`msi ${vector}`);
  }

  log(text: string): void {
    this.lines.push(text);
  }

  /** Runs what is due until `ns` from now, `most` events at most; returns how many ran. */
  run(ns = 0, most = 10_000): number {
    const end = this.ns + ns;
    let ran = 0;
    for (; ran < most; ran++) {
      const next = this.events.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.events = this.events.filter((event) => event !== next);
      this.ns = next.at;
      next.run();
    }
    this.ns = end;
    return ran;
  }

  private answer(done: () => void): void {
    if (this.dmaNs === undefined) done();
    else this.after(this.dmaNs, done);
  }
}

/** `device` in a machine of its own. */
export function plug<S>(
  device: Device<S>,
  options: InstanceOptions & { readonly dmaNs?: number } = {},
): { host: TestHost; instance: DeviceInstance<S> } {
  const { dmaNs, ...rest } = options;
  const host = new TestHost(dmaNs);
  return { host, instance: new DeviceInstance(device, host, rest) };
}

export const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

/** A number as little-endian bytes. */
export function le(value: number | bigint, length = 4): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => Number((BigInt(value) >> BigInt(8 * index)) & 0xffn));
}
