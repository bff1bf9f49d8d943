/** The fields that the functions of the transaction layer take: another one is mistyped and refused, not ignored. */
import { invalid, needObject } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import type { DecodedTlp, DecodeOptions, EncodeOptions } from './codec.js';
import type { CompletionInput, TransferInput } from './split.js';
import type { Attributes, TlpInput } from './types.js';

const TLP_INPUT = keysOf<TlpInput>({
  type: true,
  headerDw: true,
  tc: true,
  attr: true,
  at: true,
  th: true,
  ph: true,
  ln: true,
  td: true,
  ep: true,
  length: true,
  requester: true,
  tag: true,
  firstBe: true,
  lastBe: true,
  address: true,
  completer: true,
  destination: true,
  register: true,
  status: true,
  bcm: true,
  byteCount: true,
  lowerAddress: true,
  routing: true,
  messageCode: true,
  message: true,
  prefixes: true,
  pasid: true,
  steeringTag: true,
});

/** What a decoded TLP has beside: it follows from the others, so that a decoded TLP can be encoded as it is. */
const DERIVED = keysOf<Omit<DecodedTlp, keyof TlpInput>>({
  fmt: true,
  typeField: true,
  flow: true,
  dataCredits: true,
  prefixBytes: true,
  headerBytes: true,
  payloadBytes: true,
  wireBytes: true,
  data: true,
  digest: true,
  digestOk: true,
  trailing: true,
  malformed: true,
});

const ATTRIBUTES = keysOf<Attributes>({ ns: true, ro: true, ido: true });
const ENCODE_OPTIONS = keysOf<EncodeOptions>({ digest: true, malformed: true });
const DECODE_OPTIONS = keysOf<DecodeOptions>({ digest: true, mps: true, beCheck: true });
const COMPLETION = keysOf<CompletionInput>({ request: true, completer: true, options: true });
const TRANSFER = keysOf<TransferInput>({
  op: true,
  address: true,
  bytes: true,
  requester: true,
  tc: true,
  attr: true,
  firstTag: true,
  options: true,
});

function checkAttributes(attr: Partial<Attributes> | undefined): void {
  if (attr === undefined) return;
  if (typeof attr !== 'object' || attr === null) throw invalid('attr', attr, 'an object of ns, ro and ido');
  checkKeys('attr', attr, ATTRIBUTES);
}

/** Throws ZtlpError `unknown-name` for a field that no TLP has. */
export function checkTlpKeys(input: TlpInput, options: EncodeOptions): void {
  needObject('input', input);
  checkKeys('input', input, TLP_INPUT, DERIVED);
  checkAttributes(input.attr);
  needObject('options', options);
  checkKeys('options', options, ENCODE_OPTIONS);
}

/** The same for the options of `decodeTlp`. */
export function checkDecodeKeys(options: DecodeOptions): void {
  needObject('options', options);
  checkKeys('options', options, DECODE_OPTIONS);
}

/** The same for the input of `splitRequest`. */
export function checkTransferKeys(input: TransferInput): void {
  needObject('input', input);
  checkKeys('input', input, TRANSFER);
  checkAttributes(input.attr);
}

/** The same for the input of `splitCompletion`; its request may be any TLP. */
export function checkCompletionKeys(input: CompletionInput): void {
  needObject('input', input);
  checkKeys('input', input, COMPLETION);
  needObject('request', input.request);
  checkKeys('request', input.request, TLP_INPUT, DERIVED);
}
