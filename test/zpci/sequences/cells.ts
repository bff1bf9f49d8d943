/** What the sequences have to reach: the cells of table 1.4 and the outcomes of MPCIFC (6.1), of CLP and of DMA. */
import type { State } from '../reference/types.js';

/** A key of the coverage: instruction, state of its function, answer. */
const cell = (instruction: string, state: string, answer: string): RegExp =>
  new RegExp(`^${instruction} \\| ${state} \\| ${answer}$`);

type Answers = Readonly<Record<State | 'unknown', readonly string[]>>;
const CC3 = ['cc 3'];
const DONE = ['cc 0'];
const NOWHERE = { reserved: CC3, standby: CC3, disabled: CC3, unknown: CC3 };
const BLOCKED = ['cc 1 status 12'];
const LOAD_STORE: Answers = {
  ...NOWHERE,
  enabled: DONE,
  'error-ls-open': DONE,
  error: BLOCKED,
  'permanent-error': BLOCKED,
};
const STORED = ['cc 0', 'cc 0 sets the enable bit'];
const QUERIED = ['cc 0 response 0x10'];

/** Table 1.4. */
const BY_STATE: readonly (readonly [instruction: string, state: string, answers: Answers])[] = [
  ['pcilg', '', LOAD_STORE],
  ['pcistg', '', LOAD_STORE],
  ['pcistb', '', LOAD_STORE],
  [
    'rpcit',
    '',
    {
      ...NOWHERE,
      enabled: ['cc 0', 'cc 1 status 8'],
      'error-ls-open': ['cc 0', 'cc 1 status 8'],
      error: ['cc 1 status 40'],
      'permanent-error': CC3,
    },
  ],
  [
    'mpcifc \\d+',
    '',
    { ...NOWHERE, enabled: DONE, 'error-ls-open': DONE, error: DONE, 'permanent-error': CC3 },
  ],
  [
    'stpcifc',
    '',
    {
      ...NOWHERE,
      disabled: ['cc 0', 'cc 3'],
      enabled: STORED,
      'error-ls-open': STORED,
      error: STORED,
      'permanent-error': ['cc 1 status 8'],
    },
  ],
  [
    'clp',
    'command 3 ',
    {
      reserved: QUERIED,
      standby: QUERIED,
      disabled: QUERIED,
      enabled: QUERIED,
      'error-ls-open': QUERIED,
      error: QUERIED,
      'permanent-error': QUERIED,
      unknown: ['cc 0 response 0x101'],
    },
  ],
];

const SEQUENCE = 'cc 1 status 24';
const SPACE = 'cc 1 status 28';
const OPERAND = 'operand ilc 6';

/** Outcomes of MPCIFC by operation. */
const MODIFIED: Readonly<Record<string, readonly string[]>> = {
  '2': ['cc 0', SEQUENCE],
  '3': ['cc 0', SEQUENCE],
  '4': ['cc 0', SEQUENCE, SPACE, OPERAND],
  '5': ['cc 0', SEQUENCE, SPACE],
  '6': ['cc 0', SEQUENCE, SPACE, OPERAND],
  '10': ['cc 0', 'cc 1 status 0'],
  '(0|1|8|11|16|17|255)': [OPERAND],
  '\\d+': ['privileged operation ilc 6', 'specification ilc 6', 'addressing ilc 6'],
};

const RECOVERY: readonly RegExp[] = [
  cell('mpcifc 7', 'error', 'cc 0'),
  cell('mpcifc 7', 'error-ls-open', 'cc 0'),
  cell('mpcifc 7', 'enabled', SEQUENCE),
  cell('mpcifc 9', 'error', 'cc 0'),
  cell('mpcifc 9', 'error-ls-open', SEQUENCE),
  cell('mpcifc 9', 'enabled', SEQUENCE),
];

/** Response codes of CLP list, query group and set function, and of SCLP. */
const RESPONSES: readonly RegExp[] = [
  ...[0x10, 0x10a, 0x40, 0x60, 0x70].map((code) =>
    cell('clp', 'command 2', `cc 0 response 0x${code.toString(16)}`),
  ),
  cell('clp', 'command 2', 'cc 3 response 0x50'),
  cell('clp', 'command \\d.*', 'cc 0 response 0x50'),
  cell('clp', 'command 4', 'cc 0 response 0x10'),
  cell('clp', 'command 4', 'cc 0 response 0x10b'),
  cell('clp', 'command [016]', 'cc 0 response 0x20'),
  ...[0x10, 0x103, 0x104].map((code) =>
    cell('clp', 'command 5 oc 0 disabled', `cc 0 response 0x${code.toString(16)}`),
  ),
  cell('clp', 'command 5 oc 0 enabled', 'cc 0 response 0x102'),
  ...['enabled', 'error', 'error-ls-open', 'permanent-error'].map((state) =>
    cell('clp', `command 5 oc 1 ${state}`, 'cc 0 response 0x10'),
  ),
  cell('clp', 'command 5 oc 1 (disabled|standby|reserved)', 'cc 0 response 0x102'),
  cell('clp', 'command 5 oc \\d+ unknown', 'cc 0 response 0x101'),
  ...[0x20, 0x120, 0x5f0, 0x9f0].map((code) =>
    cell('sclp deconfigure', '', `response 0x${code.toString(16)}`),
  ),
  ...[0x20, 0x120, 0x9f0].map((code) => cell('sclp configure', '', `response 0x${code.toString(16)}`)),
];

const EXCEPTIONS: readonly RegExp[] = [
  ...['pcilg', 'pcistg', 'pcistb'].map((name) => cell(name, 'enabled', 'cc 1 status 20')),
  ...['pcilg', 'pcistg', 'pcistb'].map((name) => cell(name, 'enabled', 'operand ilc .')),
  ...['pcilg', 'pcistg', 'pcistb', 'rpcit'].map((name) => cell(name, '.*', 'specification ilc .')),
  ...['pcilg', 'pcistg', 'pcistb', 'rpcit', 'stpcifc', 'clp', 'sic'].map((name) =>
    cell(name, '.*', 'privileged operation ilc .'),
  ),
  ...['pcistb', 'stpcifc', 'clp'].map((name) => cell(name, '.*', 'addressing ilc .')),
  cell('stpcifc', '.*', SPACE),
  cell('sic', '', 'operand ilc 6'),
  cell('sic', '', 'cc 0'),
];

/** Events by code, interrupts, how DMA ends in which state of the function, and the TLPs that were looked at. */
const SIGNALS: readonly RegExp[] = [
  ...['0x1', '0x2', '0x4', '0x7', '0x8', '0x9', '0x2c'].map((code) => `event ${code} in enabled`),
  ...['0x1', '0x2', '0x4', '0x7'].map((code) => `event ${code} in error-ls-open`),
  'event 0x2a in ',
  'interrupt in enabled',
  ...['ok', 'blocked', 'unsupported-request'].map((end) => `device ${end} in enabled`),
  ...['ok', 'unsupported-request'].map((end) => `device ${end} in error-ls-open`),
  ...['disabled', 'standby', 'error', 'permanent-error'].map((state) => `device .*request in ${state}`),
  ...['MWr', 'MRd', 'CplD', 'Cpl', 'CfgRd0', 'CfgWr0'].map((type) => `TLP ${type}`),
].map((name) => new RegExp(`^${name}$`));

export const EXPECTED: readonly RegExp[] = [
  ...BY_STATE.flatMap(([instruction, prefix, answers]) =>
    Object.entries(answers).flatMap(([state, list]) =>
      list.map((answer) => cell(instruction, prefix + state, answer)),
    ),
  ),
  ...Object.entries(MODIFIED).flatMap(([operation, list]) =>
    list.map((answer) => cell(`mpcifc ${operation}`, '.*', answer)),
  ),
  ...RECOVERY,
  ...RESPONSES,
  ...EXCEPTIONS,
  ...SIGNALS,
];
