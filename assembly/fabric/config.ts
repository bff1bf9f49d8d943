// Floor 5: configuration requests of the root complex (PCIe base specification 2.2.7): one DW of one function each.

import { PARAMS } from '../kernel/arena';
import { stage } from '../kernel/rings';
import { KIND_CFGRD0, KIND_CFGWR0, PARAM_REQUESTER, TLP_OVERHEAD_BYTES } from '../layout';
import { pushFormed } from '../tlp/build';
import { fmtTypeOf } from '../tlp/kinds';
import { expectRead } from './deliver';
import { takeTag } from './request';
import { countRequests } from './traffic';

/**
 * Pushes a type 0 configuration request to function `id` (bus, device, function): `register` is a byte offset, a multiple
 * of 4; `enables` the First DW BE. Returns where `value` stands and the value read will stand.
 */
export function pushConfig(id: u32, isWrite: bool, register: u32, enables: u32, value: u32): usize {
  const data = stage(4, 0);
  store<u32>(data, isWrite ? value : 0xffffffff);
  const tag = takeTag();
  if (!isWrite) expectRead(tag >> 8, data, 4);
  const kind: u32 = isWrite ? KIND_CFGWR0 : KIND_CFGRD0;
  const bytes: u32 = isWrite ? 4 : 0;
  const wire = TLP_OVERHEAD_BYTES + 12 + bytes;
  pushFormed(
    (fmtTypeOf(kind) << 24) | 1,
    (load<u32>(PARAMS, PARAM_REQUESTER) << 16) | tag | enables,
    (id << 16) | (register & 0xffc),
    isWrite ? data : 0,
    bytes,
    kind,
    wire,
  );
  countRequests(1, wire, bytes);
  return data;
}
