/** Registers, queues and caches of endpoints through the public entry: what a program without the sources can do with units. */
import { describe, expect, it } from 'vitest';
import {
  AddressTranslationCache,
  type AmdMessage,
  AmdQueues,
  type AmdUnit,
  atsCompletionOf,
  atsInvalidationRange,
  createMachine,
  decodeAtsEntry,
  encodeAtsEntry,
  type HardwareFlags,
  type IommuConfig,
  type Machine,
  type MachineUnit,
  machineDomains,
  reasonName,
  type SmmuEvent,
  type SmmuMessage,
  SmmuQueues,
  type SmmuUnit,
  type UnitAnswer,
  type UnitKind,
  type UnitMemory,
  type UnitRequest,
  VtdRegisters,
  type VtdRegistersInput,
  type VtdUnit,
  type WalkStep,
} from '../../src/index.js';
import { errorOf } from '../machine/support.js';
import { BUILDS, useBuild } from '../support/builds.js';

const QUEUE = 0x30_0000;
const LOG = 0x31_0000;
const STATUS = 0x32_0000;
const PAGE = 0x20_0000;
const IOVA = 0x1_0000;
/** Registers of VT-d (specification 11.4). */
const [GCMD, GSTS, RTADDR, FECTL, FEDATA, FEADDR, IQT, IQA] = [
  0x18, 0x1c, 0x20, 0x38, 0x3c, 0x40, 0x88, 0x90,
];
const [TE, SRTP, QIE] = [2 ** 31, 2 ** 30, 2 ** 26];
/** The default ECAP with a device TLB. */
const WITH_ATS = 0xf0_0fcen;

const poke = ({ memory }: Machine, address: number, ...words: bigint[]): void =>
  memory.write(address, new Uint8Array(BigUint64Array.from(words).buffer));
const peek = ({ memory }: Machine, address: number): bigint =>
  new DataView(memory.read(address, 8).buffer).getBigUint64(0, true);

/** Where a request goes and by which way of the IOTLB, or what its fault means. */
function told(kind: UnitKind, answer: UnitAnswer): string {
  if (answer.kind === 'fault') return reasonName(kind, answer.reason);
  return answer.kind === 'translated' ? `0x${answer.address.toString(16)} ${answer.iotlb}` : answer.kind;
}

describe.each(BUILDS)('units through the public entry, %s core', (build) => {
  const core = useBuild(build);

  async function machineWith(
    iommu: IommuConfig,
  ): Promise<{ machine: Machine; unit: MachineUnit; sid: number }> {
    const platform = iommu.kind === 'smmuv3' ? 'arm64' : 'x86-64';
    const machine = await createMachine({
      core: core(),
      platform,
      iommus: [iommu],
      hostMemoryBytes: 1 << 22,
    });
    const [unit] = machine.iommus;
    const [fn] = machine.functions;
    if (unit === undefined || fn === undefined) throw new Error('no unit');
    return { machine, unit, sid: fn.id };
  }

  /** A VT-d unit whose function has page IOVA at PAGE, by tables in legacy mode; `type` is TT of the context entry. */
  async function vtd(ecap?: bigint, type = 0n): Promise<{ machine: Machine; unit: VtdUnit; sid: number }> {
    const { machine, unit, sid } = await machineWith({
      kind: 'vtd',
      ...(ecap === undefined ? {} : { ecap }),
    });
    if (unit.kind !== 'vtd') throw new Error(unit.kind);
    poke(machine, 0x1000 + 16 * (sid >> 8), 0x2001n);
    poke(machine, 0x2000 + 16 * (sid & 0xff), 0x3001n | (type << 2n), 0x102n);
    for (const [at, entry] of [
      [0x3000, 0x4003n],
      [0x4000, 0x5003n],
      [0x5000, 0x6003n],
      [0x6000 + IOVA / 512, BigInt(PAGE) | 3n],
    ] as const)
      poke(machine, at, entry);
    return { machine, unit, sid };
  }

  it.each(['vtd', 'smmuv3', 'amd'] as const)('%s: kind and switches can be read', async (kind) => {
    const { unit } = await machineWith({ kind });
    expect([unit.kind, unit.isOn]).toEqual([kind, false]);
    unit.isOn = true;
    expect(unit.isOn).toBe(true);
    if (unit.kind === 'vtd') {
      expect(unit.rootTable).toBe(0);
      unit.rootTable = 0x12_3456_7000n;
      expect(unit.rootTable).toBe(0x12_3456_7000);
      expect(unit.isOn).toBe(true);
    }
    if (unit.kind === 'smmuv3') {
      expect(unit.abortsAll).toBe(false);
      unit.abortsAll = true;
      expect(unit.abortsAll).toBe(true);
    }
    unit.isOn = false;
    expect(unit.isOn).toBe(false);
  });

  it('a VT-d unit without an address width stays off', async () => {
    const { unit } = await machineWith({ kind: 'vtd', cap: 0n });
    unit.isOn = true;
    expect(unit.isOn).toBe(false);
  });

  it('VT-d: registers turn translation on, tell of a fault, and run a queue in host memory', async () => {
    const { machine, unit, sid } = await vtd();
    const interrupts: string[] = [];
    const memory: UnitMemory = machine.memory.forUnits();
    const input: VtdRegistersInput = {
      unit,
      memory,
      interrupt: (address, data) => interrupts.push(`0x${address.toString(16)} ${data}`),
    };
    const registers = new VtdRegisters(input);
    expect([registers.read(8, 8), registers.read(0x10, 8)].map(BigInt)).toEqual(
      [unit.cap, unit.ecap].map(BigInt),
    );
    registers.write(RTADDR, 8, 0x1000);
    registers.write(GCMD, 4, SRTP);
    registers.write(GCMD, 4, TE);
    expect([registers.read(GSTS, 4), unit.isOn, unit.rootTable]).toEqual([TE + SRTP, true, 0x1000]);
    const request: UnitRequest = { sid, address: IOVA + 8, isWrite: true };
    expect(told(unit.kind, unit.translate(request))).toBe('0x200008 miss');
    const structures = new Set<WalkStep['what']>(unit.steps.map(({ what }) => what));
    expect([...structures]).toEqual(['root', 'context', 'level 4', 'level 3', 'level 2', 'level 1']);

    registers.write(FEDATA, 4, 0x21);
    registers.write(FEADDR, 4, 0xfee0_0000);
    registers.write(FECTL, 4, 0);
    expect(told(unit.kind, unit.translate({ ...request, address: 0x1_1000 }))).toBe('write not permitted');
    registers.checkFaults();
    expect([interrupts, unit.faults]).toMatchObject([
      ['0xfee00000 33'],
      [{ reason: 5, sid, page: 0x1_1000 }],
    ]);

    // Global invalidation of the IOTLB, and a wait that writes its status.
    poke(machine, 0x6000 + IOVA / 512, 0n);
    poke(machine, STATUS, 0x1111_1111_2222_2222n);
    poke(machine, QUEUE, 0x12n, 0n, 0x25n | (0xcafen << 32n), BigInt(STATUS + 4));
    expect(told(unit.kind, unit.translate(request))).toBe('0x200008 hit');
    registers.write(IQA, 8, QUEUE);
    registers.write(GCMD, 4, TE + QIE);
    registers.write(IQT, 8, 32);
    expect(peek(machine, STATUS)).toBe(0x0000_cafe_2222_2222n);
    expect(told(unit.kind, unit.translate(request))).toBe('write not permitted');
  });

  it('VT-d: CAP and ECAP are those of the unit, and cannot be given', async () => {
    const { machine, unit } = await vtd();
    const input = { unit, memory: machine.memory.forUnits(), cap: 0 };
    expect(errorOf(() => new VtdRegisters(input))).toMatchObject({ code: 'unknown-name', field: 'cap' });
  });

  it('VT-d: an endpoint keeps translations, uses them, and drops them', async () => {
    const { unit, sid } = await vtd(WITH_ATS, 1n);
    unit.rootTable = 0x1000;
    unit.isOn = true;
    const cache = new AddressTranslationCache(16);
    const access = { isWrite: true, noSnoop: false };
    expect(cache.access(IOVA + 8, access)).toEqual({ kind: 'miss' });
    const completion = atsCompletionOf(
      unit.translate({ sid, address: IOVA, isWrite: false, at: 'translation' }),
    );
    if (completion.status !== 'success') throw new Error(completion.status);
    expect(decodeAtsEntry(encodeAtsEntry(completion.entry))).toEqual(completion.entry);
    cache.store(IOVA, completion.entry);
    const sent = cache.access(IOVA + 8, access);
    if (sent.kind !== 'translated') throw new Error(sent.kind);
    expect(BigInt(sent.address)).toBe(0x20_0008n);
    const { address } = sent;
    expect(unit.translate({ sid, address, isWrite: true, at: 'translated' })).toMatchObject({
      kind: 'translated',
      path: 'translated',
    });
    const { first, last } = atsInvalidationRange(IOVA, false);
    cache.invalidate(first, last);
    expect(cache.access(IOVA + 8, access)).toEqual({ kind: 'miss' });
  });

  /** A function whose page IOVA is at PAGE, with tables that the library writes. */
  async function domain(iommu: IommuConfig): Promise<{ machine: Machine; unit: MachineUnit; sid: number }> {
    const one = await machineWith(iommu);
    const { machine, sid } = one;
    const own = machineDomains(machine, { tables: { at: 0x10_0000, bytes: 0x8_0000 } }).create('unmanaged');
    own.attach({ sid });
    own.map(IOVA, PAGE, 4096);
    return one;
  }

  it('SMMUv3: commands and events in host memory', async () => {
    const hardwareFlags: HardwareFlags = 'none';
    const { machine, unit: given, sid } = await domain({ kind: 'smmuv3', hardwareFlags });
    if (given.kind !== 'smmuv3') throw new Error(given.kind);
    const unit: SmmuUnit = given;
    const sent: SmmuMessage[] = [];
    const queues = new SmmuQueues(unit, machine.memory.forUnits(), (message) => sent.push(message));
    queues.startCommands(BigInt(QUEUE) | 3n);
    queues.startEvents(BigInt(LOG) | 3n);
    const go = (address: number): string => told(unit.kind, unit.translate({ sid, address, isWrite: false }));
    expect([go(IOVA), go(IOVA)]).toEqual(['0x200000 miss', '0x200000 hit']);
    // TLBI_NSNH_ALL, ATC_INV of everything, CMD_SYNC with a message.
    const sync = 0x46n | (1n << 12n) | (0xcafen << 32n);
    poke(machine, QUEUE, 0x30n, 0n, 0x40n | (BigInt(sid) << 32n), 52n, sync, BigInt(STATUS));
    queues.commandProd = 3;
    expect([queues.commandProd, queues.commandCons, queues.hasCommandError]).toEqual([3, 3, false]);
    expect([peek(machine, STATUS), sent]).toEqual([
      0xcafen,
      [{ kind: 'atc-invalidate', sid, address: 0n, size: 52 }],
    ]);
    expect(go(IOVA)).toBe('0x200000 miss');
    expect(go(IOVA + 4096)).toBe('F_TRANSLATION');
    expect(queues.eventProducer).toBe(1);
    expect([peek(machine, LOG) & 0xffn, peek(machine, LOG + 16)]).toEqual([0x10n, BigInt(IOVA + 4096)]);
    queues.eventConsumer = 1;
    expect(queues.eventConsumer).toBe(1);
    const events: SmmuEvent[] = unit.takeEvents().events;
    expect(events).toEqual([]);
  });

  it('AMD-Vi: the command buffer and the event log in host memory', async () => {
    const { machine, unit: given, sid } = await domain({ kind: 'amd' });
    if (given.kind !== 'amd') throw new Error(given.kind);
    const unit: AmdUnit = given;
    const sent: AmdMessage[] = [];
    const queues = new AmdQueues(unit, machine.memory.forUnits(), (message) => sent.push(message));
    expect([queues.commandTail, queues.logHead]).toEqual([0, 0]);
    queues.startCommands(BigInt(QUEUE) | (8n << 56n));
    queues.startLog(BigInt(LOG) | (8n << 56n));
    const go = (address: number): string => told(unit.kind, unit.translate({ sid, address, isWrite: false }));
    expect([go(IOVA), go(IOVA)]).toEqual(['0x200000 miss', '0x200000 hit']);
    // INVALIDATE_IOMMU_ALL, INVALIDATE_INTERRUPT_TABLE, COMPLETION_WAIT that stores.
    const wait = (1n << 60n) | BigInt(STATUS) | 1n;
    poke(machine, QUEUE, 8n << 60n, 0n, (5n << 60n) | BigInt(sid), 0n, wait, 0xcafen);
    queues.commandTail = 48;
    expect([queues.commandTail, queues.commandHead, queues.isRunning]).toEqual([48, 48, true]);
    expect([peek(machine, STATUS), sent]).toEqual([0xcafen, [{ kind: 'interrupts-invalidate', sid }]]);
    expect(go(IOVA)).toBe('0x200000 miss');
    expect(go(IOVA + 4096)).toBe('IO_PAGE_FAULT');
    expect(queues.logTail).toBe(16);
    expect([peek(machine, LOG) >> 60n, peek(machine, LOG + 8)]).toEqual([2n, BigInt(IOVA + 4096)]);
    queues.logHead = 16;
    expect(queues.logHead).toBe(16);
  });

  it('memory of a machine ends where host memory does', async () => {
    const { machine } = await machineWith({ kind: 'vtd' });
    const memory = machine.memory.forUnits();
    expect([memory.read64(0x3f_fff8n), memory.read64(0x40_0000n)]).toEqual([0n, undefined]);
    expect([memory.write64(0x3f_fff8n, 5n), memory.write64(0x40_0000n, 5n)]).toEqual([true, false]);
    expect(peek(machine, 0x3f_fff8)).toBe(5n);
  });
});
