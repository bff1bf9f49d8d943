// Configuration of the soak run: no other tests, the builds as they are, output as it comes.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import base from '../../vitest.config.js';

const { globalSetup: _builds, include: _tests, ...test } = base.test ?? {};

export default defineConfig({
  ...base,
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    ...test,
    include: ['test/soak/*.soak.ts'],
    disableConsoleIntercept: true,
    testTimeout: 0,
  },
});
