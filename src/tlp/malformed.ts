/** The rules that make a TLP malformed, by the answer of assembly/tlp/check.ts (PCIe base specification 2.2, 2.3). */
import * as L from '../../assembly/layout.js';
import type { Malformed } from './types.js';

function rule(code: Malformed['code'], text: string, section: string): Malformed {
  return { code, rule: text, section };
}

const RULES: Readonly<Record<number, Malformed>> = {
  [L.DECODE_LENGTH]: rule('length', 'data bytes differ from the Length field', '2.2.2'),
  [L.DECODE_DIGEST]: rule('digest', 'TD and the presence of a digest DW disagree', '2.2.3'),
  [L.DECODE_BYTE_ENABLES]: rule(
    'byte-enables',
    'byte enables break the rules for this Length and address',
    '2.2.5',
  ),
  [L.DECODE_CROSS_4K]: rule('crosses-4k', 'memory request crosses a 4 KiB boundary', '2.2.7'),
  [L.DECODE_IO_CONFIG]: rule(
    'io-config',
    'I/O and configuration requests have Length 1, Last DW BE 0 and TC, Attr, AT 0',
    '2.2.7',
  ),
  [L.DECODE_PAYLOAD]: rule('payload', 'payload is longer than Max_Payload_Size', '2.2.2'),
  [L.DECODE_PREFIX]: rule(
    'prefix',
    'local prefixes are of a known type and come first, then at most four end-to-end ones',
    '2.2.10',
  ),
  [L.DECODE_MESSAGE_ROUTING]: rule('message-routing', 'this message is not routed that way', '2.2.8'),
  [L.DECODE_MESSAGE_TC]: rule(
    'message-tc',
    'INTx, power management and error messages have TC 0',
    '2.2.8.1 to 2.2.8.3',
  ),
  [L.DECODE_ATOMIC_LENGTH]: rule(
    'atomic-length',
    'FetchAdd and Swap have Length 1 or 2, CAS has 2, 4 or 8',
    '2.2.7',
  ),
  [L.DECODE_ATOMIC_ALIGNMENT]: rule(
    'atomic-alignment',
    'the address of an AtomicOp is a multiple of its operand size',
    '2.2.7',
  ),
  [L.DECODE_DEFERRABLE]: rule(
    'deferrable-length',
    `a Deferrable Memory Write has at most ${L.DEFERRABLE_BYTES} bytes`,
    '2.2.7',
  ),
  [L.DECODE_ADDRESS_FORMAT]: rule(
    'address-format',
    'an address below 4 GiB takes the 3 DW header',
    '2.2.4.1',
  ),
  [L.DECODE_HINT]: rule('hint', 'PH is 0 unless TH is set', '2.2.7.1'),
  [L.DECODE_ADDRESS_TYPE]: rule('address-type', 'AT 3 is reserved, AT 1 is for memory reads only', '2.2.4.1'),
};

/** The rule behind answer DECODE_* of the core; undefined for DECODE_OK. */
export function malformedBy(answer: number): Malformed | undefined {
  return RULES[answer];
}

/** Every rule, for lists and for tests. */
export const MALFORMED_RULES: readonly Malformed[] = Object.values(RULES);
