/** How wide a table may be: COLUMNS, the terminal, or any width in a pipe. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { columns } from '../../src/cli/output.js';

function stream(isTTY: boolean | undefined, width?: number): NodeJS.WriteStream {
  return { isTTY, columns: width } as unknown as NodeJS.WriteStream;
}

afterEach(() => vi.unstubAllEnvs());

describe('columns', () => {
  it.each<[string, boolean | undefined, number | undefined, number]>([
    ['', true, 120, 120],
    ['60', true, 120, 60],
    ['60', undefined, undefined, 60],
    ['wide', true, 120, 120],
    ['-1', undefined, undefined, Number.POSITIVE_INFINITY],
    ['0', true, 0, Number.POSITIVE_INFINITY],
    ['', true, undefined, Number.POSITIVE_INFINITY],
    ['', undefined, 80, Number.POSITIVE_INFINITY],
  ])('with COLUMNS=%j, a terminal: %j of %j, are %j', (COLUMNS, isTTY, width, expected) => {
    vi.stubEnv('COLUMNS', COLUMNS);
    expect(columns(stream(isTTY, width))).toBe(expected);
  });
});
