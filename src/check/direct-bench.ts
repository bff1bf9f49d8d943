/** A bench without a machine: the instance alone, in a host that can fail any DMA and keeps its own time. */
import { low32, type U64 } from '../core/u64.js';
import type { Device } from '../device/define.js';
import type { ContainedError } from '../device/guard.js';
import type { DeviceHost, HostReadResult, HostWriteResult } from '../device/host.js';
import { DeviceInstance } from '../device/instance.js';
import type { DmaFailure, DmaOptions, ResetKind } from '../device/types.js';
import { Clock } from '../machine/clock.js';
import type { Answer, Bench } from './bench.js';
import { HOST_BYTES } from './generator.js';
import { shown } from './text.js';

/** Events that are kept between two calls of `takeEvents`; later ones are left out. */
const MAX_EVENTS = 20_000;

class KitHost implements DeviceHost {
  readonly clock = new Clock();
  events: string[] = [];
  /** Events say when they were. */
  isTimed = false;
  /** What every DMA request is answered with. */
  failure: DmaFailure | undefined;
  private bytes: Uint8Array | undefined;

  now(): number {
    return this.clock.ns;
  }

  after(ns: number, callback: () => void): void {
    this.clock.after(ns, callback);
  }

  /** Host memory, filled with a pattern when it is first needed. */
  get ram(): Uint8Array {
    this.bytes ??= Uint8Array.from({ length: HOST_BYTES }, (_, n) => (n * 37 + (n >>> 8)) & 0xff);
    return this.bytes;
  }

  set ram(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  dmaRead(address: U64, length: number, _options: DmaOptions, done: (result: HostReadResult) => void): void {
    const status = this.failure ?? (isInside(address, length) ? 'ok' : 'unsupported-request');
    this.record(`DMA read 0x${address.toString(16)} of ${length} bytes`);
    if (status !== 'ok') done({ status });
    else done({ status, data: this.ram.slice(low32(address), low32(address) + length) });
  }

  dmaWrite(
    address: U64,
    bytes: Uint8Array,
    _options: DmaOptions,
    done: (result: HostWriteResult) => void,
  ): void {
    this.record(`DMA write 0x${address.toString(16)} ${shown(bytes)}`);
    // Posted: a write that nobody takes is done too.
    const status = this.failure ?? 'ok';
    if (status === 'ok' && isInside(address, bytes.length)) this.ram.set(bytes, low32(address));
    done({ status });
  }

  msix(vector: number, address: U64, data: number): void {
    this.record(`MSI-X ${vector} to 0x${address.toString(16)} data 0x${data.toString(16)}`);
  }

  msi(vector: number): void {
    this.record(`MSI ${vector}`);
  }

  log(): void {
    // What a model says is no part of what it does.
  }

  private record(event: string): void {
    if (this.events.length >= MAX_EVENTS) return;
    // A time that was computed again may be off by a tick; few times of models lie where that makes another number.
    this.events.push(this.isTimed ? `${event} at ${Math.floor(this.clock.ns + 0.1234)} ns` : event);
  }
}

function isInside(address: U64, length: number): boolean {
  return BigInt(address) + BigInt(length) <= BigInt(HOST_BYTES);
}

export class DirectBench implements Bench {
  readonly way = 'direct';
  readonly instance: DeviceInstance;
  private readonly host = new KitHost();

  constructor(device: Device) {
    this.instance = new DeviceInstance(device, this.host);
  }

  read(bar: number, offset: number, length: number): Answer {
    return this.instance.read(bar, offset, length);
  }

  write(bar: number, offset: number, bytes: Uint8Array): string {
    return this.instance.write(bar, offset, bytes);
  }

  run(ns: number): void {
    this.host.clock.run(ns, () => undefined);
  }

  reset(kind: ResetKind): void {
    this.instance.reset(kind);
  }

  setMsix(enabled: boolean, functionMask: boolean): void {
    this.instance.setMsixControl(enabled, functionMask);
  }

  setBusMaster(on: boolean): void {
    this.host.failure = on ? undefined : 'blocked';
  }

  /** Answers all DMA with `failure` from now on. */
  failDma(failure: DmaFailure): void {
    this.host.failure = failure;
  }

  /** Lets events say when they were, from now on. */
  timeEvents(): void {
    this.host.isTimed = true;
  }

  takeEvents(): string[] {
    const { events } = this.host;
    this.host.events = [];
    return events;
  }

  get ram(): Uint8Array {
    return this.host.ram.slice();
  }

  set ram(bytes: Uint8Array) {
    this.host.ram = bytes;
  }

  get errors(): readonly ContainedError[] {
    return this.instance.errors;
  }

  get stopped(): boolean {
    return this.instance.stopped;
  }

  get ns(): number {
    return this.host.clock.ns;
  }
}
