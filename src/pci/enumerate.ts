/** Walks a PCI hierarchy as firmware and Linux do: finds functions, numbers buses, sizes BARs, gives out addresses. */
import { inRange, needObject, ZtlpError } from '../base/errors.js';
import type { U64 } from '../core/u64.js';
import { alignUp, type Claim, checkWindow, endOf, placeAll, split, type Window } from './assign-windows.js';
import type { BarKind } from './bars.js';
import type { Capability, ExtendedCapability } from './capabilities.js';
import { word16 } from './config-fields.js';
import { answers, type ConfigPort, type ProbedBar, type ProbedFunction, probe } from './probe.js';
import { COMMAND, REG } from './registers.js';

export interface EnumerateOptions {
  /** Bus to begin at, 0 to 255. Default 0. */
  readonly bus?: number;
  /** Below 4 GiB: 32-bit BARs, ROMs, and 64-bit BARs that are not prefetchable. */
  readonly memory: Window;
  /** For 64-bit prefetchable BARs. Without it they go below 4 GiB. */
  readonly prefetchable?: Window;
  /** For I/O BARs, at most 64 KiB. Without it they get no address, and I/O decoding is off. */
  readonly io?: Window;
}

export interface EnumeratedBar {
  /** 0 to 5, or 6 for the expansion ROM. */
  readonly index: number;
  readonly kind: BarKind;
  readonly prefetchable: boolean;
  /** Bytes. */
  readonly size: number;
  /** Undefined for an I/O BAR without a window. */
  readonly address: U64 | undefined;
}

export interface EnumeratedFunction {
  /** bus << 8 | device << 3 | function. */
  readonly bdf: number;
  readonly vendorId: number;
  readonly deviceId: number;
  /** Of a type 0 header. */
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  readonly revision: number;
  readonly classCode: number;
  readonly bars: readonly EnumeratedBar[];
  readonly capabilities: readonly Capability[];
  readonly extendedCapabilities: readonly ExtendedCapability[];
  /** Of a type 1 header: the buses behind it. */
  readonly bridge?: { readonly primary: number; readonly secondary: number; readonly subordinate: number };
  /** What no function should have, in words: broken chains, BARs that are no power of two. */
  readonly problems: readonly string[];
}

type Space = 'memory' | 'prefetchable' | 'io';

/** A function with what hangs behind it. */
interface Node {
  readonly fn: ProbedFunction;
  /** Spaces that can be reached: those that have a window here and in each bridge above. */
  readonly reach: ReadonlySet<Space>;
  readonly addresses: Map<number, U64>;
  readonly children: readonly Node[];
  readonly bridge: EnumeratedFunction['bridge'];
}

const SPACES = ['memory', 'prefetchable', 'io'] as const;
const MIB = 1n << 20n;
/** Granularity of a bridge's windows (PCI-to-PCI bridge architecture 1.2 sections 3.2.5.6 to 3.2.5.9). */
const GRAIN: Readonly<Record<Space, bigint>> = { memory: MIB, prefetchable: MIB, io: 4096n };

/**
 * Finds all functions from `bus` on, depth first, and sets them up: bus numbers and windows of bridges, addresses of
 * BARs (naturally aligned, largest first), Memory Space and Bus Master Enable. I/O Space Enable is set where there is
 * an I/O window, and cleared else; nothing else is enabled, and ROMs stay disabled.
 * Throws ZtlpError for a window that is too small or ends above what its registers can hold, and for more than 256
 * buses.
 */
export function enumerate(port: ConfigPort, options: EnumerateOptions): EnumeratedFunction[] {
  needObject('options', options);
  const { bus = 0, memory, prefetchable, io } = options;
  inRange('bus', bus, 0, 255);
  const windows = {
    memory: checkWindow('memory', memory, 1n << 32n),
    prefetchable: prefetchable && checkWindow('prefetchable', prefetchable, 1n << 64n),
    io: io && checkWindow('io', io, 1n << 16n),
  };
  const reach = new Set(SPACES.filter((space) => windows[space] !== undefined));
  const nodes = new Walk(port, bus).scan(bus, reach);
  for (const space of SPACES) {
    const window = windows[space];
    const claims = nodes.flatMap((node) => claimsOf(port, node, space));
    if (window !== undefined) placeAll(space, claims, window.base, window.size);
  }
  for (const node of nodes) enable(port, node);
  return nodes.flatMap(flat);
}

/** Finds functions and numbers buses. */
class Walk {
  constructor(
    private readonly port: ConfigPort,
    /** Highest bus number given out. */
    private last: number,
  ) {}

  scan(bus: number, reach: ReadonlySet<Space>): Node[] {
    const found = this.functions(bus).map((bdf) => probe(this.port, bdf));
    // Decoding is off until all addresses are given out, and no bridge passes on what is meant for another.
    for (const { bdf, space, command } of found) {
      this.port.write(bdf, REG.COMMAND, command & ~DECODE, 2);
      if (space.headerType === 1) this.setBuses(bdf, 0, 0, 0);
    }
    return found.map((fn) => {
      const addresses = new Map<number, U64>();
      if (fn.space.headerType !== 1) return { fn, reach, addresses, children: [], bridge: undefined };
      return { fn, reach, addresses, ...this.behind(fn.bdf, bus, reach) };
    });
  }

  /** Functions of one bus: function 0 of each device, and the others of a device that says it has them. */
  private functions(bus: number): number[] {
    const found: number[] = [];
    for (let device = 0; device < 32; device++) {
      const first = (bus << 8) | (device << 3);
      if (!answers(this.port, first)) continue;
      found.push(first);
      if ((this.port.read(first, REG.HEADER_TYPE, 1) & 0x80) === 0) continue;
      for (let fn = 1; fn < 8; fn++) if (answers(this.port, first + fn)) found.push(first + fn);
    }
    return found;
  }

  private behind(bdf: number, primary: number, reach: ReadonlySet<Space>): Pick<Node, 'children' | 'bridge'> {
    if (this.last === 255) {
      throw new ZtlpError('resource', 'bus: there are more than 256', { field: 'bus', allowed: '256 buses' });
    }
    const secondary = ++this.last;
    this.setBuses(bdf, primary, secondary, 255);
    const missing = closeWindows(this.port, bdf);
    const children = this.scan(secondary, new Set([...reach].filter((space) => !missing.has(space))));
    const subordinate = this.last;
    this.setBuses(bdf, primary, secondary, subordinate);
    return { children, bridge: { primary, secondary, subordinate } };
  }

  private setBuses(bdf: number, primary: number, secondary: number, subordinate: number): void {
    this.port.write(bdf, REG.PRIMARY_BUS, primary, 1);
    this.port.write(bdf, REG.SECONDARY_BUS, secondary, 1);
    this.port.write(bdf, REG.SUBORDINATE_BUS, subordinate, 1);
  }
}

const DECODE = COMMAND.IO | COMMAND.MEMORY | COMMAND.BUS_MASTER;

/** Sets each base above its limit, so that nothing passes. Returns the windows that the bridge does not have. */
function closeWindows(port: ConfigPort, bdf: number): Set<Space> {
  port.write(bdf, REG.IO_BASE, 0x00f0, 2);
  port.write(bdf, REG.IO_BASE_UPPER, 0, 4);
  port.write(bdf, REG.MEMORY_BASE, 0xfff0, 4);
  port.write(bdf, REG.PREFETCH_BASE, 0xfff0, 4);
  port.write(bdf, REG.PREFETCH_BASE_UPPER, 0, 4);
  port.write(bdf, REG.PREFETCH_LIMIT_UPPER, 0, 4);
  const missing = new Set<Space>();
  if ((port.read(bdf, REG.IO_BASE, 2) & 0xf0) === 0) missing.add('io');
  // A low digit of 1: the window lies anywhere in 64 bits. One that cannot is of no use for such BARs.
  if ((port.read(bdf, REG.PREFETCH_BASE, 2) & 0xffff) !== 0xfff1) missing.add('prefetchable');
  return missing;
}

/** What `node` and all behind it need in one space. */
function claimsOf(port: ConfigPort, node: Node, space: Space): Claim[] {
  const claims: Claim[] = node.fn.bars
    .filter((bar) => spaceOf(bar, node.reach) === space)
    .map((bar) => ({
      size: bar.size,
      align: bar.size,
      place: (address) => {
        node.addresses.set(bar.index, setBar(port, node.fn.bdf, bar, address));
      },
    }));
  const inner = node.children.flatMap((child) => claimsOf(port, child, space));
  if (inner.length === 0) return claims;
  const align = inner.reduce((most, claim) => (claim.align > most ? claim.align : most), GRAIN[space]);
  const size = alignUp(endOf(inner, 0n), GRAIN[space]);
  const place = (address: bigint): void => {
    openWindow(port, node.fn.bdf, space, address, address + size - 1n);
    placeAll(space, inner, address, size);
  };
  return [...claims, { size, align, place }];
}

/** Where a BAR belongs. A 64-bit prefetchable one goes below 4 GiB where no prefetchable window leads to it. */
function spaceOf({ kind, prefetchable }: ProbedBar, reach: ReadonlySet<Space>): Space | undefined {
  if (kind === 'io') return reach.has('io') ? 'io' : undefined;
  return kind === 'memory64' && prefetchable && reach.has('prefetchable') ? 'prefetchable' : 'memory';
}

function setBar(port: ConfigPort, bdf: number, { kind, register }: ProbedBar, to: bigint): U64 {
  const { lo, hi, address } = split(to);
  port.write(bdf, register, lo, 4);
  if (kind === 'memory64') port.write(bdf, register + 4, hi, 4);
  return address;
}

/** Lets a bridge pass on the addresses from `from` to `to`. */
function openWindow(port: ConfigPort, bdf: number, space: Space, from: bigint, to: bigint): void {
  const base = split(from);
  const limit = split(to);
  if (space === 'io') {
    port.write(bdf, REG.IO_BASE, ((base.lo >>> 8) & 0xf0) | (limit.lo & 0xf000), 2);
    return;
  }
  const register = space === 'memory' ? REG.MEMORY_BASE : REG.PREFETCH_BASE;
  port.write(bdf, register, (((limit.lo >>> 16) & 0xfff0) * 0x1_0000 + ((base.lo >>> 16) & 0xfff0)) >>> 0, 4);
  if (space === 'memory') return;
  port.write(bdf, REG.PREFETCH_BASE_UPPER, base.hi, 4);
  port.write(bdf, REG.PREFETCH_LIMIT_UPPER, limit.hi, 4);
}

function enable(port: ConfigPort, { fn, reach, children }: Node): void {
  const usesIo = fn.space.headerType === 1 || fn.bars.some(({ kind }) => kind === 'io');
  const io = usesIo && reach.has('io') ? COMMAND.IO : 0;
  port.write(fn.bdf, REG.COMMAND, (fn.command & ~DECODE) | COMMAND.MEMORY | COMMAND.BUS_MASTER | io, 2);
  for (const child of children) enable(port, child);
}

function flat({ fn, addresses, children, bridge }: Node): EnumeratedFunction[] {
  const { bdf, space, bars, problems } = fn;
  const { vendorId, deviceId, revision, classCode, capabilities, extendedCapabilities } = space;
  const own: EnumeratedFunction = {
    bdf,
    vendorId,
    deviceId,
    ...(space.headerType === 0
      ? {
          subsystemVendorId: word16(space.bytes, REG.SUBSYSTEM_VENDOR_ID),
          subsystemId: word16(space.bytes, REG.SUBSYSTEM_ID),
        }
      : {}),
    revision,
    classCode,
    bars: bars.map(({ index, kind, prefetchable, size }) => ({
      index,
      kind,
      prefetchable,
      size: Number(size),
      address: addresses.get(index),
    })),
    capabilities,
    extendedCapabilities,
    ...(bridge === undefined ? {} : { bridge }),
    problems,
  };
  return [own, ...children.flatMap(flat)];
}
