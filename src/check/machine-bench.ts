/** A bench that is a machine: accesses go along a path of the table, and everything that the device sends is traced. */
import { ZtlpError } from '../base/errors.js';
import type { CoreSource } from '../core/core.js';
import type { Device } from '../device/define.js';
import type { ContainedError } from '../device/guard.js';
import type { DeviceInstance } from '../device/instance.js';
import type { ResetKind } from '../device/types.js';
import type { PciFunction } from '../machine/function.js';
import { createMachine, type Machine } from '../machine/machine.js';
import { word32 } from '../pci/capabilities.js';
import { CAP, COMMAND, REG } from '../pci/registers.js';
import type { Answer, Bench } from './bench.js';
import { HOST_BYTES } from './generator.js';
import { shown } from './text.js';

const INITIATE_FLR = 0x8000; // of Device Control
const MSIX_ENABLE = 0x8000; // of Message Control
const FUNCTION_MASK = 0x4000;
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
    if (!this.isReachable(bar)) return this.instance.read(bar, offset, length);
    const before = this.failures;
    const input = { ...this.at(bar, offset, length), length };
    const answer = this.attempt(() => this.machine.cpu.read(input));
    if (answer === undefined || this.failures !== before) return 'completer-abort';
    return answer.fault === undefined ? answer.data : 'rejected';
  }

  write(bar: number, offset: number, bytes: Uint8Array): string {
    if (!this.isReachable(bar)) return this.instance.write(bar, offset, bytes);
    const before = this.failures;
    const input = { ...this.at(bar, offset, bytes.length), data: bytes };
    const answer = this.attempt(() => this.machine.cpu.write(input));
    if (answer === undefined || this.failures !== before) return 'completer-abort';
    return answer.fault === undefined ? 'ok' : 'rejected';
  }

  run(ns: number): void {
    this.attempt(() => this.machine.run(ns));
  }

  /** By configuration writes where the function can be reset so; then BARs and Command are set up again. */
  reset(kind: ResetKind): void {
    const { machine, fn } = this;
    const { config } = machine;
    const before = fn.config.save();
    const pcie = fn.config.capability(CAP.PCIE);
    const pm = fn.config.capability(CAP.PM);
    const { capabilities } = this.instance.device;
    if (kind === 'd3hot' && pm !== undefined && capabilities.pm?.noSoftReset === false) {
      config.write(fn.id, pm + 4, 3, 2);
      config.write(fn.id, pm + 4, 0, 2);
    } else if (kind === 'd3hot') this.instance.reset(kind);
    else if (kind === 'flr' && pcie !== undefined && capabilities.pcie?.functionLevelReset === true)
      config.write(fn.id, pcie + 8, INITIATE_FLR, 2);
    else machine.resetFunction(fn, kind);
    for (let at = REG.BAR0; at < REG.BAR0 + 24; at += 4) config.write(fn.id, at, word32(before, at), 4);
    config.write(fn.id, REG.COMMAND, word32(before, REG.COMMAND) & 0xffff, 2);
  }

  setMsix(enabled: boolean, functionMask: boolean): void {
    const at = this.fn.config.capability(CAP.MSIX);
    if (at === undefined) return;
    this.machine.config.write(
      this.fn.id,
      at + 2,
      (enabled ? MSIX_ENABLE : 0) | (functionMask ? FUNCTION_MASK : 0),
      2,
    );
  }

  setBusMaster(on: boolean): void {
    const { fn, machine } = this;
    const command = machine.config.read(fn.id, REG.COMMAND, 2) & ~COMMAND.BUS_MASTER;
    machine.config.write(fn.id, REG.COMMAND, command | (on ? COMMAND.BUS_MASTER : 0), 2);
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

  get ram(): Uint8Array {
    return this.machine.memory.read(0, HOST_BYTES);
  }

  set ram(bytes: Uint8Array) {
    this.machine.memory.write(0, bytes);
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

  /** No access path reaches I/O space. */
  private isReachable(bar: number): boolean {
    return this.fn.bars[bar]?.space !== 'io';
  }

  private at(bar: number, offset: number, length: number) {
    const path = this.way === 'TLPs' ? ('x86-uc' as const) : ('zpci-emulated' as const);
    const block = this.way === 'emulated' || !SINGLE.includes(length);
    return { path, function: this.fn, bar, offset, block };
  }
}
