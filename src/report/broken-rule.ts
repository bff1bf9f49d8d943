/** Says by the numbers which rule a refused PCI instruction broke: its answer alone is the same for most of them. */
import type { OptionInput, Options } from '../base/options.js';
import type { U64 } from '../core/u64.js';
import type { Fault } from '../path/fault.js';
import { pathOptions } from '../path/prepare.js';
import type { AccessPath } from '../path/table.js';
import { modeFacts } from '../zpci/mode.js';

const PAGE = 4096;

export interface RefusedInput {
  readonly path: AccessPath;
  readonly fault: Fault;
  /** Operand length of the refused instruction. */
  readonly bytes: number;
  readonly options: OptionInput;
  /** Offset of the first byte of the access, and the memory address that belongs to it. */
  readonly start: number;
  readonly sourceAddress: U64;
}

/** The rule in a few words; undefined when the answer does not come from the form of a PCI instruction. */
export function brokenRule(input: RefusedInput): string | undefined {
  const { fault, bytes } = input;
  switch (fault.answer?.programInterruption?.name) {
    case 'specification':
      return blockRule(formOf(input), pathOptions(input.path, input.options));
    case 'operand':
      return bytes > 8 ? undefined : wordRule(formOf(input), pathOptions(input.path, input.options));
    default:
      return undefined;
  }
}

function crossesPage(offset: number, bytes: number): string | undefined {
  const end = offset + bytes;
  return (offset % PAGE) + bytes > PAGE
    ? `bytes 0x${offset.toString(16)} to 0x${(end - 1).toString(16)} cross a 4 KiB boundary`
    : undefined;
}

/** What the rules look at. */
export interface InstructionForm {
  /** In the BAR. */
  readonly offset: number;
  readonly bytes: number;
  /** PCISTB: memory address of the first byte. */
  readonly source: bigint;
}

function formOf({ fault: { offset }, bytes, start, sourceAddress }: RefusedInput): InstructionForm {
  return { offset, bytes, source: BigInt(sourceAddress) + BigInt(offset - start) };
}

/** PCISTB, in the order of its checks. A VMM that intercepts may apply the strict rules to a relaxed group too. */
export function blockRule({ offset, bytes, source }: InstructionForm, options: Options): string | undefined {
  const { relaxed, interceptStrict, zpciMode, relaxedMaximum, maxstbl } = options;
  const tooLong = `length ${bytes} above maxstbl ${maxstbl}`;
  if (relaxed && !(modeFacts(zpciMode).intercepted && interceptStrict)) {
    if (relaxedMaximum === 'maxstbl' && bytes > maxstbl) return tooLong;
    if (relaxedMaximum === 'page' && bytes > PAGE) return `length ${bytes} above a page of ${PAGE}`;
    return crossesPage(offset, bytes);
  }
  if (offset % 8 !== 0) return `offset ${offset} is not a multiple of 8`;
  if (bytes <= 8) return `length ${bytes}, not above 8`;
  if (bytes % 8 !== 0) return `length ${bytes} is not a multiple of 8`;
  if (bytes > maxstbl) return tooLong;
  return (
    crossesPage(offset, bytes) ??
    (source % 8n === 0n ? undefined : `source address 0x${source.toString(16)} is not a multiple of 8`)
  );
}

/** PCILG and PCISTG. */
export function wordRule(
  { offset, bytes }: Pick<InstructionForm, 'offset' | 'bytes'>,
  { dwordRule }: Pick<Options, 'dwordRule'>,
): string | undefined {
  if (dwordRule === 'page') {
    const crossing = crossesPage(offset, bytes);
    if (crossing !== undefined) return crossing;
  } else if (bytes > 8 - (offset % 8)) {
    return `${bytes} bytes at offset ${offset} cross a doubleword (dwordRule ${dwordRule})`;
  }
  return [1, 2, 4, 8].includes(bytes) ? undefined : `length ${bytes} is not 1, 2, 4 or 8`;
}
