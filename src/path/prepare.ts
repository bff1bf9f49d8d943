/** Turns a path, an access and its options into the parameter block of a core: shared by splitting and by the machine. */
import * as L from '../../assembly/layout.js';
import type { AccessSizes } from '../base/device.js';
import { invalid, ZtlpError } from '../base/errors.js';
import { unknownName } from '../base/names.js';
import { type OptionInput, type Options, refuseTimed, resolveOptions } from '../base/options.js';
import type { Core } from '../core/core.js';
import { low32, type U64 } from '../core/u64.js';
import { setTlpOptions } from '../tlp/split.js';
import { resolveZpciOptions, zpciFlags } from '../zpci/mode.js';
import { type AccessPath, PATH_IDS, PATHS, type PathAccess, type PathId, type Plan } from './table.js';

/** The table entry of `id`; throws with the list of paths when there is none. */
export function pathOf(id: string): AccessPath {
  const path = (PATHS as Readonly<Record<string, AccessPath>>)[id];
  if (path !== undefined && PATH_IDS.includes(id as PathId)) return path;
  throw unknownName('path', id, 'an access path', PATH_IDS);
}

/** Options of an access along `path`: `base`, under what the path's name implies, under what the user gives. */
export function pathOptions(path: AccessPath, input: OptionInput = {}, base?: Options): Options {
  refuseTimed(input);
  const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
  return resolveZpciOptions({ ...path.options, ...given }, resolveOptions({}, base));
}

/** The plan of `access` along `path`; throws for a direction or a size the path does not have. */
export function planOf(path: AccessPath, access: PathAccess, options: Options): Plan {
  const make = access.op === 'read' ? path.read : path.write;
  if (make === null) {
    throw new ZtlpError('invalid-value', `${path.id} has no ${access.op}`, {
      field: 'op',
      value: access.op,
      allowed: access.op === 'read' ? 'write' : 'read',
    });
  }
  if (!access.block && path.sizes !== null && !path.sizes.includes(access.bytes)) {
    const sizes = path.sizes.join(', ');
    throw invalid('bytes', access.bytes, `${sizes} for one access of ${path.id}, any size with block: true`);
  }
  return make(access, options);
}

/** Region sizes packed for the core. */
export function packSizes(sizes: AccessSizes): number {
  return sizes.min | (sizes.max << 8) | (sizes.unaligned ? 1 << 16 : 0);
}

/** Accesses of 1 to 8 bytes, aligned: what vfio regions and the default BAR accept. */
export const DEFAULT_SIZES: AccessSizes = { min: 1, max: 8, unaligned: false };

/** A load or store of up to a doubleword is one request, also across a multiple of MPS (zpci.md 8.4). */
const UNCUT_BYTES = 8;

export interface ParamsInput {
  readonly access: PathAccess;
  readonly plan: Plan;
  readonly options: Options;
  /** MODE_* */
  readonly mode: number;
  /** Memory address of byte 0: alignment and chunking rules look at it. */
  readonly sourceAddress: U64;
  /** Excluded range of a vfio region: [first, behind). */
  readonly excluded?: readonly [number, number] | undefined;
}

/** Fills the parameter block for one access. */
export function setParams(core: Core, input: ParamsInput): void {
  const { access, plan, options } = input;
  setTlpOptions(core, options);
  core.setParam(L.PARAM_OP, access.op === 'read' ? L.OPERATION_READ : L.OPERATION_WRITE);
  core.setParam(L.PARAM_REQUEST, plan.request);
  core.setParam(L.PARAM_REQUESTER, 0); // the root complex
  core.setParam(L.PARAM_HEADER_BITS, 0);
  const levels = [plan.guest, plan.exit, plan.dispatch, plan.host];
  levels.forEach(({ rule, value }, level) => {
    core.setParam(L.PARAM_RULES + 4 * level, rule);
    core.setParam(L.PARAM_RULE_VALUES + 4 * level, value);
  });
  core.setParam(L.PARAM_COUNTING, plan.counting);
  core.setParam(L.PARAM_CHECK, plan.check);
  core.setParam(L.PARAM_ZPCI_FLAGS, zpciFlags(options));
  core.setParam(L.PARAM_MAXSTBL, options.maxstbl);
  core.setParam(L.PARAM_EXCLUDED_LO, input.excluded?.[0] ?? 0);
  core.setParam(L.PARAM_EXCLUDED_END, input.excluded?.[1] ?? 0);
  core.setParam(L.PARAM_DESCENDING, options.wcChunkOrder === 'descending' ? 1 : 0);
  core.setParam(L.PARAM_SOURCE, low32(input.sourceAddress));
  core.setParam(L.PARAM_REGION_VALID, packSizes(DEFAULT_SIZES));
  core.setParam(L.PARAM_REGION_IMPL, packSizes(DEFAULT_SIZES));
  core.setParam(L.PARAM_COALESCED, options.coalescedMmio ? 1 : 0);
  // PCISTB is a block whatever its length: its TLPs are cut at multiples of MPS (zpci.md 8.4).
  core.setParam(L.PARAM_UNCUT, (plan.check & L.CHECK_KIND) === L.CHECK_ZPCI_BLOCK ? 0 : UNCUT_BYTES);
  core.setParam(L.PARAM_MODE, input.mode);
}
