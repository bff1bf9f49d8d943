/** The snippets of docs/snoop-vocabulary.md: they compile against the public interface, and print what the page says. */
import { describe, expect, it } from 'vitest';
import { PageSnippets } from './page-snippets.js';

describe('docs/snoop-vocabulary.md', () => {
  const page = new PageSnippets('snoop-vocabulary');

  it('compiles', () => expect(page.compile()).toEqual([]));

  it('prints what its comments say', async () => {
    expect(page.expected.length).toBeGreaterThan(25);
    expect(await page.run()).toEqual(page.expected);
  });
});
