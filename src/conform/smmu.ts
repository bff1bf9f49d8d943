/** Runs `smmuv3-vectors/1`: DMA through stage 1 of an SMMUv3 with the omissions of the observed emulator. */
import { invalid, ZtlpError } from '../base/errors.js';
import { defaultOptions } from '../base/options.js';
import { Core, type CoreSource } from '../core/core.js';
import { hex64 } from '../core/u64.js';
import { type SmmuOptions, SmmuUnit } from '../iommu/smmu-unit.js';
import { CaseFields } from './case.js';
import type { CaseRunner, Json, Verdict } from './report.js';
import {
  judgeSteps,
  type Outcome,
  type Ram,
  ramOf,
  runTransfer,
  segmentsOf,
  VectorMemory,
} from './unit-memory.js';

/** What all cases of a file share. */
interface Machine {
  readonly options: SmmuOptions;
  readonly ram: Ram;
  readonly outputWidth: number;
}

/** Where the cases have their tables. */
const TABLES = { from: 0x4100_0000, bytes: 0x6_0000 };
/** Options of the reference: what `smmuRunner` runs with. */
const REFERENCE = { smmuModel: 'qemu72' } as const;
/** Output bits by OAS, the low bits of IDR5. */
const WIDTHS: readonly number[] = [32, 36, 40, 42, 44, 48];
/** Caches persist from step to step in cases with these tags, elsewhere each DMA starts cold. */
const STICKY: readonly string[] = ['tlb', 'cfg'];

let core: Core | undefined;

/** Makes the unit, in the bundled core or in that of `source`. Needed before a case is run. */
export async function prepareSmmu(source?: CoreSource): Promise<void> {
  if (core !== undefined && source === undefined) return;
  core = await Core.load(source, TABLES.bytes, 0, 0, (x) =>
    x.unitReserve(1, defaultOptions().iotlbEntries, 0),
  );
}

/** A runner for the cases of `file`; `model` are the options of the unit that differ from their defaults. */
export function smmuRunner(
  file: Readonly<Record<string, unknown>>,
  model: Partial<SmmuOptions> = REFERENCE,
): CaseRunner {
  const options = { ...defaultOptions(), ...model };
  const fields = new CaseFields(file, '');
  const ram = ramOf(fields);
  const oas = Number(fields.object('idr').u64('IDR5')) & 7;
  const outputWidth = WIDTHS[oas];
  if (outputWidth === undefined) throw invalid('idr.IDR5', oas, 'an OAS of 0 to 5', 'unsupported');
  return (one) => runSmmu(one, { options, ram, outputWidth });
}

function runSmmu(fields: CaseFields, { options, ram, outputWidth }: Machine): Verdict {
  if (core === undefined)
    throw new ZtlpError('unsupported', 'smmuv3-vectors/1: its machine is not made yet', { field: 'format' });
  fields.skip('dataPages');
  const isSticky = fields.list('tags').some((tag) => STICKY.includes(tag as string));
  const memory = new VectorMemory(core, ram, TABLES);
  const unit = new SmmuUnit(core, 0, { outputWidth }, options);
  unit.setStreamTable(fields.u64('strtabBase'), Number(fields.u64('strtabBaseCfg')));
  memory.fill(fields.list('tables'));
  unit.isOn = true;
  const cooled = (step: CaseFields): Outcome => {
    if (!isSticky) {
      unit.invalidateTlb();
      unit.invalidateConfig();
    }
    return dma(unit, step, memory);
  };
  return judgeSteps(fields, memory, cooled, { invalidate: (step) => invalidate(unit, step) });
}

function invalidate(unit: SmmuUnit, step: CaseFields): void {
  const kind = step.text('kind');
  if (kind === 'tlb-all') unit.invalidateTlb();
  else if (kind === 'tlb-asid') unit.invalidateTlb(step.integer('asid'));
  else if (kind === 'tlb-va') unit.invalidateAddress(step.integer('asid'), step.u64('iova'));
  else if (kind === 'cfgi-ste' || kind === 'cfgi-cd') unit.invalidateConfig(step.integer('sid'));
  else throw invalid('kind', kind, 'tlb-all, tlb-asid, tlb-va, cfgi-ste, cfgi-cd', 'unsupported');
}

function dma(unit: SmmuUnit, step: CaseFields, memory: VectorMemory): Outcome {
  const { isWrite, segments } = runTransfer(unit, step);
  const { events } = unit.takeEvents();
  const wanted = step.object('expect');
  // The reference tries again in smaller pieces, and logs each.
  wanted.skip('eventCount');
  const pieces = segmentsOf(wanted);
  const expected: Json = {
    segments: pieces,
    events: wanted.objects('events', (event) => ({
      type: event.integer('type'),
      sid: event.integer('sid'),
      ssv: event.integer('ssv'),
      rnw: event.integer('rnw'),
      class: event.integer('class'),
      s2: event.integer('s2'),
      addr: hex64(event.u64('addr')),
      addr2: hex64(event.u64('addr2')),
    })),
  };
  wanted.done();
  const actual: Json = {
    segments: memory.seen(segments, isWrite, pieces),
    events: events.map((event) => ({
      type: event.type,
      sid: event.sid,
      ssv: 0,
      rnw: event.isRead ? 1 : 0,
      class: event.class,
      s2: 0,
      addr: hex64(event.address),
      addr2: hex64(event.fetch),
    })),
  };
  return { expected, actual };
}
