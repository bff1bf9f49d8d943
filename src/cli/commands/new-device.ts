/** `ztlp new-device`: the package that a device model starts from. */
import { join } from 'node:path';
import { Command } from 'commander';
import { ZtlpError } from '../../base/errors.js';
import { newDevicePackage } from '../../check/new-device.js';
import { writePackage } from '../../check/write-package.js';
import { type CommonFlags, printFound, withCommonFlags } from '../output.js';
import { once } from '../values.js';

interface Flags extends CommonFlags {
  readonly dir?: string;
}

const EXAMPLES = `
Examples:
  $ ztlp new-device my-nic                  writes ./my-nic
  $ ztlp new-device my-nic --dir devices/nic

Then ztlp check-device ./my-nic/index.mjs. For npm test there ztlp has to be
installed; its README.md says how. A name has no scope: put @me/ into the
package.json afterwards.

Nothing is ever overwritten: a file that exists is named, and none is written.

Exit codes: 0 written; 1 the directory cannot be written; 2 wrong call, a name
that npm does not take, or a file that exists.`;

async function run(name: string, flags: Flags): Promise<void> {
  const files = newDevicePackage(name);
  const directory = flags.dir ?? name;
  if (directory === '')
    throw new ZtlpError('invalid-value', '--dir: "" is no directory', { field: 'dir', value: directory });
  const written = writePackage(directory, files);
  const next = `next: ztlp check-device ./${join('.', directory, 'index.mjs')}; README.md there says how npm test finds ztlp`;
  await printFound(flags, { name, directory, files: written }, () => [...written, next].join('\n'));
}

export function newDeviceCommand(): Command {
  return withCommonFlags(new Command('new-device'))
    .summary('a plug-in package to start from')
    .description('Writes a small device model that works, with its test and its package.json.')
    .argument('<name>', 'of the package and of the device, without a scope')
    .option('--dir <directory>', 'where its files go (default: ./NAME)', once(String))
    .addHelpText('after', EXAMPLES)
    .action(run);
}
