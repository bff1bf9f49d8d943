/** Builds both targets of the core, and the command, before the first test and when a file under assembly/ changes. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import asc from 'assemblyscript/asc';
import type { TestProject } from 'vitest/node';

const run = promisify(execFile);

async function build(): Promise<void> {
  for (const target of ['debug', 'release']) {
    const { error, stderr } = await asc.main(['--target', target, '--noColors']);
    if (error) throw new Error(`asc --target ${target} failed\n${stderr.toString()}`);
  }
  // Tests of the command run what users run: the compiled files.
  await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']);
  await run(process.execPath, ['dist/scripts/copy-core.js']);
}

export default async function setup(project: TestProject): Promise<void> {
  await build();
  project.onTestsRerun(build);
}
