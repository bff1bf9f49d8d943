/** Random tables of s390, of every designation: refreshed by RPCIT, then used by a DMA read. */
import { type Device, defineDevice } from '../../src/device/index.js';
import { createMachine, type PciFunction } from '../../src/index.js';
import { plainWalk } from '../zpci/plain-tables.js';
import type { Draw, Format } from './random.js';

const HOST_BYTES = 1 << 20;
/** Tables lie in the first half, frames in the second. */
const FRAMES = 0x8_0000;
const TABLES = 8;
const SLOTS = 4;
const FLAWS = [0x200n, 0x20n, 0x40n, 0x400n, 4n, 8n, 1n];

/** Reads 4 bytes by DMA from the address that is written to it. */
function reader(answer: (text: string) => void): Device {
  return defineDevice({
    name: 'reader',
    vendorId: 1,
    deviceId: 2,
    bars: [
      {
        size: 64,
        registers: {
          ADDRESS: {
            offset: 0,
            width: 8,
            access: 'rw',
            write(value, ctx) {
              ctx.dma.read(value, 4, {}, ({ status, data }) =>
                answer(data === undefined ? status : Buffer.from(data).toString('hex')),
              );
            },
          },
        },
      },
    ],
  }) as Device;
}

/** An entry: mostly right for `level` (-1: page), pointing at one of the tables, sometimes anything. */
function entryOf(draw: Draw, level: number, n: number): bigint {
  if (draw.chance(3)) return (BigInt(draw.below(2 ** 32)) << 32n) | BigInt(draw.below(2 ** 32));
  const table = BigInt(0x4000 * (draw.chance(80) ? n + 2 : draw.below(TABLES) + 1));
  const frame = BigInt(FRAMES + 4096 * draw.below(128));
  const block = draw.of([0x400n, 0x600n, 0x10_0400n]);
  const good =
    level > 0
      ? table | 3n | (BigInt(level) << 2n)
      : level === 0
        ? draw.chance(80)
          ? table
          : block
        : frame | draw.of([0n, 0n, 0x200n]);
  return draw.chance(92) ? good : good ^ draw.of(FLAWS);
}

export async function s390(core: WebAssembly.Module, draw: Draw): Promise<Format> {
  let seen = '';
  const machine = await createMachine({
    core,
    platform: 's390x',
    hostMemoryBytes: HOST_BYTES,
    slots: [
      {
        device: reader((text) => {
          seen = text;
        }),
        options: { zpciMode: 'native' },
      },
    ],
  });
  const fn = machine.functions[0] as PciFunction;
  const image = new Uint8Array(HOST_BYTES);
  const view = new DataView(image.buffer);
  for (let at = FRAMES; at < HOST_BYTES; at += 4) view.setUint32(at, at);
  machine.memory.write(0, image);
  const word = new Uint8Array(8);
  let iota = 0n;
  const begin = (): void => {
    fn.state = 'enabled';
    fn.translation = { pba: 0, pal: 2n ** 64n - 1n, iota };
  };
  /** What a DMA read at `address` gives. */
  const readBy = (address: bigint): string => {
    new DataView(word.buffer).setBigUint64(0, address, true);
    seen = 'none';
    fn.instance?.write(0, 0, word);
    machine.config.read(fn.id, 0, 4);
    return seen;
  };
  return {
    fill: () => {
      const top = draw.below(4);
      for (let n = 0; n < TABLES; n++) {
        // Tables follow one another from the top down; those behind serve as pages.
        const level = Math.max(top - n, -1);
        for (let slot = 0; slot < SLOTS; slot++) {
          const at = 0x4000 * (n + 1) + 8 * slot;
          view.setBigUint64(at, entryOf(draw, level, n));
          machine.memory.write(at, image.subarray(at, at + 8));
        }
      }
      iota = 0x4000n | BigInt(top << 2) | 0x800n | (draw.chance(10) ? 0x200n : 0n);
      begin();
    },
    ask: () => {
      const below = (shift: bigint, n: number): bigint => BigInt(draw.below(n)) << shift;
      const address =
        below(53n, 2) | below(42n, 2) | below(31n, 2) | below(20n, 2) | below(12n, 4) | below(2n, 1024);
      const plain = plainWalk(view, iota, address);
      const { cc } = machine.cpu.rpcit({ fh: fn.handle, start: address & ~0xfffn, length: 0x1000 });
      const [event] = machine.takeEvents();
      let actual = event === undefined ? `cc ${cc}` : `cc ${cc}, event ${event.code}`;
      if (event === undefined) actual = readBy(address);
      const [later] = machine.takeEvents();
      if (later !== undefined) actual += `, event ${later.code}`;
      if (fn.state !== 'enabled') begin();
      if (plain.kind === 'event') return { actual, expected: `cc 1, event ${plain.code}` };
      if (plain.kind === 'unmapped') return { actual, expected: 'unsupported-request, event 4' };
      const at = plain.frame + (address & 0xfffn);
      const isHeld = at + 4n <= BigInt(HOST_BYTES);
      return {
        actual,
        expected: isHeld
          ? Buffer.from(image.subarray(Number(at), Number(at) + 4)).toString('hex')
          : 'unsupported-request',
      };
    },
  };
}
