/** A DMA engine with a register file: copies host memory when its doorbell rings. Written to be read first. */
import { inRange, needObject } from '../base/errors.js';
import { checkKeys, keysOf } from '../base/names.js';
import { type Device, defineDevice } from '../device/define.js';
import type { DeviceContext } from '../device/types.js';

// BAR 0, 4 KiB, little-endian. Names in capitals are the registers; everything behind 0x38 up to the tables is reserved.
//
//   offset   3         2         1         0
//            +---------+---------+---------+---------+
//    0x00    |                  ID                   |  ro    0x0c0b1e00
//    0x04    |                SCRATCH                |  rw    for software; the engine does not look at it
//    0x08    |              SRC (8 bytes)            |  rw    bus address to read from   } locked
//    0x10    |              DST (8 bytes)            |  rw    bus address to write to    } while
//    0x18    |                  LEN                  |  rw    bytes                      } BUSY
//    0x1c    |                CONTROL       | START  |  wo    bit 0: the doorbell
//    0x20    |        STATUS    | BUSY | ERROR | DONE|  rw1c  bits 0 and 1; BUSY (bit 2) is read-only
//    0x24    |              ERROR_CODE               |  ro    why the ERROR bit was set last
//    0x28    |                 COUNT                 |  rc    copies done since the last read
//    0x2c    |                MAX_LEN                |  ro    longest copy, in bytes
//    0x30    |             BYTES (8 bytes)           |  ro    bytes copied since the reset
//            +---------------------------------------+
//    0x800   |  MSI-X table: vector 0 done, 1 error  |
//    0xc00   |  MSI-X Pending Bit Array              |
//
// One copy at a time:  START -> (latencyNs + LEN x nsPerByte) -> DMA read -> DMA write -> DONE or ERROR, one message.

const BAR_BYTES = 4096;
const ID = 0x0c0b_1e00;
const START = 1 << 0; // of CONTROL
const DONE = 1 << 0; // of STATUS
const ERROR = 1 << 1;
const BUSY = 1 << 2;
const VECTOR_DONE = 0;
const VECTOR_ERROR = 1;

/** Values of ERROR_CODE. */
const LENGTH_REFUSED = 1; // LEN is 0 or more than MAX_LEN
const STARTED_WHILE_BUSY = 2; // the copy that runs goes on
const READ_FAILED = 3; // Unsupported Request, Completer Abort, or Bus Master Enable is off
const WRITE_FAILED = 4; // a posted write fails only when it never left the function

export interface CopyEngineOptions {
  /** Longest copy in bytes: 1 to 2^24. Default 1 MiB. */
  readonly maxBytes?: number;
  /** Nanoseconds from the doorbell to the first request, whatever the length: an integer from 0 to 10^9. Default 0. */
  readonly latencyNs?: number;
  /** Nanoseconds more for each byte: an integer from 0 to 1000. Default 0. */
  readonly nsPerByte?: number;
}

/**
 * What one instance remembers beside its registers: the copy that waits. Addresses and length stay in the registers, which
 * are locked while BUSY, so there is no second copy of them to save.
 */
export interface CopyEngineState {
  /** The copy begins at `atNs` of simulated time. */
  timer?: { readonly atNs: number; readonly cancel: () => void } | undefined;
  /** Nanoseconds that a copy had left to wait when the engine was quiesced. */
  heldNs?: number | undefined;
}

type Context = DeviceContext<CopyEngineState>;

const KEYS = keysOf<CopyEngineOptions>({ maxBytes: true, latencyNs: true, nsPerByte: true });

/** A copy engine. Throws ZtlpError `unknown-name` for an option it does not have, `out-of-range` for a value. */
export function copyEngine(options: CopyEngineOptions = {}): Device<CopyEngineState> {
  needObject('options', options);
  checkKeys('options', options, KEYS);
  const maxBytes = inRange('maxBytes', options.maxBytes ?? 1 << 20, 1, 1 << 24);
  const latencyNs = inRange('latencyNs', options.latencyNs ?? 0, 0, 1e9);
  const nsPerByte = inRange('nsPerByte', options.nsPerByte ?? 0, 0, 1000);

  /** The doorbell. A refused copy changes nothing but STATUS and ERROR_CODE. */
  function start(ctx: Context): void {
    const bank = ctx.registers(0);
    const length = bank.get('LEN');
    if ((bank.get('STATUS') & BUSY) !== 0) fail(ctx, STARTED_WHILE_BUSY);
    else if (length === 0 || length > maxBytes) fail(ctx, LENGTH_REFUSED);
    else {
      bank.set('STATUS', bank.get('STATUS') | BUSY);
      wait(ctx, latencyNs + length * nsPerByte);
    }
  }

  return defineDevice<CopyEngineState>({
    name: 'copy-engine',
    vendorId: 0x1af4,
    deviceId: 0x10f2,
    classCode: 0x08_8000, // base system peripheral, other
    bars: [
      {
        size: BAR_BYTES,
        registers: {
          ID: { offset: 0x00, width: 4, access: 'ro', reset: ID },
          SCRATCH: { offset: 0x04, width: 4, access: 'rw' },
          SRC: { offset: 0x08, width: 8, access: 'rw', write: locked('SRC') },
          DST: { offset: 0x10, width: 8, access: 'rw', write: locked('DST') },
          LEN: { offset: 0x18, width: 4, access: 'rw', write: locked('LEN') },
          CONTROL: {
            offset: 0x1c,
            width: 4,
            access: 'wo',
            selfClearing: true, // else START stays, and a later write of another byte rings again
            write(value, ctx) {
              resume(ctx);
              if ((value & START) !== 0) start(ctx);
            },
          },
          // Software may clear DONE and ERROR. The mask keeps it from clearing BUSY, which only the engine does.
          STATUS: { offset: 0x20, width: 4, access: 'rw1c', writeMask: DONE | ERROR, read: resume },
          ERROR_CODE: { offset: 0x24, width: 4, access: 'ro' },
          COUNT: { offset: 0x28, width: 4, access: 'rc' },
          MAX_LEN: { offset: 0x2c, width: 4, access: 'ro', reset: maxBytes },
          BYTES: { offset: 0x30, width: 8, access: 'ro' },
        },
      },
    ],
    capabilities: {
      pcie: { functionLevelReset: true },
      pm: true,
      msix: { vectors: 2, bar: 0, tableOffset: 0x800, pbaOffset: 0xc00 },
    },
    // A reset asks for fresh state and forgets timers and DMA: no `reset` callback is needed for a copy to end there.
    state: () => ({}),
    // The engine is going to be stopped: nothing may leave it until software looks at it again.
    quiesce({ state, time }) {
      if (state.timer === undefined) return;
      state.timer.cancel();
      state.heldNs = state.timer.atNs - time.ns;
      state.timer = undefined;
    },
    // Registers, MSI-X tables and counters are saved without us. What is left is the timer, which cannot be copied: we
    // save how long it still had to run, since the time of the machine that loads it may be another.
    save: ({ state: { timer, heldNs }, time }) => ({
      waitNs: timer === undefined ? (heldNs ?? null) : timer.atNs - time.ns,
    }),
    load(saved, ctx) {
      const { waitNs } = saved as { readonly waitNs: number | null };
      if (waitNs !== null) wait(ctx, waitNs);
    },
  });
}

/** The write hook of a register that must not change under a copy: it puts back what was there. */
function locked<V extends number | bigint>(name: string) {
  return (_value: V, ctx: Context, old: V): void => {
    const bank = ctx.registers(0);
    if ((bank.get('STATUS') & BUSY) === 0) return;
    if (typeof old === 'bigint') bank.set(name, old);
    else bank.set(name, old);
  };
}

/** Lets `ns` pass, then copies. An engine that costs no time copies at once, so that software need not run the clock. */
function wait(ctx: Context, ns: number): void {
  const begin = (): void => {
    ctx.state.timer = undefined;
    copy(ctx);
  };
  if (ns === 0) begin();
  else ctx.state.timer = { atNs: ctx.time.ns + ns, cancel: ctx.after(ns, begin) };
}

/** Goes on after a quiesce that was not followed by a reset or a load. */
function resume(ctx: Context): void {
  const { heldNs } = ctx.state;
  ctx.state.heldNs = undefined;
  if (heldNs !== undefined) wait(ctx, heldNs);
}

/** Reads, then writes: each is split into TLPs, and crosses pages, on its way and not here. */
function copy(ctx: Context): void {
  const bank = ctx.registers(0);
  const length = bank.get('LEN');
  ctx.dma.read(bank.get64('SRC'), length, {}, (read) => {
    if (read.status !== 'ok') return fail(ctx, READ_FAILED, BUSY);
    ctx.dma.write(bank.get64('DST'), read.data, {}, (written) => {
      if (written.status !== 'ok') return fail(ctx, WRITE_FAILED, BUSY);
      bank.set('STATUS', (bank.get('STATUS') & ~BUSY) | DONE);
      bank.set('COUNT', (bank.get('COUNT') + 1) >>> 0);
      bank.set('BYTES', BigInt.asUintN(64, bank.get64('BYTES') + BigInt(length)));
      ctx.stats.count('copies');
      ctx.stats.count('bytes', length);
      // The message is a posted write too: it cannot overtake the data, so software that sees it sees the bytes.
      ctx.msix.raise(VECTOR_DONE);
    });
  });
}

/** Reports an error. `clear`: bits of STATUS that end with it. */
function fail(ctx: Context, code: number, clear = 0): void {
  const bank = ctx.registers(0);
  bank.set('ERROR_CODE', code);
  bank.set('STATUS', (bank.get('STATUS') & ~clear) | ERROR);
  ctx.stats.count('errors');
  ctx.msix.raise(VECTOR_ERROR);
}
