/** The options of the controller, checked, with their defaults. */
import { inRange, invalid, needObject, ZtlpError } from '../../base/errors.js';
import { checkKeys, keysOf } from '../../base/names.js';
import { isPowerOfTwo } from '../../device/check.js';
import type { NvmeBacking } from './store.js';

export interface NvmeOptions {
  /** Namespace in bytes: whole blocks, up to 2^50. Default: what `backing` has, else 16 MiB. Not together with `blocks`. */
  readonly bytes?: number;
  /** Namespace in blocks. */
  readonly blocks?: number;
  /** Bytes of a block. Default 512. */
  readonly lbaBytes?: 512 | 4096;
  /**
   * Where the data is. Bytes: memory that begins as a copy of them. Left out: memory that begins as zeros. Memory is saved
   * and loaded with the device, and every instance has its own; of a `NvmeBacking` the data is the user's.
   */
  readonly backing?: Uint8Array | NvmeBacking;
  /** Pairs of I/O queues: 1 to 256. Default 8. */
  readonly queues?: number;
  /** Most entries of an I/O queue (CAP.MQES): 2 to 4096. Default 1024. */
  readonly queueEntries?: number;
  /** Interrupt vectors: MSI-X 1 to 2048, default one more than `queues`; MSI 1, 2, 4 to 32, default 1. */
  readonly vectors?: number;
  /** Capability that the function has. With `msi` INTMS and INTMC mask vectors. Default `msix`. */
  readonly interrupts?: 'msix' | 'msi';
  /** Bytes from one doorbell to the next (CAP.DSTRD): a power of two, 4 to 4096. Default 4. */
  readonly doorbellStride?: number;
  /** Longest transfer (MDTS): 4 KiB x 2^mdts, 1 to 10. Default 5: 128 KiB. */
  readonly mdts?: number;
  /** Nanoseconds from the fetch of an I/O command to its first DMA or completion: an integer from 0 to 10^9. Default 0. */
  readonly latencyNs?: number;
  /** Serial Number: up to 20 printable ASCII characters. Default `ZTLP0001`. */
  readonly serial?: string;
  /** Model Number: up to 40. Default `ztlp nvme`. */
  readonly model?: string;
  /** Firmware Revision: up to 8. Default `1.0`. */
  readonly firmware?: string;
}

/** Options with all defaults. */
export interface Setup {
  readonly blocks: number;
  readonly lbaBytes: number;
  readonly queues: number;
  readonly queueEntries: number;
  readonly vectors: number;
  readonly interrupts: 'msix' | 'msi';
  readonly doorbellStride: number;
  readonly mdts: number;
  readonly latencyNs: number;
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  /** First contents of memory. */
  readonly image: Uint8Array | undefined;
  readonly backing: NvmeBacking | undefined;
}

const KEYS = keysOf<NvmeOptions>({
  bytes: true,
  blocks: true,
  lbaBytes: true,
  backing: true,
  queues: true,
  queueEntries: true,
  vectors: true,
  interrupts: true,
  doorbellStride: true,
  mdts: true,
  latencyNs: true,
  serial: true,
  model: true,
  firmware: true,
});
const DEFAULT_BYTES = 16 * 1024 * 1024;
const MAX_BYTES = 2 ** 50;

/** Throws ZtlpError `unknown-name` for an option that there is not, else the field, the value and what is allowed. */
export function resolveSetup(options: NvmeOptions): Setup {
  needObject('options', options);
  checkKeys('options', options, KEYS);
  const { lbaBytes = 512, backing, interrupts = 'msix' } = options;
  if (lbaBytes !== 512 && lbaBytes !== 4096) throw invalid('lbaBytes', lbaBytes, '512, 4096');
  if (interrupts !== 'msix' && interrupts !== 'msi') throw invalid('interrupts', interrupts, 'msix, msi');
  const isImage = backing instanceof Uint8Array;
  if (backing !== undefined && !isImage) checkBacking(backing);
  const queues = inRange('queues', options.queues ?? 8, 1, 256);
  const doorbellStride = inRange('doorbellStride', options.doorbellStride ?? 4, 4, 4096);
  if (!isPowerOfTwo(doorbellStride)) throw invalid('doorbellStride', doorbellStride, 'a power of two');
  return {
    blocks: blocksOf(options, lbaBytes, isImage ? backing.length : backing?.bytes),
    lbaBytes,
    queues,
    queueEntries: inRange('queueEntries', options.queueEntries ?? 1024, 2, 4096),
    vectors: vectorsOf(options.vectors, interrupts, queues),
    interrupts,
    doorbellStride,
    mdts: inRange('mdts', options.mdts ?? 5, 1, 10),
    latencyNs: inRange('latencyNs', options.latencyNs ?? 0, 0, 1e9),
    serial: text('serial', options.serial ?? 'ZTLP0001', 20),
    model: text('model', options.model ?? 'ztlp nvme', 40),
    firmware: text('firmware', options.firmware ?? '1.0', 8),
    image: isImage ? backing.slice() : undefined,
    backing: isImage ? undefined : backing,
  };
}

function blocksOf({ bytes, blocks }: NvmeOptions, lbaBytes: number, available: number | undefined): number {
  if (bytes !== undefined && blocks !== undefined)
    throw new ZtlpError('invalid-value', 'blocks: the size of the namespace stands in bytes already', {
      field: 'blocks',
      value: blocks,
      allowed: 'one of bytes and blocks',
    });
  const most = Math.min(MAX_BYTES, available ?? MAX_BYTES);
  if (most < lbaBytes) throw invalid('backing', available, `at least ${lbaBytes} bytes`, 'out-of-range');
  if (blocks !== undefined) return inRange('blocks', blocks, 1, Math.floor(most / lbaBytes));
  if (bytes === undefined) return Math.floor((available ?? DEFAULT_BYTES) / lbaBytes);
  inRange('bytes', bytes, lbaBytes, most);
  if (bytes % lbaBytes !== 0) throw invalid('bytes', bytes, `a multiple of ${lbaBytes}`);
  return bytes / lbaBytes;
}

function vectorsOf(given: number | undefined, interrupts: 'msix' | 'msi', queues: number): number {
  if (interrupts === 'msix') return inRange('vectors', given ?? queues + 1, 1, 2048);
  const vectors = inRange('vectors', given ?? 1, 1, 32);
  if (!isPowerOfTwo(vectors)) throw invalid('vectors', vectors, '1, 2, 4, 8, 16, 32');
  return vectors;
}

function checkBacking(backing: NvmeBacking): void {
  needObject('backing', backing);
  for (const call of ['read', 'write', 'flush'] as const)
    if (typeof backing[call] !== 'function') throw invalid(`backing.${call}`, backing[call], 'a function');
  const { bytes, readOnly } = backing;
  if (bytes !== undefined) inRange('backing.bytes', bytes, 0, Number.MAX_SAFE_INTEGER);
  if (readOnly !== undefined && typeof readOnly !== 'boolean')
    throw invalid('backing.readOnly', readOnly, 'true, false');
}

function text(field: string, value: string, most: number): string {
  if (typeof value === 'string' && value.length <= most && /^[\x20-\x7e]*$/.test(value)) return value;
  throw invalid(field, value, `up to ${most} printable ASCII characters`);
}
