/** `ztlp decode`: bytes as TLPs or DLLPs, field by field. */
import { Command } from 'commander';
import { inRange } from '../../base/errors.js';
import { ready } from '../../core/shared.js';
import { DLLP_CRC_ERROR, formatDllp, formatTlp, tlpProblems } from '../../report/tlp-text.js';
import { decodeTlp } from '../../tlp/codec.js';
import { lcrc } from '../../tlp/crc.js';
import { decodeDllp } from '../../tlp/dllp.js';
import { dllpToJson } from '../../tlp/dllp-text.js';
import { formatHex, parseHex, parseNumber, tlpToJson } from '../../tlp/text.js';
import { isPipe, type Made, printLines, printOne } from '../lines.js';
import { type CommonFlags, jsonLine, styleFor, withCommonFlags } from '../output.js';
import { asUsage, namedOption, once } from '../values.js';

interface Flags extends CommonFlags {
  readonly dllp?: boolean;
  readonly sequence?: number;
  readonly mps?: number;
  readonly beCheck?: boolean;
  readonly digest: boolean;
  readonly strict?: boolean;
}

const EXAMPLES = `
Examples:
  $ ztlp decode 40000001 0100000f fe000000 12345678    one TLP
  $ ztlp decode 0x40_00_00_01:01:00:00:0f...           0x, _ and : are skipped
  $ ztlp decode --sequence 5 0000000101000a0f00001000  its LCRC as number 5
  $ ztlp decode --dllp 000000 00b362                   a data link layer packet
  $ cut -d' ' -f2 log | ztlp decode --json             a TLP, an object per line
  $ ztlp decode --json < tlps.txt | ztlp encode        and back
  $ ztlp decode --quiet --strict < tlps.txt            are all well-formed?

Bytes begin with the first prefix or the header and end with the data, or with
the digest when TD is set; sequence number and LCRC are not part of them. Lines
from a pipe: empty ones and those that begin with # are skipped.

Exit codes: 0 everything is a TLP, also a malformed one or one with a wrong
ECRC; 1 bytes or a line that are no TLP at all (a line is reported, the others
are shown; with --strict the first bad line or malformed TLP ends the run, and
no line at all is an error); 2 wrong call.`;

function makeTlp(text: string, flags: Flags): Made {
  const bytes = parseHex(text);
  const { mps = 4096, beCheck = false, digest, sequence } = flags;
  const tlp = decodeTlp(bytes, { mps, beCheck, digest });
  const [problem] = tlpProblems(tlp, bytes);
  if (!flags.json) {
    const style = styleFor();
    return { text: formatTlp(tlp, bytes, style, { sequence }), problem };
  }
  const link = sequence === undefined ? {} : { sequence, lcrc: formatHex(lcrc(bytes, sequence)) };
  return { text: jsonLine({ ...tlpToJson(tlp), ...link, hex: formatHex(bytes) }), problem };
}

function makeDllp(text: string, flags: Flags): Made {
  const bytes = parseHex(text);
  const dllp = decodeDllp(bytes);
  const problem = dllp.crcOk ? undefined : DLLP_CRC_ERROR;
  const shown = flags.json
    ? jsonLine({ ...dllpToJson(dllp), hex: formatHex(bytes) })
    : formatDllp(dllp, bytes, styleFor());
  return { text: shown, problem };
}

async function run(words: string[], flags: Flags): Promise<void> {
  await ready();
  const make = (text: string): Made => (flags.dllp ? makeDllp(text, flags) : makeTlp(text, flags));
  const { strict = false, json = false, quiet = false } = flags;
  const unit = flags.dllp ? 'DLLP' : 'TLP';
  const lines = {
    command: 'decode',
    strict,
    quiet,
    silent: quiet && !json,
    between: json ? '\n' : '\n\n',
    unit,
  };
  if (isPipe(words)) await printLines(make, lines);
  else await printOne(() => make(words.join(' ')), words, lines);
}

export function decodeCommand(): Command {
  const sequence = (text: string): number =>
    asUsage(() => inRange('sequence', parseNumber('sequence', text), 0, 0xfff));
  return withCommonFlags(new Command('decode'))
    .summary('a TLP or DLLP as a table of its fields')
    .description('Shows bytes as the fields of a TLP, with what is wrong with it.')
    .argument('[hex...]', 'bytes of one TLP; none or "-": one TLP per line of standard input')
    .option('--dllp', 'the bytes are DLLPs: 4 content bytes and 2 of CRC')
    .option('--sequence <n>', 'show the LCRC for this sequence number', once(sequence))
    .option('--mps <bytes>', 'Max Payload Size of the receiver; default: 4096', once(namedOption('mps')))
    .option('--be-check', 'check the byte-enable rules too: receivers may')
    .option('--no-digest', 'the digest of TLPs with TD was stripped')
    .option('--strict', 'stop with exit code 1 at the first bad line or malformed TLP')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
