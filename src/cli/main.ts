#!/usr/bin/env node
/** The `ztlp` command: parses, calls, prints. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { ZtlpError } from '../base/errors.js';
import { didYouMean } from '../base/names.js';
import { EXIT_USAGE, endOnClosedPipe, report } from './output.js';

/** By name, in the order of the help. Loading all of them takes longer than most calls of one. */
const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['widths', async () => (await import('./commands/widths.js')).widthsCommand()],
  ['bandwidth', async () => (await import('./commands/bandwidth.js')).bandwidthCommand()],
  ['replay', async () => (await import('./commands/replay.js')).replayCommand()],
  ['regress', async () => (await import('./commands/regress.js')).regressCommand()],
  ['zpci', async () => (await import('./commands/zpci.js')).zpciCommand()],
  ['decode', async () => (await import('./commands/decode.js')).decodeCommand()],
  ['encode', async () => (await import('./commands/encode.js')).encodeCommand()],
  ['iommu', async () => (await import('./commands/iommu.js')).iommuCommand()],
  ['conform', async () => (await import('./commands/conform.js')).conformCommand()],
  ['inspect', async () => (await import('./commands/inspect.js')).inspectCommand()],
  ['check-device', async () => (await import('./commands/check-device.js')).checkDeviceCommand()],
  ['new-device', async () => (await import('./commands/new-device.js')).newDeviceCommand()],
]);

const EXAMPLES = `
Examples:
  $ ztlp widths                                  4 KiB along every access path
  $ ztlp bandwidth --link gen4x16                what a link carries, by size
  $ ztlp replay trace.txt                        a Linux mmiotrace as TLPs
  $ ztlp regress                                 a 4 KiB PCISTB against splits
  $ ztlp zpci examples/pcistb.zpci               a script of zPCI instructions
  $ ztlp iommu walk examples/walk.yaml           a table walk step by step
  $ ztlp conform test/vectors/access-paths.json  agreement with golden vectors
  $ ztlp inspect --device ./my-device.mjs        what software finds in a device
  $ ztlp check-device ./my-device.mjs            a model against the rules
  $ ztlp new-device my-device                    a plug-in package to start from
  $ ztlp decode 40000001 0100000f fe000000 12345678  a TLP field by field

Exit codes: 0 done; 1 data that cannot be used, that disagrees or that nothing
answers (ztlp help COMMAND says when); 2 wrong call.`;

function version(): string {
  const file = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function writeError(text: string, write: (line: string) => void): void {
  const line = text
    .replace(/^error: /, '')
    .trim()
    .replace(/\s*\n+\s*/g, ' ');
  write(`ztlp: ${line}\n`);
}

/** Every command, with those below it, reports a wrong call in one line and throws instead of ending the process. */
function strict(command: Command): Command {
  for (const below of command.commands) strict(below);
  return command.exitOverride().configureOutput({ outputError: writeError }).showSuggestionAfterError(true);
}

/** `: it is ztlp iommu walk` where a command of that name stands below another one; else nothing. */
function belowHint(root: Command, name: string): string {
  const above = root.commands.find((one) => one.commands.some((below) => below.name() === name));
  return above === undefined ? '' : `, did you mean ${above.name()} ${name}?`;
}

/** `ztlp help`; commander's own answers an unknown name with the whole usage. */
function helpCommand(root: Command): Command {
  return new Command('help')
    .summary('display help for a command')
    .description('Shows what a command does, its options and its exit codes.')
    .argument('[command...]', 'name of a command, and of one below it')
    .action((path: readonly string[]) => {
      let command = root;
      for (const name of path) {
        const names = command.commands.map((one) => one.name());
        const next = command.commands.find((one) => one.name() === name);
        if (names.length === 0)
          throw new ZtlpError('invalid-value', `too many arguments: ${command.name()} has no '${name}'`, {
            field: 'command',
          });
        if (next === undefined) {
          const detail = { field: 'command', value: name, allowed: names.join(', ') };
          const hint = (command === root ? belowHint(root, name) : '') || didYouMean(name, names);
          throw new ZtlpError('unknown-name', `unknown command '${name}'${hint}`, detail);
        }
        command = next;
      }
      command.outputHelp();
    });
}

/** The command that is called, or all of them where none is: for help, and to say what was meant. */
async function commandsFor(name = ''): Promise<Command[]> {
  const load = COMMANDS.get(name);
  return Promise.all((load === undefined ? [...COMMANDS.values()] : [load]).map((one) => one()));
}

async function program(name: string | undefined): Promise<Command> {
  const root = strict(new Command('ztlp'))
    .description('What happens on the bus, and how long it takes, when software touches a PCI device.')
    .version(version(), '-V, --version')
    .addHelpText('after', EXAMPLES)
    .helpCommand(false);
  for (const command of [...(await commandsFor(name)), helpCommand(root)]) {
    if (command.commands.length > 0) command.addCommand(helpCommand(command));
    root.addCommand(strict(command));
  }
  root.configureOutput({
    outputError: (text, write) => {
      const [, name] = /^error: unknown command '([^']*)'\s*$/.exec(text) ?? [];
      writeError(name === undefined ? text : `${text.trim()}${belowHint(root, name)}`, write);
    },
  });
  return root;
}

async function main(): Promise<void> {
  endOnClosedPipe();
  try {
    const root = await program(process.argv[2]);
    if (process.argv.length <= 2) root.outputHelp();
    else await root.parseAsync();
  } catch (error) {
    // Help and version also end this way, with exit code 0; commander has printed what there was to say.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
    else report(error);
  }
}

await main();
