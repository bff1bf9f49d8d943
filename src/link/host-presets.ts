/** Hosts that were measured: latencies, limits of the adapter, throughput where there is a curve (sheet timing.md 8). */
import { unknownName } from '../base/names.js';
import { OPTIONS, type OptionValue } from '../base/options.js';
import { MEASURED_GBPS, MEASURED_SIZES } from './measured-hosts.js';

export type HostName = Exclude<OptionValue<'hostPreset'>, 'none'>;

/** Mean round trip of a 64-byte read as the device sees it, in ns, by where the line is. */
interface ReadNs {
  /** In the cache, put there by the device. */
  readonly dmaWarm: number;
  /** In the cache of a processor. */
  readonly cpuWarm: number;
  readonly cold: number;
}

interface Host {
  /** Through the adapter's direct path, 8 to 64 bytes. */
  readonly command: ReadNs;
  /** Through its DMA engine. */
  readonly dma: ReadNs;
  /** Max Read Request Size of the host, where it was looked at. */
  readonly mrrs: 512 | 4096;
  /** Its translation unit: IOTLB entries, time of a walk in ns, walks at a time. */
  readonly iommu: { readonly entries: number; readonly walkNs: number; readonly walkers: number };
}

function host(
  mrrs: Host['mrrs'],
  command: readonly number[],
  dma: readonly number[],
  [entries = 0, walkNs = 0, walkers = 0]: readonly number[],
): Host {
  const named = ([dmaWarm = 0, cpuWarm = 0, cold = 0]: readonly number[]) => ({ dmaWarm, cpuWarm, cold });
  return { mrrs, command: named(command), dma: named(dma), iommu: { entries, walkNs, walkers } };
}

/**
 * DMA-warm, CPU-warm, cold; command path, then DMA engine; translation unit. Walkers are the measured miss rate times the time
 * of a walk, rounded. Where that is not stable (snb), and for a remote socket, what the local or the default one has.
 */
export const HOSTS: Readonly<Record<HostName, Host>> = {
  hsw2620: host(512, [412, 427, 480], [535, 550, 602], [119, 229, 5]),
  bdw: host(4096, [415, 432, 491], [538, 555, 612], [117, 289, 6]),
  ib: host(512, [419, 440, 496], [542, 564, 619], [126, 300, 5]),
  snb: host(512, [420, 435, 490], [544, 558, 614], [127, 243, 6]),
  hsw2637: host(512, [435, 473, 522], [558, 596, 647], [119, 268, 6]),
  'bdw-remote': host(4096, [415, 537, 540], [538, 664, 646], [117, 289, 6]),
  'ib-remote': host(512, [418, 551, 553], [541, 674, 665], [126, 300, 5]),
};

/** The link that every one of them was measured on. */
export const MEASURED_LINK = { name: 'gen3x8', mps: 256 } as const;

/** The adapter: shortest distance between two requests in ns, and reads under way at most (timing.md 4, 8). */
export const NFP6000 = { writeIntervalNs: 21.1, readIntervalNs: 16, reads: 34 } as const;

/** Returns `name` if it is a measured host; throws ZtlpError with the nearest one. */
export function checkHost(name: string): HostName {
  if (Object.hasOwn(HOSTS, name)) return name as HostName;
  const known = OPTIONS.hostPreset.values.filter((value) => value !== 'none');
  throw unknownName('preset', name, 'a measured host', known);
}

/** Sizes that the throughput of `name` was measured at: none where no curve is known. */
export function measuredSizes(name: HostName): readonly number[] {
  return Object.hasOwn(MEASURED_GBPS, name) ? MEASURED_SIZES : [];
}

/** Measured Gb/s of transfers of `size` bytes; undefined at a size that was not measured. */
export function measuredGbps(
  name: HostName,
  op: 'write' | 'read' | 'both',
  size: number,
): number | undefined {
  if (!Object.hasOwn(MEASURED_GBPS, name)) return undefined;
  return MEASURED_GBPS[name as keyof typeof MEASURED_GBPS][op][MEASURED_SIZES.indexOf(size)];
}
