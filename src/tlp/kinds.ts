/** The TLP types and the kind numbers the core gives them (PCIe base specification 2.2.1, table 2-3). */
import * as L from '../../assembly/layout.js';
import type { TlpType } from './types.js';

/** Kind numbers by type: [3 DW header, 4 DW header]; one entry where there is no choice. */
export const KINDS: Readonly<Record<TlpType, readonly [number, number?]>> = {
  MRd: [L.KIND_MRD32, L.KIND_MRD64],
  MRdLk: [L.KIND_MRDLK32, L.KIND_MRDLK64],
  MWr: [L.KIND_MWR32, L.KIND_MWR64],
  IORd: [L.KIND_IORD],
  IOWr: [L.KIND_IOWR],
  CfgRd0: [L.KIND_CFGRD0],
  CfgWr0: [L.KIND_CFGWR0],
  CfgRd1: [L.KIND_CFGRD1],
  CfgWr1: [L.KIND_CFGWR1],
  Msg: [L.KIND_MSG],
  MsgD: [L.KIND_MSGD],
  Cpl: [L.KIND_CPL],
  CplD: [L.KIND_CPLD],
  CplLk: [L.KIND_CPLLK],
  CplDLk: [L.KIND_CPLDLK],
  FetchAdd: [L.KIND_FETCHADD32, L.KIND_FETCHADD64],
  Swap: [L.KIND_SWAP32, L.KIND_SWAP64],
  CAS: [L.KIND_CAS32, L.KIND_CAS64],
  DMWr: [L.KIND_DMWR32, L.KIND_DMWR64],
};

/** Type by the kind number of the core: 32-bit and 64-bit forms share one. */
export const TYPES: readonly TlpType[] = (
  Object.entries(KINDS) as [TlpType, readonly [number, number?]][]
).reduce<TlpType[]>((list, [type, kinds]) => {
  for (const kind of kinds) if (kind !== undefined) list[kind] = type;
  return list;
}, []);

/** Every TLP type, in the order of the specification's table. */
export const TLP_TYPES = Object.keys(KINDS) as readonly TlpType[];

const WITH_DATA: ReadonlySet<TlpType> = new Set([
  'MWr',
  'IOWr',
  'CfgWr0',
  'CfgWr1',
  'MsgD',
  'CplD',
  'CplDLk',
  'FetchAdd',
  'Swap',
  'CAS',
  'DMWr',
]);

/** `type` has data behind its header. */
export function hasData(type: TlpType): boolean {
  return WITH_DATA.has(type);
}

/** What follows DW0: the shapes of the core by name. */
export type TlpShape = 'memory' | 'io' | 'config' | 'message' | 'completion';

export function shapeOf(type: TlpType): TlpShape {
  if (type.startsWith('Cpl')) return 'completion';
  if (type.startsWith('Cfg')) return 'config';
  if (type.startsWith('IO')) return 'io';
  return type.startsWith('Msg') ? 'message' : 'memory';
}
