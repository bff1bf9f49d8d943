/** What one transfer puts on a link: its TLPs and their bytes in each direction, by the splitters of the core. */
import type { AnyLink } from '../base/link.js';
import type { OptionInput } from '../base/options.js';
import { tlpWireBytes } from '../link/wire.js';
import { splitCompletion, splitRequest } from '../tlp/split.js';
import type { Tlp } from '../tlp/types.js';

export interface TransferSetting {
  readonly generation: AnyLink['generation'];
  /** Above 4 GiB, so that headers have 4 DW, or below. */
  readonly addressBits: 32 | 64;
  /** Offset of the first byte in a page. */
  readonly offset: number;
  readonly ecrc: boolean;
  /** Options that shape TLPs. */
  readonly options: OptionInput;
}

/** One packet. */
export interface Packet {
  /** Bytes of data, whole DWs. */
  readonly payload: number;
  readonly wire: number;
}

/** One read request with what answers it. */
export interface ReadPackets {
  readonly request: Packet;
  readonly completions: readonly Packet[];
}

/** Addresses of 4 DW headers, and of 3 DW headers, that begin a page. */
const BASE = { 64: 2 ** 40, 32: 0 } as const;

function packetOf(tlp: Tlp, { generation, ecrc }: TransferSetting): Packet {
  const headerDw = (tlp.headerBytes / 4) as 3 | 4;
  const wire = tlpWireBytes({ headerDw, payloadDw: tlp.payloadBytes / 4, ecrc }, generation);
  return { payload: tlp.payloadBytes, wire };
}

/** The requests that write `bytes` bytes. Await `ready()` before; the splitters throw for what they cannot do. */
export function writePackets(bytes: number, setting: TransferSetting): Packet[] {
  const address = BASE[setting.addressBits] + setting.offset;
  return splitRequest({ op: 'write', address, bytes, options: setting.options }).map((tlp) =>
    packetOf(tlp, setting),
  );
}

/** The requests that read `bytes` bytes, each with its completions. */
export function readPackets(bytes: number, setting: TransferSetting): ReadPackets[] {
  const address = BASE[setting.addressBits] + setting.offset;
  const { options } = setting;
  return splitRequest({ op: 'read', address, bytes, options }).map((request) => ({
    request: packetOf(request, setting),
    completions: splitCompletion({ request, options }).map((tlp) => packetOf(tlp, setting)),
  }));
}

/** Wire bytes of packets together. */
export function wireSum(packets: readonly Packet[]): number {
  return packets.reduce((sum, { wire }) => sum + wire, 0);
}
