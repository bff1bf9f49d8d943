/** The least that a core can do for a TLP: header words and payload into a ring slot. Compiled when it is needed. */
import asc from 'assemblyscript/asc';
import { ensure } from './case.js';

const SLOTS = 1024;
const SLOT_BYTES = 288;

const SOURCE = `
const FROM: usize = memory.data(4096, 16);
const RING: usize = memory.data(${SLOTS * SLOT_BYTES}, 16);
let head: u32 = 0;
let from: u32 = 0;

export function encode(count: u32, bytes: u32): u32 {
  let address: u64 = (<u64>1) << 40;
  const word = <u32>0x60000000 | (bytes >> 2);
  for (let n: u32 = 0; n < count; n++) {
    const slot = RING + <usize>(head & ${SLOTS - 1}) * ${SLOT_BYTES};
    store<u32>(slot, word);
    store<u32>(slot, 0xff, 4);
    store<u32>(slot, <u32>(address >> 32), 8);
    store<u32>(slot, <u32>address, 12);
    const data = FROM + from;
    for (let at: u32 = 0; at < bytes; at += 64) {
      v128.store(slot + at, v128.load(data + at), 16);
      v128.store(slot + at, v128.load(data + at, 16), 32);
      v128.store(slot + at, v128.load(data + at, 32), 48);
      v128.store(slot + at, v128.load(data + at, 48), 64);
    }
    address += bytes;
    from = (from + bytes) & 4095;
    head += 1;
  }
  return head;
}
`;

/** Forms `count` TLPs of `bytes` bytes, a multiple of 64. */
export type Kernel = (count: number, bytes: number) => number;

export async function loadKernel(): Promise<Kernel> {
  const options = { optimizeLevel: 3, converge: true, noAssert: true, runtime: 'stub', enable: ['simd'] };
  const { error, binary, stderr } = await asc.compileString(SOURCE, options);
  ensure(error === null && binary !== null, `the encode kernel does not compile: ${stderr}`);
  const { instance } = await WebAssembly.instantiate(binary as BufferSource, {
    env: { abort: () => undefined },
  });
  const kernel = (instance.exports as { encode: Kernel }).encode;
  ensure(kernel(SLOTS + 1, 64) === SLOTS + 1, 'the encode kernel does not count its TLPs');
  return kernel;
}
