/** One PCI function of a machine: its identity, BARs, zPCI handle and state. */
import * as L from '../../assembly/layout.js';
import { inRange, invalid, needObject, ZtlpError } from '../base/errors.js';
import type { Options } from '../base/options.js';
import type { Core } from '../core/core.js';
import { checkU64, high32, low32, type U64 } from '../core/u64.js';
import type { Device } from '../device/define.js';
import type { DeviceInstance } from '../device/instance.js';
import { packSizes } from '../path/prepare.js';
import type { ConfigModel } from '../pci/config-model.js';
import { COMMAND, EXT, REG } from '../pci/registers.js';
import type { MioAddresses } from '../zpci/clp-types.js';
import type { CheckedIdentity } from '../zpci/identity.js';
import { modeFacts, zpciFlags } from '../zpci/mode.js';
import type { FunctionState } from '../zpci/states.js';
import type { CheckedBar, CheckedSlot } from './config.js';

const STATES: Readonly<Record<FunctionState, number>> = {
  reserved: L.STATE_RESERVED,
  standby: L.STATE_STANDBY,
  disabled: L.STATE_DISABLED,
  enabled: L.STATE_ENABLED,
  'error-ls-open': L.STATE_ERROR_LS_OPEN,
  error: L.STATE_ERROR,
  'permanent-error': L.STATE_PERMANENT_ERROR,
};

/** States in which the function handle lacks its enable bit. */
const NOT_ENABLED: ReadonlySet<FunctionState> = new Set(['reserved', 'standby', 'disabled']);

const ENABLE_BIT = 2 ** L.HANDLE_ENABLE_LG2;

/** Counters of the measurement block and of the traffic at this function. */
export interface FunctionStats {
  /** Successful PCILG, PCISTG and PCISTB instructions: one each, whatever their length. */
  readonly loads: number;
  readonly stores: number;
  readonly storeBlocks: number;
  /** RPCIT instructions that were done. */
  readonly refreshes: number;
  /** TLPs to and from the function. */
  readonly tlps: number;
  readonly tlpsDown: number;
  readonly tlpsUp: number;
  readonly wireBytesDown: number;
  readonly wireBytesUp: number;
  readonly wireBytes: number;
  /** PCI instructions that the function does not take: its model refused them, or it has no MIO and they were MIO forms. */
  readonly policyViolations: number;
  /** Its requests for host memory that asked the caches, and those that did not: No Snoop, on a platform that honours it. */
  readonly coherentTlps: number;
  readonly nonCoherentTlps: number;
  /** Their data DWs in bytes. */
  readonly coherentBytes: number;
  readonly nonCoherentBytes: number;
  /** TLPs whose No Snoop the translation unit took away. */
  readonly noSnoopStripped: number;
  /** Calls that an emulator made to the device model instead of TLPs. */
  readonly deviceCalls: number;
}

/** Address of the interrupt messages of all groups that QEMU makes (zpci.md 4.5). */
export const MSI_ADDRESS = 0xfe00_0000_0000_0000n;

/** One BAR of a function. */
export interface FunctionBar {
  readonly address: U64;
  /** Bytes. */
  readonly size: number;
  readonly space: 'memory' | 'io';
}

/** The I/O addresses that a zPCI function may use, and the tables that translate them (zpci.md 5.1, 5.4). */
export interface DmaRegistration {
  /** First and last I/O address. */
  readonly pba: U64;
  readonly pal: U64;
  /** I/O translation anchor. */
  readonly iota: U64;
}

function checkRegistration(registration: DmaRegistration, mayBeReal: boolean): void {
  needObject('translation', registration);
  const { pba, pal, iota } = registration;
  checkU64('translation.pba', pba);
  checkU64('translation.pal', pal);
  if (BigInt(pba) > BigInt(pal)) throw invalid('translation.pal', pal, `an address from ${pba} on`);
  checkU64('translation.iota', iota);
  if ((low32(iota) & L.IOTA_TRANSLATED) === 0 && !mayBeReal)
    throw invalid('translation.iota', iota, 'an anchor with bit 0x800 (T), or option rtr for the slot');
}

/** A machine has MIO when it has a function that is not behind a VMM: QEMU's guests do not see it (sheet zpci.md 2.9). */
export function machineHasMio(functions: readonly PciFunction[]): boolean {
  return functions.some(({ options }) => options.mio && options.zpciMode === 'native');
}

export class PciFunction {
  readonly slot: number;
  readonly name: string;
  readonly options: Options;
  /** Configuration space as it stands: reading and writing here makes no traffic and no check of the host. */
  readonly config: ConfigModel;
  /** The model, and its instance in this slot; undefined for plain memory. */
  readonly device: Device | undefined;
  instance: DeviceInstance | undefined;
  private readonly core: Core;
  private readonly slotConfig: CheckedSlot;
  /** Configuration space as firmware left it. */
  private readonly firstConfig: Uint8Array;
  private current: FunctionState = 'enabled';
  private registered: DmaRegistration | undefined;
  /** Enable bit of the handle. A permanent error leaves it as it was (zpci.md 1.2). */
  private hasEnableBit = true;
  private usesMio = false;

  constructor(core: Core, slot: number, config: CheckedSlot) {
    this.core = core;
    this.slot = slot;
    this.slotConfig = config;
    this.name = config.name;
    this.device = config.model;
    this.options = config.options;
    this.config = config.config;
    this.writeTable();
    this.setUp();
    this.firstConfig = this.config.save();
  }

  /** Implemented BARs by number, with the bus addresses that they hold now; undefined where there is none. */
  get bars(): readonly (FunctionBar | undefined)[] {
    return this.slotConfig.bars.map((bar, n) =>
      bar === undefined ? undefined : { address: this.addressOf(n), size: bar.size, space: bar.space },
    );
  }

  /** Whether the function may send requests: Bus Master Enable, in power state D0. */
  get busMaster(): boolean {
    return this.config.command.busMaster && this.isAwake;
  }

  /** PASID Enable of the capability: whether requests may carry a PASID (PCIe base specification 7.8.9.3). */
  get pasidEnabled(): boolean {
    const at = this.config.extendedCapability(EXT.PASID);
    return at !== undefined && (this.config.read(at + 6, 2) & 1) !== 0;
  }

  /** Enable No Snoop in Device Control: whether requests may carry the attribute (PCIe base specification 7.5.3.4). */
  get noSnoopEnabled(): boolean {
    return this.config.deviceControl?.noSnoop ?? false;
  }

  /** Enable Relaxed Ordering in Device Control (PCIe base specification 7.5.3.4). */
  get relaxedOrderingEnabled(): boolean {
    return this.config.deviceControl?.relaxedOrdering ?? false;
  }

  /** A function in D1, D2 or D3hot answers configuration requests only (PCI PM 1.2 section 5.4). */
  private get isAwake(): boolean {
    return (this.config.powerState ?? 0) === 0;
  }

  /** Command or power state changed: whether the BARs answer. The caller rebuilds the windows. */
  decodeChanged(): void {
    this.set(L.FUNCTION_COMMAND, this.decodes ? L.COMMAND_MEMORY : 0);
  }

  /** Whether the BARs in memory space answer: Memory Space Enable, in power state D0. */
  get decodes(): boolean {
    return this.config.command.memory && this.isAwake;
  }

  /** BAR `index` holds another address. The caller rebuilds the windows. */
  barMoved(index: number): void {
    if (this.slotConfig.bars[index]?.space !== 'memory') return;
    const at = L.FUNCTION_BARS + index * L.BAR_STRIDE + L.BAR_BASE;
    const address = this.addressOf(index);
    this.set(at, low32(address));
    this.set(at + 4, high32(address));
  }

  private addressOf(index: number): U64 {
    return this.config.bar(index)?.address ?? 0;
  }

  /** What firmware does, and a driver's first calls: addresses, Memory Space and Bus Master Enable. */
  private setUp(): void {
    const { config } = this;
    this.slotConfig.bars.forEach((bar, n) => {
      if (bar === undefined) return;
      const register = REG.BAR0 + 4 * n;
      config.write(register, low32(bar.address), 4);
      if (bar.bits === 64) config.write(register + 4, high32(bar.address), 4);
      this.barMoved(n);
    });
    const io = this.slotConfig.bars.some((bar) => bar?.space === 'io') ? COMMAND.IO : 0;
    const kept = config.read(REG.COMMAND, 2);
    config.write(REG.COMMAND, kept | COMMAND.MEMORY | COMMAND.BUS_MASTER | io, 2);
    this.decodeChanged();
  }

  /** Byte offset of this function in the function table. */
  private get entry(): number {
    return this.slot * L.FUNCTION_STRIDE;
  }

  /** Bus, device and function number. Function 0 of each device: 32 devices on bus 1, the rest on bus 2. */
  get id(): number {
    return ((1 + (this.slot >> 5)) << 8) | ((this.slot & 31) << 3);
  }

  /** Its translation unit by its place in `machine.iommus`; undefined: its requests are not translated there. */
  get iommu(): number | undefined {
    return this.slotConfig.iommu;
  }

  /** Index in the function table: the low 16 bits of the handle. */
  get handleIndex(): number {
    return this.slotConfig.handleIndex;
  }

  /** Function ID, by which SCLP and error records name the function. */
  get fid(): number {
    return this.slotConfig.zpci.fid;
  }

  /** What firmware says of the function (zpci.md 4.4). */
  get identity(): CheckedIdentity & { readonly type: number } {
    return { ...this.slotConfig.zpci, type: this.slotConfig.traits.type };
  }

  /**
   * MIO addresses by BAR, with which the MIO forms of the PCI instructions reach it; undefined for a function without:
   * MIO is a matter of the machine (option `mio`), the device, and a guest that no VMM executes (zpci.md 2.9).
   */
  get mio(): readonly (MioAddresses | undefined)[] | undefined {
    if (!this.options.mio || !this.slotConfig.traits.mio || this.options.zpciMode !== 'native')
      return undefined;
    return this.slotConfig.bars.map((bar, n) => (bar?.space === 'memory' ? this.mioAddresses(n) : undefined));
  }

  /** Where MIO would find BAR `bar`, whether the function has MIO or not. */
  mioAddresses(bar: number): MioAddresses {
    inRange('bar', bar, 0, L.BAR_COUNT - 1);
    const high = L.MIO_BASE_HI + (this.slot << L.MIO_SLOT_SHIFT) + bar;
    const writeThrough = BigInt(high) << 32n;
    return { writeThrough, writeBack: writeThrough | (BigInt(L.MIO_WRITE_BACK_HI) << 32n) };
  }

  /** The guest may use the MIO forms: CLP set PCI function, operation 2, as Linux does in its probe. */
  get mioEnabled(): boolean {
    return this.usesMio;
  }

  set mioEnabled(on: boolean) {
    this.usesMio = on && this.mio !== undefined;
    this.writeFlags();
  }

  /** The MIO forms reach the device. */
  get takesMio(): boolean {
    return this.slotConfig.traits.mio;
  }

  /** One more PCI instruction that the function does not take. */
  countViolation(): void {
    const at = this.entry + L.FUNCTION_POLICY_VIOLATIONS;
    this.core.setCount(L.PLACE_FUNCTIONS, at, this.core.count(L.PLACE_FUNCTIONS, at) + 1);
  }

  /** zPCI function handle as a guest has to give it now: index, software-handled marker, enable bit (zpci.md 1.1). */
  get handle(): number {
    const bare = modeFacts(this.options.zpciMode).marker | this.slotConfig.handleIndex;
    return this.hasEnableBit ? bare + ENABLE_BIT : bare;
  }

  get state(): FunctionState {
    return this.current;
  }

  /** Sets the zPCI state as firmware, errors and recovery would; the handle's enable bit follows. */
  set state(state: FunctionState) {
    if (typeof state !== 'string' || !Object.hasOwn(STATES, state))
      throw invalid('state', state, Object.keys(STATES).join(', '));
    this.current = state;
    if (state !== 'permanent-error') this.hasEnableBit = !NOT_ENABLED.has(state);
    if (NOT_ENABLED.has(state)) this.mioEnabled = false;
    this.set(L.FUNCTION_STATE, STATES[state]);
    this.set(L.FUNCTION_HANDLE, this.handle);
  }

  get stats(): FunctionStats {
    const get = (offset: number): number => this.core.count(L.PLACE_FUNCTIONS, this.entry + offset);
    const tlpsDown = get(L.FUNCTION_TLPS_DOWN);
    const tlpsUp = get(L.FUNCTION_TLPS_UP);
    const wireBytesDown = get(L.FUNCTION_WIRE_DOWN);
    const wireBytesUp = get(L.FUNCTION_WIRE_UP);
    return {
      loads: get(L.FUNCTION_LOADS),
      stores: get(L.FUNCTION_STORES),
      storeBlocks: get(L.FUNCTION_STORE_BLOCKS),
      refreshes: get(L.FUNCTION_REFRESHES),
      tlps: tlpsDown + tlpsUp,
      tlpsDown,
      tlpsUp,
      wireBytesDown,
      wireBytesUp,
      wireBytes: wireBytesDown + wireBytesUp,
      deviceCalls: get(L.FUNCTION_DEVICE_CALLS),
      policyViolations: get(L.FUNCTION_POLICY_VIOLATIONS),
      coherentTlps: get(L.FUNCTION_COHERENT),
      nonCoherentTlps: get(L.FUNCTION_NON_COHERENT),
      coherentBytes: get(L.FUNCTION_COHERENT_BYTES),
      nonCoherentBytes: get(L.FUNCTION_NON_COHERENT_BYTES),
      noSnoopStripped: get(L.FUNCTION_STRIPPED),
    };
  }

  /** The bytes of BAR `bar` themselves, past every path and counter. A view that lives as long as the machine. */
  barMemory(bar: number): Uint8Array {
    const { memoryOffset, size } = this.checkedBar(bar);
    if (memoryOffset === undefined)
      throw new ZtlpError('not-found', `bar: BAR ${bar} of ${this.name} has no memory, its model serves it`, {
        field: 'bar',
        value: bar,
      });
    const at = this.core.at(L.PLACE_BAR_MEMORY) + memoryOffset;
    return this.core.u8.subarray(at, at + size);
  }

  /**
   * Lets DMA go through I/O translation tables, as MPCIFC registers them; `undefined` deregisters. Before the first call
   * requests reach the bus as they are: a machine that no zPCI software has touched.
   */
  set translation(registration: DmaRegistration | undefined) {
    if (registration !== undefined) checkRegistration(registration, this.options.rtr);
    const at = this.slot * L.DMA_STRIDE;
    const put = (offset: number, value: U64): void => {
      this.core.setWord(L.PLACE_DMA, at + offset, low32(value));
      this.core.setWord(L.PLACE_DMA, at + offset + 4, high32(value));
    };
    const { dmaInErrorLsOpen, qemuQuirks } = this.options;
    const flags = (dmaInErrorLsOpen === 'allowed' ? L.DMA_IN_ERROR : 0) | (qemuQuirks ? L.DMA_QUIRKS : 0);
    this.core.setWord(L.PLACE_DMA, at + L.DMA_FLAGS, flags);
    put(L.DMA_PBA, registration?.pba ?? 0);
    put(L.DMA_PAL, registration?.pal ?? 0);
    put(L.DMA_IOTA, registration?.iota ?? 0);
    const mode = registration === undefined ? L.DMA_UNREGISTERED : L.DMA_REGISTERED;
    this.core.setWord(L.PLACE_DMA, at + L.DMA_MODE, mode);
    this.core.x.dropTranslations(this.slot);
    this.registered = registration;
  }

  /** The machine has zPCI: writes to the address of the group are interrupt messages. */
  takeMessages(): void {
    const at = this.slot * L.DMA_STRIDE + L.DMA_MSIA;
    this.core.setWord(L.PLACE_DMA, at, low32(MSI_ADDRESS));
    this.core.setWord(L.PLACE_DMA, at + 4, high32(MSI_ADDRESS));
  }

  /** zPCI software has touched the function: its DMA is translated, or refused. */
  get usesTranslation(): boolean {
    return this.core.word(L.PLACE_DMA, this.slot * L.DMA_STRIDE + L.DMA_MODE) !== L.DMA_DIRECT;
  }

  get translation(): DmaRegistration | undefined {
    return this.registered;
  }

  /** Zeros in all BAR memory: what a reset leaves of a function that is memory and nothing else. */
  clearMemory(): void {
    this.slotConfig.bars.forEach((bar, n) => {
      if (bar?.memoryOffset !== undefined) this.barMemory(n).fill(0);
    });
  }

  /** BAR `bar` as it stands; throws when the device does not implement it in memory space. */
  bar(bar: number): FunctionBar {
    const { size, space } = this.checkedBar(bar);
    return { address: this.addressOf(bar), size, space };
  }

  private checkedBar(bar: number): CheckedBar {
    const { bars } = this.slotConfig;
    const config = Number.isInteger(bar) ? bars[bar] : undefined;
    if (config?.space === 'memory') return config;
    if (config !== undefined)
      throw new ZtlpError('unsupported', `bar: BAR ${bar} is in I/O space, which no access path reaches`, {
        field: 'bar',
        value: bar,
        allowed: 'a BAR in memory space',
      });
    const known = bars.flatMap((entry, n) => (entry === undefined ? [] : [n])).join(', ');
    throw invalid('bar', bar, known === '' ? 'none: the function has no BAR' : known, 'not-found');
  }

  private set(offset: number, value: number): void {
    this.core.setWord(L.PLACE_FUNCTIONS, this.entry + offset, value);
  }

  private writeTable(): void {
    this.set(L.FUNCTION_ID, this.id);
    this.set(L.FUNCTION_MAXSTBL, this.options.maxstbl);
    const { iommu } = this.slotConfig;
    this.set(L.FUNCTION_UNIT, iommu === undefined ? 0 : iommu + 1);
    const { vfioGeneration, vfioWidth } = this.options;
    this.set(L.FUNCTION_HOST_WIDTH, vfioWidth === 'preserve' ? 0 : vfioGeneration === 1 ? 4 : 8);
    this.slotConfig.bars.forEach((bar, n) => {
      if (bar?.space === 'memory') this.writeBar(L.FUNCTION_BARS + n * L.BAR_STRIDE, bar);
    });
    this.start();
  }

  /** The zPCI state at the start: enabled is as a driver's probe leaves it, with MIO where there is. */
  private start(): void {
    this.state = this.slotConfig.state;
    this.mioEnabled = this.slotConfig.state === 'enabled';
  }

  private writeFlags(): void {
    const asks = this.device?.definition.acceptInstruction === undefined ? 0 : L.ZPCI_ASKS;
    const capable = this.slotConfig.traits.mio ? L.ZPCI_MIO_CAPABLE : 0;
    const enabled = this.usesMio ? L.ZPCI_MIO_ENABLED : 0;
    this.set(L.FUNCTION_ZPCI_FLAGS, zpciFlags(this.options) | asks | capable | enabled);
  }

  private writeBar(at: number, bar: CheckedBar): void {
    this.set(at + L.BAR_BYTES, low32(bar.size));
    this.set(at + L.BAR_BYTES + 4, high32(bar.size));
    this.set(at + L.BAR_MEMORY, this.core.at(L.PLACE_BAR_MEMORY) + (bar.memoryOffset ?? 0));
    this.set(at + L.BAR_VALID, packSizes(bar.valid));
    this.set(at + L.BAR_IMPL, packSizes(bar.impl));
    this.set(at + L.BAR_SERVER, bar.isMemory ? L.SERVED_BY_CORE : L.SERVED_BY_HOST);
  }

  /** Configuration space as firmware left it: what a zPCI function has after a reset. */
  restoreConfig(): void {
    this.config.load(this.firstConfig);
  }

  /** Counters from 0, state and configuration space from the start: what `machine.reset` does to a function. */
  reset(): void {
    this.registered = undefined;
    this.core.setWord(L.PLACE_DMA, this.slot * L.DMA_STRIDE + L.DMA_MODE, L.DMA_DIRECT);
    this.config.load(this.firstConfig);
    for (let offset = L.FUNCTION_LOADS; offset < L.FUNCTION_COMMAND; offset += 4) this.set(offset, 0);
    this.start();
  }
}
