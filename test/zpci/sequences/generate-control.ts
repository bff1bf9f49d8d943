/** The control instructions of a sequence, any of them and those that lead a function on from its state. */

import { EDMA, FIB_BYTES, type Instruction, type Operands, SDMA } from '../reference/types.js';
import type { Dice } from './dice.js';
import { AT } from './layout.js';
import { MEMORY_BYTES } from './rig.js';
import { handle, inProblemState, type Scene } from './scene.js';

type Step = readonly Instruction[];

const OPERATIONS = [2, 3, 4, 5, 6, 7, 9, 10] as const;

/** Where a block may stand: sometimes not aligned, or not in memory. */
function blockAddress({ dice }: Scene, at: number): bigint {
  return dice.weighted([
    [30, BigInt(at)],
    [1, BigInt(at + 4)],
    [1, BigInt(MEMORY_BYTES - 8)],
    [1, 1n << 63n],
  ] as const);
}

function anchor({ dice, fn }: Scene): bigint {
  const third = BigInt(AT.region) | 0x804n;
  if ((fn.shape.dtsm & 0x20) !== 0 && dice.once(4)) return BigInt(AT.regionSecond) | 0x808n;
  if (dice.once(8)) return BigInt(AT.segments[0]) | 0x800n;
  return dice.weighted([
    [14, third],
    [2, third | 0x200n],
    [1, third | 1n],
    [1, third ^ 0x800n],
    [1, BigInt(AT.region) | dice.of([0x80cn, 0x814n, 0x81cn])],
  ] as const);
}

/**
 * Operation 10 may have the address that it had before: its updates have stopped. The sheet does not say whether updates
 * that go on begin anew.
 */
function canRepeat({ fn, machine }: Scene): boolean {
  return fn.fmb !== 0n && !machine.isMeasured(fn);
}

function fib(scene: Scene): Uint8Array {
  const { dice, fn } = scene;
  const bytes = new Uint8Array(FIB_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, dice.once(40) ? 1 : 0);
  const [pba, pal] = dice.weighted([
    [16, [SDMA, SDMA + 0xffff_ffffn]],
    [2, [SDMA + 0x234n, SDMA + 0x2000n]],
    [1, [SDMA + 0x2000n, SDMA + 0x1000n]],
    [1, [SDMA - 0x1000n, SDMA + 0xffffn]],
    [1, [SDMA, EDMA + BigInt(dice.below(2))]],
  ] as const);
  view.setBigUint64(16, pba);
  view.setBigUint64(24, pal);
  view.setBigUint64(32, anchor(scene));
  const aibvo = dice.below(64);
  // Few summary bits, so that functions share a byte.
  const aisbo = dice.once(4) ? dice.below(64) : dice.below(12);
  const sum = dice.once(6) ? 0 : 0x80;
  const reserved = dice.once(10) ? 0x8000_c040 : 0;
  const word = dice.below(8) * 2 ** 28 + dice.below(0x1000) * 2 ** 16 + aibvo * 2 ** 8 + sum + aisbo;
  view.setUint32(40, (word | reserved) >>> 0);
  const isOutside = dice.once(12);
  const indicators = AT.indicators + 0x200 * fn.slot + dice.below(16);
  view.setBigUint64(48, isOutside ? 1n << 41n : BigInt(indicators));
  view.setBigUint64(56, BigInt(AT.summaries + 8 * (dice.once(4) ? 1 : 0)));
  const measurement = AT.measurement + 0x400 * fn.slot;
  const address = dice.weighted([
    [8, BigInt(measurement + 0x80 * dice.below(4))],
    [3, 0n],
    [2, BigInt(measurement + 1 + dice.below(15))],
    [2, BigInt(MEMORY_BYTES - 16)],
    [2, 1n << 40n],
  ] as const);
  if (canRepeat(scene)) view.setBigUint64(64, fn.fmb);
  else view.setBigUint64(64, address === fn.fmb ? 0n : address);
  return bytes;
}

function modify(scene: Scene, oc: number): Step {
  const { dice } = scene;
  const address = blockAddress(scene, AT.fib);
  const instruction: Instruction = {
    kind: 'mpcifc',
    fh: handle(scene),
    oc,
    dmaas: dice.once(24) ? 1 + dice.below(255) : 0,
    fib: address,
    problemState: inProblemState(scene),
  };
  return [{ kind: 'store', address: AT.fib, bytes: fib(scene) }, instruction];
}

function storeControls(scene: Scene): Step {
  const { dice, fn } = scene;
  const fh = dice.once(4)
    ? dice.of([fn.bareHandle, (fn.handle ^ 0x8000_0000) >>> 0, (fn.handle ^ 0x0100_0000) >>> 0])
    : handle(scene);
  const address = blockAddress(scene, AT.stored);
  const dmaas = dice.once(24) ? 1 : 0;
  return [{ kind: 'stpcifc', fh, dmaas, fib: address, problemState: inProblemState(scene) }];
}

/** A CLP block: 32 bytes of request and the head of a response of `room` bytes. */
function block(command: number, room: number, put: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(40);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 32);
  view.setUint16(2, command);
  put(view);
  view.setUint16(32, room);
  return bytes;
}

const LIST = (dice: Dice, indexes: readonly number[]): Uint8Array =>
  block(2, dice.of([96, 80, 48, 64, 56, 40, 4000]), (view) => {
    view.setBigUint64(16, BigInt(dice.once(3) ? dice.of([...indexes, 77]) : 0));
    if (dice.once(12)) view.setUint32(4, dice.of([0x1000_0000, 1]));
    if (dice.once(20)) view.setUint8(8 + dice.below(8), 1);
  });

function setFunction(scene: Scene, oc: number): Uint8Array {
  const { dice } = scene;
  return block(5, dice.of([160, 40, 20, 16]), (view) => {
    view.setUint32(16, handle(scene));
    view.setUint8(22, oc);
    view.setUint8(
      23,
      dice.weighted([
        [10, 1],
        [1, 0],
        [1, 2],
        [1, 255],
      ] as const),
    );
  });
}

/** A block whose two lengths are anything. */
function wrongLengths(dice: Dice): Uint8Array {
  const bytes = new Uint8Array(48);
  const view = new DataView(bytes.buffer);
  const length = dice.of([32, 16, 40, 8, 12, 31, 8184, 8192]);
  view.setUint16(0, length);
  view.setUint16(2, 2 + dice.below(4));
  if (length < 48) view.setUint16(length, dice.of([64, 4, 12, 8160, 8168, 8184]));
  return bytes;
}

function request(scene: Scene): Uint8Array {
  const { dice, machine, fn } = scene;
  const indexes = machine.functions.map(({ shape }) => shape.index);
  return dice.weighted<() => Uint8Array>([
    [
      6,
      () =>
        setFunction(
          scene,
          dice.weighted([
            [4, 0],
            [3, 1],
            [1, 2 + dice.below(254)],
          ] as const),
        ),
    ],
    [4, () => LIST(dice, indexes)],
    [4, () => block(3, dice.of([400, 192, 200, 64, 24]), (view) => view.setUint32(16, handle(scene)))],
    [
      2,
      () =>
        block(4, dice.of([64, 32, 96]), (view) =>
          view.setUint8(19, dice.once(5) ? dice.below(256) : fn.shape.groupId),
        ),
    ],
    [1, () => block(dice.of([0, 1, 6]), 64, () => undefined)],
    [2, () => wrongLengths(dice)],
  ])();
}

function callProcessor(scene: Scene, bytes: Uint8Array): Step {
  const { dice } = scene;
  const address = dice.weighted([
    [40, AT.clp],
    [1, MEMORY_BYTES - 40],
    [1, MEMORY_BYTES - 2],
    [1, 2 ** 40],
  ] as const);
  const call: Instruction = { kind: 'clp', address: BigInt(address), problemState: inProblemState(scene) };
  if (address + bytes.length > MEMORY_BYTES) return [call];
  return [{ kind: 'store', address, bytes }, call];
}

function service({ dice, fn, machine }: Scene): Step {
  const command = dice.of(['configure', 'deconfigure'] as const);
  const fid = dice.once(12) ? 0x999 : dice.once(12) ? (machine.functions[0]?.shape.fid ?? 0) : fn.shape.fid;
  return [{ kind: 'sclp', command, fid }];
}

function setInterruption(scene: Scene): Step {
  const { dice, fn } = scene;
  const isc = fn.interrupts === undefined || dice.once(3) ? dice.below(8) : fn.interrupts.isc;
  const operation = dice.weighted([
    [5, 1],
    [3, 0],
    [1, 2 + dice.below(20)],
  ] as const);
  return [{ kind: 'sic', operation, isc, problemState: inProblemState(scene) }];
}

export function controls(scene: Scene): Step {
  const { dice } = scene;
  return dice.weighted<() => Step>([
    [8, () => modify(scene, dice.once(12) ? dice.of([0, 1, 8, 11, 16, 17, 255]) : dice.of(OPERATIONS))],
    [5, () => storeControls(scene)],
    [5, () => callProcessor(scene, request(scene))],
    [2, () => setInterruption(scene)],
    [2, () => service(scene)],
    // The handler clears what it has seen, or the next message finds a summary that is not 0.
    [2, () => [{ kind: 'store', address: AT.summaries, bytes: new Uint8Array(40) }]],
  ])();
}

/** What changes nothing in a state without a handle that is enabled. */
function look(scene: Scene): Step {
  const { dice, fn } = scene;
  const query = (): Step =>
    callProcessor(
      scene,
      block(3, 400, (view) => view.setUint32(16, fn.handle)),
    );
  const out = (): Step => [{ kind: 'sclp', command: 'deconfigure', fid: fn.shape.fid }];
  return dice.of([
    query,
    out,
    () => storeControls(scene),
    () => callProcessor(scene, setFunction(scene, 1)),
  ])();
}

/** What brings the function further: out of an error, into the configuration, to its registrations. */
export function steer(scene: Scene): Step {
  const { dice, fn } = scene;
  const plain = (oc: number): Step => modify(scene, oc);
  switch (fn.state) {
    case 'reserved':
      return dice.once(3) ? [{ kind: 'firmware', slot: fn.slot, state: 'disabled' }] : look(scene);
    case 'standby':
      return dice.of([
        () => look(scene),
        (): Step => [{ kind: 'sclp', command: 'configure', fid: fn.shape.fid }],
        (): Step => [{ kind: 'firmware', slot: fn.slot, state: 'reserved' }],
      ])();
    case 'disabled':
      return dice.once(4) ? look(scene) : callProcessor(scene, setFunction(scene, 0));
    case 'error':
      return plain(dice.once(4) ? 7 : 9);
    case 'error-ls-open':
      return dice.once(3) ? plain(7) : controls(scene);
    case 'permanent-error': {
      const out: Operands<'sclp'> = { kind: 'sclp', command: 'deconfigure', fid: fn.shape.fid };
      return dice.once(2) && fn.hasEnableBit ? callProcessor(scene, setFunction(scene, 1)) : [out];
    }
    default:
      if (fn.translation === undefined) return plain(4);
      if (fn.interrupts === undefined) return plain(2);
      return fn.fmb === 0n || canRepeat(scene) ? plain(10) : storeControls(scene);
  }
}
