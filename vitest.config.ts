// Test runner configuration: tests run on the TypeScript sources, against both builds of the core.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    // The first that fits is taken: the longer names come first.
    alias: {
      '#read-wasm': here('./src/core/read-node.ts'),
      'ztlp/devices': here('./src/devices/index.ts'),
      'ztlp/device': here('./src/device/index.ts'),
      ztlp: here('./src/index.ts'),
    },
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/build-core.ts'],
    forceRerunTriggers: ['**/assembly/**/*.ts', '**/asconfig.json'],
    testTimeout: 120_000,
    // By default one processor is left free: half of a machine with two.
    maxWorkers: '100%',
  },
});
