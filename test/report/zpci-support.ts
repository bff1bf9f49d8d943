/** Runs zPCI scripts that stand in a test. */
import { Readable } from 'node:stream';
import { expect } from 'vitest';
import { PLAIN } from '../../src/report/style.js';
import { readScript, runScript, type Script, ZpciRunner } from '../../src/report/zpci-run.js';
import type { LineResult } from '../../src/report/zpci-session.js';
import { formatLine } from '../../src/report/zpci-text.js';

export function read(text: string): Promise<Script> {
  return readScript(Readable.from([text]), 'script');
}

/** What is wrong with a script: line, column and message of each error. */
export async function errorsOf(text: string): Promise<string[]> {
  const { errors } = await read(text);
  return errors.map(({ line, column, error }) => `${line}:${column} ${error.message}`);
}

export interface Ran {
  readonly results: readonly LineResult[];
  /** Each line as the command prints it. */
  readonly texts: readonly string[];
}

/** Runs a script that has no errors on `core`. */
export async function run(text: string, core: WebAssembly.Module): Promise<Ran> {
  const script = await read(text);
  expect(script.errors.map(({ error }) => error.message)).toEqual([]);
  const runner = new ZpciRunner(core);
  const results: LineResult[] = [];
  const texts: string[] = [];
  for await (const [, result] of runScript(script, runner)) {
    if (result === undefined) continue;
    results.push(result);
    texts.push(formatLine(result, await runner.session(), { style: PLAIN }));
  }
  return { results, texts };
}

/** A script whose expectations are all met. */
export async function meets(text: string, core: WebAssembly.Module): Promise<Ran> {
  const ran = await run(text, core);
  const missed = ran.results.flatMap(({ line, missed: list, error }) =>
    list.length > 0 || error !== undefined
      ? [`${line.text}: ${JSON.stringify(list)} ${error?.message ?? ''}`]
      : [],
  );
  expect(missed).toEqual([]);
  return ran;
}
