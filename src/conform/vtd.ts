/** Runs `vtd-vectors/1`: DMA through tables in guest memory, on a VT-d unit with the deviations of the observed emulator. */
import * as L from '../../assembly/layout.js';
import { invalid, ZtlpError } from '../base/errors.js';
import { defaultOptions } from '../base/options.js';
import { Core, type CoreSource } from '../core/core.js';
import { hex64, high32, low32, type U64 } from '../core/u64.js';
import { iotlbEntriesOf, type UnitSegment, VtdUnit } from '../iommu/vtd-unit.js';
import { CaseFields } from './case.js';
import { type CaseRunner, type Json, judge, type Verdict } from './report.js';

/** What all cases of a file share. */
interface Machine {
  readonly configs: ReadonlyMap<
    string,
    { readonly cap: U64; readonly ecap: U64; readonly hostWidth: number }
  >;
  readonly ram: { readonly first: bigint; readonly end: bigint };
}

/** Where the cases have their tables; the rest of memory is zeros. */
const TABLES = { from: 0x100_0000, bytes: 0x4_0000 };
const OPTIONS = { ...defaultOptions(), vtdModel: 'qemu72', faultReasons: 'qemu72' } as const;
/** Caches persist from step to step in cases with these tags, elsewhere each DMA starts cold. */
const STICKY: readonly string[] = ['iotlb', 'cc'];

let core: Core | undefined;

/** Makes the unit, in the bundled core or in that of `source`. Needed before a case is run. */
export async function prepareVtd(source?: CoreSource): Promise<void> {
  if (core !== undefined && source === undefined) return;
  core = await Core.load(source, TABLES.bytes, 0, 0, (x) => x.unitReserve(1, iotlbEntriesOf(OPTIONS)));
}

/** A runner for the cases of `file`. */
export function vtdRunner(file: Readonly<Record<string, unknown>>): CaseRunner {
  const machine = machineOf(file);
  return (fields) => runVtd(fields, machine);
}

function machineOf(file: Readonly<Record<string, unknown>>): Machine {
  const fields = new CaseFields(file, '');
  const memory = fields.object('guestMemory');
  const first = BigInt(memory.u64('base'));
  const named = file.configs;
  if (typeof named !== 'object' || named === null) throw invalid('configs', named, 'an object', 'malformed');
  const configs = Object.entries(named).map(([name, value]) => {
    const config = new CaseFields(value, `configs.${name}.`);
    return [
      name,
      { cap: config.u64('cap'), ecap: config.u64('ecap'), hostWidth: config.integer('aw-bits') },
    ] as const;
  });
  return { configs: new Map(configs), ram: { first, end: first + BigInt(memory.u64('size')) } };
}

function runVtd(fields: CaseFields, { configs, ram }: Machine): Verdict {
  if (core === undefined)
    throw new ZtlpError('unsupported', 'vtd-vectors/1: its machine is not made yet', { field: 'format' });
  const name = fields.text('config');
  const config = configs.get(name);
  if (config === undefined) throw invalid('config', name, [...configs.keys()].join(', '), 'unknown-name');
  fields.skip('dataPages');
  const tags = fields.list('tags');
  const isSticky = tags.some((tag) => STICKY.includes(tag as string));
  const memory = new Tables(core, ram);
  const unit = new VtdUnit(core, 0, config, OPTIONS);
  unit.rootTable = fields.u64('rtaddr');
  for (const entry of fields.list('tables')) {
    const [gpa, qword] = Array.isArray(entry) ? entry : [];
    const pair = new CaseFields({ gpa, qword }, 'tables.');
    memory.poke(pair.u64('gpa'), pair.u64('qword'));
  }
  unit.isOn = true;
  const expected: Json[] = [];
  const actual: Json[] = [];
  fields.objects('steps', (step) => {
    const op = step.text('op');
    if (op === 'poke') memory.poke(step.u64('gpa'), step.u64('qword'));
    else if (op === 'invalidate') invalidate(unit, step);
    else if (op === 'te') unit.isOn = step.boolean('on');
    else if (op === 'dma') {
      if (!isSticky) {
        unit.invalidateIotlb();
        unit.invalidateContexts();
      }
      const outcome = dma(unit, step, memory);
      expected.push(outcome.expected);
      actual.push(outcome.actual);
    } else throw invalid('op', op, 'dma, poke, invalidate, te', 'unsupported');
  });
  return judge({ steps: expected }, { steps: actual });
}

/** The tables of a case, in the memory of the core. */
class Tables {
  constructor(
    private readonly core: Core,
    private readonly ram: Machine['ram'],
  ) {
    const { first, end } = ram;
    const at = core.at(L.PLACE_HOST_MEMORY);
    core.u8.fill(0, at, at + TABLES.bytes);
    core.x.unitMemory(low32(first), high32(first), low32(end), high32(end), TABLES.from, 0);
  }

  poke(gpa: U64, value: U64): void {
    const offset = Number(gpa) - TABLES.from;
    if (offset < 0 || offset + 8 > TABLES.bytes || offset % 8 !== 0)
      throw invalid('gpa', gpa, 'a multiple of 8 in 0x1000000 to 0x103ffff', 'unsupported');
    this.core.setWord(L.PLACE_HOST_MEMORY, offset, low32(value));
    this.core.setWord(L.PLACE_HOST_MEMORY, offset + 4, high32(value));
  }

  holds(address: U64, bytes: number): boolean {
    const first = BigInt(address);
    return first >= this.ram.first && first + BigInt(bytes) <= this.ram.end;
  }
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

function dma(unit: VtdUnit, step: CaseFields, memory: Tables): { expected: Json; actual: Json } {
  const direction = step.text('dir');
  if (direction !== 'read' && direction !== 'write') throw invalid('dir', direction, 'read, write');
  const isWrite = direction === 'write';
  const request = { sid: step.integer('sid'), address: step.u64('iova'), isWrite };
  const segments = unit.transfer(request, step.integer('len'));
  const [fault] = unit.faults;
  const { pending, overflow } = unit.faultStatus;
  if (!(step.has('faultsKept') && step.boolean('faultsKept'))) unit.clearFaults();
  const wanted = step.object('expect');
  const expected: Json = {
    segments: wanted.objects('segments', (one) => ({
      iova: hex64(one.u64('iova')),
      len: one.integer('len'),
      gpa: one.has('gpa') ? hex64(one.u64('gpa')) : null,
      result: one.text('result'),
    })),
    fault: wanted.has('fault') ? recordOf(wanted.object('fault')) : null,
    ppf: wanted.boolean('ppf'),
    pfo: wanted.boolean('pfo'),
  };
  wanted.done();
  const observed = (expected.segments as readonly { readonly result: string }[]).map(({ result }) => result);
  const actual: Json = {
    segments: segments.map((segment, n) => seen(segment, isWrite, memory, observed[n])),
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

/** A segment as it would have been observed: `completed` stands for a read of which only the end was seen. */
function seen(
  { address, bytes, answer }: UnitSegment,
  isWrite: boolean,
  memory: Tables,
  observed?: string,
): Json {
  const to = answer.kind === 'translated' && memory.holds(answer.address, bytes) ? answer.address : undefined;
  const isBlind = observed === 'completed' && !isWrite && to !== undefined;
  return {
    iova: hex64(address),
    len: bytes,
    gpa: to === undefined || isBlind ? null : hex64(to),
    result: isBlind ? 'completed' : to !== undefined ? 'moved' : isWrite ? 'dropped' : 'zeros',
  };
}
