/** PCI LOAD and PCI STORE against what QEMU 7.2 was observed to answer: every such case of vectors/zpci-qemu72.json. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { virtioLike } from '../../src/devices/index.js';
import {
  createMachine,
  type FunctionState,
  type Machine,
  type PciFunction,
  type U64,
} from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';

interface Window {
  readonly as: number;
  readonly offset: string;
  readonly hex: string;
}

interface Case {
  readonly id: string;
  readonly group: string;
  readonly instruction: string;
  readonly basis: 'architecture' | 'region' | 'model' | 'qemu-specific';
  readonly device: { readonly id: string; readonly fhEnabled: string };
  readonly state: { readonly function: string; readonly memoryBefore?: Window };
  readonly operands: {
    readonly fh: string;
    readonly as: number;
    readonly len: number;
    readonly offset: string;
    readonly data?: string;
    readonly r2: number;
    readonly problemState: boolean;
  };
  readonly expect: {
    readonly cc: number | null;
    readonly status: number | null;
    readonly programInterruption: {
      readonly code: number;
      readonly name: string;
      readonly ilc: number;
    } | null;
    readonly data?: string | null;
    readonly memoryAfter?: Window;
  };
}

const { cases } = JSON.parse(
  readFileSync(new URL('../vectors/zpci-qemu72.json', import.meta.url), 'utf8'),
) as { cases: readonly Case[] };
const CASES = cases.filter(({ instruction }) => instruction === 'PCILG' || instruction === 'PCISTG');

/** Run without their data: what the register of the observed device held is not part of the case. */
const ANSWER_ONLY: ReadonlySet<string> = new Set(['address-space.pcilg-000', 'address-space.pcilg-001']);

const STATES: Readonly<Record<string, readonly FunctionState[]>> = {
  enabled: ['enabled'],
  disabled: ['disabled'],
  error: ['enabled', 'error'],
  'error-unblocked': ['enabled', 'error', 'error-ls-open'],
  recovered: ['enabled', 'error', 'error-ls-open', 'enabled'],
};

const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

it('there are 256 such cases, 31 of them deviations of QEMU, 2 that are run for their answer alone', () => {
  expect(CASES.length).toBe(256);
  const without = CASES.filter(({ state, expect: { data } }) => data != null && !state.memoryBefore);
  expect(without.filter(({ group }) => group !== 'pcilg.config').map(({ id }) => id)).toEqual([
    ...ANSWER_ONLY,
  ]);
  expect(CASES.filter(({ basis }) => basis === 'qemu-specific').length).toBe(31);
});

describe.each(BUILDS)('the cases of PCILG and PCISTG on the %s build', (build) => {
  let core: WebAssembly.Module;
  const machines = new Map<boolean, Machine>();

  beforeAll(async () => {
    core = await WebAssembly.compile(await readBuild(build));
    for (const qemuQuirks of [false, true])
      machines.set(
        qemuQuirks,
        await createMachine({
          core,
          platform: 's390x',
          hostMemoryBytes: 4096,
          slots: [{ device: virtioLike({ vectors: 1024 }), options: { qemuQuirks }, handleIndex: 0 }],
        }),
      );
    return () => machines.clear();
  });

  function poke(fn: PciFunction, { as, offset, hex }: Window): void {
    const bytes = fromHex(hex);
    const at = Number(offset);
    if (as === 15)
      bytes.forEach((byte, n) => {
        fn.config.poke(at + n, byte, 1);
      });
    else expect(fn.instance?.write(as, at, bytes)).toBe('ok');
  }

  function peek(fn: PciFunction, { as, offset, hex }: Window): string {
    const at = Number(offset);
    if (as !== 15) return toHex(fn.instance?.read(as, at, hex.length / 2) as Uint8Array);
    return toHex(fn.config.save().subarray(at, at + hex.length / 2));
  }

  it.each(CASES)('$id', (vector) => {
    const { operands, state, expect: wanted } = vector;
    const machine = machines.get(vector.basis === 'qemu-specific') as Machine;
    machine.reset();
    const fn = machine.functions[0] as PciFunction;
    fn.state = 'disabled';
    for (const next of STATES[state.function] ?? []) fn.state = next;
    expect(vector.device.fhEnabled).toBe('0x80020000');
    if (state.memoryBefore !== undefined) poke(fn, state.memoryBefore);
    const before = fn.stats;
    const input = {
      fh: Number(operands.fh),
      as: operands.as,
      offset: BigInt(operands.offset),
      length: operands.len,
      r2: operands.r2,
      problemState: operands.problemState,
    };
    const isLoad = vector.instruction === 'PCILG';
    const answer = isLoad
      ? machine.cpu.pcilg(input)
      : machine.cpu.pcistg({ ...input, data: BigInt(operands.data ?? 0) });
    expect(answer).toMatchObject({
      cc: wanted.cc,
      status: wanted.status ?? 0,
      programInterruption: wanted.programInterruption && {
        ...wanted.programInterruption,
        name: wanted.programInterruption.name.replaceAll('-', ' '),
      },
    });
    if (isLoad && !ANSWER_ONLY.has(vector.id)) {
      const data = 'data' in answer ? (answer.data as U64 | undefined) : undefined;
      expect(data === undefined ? null : BigInt(data)).toBe(wanted.data == null ? null : BigInt(wanted.data));
    }
    if (wanted.memoryAfter !== undefined) expect(peek(fn, wanted.memoryAfter)).toBe(wanted.memoryAfter.hex);
    const [loads, stores] = wanted.cc === 0 ? (isLoad ? [1, 0] : [0, 1]) : [0, 0];
    expect([fn.stats.loads - before.loads, fn.stats.stores - before.stores]).toEqual([loads, stores]);
    expect(fn.stats.tlps).toBe(0);
  });
});
