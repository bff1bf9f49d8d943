/** What a model says to instructions: PCI instructions that it accepts or refuses, ENQCMD that it puts off, whole writes. */
import { beforeAll, describe, expect, it } from 'vitest';
import { defineDevice, type PciInstruction } from '../../src/device/index.js';
import { createMachine, type InstructionAnswer, type Machine, type PciFunction } from '../../src/index.js';
import { BUILDS, readBuild } from '../support/builds.js';
import { ismLike } from '../support/models.js';

const DATA = Uint8Array.from({ length: 4096 }, (_, n) => n * 13 + (n >> 8) + 1);

describe.each(BUILDS)('instructions at a model on the %s core', (build) => {
  let core: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    core = (await readBuild(build)) as Uint8Array<ArrayBuffer>;
  });

  const ZPCI = { maxstbl: 4096, relaxed: true } as const;

  async function zpci(
    device: ReturnType<typeof defineDevice>,
    options: object = { zpciMode: 'native', ...ZPCI },
  ): Promise<[Machine, PciFunction]> {
    const made = await createMachine({ core, platform: 's390x', slots: [{ device, options }] });
    return [made, made.functions[0] as PciFunction];
  }

  /** Memory behind a model that answers as told, and notes what it was asked. */
  function asking(answer: (instruction: PciInstruction) => InstructionAnswer, memory = true) {
    const asked: PciInstruction[] = [];
    const written: number[] = [];
    const device = defineDevice({
      name: 'asking',
      vendorId: 0x1af4,
      deviceId: 0x10f5,
      bars: memory
        ? [{ size: 0x4000, bits: 64, memory: true }]
        : [{ size: 0x4000, bits: 64, callback: true }],
      ...(memory ? {} : { write: (at: { offset: number }) => void written.push(at.offset) }),
      acceptInstruction(instruction) {
        asked.push(instruction);
        return answer(instruction);
      },
    });
    return { device: device as ReturnType<typeof defineDevice>, asked, written };
  }

  it('asks after handle, state and space, and before length and alignment', async () => {
    const { device, asked } = asking(() => true);
    const [made, fn] = await zpci(device, { zpciMode: 'native', relaxed: false });
    const store = (input: object): unknown =>
      made.cpu.pcistb({
        fh: fn.handle,
        as: 0,
        offset: 0,
        length: 16,
        source: DATA.subarray(0, 16),
        ...input,
      });
    expect(store({ fh: 5 })).toMatchObject({ cc: 3 });
    expect(store({ as: 7 })).toMatchObject({ cc: 1 });
    fn.state = 'error';
    expect(store({})).toMatchObject({ cc: 1 });
    fn.state = 'enabled';
    expect(asked).toEqual([]);
    expect(store({ offset: 3 })).toMatchObject({ programInterruption: { name: 'specification' } });
    expect(store({ offset: 2n ** 40n + 8n })).toMatchObject({ programInterruption: { name: 'operand' } });
    expect(asked).toEqual([
      { op: 'pcistb', as: 0, offset: 3, length: 16 },
      { op: 'pcistb', as: 0, offset: 2 ** 40 + 8, length: 16 },
    ]);
    for (const source of [DATA.subarray(0, 16), 0x100]) {
      asked.length = 0;
      made.memory.write(0x100, DATA.subarray(0, 16));
      expect(store({ offset: 0x20, source })).toMatchObject({ cc: 0 });
      expect(asked.length).toBe(1);
      expect(fn.barMemory(0).subarray(0x20, 0x30)).toEqual(DATA.subarray(0, 16));
      fn.barMemory(0).fill(0);
    }
    expect(made.stats(fn)).toMatchObject({ storeBlocks: 2 });
  });

  it.each<[InstructionAnswer, object]>([
    [
      { cc: 1, status: 40 },
      { cc: 1, status: 40, programInterruption: null },
    ],
    [
      { cc: 2, status: 0 },
      { cc: 2, status: 0 },
    ],
    [
      { cc: 3, status: 0 },
      { cc: 3, status: 0 },
    ],
    [{ programInterruption: 'operand' }, { cc: null, programInterruption: { name: 'operand' } }],
    [{ programInterruption: 'addressing' }, { programInterruption: { name: 'addressing' } }],
    [{ programInterruption: 'specification' }, { programInterruption: { name: 'specification' } }],
    [
      { programInterruption: 'privileged operation' },
      { programInterruption: { name: 'privileged operation' } },
    ],
    [false as unknown as InstructionAnswer, { programInterruption: { name: 'operand' } }],
    [{ cc: 0, status: 0 } as unknown as InstructionAnswer, { programInterruption: { name: 'operand' } }],
  ])('answers %o as the instruction does, and nothing moves', async (answer, expected) => {
    for (const zpciMode of ['native', 'emulated', 'interpreted']) {
      const { device } = asking(() => answer);
      const [made, fn] = await zpci(device, { zpciMode, ...ZPCI });
      const input = { fh: fn.handle, as: 0, offset: 0, length: 64, source: DATA.subarray(0, 64) };
      for (let n = 0; n < 2; n++) expect(made.cpu.pcistb(input)).toMatchObject(expected);
      expect(fn.barMemory(0).every((byte) => byte === 0)).toBe(true);
      expect(made.stats(fn)).toMatchObject({ storeBlocks: 0, tlps: 0, deviceCalls: 0 });
    }
  });

  it('asks for each instruction of a path, and stops at the first that is refused', async () => {
    const { device, asked } = asking(({ offset }) => Number(offset) < 0x20 || { cc: 1, status: 40 });
    const [made, fn] = await zpci(device);
    const input = { function: fn, bar: 0, offset: 0, path: 'zpci-pcistg8' } as const;
    const written = made.cpu.write({ ...input, data: DATA.subarray(0, 64) });
    expect(written.fault).toMatchObject({ offset: 0x20 });
    expect(written.totals.tlps).toBe(4);
    expect(asked.map(({ op, offset, length }) => [op, offset, length])).toEqual(
      [0, 8, 16, 24, 32].map((offset) => ['pcistg', offset, 8]),
    );
    expect(made.stats(fn).stores).toBe(4);
    asked.length = 0;
    const back = made.cpu.read({ ...input, length: 32 });
    expect(back.fault).toBeUndefined();
    expect(back.data).toEqual(DATA.subarray(0, 32));
    expect(asked.map(({ op }) => op)).toEqual(Array(4).fill('pcilg'));
    asked.length = 0;
    made.cpu.write({ ...input, path: 'zpci-pcistb', data: DATA.subarray(0, 32) });
    expect(asked).toEqual([{ op: 'pcistb', as: 0, offset: 0, length: 32 }]);
  });

  it('asks in the order of the writes, also where a block makes many records', async () => {
    const order: string[] = [];
    const device = defineDevice({
      name: 'order',
      vendorId: 1,
      deviceId: 2,
      bars: [{ size: 0x4000, callback: true }],
      write: ({ offset }, bytes) => void order.push(`write ${offset} ${bytes.length}`),
      acceptInstruction: ({ op, offset }) => {
        order.push(`${op} ${offset}`);
        return true;
      },
    }) as ReturnType<typeof defineDevice>;
    for (const traced of [false, true]) {
      const [made, fn] = await zpci(device);
      order.length = 0;
      if (traced) made.trace.start();
      const answer = made.cpu.write({ path: 'zpci-pcistg4', function: fn, bar: 0, offset: 0, data: DATA });
      expect(answer.fault).toBeUndefined();
      const expected = Array.from({ length: 1024 }, (_, n) => [`pcistg ${4 * n}`, `write ${4 * n} 4`]);
      expect(order).toEqual(expected.flat());
    }
  });

  it('asks a vfio function for what the host executes; the guest is not told of a refusal', async () => {
    const { device, asked } = asking(({ offset }) => offset !== 0x18 || { programInterruption: 'operand' });
    const [made, fn] = await zpci(device, { zpciMode: 'vfio', vfioGeneration: 3, ...ZPCI });
    const source = DATA.subarray(0, 64);
    const answer = made.cpu.pcistb({ fh: fn.handle, as: 0, offset: 0, length: 64, source });
    expect(answer).toMatchObject({ cc: 0 });
    expect(asked.map(({ op, offset, length }) => [op, offset, length])).toEqual(
      [0, 8, 16, 24, 32, 40, 48, 56].map((offset) => ['pcistgi', offset, 8]),
    );
    const expected = source.slice();
    expected.fill(0, 0x18, 0x20);
    expect(fn.barMemory(0).subarray(0, 64)).toEqual(expected);
    const { device: served, written } = asking(({ offset }) => offset !== 8 || { cc: 1, status: 1 }, false);
    const [other, callback] = await zpci(served, { zpciMode: 'vfio', vfioGeneration: 1, ...ZPCI });
    other.cpu.pcistb({ fh: callback.handle, as: 0, offset: 0, length: 24, source: DATA.subarray(0, 24) });
    expect(written).toEqual([0, 4, 12, 16, 20]);
  });

  it('is as new after a reset in the middle of asking', async () => {
    const { device } = asking(() => ({ cc: 2, status: 0 }));
    const [made, fn] = await zpci(device);
    const input = { fh: fn.handle, as: 0, offset: 0, length: 64, source: DATA.subarray(0, 64) };
    expect(made.cpu.pcistb(input)).toMatchObject({ cc: 2 });
    made.reset();
    expect(made.cpu.pcistb(input)).toMatchObject({ cc: 2 });
  });

  it('ISM-INS-01, ISM-INS-02: a function of PCISTB and PCILG refuses PCISTG with an operand exception', async () => {
    const [made, fn] = await zpci(ismLike());
    const written = made.cpu.write({
      path: 'zpci-pcistg8',
      function: fn,
      bar: 0,
      offset: 0,
      data: DATA.subarray(0, 8),
    });
    expect(written.fault).toMatchObject({ offset: 0 });
    expect(fn.barMemory(0)[0]).toBe(0);
    expect(fn.instance?.stats.policyViolations).toBe(1);
    const read = made.cpu.read({ path: 'zpci-pcistg8', function: fn, bar: 0, offset: 0, length: 8 });
    expect(read.fault).toBeUndefined();
  });

  describe('ENQCMD', () => {
    /** Takes a command only when it was asked often enough. */
    function queue(full: number) {
      const taken: number[] = [];
      let left = full;
      const device = defineDevice({
        name: 'queue',
        vendorId: 1,
        deviceId: 2,
        bars: [{ size: 4096, bits: 64, callback: true }],
        write(at, bytes) {
          if (at.deferrable && left-- > 0) return 'retry';
          taken.push(bytes.length);
        },
      });
      return { device: device as ReturnType<typeof defineDevice>, taken };
    }

    it.each([0, 1, 5])('AP-09: %i retries make as many completions with retry status', async (retries) => {
      const { device, taken } = queue(retries);
      const made = await createMachine({ core, slots: [{ device }] });
      const fn = made.functions[0] as PciFunction;
      made.trace.start();
      const input = {
        path: 'x86-enqcmd',
        function: fn,
        bar: 0,
        offset: 0,
        data: DATA.subarray(0, 64),
      } as const;
      let tries = 0;
      let completion: string;
      do {
        completion = made.cpu.write(input).completion;
        tries++;
      } while (completion === 'request-retry' && tries < 100);
      expect([tries, completion, taken]).toEqual([retries + 1, 'successful', [64]]);
      const types = made.trace.take().map(({ tlp }) => (tlp.flow === 'CPL' ? tlp.status : tlp.type));
      const once = ['DMWr', 2]; // Request Retry Status
      expect(types).toEqual([...Array(retries).fill(once).flat(), 'DMWr', 0]);
    });

    it('to nobody is an Unsupported Request, to memory it is done', async () => {
      const memory = defineDevice({
        name: 'm',
        vendorId: 1,
        deviceId: 2,
        bars: [{ size: 4096, memory: true }],
      });
      const made = await createMachine({ core, slots: [{ device: memory }] });
      const fn = made.functions[0] as PciFunction;
      const input = {
        path: 'x86-enqcmd',
        function: fn,
        bar: 0,
        offset: 0,
        data: DATA.subarray(0, 64),
      } as const;
      expect(made.cpu.write(input).completion).toBe('successful');
      made.config.write(fn.id, 4, 0, 2);
      expect(made.cpu.write(input).completion).toBe('unsupported-request');
      expect(made.cpu.read({ ...input, path: 'x86-uc', length: 4 }).completion).toBe('unsupported-request');
    });

    it('is no way to put off a posted write: that is a mistake of the model', async () => {
      const device = defineDevice({
        name: 'late',
        vendorId: 1,
        deviceId: 2,
        bars: [{ size: 4096, callback: true }],
        write: () => 'retry',
      });
      const made = await createMachine({
        core,
        slots: [{ device: device as ReturnType<typeof defineDevice> }],
      });
      const fn = made.functions[0] as PciFunction;
      made.cpu.write({ path: 'x86-uc', function: fn, bar: 0, offset: 0, data: DATA.subarray(0, 4) });
      expect(fn.instance?.errors.map(({ callback, message }) => [callback, message])).toEqual([
        ['write', 'the answer: "retry" is not valid; allowed: nothing: the write is posted'],
      ]);
    });
  });

  it('AP-14: a register of whole doublewords works mapped, and not through 4-byte vfio accesses, which is named', async () => {
    const rung: bigint[] = [];
    const doorbell = defineDevice({
      name: 'doorbell',
      vendorId: 1,
      deviceId: 2,
      bars: [
        {
          size: 4096,
          registers: {
            BELL: {
              offset: 0x18,
              width: 8,
              access: 'wo',
              wholeWrites: true,
              write: (value) => void rung.push(value),
            },
          },
        },
      ],
    }) as ReturnType<typeof defineDevice>;
    const made = await createMachine({ core, slots: [{ device: doorbell }] });
    const fn = made.functions[0] as PciFunction;
    const data = DATA.subarray(0, 8);
    const value = new DataView(data.slice().buffer).getBigUint64(0, true);
    const ring = (
      path: 'x86-uc' | 'kvm-qemu-vfio-w4' | 'kvm-qemu-vfio-w8',
      at = 0x18,
      bytes = data,
    ): void => {
      made.cpu.write({ path, function: fn, bar: 0, offset: at, data: bytes, block: false });
    };
    ring('x86-uc'); // vfioMmap true: the guest's own store
    expect([rung, made.takeLog()]).toEqual([[value], []]);
    ring('kvm-qemu-vfio-w4');
    expect(rung.length).toBe(1);
    expect(made.takeLog()).toEqual([
      'doorbell: bar 0: a write of 4 bytes at 0x18 is dropped: BELL takes 8 bytes at once',
    ]);
    expect(fn.instance?.counts.droppedWrites).toBe(2);
    ring('kvm-qemu-vfio-w8');
    expect(rung.length).toBe(2);
    // A longer write that covers the register is whole too.
    ring('x86-uc', 0x10, DATA.subarray(0, 16));
    expect([rung.length, fn.instance?.counts.droppedWrites]).toEqual([3, 2]);
  });
});
