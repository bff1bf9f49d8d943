/** One device in a machine: accesses from outside, resets, save and load, and what the model did that it must not. */
import { invalid, ZtlpError } from '../base/errors.js';
import { type AccessFailure, type AccessOptions, BarAccess } from './access.js';
import { createContext, Outstanding } from './context.js';
import type { Device } from './define.js';
import { type ContainedError, type DeviceLimits, Guard, resolveLimits } from './guard.js';
import type { DeviceHost } from './host.js';
import { parseMemory } from './memory.js';
import { Msix } from './msix.js';
import type { RegisterView, SavedRegisters } from './register-bank.js';
import { checkHeader, checkParts, checkStats, copyState, type SavedDevice, saveHeader } from './save.js';
import type { ByteEnables, DeviceContext, InstructionAnswer, PciInstruction, ResetKind } from './types.js';
import { checkInstructionAnswer } from './values.js';

export interface InstanceOptions {
  readonly limits?: Partial<DeviceLimits>;
}

/** What an instance counts itself. */
export interface InstanceCounts {
  /** Accesses of bytes that nothing holds: holes between registers and between regions. */
  readonly misses: number;
  /** Everything that was contained, also what `errors` has no room for. */
  readonly contained: number;
  /** Writes that the model failed on, and parts of registers that take whole writes only. */
  readonly droppedWrites: number;
  readonly suppressedLogLines: number;
}

const MAX_LOG_LETTERS = 1000;

export class DeviceInstance<S = unknown> {
  private readonly guard: Guard;
  private readonly access: BarAccess<S>;
  private readonly msix: Msix | undefined;
  private readonly context: DeviceContext<S>;
  private readonly outstanding = new Outstanding();
  private readonly counters = new Map<string, number>();
  private readonly limits: DeviceLimits;
  private state!: S;
  private logLines = 0;
  private suppressedLogLines = 0;

  constructor(
    readonly device: Device<S>,
    private readonly host: DeviceHost,
    options: InstanceOptions = {},
  ) {
    this.limits = resolveLimits(options.limits);
    const guard = new Guard(device.name, () => host.now(), this.limits);
    const { msix: capability, msi } = device.capabilities;
    const msix =
      capability && new Msix(capability.vectors, (vector, address, data) => host.msix(vector, address, data));
    const log = (text: string): void => this.log(text);
    const access = new BarAccess<S>({ device, host, guard, msix, context: () => this.context, warn: log });
    this.context = createContext<S>(
      {
        name: device.name,
        host,
        guard,
        banks: access.banks,
        memories: access.memory,
        msix,
        msiVectors: msi?.vectors ?? 0,
        state: () => this.state,
        log,
      },
      this.outstanding,
      this.counters,
    );
    this.guard = guard;
    this.access = access;
    this.msix = msix;
    this.freshState();
    this.tell('connect', () => device.definition.connect?.(this.context));
  }

  /** Reads `length` bytes of BAR `bar`. */
  read(bar: number, offset: number, length: number, options: AccessOptions = {}): Uint8Array | AccessFailure {
    return this.access.read(bar, offset, length, options);
  }

  /** Writes to BAR `bar`. What comes before a part that fails stays written. `bytes` is not kept. */
  write(
    bar: number,
    offset: number,
    bytes: Uint8Array,
    byteEnables?: ByteEnables,
    options: AccessOptions = {},
  ): 'ok' | AccessFailure {
    return this.access.write(bar, offset, bytes, byteEnables, options);
  }

  /** MSI-X Enable and Function Mask, as software wrote them to the capability's Message Control. */
  setMsixControl(enabled: boolean, functionMask: boolean): void {
    this.msix?.control(enabled, functionMask);
  }

  /** What the model says to a PCI instruction. A model that fails gives an operand exception, as a failing call does. */
  acceptInstruction(instruction: PciInstruction): InstructionAnswer {
    const { definition } = this.device;
    if (definition.acceptInstruction === undefined) return true;
    const call = { callback: 'acceptInstruction', effect: 'ignored', isAccess: true } as const;
    return this.guard.run(call, { programInterruption: 'operand' }, () =>
      checkInstructionAnswer(definition.acceptInstruction?.(instruction, this.context)),
    );
  }

  /** Everything as new, then the model's own part. A stopped model runs again. */
  reset(kind: ResetKind): void {
    this.outstanding.forget();
    this.guard.restart();
    for (const bank of this.access.banks.values()) bank.reset();
    for (const memory of this.access.memories.values()) memory.clear();
    this.msix?.reset();
    this.logLines = 0;
    this.freshState();
    this.tell('reset', () => this.device.definition.reset?.(kind, this.context));
  }

  quiesce(): void {
    this.tell('quiesce', () => this.device.definition.quiesce?.(this.context));
  }

  /** Refused while DMA is outstanding, and while a timer is set that no `load` of the model would set again. */
  save(): SavedDevice {
    const { definition } = this.device;
    const { dma, timers } = this.outstanding;
    if (dma > 0) throw inFlight(`DMA requests are outstanding: ${dma}`, 'when nothing is in flight');
    if (timers > 0 && definition.load === undefined)
      throw inFlight(`timers are set: ${timers}`, 'without timers, or with save and load callbacks');
    const state = this.need('save', () =>
      definition.save === undefined ? this.state : definition.save(this.context),
    );
    return {
      ...saveHeader(this.device),
      state: copyState(definition.save === undefined ? 'state' : 'save', state),
      registers: byBar(this.access.banks, (bank) => bank.save()),
      memory: byBar(this.access.memories, (memory) => memory.save()),
      msix: this.msix?.save(),
      stats: this.stats,
    };
  }

  /** Takes what `save` gave. What does not fit is refused and changes nothing; a model's `load` that fails resets it. */
  load(given: SavedDevice): void {
    const { definition, bars } = this.device;
    const saved = checkHeader(this.device, given);
    const state = copyState('save.state', saved.state);
    const { banks, memories } = this.access;
    const registers = checkParts('save.registers', saved.registers, banks.keys());
    for (const [bar, bank] of banks) bank.checkSaved(registers[bar]);
    const memory = checkParts('save.memory', saved.memory, memories.keys());
    const pages = [...memories].map(([bar, held]) => {
      return [held, parseMemory(`save.memory[${bar}]`, memory[bar], bars[bar]?.size ?? 0)] as const;
    });
    if (this.msix !== undefined) this.msix.checkSaved(saved.msix);
    else if (saved.msix !== undefined) throw invalid('save.msix', saved.msix, 'left out');
    const stats = checkStats(saved.stats);

    this.outstanding.forget();
    this.guard.restart();
    for (const [bar, bank] of banks) bank.load(registers[bar] as SavedRegisters);
    for (const [held, contents] of pages) held.load(contents);
    if (saved.msix !== undefined) this.msix?.load(saved.msix);
    this.counters.clear();
    for (const [name, value] of stats) this.counters.set(name, value);
    if (definition.load === undefined) {
      this.state = state as S;
      return;
    }
    this.freshState();
    this.need('load', () => definition.load?.(state, this.context));
  }

  /** What the model did and must not: the first 100. */
  get errors(): readonly ContainedError[] {
    return this.guard.errors;
  }

  /** The model looped or flooded: it is not called until the next reset. */
  get stopped(): boolean {
    return this.guard.stopped;
  }

  /** Nothing of the model is on its way: no DMA outstanding, no timer set. */
  get idle(): boolean {
    return this.outstanding.dma === 0 && this.outstanding.timers === 0;
  }

  /** The model's counters by name. */
  get stats(): Record<string, number> {
    return Object.fromEntries(this.counters);
  }

  get counts(): InstanceCounts {
    const { banks, gaps, droppedWrites } = this.access;
    const misses = [...banks.values()].reduce((sum, bank) => sum + bank.misses, gaps);
    const refused = [...banks.values()].reduce((sum, bank) => sum + bank.refused, 0);
    const { suppressedLogLines } = this;
    const contained = this.guard.errorCount;
    return { misses, contained, droppedWrites: droppedWrites + refused, suppressedLogLines };
  }

  /** The registers of a BAR with their values, ascending; none for a BAR without registers. */
  describeRegisters(bar: number): readonly RegisterView[] {
    return this.access.banks.get(bar)?.describe() ?? [];
  }

  private freshState(): void {
    this.tell('state', () => {
      this.state = this.guard.named('state', () => this.device.definition.state?.() as S);
    });
  }

  /** A call whose failure is contained and nothing else. */
  private tell(callback: string, body: () => unknown): void {
    this.guard.run({ callback, effect: 'ignored', isAccess: true }, undefined, body);
  }

  /** A call whose failure is the caller's too. */
  private need<T>(callback: string, body: () => T): T {
    const done = this.guard.run({ callback, effect: 'ignored', isAccess: true }, undefined, () => [
      this.guard.named(callback, body),
    ]);
    if (done !== undefined) return done[0] as T;
    const reason = this.stopped ? 'it is stopped' : (this.guard.last?.message ?? '');
    const { name } = this.device;
    const cause = this.guard.last?.cause;
    if (callback === 'load') this.reset('cold');
    throw new ZtlpError('malformed', `${name}: ${callback} failed: ${reason}`, { field: callback, cause });
  }

  private log(text: string): void {
    this.logLines++;
    const { logLines: limit } = this.limits;
    if (this.logLines > limit) {
      this.suppressedLogLines++;
      if (this.logLines === limit + 1) this.host.log(`further lines of ${this.device.name} are left out`);
      return;
    }
    this.host.log(text.slice(0, MAX_LOG_LETTERS).replace(/[\r\n]+/g, ' '));
  }
}

function byBar<T, V>(things: ReadonlyMap<number, T>, save: (thing: T) => V): Record<string, V> {
  return Object.fromEntries([...things].map(([bar, thing]) => [bar, save(thing)]));
}

function inFlight(what: string, allowed: string): ZtlpError {
  return new ZtlpError('unsupported', `save: ${what}`, { field: 'save', allowed });
}
