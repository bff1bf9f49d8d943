/** The core with loops around translation beside its own exports: a call from the host for each would be what is measured. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import asc from 'assemblyscript/asc';
import { ensure } from './case.js';
import { packageRoot } from './files.js';

const ENTRY = 'loops.ts';
const OUTPUT = 'loops.wasm';
const SOURCE = `
import { Unit } from './assembly/iommu/control';
import { SecondStage, pageAddress, pageLg2, permissions } from './assembly/iommu/walk';
import { RESULT } from './assembly/iommu/units';
export * from './assembly/index';

export function translatePages(sid: u32, lo: u32, hi: u32, pages: u32, count: u32): u32 {
  const base = (<u64>hi << 32) | lo;
  let sum: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    sum += Unit.translate(0, sid, 0x100000, base + (<u64>(n & (pages - 1)) << 12), 0);
    sum += load<u32>(RESULT);
  }
  return sum;
}

export function walkPages(root: u32, levels: u32, lo: u32, hi: u32, pages: u32, count: u32): u32 {
  const base = (<u64>hi << 32) | lo;
  let x: u32 = 1;
  let sum: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    x = x * 1664525 + 1013904223;
    sum += SecondStage.walk(root, levels, base + (<u64>((x >> 10) & (pages - 1)) << 12));
    sum += <u32>pageAddress + permissions + pageLg2;
  }
  return sum;
}
`;
const FLAGS = ['-O3', '--converge', '--noAssert', '--runtime', 'stub', '--enable', 'simd'];
const MEMORY = ['--initialMemory', '16', '--maximumMemory', '65536'];

/** What the loops export beside the core's own functions. */
export interface Loops {
  /** `count` untranslated reads of requester `sid`, page after page of `pages` (a power of two) from address (lo, hi) on. */
  translatePages(sid: number, lo: number, hi: number, pages: number, count: number): number;
  /** `count` walks from the table at `root`, as those of bench/native/walk.c. */
  walkPages(root: number, levels: number, lo: number, hi: number, pages: number, count: number): number;
}

/** Compiles the core as the release build is, and the loops with it. */
export async function compileLoops(): Promise<WebAssembly.Module> {
  let binary: Uint8Array | undefined;
  const readFile = (name: string): string | null => {
    if (name === ENTRY) return SOURCE;
    try {
      return readFileSync(join(packageRoot(), name), 'utf8');
    } catch {
      return null;
    }
  };
  const { error, stderr } = await asc.main([ENTRY, ...FLAGS, ...MEMORY, '-o', OUTPUT], {
    readFile,
    writeFile: (name: string, data: string | Uint8Array) => {
      if (name === OUTPUT && typeof data !== 'string') binary = data;
    },
    listFiles: () => [],
  });
  ensure(error === null && binary !== undefined, `the loops do not compile: ${stderr}`);
  return new WebAssembly.Module(binary as Uint8Array<ArrayBuffer>);
}
