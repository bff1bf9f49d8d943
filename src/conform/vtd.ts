/** Runs `vtd-vectors/1`: DMA through tables in guest memory, on a VT-d unit with the deviations of the observed emulator. */
import { invalid, ZtlpError } from '../base/errors.js';
import { defaultOptions } from '../base/options.js';
import { Core, type CoreSource } from '../core/core.js';
import { hex64, type U64 } from '../core/u64.js';
import { iotlbEntriesOf, type UnitOptions, VtdUnit } from '../iommu/vtd-unit.js';
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
  readonly options: UnitOptions;
  readonly configs: ReadonlyMap<
    string,
    { readonly cap: U64; readonly ecap: U64; readonly hostWidth: number }
  >;
  readonly ram: Ram;
}

/** Where the cases have their tables; the rest of memory is zeros. */
const TABLES = { from: 0x100_0000, bytes: 0x4_0000 };
/** Options of the reference: what `vtdRunner` runs with. */
const REFERENCE = { vtdModel: 'qemu72', faultReasons: 'qemu72' } as const;
/** Caches persist from step to step in cases with these tags, elsewhere each DMA starts cold. */
const STICKY: readonly string[] = ['iotlb', 'cc'];

let core: Core | undefined;

/** Makes the unit, in the bundled core or in that of `source`. Needed before a case is run. */
export async function prepareVtd(source?: CoreSource): Promise<void> {
  if (core !== undefined && source === undefined) return;
  core = await Core.load(source, TABLES.bytes, 0, 0, (x) =>
    x.unitReserve(1, iotlbEntriesOf({ ...defaultOptions(), ...REFERENCE }), 0),
  );
}

/** A runner for the cases of `file`; `model` are the options of the unit that differ from their defaults. */
export function vtdRunner(
  file: Readonly<Record<string, unknown>>,
  model: Partial<UnitOptions> = REFERENCE,
): CaseRunner {
  const machine = machineOf(file, { ...defaultOptions(), ...model });
  return (fields) => runVtd(fields, machine);
}

function machineOf(file: Readonly<Record<string, unknown>>, options: UnitOptions): Machine {
  const fields = new CaseFields(file, '');
  const named = file.configs;
  if (typeof named !== 'object' || named === null) throw invalid('configs', named, 'an object', 'malformed');
  const configs = Object.entries(named).map(([name, value]) => {
    const config = new CaseFields(value, `configs.${name}.`);
    return [
      name,
      { cap: config.u64('cap'), ecap: config.u64('ecap'), hostWidth: config.integer('aw-bits') },
    ] as const;
  });
  return { options, configs: new Map(configs), ram: ramOf(fields) };
}

function runVtd(fields: CaseFields, { options, configs, ram }: Machine): Verdict {
  if (core === undefined)
    throw new ZtlpError('unsupported', 'vtd-vectors/1: its machine is not made yet', { field: 'format' });
  const name = fields.text('config');
  const config = configs.get(name);
  if (config === undefined) throw invalid('config', name, [...configs.keys()].join(', '), 'unknown-name');
  fields.skip('dataPages');
  const tags = fields.list('tags');
  const isSticky = tags.some((tag) => STICKY.includes(tag as string));
  const memory = new VectorMemory(core, ram, TABLES);
  const unit = new VtdUnit(core, 0, config, options);
  unit.rootTable = fields.u64('rtaddr');
  memory.fill(fields.list('tables'));
  unit.isOn = true;
  const cooled = (step: CaseFields): Outcome => {
    if (!isSticky) {
      unit.invalidateIotlb();
      unit.invalidateContexts();
    }
    return dma(unit, step, memory);
  };
  return judgeSteps(fields, memory, cooled, {
    invalidate: (step) => invalidate(unit, step),
    te: (step) => {
      unit.isOn = step.boolean('on');
    },
  });
}

function invalidate(unit: VtdUnit, step: CaseFields): void {
  const kind = step.text('kind');
  if (kind === 'iotlb-global') unit.invalidateIotlb();
  else if (kind === 'iotlb-domain') unit.invalidateIotlb(step.integer('did'));
  else if (kind === 'iotlb-page')
    unit.invalidatePages(step.integer('did'), step.u64('iova'), step.integer('am'));
  else if (kind === 'ctx-global') unit.invalidateContexts();
  else if (kind === 'ctx-device')
    unit.invalidateContexts({ did: step.integer('did'), sid: step.integer('sid'), mask: step.integer('fm') });
  else throw invalid('kind', kind, 'iotlb-global, -domain, -page, ctx-global, ctx-device', 'unsupported');
}

function dma(unit: VtdUnit, step: CaseFields, memory: VectorMemory): Outcome {
  const { isWrite, segments } = runTransfer(unit, step);
  const [fault] = unit.faults;
  const { pending, overflow } = unit.faultStatus;
  if (!(step.has('faultsKept') && step.boolean('faultsKept'))) unit.clearFaults();
  const wanted = step.object('expect');
  const pieces = segmentsOf(wanted);
  const expected: Json = {
    segments: pieces,
    fault: wanted.has('fault') ? recordOf(wanted.object('fault')) : null,
    ppf: wanted.boolean('ppf'),
    pfo: wanted.boolean('pfo'),
  };
  wanted.done();
  const actual: Json = {
    segments: memory.seen(segments, isWrite, pieces),
    fault:
      fault === undefined
        ? null
        : {
            reason: fault.reason,
            type: fault.isWrite ? 'write' : 'read',
            sid: fault.sid,
            fi: hex64(fault.page),
          },
    ppf: pending,
    pfo: overflow,
  };
  return { expected, actual };
}

/** The decoded fields; the raw words have a PASID where there is none. */
function recordOf(fault: CaseFields): Json {
  fault.skip('rawLo', 'rawHi');
  return {
    reason: fault.integer('reason'),
    type: fault.text('type'),
    sid: fault.integer('sid'),
    fi: hex64(fault.u64('fi')),
  };
}
