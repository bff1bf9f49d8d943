/** Guests behind KVM and QEMU: fragments, unaligned loads, coalescing, mapped and trapped BARs. */
import { describe, expect, it } from 'vitest';
import { type PathId, splitAccess } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { coverage, difference, labels, type Piece, requestFor } from '../support/reference.js';
import { block, comparable, cutAt, PAGE, single, times } from './support.js';

/** Naturally aligned pieces of at most `width`. */
function naturalPieces({ at, bytes }: Piece, width: number): Piece[] {
  const pieces: Piece[] = [];
  for (let done = 0; done < bytes; ) {
    let size = width;
    while (size > bytes - done || (at + done) % size !== 0) size /= 2;
    pieces.push({ at: at + done, bytes: size });
    done += size;
  }
  return pieces;
}

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  useBuild(variant);

  it('AP-04 a 64-byte guest store across a page is the KVM fragments of its two parts, cut by QEMU and vfio', () => {
    for (const [id, width] of [
      ['kvm-qemu-vfio-w4', 4],
      ['kvm-qemu-vfio-w8', 8],
    ] as const) {
      for (let offset = PAGE - 63; offset < PAGE; offset++) {
        const parts = cutAt({ at: offset, bytes: 64 }, PAGE);
        const fragments = parts.flatMap(({ at, bytes }) => {
          const count = Math.ceil(bytes / 8);
          return times(count, 0).map((_, n) => ({ at: at + 8 * n, bytes: Math.min(8, bytes - 8 * n) }));
        });
        const qemu = fragments.flatMap((fragment) => naturalPieces(fragment, 8));
        const expected = qemu.flatMap((piece) => naturalPieces(piece, width)).map(requestFor);
        for (const op of ['write', 'read'] as const) {
          const result = splitAccess(id, { op, offset, bytes: 64 });
          expect(difference(`offset ${offset}`, labels(result.tlps), labels(expected))).toBeUndefined();
          expect(result.totals.exits).toBe(fragments.length);
          expect(result.totals.systemCalls).toBe(qemu.length);
          expect(result.totals.guestInstructions).toBe(1);
        }
      }
    }
  });

  it('AP-05 an unaligned TCG load reads both aligned halves around it, an unaligned store goes bytewise: the TLPs', () => {
    const id = 'tcg-qemu-vfio-w4';
    expect(single(id, 'read', 3, 2)).toEqual(['0:1/c.0', '4:1/3.0']);
    expect(single(id, 'read', 5, 8)).toEqual(['0:1/f.0', '4:1/f.0', '8:1/f.0', 'c:1/f.0']);
    expect(single(id, 'read', 0xffe, 4)).toEqual(['ffc:1/f.0', '1000:1/f.0']);
    expect(single(id, 'write', 3, 4)).toEqual(['0:1/8.0', '4:1/1.0', '4:1/2.0', '4:1/4.0']);
    expect(single(id, 'read', 8, 8)).toEqual(['8:1/f.0', 'c:1/f.0']);
    expect(splitAccess(id, { op: 'read', offset: 5, bytes: 8 }).totals).toMatchObject({
      exits: 1,
      systemCalls: 2,
    });
    expect(splitAccess(id, { op: 'write', offset: 5, bytes: 8 }).totals).toMatchObject({
      exits: 1,
      systemCalls: 8,
    });
  });

  it('AP-05 TCG reads bytes outside an unaligned load, KVM never does: what a register that notices reads would see', () => {
    for (const bytes of [2, 4, 8]) {
      for (let offset = 16; offset < 32; offset++) {
        const touched = (id: PathId): number[] => {
          const { tlps } = splitAccess(id, { op: 'read', offset, bytes });
          return [...coverage(tlps, 0, 64)].flatMap((count, at) => Array<number>(count).fill(at));
        };
        const asked = Array.from({ length: bytes }, (_, n) => offset + n);
        expect(touched('kvm-qemu-vfio-w4')).toEqual(asked);
        const first = offset - (offset % bytes);
        const around = Array.from({ length: 2 * bytes }, (_, n) => first + n);
        expect(touched('tcg-qemu-vfio-w4')).toEqual(offset % bytes === 0 ? asked : around);
      }
    }
  });

  it('AP-08 coalesced MMIO changes exits and nothing else: 169 writes wait, the next one exits', () => {
    for (const id of ['kvm-qemu-vfio-w4', 'kvm-qemu-vfio-w8'] as const) {
      for (const count of [1, 169, 170, 171, 339, 340, 512]) {
        const off = block(id, 0, 8 * count);
        const on = block(id, 0, 8 * count, { coalescedMmio: true });
        expect(labels(on.tlps)).toEqual(labels(off.tlps));
        expect(off.totals.exits).toBe(count);
        expect(on.totals.exits).toBe(Math.floor(count / 170));
        expect({ ...comparable(on.totals), exits: 0 }).toEqual({ ...comparable(off.totals), exits: 0 });
      }
      // Reads do not wait in the ring.
      const read = splitAccess(id, {
        op: 'read',
        offset: 0,
        bytes: 4096,
        block: true,
        options: { coalescedMmio: true },
      });
      expect(read.totals.exits).toBe(512);
    }
  });

  it('AP-13 with vfioMmap an 8-byte store is one write without exit, without it an exit and two writes', () => {
    const mapped = splitAccess('kvm-qemu-vfio-w4', {
      op: 'write',
      offset: 0x10,
      bytes: 8,
      options: { vfioMmap: true },
    });
    expect(labels(mapped.tlps)).toEqual(['10:2/f.f']);
    expect(mapped.totals).toMatchObject({ exits: 0, systemCalls: 0, guestInstructions: 1 });
    const trapped = splitAccess('kvm-qemu-vfio-w4', {
      op: 'write',
      offset: 0x10,
      bytes: 8,
      options: { vfioMmap: false },
    });
    expect(labels(trapped.tlps)).toEqual(['10:1/f.0', '14:1/f.0']);
    expect(trapped.totals).toMatchObject({ exits: 1, systemCalls: 1, guestInstructions: 1 });
    const wide = splitAccess('kvm-qemu-vfio-w8', {
      op: 'write',
      offset: 0x10,
      bytes: 8,
      options: { vfioMmap: false },
    });
    expect(labels(wide.tlps)).toEqual(['10:2/f.f']);
  });
});
