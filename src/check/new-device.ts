/** The files of a new plug-in package: a small device that works, its test, and what npm needs. */
import { isBuiltin } from 'node:module';
import { invalid } from '../base/errors.js';

/** What both npm (no capitals) and `defineDevice` take; a scope is no part of a device's name. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** Names that npm keeps for itself; `ztlp` would shadow what the package imports. */
const TAKEN: ReadonlySet<string> = new Set(['node_modules', 'favicon.ico', 'ztlp']);

/**
 * The text of each file by its name: package.json, index.mjs, index.test.mjs, README.md. `npm test` passes as it is, once
 * `ztlp` is installed beside it.
 * @param name of the package and of the device: up to 64 lower-case letters, digits, `-`, `_` and `.`, the first a letter
 * or digit; no built-in module of Node. Throws ZtlpError `invalid-value` for another one.
 */
export function newDevicePackage(name: string): ReadonlyMap<string, string> {
  if (typeof name !== 'string' || !NAME.test(name) || TAKEN.has(name) || isBuiltin(name))
    throw invalid(
      'name',
      name,
      'up to 64 lower-case letters, digits, -, _ and ., first a letter or digit, without a scope (@me/), and no name of Node, npm or ztlp',
    );
  return new Map([
    ['package.json', manifest(name)],
    ['index.mjs', device(name)],
    ['index.test.mjs', deviceTest(name)],
    ['README.md', readme(name)],
  ]);
}

function manifest(name: string): string {
  const fields = {
    name,
    version: '0.1.0',
    description: `${name}: a device model for ztlp`,
    type: 'module',
    exports: './index.mjs',
    files: ['index.mjs'],
    keywords: ['ztlp', 'ztlp-device', 'pcie'],
    scripts: { test: 'node --test' },
    peerDependencies: { ztlp: '>=0.1.0' },
  };
  return `${JSON.stringify(fields, undefined, 2)}\n`;
}

function device(name: string): string {
  return `// @ts-check
/** ${name}: writes VALUE to host memory at TARGET when DOORBELL is written, then interrupts. */
import { defineDevice } from 'ztlp/device';

/** @typedef {{ rings: number }} State what an instance remembers beside its registers */

const DONE = 1; // bits of STATUS
const FAILED = 2;

/**
 * The doorbell: any write of DOORBELL.
 * @param {number} _value
 * @param {import('ztlp/device').DeviceContext<State>} ctx
 */
function ring(_value, ctx) {
  const bank = ctx.registers(0);
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, bank.get('VALUE'), true);
  ctx.state.rings += 1;
  ctx.dma.write(bank.get64('TARGET'), bytes, {}, ({ status }) => {
    bank.set('STATUS', bank.get('STATUS') | (status === 'ok' ? DONE : FAILED));
    ctx.msix.raise(0);
  });
}

export default defineDevice(
  /** @type {import('ztlp/device').DeviceDefinition<State>} */ ({
    name: '${name}',
    vendorId: 0x1234, // yours
    deviceId: 0x0001,
    bars: [
      {
        size: 4096,
        registers: {
          TARGET: { offset: 0x00, width: 8, access: 'rw', description: 'bus address' },
          VALUE: { offset: 0x08, width: 4, access: 'rw' },
          DOORBELL: { offset: 0x0c, width: 4, access: 'wo', write: ring },
          STATUS: { offset: 0x10, width: 4, access: 'rw1c', description: 'bit 0 done, bit 1 failed' },
          RINGS: { offset: 0x14, width: 4, access: 'ro', read: (ctx) => ctx.state.rings },
        },
      },
    ],
    capabilities: {
      pcie: true,
      msix: { vectors: 1, bar: 0, tableOffset: 0x800, pbaOffset: 0xc00 },
    },
    state: () => ({ rings: 0 }),
  }),
);
`;
}

function deviceTest(name: string): string {
  return `/** Tests of ${name}: \`npm test\`, once ztlp is installed here (see README.md). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMachine } from 'ztlp';
import device from './index.mjs';

const bytes = (value) => new Uint8Array(Uint32Array.of(value).buffer);

test('writes VALUE to TARGET and interrupts when the doorbell rings', async () => {
  const machine = await createMachine({ slots: [{ device }] });
  const [fn] = machine.functions;
  const at = { path: 'x86-uc', function: fn, bar: 0, block: false };
  const write = (offset, value) => machine.cpu.write({ ...at, offset, data: bytes(value) });
  const read = (offset) => machine.cpu.read({ ...at, offset, length: 4 }).data;

  machine.enableMsix(fn); // the data of each message is the number of its vector

  write(0x00, 0x2000); // TARGET
  write(0x08, 0xc0ffee); // VALUE
  write(0x0c, 1); // DOORBELL
  assert.deepEqual(machine.memory.read(0x2000, 4), bytes(0xc0ffee));
  assert.deepEqual(machine.takeInterrupts().map(({ data }) => data), [0]);
  assert.deepEqual(read(0x10), bytes(1)); // STATUS: done
  assert.deepEqual(read(0x14), bytes(1)); // RINGS

  write(0x10, 1);
  assert.deepEqual(read(0x10), bytes(0));
  assert.deepEqual(fn.instance.errors, []);
});
`;
}

function readme(name: string): string {
  return `# ${name}

A device model for ztlp: writes VALUE to host memory when its doorbell rings.

ztlp is in no registry yet. Install it here from a checkout of it, then run the test:

- \`npm link /path/to/ztlp --ignore-scripts && npm test\` (after \`npm install\` in the checkout), or
- \`npm pack\` in the checkout, here \`npm install --no-save ztlp-VERSION.tgz && npm test\`.

NODE_PATH does not work: Node does not look there for ES modules.
\`npx ztlp check-device index.mjs\` checks the rules that every device has to keep.
The registers stand in \`index.mjs\`; how to write a device is told in \`docs/devices.md\` of ztlp.
`;
}
