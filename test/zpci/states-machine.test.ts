/** What each state of a function lets a machine do: instructions, DMA, messages, counters (zpci.md 1.4, 5.6, 6.4, 7). */
import { describe, expect, it } from 'vitest';
import type { Machine, PciFunction } from '../../src/index.js';
import type { FunctionState } from '../../src/zpci/states.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { type Prober, prober, SDMA, TABLES } from './dma-support.js';

const STATES: readonly FunctionState[] = [
  'reserved',
  'standby',
  'disabled',
  'enabled',
  'error-ls-open',
  'error',
  'permanent-error',
];
const FRAME = 0x2_0000;
const AIBV = 0x3_0000;
const AISB = 0x3_1000;

describe.each(BUILDS)('states on the %s build', (build) => {
  const core = useBuild(build);

  const make = async (options = {}): Promise<Prober> => {
    const rig = await prober(core(), options);
    rig.register();
    rig.put(TABLES.page, BigInt(FRAME));
    rig.rpcit(SDMA);
    rig.mpcifc(2, { isc: 5, noi: 16, aibv: AIBV, aisb: AISB, sum: true });
    return rig;
  };
  /** The handle with its enable bit, whatever the state. */
  const enabled = (fn: PciFunction): number => fn.handle | 0x8000_0000;
  const short = ({ cc, status }: { cc: number | null; status: number }): string =>
    cc === 1 ? `1/${status}` : String(cc);
  const at = (fn: PciFunction) => ({ fh: enabled(fn) >>> 0, as: 0, offset: 0 });
  type Instruction = (machine: Machine, fn: PciFunction) => { cc: number | null; status: number };

  it.each<readonly [name: string, answers: readonly string[], run: Instruction]>([
    [
      'Z-ST-04, Z-ST-10: PCILG',
      ['3', '3', '3', '0', '0', '1/12', '1/12'],
      (machine, fn) => machine.cpu.pcilg({ ...at(fn), length: 4 }),
    ],
    [
      'Z-ST-04: PCISTG',
      ['3', '3', '3', '0', '0', '1/12', '1/12'],
      (machine, fn) => machine.cpu.pcistg({ ...at(fn), length: 4, data: 0 }),
    ],
    [
      'Z-ST-04, Z-ST-05: PCISTB',
      ['3', '3', '3', '0', '0', '1/12', '1/12'],
      (machine, fn) => machine.cpu.pcistb({ ...at(fn), length: 16, source: 0 }),
    ],
    [
      'Z-ST-10, Z-DMA-10: RPCIT',
      ['3', '3', '3', '0', '0', '1/40', '3'],
      (machine, fn) => machine.cpu.rpcit({ fh: at(fn).fh, start: SDMA, length: 4096 }),
    ],
    [
      'Z-ST-10: MPCIFC',
      ['3', '3', '3', '0', '0', '0', '3'],
      (machine, fn) => machine.cpu.mpcifc({ fh: at(fn).fh, oc: 5, fib: 0x1000 }),
    ],
    [
      'Z-ST-10, Z-FH-04: STPCIFC',
      ['3', '3', '3', '0', '0', '0', '1/8'],
      (machine, fn) => machine.cpu.stpcifc({ fh: at(fn).fh, fib: 0x1000 }),
    ],
  ])('%s', async (_name, answers, run) => {
    const { machine, fn, mpcifc } = await make();
    const given = STATES.map((state) => {
      fn.state = 'enabled';
      mpcifc(4, { pba: SDMA, pal: SDMA + 0x3f_ffffn, iota: TABLES.region | 0x804 });
      fn.state = state;
      return short(run(machine, fn));
    });
    expect(given).toEqual(answers);
  });

  it('Z-DMA-10: RPCIT without a translation is event 1; the second one is told of the recovery', async () => {
    const rig = await make();
    rig.mpcifc(5);
    expect([short(rig.rpcit(SDMA)), rig.events(), short(rig.rpcit(SDMA))]).toEqual([
      '1/8',
      [[1, SDMA, false]],
      '1/40',
    ]);
  });

  it.each(['blocked', 'allowed'] as const)(
    'DMA in ERROR_LS_OPEN is %s as the option says',
    async (option) => {
      const { read, fn, machine } = await make({ dmaInErrorLsOpen: option });
      machine.memory.write(FRAME, Uint8Array.of(1, 2, 3, 4));
      const reached = STATES.filter((state) => {
        fn.state = state;
        return read(SDMA) === '01020304';
      });
      expect(reached).toEqual(option === 'allowed' ? ['enabled', 'error-ls-open'] : ['enabled']);
      // What is not translated for the state of the function is no event.
      expect(machine.takeEvents()).toEqual([]);
    },
  );

  it('Z-ST-12: a message outside ENABLED sets no bit and makes no interrupt', async () => {
    const { message, fn, machine } = await make();
    for (const state of STATES) {
      fn.state = state;
      machine.memory.write(AIBV, new Uint8Array(8));
      machine.memory.write(AISB, new Uint8Array(8));
      message(3);
      const delivered = state === 'enabled';
      expect([state, machine.memory.read(AIBV, 1)[0], machine.memory.read(AISB, 1)[0]]).toEqual([
        state,
        delivered ? 0x10 : 0,
        delivered ? 0x80 : 0,
      ]);
      expect(machine.takeAdapterInterrupts()).toHaveLength(delivered ? 1 : 0);
    }
  });

  it('Z-FMB-01: one PCILG, two PCISTG, one PCISTB of 128 and one RPCIT count 1, 2, 1, 1', async () => {
    const { machine, fn, rpcit } = await make();
    const before = fn.stats.refreshes;
    machine.cpu.pcilg({ ...at(fn), length: 4 });
    for (let n = 0; n < 2; n++) machine.cpu.pcistg({ ...at(fn), length: 4, data: n });
    machine.cpu.pcistb({ ...at(fn), length: 128, source: 0 });
    rpcit(SDMA);
    expect(fn.stats).toMatchObject({ loads: 1, stores: 2, storeBlocks: 1, refreshes: before + 1 });
  });

  it('Z-FMB-02: what fails does not count', async () => {
    const { machine, fn, rpcit } = await make();
    const before = fn.stats;
    machine.cpu.pcilg({ ...at(fn), length: 0 });
    machine.cpu.pcilg({ ...at(fn), as: 6, length: 4 });
    machine.cpu.pcistg({ ...at(fn), length: 9, data: 0 });
    machine.cpu.pcistb({ ...at(fn), length: 8, source: 0 });
    machine.cpu.pcistb({ ...at(fn), length: 128, source: 2n ** 40n });
    rpcit(0x9_0000_0000n); // puts the function into error
    rpcit(SDMA);
    machine.cpu.pcilg({ ...at(fn), length: 4 });
    expect(fn.state).toBe('error');
    const { loads, stores, storeBlocks, refreshes } = before;
    expect(fn.stats).toMatchObject({ loads, stores, storeBlocks, refreshes });
  });
});
