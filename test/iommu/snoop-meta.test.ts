/** What No Snoop never changes: where requests go, what faults, and the data of coherent accesses (metamorphic, IOM-52). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MachineConfig } from '../../src/index.js';
import { machinesOf } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { READ, RW, SNP, UnitMachine, WRITE } from './machine-lab.js';

const FIRST = 0x12_3400_0000;
const TARGET = 0x20_0000;
const PAGES = 6;
const SPAN = PAGES * 4096;

/** One step of a run: the device reads or writes, or the processor does. */
interface Step {
  readonly kind: 'read' | 'write' | 'store' | 'load';
  readonly offset: number;
  readonly length: number;
  readonly fill: number;
  /** The device asks for No Snoop, if the run lets it. */
  readonly want: boolean;
}

interface Setting {
  readonly want: boolean;
  readonly en: boolean;
  readonly honour: boolean;
}

interface Case {
  /** Bits of the leaf of each page, and which page of memory it is. */
  readonly leaves: readonly { readonly bits: bigint; readonly to: number }[];
  readonly steps: readonly Step[];
  readonly setting: Setting;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('read', 'read', 'write', 'write', 'store', 'load'),
  offset: fc.nat(SPAN - 1),
  length: fc.integer({ min: 1, max: 5000 }),
  fill: fc.nat(255),
  want: fc.boolean(),
});
const caseOf = (bits: readonly bigint[]): fc.Arbitrary<Case> =>
  fc.record({
    leaves: fc.array(fc.record({ bits: fc.constantFrom(...bits), to: fc.nat(PAGES - 1) }), {
      minLength: PAGES,
      maxLength: PAGES,
    }),
    steps: fc.array(step, { minLength: 1, maxLength: 10 }),
    setting: fc.record({ want: fc.boolean(), en: fc.boolean(), honour: fc.boolean() }),
  });
const PLAIN: Setting = { want: false, en: true, honour: true };
const LOUD: Setting = { want: true, en: true, honour: true };
const ANY = [RW, RW, RW | SNP, READ, WRITE, WRITE | SNP, 0n, SNP] as const;
const FORCED = [RW | SNP, RW | SNP, READ | SNP, WRITE | SNP, 0n, SNP] as const;

/** What a run did: answers, translations and faults on the one side, data on the other. */
interface Outcome {
  readonly answers: readonly string[];
  readonly faults: readonly unknown[];
  readonly counters: unknown;
  readonly nonCoherent: number;
  readonly data: readonly string[];
}

const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');

describe.each(BUILDS)('No Snoop on the %s core', (build) => {
  const { make } = machinesOf(build);

  describe.each(['functional', 'timed'] as const)('%s', (fidelity) => {
    async function run({ leaves, steps }: Case, setting: Setting, hostCache: boolean): Promise<Outcome> {
      const config: Omit<MachineConfig, 'slots'> = {
        fidelity,
        hostCache,
        options: { honourNoSnoop: setting.honour },
      };
      const m = await UnitMachine.create(make, config, [fidelity === 'timed' ? { link: 'gen3x8' } : {}]);
      const { machine } = m;
      const at = (m.fn().config.capability(0x10) ?? 0) + 8;
      m.fn().config.write(at, (m.fn().config.read(at, 2) & ~0x0800) | (setting.en ? 0x0800 : 0), 2);
      m.enable();
      for (const [n, { bits, to }] of leaves.entries()) m.map(FIRST + 4096 * n, TARGET + 4096 * to, bits);
      const answers: string[] = [];
      const data: string[] = [];
      const faults: unknown[] = [];
      for (const { kind, offset, length, fill, want } of steps) {
        const options = { noSnoop: want && setting.want };
        const within = Math.min(length, SPAN - offset);
        if (kind === 'store') machine.memory.write(TARGET + offset, new Uint8Array(within).fill(fill));
        else if (kind === 'load') data.push(hex(machine.memory.read(TARGET + offset, within)));
        else if (kind === 'write') m.write(FIRST + offset, new Uint8Array(length).fill(fill), options);
        else {
          const { status, data: bytes } = m.read(FIRST + offset, length, options);
          answers.push(`${status} ${bytes?.length}`);
          data.push(hex(bytes));
        }
        faults.push(m.unit.faults);
        m.unit.clearFaults();
      }
      machine.memory.flushAll();
      data.push(hex(machine.memory.read(TARGET, SPAN)));
      const { tlps, wireBytes, nonCoherentTlps, coherentTlps } = m.fn().stats;
      const { droppedPosted, unsupportedRequests } = machine.stats();
      const counters = {
        unit: m.unit.counters,
        toMemory: coherentTlps + nonCoherentTlps,
        tlps,
        wireBytes,
        droppedPosted,
        unsupportedRequests,
      };
      return { answers, faults, counters, nonCoherent: nonCoherentTlps, data };
    }

    const sameWay = ({ answers, faults, counters }: Outcome): unknown => ({ answers, faults, counters });

    it('IOM-52: changes no address, answer, fault or count, whatever the tables say', async () => {
      let faults = 0;
      let nonCoherent = 0;
      await fc.assert(
        fc.asyncProperty(caseOf(ANY), async (one) => {
          const plain = await run(one, PLAIN, true);
          const other = await run(one, one.setting, true);
          const loud = await run(one, LOUD, true);
          expect(sameWay(other)).toEqual(sameWay(plain));
          expect(sameWay(loud)).toEqual(sameWay(plain));
          expect(plain.nonCoherent).toBe(0);
          // All that is coherent has the same data, too.
          if (other.nonCoherent === 0) expect(other.data).toEqual(plain.data);
          const { want, en, honour } = one.setting;
          if (!(want && en && honour)) expect(other.nonCoherent).toBe(0);
          faults += plain.faults.flat().length;
          nonCoherent += loud.nonCoherent;
        }),
        { numRuns: 25 },
      );
      expect(faults).toBeGreaterThan(0);
      expect(nonCoherent).toBeGreaterThan(0);
    });

    it('IOM-52: moves the same bytes to the same places where there are no caches', async () => {
      let nonCoherent = 0;
      await fc.assert(
        fc.asyncProperty(caseOf(ANY), async (one) => {
          const plain = await run(one, PLAIN, false);
          const loud = await run(one, LOUD, false);
          expect([sameWay(loud), loud.data]).toEqual([sameWay(plain), plain.data]);
          nonCoherent += loud.nonCoherent;
        }),
        { numRuns: 20 },
      );
      expect(nonCoherent).toBeGreaterThan(0);
    });

    it('IOM-52: changes no data where every page has SNP, with caches', async () => {
      let bytes = 0;
      await fc.assert(
        fc.asyncProperty(caseOf(FORCED), async (one) => {
          const plain = await run(one, PLAIN, true);
          const loud = await run(one, LOUD, true);
          expect(loud).toEqual(plain);
          bytes += plain.data.join('').replaceAll('0', '').length;
        }),
        { numRuns: 20 },
      );
      expect(bytes).toBeGreaterThan(0);
    });

    it('IOM-52: what it does change is data, where caches hold what memory has not', async () => {
      const leaves = Array.from({ length: PAGES }, (_, to) => ({ bits: RW, to }));
      const at = { offset: 0, length: 64, want: true };
      const steps: Step[] = [
        { ...at, kind: 'store', fill: 7 },
        { ...at, kind: 'read', fill: 0 },
      ];
      const one: Case = { leaves, steps, setting: LOUD };
      expect((await run(one, PLAIN, true)).data[0]).toBe('07'.repeat(64));
      expect((await run(one, LOUD, true)).data[0]).toBe('00'.repeat(64));
    });
  });
});
