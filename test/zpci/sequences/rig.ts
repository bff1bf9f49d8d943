/** The machine under test: three functions of different modes and groups, and the same steps as on the reference. */
import {
  createMachine,
  type Device,
  defineDevice,
  type Machine,
  type PciFunction,
  type SlotConfig,
  type ZpciAnswer,
} from '../../../src/index.js';
import { eventText, interruptText, messageText } from '../reference/machine.js';
import { DONE, type FunctionShape, type Instruction, type Operands } from '../reference/types.js';

export const MEMORY_BYTES = 0x4_0000;
const MEMORY_BAR = { size: 0x4000, valid: { min: 1, max: 8 } };
const NARROW_BAR = { size: 0x1000, valid: { min: 1, max: 4 } };
const DOORBELL = { bar: 2, size: 64 };
/** Offset in the doorbell BAR at which the device is told to start by itself. */
const BY_ITSELF = 4;

type FixedShape = Omit<FunctionShape, 'config' | 'groupId' | 'fid' | 'uid'>;
const COMMON = {
  relaxed: false,
  maxstbl: 128,
  dtsm: 0x40,
  dwordRule: 'qemu',
  dmaInErrorLsOpen: 'blocked',
  bars: [MEMORY_BAR, undefined, undefined, NARROW_BAR, undefined, undefined],
  doorbellBar: DOORBELL.bar,
  doorbellBytes: DOORBELL.size,
} as const;

/** The indexes are not in the order of the slots. */
const SHAPES: readonly FixedShape[] = [
  { ...COMMON, mode: 'emulated', index: 7 },
  {
    ...COMMON,
    mode: 'native',
    index: 2,
    relaxed: true,
    maxstbl: 4096,
    dtsm: 0xe0,
    dwordRule: 'page',
    dmaInErrorLsOpen: 'allowed',
  },
  { ...COMMON, mode: 'vfio', index: 0x1234, maxstbl: 64, dmaInErrorLsOpen: 'allowed' },
];

interface Job {
  readonly isRead: boolean;
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** Does the DMA that the rig has laid down for it. */
function engine(job: () => Job | undefined, told: (text: string) => void): Device {
  return defineDevice({
    name: 'engine',
    vendorId: 0x1af4,
    deviceId: 0x10f5,
    bars: [
      { size: MEMORY_BAR.size, bits: 64, memory: true },
      undefined,
      { size: DOORBELL.size, callback: true },
      { size: NARROW_BAR.size, memory: true, valid: NARROW_BAR.valid },
    ],
    capabilities: { pcie: true },
    write({ offset }, _bytes, _enables, ctx) {
      const start = (): void => {
        const next = job();
        if (next === undefined) throw new Error('no job');
        const { isRead, address, bytes } = next;
        if (isRead)
          ctx.dma.read(address, bytes.length, {}, ({ status, data }) =>
            told(data === undefined ? status : `${status} ${Buffer.from(data).toString('hex')}`),
          );
        else ctx.dma.write(address, bytes, {}, ({ status }) => told(status));
      };
      if (offset === BY_ITSELF) ctx.after(0, start);
      else start();
    },
  }) as Device;
}

/** The answer of an instruction as the reference writes it. */
function textOf({ cc, status, programInterruption }: ZpciAnswer): string {
  if (programInterruption !== null) return `${programInterruption.name} ilc ${programInterruption.ilc}`;
  return cc === 1 ? `cc 1 status ${status}` : `cc ${cc}`;
}

export class Rig {
  readonly shapes: readonly FunctionShape[];
  private jobs: readonly { job: Job | undefined }[];

  private constructor(
    readonly machine: Machine,
    jobs: readonly { job: Job | undefined }[],
    private readonly told: string[],
  ) {
    this.jobs = jobs;
    this.shapes = SHAPES.map((shape, slot) => {
      const fn = machine.functions[slot] as PciFunction;
      const config = Uint8Array.from({ length: 64 }, (_, n) => fn.config.read(n, 1));
      return { ...shape, config, fid: fn.fid, uid: slot + 1, groupId: this.groupOf(fn) };
    });
    machine.reset();
  }

  static async create(core: WebAssembly.Module): Promise<Rig> {
    const jobs = SHAPES.map((): { job: Job | undefined } => ({ job: undefined }));
    const told: string[] = [];
    const machine = await createMachine({
      core,
      platform: 's390x',
      hostMemoryBytes: MEMORY_BYTES,
      // The reference knows nothing of MIO.
      options: { mio: false },
      slots: SHAPES.map(
        ({ mode, index, relaxed, maxstbl, dtsm, dwordRule, dmaInErrorLsOpen }, slot): SlotConfig => {
          const say = (text: string): void => void told.push(`device of slot ${slot}: ${text}`);
          const options = { zpciMode: mode, relaxed, maxstbl, dtsm, dwordRule, dmaInErrorLsOpen };
          return { device: engine(() => jobs[slot]?.job, say), handleIndex: index, options };
        },
      ),
    });
    return new Rig(machine, jobs, told);
  }

  /** Numbers of the groups are the machine's own choice: asked for once, by CLP query function. */
  private groupOf({ handle }: PciFunction): number {
    const block = new Uint8Array(64);
    const view = new DataView(block.buffer);
    view.setUint32(0, 0x0020_0003);
    view.setUint32(16, handle);
    view.setUint16(32, 32);
    this.machine.memory.write(0, block);
    this.machine.cpu.clp({ address: 0 });
    return this.machine.memory.read(32 + 19, 1)[0] as number;
  }

  execute(instruction: Instruction): string {
    const { machine } = this;
    const { cpu } = machine;
    switch (instruction.kind) {
      case 'pcilg': {
        const answer = cpu.pcilg(instruction);
        return answer.data === undefined
          ? textOf(answer)
          : `${textOf(answer)} data 0x${answer.data.toString(16)}`;
      }
      case 'pcistg':
        return textOf(cpu.pcistg(instruction));
      case 'pcistb':
        return textOf(cpu.pcistb(instruction));
      case 'rpcit':
        return textOf(cpu.rpcit(instruction));
      case 'mpcifc':
        return textOf(cpu.mpcifc(instruction));
      case 'stpcifc': {
        const answer = cpu.stpcifc(instruction);
        return answer.setsEnableBit ? `${textOf(answer)} sets the enable bit` : textOf(answer);
      }
      case 'clp': {
        const answer = cpu.clp(instruction);
        if (answer.cc === null) return textOf(answer);
        const word = (at: bigint): number => {
          const [high, low] = machine.memory.read(at, 2);
          return (high as number) * 256 + (low as number);
        };
        const code = word(instruction.address + BigInt(word(instruction.address)) + 2n);
        return `${textOf(answer)} response 0x${code.toString(16)}`;
      }
      case 'sic':
        return textOf(cpu.sic(instruction));
      case 'sclp':
        return `response 0x${cpu.sclp(instruction.command, instruction.fid).toString(16)}`;
      case 'store':
        machine.memory.write(instruction.address, instruction.bytes);
        return '';
      case 'dma':
        return this.start(instruction);
      case 'firmware':
        (machine.functions[instruction.slot] as PciFunction).state = instruction.state;
        return '';
      case 'run':
        machine.run(instruction.ns);
        return '';
    }
  }

  private start({ slot, isRead, address, bytes, doorbell }: Operands<'dma'>): string {
    const place = this.jobs[slot] as { job: Job | undefined };
    place.job = { isRead, address, bytes };
    const { bar } = DOORBELL;
    let answer = DONE;
    if (doorbell === undefined) {
      this.machine.functions[slot]?.instance?.write(bar, BY_ITSELF, new Uint8Array(4));
      this.machine.run(0);
    } else {
      const at = { fh: doorbell, as: bar, offset: 0, length: 4, data: 1 };
      answer = textOf(this.machine.cpu.pcistg(at));
    }
    place.job = undefined;
    return answer;
  }

  /** Events, adapter interrupts and results of DMA since the last call. */
  take(): string[] {
    const { machine, told } = this;
    const seen = machine
      .takeEvents()
      .map(({ slot, fh, code, address, isRead }) => eventText(slot, fh, code, BigInt(address), isRead));
    for (const { slot, isc, ns } of machine.takeAdapterInterrupts()) seen.push(interruptText(slot, isc, ns));
    for (const { slot, data } of machine.takeInterrupts()) seen.push(messageText(slot, data));
    return [...seen, ...told.splice(0)];
  }
}
