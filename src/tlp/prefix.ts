/** TLP prefixes and what two of them mean: PASID and the upper steering tag (PCIe base specification 2.2.7.1, 2.2.10, 6.20). */
import * as L from '../../assembly/layout.js';
import { inRange, invalid, needObject, show } from '../base/errors.js';
import type { Pasid, TlpPrefix } from './types.js';

const VALUE_BITS = 0xff_ffff;
const PASID_BITS = 0xf_ffff;
const EXECUTE = 1 << 20;
const PRIVILEGED = 1 << 21;
/** Steering tag bits 15:8 stand in byte 1 of the extended TPH prefix. */
const STEERING_SHIFT = 16;

/** A prefix as one word, byte 0 in bits 31:24. */
export function prefixWord(prefix: TlpPrefix, field: string): number {
  needObject(field, prefix);
  if (prefix.scope !== 'local' && prefix.scope !== 'endToEnd') {
    throw invalid(`${field}.scope`, prefix.scope, 'local, endToEnd');
  }
  const type = inRange(`${field}.type`, prefix.type, 0, L.PREFIX_TYPE_MASK);
  const value = inRange(`${field}.value`, prefix.value, 0, VALUE_BITS);
  const byte0 = L.PREFIX_FMT | (prefix.scope === 'endToEnd' ? L.PREFIX_END_TO_END : 0) | type;
  return ((byte0 << 24) | value) >>> 0;
}

export function prefixOf(word: number): TlpPrefix {
  const byte0 = word >>> 24;
  return {
    scope: (byte0 & L.PREFIX_END_TO_END) !== 0 ? 'endToEnd' : 'local',
    type: byte0 & L.PREFIX_TYPE_MASK,
    value: word & VALUE_BITS,
  };
}

function endToEnd(prefixes: readonly TlpPrefix[], type: number): TlpPrefix | undefined {
  return prefixes.find((prefix) => prefix.scope === 'endToEnd' && prefix.type === type);
}

/** What the PASID prefix among `prefixes` says, if there is one (6.20). */
export function pasidOf(prefixes: readonly TlpPrefix[]): Pasid | undefined {
  const found = endToEnd(prefixes, L.PREFIX_PASID);
  if (found === undefined) return undefined;
  const { value } = found;
  return {
    pasid: value & PASID_BITS,
    privileged: (value & PRIVILEGED) !== 0,
    execute: (value & EXECUTE) !== 0,
  };
}

/** `prefixes` with the one that `pasid` asks for; one that is there already has to say the same. */
export function withPasid(prefixes: readonly TlpPrefix[], pasid: Pasid | undefined): readonly TlpPrefix[] {
  if (pasid === undefined) return prefixes;
  const { privileged = false, execute = false } = pasid;
  const number = inRange('pasid.pasid', pasid.pasid, 0, PASID_BITS);
  const there = pasidOf(prefixes);
  if (there !== undefined) {
    const isSame = there.pasid === number && there.privileged === privileged && there.execute === execute;
    if (isSame) return prefixes;
    throw invalid('pasid', number, `the same as in prefixes: ${show(there.pasid)} with its flags`);
  }
  const value = number | (privileged ? PRIVILEGED : 0) | (execute ? EXECUTE : 0);
  return [...prefixes, { scope: 'endToEnd', type: L.PREFIX_PASID, value }];
}

/** The PASID prefix of an ordinary request, as one word. */
export function pasidPrefix(pasid: number): number {
  return prefixWord({ scope: 'endToEnd', type: L.PREFIX_PASID, value: pasid }, 'pasid');
}

/** Steering tag bits 15:8 as bits 15:8 of a number; undefined without the extended TPH prefix (2.2.7.1). */
export function steeringHigh(prefixes: readonly TlpPrefix[]): number | undefined {
  const found = endToEnd(prefixes, L.PREFIX_TPH);
  return found === undefined ? undefined : (found.value >>> STEERING_SHIFT) << 8;
}

/** `prefixes` with the upper byte of a 16-bit steering tag, which needs the extended TPH prefix. */
export function withSteeringTag(
  prefixes: readonly TlpPrefix[],
  tag: number | undefined,
): readonly TlpPrefix[] {
  if (tag === undefined) return prefixes;
  const high = tag & 0xff00;
  const there = steeringHigh(prefixes);
  if (there === high || (there === undefined && high === 0)) return prefixes;
  if (there !== undefined) throw invalid('steeringTag', tag, `bits 15:8 as in prefixes: ${there >>> 8}`);
  return [...prefixes, { scope: 'endToEnd', type: L.PREFIX_TPH, value: (high >>> 8) << STEERING_SHIFT }];
}
