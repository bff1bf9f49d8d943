/** Which named options an access path, and so a comparison or a replay, acts on: another one is refused, not ignored. */
import { ZtlpError } from '../base/errors.js';
import {
  BUILT_OPTIONS,
  type OptionInput,
  type OptionName,
  refuseUnbuilt,
  resolveOptions,
} from '../base/options.js';
import { pathOptions } from '../path/prepare.js';
import type { AccessPath, PathId } from '../path/table.js';
import { modeFacts } from '../zpci/mode.js';
import type { RecordedPath } from './replay-patterns.js';

/** How requests and completions are cut: every path that makes TLPs. */
const TLPS = ['mps', 'mrrs', 'rcb', 'writeSplit', 'readSplit', 'completionPolicy'] as const;
/** What the group of a function allows a PCISTB. */
const STORE_BLOCK = ['zpciMode', 'interceptStrict', 'maxstbl', 'relaxed', 'relaxedMaximum'] as const;
const VFIO = ['vfioGeneration', 'vfioWidth'] as const;
/** Linux's copy to I/O memory on s390. */
const COPY = ['chunking', 'boundary', 'dwordRule', ...STORE_BLOCK] as const;
/** The same by a kernel that may have the MIO forms. */
const KERNEL_COPY = ['mio', ...COPY] as const;
const KVM = ['vfioMmap', 'ucSplitBoundary', 'coalescedMmio', ...VFIO] as const;

/** Options of each path beside TLPS. A test tries all values of all options along all paths. */
const OWN: Readonly<Record<PathId, readonly OptionName[]>> = {
  'x86-uc': ['ucSplitBoundary'],
  'x86-wc-line': ['wcChunkOrder'],
  'x86-movdir64b': [],
  'x86-enqcmd': [],
  'x86-memcpy-toio': [],
  'arm64-device': [],
  'arm64-memcpy-io': [],
  'vfio-rw-w4': VFIO,
  'vfio-rw-w8': VFIO,
  'kvm-qemu-vfio-w4': KVM,
  'kvm-qemu-vfio-w8': KVM,
  'tcg-qemu-vfio-w4': ['coalescedMmio', ...VFIO],
  'zpci-memcpy-old': KERNEL_COPY,
  'zpci-memcpy-new': KERNEL_COPY,
  'zpci-pcistb': STORE_BLOCK,
  'zpci-pcistg8': [],
  'zpci-pcistg4': [],
  'zpci-emulated': ['coalescedMmio', ...COPY],
  'zpci-vfio-w4': ['coalescedMmio', ...VFIO, ...KERNEL_COPY],
  'zpci-vfio-w8': ['coalescedMmio', ...VFIO, ...KERNEL_COPY],
  'zpci-io-region': ['coalescedMmio', ...STORE_BLOCK],
  'zpci-interpreted': COPY,
  'zpci-vfio-ism': ['coalescedMmio', ...STORE_BLOCK],
  'vfio-ism-rw': STORE_BLOCK,
  'zpci-mmio-call': KERNEL_COPY,
  'zpci-mio': COPY,
};

/** Options that only one direction has a use for. */
const ONLY: Readonly<Record<'read' | 'write', ReadonlySet<OptionName>>> = {
  read: new Set(['mrrs', 'rcb', 'readSplit', 'completionPolicy']),
  write: new Set([
    'writeSplit',
    'wcChunkOrder',
    'coalescedMmio',
    'interceptStrict',
    'maxstbl',
    'relaxed',
    'relaxedMaximum',
  ]),
};

/** Options that change what blocks and single accesses of up to 8 bytes along `path` become, in one direction or both. */
export function pathUses(path: AccessPath, op?: 'read' | 'write'): readonly OptionName[] {
  const own = ownUses(path.id as PathId);
  const all = path.id === 'zpci-emulated' ? own : [...TLPS, ...own];
  const others = op === undefined ? undefined : ONLY[op === 'read' ? 'write' : 'read'];
  return others === undefined ? all : all.filter((name) => !others.has(name));
}

/**
 * Whether `path` with these options looks at the memory address of what it moves: Linux's s390 copy does, but for reads of
 * the new helper, and so do the strict rules of a PCISTB.
 */
export function usesSource(path: AccessPath, op: 'read' | 'write', options: OptionInput): boolean {
  const own = ownUses(path.id as PathId);
  const { chunking, boundary, relaxed, interceptStrict, zpciMode } = pathOptions(path, options);
  if (own.includes('chunking')) return op === 'write' || chunking === 'old' || boundary === 'literal';
  if (op === 'read' || !own.includes('relaxed')) return false;
  return !relaxed || (interceptStrict && modeFacts(zpciMode).intercepted);
}

/** The same without those of the TLPs. */
export function ownUses(id: PathId): readonly OptionName[] {
  return OWN[id];
}

/** The same for recorded accesses: they have up to 8 bytes, so that nothing but the path itself cuts them. */
export function recordedUses(path: RecordedPath): readonly OptionName[] {
  return ownUses(path);
}

/**
 * Throws when `options` gives a value, be it the default, to an option that is not in `used`; `what` is who does not
 * use it. A name or a value that is wrong anyway throws as such.
 */
export function refuseUnused(options: OptionInput, used: Iterable<OptionName>, what: string): void {
  resolveOptions(refuseUnbuilt(options));
  const known = new Set<string>(used);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || known.has(name)) continue;
    if (!BUILT_OPTIONS.has(name as OptionName))
      throw new ZtlpError('invalid-value', `${name}: is planned and has no effect in this version`, {
        field: name,
        value,
      });
    throw new ZtlpError('invalid-value', `${name}: ${what} does not use this option`, {
      field: name,
      value,
      allowed: known.size === 0 ? 'none' : [...known].sort().join(', '),
    });
  }
}
