// Where a device model may come from: built-in names, files, packages of a folder, and devices made by another ztlp.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadDevice } from '../../src/cli/load-device.js';
import { ZtlpError } from '../../src/index.js';

const folder = mkdtempSync(join(tmpdir(), 'ztlp-load-'));
const TEXT = "{ name: 'packaged', vendorId: 1, deviceId: 2, bars: [{ size: 64, memory: true }] }";

function put(name: string, content: string | object): void {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
}

function putPackage(name: string, manifest: object, file: string, content: string): void {
  put(`node_modules/${name}/package.json`, { name, version: '1.0.0', ...manifest });
  put(`node_modules/${name}/${file}`, content);
}

describe('a device comes from', () => {
  it('ztlp itself, by name', async () => {
    const device = await loadDevice('memory', folder);
    expect(device.name).toBe('memory');
    expect(device.bars[0]).toMatchObject({ size: 0x10000, bits: 64 });
  });

  it.each([
    ['plain', { main: './main.cjs' }, 'main.cjs', `module.exports = ${TEXT};`],
    ['esm', { exports: './device.mjs' }, 'device.mjs', `export default ${TEXT};`],
    [
      '@scope/only',
      { exports: { '.': { import: './device.mjs' } } },
      'device.mjs',
      `export default ${TEXT};`,
    ],
    [
      'conditional',
      { exports: { types: './x.d.ts', node: { import: './device.mjs' } } },
      'device.mjs',
      `export default () => (${TEXT});`,
    ],
  ])('the package %s, installed where the command runs or above', async (name, manifest, file, content) => {
    putPackage(name, manifest, file, content);
    mkdirSync(join(folder, 'deep/er'), { recursive: true });
    for (const cwd of [folder, join(folder, 'deep/er')])
      expect(await loadDevice(name, cwd)).toMatchObject({ name: 'packaged', vendorId: 1 });
  });

  it('a file, relative to where the command runs or from the root', async () => {
    put('models/nic.mjs', `export default ${TEXT};`);
    expect((await loadDevice('models/nic.mjs', folder)).name).toBe('packaged');
    expect((await loadDevice(join(folder, 'models/nic.mjs'), tmpdir())).name).toBe('packaged');
  });

  it('a file without a suffix that says so, before a package of the same name', async () => {
    put('bare', '');
    await expect(loadDevice('bare', folder)).rejects.toThrow(/^bare: /);
  });

  it('another copy of ztlp, checked by the rules of this one', async () => {
    put('foreign.mjs', `export default Object.freeze({ name: 'other', bars: [], definition: ${TEXT} });`);
    expect((await loadDevice('./foreign.mjs', folder)).name).toBe('packaged');
    put('foreign-bad.mjs', 'export default { bars: [], definition: { name: "x", vendorId: -1 } };');
    const error = await loadDevice('./foreign-bad.mjs', folder).catch((reason) => reason);
    expect(error).toBeInstanceOf(ZtlpError);
    expect(error).toMatchObject({ code: 'malformed', field: 'device', value: './foreign-bad.mjs' });
    expect(error.message).toMatch(/^\.\/foreign-bad\.mjs: vendorId: -1 is not valid; allowed: /);
  });

  it.each(['proto', 'toString', '__proto__', 'node:fs', 'fs'])('nothing by the name %s', async (name) => {
    const error = await loadDevice(name, folder).catch((reason) => reason);
    expect(error).toBeInstanceOf(ZtlpError);
    expect(error).toMatchObject({ code: 'not-found', field: 'device', value: name });
  });
});
