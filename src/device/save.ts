/** The saved state of a device instance: its form, and the refusal of one that does not fit the device. */
import { invalid, ZtlpError } from '../base/errors.js';
import { checkFields, type Fields } from './check.js';
import type { Device } from './define.js';
import type { SavedMemory } from './memory.js';
import type { SavedMsix } from './msix.js';
import type { SavedRegisters } from './register-bank.js';

/** Version of this form, not of what a model puts in it. */
const FORMAT = 'ztlp-device-1';

/** Plain data: what `structuredClone` takes, and JSON too when the model's own state is JSON. */
export interface SavedDevice {
  readonly format: typeof FORMAT;
  readonly name: string;
  readonly vendorId: number;
  readonly deviceId: number;
  readonly stateVersion: number;
  /** The model's own state, or what its `save` gave. */
  readonly state: unknown;
  /** By BAR number. */
  readonly registers: Readonly<Record<string, SavedRegisters>>;
  /** By BAR number: memory that the instance holds itself. */
  readonly memory: Readonly<Record<string, SavedMemory>>;
  readonly msix: SavedMsix | undefined;
  readonly stats: Readonly<Record<string, number>>;
}

const IDENTITY = ['name', 'vendorId', 'deviceId', 'stateVersion'] as const;
const KEYS = ['format', ...IDENTITY, 'state', 'registers', 'memory', 'msix', 'stats'] as const;

/** The fields of a save that say whose it is. */
export function saveHeader(device: Device): Pick<SavedDevice, 'format' | (typeof IDENTITY)[number]> {
  const { name, vendorId, deviceId, stateVersion } = device;
  return { format: FORMAT, name, vendorId, deviceId, stateVersion };
}

/** Throws unless `saved` is a save of `device`: this form, the same identity and the same version. */
export function checkHeader(device: Device, saved: unknown): SavedDevice {
  const fields = checkFields('save', saved, KEYS);
  if (fields.format !== FORMAT) throw invalid('save.format', fields.format, FORMAT, 'unsupported');
  for (const key of IDENTITY) {
    if (fields[key] === device[key]) continue;
    throw invalid(`save.${key}`, fields[key], `${device[key]}, as the device has it`, 'unsupported');
  }
  return fields as unknown as SavedDevice;
}

/** One part per BAR of `bars`, no more and no fewer. */
export function checkParts(field: string, saved: unknown, bars: Iterable<number>): Fields {
  const numbers = [...bars].map(String);
  const parts = checkFields(field, saved, numbers);
  for (const bar of numbers) {
    if (parts[bar] === undefined) throw invalid(`${field}[${bar}]`, undefined, 'the values of the BAR');
  }
  return parts;
}

/** Counters by name. */
export function checkStats(saved: unknown): [string, number][] {
  return Object.entries(checkFields('save.stats', saved, Object.keys(saved ?? {}))).map(([name, value]) => {
    if (typeof value !== 'number') throw invalid(`save.stats.${name}`, value, 'a number');
    return [name, value];
  });
}

/** A copy that shares nothing with `state`. Functions and the like cannot be copied. */
export function copyState(field: string, state: unknown): unknown {
  try {
    return structuredClone(state);
  } catch (cause) {
    throw new ZtlpError('unsupported', `${field}: cannot be copied`, {
      field,
      value: state,
      allowed: 'what structuredClone takes (no functions), or save and load callbacks',
      cause,
    });
  }
}
