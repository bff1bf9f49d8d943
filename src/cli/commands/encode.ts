/** `ztlp encode`: fields as the bytes of TLPs or DLLPs. */
import { Command } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import { ready } from '../../core/shared.js';
import { decodeTlp, type EncodeOptions } from '../../tlp/codec.js';
import { type Dllp, decodeDllp, encodeDllp } from '../../tlp/dllp.js';
import { DLLP_SHORT_KEYS, dllpFromJson, dllpToJson, parseDllpWords } from '../../tlp/dllp-text.js';
import { parseObject, tlpFromJson } from '../../tlp/json.js';
import { hasData, TLP_TYPES } from '../../tlp/kinds.js';
import {
  encodeLine,
  formatHex,
  parseTlpWords,
  SHORT_KEYS,
  splitWord,
  type TlpLine,
  tlpToJson,
} from '../../tlp/text.js';
import { isPipe, type Made, printLines, printOne } from '../lines.js';
import { type CommonFlags, jsonLine, withCommonFlags } from '../output.js';

interface Flags extends CommonFlags {
  readonly dllp?: boolean;
  readonly digest: boolean;
  readonly malformed?: boolean;
  readonly strict?: boolean;
}

const EXAMPLES = `
Examples:
  $ ztlp encode MWr addr=0x10000000000 tag=1 req=01:00.0 ns=1 data=00112233
  $ ztlp encode MRd addr=0x1000 len=16 pasid=0x42 exec=1  with a PASID prefix
  $ ztlp encode CplD req=00:00.0 cpl=01:00.0 bc=4 status=SC data=ffffffff
  $ ztlp encode Msg code=PME_Turn_Off routing=broadcast   names or numbers
  $ ztlp encode --dllp UpdateFC flow=NP hc=32 dc=64
  $ ztlp decode --json < tlps.txt | jq -c '.tag=7 | del(.digest)' | ztlp encode

Keys: addr len(in DWs) data dw(3|4) req cpl dst reg tag fbe lbe tc ns ro ido at
th ph st ln td ep status bcm bc la routing code msg pasid priv exec
prefix(local:TYPE:VALUE|e2e:TYPE:VALUE). What is left out is 0, len follows from
data, byte enables are full. Keys of DLLPs: seq flow vc hs hc ds dc ack features
value.

Lines from a pipe are words as above, or JSON objects as ztlp decode --json
prints them, malformed ones included: their digest is written as it stands, and
computed when there is no such field. Prints one line of hex per TLP; with
--json what ztlp decode --json says of it.

Exit codes: 0 encoded; 1 a line from a pipe that makes no TLP (it is reported,
the others are encoded), or with --strict no line at all; 2 a wrong call: also
words, or a JSON object in their place, that make no TLP, whatever is wrong.`;

/** The JSON object that a single text is when it begins with a brace. */
function jsonOf(words: readonly string[]): Readonly<Record<string, unknown>> | undefined {
  const [first = ''] = words;
  if (!first.startsWith('{')) return undefined;
  const fields = parseObject(words.join(' '));
  if (fields.type === undefined) throw new ZtlpError('malformed', 'no field type', { field: 'type' });
  return fields;
}

/** Throws for data that no Length fits: the library speaks of the Length, people typed data. */
function checkData({ tlp: { type, length }, data, options }: TlpLine): void {
  if (options.malformed === true || !TLP_TYPES.includes(type) || !hasData(type)) return;
  if (data === undefined) {
    const what = `${type} needs data=..., ${length === undefined ? '4 bytes per DW' : `${length * 4} bytes for len=${length}`}`;
    throw new ZtlpError('malformed', what, { field: 'data' });
  }
  if (data.length % 4 === 0) return;
  const what = `data is ${data.length} byte${data.length === 1 ? '' : 's'}, not a multiple of 4`;
  throw new ZtlpError('malformed', what, { field: 'data', value: data });
}

/** What is wrong with words, by the keys they have: those that were typed, else the short ones. */
function asTyped(error: unknown, words: readonly string[], short: ReadonlyMap<string, string>): unknown {
  if (!(error instanceof ZtlpError) || error.field === undefined) return error;
  const { code, field, message } = error;
  const typed = words
    .map((word) => splitWord(word)[0])
    .find((key) => key.toLowerCase() === field.toLowerCase());
  const key = typed ?? short.get(field);
  if (key === undefined || !message.startsWith(`${field}: `)) return error;
  return new ZtlpError(code, `${key}${message.slice(field.length)}`, { cause: error });
}

function makeTlp(words: readonly string[], flags: Flags): Made {
  const options: EncodeOptions = { digest: flags.digest, malformed: flags.malformed ?? false };
  const json = jsonOf(words);
  const line = json === undefined ? parseTlpWords(words, options) : tlpFromJson(json, options);
  checkData(line);
  const bytes = encodeLine(line);
  const hex = formatHex(bytes);
  if (!flags.json) return { text: hex };
  return { text: jsonLine({ ...tlpToJson(decodeTlp(bytes, { digest: flags.digest })), hex }) };
}

function makeDllp(words: readonly string[], flags: Flags): Made {
  const json = jsonOf(words);
  const dllp: Dllp = json === undefined ? parseDllpWords(words) : dllpFromJson(json);
  const bytes = encodeDllp(dllp);
  const hex = formatHex(bytes);
  return { text: flags.json ? jsonLine({ ...dllpToJson(decodeDllp(bytes)), hex }) : hex };
}

/** Whatever words of the call do wrong is a wrong call. */
function asCall(make: () => Made): Made {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ZtlpError)) throw error;
    throw new ZtlpError('invalid-value', error.message, { cause: error });
  }
}

async function run(words: string[], flags: Flags): Promise<void> {
  await ready();
  const make = (list: readonly string[]): Made => {
    try {
      return flags.dllp ? makeDllp(list, flags) : makeTlp(list, flags);
    } catch (error) {
      if (list[0]?.startsWith('{')) throw error;
      throw asTyped(error, list, flags.dllp ? DLLP_SHORT_KEYS : SHORT_KEYS);
    }
  };
  const makeLine = (line: string): Made => make(line.startsWith('{') ? [line] : line.split(/\s+/));
  const { strict = false, json = false, quiet = false } = flags;
  const unit = flags.dllp ? 'DLLP' : 'TLP';
  const lines = { command: 'encode', strict, quiet, silent: quiet && !json, between: '\n', unit };
  if (isPipe(words)) await printLines(makeLine, lines);
  else {
    const makeCall = (): Made => (words.length === 1 ? makeLine(words.join().trim()) : make(words));
    await printOne(() => asCall(makeCall), words, lines);
  }
}

export function encodeCommand(): Command {
  return withCommonFlags(new Command('encode'))
    .summary('fields as the bytes of a TLP or DLLP')
    .description('Prints the bytes of the TLP that the words describe.')
    .argument(
      '[words...]',
      'type, then key=value; without any, or with "-", one TLP per line of standard input',
    )
    .option('--dllp', 'the words describe a DLLP')
    .option('--malformed', 'build what no receiver may accept, too')
    .option('--no-digest', 'do not append the ECRC of a TLP with TD')
    .option('--strict', 'stop with exit code 1 at the first bad line')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
