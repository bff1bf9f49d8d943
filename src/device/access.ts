/** Takes an access of a BAR to what serves it: registers, memory, the MSI-X tables or the model's callbacks. */
import { inRange, invalid } from '../base/errors.js';
import type { Region, ResolvedBar } from './bars.js';
import type { Device } from './define.js';
import { type Call, callsOf, type Piece, piecesOf } from './dispatch.js';
import type { Guard, GuardedCall } from './guard.js';
import type { DeviceHost } from './host.js';
import { type HeldMemory, HostMemory, SparseMemory } from './memory.js';
import type { Msix } from './msix.js';
import { RegisterBank } from './register-bank.js';
import type { Hooks, Register } from './registers.js';
import type { BarMemory, ByteEnables, DeviceContext } from './types.js';
import { bytesOf, checkWriteAnswer } from './values.js';

/**
 * Why an access was not served: no such BAR or offset; the model failed; the region of an emulated function does not
 * accept the size or alignment (QEMU: reads as 0, writes are dropped); the model cannot take a Deferrable Memory Write now.
 */
export type AccessFailure = 'unsupported-request' | 'completer-abort' | 'rejected' | 'retry';

export interface AccessOptions {
  /** An emulator dispatched the access: `valid` and `impl` of the regions hold. Default false. */
  readonly emulated?: boolean;
  /** A Deferrable Memory Write, which the model may answer with `retry`. Default false. */
  readonly deferrable?: boolean;
}

/** What serves the BARs of one instance. */
export interface AccessParts<S> {
  readonly device: Device<S>;
  readonly host: DeviceHost;
  readonly guard: Guard;
  readonly msix: Msix | undefined;
  context(): DeviceContext<S>;
  warn(text: string): void;
}

export class BarAccess<S> {
  /** By BAR number. */
  readonly banks = new Map<number, RegisterBank>();
  /** Memory of each BAR that has some, the instance's own or the machine's. */
  readonly memories = new Map<number, HeldMemory>();
  /** All memory, as the model sees it. */
  readonly memory = new Map<number, BarMemory>();
  /** Accesses of bytes between regions. */
  gaps = 0;
  droppedWrites = 0;

  constructor(private readonly parts: AccessParts<S>) {
    for (const bar of parts.device.bars) {
      if (bar !== undefined) this.build(bar);
    }
  }

  read(bar: number, offset: number, length: number, options: AccessOptions): Uint8Array | AccessFailure {
    const pieces = this.pieces(bar, offset, length);
    if (pieces === undefined) return 'unsupported-request';
    const out = new Uint8Array(length);
    for (const piece of pieces) {
      const calls = this.callsOf(piece, options);
      if (calls === undefined) return 'rejected';
      for (const call of calls) {
        const bytes = this.readRegion(bar, call.region, call);
        if (bytes === undefined) return 'completer-abort';
        // An emulator's call may be larger than the access: what is behind it is not wanted.
        const wanted = piece.offset + piece.length - call.offset;
        out.set(bytes.subarray(0, wanted), call.offset - offset);
      }
    }
    return out;
  }

  write(
    bar: number,
    offset: number,
    bytes: Uint8Array,
    byteEnables: ByteEnables,
    options: AccessOptions,
  ): 'ok' | AccessFailure {
    if (byteEnables !== undefined && byteEnables.length !== bytes.length)
      throw invalid('byteEnables', byteEnables, `one byte for each of ${bytes.length}`);
    const pieces = this.pieces(bar, offset, bytes.length);
    if (pieces === undefined) return 'unsupported-request';
    for (const piece of pieces) {
      const calls = this.callsOf(piece, options);
      if (calls === undefined) return 'rejected';
      const end = piece.offset + piece.length - offset;
      for (const call of calls) {
        const from = call.offset - offset;
        // In an emulator's larger call zeros stand behind the access.
        const data = copyPart(bytes, from, end, call.length, 0);
        const enables = byteEnables && copyPart(byteEnables, from, end, call.length, 1);
        if (enables?.every((enable) => enable === 0)) continue;
        const outcome = this.writeRegion(bar, call, data, enables, options.deferrable === true);
        if (outcome === 'ok') continue;
        if (outcome === 'completer-abort') this.droppedWrites++;
        return outcome;
      }
    }
    return 'ok';
  }

  private build(bar: ResolvedBar): void {
    const { host, warn } = this.parts;
    const { index, size } = bar;
    if (bar.regions.some(({ kind }) => kind === 'registers')) {
      const name = `bar ${index}`;
      const registers = bar.registers.map((register) => this.guarded(register));
      this.banks.set(index, new RegisterBank(registers, { size, name, warn, context: undefined }));
    }
    if (!bar.regions.some(({ kind }) => kind === 'memory')) return;
    const regions = bar.regions.filter(({ kind }) => kind === 'memory');
    const held = host.memory === undefined ? new SparseMemory() : new HostMemory(host.memory, index, regions);
    this.memories.set(index, held);
    const check = (offset: number, length: number): void => {
      inRange('memory offset', offset, 0, size);
      inRange('memory length', length, 0, size - offset);
    };
    this.memory.set(index, {
      read: (offset, length) => {
        check(offset, length);
        return held.read(offset, length);
      },
      write: (offset, bytes) => {
        check(offset, bytes.length);
        held.write(offset, bytes);
      },
    });
  }

  /** The register with hooks that are given the context, and named when they fail. */
  private guarded(register: Register<DeviceContext<never>>): Register {
    const { name, hooks: own } = register;
    const { guard } = this.parts;
    const context = (): DeviceContext<never> => this.parts.context() as DeviceContext<never>;
    const hooks: Hooks<unknown> = {};
    if (own.read !== undefined)
      hooks.read = (_, value) => guard.named(`${name}.read`, () => own.read?.(context(), value));
    if (own.write !== undefined)
      hooks.write = (value, _, old) => guard.named(`${name}.write`, () => own.write?.(value, context(), old));
    return { ...register, hooks };
  }

  /** Undefined when the BAR does not exist or the access leaves it. */
  private pieces(bar: number, offset: number, length: number): Piece[] | undefined {
    const resolved = this.parts.device.bars[bar];
    const isInside = resolved !== undefined && offset >= 0 && offset + length <= resolved.size;
    return isInside ? piecesOf(resolved, offset, length) : undefined;
  }

  /** The calls of a piece, none for a gap between regions; undefined: the region does not accept it. */
  private callsOf(piece: Piece, options: AccessOptions): Call[] | undefined {
    const { region } = piece;
    if (region === undefined) {
      this.gaps++;
      return [];
    }
    return options.emulated ? callsOf(piece, region) : [{ ...piece, region }];
  }

  /** Undefined when the model failed. */
  private readRegion(bar: number, region: Region, { offset, length }: Piece): Uint8Array | undefined {
    const { msix, guard, device } = this.parts;
    const at = { bar, offset };
    const call: GuardedCall = { callback: 'read', at, effect: 'completer-abort', isAccess: true };
    switch (region.kind) {
      case 'memory':
        return this.memory.get(bar)?.read(offset, length);
      case 'msix-table':
        return msix?.readTable(offset - region.offset, length);
      case 'msix-pba':
        return msix?.readPending(offset - region.offset, length);
      case 'registers':
        return guard.run(call, undefined, () => this.banks.get(bar)?.readBytes(offset, length));
      case 'callback':
        return guard.run(call, undefined, () => {
          const { definition } = device;
          if (definition.read === undefined) return new Uint8Array(length);
          const answer = guard.named('read', () => definition.read?.(at, length, this.parts.context()));
          return bytesOf(answer, length);
        });
    }
  }

  private writeRegion(
    bar: number,
    { region, offset }: Call,
    data: Uint8Array,
    enables: ByteEnables,
    deferrable: boolean,
  ): 'ok' | 'completer-abort' | 'retry' {
    const { msix, guard, device } = this.parts;
    const at = deferrable ? { bar, offset, deferrable } : { bar, offset };
    const call: GuardedCall = { callback: 'write', at, effect: 'write dropped', isAccess: true };
    switch (region.kind) {
      case 'memory':
        for (const [from, to] of enabledRuns(data.length, enables))
          this.memory.get(bar)?.write(offset + from, data.subarray(from, to));
        return 'ok';
      case 'msix-table':
        msix?.writeTable(offset - region.offset, data, enables);
        return 'ok';
      case 'msix-pba':
        return 'ok'; // software does not write it
      case 'registers':
        return guard.run(call, 'completer-abort', () => {
          this.banks.get(bar)?.writeBytes(offset, data, enables);
          return 'ok';
        });
      case 'callback':
        return guard.run(call, 'completer-abort', () => {
          const context = this.parts.context();
          const answer = guard.named('write', () => device.definition.write?.(at, data, enables, context));
          return checkWriteAnswer(answer, deferrable);
        });
    }
  }
}

/** `length` bytes of a copy: those of `bytes` in [from, end), then `fill`. */
function copyPart(bytes: Uint8Array, from: number, end: number, length: number, fill: number): Uint8Array {
  const part = new Uint8Array(length).fill(fill);
  part.set(bytes.subarray(from, Math.min(from + length, end)));
  return part;
}

/** Runs [from, to) of bytes that are enabled. */
function enabledRuns(length: number, enables: ByteEnables): (readonly [from: number, to: number])[] {
  if (enables === undefined) return [[0, length]];
  const runs: [number, number][] = [];
  for (let at = 0; at < length; at++) {
    if (enables[at] === 0) continue;
    const from = at;
    while (at < length && enables[at] !== 0) at++;
    runs.push([from, at]);
  }
  return runs;
}
