/** The MIO forms of the PCI instructions: an I/O address instead of handle, space and offset. */
import * as L from '../../assembly/layout.js';
import { invalid } from '../base/errors.js';
import { checkU64, high32, low32, type U64 } from '../core/u64.js';
import { ANSWER_DONE, INSTRUCTION_BYTES, unpackAnswer, type ZpciAnswer } from '../zpci/answer.js';
import { machineHasMio, type PciFunction } from './function.js';
import { checkInput, checkLength, checkRegister, needS390 } from './operands.js';
import { type PciLoadAnswer, registerOf, type ZpciParts, type ZpciUnit } from './zpci.js';

/** Operands of the MIO form of PCI LOAD (sheet zpci.md 2.9). User space may issue the MIO forms too. */
export interface MioLoadInput {
  /** I/O address: one of `PciFunction.mio`, and an offset. */
  readonly address: U64;
  /** Bytes: a register, of which all counts. */
  readonly length: number;
  /** Number of the first register of the pair that holds address and length: an odd one is refused. Default 2. */
  readonly r2?: number;
}

export interface MioStoreInput extends MioLoadInput {
  /** The register: its rightmost `length` bytes go out, the most significant first. */
  readonly data: U64;
}

/** Operands of the MIO form of PCI STORE BLOCK. */
export interface MioBlockInput {
  readonly address: U64;
  readonly length: number;
  /** The bytes, at least `length` of them, or where they stand in guest memory. */
  readonly source: Uint8Array | U64;
  /** With bytes: the guest address that the strict rules look at. Default 0. */
  readonly sourceAddress?: U64;
}

type MioForm = 'pcilgi' | 'pcistgi' | 'pcistbi' | 'pciwb';

/** The answer on a machine without MIO. */
function notInstalled(form: MioForm): ZpciAnswer {
  return unpackAnswer(L.PE_OPERATION << L.ANSWER_INTERRUPTION_SHIFT, INSTRUCTION_BYTES[form]);
}

// What the instructions answer is not public; the order here is that of the forms with a handle (zpci.md 2.6, 2.7), with:
//   machine without MIO            operation exception
//   no BAR at the address          addressing exception
//   MIO not enabled by the guest   cc 3
//   function without MIO           cc 1 status 20, or what its model answers (ism.md 2)

export class MioUnit {
  constructor(
    private readonly parts: ZpciParts,
    private readonly unit: ZpciUnit,
  ) {}

  /** PCI LOAD, MIO form. */
  pcilgi(input: MioLoadInput): PciLoadAnswer {
    const missing = this.check('pcilgi', input);
    if (missing !== undefined) return { ...missing, data: undefined };
    const { address, length } = input;
    this.parts.models.checkIdle('cpu.pcilgi');
    this.parts.models.startInstruction(this.functionAt(address));
    const answer = unpackAnswer(this.execute(true, input), INSTRUCTION_BYTES.pcilgi);
    if (answer.cc !== 0) return { ...answer, data: undefined };
    return { ...answer, data: registerOf(this.unit.bytes.subarray(0, this.lengthOf(address, length))) };
  }

  /** PCI STORE, MIO form. */
  pcistgi(input: MioStoreInput): ZpciAnswer {
    const missing = this.check('pcistgi', input);
    const data = checkU64('data', input.data);
    if (missing !== undefined) return missing;
    this.parts.models.checkIdle('cpu.pcistgi');
    const { address, length } = input;
    this.parts.models.startInstruction(this.functionAt(address));
    this.unit.stageRegister(data, Math.min(this.lengthOf(address, length), 8), address);
    return unpackAnswer(this.execute(false, input), INSTRUCTION_BYTES.pcistgi);
  }

  /** PCI STORE BLOCK, MIO form: all that `cpu.pcistb` checks behind handle and space. */
  pcistbi(input: MioBlockInput): ZpciAnswer {
    const missing = this.check('pcistbi', input);
    if (missing !== undefined) return missing;
    const { core, models, trace } = this.parts;
    models.checkIdle('cpu.pcistbi');
    const { address, length, source } = input;
    models.startInstruction(this.functionAt(address));
    this.prepare(address);
    const isAddress = typeof source === 'number' || typeof source === 'bigint';
    const at = checkU64(
      isAddress ? 'source' : 'sourceAddress',
      isAddress ? source : (input.sourceAddress ?? 0),
    );
    if (!isAddress) {
      if (!(source instanceof Uint8Array)) throw invalid('source', source, 'a Uint8Array or a guest address');
      if (source.length < length) throw invalid('source', source, `at least ${length} bytes`, 'out-of-range');
      // What is longer is refused, whatever stands there.
      core.u8.set(source.subarray(0, Math.min(length, L.PAGE_BYTES)), core.stagedAt(low32(address)));
    }
    const flags = L.OPERAND_ADDRESS | (isAddress ? L.STORE_FROM_MEMORY : 0);
    const begun = core.x.pcistb(0, flags, length, low32(address), high32(address), low32(at), high32(at));
    const packed = (begun & L.ANSWER_HOST) === 0 ? begun : models.finishInstruction();
    trace.drain();
    models.settle();
    this.parts.forgetPort();
    return unpackAnswer(packed >>> 0, INSTRUCTION_BYTES.pcistbi);
  }

  /**
   * PCI WRITE BARRIER: what was stored to write-back addresses is at the function. Here stores leave at once, to either
   * kind of address, so that it has nothing to wait for.
   */
  pciwb(): ZpciAnswer {
    needS390('PCIWB', this.parts.platform);
    this.parts.models.checkIdle('cpu.pciwb');
    return machineHasMio(this.parts.functions) ? ANSWER_DONE : notInstalled('pciwb');
  }

  private check(form: MioForm, input: MioLoadInput | MioBlockInput): ZpciAnswer | undefined {
    checkInput(form.toUpperCase(), input, this.parts.platform);
    checkU64('address', input.address);
    checkLength(input.length);
    if ('r2' in input) checkRegister('r2', input.r2);
    return machineHasMio(this.parts.functions) ? undefined : notInstalled(form);
  }

  private prepare(address: U64): void {
    const fn = this.functionAt(address);
    if (fn !== undefined) this.parts.preparePort(fn);
  }

  private functionAt(address: U64): PciFunction | undefined {
    return this.parts.functions[this.parts.core.x.mioSlot(high32(address))];
  }

  private lengthOf(address: U64, length: number): number {
    return this.functionAt(address)?.options.qemuQuirks === true ? length & -length : length;
  }

  private execute(isRead: boolean, { address, length, r2 = 2 }: MioLoadInput): number {
    this.prepare(address);
    const flags = L.OPERAND_ADDRESS | ((r2 & 1) === 1 ? L.OPERAND_ODD : 0);
    return this.unit.run(isRead, 0, flags, length, address);
  }
}
