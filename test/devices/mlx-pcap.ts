/** Captures of Ethernet frames in the classic pcap format, as far as tests need them. */

// File header of 24 bytes: magic 0xa1b2c3d4 in the byte order of the writer, version 2.4, zone, accuracy, longest frame, link
// type (1: Ethernet). Then for each frame a header of 16 bytes: seconds, microseconds, bytes kept, bytes on the wire.

const MAGIC = 0xa1b2_c3d4;
const ETHERNET = 1;

/** The frames of a capture. Throws for another format. */
export function readPcap(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const little = view.getUint32(0, true) === MAGIC;
  if (!little && view.getUint32(0) !== MAGIC) throw new Error('no pcap file');
  if (view.getUint32(20, little) !== ETHERNET) throw new Error('no capture of Ethernet');
  const frames: Uint8Array[] = [];
  for (let at = 24; at + 16 <= file.length; ) {
    const kept = view.getUint32(at + 8, little);
    if (kept !== view.getUint32(at + 12, little)) throw new Error('a frame was cut off');
    frames.push(file.slice(at + 16, at + 16 + kept));
    at += 16 + kept;
  }
  return frames;
}

/** A capture of made-up traffic in big-endian order: ARP, IPv4 with ICMP, UDP and TCP, IPv6, VLAN; short and full frames. */
export function capture(): Uint8Array {
  const header = new Uint8Array(24);
  const view = new DataView(header.buffer);
  view.setUint32(0, MAGIC);
  view.setUint16(4, 2);
  view.setUint16(6, 4);
  view.setUint32(16, 65535);
  view.setUint32(20, ETHERNET);
  const ends = [0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x54, 0, 0x12, 0x34, 0x57];
  const frames = [
    made(ends, 0x0806, 28),
    made(ends, 0x0800, 84),
    made(ends, 0x0800, 46),
    made(ends, 0x0800, 1500),
    made(ends, 0x86dd, 72),
    made([...ends, 0x81, 0x00, 0x00, 0x05], 0x0800, 40),
    made([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...ends.slice(6)], 0x0806, 46),
  ];
  const records = frames.map((one, n) => {
    const record = new Uint8Array(16);
    const fields = new DataView(record.buffer);
    fields.setUint32(4, 100 * n);
    fields.setUint32(8, one.length);
    fields.setUint32(12, one.length);
    return [...record, ...one];
  });
  return Uint8Array.from([...header, ...records.flat()]);
}

function made(addresses: readonly number[], etherType: number, payload: number): Uint8Array {
  const bytes = Array.from({ length: payload }, (_, n) => (n * n + payload) & 0xff);
  return Uint8Array.from([...addresses, etherType >> 8, etherType & 0xff, ...bytes]);
}
