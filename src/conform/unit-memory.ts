/** Memory of the vectors of translation units: RAM whose tables are written, and what a transfer did to it. */
import * as L from '../../assembly/layout.js';
import { invalid } from '../base/errors.js';
import type { Core } from '../core/core.js';
import { hex64, high32, low32, type U64 } from '../core/u64.js';
import type { TranslationUnit, UnitSegment } from '../iommu/unit.js';
import { CaseFields } from './case.js';
import { type Json, judge, type Verdict } from './report.js';

/** Tables stand in the first bytes from here; the rest of RAM is zeros. */
export interface TablePlace {
  readonly from: number;
  readonly bytes: number;
}

export interface Ram {
  readonly first: bigint;
  readonly end: bigint;
}

/** RAM as a file describes it. */
export function ramOf(file: CaseFields): Ram {
  const memory = file.object('guestMemory');
  const first = BigInt(memory.u64('base'));
  return { first, end: first + BigInt(memory.u64('size')) };
}

export class VectorMemory {
  constructor(
    private readonly core: Core,
    private readonly ram: Ram,
    private readonly place: TablePlace,
  ) {
    const { first, end } = ram;
    const at = core.at(L.PLACE_HOST_MEMORY);
    core.u8.fill(0, at, at + place.bytes);
    core.x.unitMemory(low32(first), high32(first), low32(end), high32(end), place.from, 0);
  }

  /** Writes the pairs of address and value that a case has. */
  fill(entries: readonly unknown[]): void {
    for (const entry of entries) {
      const [gpa, qword] = Array.isArray(entry) ? entry : [];
      const pair = new CaseFields({ gpa, qword }, 'tables.');
      this.poke(pair.u64('gpa'), pair.u64('qword'));
    }
  }

  poke(gpa: U64, value: U64): void {
    const { from, bytes } = this.place;
    const offset = Number(gpa) - from;
    if (offset < 0 || offset + 8 > bytes || offset % 8 !== 0)
      throw invalid(
        'gpa',
        gpa,
        `a multiple of 8 from ${hex64(from)} to ${hex64(from + bytes - 8)}`,
        'unsupported',
      );
    this.core.setLong(L.PLACE_HOST_MEMORY, offset, value);
  }

  private holds(address: U64, bytes: number): boolean {
    const first = BigInt(address);
    return first >= this.ram.first && first + BigInt(bytes) <= this.ram.end;
  }

  /**
   * A transfer as it would have been observed. `completed` in what is expected stands for a read of which only the end
   * was seen.
   */
  seen(
    segments: readonly UnitSegment[],
    isWrite: boolean,
    expected: readonly { readonly result: string }[],
  ): Json {
    return segments.map(({ address, bytes, answer }, n) => {
      const to =
        answer.kind === 'translated' && this.holds(answer.address, bytes) ? answer.address : undefined;
      const isBlind = expected[n]?.result === 'completed' && !isWrite && to !== undefined;
      return {
        iova: hex64(address),
        len: bytes,
        gpa: to === undefined || isBlind ? null : hex64(to),
        result: isBlind ? 'completed' : to !== undefined ? 'moved' : isWrite ? 'dropped' : 'zeros',
      };
    });
  }
}

/** The pieces that a case expects. */
export function segmentsOf(
  expect: CaseFields,
): { iova: string; len: number; gpa: string | null; result: string }[] {
  return expect.objects('segments', (one) => ({
    iova: hex64(one.u64('iova')),
    len: one.integer('len'),
    gpa: one.has('gpa') ? hex64(one.u64('gpa')) : null,
    result: one.text('result'),
  }));
}

/** What a transfer was expected to do, and did. */
export interface Outcome {
  readonly expected: Json;
  readonly actual: Json;
}

/** The steps of a case in their order. `operations` are those of its format beside `poke`; what is compared is what `dma` answers. */
export function judgeSteps(
  fields: CaseFields,
  memory: VectorMemory,
  dma: (step: CaseFields) => Outcome,
  operations: Readonly<Record<string, (step: CaseFields) => void>>,
): Verdict {
  const outcomes: Outcome[] = [];
  fields.objects('steps', (step) => {
    const op = step.text('op');
    const operation = Object.hasOwn(operations, op) ? operations[op] : undefined;
    if (op === 'poke') memory.poke(step.u64('gpa'), step.u64('qword'));
    else if (op === 'dma') outcomes.push(dma(step));
    else if (operation !== undefined) operation(step);
    else throw invalid('op', op, ['dma', 'poke', ...Object.keys(operations)].join(', '), 'unsupported');
  });
  // By name, not as a list: every step that differs is shown.
  const steps = (side: keyof Outcome): Readonly<Record<string, Json>> =>
    Object.fromEntries(outcomes.map((outcome, n) => [`steps[${n}]`, outcome[side]]));
  return judge(steps('expected'), steps('actual'));
}

/** Reads direction, requester, address and length of a transfer, and runs it. */
export function runTransfer(
  unit: TranslationUnit,
  step: CaseFields,
): { isWrite: boolean; segments: UnitSegment[] } {
  const direction = step.text('dir');
  if (direction !== 'read' && direction !== 'write') throw invalid('dir', direction, 'read, write');
  const isWrite = direction === 'write';
  const request = { sid: step.integer('sid'), address: step.u64('iova'), isWrite };
  return { isWrite, segments: unit.transfer(request, step.integer('len')) };
}
