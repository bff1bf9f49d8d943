/** TypeScript twin of assembly/index.ts: what the WebAssembly core exports. A test compares it with the module. */

// A `type`, because the loader wants an index signature. Results of u32 exports arrive as signed numbers.
export type CoreExports = {
  readonly memory: WebAssembly.Memory;
  machineCreate(hostBytes: number, barBytes: number): number;
  machineReset(): void;
  place(block: number): number;
  functionsChanged(count: number): void;
  accessBegin(
    slot: number,
    bar: number,
    baseLo: number,
    baseHi: number,
    lo: number,
    hi: number,
    bytes: number,
  ): void;
  run(): number;
  summarise(): void;
  ringKeep(): number;
  ringTlps(): number;
  ringOperations(): number;
  drained(): void;
  pcistb(
    handle: number,
    spaceAndFlags: number,
    length: number,
    offsetLo: number,
    offsetHi: number,
    sourceLo: number,
    sourceHi: number,
  ): number;
  pcilgOrStg(
    isRead: number,
    handle: number,
    spaceAndFlags: number,
    length: number,
    offsetLo: number,
    offsetHi: number,
  ): number;
  unitReserve(count: number, entries: number, structures: number): void;
  unitMemory(
    firstLo: number,
    firstHi: number,
    endLo: number,
    endHi: number,
    heldLo: number,
    heldHi: number,
  ): void;
  unitStart(index: number): void;
  unitTranslate(index: number, sid: number, pasid: number, lo: number, hi: number, flags: number): number;
  unitRequest(index: number, sid: number, pasid: number, lo: number, hi: number, flags: number): number;
  unitSteps(index: number): number;
  unitSwitch(index: number, isOn: number): void;
  unitDropAll(index: number): void;
  unitDropContexts(index: number, sid: number, ignored: number, did: number): void;
  unitDropPages(
    index: number,
    did: number,
    firstLo: number,
    firstHi: number,
    lastLo: number,
    lastHi: number,
    withTables: number,
  ): void;
  unitDropTagged(
    index: number,
    did: number,
    mask: number,
    kind: number,
    firstLo: number,
    firstHi: number,
    lastLo: number,
    lastHi: number,
    withTables: number,
  ): void;
  unitDropPasids(index: number, did: number, pasid: number): void;
  unitDropPasidPages(
    index: number,
    did: number,
    pasid: number,
    firstLo: number,
    firstHi: number,
    lastLo: number,
    lastHi: number,
    others: number,
    withTables: number,
  ): void;
  unitClearFault(index: number, record: number): void;
  cacheTouch(address: number, bytes: number, isWrite: number): void;
  cacheFlush(address: number, bytes: number, isDropped: number): void;
  cacheFlushAll(): number;
  snoopCosts(lo: number, hi: number): void;
  linkReserve(payloadBytes: number): void;
  linkStart(windows: number): void;
  linkRun(limit: number, endLo: number, endHi: number): number;
  linkTicks(): number;
  linkEventCount(): number;
  timedReserve(count: number, holds: number, data: number, held: number): void;
  timedStart(): void;
  timedRun(what: number, lo: number, hi: number): number;
  timedNow(): number;
  timedHeldEnd(): number;
  timedCpu(): number;
  timedEvents(): number;
  timedHash(isHigh: number): number;
  timedSpend(ticks: number): void;
  timedSetCpu(interval: number, buffer: number): void;
  timedAccess(instruction: number, exit: number, systemCall: number, host: number, pipelined: number): void;
  timedHorizon(lo: number, hi: number): void;
  timedKeep(on: number): void;
  timedEndAccess(): number;
  timedSerial(): number;
  timedDmaData(piece: number, phase: number): number;
  timedDma(slot: number, piece: number, lo: number, hi: number, bytes: number, isLast: number): number;
  mioSlot(high: number): number;
  rpcit(
    handle: number,
    flags: number,
    startLo: number,
    startHi: number,
    lengthLo: number,
    lengthHi: number,
  ): number;
  dropTranslations(slot: number): void;
  zpciResume(): number;
  records(): number;
  served(): void;
  deliver(): number;
  configBegin(id: number, isWrite: number, register: number, enables: number, value: number): number;
  completionStatus(): number;
  wcConfigure(buffers: number, immediate: number): void;
  wcBegin(bytes: number, phase: number): number;
  wcStore(lo: number, hi: number, bytes: number, data: number): void;
  wcFence(): void;
  tlpEncode(): number;
  tlpDecode(bytes: number): number;
  tlpCheck(rest: number, digest: number, mps: number, beCheck: number): number;
  tlpLcrc(bytes: number, sequence: number): number;
  tlpEcrc(bytes: number, header: number): number;
  tlpCrc32(bytes: number): number;
  dllpCrc16(bytes: number): number;
  byteRange(address: number, bytes: number): number;
  enabledRange(length: number, firstBe: number, lastBe: number): number;
  splitZero(lo: number, hi: number): void;
  tagNext(tag: number): void;
  splitCompletions(
    lo: number,
    hi: number,
    length: number,
    enables: number,
    tag: number,
    upstream: number,
  ): number;
  regionDispatch(offset: number, bytes: number, valid: number, impl: number): number;
};

/** The names of all exports, for the test that holds this file against the module. */
export const EXPORT_NAMES = [
  'memory',
  'machineCreate',
  'machineReset',
  'place',
  'functionsChanged',
  'accessBegin',
  'run',
  'summarise',
  'ringKeep',
  'ringTlps',
  'ringOperations',
  'drained',
  'pcistb',
  'pcilgOrStg',
  'unitReserve',
  'unitMemory',
  'unitStart',
  'unitTranslate',
  'unitRequest',
  'unitSteps',
  'unitSwitch',
  'unitDropAll',
  'unitDropContexts',
  'unitDropPages',
  'unitDropTagged',
  'unitDropPasids',
  'unitDropPasidPages',
  'unitClearFault',
  'cacheTouch',
  'cacheFlush',
  'cacheFlushAll',
  'snoopCosts',
  'linkReserve',
  'linkStart',
  'linkRun',
  'linkTicks',
  'linkEventCount',
  'timedReserve',
  'timedStart',
  'timedRun',
  'timedNow',
  'timedHeldEnd',
  'timedCpu',
  'timedEvents',
  'timedHash',
  'timedSpend',
  'timedSetCpu',
  'timedAccess',
  'timedHorizon',
  'timedKeep',
  'timedEndAccess',
  'timedSerial',
  'timedDmaData',
  'timedDma',
  'mioSlot',
  'rpcit',
  'dropTranslations',
  'zpciResume',
  'records',
  'served',
  'deliver',
  'configBegin',
  'completionStatus',
  'wcConfigure',
  'wcBegin',
  'wcStore',
  'wcFence',
  'tlpEncode',
  'tlpDecode',
  'tlpCheck',
  'tlpLcrc',
  'tlpEcrc',
  'tlpCrc32',
  'dllpCrc16',
  'byteRange',
  'enabledRange',
  'splitZero',
  'tagNext',
  'splitCompletions',
  'regionDispatch',
] as const satisfies readonly (keyof CoreExports)[];

// Fails to compile when an export is missing from EXPORT_NAMES.
type Missing = Exclude<keyof CoreExports, (typeof EXPORT_NAMES)[number]>;
true satisfies Missing extends never ? true : false;
