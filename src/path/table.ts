/**
 * The table of access paths: how a load, a store or a block becomes guest instructions, exits, system calls and operations
 * on the device. Every path is one entry; splitting, the width comparison, the machine and the docs read it.
 */
import * as L from '../../assembly/layout.js';
import type { OptionInput, Options } from '../base/options.js';

/** A cutting rule of the core with its value; see RULE_* in assembly/layout.ts. */
export interface Rule {
  readonly rule: number;
  readonly value: number;
}

/** What a vfio-pci region maps. */
export const VFIO_REGIONS = ['bar', 'rom', 'vga'] as const;
export type VfioRegion = (typeof VFIO_REGIONS)[number];

/** What one access asks of its path. */
export interface PathAccess {
  readonly op: 'read' | 'write';
  readonly bytes: number;
  /** The instruction is repeated over the block; else one instruction (or call) does the whole access. */
  readonly block: boolean;
  /** What the access goes to, for paths that end in vfio-pci. Default 'bar'. */
  readonly region?: VfioRegion;
}

/** One access planned: a rule per level, what is counted, what the instruction demands. */
export interface Plan {
  readonly guest: Rule;
  readonly exit: Rule;
  readonly dispatch: Rule;
  readonly host: Rule;
  /** COUNT_* bits. */
  readonly counting: number;
  /** CHECK_* of each guest instruction, or of the system call and of the host's instructions. */
  readonly check: number;
  /** REQUEST_*: what an operation becomes. */
  readonly request: number;
}

export type Platform = 'x86-64' | 'arm64' | 's390x';

export interface AccessPath {
  readonly id: string;
  /** One line for tables and help. */
  readonly title: string;
  /** Platform of the guest or driver; 'any' for a host system call. */
  readonly platform: Platform | 'any';
  /** Options that the path's name implies; what a user gives goes over them. */
  readonly options: OptionInput;
  readonly write: ((access: PathAccess, options: Options) => Plan) | null;
  readonly read: ((access: PathAccess, options: Options) => Plan) | null;
  /** Sizes of a single access in bytes; null: any. */
  readonly sizes: readonly number[] | null;
  /** Loads always fetch whole units of this many bytes (MOVNTDQA: a 64-byte line). */
  readonly loadUnit?: number;
  /** A system call that answers EINVAL for an empty range and for one that leaves its 4 KiB page. */
  readonly withinPage?: true;
  /** Stores are posted, or the instruction or call waits for the operation (condition code, completion, return). */
  readonly stores: 'posted' | 'synchronous';
  /** A load waits for its completion before the next one, or loads are pipelined. */
  readonly loads: 'wait' | 'pipelined' | 'n/a';
  /** Where the rule stands. */
  readonly sheet: string;
}

const WHOLE: Rule = { rule: L.RULE_WHOLE, value: 0 };
const natural = (value: number): Rule => ({ rule: L.RULE_NATURAL, value });
const cut = (value: number): Rule => ({ rule: L.RULE_CUT, value });

const DIRECT = L.COUNT_INSTRUCTIONS | L.COUNT_HOST_OPERATIONS;
/** The guest instruction itself reaches the device, so that it is all that is charged: nobody traps or calls. */
export function isDirect({ counting }: Plan): boolean {
  return (counting & (L.COUNT_EXITS | L.COUNT_SYSTEM_CALLS)) === 0;
}

const TRAPPED = DIRECT | L.COUNT_EXITS;
const TRAPPED_CALL = TRAPPED | L.COUNT_SYSTEM_CALLS;

/** A plan in which every level passes its range on, changed by `change`. */
function plan(change: Partial<Plan>): Plan {
  return {
    guest: WHOLE,
    exit: WHOLE,
    dispatch: WHOLE,
    host: WHOLE,
    counting: DIRECT,
    check: L.CHECK_NONE,
    request: L.REQUEST_MEMORY,
    ...change,
  };
}

/** Guest loads and stores of up to 8 bytes: one, or repeated over a block at natural alignment. */
const upTo8 = (access: PathAccess): Rule => (access.block ? natural(8) : WHOLE);

/** x86 uncacheable: single accesses are cut at `ucSplitBoundary`, vector stores at `vectorUcChunk`. */
function uncacheable(access: PathAccess, options: Options): Plan {
  const vector = !access.block && access.bytes > 8;
  return plan({ guest: upTo8(access), host: cut(vector ? options.vectorUcChunk : options.ucSplitBoundary) });
}

/** Width of the kernel's accesses to a BAR, the expansion ROM or VGA ranges (access-paths.md 5). */
function vfioHost({ region = 'bar' }: PathAccess, options: Options): Rule {
  if (options.vfioWidth === 'preserve') return { rule: L.RULE_VFIO_PRESERVE, value: 0 };
  const { vfioGeneration } = options;
  const narrow = vfioGeneration === 1 || (vfioGeneration === 3 && region !== 'bar');
  return { rule: L.RULE_VFIO, value: narrow ? 4 : 8 };
}

/** A KVM guest: with `vfioMmap` the mapping is the guest's, else every access exits, is cut by QEMU and by the kernel. */
function kvm(access: PathAccess, options: Options): Plan {
  if (options.vfioMmap) return uncacheable(access, options);
  return plan({
    guest: upTo8(access),
    exit: { rule: L.RULE_FRAGMENT, value: 8 },
    dispatch: natural(8),
    host: vfioHost(access, options),
    counting: TRAPPED_CALL,
  });
}

function tcg(access: PathAccess, options: Options): Plan {
  return plan({
    guest: upTo8(access),
    dispatch: { rule: L.RULE_TCG, value: 0 },
    host: vfioHost(access, options),
    counting: TRAPPED_CALL,
  });
}

const armCopy = (): Plan => plan({ guest: { rule: L.RULE_ARM64_COPY, value: 0 } });
const x86Copy = (): Plan => plan({ guest: { rule: L.RULE_X86_STRING, value: 0 } });
/** Instructions with exactly one size, 64 bytes. */
const line64 =
  (request: number) =>
  (access: PathAccess): Plan =>
    plan({ guest: access.block ? cut(64) : WHOLE, check: L.CHECK_64, request });

/** Longest block and longest load of Linux's copy to I/O memory (zpci.md 3.3). */
const ZPCI_MAX_WRITE = 128;
const ZPCI_MAX_READ = 8;

/** Linux's s390 copy helper as option `chunking` and `boundary` say. */
function chunker(access: PathAccess, options: Options): Rule {
  const value = access.op === 'write' ? ZPCI_MAX_WRITE : ZPCI_MAX_READ;
  if (options.chunking === 'old') return { rule: L.RULE_ZPCI_OLD, value };
  return { rule: options.boundary === 'literal' ? L.RULE_ZPCI_NEW_LITERAL : L.RULE_ZPCI_NEW, value };
}

/**
 * The form of the instructions that accessors of a kernel issue: with option `mio` the MIO one, else the one with a handle,
 * which they try again while the answer is busy (zpci.md 2.3, 2.9).
 */
function kernelForm(counting: number, check: number, isMio: boolean): Pick<Plan, 'counting' | 'check'> {
  return isMio ? { counting: counting | L.COUNT_MIO, check } : { counting, check: check | L.CHECK_RETRY };
}

const zpciCopy = (access: PathAccess, options: Options): Plan =>
  plan({ guest: chunker(access, options), ...kernelForm(DIRECT, L.CHECK_ZPCI, options.mio) });

/** The same under option `mio`, whatever it is. */
const zpciMioCopy = (access: PathAccess, options: Options): Plan =>
  zpciCopy(access, { ...options, mio: true });

/** A guest's copy: a VMM has no MIO forms (QEMU), so its guests do not use them. */
const zpciGuestCopy = (access: PathAccess, options: Options): Plan =>
  zpciCopy(access, { ...options, mio: false });

/** One PCISTB for the whole access; the other levels as given. */
const oneBlock =
  (change: Partial<Plan> = {}) =>
  (): Plan =>
    plan({ check: L.CHECK_ZPCI_BLOCK, ...change });

/** PCILG or PCISTG of at most `bytes`. */
const zpciWords =
  (bytes: number, change: Partial<Plan> = {}) =>
  (): Plan =>
    plan({ guest: natural(bytes), check: L.CHECK_ZPCI, ...change });

const zpciEmulated = (access: PathAccess, options: Options): Plan =>
  plan({
    guest: chunker(access, options),
    dispatch: natural(8),
    host: { rule: L.RULE_CALL, value: 0 },
    ...kernelForm(L.COUNT_INSTRUCTIONS | L.COUNT_EXITS | L.COUNT_DEVICE_CALLS, L.CHECK_ZPCI, false),
    request: L.REQUEST_CALL,
  });

const zpciVfio = (access: PathAccess, options: Options): Plan =>
  plan({
    guest: chunker(access, options),
    dispatch: natural(8),
    host: vfioHost(access, options),
    // The guest's kernel uses the form with a handle, the host's the MIO one where the machine has it.
    counting: options.mio ? TRAPPED_CALL | L.COUNT_MIO : TRAPPED_CALL,
    check: L.CHECK_ZPCI | L.CHECK_RETRY | L.CHECK_PASSED_ON,
  });

const CALL = L.COUNT_SYSTEM_CALLS | L.COUNT_HOST_OPERATIONS;

/** s390_pci_mmio_write and _read: the range is checked, then copied as memcpy_toio does (zpci.md 3.4). */
const zpciSystemCall = (access: PathAccess, options: Options): Plan =>
  plan({
    host: chunker(access, options),
    ...kernelForm(CALL, L.CHECK_ZPCI | L.CHECK_CALL | L.CHECK_AT_HOST, options.mio),
  });

/** A group that takes 4 KiB in one PCISTB at any alignment, as the ISM group does. */
const BLOCK_GROUP: OptionInput = { maxstbl: 4096, relaxed: true };
const NATIVE: OptionInput = { zpciMode: 'native' };

type Entry = Omit<AccessPath, 'id' | 'sizes'> & { readonly sizes?: readonly number[] };

const TABLE = {
  'x86-uc': {
    title: 'x86 stores and loads of up to 8 bytes, uncacheable mapping',
    platform: 'x86-64',
    options: {},
    write: uncacheable,
    read: uncacheable,
    sizes: [1, 2, 4, 8, 16, 32, 64],
    stores: 'posted',
    loads: 'wait',
    sheet: 'access-paths.md 2',
  },
  'x86-wc-line': {
    title: 'x86 write-combining: 64-byte lines filled and flushed',
    platform: 'x86-64',
    options: {},
    write: () =>
      plan({
        guest: cut(64),
        host: { rule: L.RULE_WC_LINE, value: 0 },
        counting: DIRECT | L.COUNT_LINE_STORES,
      }),
    read: () => plan({ guest: cut(64) }),
    loadUnit: 64,
    stores: 'posted',
    loads: 'wait',
    sheet: 'access-paths.md 2',
  },
  'x86-movdir64b': {
    title: 'x86 MOVDIR64B: 64-byte direct stores',
    platform: 'x86-64',
    options: {},
    write: line64(L.REQUEST_MEMORY),
    read: null,
    stores: 'posted',
    loads: 'n/a',
    sheet: 'access-paths.md 2',
  },
  'x86-enqcmd': {
    title: 'x86 ENQCMD: 64-byte deferrable stores, each waits for its completion',
    platform: 'x86-64',
    options: {},
    write: line64(L.REQUEST_DEFERRABLE),
    read: null,
    stores: 'synchronous',
    loads: 'n/a',
    sheet: 'access-paths.md 2',
  },
  'x86-memcpy-toio': {
    title: 'Linux memcpy_toio on x86, uncacheable mapping, dword stores',
    platform: 'x86-64',
    options: {},
    write: x86Copy,
    read: x86Copy,
    stores: 'posted',
    loads: 'wait',
    sheet: 'access-paths.md 2',
  },
  'arm64-device': {
    title: 'arm64 stores and loads of up to 8 bytes, Device-nGnRE',
    platform: 'arm64',
    options: {},
    write: (access, options) =>
      plan({
        guest: upTo8(access),
        host: options.ldpStp === 'two' ? natural(8) : WHOLE,
        check: L.CHECK_NATURAL,
      }),
    read: (access, options) =>
      plan({
        guest: upTo8(access),
        host: options.ldpStp === 'two' ? natural(8) : WHOLE,
        check: L.CHECK_NATURAL,
      }),
    sizes: [1, 2, 4, 8, 16],
    stores: 'posted',
    loads: 'wait',
    sheet: 'access-paths.md 3',
  },
  'arm64-memcpy-io': {
    title: 'Linux __memcpy_toio and __memcpy_fromio on arm64',
    platform: 'arm64',
    options: {},
    write: armCopy,
    read: armCopy,
    stores: 'posted',
    loads: 'pipelined',
    sheet: 'access-paths.md 3',
  },
  'vfio-rw-w4': {
    title: 'one pread or pwrite on vfio-pci, generation 1: up to 4 bytes',
    platform: 'any',
    options: { vfioGeneration: 1 },
    write: (access, options) =>
      plan({ host: vfioHost(access, options), counting: L.COUNT_SYSTEM_CALLS | L.COUNT_HOST_OPERATIONS }),
    read: (access, options) =>
      plan({ host: vfioHost(access, options), counting: L.COUNT_SYSTEM_CALLS | L.COUNT_HOST_OPERATIONS }),
    stores: 'posted',
    loads: 'wait',
    sheet: 'access-paths.md 5',
  },
  'vfio-rw-w8': {
    title: 'one pread or pwrite on vfio-pci, generation 3: up to 8 bytes',
    platform: 'any',
    options: { vfioGeneration: 3 },
    write: (access, options) =>
      plan({ host: vfioHost(access, options), counting: L.COUNT_SYSTEM_CALLS | L.COUNT_HOST_OPERATIONS }),
    read: (access, options) =>
      plan({ host: vfioHost(access, options), counting: L.COUNT_SYSTEM_CALLS | L.COUNT_HOST_OPERATIONS }),
    stores: 'posted',
    loads: 'wait',
    sheet: 'access-paths.md 5',
  },
  'kvm-qemu-vfio-w4': {
    title: 'x86 guest on KVM, QEMU without mmap, vfio-pci generation 1',
    platform: 'x86-64',
    options: { vfioMmap: false, vfioGeneration: 1 },
    write: kvm,
    read: kvm,
    sizes: [1, 2, 4, 8, 16, 32, 64],
    stores: 'posted',
    loads: 'wait',
    sheet: 'access-paths.md 4, 5',
  },
  'kvm-qemu-vfio-w8': {
    title: 'x86 guest on KVM, QEMU without mmap, vfio-pci generation 3',
    platform: 'x86-64',
    options: { vfioMmap: false, vfioGeneration: 3 },
    write: kvm,
    read: kvm,
    sizes: [1, 2, 4, 8, 16, 32, 64],
    stores: 'posted',
    loads: 'wait',
    sheet: 'access-paths.md 4, 5',
  },
  'tcg-qemu-vfio-w4': {
    title: 'little-endian guest on QEMU TCG, vfio-pci generation 1',
    platform: 'x86-64',
    options: { vfioMmap: false, vfioGeneration: 1 },
    write: tcg,
    read: tcg,
    sizes: [1, 2, 4, 8],
    stores: 'posted',
    loads: 'wait',
    sheet: 'access-paths.md 4, 5',
  },
  'zpci-memcpy-old': {
    title: 's390 memcpy_toio before January 2024, native',
    platform: 's390x',
    options: { ...NATIVE, chunking: 'old' },
    write: zpciCopy,
    read: zpciCopy,
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 8.4 rows A, B',
  },
  'zpci-memcpy-new': {
    title: 's390 memcpy_toio since January 2024, native',
    platform: 's390x',
    options: { ...NATIVE, chunking: 'new' },
    write: zpciCopy,
    read: zpciCopy,
    stores: 'synchronous',
    loads: 'wait',
    sheet: "zpci.md 8.4 rows A, B'",
  },
  'zpci-pcistb': {
    title: 'one PCISTB for the block: relaxed, maxstbl 4096',
    platform: 's390x',
    options: { ...NATIVE, ...BLOCK_GROUP },
    write: oneBlock(),
    read: null,
    stores: 'synchronous',
    loads: 'n/a',
    sheet: 'zpci.md 8.4 row C',
  },
  'zpci-pcistg8': {
    title: 'PCISTG or PCILG of up to 8 bytes',
    platform: 's390x',
    options: NATIVE,
    write: zpciWords(8),
    read: zpciWords(8),
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 2.6, 8.4',
  },
  'zpci-pcistg4': {
    title: 'PCISTG or PCILG of up to 4 bytes: the split path',
    platform: 's390x',
    options: NATIVE,
    write: zpciWords(4),
    read: zpciWords(4),
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 2.6, 8.4',
  },
  'zpci-emulated': {
    title: 's390 guest memcpy_toio to a device that the VMM emulates',
    platform: 's390x',
    options: { zpciMode: 'emulated' },
    write: zpciEmulated,
    read: zpciEmulated,
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 8.4 row D',
  },
  'zpci-vfio-w4': {
    title: 's390 guest memcpy_toio, QEMU and vfio-pci generation 1',
    platform: 's390x',
    options: { zpciMode: 'vfio', vfioGeneration: 1 },
    write: zpciVfio,
    read: zpciVfio,
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 8.4 row E',
  },
  'zpci-vfio-w8': {
    title: 's390 guest memcpy_toio, QEMU and vfio-pci generation 3',
    platform: 's390x',
    options: { zpciMode: 'vfio', vfioGeneration: 3 },
    write: zpciVfio,
    read: zpciVfio,
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 8.4 row F',
  },
  'zpci-io-region': {
    title: 'the vfio zPCI I/O region of the 2021 proposal, one PCISTB',
    platform: 's390x',
    options: { zpciMode: 'vfio', interceptStrict: false, ...BLOCK_GROUP },
    write: oneBlock({ counting: TRAPPED_CALL }),
    read: zpciWords(8, { counting: TRAPPED_CALL }),
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 8.3, 8.4 row G',
  },
  'zpci-interpreted': {
    title: 's390 guest memcpy_toio, instructions interpreted by the machine',
    platform: 's390x',
    options: { zpciMode: 'interpreted' },
    write: zpciGuestCopy,
    read: zpciGuestCopy,
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 8.4 row H',
  },
  'zpci-vfio-ism': {
    title: 'device-specific vfio driver: one pwrite is one PCISTB',
    platform: 's390x',
    options: { zpciMode: 'vfio', interceptStrict: false, ...BLOCK_GROUP },
    write: oneBlock({ counting: TRAPPED_CALL }),
    read: zpciWords(8, { counting: TRAPPED_CALL }),
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 8.4 row I',
  },
  'vfio-ism-rw': {
    title: 'one pwrite on a device-specific vfio driver: one PCISTB, or EINVAL',
    platform: 's390x',
    options: { zpciMode: 'vfio', interceptStrict: false, ...BLOCK_GROUP },
    write: oneBlock({ counting: CALL, check: L.CHECK_ZPCI_BLOCK | L.CHECK_CALL }),
    read: null,
    withinPage: true,
    stores: 'synchronous',
    loads: 'n/a',
    sheet: 'zpci.md 8.4 row I',
  },
  'zpci-mmio-call': {
    title: 's390_pci_mmio_write and s390_pci_mmio_read: one system call within a page, native',
    platform: 's390x',
    options: NATIVE,
    write: zpciSystemCall,
    read: zpciSystemCall,
    withinPage: true,
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 3.4',
  },
  'zpci-mio': {
    title: 's390 memcpy_toio with the MIO forms (PCISTBI, PCISTGI), native',
    platform: 's390x',
    options: NATIVE,
    write: zpciMioCopy,
    read: zpciMioCopy,
    stores: 'synchronous',
    loads: 'wait',
    sheet: 'zpci.md 2.9, 8.4 row A',
  },
} as const satisfies Record<string, Entry>;

export type PathId = keyof typeof TABLE;

/** Every access path by id, in the order of the tables people see. */
export const PATHS: Readonly<Record<PathId, AccessPath>> = Object.fromEntries(
  (Object.entries(TABLE) as [PathId, Entry][]).map(([id, entry]) => [id, { sizes: null, ...entry, id }]),
) as unknown as Record<PathId, AccessPath>;

export const PATH_IDS = Object.keys(TABLE) as readonly PathId[];

/** The path every ratio is taken against. */
export const BASELINE: PathId = 'x86-memcpy-toio';
