/** What CLP sees of a machine: its functions, their groups, and set PCI function. */
import * as L from '../../assembly/layout.js';
import type { Options } from '../base/options.js';
import {
  type ClpFunction,
  type ClpGroup,
  type ClpSetAnswer,
  type ClpView,
  setFunctionResponse,
} from '../zpci/clp.js';
import { groupKey } from '../zpci/mode.js';
import { type Transition, transition } from '../zpci/states.js';
import { MSI_ADDRESS, machineHasMio, type PciFunction } from './function.js';

/** DMA addresses of a function of QEMU's default group, the group's number and intervals (zpci.md 4.4, 4.5). */
export const SDMA = 0x1_0000_0000n;
export const EDMA = 0x01ff_ffff_ffff_ffffn;
const DEFAULT_GROUP = 0xff;
/** Groups of functions whose options differ from the machine's. */
const FIRST_GROUP = 0xf0;
const NOI = 128;
/** Milliseconds between updates of a measurement block. */
export const MUI_MS = 4000;

export interface ZpciViewParts {
  readonly functions: readonly PciFunction[];
  readonly options: Options;
  /** Takes a step of the state table. */
  step(fn: PciFunction, step: Transition): void;
}

export class ZpciView implements ClpView {
  private readonly groups = new Map<string, number>();

  constructor(private readonly parts: ZpciViewParts) {}

  get clpBarWords(): Options['clpBarWords'] {
    return this.parts.options.clpBarWords;
  }

  get writeBackBit(): number | undefined {
    return machineHasMio(this.parts.functions) ? L.MIO_WRITE_BACK_BIT : undefined;
  }

  functions(): readonly ClpFunction[] {
    return this.parts.functions.map((fn) => this.describe(fn));
  }

  group(id: number): ClpGroup | undefined {
    const all = [this.parts.options, ...this.parts.functions.map(({ options }) => options)];
    const options = all.find((candidate) => this.groupOf(candidate) === id);
    if (options === undefined) return undefined;
    const { relaxed, maxstbl, dtsm, rtr } = options;
    return { noi: NOI, refresh: true, relaxed, rtr, maxstbl, mui: MUI_MS, dtsm, msia: MSI_ADDRESS };
  }

  setFunction(index: number, oc: number, ndas: number): ClpSetAnswer {
    const fn = this.parts.functions.find((candidate) => candidate.handleIndex === index) as PciFunction;
    const { response, step } = setFunctionResponse(this.describe(fn), oc, ndas);
    if (step === 'enable-mio' || step === 'disable-mio') fn.mioEnabled = step === 'enable-mio';
    else if (step !== undefined) {
      const taken = transition(fn.state, step);
      if ('state' in taken) this.parts.step(fn, taken);
    }
    return { response, handle: fn.handle };
  }

  private describe(fn: PciFunction): ClpFunction {
    const identity = fn.config.read(0, 4);
    const { physicalFunction, ...firmware } = fn.identity;
    const { mio } = fn;
    return {
      ...firmware,
      ...(physicalFunction === undefined ? {} : { isPhysicalFunction: physicalFunction }),
      index: fn.handleIndex,
      handle: fn.handle,
      vendorId: identity & 0xffff,
      deviceId: identity >>> 16,
      state: fn.state,
      groupId: this.groupOf(fn.options),
      sdma: SDMA,
      edma: EDMA,
      bars: fn.bars.map((bar, n) => ({
        sizeExponent: bar?.space === 'memory' ? Math.log2(bar.size) : 0,
        word: fn.config.read(0x10 + 4 * n, 4),
      })),
      ...(mio === undefined ? {} : { mio }),
    };
  }

  /** Functions whose group options are the machine's are in the default group, each other set has one of its own. */
  private groupOf(options: Options): number {
    const key = groupKey(options);
    if (key === groupKey(this.parts.options)) return DEFAULT_GROUP;
    const known = this.groups.get(key) ?? FIRST_GROUP + this.groups.size;
    this.groups.set(key, known);
    return known;
  }
}
