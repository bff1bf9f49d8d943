// Floor 2: holds every TLP that the core forms against the rules that its decoder checks. In builds with assertions only.

import { PARAMS } from '../kernel/arena';
import {
  DECODE_OK,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_H0,
  DESCRIPTOR_H3,
  FIELDS_BYTES,
  PARAM_MPS,
} from '../layout';
import { checkFields } from './check';
import { decodeHeader } from './header';

const HEADER: usize = memory.data(16, 16);
const BLOCK: usize = memory.data(FIELDS_BYTES, 16);

/** Fails when the TLP at descriptor `at`, whose prefix is not looked at, is malformed (2.2, 2.3). */
export function assertWellFormed(at: usize): void {
  for (let offset: usize = DESCRIPTOR_H0; offset <= <usize>DESCRIPTOR_H3; offset += 4)
    store<u32>(HEADER + offset, bswap(load<u32>(at + offset)));
  assert(decodeHeader(BLOCK, HEADER, 16) == DECODE_OK, 'the core formed a header that it cannot decode');
  const rest = load<u32>(at, DESCRIPTOR_BYTES);
  const rule = checkFields(BLOCK, rest, false, load<u32>(PARAMS, PARAM_MPS), true);
  assert(rule == DECODE_OK, 'the core formed a malformed TLP');
}
