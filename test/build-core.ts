/** Builds both targets of the core before the first test, and again when a file under assembly/ changes in watch mode. */
import asc from 'assemblyscript/asc';
import type { TestProject } from 'vitest/node';

async function build(): Promise<void> {
  for (const target of ['debug', 'release']) {
    const { error, stderr } = await asc.main(['--target', target, '--noColors']);
    if (error) throw new Error(`asc --target ${target} failed\n${stderr.toString()}`);
  }
}

export default async function setup(project: TestProject): Promise<void> {
  await build();
  project.onTestsRerun(build);
}
