// Test runner configuration: tests run on the TypeScript sources, against both builds of the core.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: { '#read-wasm': here('./src/core/read-node.ts'), ztlp: here('./src/index.ts') },
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/build-core.ts'],
    forceRerunTriggers: ['**/assembly/**/*.ts', '**/asconfig.json'],
    testTimeout: 120_000,
  },
});
