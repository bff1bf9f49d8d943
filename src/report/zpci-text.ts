/** A line of a zPCI script with what it answered and set going, as text that is a script again, and as JSON. */
import { hex64 } from '../core/u64.js';
import type { TracedTlp } from '../machine/trace.js';
import { decodeTlp, encodeTlp } from '../tlp/codec.js';
import { formatHex } from '../tlp/text.js';
import { printable, type Style } from './style.js';
import { group } from './table.js';
import { headline } from './tlp-text.js';
import { eventText } from './zpci-blocks.js';
import { ANSWER_KEYS, type AnswerKey, formatAnswer } from './zpci-expected.js';
import type { ScriptLine } from './zpci-script.js';
import type { LineResult, ZpciSession } from './zpci-session.js';

/** TLPs of one line that are shown. */
const SHOWN_TLPS = 8;
const INDENT = '  ';

export interface LineTextOptions {
  readonly style: Style;
  /** Show every TLP. */
  readonly all?: boolean;
  /** Begin with the line as it was written; else only what came of it. */
  readonly echo?: boolean;
}

/** What is always told; other answers are told where a line expects them. */
const TOLD: ReadonlySet<AnswerKey> = new Set(['cc', 'status', 'outcome', 'response', 'iota', 'fc']);

/** A line without a statement as it stands in the output: a comment, an empty line; undefined for commentary of a log. */
export function formatRest(line: ScriptLine, { style }: LineTextOptions): string | undefined {
  if (line.isSkipped) return undefined;
  const command = plainText(line.command);
  const comment = line.comment === '' ? '' : style.dim(plainText(line.comment));
  return command === '' || comment === '' ? command + comment : `${command}  ${comment}`;
}

/** A line that was run: itself with its answers behind the arrow, below it what it did, indented. */
export function formatLine(result: LineResult, session: ZpciSession, options: LineTextOptions): string {
  const { style, echo = true } = options;
  const { line, error } = result;
  const first = echo ? echoOf(result, style) : answerText(result);
  const below = [
    ...(error === undefined ? [] : [style.warn(printable(`not run: ${error.message}`))]),
    ...missedTexts(result).map((text) => style.warn(text)),
    ...(result.note === undefined ? [] : [result.note]),
    ...fieldTexts(result),
    ...(result.lines ?? []),
    ...effectTexts(result, session, options).map((text) => style.dim(text)),
  ].map((text) => INDENT + text);
  const head = echo ? first : first === '' ? [] : `${INDENT}${style.bold(first)}`;
  if (!echo && below.length === 0 && first === '')
    return line.statement?.verb.kind === 'instruction' ? `${INDENT}done` : '';
  return [head, ...below].flat().join('\n');
}

/** The answers as they stand behind an arrow; what is not checked stays as it was recorded. */
function answerText({ answers, line, unchecked = [] }: LineResult, without?: AnswerKey): string {
  const wanted = new Map(line.expected.map(({ key, value }) => [key, value]));
  const texts: string[] = [];
  for (const key of ANSWER_KEYS) {
    const isTold = key !== without && (TOLD.has(key) || wanted.has(key) || isLoad(key, line));
    const value = unchecked.includes(key) ? (wanted.get(key) ?? answers[key]) : answers[key];
    if (isTold && value !== undefined) texts.push(formatAnswer(key, value));
  }
  return texts.join(' ');
}

function isLoad(key: AnswerKey, { statement }: ScriptLine): boolean {
  return key === 'data' && statement?.verb.operands.data !== undefined;
}

/** The data of a load stands before the arrow, as in a recorded log. */
function echoOf(result: LineResult, style: Style): string {
  const { line, answers, error } = result;
  let command = plainText(line.command);
  const isRecorded = isLoad('data', line) && !line.expected.some(({ key }) => key === 'data');
  if (isRecorded && answers.data !== undefined) {
    const at = command.search(/\sdata=\S*/i);
    command =
      at < 0 ? `${command} data=${answers.data}` : command.replace(/(\sdata=)\S*/i, `$1${answers.data}`);
  }
  const answer = answerText(result, isRecorded ? 'data' : undefined);
  const told =
    error === undefined ? answer : line.expected.map(({ key, value }) => formatAnswer(key, value)).join(' ');
  const comment = line.comment === '' ? '' : `  ${style.dim(plainText(line.comment))}`;
  return `${command}${told === '' ? '' : ` -> ${style.bold(told)}`}${comment}`;
}

/** One text for each expectation that was missed. */
export function missedTexts({ missed, answers }: LineResult): string[] {
  return missed.map(({ key, expected, actual }) => {
    const wanted = formatAnswer(key, expected);
    // An exception stands in the place of a condition code.
    const instead = (['cc', 'status', 'outcome'] as const)
      .filter((other) => answers[other] !== undefined)
      .map((other) => formatAnswer(other, answers[other] ?? ''));
    const isEnd = key === 'cc' || key === 'status' || key === 'outcome';
    const got = actual === undefined ? (isEnd ? instead.join(' ') : '') : formatAnswer(key, actual);
    return `missed: expected ${wanted}, got ${got === '' ? `no ${key}` : got}`;
  });
}

function fieldTexts({ fields = [] }: LineResult): string[] {
  const width = Math.max(0, ...fields.map(([name]) => name.length));
  return fields.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
}

/** What happened on the bus and in the machine. */
function effectTexts(result: LineResult, session: ZpciSession, { all = false }: LineTextOptions): string[] {
  const { tlps, deviceCalls, interrupts, messages, events, changes, log } = result;
  const shown = all ? tlps : tlps.slice(0, SHOWN_TLPS);
  const texts = shown.map((one) => `${one.direction.padEnd(4)} ${tlpText(one)}`);
  if (shown.length < tlps.length)
    texts.push(`... and ${group(tlps.length - shown.length)} more TLPs (--all shows them)`);
  if (deviceCalls > 0)
    texts.push(`${group(deviceCalls)} ${plural('device call', deviceCalls)} of the emulator, no TLP`);
  for (const { slot, address, data } of messages)
    texts.push(`message ${hex64(data)} to ${hex64(address)} from ${nameOf(session, slot)}`);
  for (const { isc, slot } of interrupts)
    texts.push(`adapter interrupt, ISC ${isc}, from ${nameOf(session, slot)}`);
  for (const { kind, slot, code, address, isRead } of events)
    texts.push(
      kind === 'availability'
        ? `${eventText(code)}: ${nameOf(session, slot)}`
        : `${eventText(code)}: ${nameOf(session, slot)} at ${hex64(address)}${isRead ? ', reading' : ''}`,
    );
  for (const { name, before, after } of changes) texts.push(`${name}: ${before} -> ${after}`);
  return [...texts, ...log.map(plainText)];
}

function nameOf({ functions }: ZpciSession, slot: number): string {
  return [...functions.keys()][slot] ?? `slot ${slot}`;
}

const plural = (text: string, count: number): string => (count === 1 ? text : `${text}s`);

function tlpBytes({ tlp, data }: TracedTlp): Uint8Array {
  return encodeTlp(tlp, data, { malformed: true, digest: false });
}

/** As `ztlp decode` says it. */
function tlpText(one: TracedTlp): string {
  return headline(decodeTlp(tlpBytes(one), { digest: false }));
}

function plainText(text: string): string {
  return printable(text.replaceAll('\t', ' ')).trimEnd();
}

/** What a whole script came to. */
export class ZpciTotals {
  /** Lines that were run, instructions among them. */
  ran = 0;
  instructions = 0;
  tlps = 0;
  wireBytes = 0;
  deviceCalls = 0;
  met = 0;
  missed = 0;
  /** Lines that could not be run. */
  errors = 0;
  /** Numbers of the lines with an error or a missed expectation. */
  readonly lines: number[] = [];

  add({ isInstruction, tlps, wireBytes, deviceCalls, met, missed, error, line }: LineResult): void {
    this.ran++;
    if (isInstruction) this.instructions++;
    this.tlps += tlps.length;
    this.wireBytes += wireBytes;
    this.deviceCalls += deviceCalls;
    this.met += met;
    this.missed += missed.length;
    if (error !== undefined) this.errors++;
    if (error !== undefined || missed.length > 0) this.lines.push(line.number);
  }
}

/** The last line of the output, indented as all that is not script. */
export function formatTotals(totals: ZpciTotals, style: Style): string {
  const { instructions, tlps, wireBytes, deviceCalls, met, missed, errors } = totals;
  const calls = deviceCalls === 0 ? '' : `, ${group(deviceCalls)} ${plural('device call', deviceCalls)}`;
  const checked =
    met + missed === 0 ? 'nothing expected' : `expectations: ${group(met)} met, ${group(missed)} missed`;
  const wrong = errors === 0 ? '' : `; ${group(errors)} ${plural('line', errors)} not run`;
  const first = `${group(instructions)} ${plural('instruction', instructions)}, ${group(tlps)} ${plural('TLP', tlps)}`;
  const text = `${INDENT}total: ${first}, ${group(wireBytes)} wire bytes${calls}; ${checked}${wrong}`;
  return missed + errors > 0 ? style.warn(text) : text;
}

/** Why a run is no success, in one line; undefined when it is. */
export function totalsProblem({ missed, errors, lines, met }: ZpciTotals): string | undefined {
  if (missed + errors === 0) return undefined;
  const parts = [
    ...(missed > 0 ? [`${missed} of ${met + missed} expectations missed`] : []),
    ...(errors > 0 ? [`${errors} ${plural('line', errors)} could not be run`] : []),
  ];
  const shown = lines.slice(0, 10).join(', ');
  return `${parts.join(', ')}: ${plural('line', lines.length)} ${shown}${lines.length > 10 ? ', ...' : ''}`;
}

/** A line that was run, for programs: every object has every field. */
export function lineToJson(result: LineResult, session: ZpciSession): Readonly<Record<string, unknown>> {
  const { line, answers, missed, error, note, fields, lines, tlps, events, interrupts, messages } = result;
  const number = (text: string | undefined): number | null => (text === undefined ? null : Number(text));
  return {
    line: line.number,
    text: line.text.trim(),
    verb: line.statement?.verb.name,
    cc: number(answers.cc),
    status: number(answers.status),
    outcome: answers.outcome,
    response: answers.response,
    data: answers.data,
    iota: answers.iota,
    fc: answers.fc,
    state: answers.state,
    note,
    met: result.met,
    missed,
    error: error && { code: error.code, message: error.message, field: error.field, allowed: error.allowed },
    fields: Object.fromEntries(fields ?? []),
    lines: lines ?? [],
    tlps: tlps.map((one) => ({
      direction: one.direction,
      function: one.slot === undefined ? null : nameOf(session, one.slot),
      text: tlpText(one),
      hex: formatHex(tlpBytes(one)),
    })),
    wireBytes: result.wireBytes,
    deviceCalls: result.deviceCalls,
    interrupts: interrupts.map(({ isc, slot, ns }) => ({ isc, function: nameOf(session, slot), ns })),
    messages: messages.map(({ slot, ...message }) => ({ function: nameOf(session, slot), ...message })),
    events: events.map(({ slot, record, ...event }) => ({
      function: nameOf(session, slot),
      ...event,
      record: formatHex(record),
    })),
    changes: result.changes,
    log: result.log,
  };
}

export function totalsToJson(totals: ZpciTotals): Readonly<Record<string, unknown>> {
  return { total: { ...totals } };
}
