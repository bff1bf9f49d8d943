/** The register file (NVM Express 1.4, section 3.1): capabilities, configuration, status, doorbells. */
import { type MsixCapability, tableBytes } from '../../device/capabilities.js';
import type { RegisterDefinition, RegisterMap } from '../../device/registers.js';
import { type Context, CSTS, clear, fatal, type Nvme } from './controller.js';
import { resume, ringHead, ringTail, shutDown } from './engine.js';
import { VERSION } from './identify.js';
import { unmask } from './interrupts.js';
import { newSubmissionQueue } from './queues.js';
import type { Setup } from './setup.js';

// BAR 0, little-endian:
//
//   0x00  CAP    8 ro  MQES (15:0) CQR (16) TO (31:24) DSTRD (35:32) CSS (44:37) MPSMIN (51:48) MPSMAX (55:52)
//   0x08  VS     4 ro  1.4.0
//   0x0c  INTMS  4 rw  1: masks a vector       } both read as the mask; for MSI
//   0x10  INTMC  4 rw  1: takes the mask away  }
//   0x14  CC     4 rw  EN (0) CSS (6:4) MPS (10:7) AMS (13:11) SHN (15:14) IOSQES (19:16) IOCQES (23:20)
//   0x1c  CSTS   4 ro  RDY (0) CFS (1) SHST (3:2)
//   0x24  AQA    4 rw  ASQS (11:0) ACQS (27:16), 0's based
//   0x28  ASQ    8 rw  admin submission queue    0x30  ACQ  8 rw  admin completion queue
//   0x38 ...     ro 0  no controller memory buffer, no boot partition; no persistent memory region at 0xe00
//   0x1000  SQ0TDBL, CQ0HDBL, SQ1TDBL, ...       4 wo  each 4 << DSTRD bytes behind the one before
//   then, at multiples of 4 KiB, the MSI-X table and its Pending Bit Array

const DOORBELLS = 0x1000;
const PAGE = 0x1000;
const TIMEOUT = 15; // x 500 ms: how long a driver waits for CSTS.RDY
const MPSMAX = 4; // 4 KiB << 4
const CC = { EN: 1, SHN: 3 << 14 } as const;
const INDEX = 0xffff; // of a doorbell; the upper half is reserved

type Register = RegisterDefinition<Context>;

/** Where things are in BAR 0. */
export interface Layout {
  readonly size: number;
  readonly msix: MsixCapability;
}

export function layoutOf({ queues, doorbellStride, vectors }: Setup): Layout {
  const up = (bytes: number): number => Math.ceil(bytes / PAGE) * PAGE;
  const tableOffset = up(DOORBELLS + 2 * (queues + 1) * doorbellStride);
  const pbaOffset = up(tableOffset + tableBytes(vectors));
  const size = 2 ** Math.ceil(Math.log2(pbaOffset + PAGE));
  return { size, msix: { vectors, bar: 0, tableOffset, pbaOffset } };
}

/** @param of the instance that a context belongs to */
export function registersOf(setup: Setup, of: (ctx: Context) => Nvme): RegisterMap<Context> {
  const none = (offset: number): Register => ({ offset, width: 4, access: 'ro' });
  const map: Record<string, Register> = {
    CAP: { offset: 0x00, width: 8, access: 'ro', reset: capabilities(setup) },
    VS: { offset: 0x08, width: 4, access: 'ro', reset: VERSION },
    INTMS: {
      offset: 0x0c,
      width: 4,
      access: 'rw',
      write(value, ctx, old) {
        resume(of(ctx));
        setMask(ctx, (value | old) >>> 0);
      },
    },
    INTMC: {
      offset: 0x10,
      width: 4,
      access: 'rw1c',
      write(value, ctx, old) {
        resume(of(ctx));
        setMask(ctx, value);
        if (ctx.state.running) unmask(of(ctx), old & ~value);
      },
    },
    CC: {
      offset: 0x14,
      width: 4,
      access: 'rw',
      writeMask: 0x00ff_fff1,
      write: (value, ctx, old) => configure(of(ctx), value, old),
    },
    CSTS: { offset: 0x1c, width: 4, access: 'ro', read: (ctx) => resume(of(ctx)) },
    NSSR: none(0x20),
    AQA: { offset: 0x24, width: 4, access: 'rw', writeMask: 0x0fff_0fff },
    ASQ: { offset: 0x28, width: 8, access: 'rw', writeMask: 0xffff_ffff_ffff_f000n },
    ACQ: { offset: 0x30, width: 8, access: 'rw', writeMask: 0xffff_ffff_ffff_f000n },
    CMBLOC: none(0x38),
    CMBSZ: none(0x3c),
    BPINFO: none(0x40),
    PMRCAP: none(0xe00),
  };
  for (let id = 0; id <= setup.queues; id++) {
    const at = DOORBELLS + 2 * id * setup.doorbellStride;
    map[`SQ${id}TDBL`] = doorbell(at, (value, ctx) => ringTail(of(ctx), id, value));
    map[`CQ${id}HDBL`] = doorbell(at + setup.doorbellStride, (value, ctx) => ringHead(of(ctx), id, value));
  }
  return map;
}

function capabilities({ queueEntries, doorbellStride }: Setup): bigint {
  const low = (queueEntries - 1) | (1 << 16) | (TIMEOUT << 24); // CQR: queues are contiguous
  const high = Math.log2(doorbellStride / 4) | (1 << 5) | (MPSMAX << 20); // CSS: the NVM command set
  return (BigInt(high) << 32n) | BigInt(low);
}

/** Takes whole doublewords (section 3.1: other accesses have undefined results). */
function doorbell(offset: number, ring: (value: number, ctx: Context) => void): Register {
  const write = (value: number, ctx: Context): void => ring(value & INDEX, ctx);
  return { offset, width: 4, access: 'wo', wholeWrites: true, selfClearing: true, write };
}

function setMask(ctx: Context, mask: number): void {
  ctx.registers(0).set('INTMS', mask);
  ctx.registers(0).set('INTMC', mask);
}

/** Controller Configuration was written (section 3.1.5). */
function configure(nvme: Nvme, value: number, old: number): void {
  resume(nvme);
  if ((value & CC.EN) === 0 && (old & CC.EN) !== 0) disable(nvme);
  if ((value & CC.EN) !== 0 && (old & CC.EN) === 0) enable(nvme, value);
  const shutdown = value & CC.SHN;
  if (shutdown !== 0 && (nvme.ctx.state.shutdown === 'none' || shutdown !== (old & CC.SHN))) shutDown(nvme);
}

/** CC.EN from 1 to 0: the controller reset (section 7.3.2). Whatever was under way is none of ours any more. */
function disable(nvme: Nvme): void {
  nvme.ctx.stats.count('controller resets');
  clear(nvme);
  setMask(nvme.ctx, 0);
  nvme.ctx.registers(0).set('CSTS', 0);
}

/** CC.EN from 0 to 1 (section 7.6.1). What the controller does not have (CAP) is a fatal status. */
function enable(nvme: Nvme, value: number): void {
  const { ctx } = nvme;
  const bank = ctx.registers(0);
  const sizes = bank.get('AQA');
  const mps = (value >>> 7) & 0xf;
  const pageBytes = 4096 * 2 ** mps;
  const submission = { base: bank.get64('ASQ'), entries: (sizes & 0xfff) + 1 };
  const completion = { base: bank.get64('ACQ'), entries: (sizes >>> 16) + 1 };
  clear(nvme);
  bank.set('CSTS', 0);
  if (mps > MPSMAX) {
    fatal(nvme, `memory pages of ${pageBytes} bytes`);
    return;
  }
  if (((value >>> 4) & 7) !== 0 || ((value >>> 11) & 7) !== 0) {
    fatal(nvme, 'a command set or an arbitration that there is not');
    return;
  }
  for (const { base, entries } of [submission, completion]) {
    if (entries < 2) {
      fatal(nvme, 'an admin queue of one entry');
      return;
    }
    if (base % BigInt(pageBytes) !== 0n) {
      fatal(nvme, 'an admin queue across pages');
      return;
    }
  }
  const { state } = ctx;
  state.pageBytes = pageBytes;
  state.submission.set(0, newSubmissionQueue(0, 0, submission.base, submission.entries));
  const ring = { head: 0, tail: 0, phase: 1, reserved: 0, vector: 0, interrupts: true } as const;
  state.completion.set(0, { id: 0, ...completion, ...ring });
  state.running = true;
  nvme.lasting.inUse = true;
  bank.set('CSTS', CSTS.RDY);
}
