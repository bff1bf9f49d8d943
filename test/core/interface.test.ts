/** The core as a module: its exports and imports, its memory, what the library imports, and the floors of the house. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { CREATE_OK, CREATE_TOO_LARGE, CREATE_TWICE } from '../../assembly/layout.js';
import { Core } from '../../src/core/core.js';
import { type CoreExports, EXPORT_NAMES } from '../../src/core/exports.js';
import { createMachine, memoryDevice, ZtlpError } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { pattern } from '../support/reference.js';

/** Number of parameters of each function that the source of the twin declares. */
function parametersOf(source: string): Map<string, number> {
  const declared = source.matchAll(/^ {2}(\w+)\(([^)]*)\): (?:number|void);$/gm);
  return new Map([...declared].map(([, name = '', list = '']) => [name, list.split(':').length - 1]));
}

describe.each(BUILDS)('the %s build of the core', (variant) => {
  let wasm: WebAssembly.Module;

  beforeAll(async () => {
    wasm = await WebAssembly.compile(await readBuild(variant));
  });

  it('exports what the TypeScript twin lists, memory as memory and everything else as functions', () => {
    const kinds = new Map(WebAssembly.Module.exports(wasm).map(({ name, kind }) => [name, kind]));
    expect([...kinds.keys()].sort()).toEqual([...EXPORT_NAMES].sort());
    for (const [name, kind] of kinds) expect(kind, name).toBe(name === 'memory' ? 'memory' : 'function');
  });

  it('takes as many parameters in each function as the TypeScript twin says', async () => {
    const { exports } = await WebAssembly.instantiate(wasm, { env: { abort: () => undefined } });
    const twin = parametersOf(readFileSync(join(ROOT, 'src/core/exports.ts'), 'utf8'));
    const functions = Object.entries(exports).filter(([name]) => name !== 'memory');
    const arity = functions.map(([name, value]) => [name, (value as () => unknown).length] as const);
    expect(new Map([...arity].sort())).toEqual(new Map([...twin].sort()));
  });

  it('imports nothing but the abort function of a failed assertion', () => {
    for (const { module, name, kind } of WebAssembly.Module.imports(wasm)) {
      expect({ module, name, kind }).toEqual({ module: 'env', name: 'abort', kind: 'function' });
    }
  });

  it('reserves its memory once: a second create is refused and changes nothing', async () => {
    const core = await Core.load(wasm, 4096, 4096);
    const before = core.x.memory.buffer.byteLength;
    expect(core.x.machineCreate(4096, 4096)).toBe(CREATE_TWICE);
    expect(core.x.machineCreate(1 << 24, 1 << 24)).toBe(CREATE_TWICE);
    expect(core.x.memory.buffer.byteLength).toBe(before);
  });

  it('answers a size that 32 bits cannot address with its own code, and can still be created after it', async () => {
    const { exports } = await WebAssembly.instantiate(wasm, { env: { abort: () => undefined } });
    const core = exports as unknown as CoreExports;
    const before = core.memory.buffer.byteLength;
    expect(core.machineCreate(0xffff_ffff, 0)).toBe(CREATE_TOO_LARGE);
    expect(core.machineCreate(0xffff_ffff, 0xffff_ffff)).toBe(CREATE_TOO_LARGE);
    expect(core.machineCreate(0x8000_0000, 0x8000_0000)).toBe(CREATE_TOO_LARGE);
    expect(core.memory.buffer.byteLength).toBe(before);
    expect(core.machineCreate(4096, 4096)).toBe(CREATE_OK);
    expect(core.memory.buffer.byteLength).toBeGreaterThan(before);
  });

  it.each([2 ** 32 - 1, 2 ** 32 - 2 ** 20])(
    'refuses %d bytes of host memory as a resource',
    async (bytes) => {
      for (const slots of [[], [{ device: memoryDevice() }]]) {
        const error = await createMachine({ core: wasm, hostMemoryBytes: bytes, slots }).catch(
          (reason) => reason,
        );
        expect(error).toBeInstanceOf(ZtlpError);
        expect((error as ZtlpError).code).toBe('resource');
      }
    },
  );

  it('keeps the size of its memory over ten million operations', async () => {
    const megabyte = 1 << 20;
    const machine = await createMachine({
      core: wasm,
      platform: 's390x',
      options: { zpciMode: 'native', mps: 128 },
      slots: [{ device: memoryDevice({ bars: [{ size: megabyte }] }) }],
      hostMemoryBytes: megabyte,
    });
    const [fn] = machine.functions;
    if (fn === undefined) throw new Error('the machine has no function');
    const before = machine.memoryBytes;
    const data = pattern(megabyte, 1);
    machine.memory.write(0, data);

    const stores = 4_000_000;
    const blocks = megabyte / 128;
    const fh = fn.handle;
    for (let n = 0; n < stores; n++) {
      const offset = (n % blocks) * 128;
      const { cc } = machine.cpu.pcistb({ fh, as: 0, offset, length: 128, source: offset });
      if (cc !== 0) throw new Error(`store block ${n} answered condition code ${cc}`);
    }
    const words = 24;
    for (let n = 0; n < words; n++) {
      machine.cpu.write({ path: 'zpci-pcistg4', function: fn, bar: 0, offset: 0, data });
    }
    const { data: back } = machine.cpu.read({
      path: 'zpci-pcistg8',
      function: fn,
      bar: 0,
      offset: 0,
      length: megabyte,
    });

    const { tlpsByType, tlps } = machine.stats();
    const reads = megabyte / 8;
    expect(tlpsByType).toEqual({ MWr: stores + (words * megabyte) / 4, MRd: reads, CplD: reads });
    expect(machine.stats(fn).storeBlocks).toBe(stores);
    expect(tlps).toBeGreaterThanOrEqual(10_000_000);
    expect(Buffer.compare(back, data)).toBe(0);
    expect(machine.memoryBytes).toBe(before);
  });
});

// ------------------------------------------------------------------------------------------- the sources themselves

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const STATEMENT = /^(?:import|export)\b[^'";=()]*?\bfrom\s+['"]([^'"]+)['"]|^import\s+['"]([^'"]+)['"]/gm;
const DYNAMIC = /\bimport\(\s*['"]([^'"]+)['"]/g;

/** What a source file imports or re-exports, as written. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(STATEMENT), ...text.matchAll(DYNAMIC)].flatMap(
    ([, from, bare]) => from ?? bare ?? [],
  );
}

/** The source file that `specifier` means in `file`. */
function target(file: string, specifier: string): string {
  return `${resolve(dirname(file), specifier).replace(/\.js$/, '')}.ts`;
}

function sourcesUnder(folder: string): string[] {
  const entries = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' });
  return entries.filter((name) => name.endsWith('.ts')).map((name) => join(ROOT, folder, name));
}

describe('the library entry', () => {
  it('reaches one bare package, the loader, and the reader of the core', () => {
    const bare = new Set<string>();
    const seen = new Set<string>();
    const open = [join(ROOT, 'src/index.ts')];
    for (let file = open.pop(); file !== undefined; file = open.pop()) {
      if (seen.has(file)) continue;
      seen.add(file);
      for (const specifier of importsOf(file)) {
        if (specifier.startsWith('.')) open.push(target(file, specifier));
        else bare.add(specifier);
      }
    }
    expect([...bare].sort()).toEqual(['#read-wasm', '@assemblyscript/loader']);
    // Far fewer files would mean that this test no longer understands the import statements.
    expect(seen.size).toBeGreaterThan(20);
  });
});

/** Rooms of each house by floor. A file directly under the house is a room of its own name. */
const HOUSES: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  assembly: {
    layout: 0,
    'link-layout': 0,
    'iommu-layout': 0,
    'message-codes': 0,
    kernel: 1,
    tlp: 2,
    link: 3,
    iommu: 4,
    fabric: 5,
    zpci: 6,
    path: 7,
    'index-units': 8,
    index: 9,
  },
  src: {
    base: 0,
    core: 1,
    iommu: 2,
    link: 2,
    pci: 2,
    tlp: 2,
    trace: 2,
    zpci: 2,
    path: 3,
    device: 3,
    machine: 4,
    devices: 6,
    report: 7,
    check: 8,
    conform: 8,
    cli: 9,
    index: 10,
  },
};

/** Plain constants that both languages read. */
const SHARED = [
  'assembly/layout.ts',
  'assembly/link-layout.ts',
  'assembly/iommu-layout.ts',
  'assembly/message-codes.ts',
];

function roomOf(house: string, file: string): string {
  const [first = ''] = relative(join(ROOT, house), file).split(sep);
  return first.replace(/\.ts$/, '');
}

describe.each(Object.keys(HOUSES))('the floors of %s', (house) => {
  const floors = HOUSES[house] ?? {};
  const files = sourcesUnder(house);

  it('know every room', () => {
    const rooms = new Set(files.map((file) => roomOf(house, file)));
    expect([...rooms].filter((room) => floors[room] === undefined)).toEqual([]);
    expect(rooms.size).toBeGreaterThan(4);
  });

  it('are only ever left downwards: an import stays in its room or goes to a lower floor', () => {
    const upwards: string[] = [];
    let checked = 0;
    for (const file of files) {
      for (const specifier of importsOf(file).filter((text) => text.startsWith('.'))) {
        const to = target(file, specifier);
        // The files of floor 0 are one truth for both languages: anybody may import them.
        if (SHARED.some((shared) => to === join(ROOT, shared))) continue;
        checked += 1;
        const here = roomOf(house, file);
        const there = to.startsWith(join(ROOT, house) + sep) ? roomOf(house, to) : '(another house)';
        const isLower = (floors[there] ?? Number.POSITIVE_INFINITY) < (floors[here] ?? 0);
        if (here !== there && !isLower) upwards.push(`${relative(ROOT, file)} imports ${specifier}`);
      }
    }
    expect(upwards).toEqual([]);
    expect(checked).toBeGreaterThan(30);
  });
});
