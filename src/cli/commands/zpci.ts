/** `ztlp zpci`: a script of zPCI instructions in, condition codes, TLPs and states out. */
import { createInterface } from 'node:readline';
import { Command } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import { ready } from '../../core/shared.js';
import { printable } from '../../report/style.js';
import { usages } from '../../report/zpci-read-operands.js';
import { atPlace, readScript, runScript, ZpciRunner } from '../../report/zpci-run.js';
import { LineError, type ScriptLine, ScriptReader } from '../../report/zpci-script.js';
import type { LineResult } from '../../report/zpci-session.js';
import {
  formatLine,
  formatRest,
  formatTotals,
  lineToJson,
  missedTexts,
  totalsProblem,
  totalsToJson,
  ZpciTotals,
} from '../../report/zpci-text.js';
import { openTrace } from '../../trace/lines.js';
import {
  announceInput,
  type CommonFlags,
  complain,
  jsonLine,
  print,
  remark,
  report,
  styleFor,
  withCommonFlags,
} from '../output.js';

interface Flags extends CommonFlags {
  readonly all?: boolean;
}

const EXAMPLES = `
Examples:
  $ ztlp zpci examples/pcistb.zpci      run a script
  $ ztlp zpci                           line by line at a terminal
  $ echo 'PCISTB fh=dev as=0 len=64 off=0' | ztlp zpci -
  $ ztlp zpci s.zpci > new.zpci         the output is a script that expects
                                        what was answered
  $ ztlp zpci --json s.zpci | jq -r '.tlps[]?.hex' | ztlp decode

Lines of a script; # begins a comment:
  option NAME=VALUE                     docs/options.md; before all others
  function NAME [bar0=64K] [index=1] [device=virtio-like] [OPTION=VALUE]
           [state=reserved] [mio=false] [takes=pcilg,pcistb]
    Default: one function, dev, with bar0=64K, served by an emulator;
    zpciMode=native puts its instructions on the bus as TLPs.
  PCILG fh= as= len= off= [data=]       PCISTG fh= as= len= off= [data=]
  PCISTB fh= as= len= off= [src=|data=|fill=]
  PCILGI addr= len= [data=]             PCISTGI addr= len= [data=]
  PCISTBI addr= len= [src=|data=|fill=] PCIWB
    addr= is an address, or NAME.bar0+OFFSET (NAME.bar0wb for write-back).
  RPCIT fh= start= len=                 SIC oc= isc=
  MPCIFC fh= oc= [fib=]                 STPCIFC fh= [fib=]
    MPCIFC also takes the fields of the block: pba= pal= iota= isc= noi= aibv=
    aibvo= aisb= aisbo= sum= fmb=; oc=4 without iota: tables of the function.
  CLP list | query fh= | group id= | set fh= oc= [ndas=] | block=ADDRESS
  SCLP configure fid= | deconfigure fid=
  memory ADDRESS HEX...                 fill ADDRESS LENGTH BYTE|counting
  show ADDRESS LENGTH                   show NAME bar0 OFFSET LENGTH
  tables NAME [at=]                     map NAME IOVA FRAME [len=] [ro]
  unmap NAME IOVA [len=]                msi NAME DATA
  dma NAME read ADDRESS LENGTH          dma NAME write ADDRESS HEX
                                        dma NAME write ADDRESS LENGTH of BYTE
  plug NAME                             unplug NAME [surprise]
  run TIME    state [NAME]    reset     r2= and problem: where registers matter

fh= is a handle as in a log, 80020001, or the name of a function: its handle
then. Numbers: 64, 0x40, 4K. Behind an arrow stands what a line has to answer:
  -> cc=0    -> cc=1 status=12    -> specification    -> response=0010    -> ok
data= of loads and show, fc= of STPCIFC, iota= of tables and map; on every line
tlps= calls= event= interrupt= state=. Lines of a recorded log of instructions
can be pasted behind a function line that gives the log's handle, such as
function net index=0 device=virtio-like for 80020000. data= of PCILG is
expected; the condition code of SIC and of CLP without a block is not looked at.
Indented lines are commentary; an instruction among them is an error.

A file or a pipe is read whole: with an error in it nothing is run. At a
terminal each line answers at once, a wrong one changes nothing, and help and
quit are commands too.

Exit codes: 0 done; 1 an expectation is missed or a line could not be run (the
others are); 2 wrong call, or a script with errors in it.`;

const PROMPT = 'zpci> ';
const PROMPT_HELP = `  words of function: bar0=64K index=1 device=virtio-like state=reserved mio=false takes=pcilg,pcistb OPTION=VALUE
  fh= and NAME: a function; addr=NAME.bar0+OFFSET; behind -> stands what a line has to answer: -> cc=0
  help, quit; all of it: ztlp zpci --help`;
/** Errors of one script that are told. */
const SHOWN_ERRORS = 20;

/** Prints results in the form that the flags ask for, and keeps count. */
class Printer {
  readonly totals = new ZpciTotals();
  /** Nothing, or an empty line, was printed last. */
  private endsEmpty = true;

  constructor(
    private readonly name: string,
    private readonly flags: Flags,
    private readonly runner: ZpciRunner,
    private readonly echo: boolean,
  ) {}

  async line(line: ScriptLine, result: LineResult | undefined): Promise<void> {
    const { json = false, quiet = false, all = false } = this.flags;
    const options = { style: styleFor(), all, echo: this.echo };
    if (result === undefined) {
      const text = json || quiet || !this.echo ? undefined : formatRest(line, options);
      if (text !== undefined) await this.print(`${text}\n`);
      return;
    }
    this.totals.add(result);
    const session = await this.runner.session();
    if (json) await print(jsonLine(lineToJson(result, session)));
    else if (!quiet) {
      const text = formatLine(result, session, options);
      if (text !== '') await this.print(text);
    } else {
      for (const text of missedTexts(result)) remark(`${this.name}:${line.number}: ${text}`);
      if (result.error !== undefined) remark(`${this.name}:${line.number}: ${result.error.message}`);
    }
  }

  private async print(text: string): Promise<void> {
    this.endsEmpty = text === '\n';
    await print(text);
  }

  async end(): Promise<void> {
    const { json = false, quiet = false } = this.flags;
    if (json) await print(jsonLine(totalsToJson(this.totals)));
    else if (!quiet) {
      if (!this.endsEmpty) await print('\n');
      await print(formatTotals(this.totals, styleFor()));
    }
    const problem = totalsProblem(this.totals);
    if (problem !== undefined) complain(`${this.name}: ${problem}`);
  }
}

/** A file or a pipe: read whole, then run. */
async function runWhole(path: string, flags: Flags): Promise<void> {
  const name = path === '-' ? 'standard input' : printable(path);
  if (path === '-') announceInput('a script');
  const { stream } = await openTrace(path);
  const script = await readScript(stream, name);
  for (const error of script.errors.slice(0, SHOWN_ERRORS)) report(asCall(atPlace(name, error)));
  if (script.errors.length > SHOWN_ERRORS)
    remark(`... and ${script.errors.length - SHOWN_ERRORS} more errors`);
  if (script.errors.length > 0) return;
  const runner = new ZpciRunner();
  const printer = new Printer(name, flags, runner, true);
  for await (const [line, result] of runScript(script, runner)) await printer.line(line, result);
  if (printer.totals.ran === 0 && flags.quiet !== true) remark(`${name}: no instruction in it`);
  await printer.end();
}

/** Whatever is wrong in a script is a wrong call: nothing was run. */
function asCall(error: ZtlpError): ZtlpError {
  return new ZtlpError('invalid-value', error.message, { cause: error });
}

/** A person: each line answers at once. */
async function runTerminal(flags: Flags): Promise<void> {
  const reader = new ScriptReader();
  const runner = new ZpciRunner();
  const printer = new Printer('standard input', flags, runner, false);
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: PROMPT });
  let isGivenUp = false;
  lines.on('SIGINT', () => {
    // As in a shell: what is typed is given up first.
    if (lines.line !== '') {
      process.stdout.write('^C\n');
      lines.write(null, { ctrl: true, name: 'e' });
      lines.write(null, { ctrl: true, name: 'u' });
      return;
    }
    isGivenUp = true;
    process.stdout.write('\n');
    lines.close();
  });
  process.stdout.write(
    'zPCI instructions, line by line; help lists them, Ctrl-D ends. option and function lines come first:\n' +
      'without one there is dev, bar0=64K, served by an emulator (function NAME zpciMode=native: TLPs)\n',
  );
  lines.prompt();
  for await (const text of lines) {
    const word = text.trim().toLowerCase();
    if (word === 'quit' || word === 'exit') break;
    if (word === 'help' || word.startsWith('help ')) {
      await print(`${usages().join('\n')}\n${PROMPT_HELP}`);
      lines.prompt();
      continue;
    }
    const read = reader.read(text);
    try {
      if (read instanceof LineError) remark(read.error.message);
      else await printer.line(read, await runner.take(read));
    } catch (error) {
      if (!(error instanceof ZtlpError)) throw error;
      remark(error.message);
    }
    lines.prompt();
  }
  if (isGivenUp) process.exitCode = 130;
  else await printer.end();
}

async function run(script: string, flags: Flags): Promise<void> {
  await ready();
  const { json = false, quiet = false } = flags;
  const isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  if (script === '-' && isTerminal && !json && !quiet) await runTerminal(flags);
  else await runWhole(script, flags);
}

export function zpciCommand(): Command {
  return withCommonFlags(new Command('zpci'))
    .summary('a script of zPCI instructions: condition codes, TLPs, states')
    .description('Runs s390x PCI instructions on a machine and shows what each answers and does.')
    .argument('[script]', 'a script; "-": standard input', '-')
    .option('--all', 'show every TLP; default: the first 8 of a line')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
