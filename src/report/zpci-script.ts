/** Reads a zPCI script line by line: set-up, instructions in the syntax of a recorded log, expectations, commentary. */
import { invalid, ZtlpError } from '../base/errors.js';
import { unknownName } from '../base/names.js';
import { type Expected, parseExpected } from './zpci-expected.js';
import type { Known } from './zpci-operands.js';
import { type At, readOperands, type Word, wordsOf } from './zpci-read-operands.js';
import { type FunctionLine, functionOf } from './zpci-setup.js';
import { VERBS } from './zpci-verb-list.js';
import type { Statement, Verb } from './zpci-verbs.js';

//  SCRIPT LINE     words of the verb ....  -> expected words   # comment
//  indented line   what an instruction of a pasted log or output did: passed over

/** Longest line in letters: a PCISTB of 4 KiB with its data fits. */
export const MAX_LINE = 16_384;
/** Most lines of one script. */
export const MAX_LINES = 100_000;
/** Most functions. */
export const MAX_FUNCTIONS = 16;

/** Most bytes of all BARs. */
const MAX_BARS = 1 << 28;

/** One line as it was read. */
export interface ScriptLine {
  /** From 1. */
  readonly number: number;
  readonly text: string;
  /** What the line asks for; undefined for a comment, an empty line and what is passed over. */
  readonly statement: Statement | undefined;
  readonly expected: readonly Expected[];
  /** The text before the arrow and the comment, and the comment with its mark. */
  readonly command: string;
  readonly comment: string;
  /** An indented line: commentary of a log. */
  readonly isSkipped: boolean;
}

/** The column of what is wrong, with the error: a line has one at most. */
export class LineError {
  constructor(
    readonly line: number,
    /** From 1. */
    readonly column: number,
    readonly error: ZtlpError,
  ) {}
}

/** Reads lines in their order: each knows the functions that lines before it declared. */
export class ScriptReader {
  private readonly declared: FunctionLine[] = [];
  private isSetUp = false;
  private lines = 0;

  /** The functions so far: `dev` where the script declares none. */
  get known(): Known {
    const { declared } = this;
    return { functions: declared.length === 0 ? [DEFAULT_FUNCTION] : declared.map(({ name }) => name) };
  }

  /** Reads one line, without its line end. Answers what is wrong instead of throwing. */
  read(text: string, isTooLong = false): ScriptLine | LineError {
    const number = ++this.lines;
    const at: At = { column: 1 };
    try {
      if (isTooLong || text.length > MAX_LINE)
        throw new ZtlpError('out-of-range', `the line has more than ${MAX_LINE} letters`, { field: 'line' });
      if (number > MAX_LINES)
        throw new ZtlpError('out-of-range', `the script has more than ${MAX_LINES} lines`, { field: 'line' });
      return this.parse(number, text, at);
    } catch (error) {
      if (!(error instanceof ZtlpError)) throw error;
      return new LineError(number, at.column, error);
    }
  }

  private parse(number: number, text: string, at: At): ScriptLine {
    const isIndented = /^\s/.test(text);
    const [body, comment] = cutComment(text);
    const arrow = /(?:^|\s)->(?=\s|$)/.exec(body);
    const command = (arrow === null ? body : body.slice(0, arrow.index)).trimEnd();
    const words = wordsOf(command);
    const line = {
      number,
      text,
      command,
      comment,
      expected: [],
      statement: undefined,
      isSkipped: isIndented,
    };
    const [first, second] = words;
    if (first === undefined) {
      if (arrow !== null && !isIndented) throw new ZtlpError('invalid-value', 'nothing stands before ->');
      return { ...line, isSkipped: isIndented && body.trim() !== '' };
    }
    const verb = findVerb(first.text, second?.text);
    if (isIndented) {
      if (verb !== undefined && this.isMeant(verb, words))
        throw new ZtlpError('invalid-value', `${first.text} stands behind blanks, as commentary does`, {
          field: 'line',
          value: first.text,
          allowed: 'instructions and commands in the first column',
        });
      return line;
    }
    if (verb === undefined || isOtherWord(verb, second?.text)) throw unknownVerb(first.text, second?.text);
    if (verb.kind === 'setup' && this.isSetUp)
      throw new ZtlpError('invalid-value', `${verb.name} comes too late`, {
        field: verb.name,
        allowed: 'option and function before every other line',
      });
    const values = readOperands(verb, words.slice(verb.name.split(' ').length), this.known, at);
    at.column = first.column;
    verb.check?.(values, { functions: this.declared.map(({ name }) => name) });
    if (verb.kind === 'setup') this.checkDeclared(verb, values);
    const from = arrow === null ? body.length : arrow.index + arrow[0].length;
    const expected = arrow === null ? [] : readExpected(verb, wordsOf(body.slice(from), from), at);
    if (arrow !== null && expected.length === 0) {
      at.column = from;
      throw new ZtlpError('invalid-value', 'nothing stands behind ->', { field: 'expected' });
    }
    if (verb.kind === 'setup') this.declare(verb, values);
    else this.isSetUp = true;
    return { ...line, expected, statement: { verb, values } };
  }

  /** Whether an indented line is no commentary: it would be a lost instruction. Output has lines that begin like a command. */
  private isMeant(verb: Verb, words: readonly Word[]): boolean {
    if (verb.kind === 'instruction') return true;
    try {
      readOperands(verb, words.slice(verb.name.split(' ').length), this.known, { column: 1 });
      return true;
    } catch (error) {
      if (error instanceof ZtlpError) return false;
      throw error;
    }
  }

  /** What functions have to be to each other, so that a machine can be made of them. */
  private checkDeclared(verb: Verb, values: Readonly<Record<string, unknown>>): void {
    if (verb.name !== 'function') return;
    const { name, index, bars } = functionOf(values);
    // The first word of an indented line tells an instruction from commentary.
    if (findVerb(name) !== undefined) throw invalid('function', name, 'a name that is no command');
    const { declared } = this;
    if (declared.length === MAX_FUNCTIONS)
      throw invalid('function', name, `at most ${MAX_FUNCTIONS} functions`, 'out-of-range');
    const other = declared.find((one, n) => (one.index ?? n + 1) === (index ?? declared.length + 1));
    if (other !== undefined)
      throw invalid('index', index ?? declared.length + 1, `an index that ${other.name} does not have`);
    const sum = [...declared.flatMap((one) => one.bars), ...bars].reduce<number>(
      (all, size) => all + (size ?? 0),
      0,
    );
    if (sum > MAX_BARS)
      throw invalid('function', `${sum} bytes of BARs`, '256M in all functions together', 'out-of-range');
  }

  private declare(verb: Verb, values: Readonly<Record<string, unknown>>): void {
    if (verb.name === 'function') this.declared.push(functionOf(values));
  }
}

/** The function of a script that declares none. */
export const DEFAULT_FUNCTION = 'dev';

/** `#` begins a comment at the start of a line and behind a blank. */
function cutComment(text: string): [body: string, comment: string] {
  const mark = /(?:^|\s)#/.exec(text);
  if (mark === null) return [text, ''];
  const at = mark.index + mark[0].length - 1;
  return [text.slice(0, at), text.slice(at)];
}

/** Some verbs have two words, as CLP query. */
function findVerb(first: string, second = ''): Verb | undefined {
  return VERBS.get(`${first} ${second}`.toUpperCase()) ?? VERBS.get(first.toUpperCase());
}

/** A word behind CLP that is none of its operations, and no operand either. */
function isOtherWord(verb: Verb, second = ''): boolean {
  if (second === '' || second.includes('=') || Object.hasOwn(verb.operands, second.toLowerCase()))
    return false;
  return !verb.name.includes(' ') && [...VERBS.keys()].some((name) => name.startsWith(`${verb.name} `));
}

function unknownVerb(first: string, second = ''): ZtlpError {
  const names = [...VERBS.values()].map(({ name }) => name);
  const own = names.filter((name) => name.toUpperCase().startsWith(`${first.toUpperCase()} `));
  if (own.length === 0) return unknownName('line', first, 'an instruction or a command', names);
  if (second !== '') return unknownName(first, second, `one of its operations`, own);
  return new ZtlpError('invalid-value', `${first}: its operation is missing`, {
    field: first,
    allowed: own.join(', '),
  });
}

function readExpected(verb: Verb, words: readonly Word[], at: At): Expected[] {
  const found: Expected[] = [];
  for (const { text, column } of words) {
    at.column = column;
    // `specification exception` reads better than the bare word.
    if (text.toLowerCase() === 'exception' && found.at(-1)?.key === 'outcome') continue;
    if (text.toLowerCase() === 'operation' && found.at(-1)?.value === 'privileged') continue;
    const one = parseExpected(verb, text);
    if (found.some(({ key }) => key === one.key))
      throw new ZtlpError('invalid-value', `${one.key}: is expected twice`, { field: one.key });
    found.push(one);
  }
  return found;
}
