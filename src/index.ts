/** The library: machines, access paths and the transaction layer as plain functions. */
export type { AccessSizes, BarDefinition, DeviceModel } from './base/device.js';
export { type Errno, type ErrorCode, ZtlpError } from './base/errors.js';
export {
  COST_PRESETS,
  describeOption,
  OPTIONS,
  type OptionInput,
  type OptionName,
  type Options,
} from './base/options.js';
export { checkDevice } from './check/check-device.js';
export type { CheckOptions, CheckOutcome, CheckReport, CheckResult } from './check/types.js';
export type { AccessTotals, CoreSource } from './core/core.js';
export { ready } from './core/shared.js';
export type { U64 } from './core/u64.js';
export type { AccessFailure, AccessOptions } from './device/access.js';
export type { Region, ResolvedBar } from './device/bars.js';
export type { Capabilities, ResolvedCapabilities } from './device/capabilities.js';
export { type Device, defineDevice } from './device/define.js';
export type { ContainedError, DeviceLimits } from './device/guard.js';
export type { DeviceHost } from './device/host.js';
export { DeviceInstance, type InstanceCounts, type InstanceOptions } from './device/instance.js';
export { type LspciDeviceOptions, lspciDevice } from './device/lspci.js';
export {
  type RegisterBank,
  type RegisterBankOptions,
  type RegisterView,
  registerBank,
  type SavedRegisters,
} from './device/register-bank.js';
export type { RegisterAccess, RegisterDefinition, RegisterMap } from './device/registers.js';
export type { SavedDevice } from './device/save.js';
export type {
  BarMemory,
  BarOffset,
  ByteEnables,
  DeviceBar,
  DeviceContext,
  DeviceDefinition,
  DeviceRegion,
  DmaOptions,
  DmaReadResult,
  DmaWriteResult,
  InstructionAnswer,
  PciInstruction,
  RegionKind,
  ResetKind,
} from './device/types.js';
export { type CopyEngineOptions, type CopyEngineState, copyEngine } from './devices/copy-engine.js';
export { type MemoryDeviceOptions, memoryDevice } from './devices/memory.js';
export { type VirtioLikeOptions, virtioLike } from './devices/virtio-like.js';
export {
  AmdDomainUnit,
  type AmdDomainUnitInput,
  type AmdHardware,
} from './iommu/amd-domain-unit.js';
export { type AmdMessage, AmdQueues } from './iommu/amd-queues.js';
export type { AmdEvent, AmdUnit } from './iommu/amd-unit.js';
export {
  AddressTranslationCache,
  type AtsAccess,
  type AtsCompletion,
  type AtsEntry,
  completionOf as atsCompletionOf,
  decodeAtsEntry,
  encodeAtsEntry,
  invalidationRange as atsInvalidationRange,
} from './iommu/ats.js';
export { Domain, type DomainInput, type DomainKind, type DomainMapAttributes } from './iommu/domain.js';
export {
  type CoherencyCapabilities,
  type DomainUnit,
  type FunctionId,
  unitCapabilities,
} from './iommu/domain-unit.js';
export type { AddressRange } from './iommu/iova.js';
export type { Mapping } from './iommu/page-table.js';
export { reasonName } from './iommu/reasons.js';
export { S390DomainUnit, type S390DomainUnitInput, type S390Hardware } from './iommu/s390-domain-unit.js';
export { SmmuDomainUnit, type SmmuDomainUnitInput, type SmmuHardware } from './iommu/smmu-domain-unit.js';
export { type SmmuMessage, SmmuQueues } from './iommu/smmu-queues.js';
export type { SmmuEvent, SmmuUnit } from './iommu/smmu-unit.js';
export {
  type AmdSnoopInput,
  decideSnoop,
  type S390SnoopInput,
  type SmmuSnoopInput,
  type SnoopDecision,
  type SnoopInput,
  type SnoopPath,
  type VtdSnoopInput,
} from './iommu/snoop.js';
export { PlainMemory, type PlainMemoryInput, type TableMemory } from './iommu/table-memory.js';
export type {
  HardwareFlags,
  TranslationUnit,
  UnitAnswer,
  UnitKind,
  UnitRequest,
  UnitSegment,
  WalkStep,
} from './iommu/unit.js';
export type { UnitMemory } from './iommu/unit-memory.js';
export {
  emulatedFile,
  type FlushReport,
  KvmVfio,
  VfioContainer,
  type VfioContainerInput,
  type VfioFile,
} from './iommu/vfio-coherency.js';
export { VtdDomainUnit, type VtdDomainUnitInput, type VtdHardware } from './iommu/vtd-domain-unit.js';
export type { DeviceInvalidation } from './iommu/vtd-queue.js';
export { VtdRegisters, type VtdRegistersInput } from './iommu/vtd-registers.js';
export type { FaultRecord, UnitFault, VtdRequest, VtdUnit } from './iommu/vtd-unit.js';
export {
  compareWbinvd,
  type WbinvdAnswer,
  type WbinvdComparison,
  type WbinvdDevice,
  type WbinvdInput,
  type WbinvdUnit,
  wbinvdLinux,
  wbinvdNeeded,
} from './iommu/wbinvd.js';
export { type Credits, ENDPOINT_CREDITS, ROOT_CREDITS } from './link/ports.js';
export {
  type EndInput,
  type ReadLoad,
  type SimulationInput,
  type SimulationResult,
  simulateLink,
  type WriteLoad,
} from './link/simulation.js';
export type { EndResult, Packet } from './link/simulation-result.js';
export type { InitialState, MachineConfig, SlotConfig } from './machine/config.js';
export type {
  AccessInput,
  AccessResult,
  CompletionStatus,
  Cpu,
  PcistbInput,
  ReadInput,
  ReadResult,
  WriteInput,
} from './machine/cpu.js';
export {
  type AmdDomainsInput,
  type MachineDomains,
  type MachineDomainsInput,
  machineDomains,
  type S390DomainsInput,
  type SmmuDomainsInput,
  type VtdDomainsInput,
} from './machine/domains.js';
export type { MsixMessage } from './machine/driver.js';
export type {
  DmaRegistration,
  FunctionBar,
  FunctionStats,
  PciFunction,
} from './machine/function.js';
export type { AmdConfig, IommuConfig, MachineUnit, SmmuConfig, VtdConfig } from './machine/iommus.js';
export type { LinkConfig } from './machine/link-config.js';
export type { LinkDirection, MachineLink } from './machine/links.js';
export { createMachine, type Machine, type MachineStats } from './machine/machine.js';
export type { HostMemory } from './machine/memory.js';
export type { MioBlockInput, MioLoadInput, MioStoreInput } from './machine/mio.js';
export type { InterruptMessage } from './machine/models.js';
export type { PciEvent } from './machine/pci-events.js';
export type { TableRegion } from './machine/table-region.js';
export type { TlpTrace, TracedTlp } from './machine/trace.js';
export type { PciLoadAnswer, PciLoadInput, PciStoreInput, RpcitInput } from './machine/zpci.js';
export type {
  AdapterInterrupt,
  ClpImmediateAnswer,
  ClpImmediateInput,
  ClpInput,
  MpcifcInput,
  SicInput,
  StpcifcAnswer,
  StpcifcInput,
} from './machine/zpci-control.js';
export type { Fault } from './path/fault.js';
export {
  type IoRegionCall,
  type IoRegionInstruction,
  type IoRegionResult,
  ioRegionCall,
  ioRegionRequest,
} from './path/io-region.js';
export { dispatchRegion, type RegionInput, type RegionResult } from './path/region.js';
export { countAccess, type Span, type SplitInput, type SplitResult, splitAccess } from './path/split.js';
export { type AccessPath, PATH_IDS, PATHS, type PathId, type VfioRegion } from './path/table.js';
export type { ConfigModel } from './pci/config-model.js';
export type { EnumeratedBar, EnumeratedFunction } from './pci/enumerate.js';
export type { ConfigPort } from './pci/probe.js';
export {
  type DecodedTlp,
  type DecodeOptions,
  decodeTlp,
  type EncodeOptions,
  encodeTlp,
} from './tlp/codec.js';
export { crc16, crc32, type EcrcOptions, ecrc, lcrc } from './tlp/crc.js';
export {
  type AckDllp,
  type CreditDllp,
  type DecodedDllp,
  DLLP_TYPES,
  DLLP_WIRE_BYTES,
  type Dllp,
  type DllpType,
  decodeDllp,
  encodeDllp,
  type FeatureDllp,
  type PowerDllp,
  type RawDllp,
} from './tlp/dllp.js';
export { TLP_TYPES } from './tlp/kinds.js';
export { MESSAGES, type MessageDefinition, messageOf, ROUTINGS, type Routing } from './tlp/messages.js';
export {
  type ByteRange,
  byteRange,
  type CompletionInput,
  enabledRange,
  splitCompletion,
  splitRequest,
  type TransferInput,
} from './tlp/split.js';
export type { Attributes, Malformed, Pasid, Tlp, TlpInput, TlpPrefix, TlpType } from './tlp/types.js';
export type { ProgramInterruption, ZpciAnswer } from './zpci/answer.js';
export type { ZpciIdentity, ZpciTraits } from './zpci/identity.js';
export type { FunctionState } from './zpci/states.js';
