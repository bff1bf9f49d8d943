/** `ztlp inspect`: configuration space and registers of devices, by name. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import { type Device, lspciDevice } from '../../device/index.js';
import type { Platform } from '../../path/table.js';
import { inspectDevices } from '../../report/inspect.js';
import { formatInspect } from '../../report/inspect-text.js';
import { contained } from '../contained.js';
import { loadDevice } from '../load-device.js';
import { type CommonFlags, printFound, styleFor, withCommonFlags } from '../output.js';
import { once, oneOf } from '../values.js';

interface Flags extends CommonFlags {
  readonly device?: readonly string[];
  readonly lspci?: string;
  readonly function?: string;
  readonly platform: Platform;
}

const PLATFORMS = ['x86-64', 'arm64', 's390x'] as const;

const EXAMPLES = `
Examples:
  $ ztlp inspect --device ./my-device.mjs   configuration space and registers
  $ ztlp inspect --device memory --device ./a.mjs     two functions
  $ ztlp inspect --platform s390x --json
  $ ztlp inspect --lspci dump.txt --function 00:03.0

Without a device it shows the memory that a machine has by default. A dump is
what lspci -vxxxx prints; sizes of BARs are taken from its [size=].

Exit codes: 0 shown; 1 a device or dump cannot be used; 2 wrong call.`;

async function run(file: string | undefined, flags: Flags): Promise<void> {
  const { device = [], lspci, platform } = flags;
  const names = file === undefined ? device : [file, ...device];
  if (lspci === undefined && flags.function !== undefined)
    throw new ZtlpError('invalid-value', '--function: goes with --lspci', { field: 'function' });
  const report = await contained(names.join(', '), async () => {
    const devices: Device[] = [];
    for (const name of names) devices.push(await loadDevice(name));
    if (lspci !== undefined) devices.push(fromDump(lspci, flags.function));
    if (devices.length === 0) devices.push(await loadDevice('memory'));
    return inspectDevices({ devices, platform });
  });
  await printFound(flags, report, () => formatInspect(report, styleFor()));
}

function fromDump(file: string, address: string | undefined): Device {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ZtlpError('not-found', `${file}: ${reason}`, { field: 'lspci', value: file, cause });
  }
  try {
    return lspciDevice<unknown>(text, address === undefined ? {} : { address });
  } catch (cause) {
    if (cause instanceof ZtlpError) throw new ZtlpError('malformed', `${file}: ${cause.message}`, { cause });
    throw cause;
  }
}

export function inspectCommand(): Command {
  return withCommonFlags(new Command('inspect'))
    .summary('configuration space and registers of a device, by name')
    .description('Shows what software finds: identity, capabilities, BARs, registers with their values.')
    .argument('[device]', 'the same as --device')
    .option(
      '--device <device>',
      'a file, a package or a model of ztlp; repeat for more',
      (text, before: string[] = []) => [...before, text],
    )
    .option('--lspci <file>', 'a device from a dump of lspci -vxxxx', once(String))
    .option('--function <address>', 'with --lspci: which function of the dump', once(String))
    .addOption(
      new Option('--platform <platform>', 'of the machine that the devices are in')
        .choices(PLATFORMS)
        .default('x86-64')
        .argParser(once(oneOf(...PLATFORMS))),
    )
    .addHelpText('after', EXAMPLES)
    .action(run);
}
