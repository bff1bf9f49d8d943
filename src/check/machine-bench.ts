/** A bench that is a machine: accesses go along a path of the table, and everything that the device sends is traced. */
import { ZtlpError } from '../base/errors.js';
import type { CoreSource } from '../core/core.js';
import type { Device } from '../device/define.js';
import type { ContainedError } from '../device/guard.js';
import type { DeviceInstance } from '../device/instance.js';
import type { ResetKind } from '../device/types.js';
import type { PciFunction } from '../machine/function.js';
import { createMachine, type Machine } from '../machine/machine.js';
import type { Answer, Bench } from './bench.js';
import { HOST_BYTES } from './generator.js';
import { shown } from './text.js';

const SINGLE: readonly number[] = [1, 2, 4, 8, 16, 32, 64];

/** A machine with `device` alone; throws what `createMachine` throws. */
export async function machineBench(
  way: 'TLPs' | 'emulated',
  device: Device,
  core: CoreSource | Promise<CoreSource> | undefined,
): Promise<MachineBench> {
  const isEmulated = way === 'emulated';
  const machine = await createMachine({
    platform: isEmulated ? 's390x' : 'x86-64',
    hostMemoryBytes: HOST_BYTES,
    slots: [{ device, options: isEmulated ? { zpciMode: 'emulated' } : {} }],
    ...(core === undefined ? {} : { core }),
  });
  machine.memory.write(
    0,
    Uint8Array.from({ length: HOST_BYTES }, (_, n) => (n * 37 + (n >>> 8)) & 0xff),
  );
  return new MachineBench(way, machine);
}

export class MachineBench implements Bench {
  readonly fn: PciFunction;
  readonly instance: DeviceInstance;
  private readonly given: ContainedError[] = [];

  constructor(
    readonly way: 'TLPs' | 'emulated',
    readonly machine: Machine,
  ) {
    this.fn = machine.functions[0] as PciFunction;
    this.instance = this.fn.instance as DeviceInstance;
  }

  read(bar: number, offset: number, length: number): Answer {
    const before = this.failures;
    const input = { ...this.at(bar, offset, length), length };
    const answer = this.attempt(() => this.machine.cpu.read(input));
    if (answer === undefined || this.failures !== before) return 'completer-abort';
    return answer.fault === undefined ? answer.data : 'rejected';
  }

  write(bar: number, offset: number, bytes: Uint8Array): string {
    const before = this.failures;
    const input = { ...this.at(bar, offset, bytes.length), data: bytes };
    const answer = this.attempt(() => this.machine.cpu.write(input));
    if (answer === undefined || this.failures !== before) return 'completer-abort';
    return answer.fault === undefined ? 'ok' : 'rejected';
  }

  run(ns: number): void {
    this.attempt(() => this.machine.run(ns));
  }

  reset(kind: ResetKind): void {
    this.instance.reset(kind);
  }

  setMsix(enabled: boolean, functionMask: boolean): void {
    this.instance.setMsixControl(enabled, functionMask);
  }

  setBusMaster(on: boolean): void {
    this.fn.busMaster = on;
  }

  /** Recording begins with the first call. */
  takeEvents(): string[] {
    if (!this.machine.trace.enabled) this.machine.trace.start();
    const interrupts = this.machine
      .takeInterrupts()
      .map(({ address, data }) => `message to 0x${address.toString(16)} data 0x${data.toString(16)}`);
    const requests = this.machine.trace
      .take()
      .filter(({ direction, tlp }) => direction === 'up' && tlp.flow !== 'CPL')
      .map(
        ({ tlp, data }) => `${tlp.type} 0x${tlp.address.toString(16)} of ${tlp.length} DWs ${shown(data)}`,
      );
    return [...requests, ...interrupts];
  }

  get errors(): readonly ContainedError[] {
    return [...this.instance.errors, ...this.given];
  }

  get stopped(): boolean {
    return this.instance.stopped || this.given.length > 0;
  }

  get ns(): number {
    return this.machine.time.ns;
  }

  private get failures(): number {
    return this.instance.counts.contained + this.given.length;
  }

  /** What `body` answers; undefined when the machine gave up on the device, which asks for ever more. */
  private attempt<T>(body: () => T): T | undefined {
    try {
      return body();
    } catch (cause) {
      if (!(cause instanceof ZtlpError) || cause.code !== 'resource') throw cause;
      const { name } = this.fn;
      const { message } = cause;
      const common = { model: name, callback: 'dma', at: undefined, timeNs: this.ns } as const;
      this.given.push({ ...common, message, effect: 'stopped', cause });
      return undefined;
    }
  }

  private at(bar: number, offset: number, length: number) {
    const path = this.way === 'TLPs' ? ('x86-uc' as const) : ('zpci-emulated' as const);
    const block = this.way === 'emulated' || !SINGLE.includes(length);
    return { path, function: this.fn, bar, offset, block };
  }
}
