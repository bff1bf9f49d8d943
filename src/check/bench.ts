/** A place for one instance of a device: what the kit does to it, and a record of everything that the device did. */
import type { ContainedError } from '../device/guard.js';
import type { DeviceInstance } from '../device/instance.js';
import type { ResetKind } from '../device/types.js';
import type { Access } from './generator.js';
import { shown, where } from './text.js';

/** How accesses come to the device: past every path, as TLPs, or as an emulator's calls. */
export type Way = 'direct' | 'TLPs' | 'emulated';

/** Bytes, or why there are none. */
export type Answer = Uint8Array | string;

export interface Bench {
  readonly way: Way;
  readonly instance: DeviceInstance;
  read(bar: number, offset: number, length: number): Answer;
  /** `ok`, or why not. */
  write(bar: number, offset: number, bytes: Uint8Array): string;
  /** Lets simulated time pass. */
  run(ns: number): void;
  reset(kind: ResetKind): void;
  setMsix(enabled: boolean, functionMask: boolean): void;
  setBusMaster(on: boolean): void;
  /** What the device sent since the last call: DMA and interrupts, one line each. */
  takeEvents(): string[];
  /** What the model did and must not, and that the machine gave up on it. */
  readonly errors: readonly ContainedError[];
  /** The model is not called any more until a reset. */
  readonly stopped: boolean;
  /** Host memory: a copy; setting it replaces all of it. */
  ram: Uint8Array;
  /** Simulated time in nanoseconds. */
  readonly ns: number;
}

/** Gives `bench` the host memory and the time of `other`, whose time is not behind. */
export function continueFrom(bench: Bench, other: Bench): void {
  bench.ram = other.ram;
  bench.run(Math.max(0, other.ns - bench.ns));
}

/** Message of MSI-X vector n: this address + 16 n, data n + 1. In the range that x86 takes as interrupts. */
export const MESSAGE_ADDRESS = 0xfee0_0000;

/** Lets every MSI-X vector send, as a driver does; nothing for a device without MSI-X. */
export function armInterrupts(bench: Bench): void {
  const { msix } = bench.instance.device.capabilities;
  if (msix === undefined) return;
  for (let vector = 0; vector < msix.vectors; vector++) {
    const words = Uint32Array.of(MESSAGE_ADDRESS + 16 * vector, 0, vector + 1, 0);
    words.forEach((word, n) => {
      const at = msix.tableOffset + 16 * vector + 4 * n;
      bench.write(msix.bar, at, new Uint8Array(Uint32Array.of(word).buffer));
    });
  }
  bench.setMsix(true, false);
}

/** Does `access`; what came of it, as text. */
export function perform(bench: Bench, access: Access): string {
  if (access.op === 'read') return shown(bench.read(access.bar, access.offset, access.length));
  if (access.op === 'write') return bench.write(access.bar, access.offset, access.bytes);
  bench.run(access.ns);
  return '';
}

/** `access` in words. */
export function describe(access: Access): string {
  if (access.op === 'run') return `${access.ns} ns`;
  if (access.op === 'read') return `read of ${access.length} at ${where(access.bar, access.offset)}`;
  return `write of ${shown(access.bytes)} at ${where(access.bar, access.offset)}`;
}

/** Does all accesses; gives up when the device was stopped. */
export function performAll(bench: Bench, accesses: readonly Access[]): void {
  for (const access of accesses) {
    perform(bench, access);
    if (bench.stopped) return;
  }
}

/** What the accesses gave on one bench: reads, what the device sent, and its counters at the end. */
export interface Course {
  readonly answers: readonly string[];
  readonly events: readonly (readonly string[])[];
  readonly stats: string;
}

export function courseOf(bench: Bench, accesses: readonly Access[]): Course {
  bench.takeEvents();
  const answers: string[] = [];
  const events: string[][] = [];
  for (const access of accesses) {
    answers.push(perform(bench, access));
    events.push(bench.takeEvents());
  }
  return { answers, events, stats: JSON.stringify(bench.instance.stats) };
}

/** The first difference of two courses of the same accesses, in words; undefined when there is none. */
export function differenceOf(
  accesses: readonly Access[],
  [name, one]: readonly [name: string, course: Course],
  [otherName, other]: readonly [name: string, course: Course],
): string | undefined {
  for (const [n, access] of accesses.entries()) {
    const [answer, expected] = [one.answers[n] ?? '', other.answers[n] ?? ''];
    if (answer !== expected)
      return `${describe(access)} gives ${answer} ${name} and ${expected} ${otherName}`;
    const [sent, wanted] = [one.events[n] ?? [], other.events[n] ?? []];
    const at = sent.findIndex((event, index) => event !== wanted[index]);
    if (at < 0 && sent.length === wanted.length) continue;
    const index = at < 0 ? sent.length : at;
    return `after ${describe(access)} the device sends ${sent[index] ?? 'nothing'} ${name} and ${wanted[index] ?? 'nothing'} ${otherName}`;
  }
  if (one.stats === other.stats) return undefined;
  return `counters are ${one.stats} ${name} and ${other.stats} ${otherName}`;
}
