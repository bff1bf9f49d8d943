/** The function of the recorded Linux log as a device model: its own configuration space and MSI-X, the rest as recorded. */
import { type BarOffset, type Device, defineDevice } from '../../src/device/index.js';
import { type DeviceRegionAccess, formatDeviceRecord } from '../../src/trace/device-log.js';
import { type LinuxLog, repeated } from './linux-log.js';

/** BARs: MSI-X in one, the register blocks of virtio in the other. */
const MSIX_BAR = 1;
const VIRTIO_BAR = 4;
const VIRTIO_BYTES = 0x4000;
const VECTORS = 4;

/** Names of the log for what serves which part of a BAR. */
const REGIONS = [
  { bar: MSIX_BAR, from: 0, name: 'msix-table' },
  { bar: VIRTIO_BAR, from: 0, name: 'virtio-pci-common-virtio-net' },
  { bar: VIRTIO_BAR, from: 0x1000, name: 'virtio-pci-isr-virtio-net' },
  { bar: VIRTIO_BAR, from: 0x2000, name: 'virtio-pci-device-virtio-net' },
  { bar: VIRTIO_BAR, from: 0x3000, name: 'virtio-pci-notify-virtio-net' },
] as const;

/**
 * The doorbells: [0x3000, 0x300c) of BAR 4, one every 4 bytes for the queues 0 to 2 (receive, transmit, control). The
 * emulator hands them to an eventfd, so that the log has no line of their arrival. Software writes the queue's number (virtio
 * 1.2 section 4.1.5.2).
 */
export const DOORBELLS = { bar: VIRTIO_BAR, from: 0x3000, stride: 4, to: 0x300c } as const;

/** `device_status` of the common configuration, and its value when the driver is ready (virtio 1.2 sections 2.1, 4.1.4.3). */
const STATUS = 0x14;
const DRIVER_OK = 0x0f;

/** Places of the virtio structures in configuration space: offset, next one, length, `cfg_type`, BAR, offset in it. */
const STRUCTURES = [
  [0x84, 0x70, 20, 5, 0, 0, 0],
  [0x70, 0x60, 20, 2, VIRTIO_BAR, 0x3000, 0x1000],
  [0x60, 0x50, 16, 4, VIRTIO_BAR, 0x2000, 0x1000],
  [0x50, 0x40, 16, 3, VIRTIO_BAR, 0x1000, 0x1000],
  [0x40, 0x00, 16, 1, VIRTIO_BAR, 0x0000, 0x1000],
] as const;

/** A network card that is modern only (virtio 1.2 section 4.1): what its definition says, not what a log says. */
function configSpace(): Uint8Array {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setUint16(0x00, 0x1af4, true);
  view.setUint16(0x02, 0x1041, true); // network card: 0x1040 and the device type
  view.setUint16(0x06, 0x10, true); // Capabilities List
  view.setUint32(0x08, 0x02_0000_01, true); // Ethernet controller, revision 1
  view.setUint32(0x10 + 4 * VIRTIO_BAR, 0xc, true); // 64 bits, prefetchable
  view.setUint16(0x2c, 0x1af4, true);
  view.setUint16(0x2e, 0x1100, true);
  bytes[0x34] = 0x98;
  bytes[0x3d] = 1; // INTA
  bytes.set([0x11, 0x84], 0x98); // MSI-X
  view.setUint16(0x9a, VECTORS - 1, true);
  view.setUint32(0x9c, MSIX_BAR, true);
  view.setUint32(0xa0, 0x800 + MSIX_BAR, true);
  for (const [at, next, length, type, bar, offset, bytesThere] of STRUCTURES) {
    bytes.set([0x09, next, length, type, bar], at);
    view.setUint32(at + 8, offset, true);
    view.setUint32(at + 12, bytesThere, true);
  }
  view.setUint32(0x80, DOORBELLS.stride, true); // notify_off_multiplier
  return bytes;
}

/** An access that arrived, as the log prints it. */
export function arrival(kind: 'read' | 'write', at: BarOffset, bytes: Uint8Array): string {
  const { bar, offset } = at;
  const region = REGIONS.findLast((candidate) => candidate.bar === bar && candidate.from <= offset);
  const value = bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
  return formatDeviceRecord({
    kind: `device ${kind}`,
    region: region?.name ?? `bar ${bar}`,
    lo: offset,
    hi: 0,
    width: bytes.length as DeviceRegionAccess['width'],
    valueLo: value,
    valueHi: 0,
  });
}

/** A message: the device alone decides when, and for which vector. */
export interface Message {
  /** Simulated time. */
  readonly ns: number;
  readonly vector: number;
}

export interface RecordedDevice {
  readonly device: Device;
  /** Accesses that reached the virtio BAR, as the log prints them. Whoever reads the list empties it. */
  readonly arrivals: string[];
  /** First doubleword of each page, once read: undefined where the DMA failed. */
  readonly pages: (bigint | undefined)[];
}

/** Where the driver's pages are, and when the device looks at them. */
export interface Pages {
  readonly from: bigint;
  readonly count: number;
  readonly ns: number;
}

/**
 * The function of the log. Its configuration space and its MSI-X table answer by themselves. Reads of the virtio registers get
 * what the log says, in its order. Of a message, time and vector are given; address and data are what the driver wrote into
 * the table.
 */
export function recordedDevice(log: LinuxLog, messages: readonly Message[], pages: Pages): RecordedDevice {
  const again = repeated(log);
  const answers = log.steps
    .filter((step) => !again.has(step))
    .flatMap(({ effects }) => effects)
    .filter((effect): effect is DeviceRegionAccess => effect.kind === 'device read')
    .filter(({ region }) => region.startsWith('virtio'));
  const arrivals: string[] = [];
  const read: (bigint | undefined)[] = [];
  const device = defineDevice<{ next: number }>({
    name: 'recorded-virtio-net',
    config: configSpace(),
    bars: [
      undefined,
      { size: 0x1000, regions: [] },
      undefined,
      undefined,
      { size: VIRTIO_BYTES, bits: 64, prefetchable: true, callback: true },
    ],
    state: () => ({ next: 0 }),
    read(at, length, { state }) {
      const answer = answers[state.next++];
      if (answer === undefined) throw new Error('the log has no further read');
      // A value that does not fit is another width's: the line that is printed then differs.
      const value = answer.valueLo % 2 ** (8 * length);
      arrivals.push(arrival('read', at, littleEndian(value, length)));
      return value;
    },
    write(at, bytes, _enables, ctx) {
      arrivals.push(arrival('write', at, bytes));
      if (at.offset !== STATUS || bytes[0] !== DRIVER_OK) return;
      for (const { ns, vector } of messages) ctx.after(ns - ctx.time.ns, () => ctx.msix.raise(vector));
      ctx.after(pages.ns - ctx.time.ns, () => {
        for (let n = 0; n < pages.count; n++)
          ctx.dma.read(pages.from + 4096n * BigInt(n), 8, {}, ({ data }) => {
            read[n] = data && new DataView(data.buffer, data.byteOffset).getBigUint64(0);
          });
      });
    },
  }) as Device;
  return { device, arrivals, pages: read };
}

function littleEndian(value: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, n) => Math.floor(value / 2 ** (8 * n)) & 0xff);
}
