/** Runs the lines of a zPCI script on a machine, and tells of each what it answered and what it set going. */
import { ZtlpError } from '../base/errors.js';
import type { OptionInput } from '../base/options.js';
import type { CoreSource } from '../core/core.js';
import type { U64 } from '../core/u64.js';
import { type Device, defineDevice } from '../device/define.js';
import type { DeviceContext, DeviceDefinition } from '../device/types.js';
import { BUILTIN_DEVICES } from '../devices/builtin.js';
import type { PciFunction } from '../machine/function.js';
import { createMachine, type Machine } from '../machine/machine.js';
import type { InterruptMessage } from '../machine/models.js';
import type { PciEvent } from '../machine/pci-events.js';
import type { TracedTlp } from '../machine/trace.js';
import type { AdapterInterrupt } from '../machine/zpci-control.js';
import { formatHex } from '../tlp/text.js';
import type { Answers, Expected } from './zpci-expected.js';
import { type Arena, IoTables } from './zpci-io-tables.js';
import type { HandleWord } from './zpci-operands.js';
import { DEFAULT_FUNCTION, type ScriptLine } from './zpci-script.js';
import { type FunctionLine, functionOf } from './zpci-setup.js';
import type { DmaOutcome, Done, Scene, Statement } from './zpci-verbs.js';

const CONFIG_SPACE = 15;
/** Invalid address space (ism.md 2). */
const STATUS_SPACE = 20;
const MEMORY_BYTES = 16 << 20;
/** The last MiB of guest memory holds what a script gives no place: one page for blocks, tables in front of it. */
const SCRATCH = MEMORY_BYTES - 4096;
const ARENA = MEMORY_BYTES - (1 << 20);

/** A function that was in one state before the line and is in another behind it. */
export interface StateChange {
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

/** An expectation that was not met. */
export interface Missed {
  readonly key: Expected['key'];
  readonly expected: string;
  /** Undefined: the line has no such answer. */
  readonly actual: string | undefined;
}

/** What became of one line. */
export interface LineResult extends Done {
  readonly line: ScriptLine;
  readonly isInstruction: boolean;
  readonly met: number;
  readonly missed: readonly Missed[];
  /** The line could not be run: an address outside guest memory, for instance. */
  readonly error: ZtlpError | undefined;
  readonly tlps: readonly TracedTlp[];
  readonly wireBytes: number;
  /** Calls that an emulator made instead of TLPs. */
  readonly deviceCalls: number;
  readonly interrupts: readonly AdapterInterrupt[];
  readonly messages: readonly InterruptMessage[];
  readonly events: readonly PciEvent[];
  readonly changes: readonly StateChange[];
  readonly log: readonly string[];
}

/** A device that takes some instructions only: others are operand exceptions, MIO forms condition code 1, status 20. */
function taking(takes: readonly string[]): NonNullable<DeviceDefinition['acceptInstruction']> {
  return ({ op, as }) => {
    if (as === CONFIG_SPACE || takes.includes(op)) return true;
    return op.endsWith('i') ? { cc: 1, status: STATUS_SPACE } : { programInterruption: 'operand' };
  };
}

/** A device whose DMA the script asks for: its context is at hand while it is told to quiesce, and only then. */
class Puppet {
  readonly device: Device;
  private action: ((ctx: DeviceContext<unknown>) => void) | undefined;

  constructor({ device, bars, name, mio, takes }: FunctionLine) {
    const model = device === undefined ? undefined : BUILTIN_DEVICES[device]?.();
    const definition: DeviceDefinition<unknown> = model?.definition ?? {
      name,
      vendorId: 0x1af4,
      deviceId: 0x10f1,
      classCode: 0x05_8000,
      // A BAR has 64 bits where the next register is free for its upper half.
      bars: Array.from(bars, (size, n) => {
        const isWide = n < 5 && bars[n + 1] === undefined;
        return size === undefined ? undefined : ({ size, memory: true, bits: isWide ? 64 : 32 } as const);
      }),
      capabilities: { pcie: { functionLevelReset: true } },
      ...(mio === undefined ? {} : { zpci: { mio } }),
      ...(takes === undefined ? {} : { acceptInstruction: taking(takes) }),
    };
    this.device = defineDevice<unknown>({
      ...definition,
      quiesce: (ctx) => {
        const { action } = this;
        this.action = undefined;
        if (action === undefined) definition.quiesce?.(ctx);
        else action(ctx);
      },
    });
  }

  dma(machine: Machine, fn: PciFunction, address: U64, what: number | Uint8Array): DmaOutcome {
    let outcome: DmaOutcome = { status: 'blocked' };
    this.action = (ctx) => {
      const end = (result: DmaOutcome): void => {
        outcome = result;
      };
      // A timer, because what it sets going is done before `run` returns.
      ctx.after(0, () => {
        if (typeof what === 'number') ctx.dma.read(address, what, {}, (result) => end(result as DmaOutcome));
        else ctx.dma.write(address, what, {}, end);
      });
    };
    fn.instance?.quiesce();
    machine.run(0);
    return outcome;
  }
}

export interface SessionInput {
  /** The set-up lines, in their order. */
  readonly setup: readonly Statement[];
  /** Where the core comes from; default: the release build of this package. */
  readonly core?: CoreSource | Promise<CoreSource>;
}

/** The machine of one script. */
export class ZpciSession implements Scene {
  readonly scratch = SCRATCH;
  readonly functions: ReadonlyMap<string, PciFunction>;
  private readonly ioTables = new Map<PciFunction, IoTables>();
  private arena: Arena = { next: ARENA, end: SCRATCH };

  private constructor(
    readonly machine: Machine,
    private readonly puppets: readonly Puppet[],
    names: readonly string[],
  ) {
    this.functions = new Map(names.map((name, n) => [name, machine.functions[n] as PciFunction]));
    machine.trace.start();
  }

  /** Builds the machine. Throws ZtlpError for a configuration that it cannot have. */
  static async create({ setup, core }: SessionInput): Promise<ZpciSession> {
    const options: OptionInput = Object.assign(
      {},
      ...setup.filter(({ verb }) => verb.name === 'option').flatMap(({ values }) => values.options ?? []),
    );
    const declared = setup
      .filter(({ verb }) => verb.name === 'function')
      .map(({ values }) => functionOf(values));
    const lines = declared.length > 0 ? declared : [functionOf({ name: DEFAULT_FUNCTION })];
    const puppets = lines.map((line) => new Puppet(line));
    const machine = await createMachine({
      platform: 's390x',
      hostMemoryBytes: MEMORY_BYTES,
      options,
      slots: lines.map(({ index, state, options: own }, n) => ({
        device: (puppets[n] as Puppet).device,
        options: own,
        ...(index === undefined ? {} : { handleIndex: index }),
        ...(state === undefined ? {} : { state }),
      })),
      ...(core === undefined ? {} : { core }),
    });
    return new ZpciSession(
      machine,
      puppets,
      lines.map(({ name }) => name),
    );
  }

  named(name: string): PciFunction {
    const fn = this.functions.get(name);
    if (fn === undefined)
      throw new ZtlpError('not-found', `no function ${name}`, { field: 'function', value: name });
    return fn;
  }

  handle(word: HandleWord): number {
    return typeof word === 'number' ? word : this.named(word.name).handle;
  }

  byHandle(fh: number): PciFunction | undefined {
    return this.machine.functions.find((fn) => fn.handleIndex === (fh & 0xffff));
  }

  hasTables(fn: PciFunction): boolean {
    return this.ioTables.has(fn);
  }

  tables(fn: PciFunction, at?: U64): IoTables {
    const known = this.ioTables.get(fn);
    if (known !== undefined) return known;
    const own = at === undefined ? this.arena : { next: Number(at), end: ARENA };
    const made = new IoTables(this.machine.memory, own);
    this.ioTables.set(fn, made);
    return made;
  }

  dma(fn: PciFunction, address: U64, what: number | Uint8Array): DmaOutcome {
    return (this.puppets[fn.slot] as Puppet).dma(this.machine, fn, address, what);
  }

  reset(): void {
    this.machine.reset();
    this.ioTables.clear();
    this.arena = { next: ARENA, end: SCRATCH };
  }

  /** Runs a line that has a statement. What goes wrong is part of the answer; nothing is thrown but internal errors. */
  run(line: ScriptLine): LineResult {
    const { machine } = this;
    const { verb, values } = line.statement as Statement;
    const before = [...this.functions].map(([name, fn]) => [name, fn, fn.state, this.calls(fn)] as const);
    const wireBefore = this.wireBytes();
    let done: Done = { answers: {} };
    let error: ZtlpError | undefined;
    try {
      done = verb.run(this, values);
    } catch (thrown) {
      if (!(thrown instanceof ZtlpError)) throw thrown;
      error = thrown;
    }
    const tlps = machine.trace.take();
    const isReset = verb.name === 'reset';
    const deviceCalls = isReset
      ? 0
      : before.reduce((sum, [, fn, , calls]) => sum + this.calls(fn) - calls, 0);
    const events = machine.takeEvents();
    const interrupts = machine.takeAdapterInterrupts();
    const fn = done.fn ?? (this.functions.size === 1 ? machine.functions[0] : undefined);
    const answers: Answers = {
      ...done.answers,
      tlps: String(tlps.length),
      calls: String(deviceCalls),
      event: events[0] === undefined ? 'none' : `0x${events[0].code.toString(16)}`,
      interrupt: interrupts[0] === undefined ? 'none' : String(interrupts[0].isc),
      state: fn?.state,
    };
    const wanted = error === undefined ? expectedOf(line, done.unchecked) : [];
    const missed = wanted
      .filter(({ key, value }) => answers[key] !== value)
      .map(({ key, value }) => ({ key, expected: value, actual: answers[key] }));
    return {
      ...done,
      line,
      isInstruction: verb.kind === 'instruction',
      met: wanted.length - missed.length,
      missed,
      error,
      answers,
      tlps,
      wireBytes: isReset ? 0 : this.wireBytes() - wireBefore,
      deviceCalls,
      interrupts,
      messages: machine.takeInterrupts(),
      events,
      changes: before
        .filter(([, one, state]) => one.state !== state)
        .map(([name, one, state]) => ({ name, before: state, after: one.state })),
      log: machine.takeLog(),
    };
  }

  private calls(fn: PciFunction): number {
    return fn.stats.deviceCalls;
  }

  private wireBytes(): number {
    const { wireBytesDown, wireBytesUp } = this.machine.stats();
    return wireBytesDown + wireBytesUp;
  }
}

/** What a line expects: behind its arrow, and the data that a recorded PCILG found. */
function expectedOf(
  { expected, statement }: ScriptLine,
  unchecked: Done['unchecked'] = [],
): readonly Expected[] {
  if (statement === undefined) return [];
  const { verb, values } = statement;
  const wanted = expected.filter(({ key }) => !unchecked.includes(key));
  const isRefused = wanted.some(({ key, value }) => (key === 'cc' && value !== '0') || key === 'outcome');
  const recorded = verb.answers.includes('data') ? values.data : undefined;
  if (isRefused || !(recorded instanceof Uint8Array) || wanted.some(({ key }) => key === 'data'))
    return wanted;
  return [...wanted, { key: 'data', value: formatHex(recorded) }];
}
