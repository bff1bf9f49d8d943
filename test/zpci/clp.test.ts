/** CLP: the checks of section 4.1 and the commands of 4.3 to 4.6 of sheet zpci.md, byte for byte. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ClpFunction, type ClpView, runClp, setFunctionResponse } from '../../src/zpci/clp.js';
import { findByHandle, findByIndex, isEnabledHandle, withEnableBit } from '../../src/zpci/handle.js';
import type { FunctionState } from '../../src/zpci/states.js';
import { FUNCTION, GROUP, Guest, requestOf, responseOf, setRequest } from './guest-support.js';

const LIST = requestOf(2);
const OPERAND = { programInterruption: 'operand' };
const ADDRESSING = { programInterruption: 'addressing' };

const STATES: readonly FunctionState[] = [
  'reserved',
  'standby',
  'disabled',
  'enabled',
  'error-ls-open',
  'error',
  'permanent-error',
];

/** A function at `index` in `state`, its handle as the state has it. */
function functionAt(
  index: number,
  state: FunctionState = 'enabled',
  more: Partial<ClpFunction> = {},
): ClpFunction {
  const enabled = state === 'enabled' || state.includes('error');
  const handle = (enabled ? 0x8002_0000 : 0x0002_0000) + index;
  return { ...FUNCTION, index, state, handle, fid: 0x10 + index, uid: 1 + index, ...more };
}

/** A block with the two lengths given, whatever they are. */
function blockOf(requestLength: number, responseLength: number, request = LIST): Uint8Array {
  const block = new Uint8Array(8192);
  block.set(request);
  const view = new DataView(block.buffer);
  view.setUint16(0, requestLength);
  if (requestLength + 2 <= block.length) view.setUint16(requestLength, responseLength);
  return block;
}

const hexOf = (data: DataView, from: number, to: number): string =>
  Buffer.from(data.buffer, data.byteOffset + from, to - from).toString('hex');

describe('handles', () => {
  const functions = [{ index: 1, handle: 0x8002_0001 }];

  it('Z-FH-01: a handle whose instance or marker bits differ names no function; its index alone does', () => {
    expect(findByHandle(functions, 0x8002_0001)).toBe(functions[0]);
    for (const fh of [0x8102_0001, 0x8001_0001, 0x0002_0001, 0x8002_0000, 1, 0]) {
      expect(findByHandle(functions, fh)).toBeUndefined();
    }
    expect(findByIndex(functions, 0x1234_0001)).toBe(functions[0]);
    expect(findByIndex(functions, 0x8002_0000)).toBeUndefined();
  });

  it('carry the enable bit in bit 31', () => {
    expect(isEnabledHandle(0x8000_0000)).toBe(true);
    expect(isEnabledHandle(0x7fff_ffff)).toBe(false);
    expect(withEnableBit(0x7f02_0001, true)).toBe(0xff02_0001);
    expect(withEnableBit(0xff02_0001, true)).toBe(0xff02_0001);
    expect(withEnableBit(0xff02_0001, false)).toBe(0x7f02_0001);
  });
});

describe('the lengths of a block', () => {
  const guest = new Guest();

  it('Z-CLP-01: a request of 12 or 8192 bytes is an operand exception, one of 40 a bad length', () => {
    for (const length of [0, 8, 12, 17, 8185, 8192]) {
      expect(runClp(blockOf(length, 96), guest)).toEqual(OPERAND);
    }
    for (const length of [16, 24, 40, 8096]) {
      expect(responseOf(runClp(blockOf(length, 96), guest))).toMatchObject({ cc: 0, code: 0x0050 });
    }
  });

  it('Z-CLP-02: a response of 4 bytes or a sum above 8192 is an operand exception', () => {
    for (const length of [0, 4, 12, 8168, 8176, 8184]) {
      expect(runClp(blockOf(32, length), guest)).toEqual(OPERAND);
    }
    expect(responseOf(runClp(blockOf(32, 8160), guest)).code).toBe(0x0010);
    expect(responseOf(runClp(blockOf(32, 8), guest)).code).toBe(0x0060);
  });

  it('are an addressing exception where memory ends, in the order in which they are read', () => {
    expect(runClp(new Uint8Array(3), guest)).toEqual(ADDRESSING);
    expect(runClp(blockOf(12, 96).subarray(0, 4), guest)).toEqual(OPERAND);
    expect(runClp(blockOf(32, 96).subarray(0, 35), guest)).toEqual(ADDRESSING);
    expect(runClp(blockOf(32, 12).subarray(0, 35), guest)).toEqual(ADDRESSING);
    expect(runClp(blockOf(32, 12).subarray(0, 36), guest)).toEqual(OPERAND);
    expect(runClp(blockOf(32, 96).subarray(0, 127), guest)).toEqual(ADDRESSING);
    expect(responseOf(runClp(blockOf(32, 96).subarray(0, 128), guest)).code).toBe(0x0010);
  });

  it('come after the problem state', () => {
    expect(runClp(new Uint8Array(0), guest, true)).toEqual({ programInterruption: 'privileged operation' });
  });

  it('Z-CLP-03: commands 6, 0 and 1 are unknown', () => {
    for (const command of [0, 1, 6, 0xffff]) {
      expect(responseOf(guest.clp(requestOf(command), 64))).toMatchObject({ cc: 0, code: 0x0020 });
    }
  });
});

describe('list PCI', () => {
  const three = [functionAt(0), functionAt(1), functionAt(2)];

  it('Z-CLP-04: wants room for whole entries, and for one at least', () => {
    const guest = new Guest();
    expect(responseOf(guest.clp(LIST, 32 + 16 * 3 - 8))).toMatchObject({ cc: 3, code: 0x0050 });
    expect(responseOf(guest.clp(LIST, 40))).toMatchObject({ cc: 0, code: 0x0060 });
    expect(responseOf(guest.clp(LIST, 48))).toMatchObject({ cc: 0, code: 0x0010 });
  });

  it('Z-CLP-05: three functions with room for two take two calls', () => {
    const guest = new Guest(three);
    const first = responseOf(guest.clp(LIST, 64));
    expect([first.code, first.data.getUint16(0), first.data.getBigUint64(16)]).toEqual([0x0010, 64, 2n]);
    const second = responseOf(guest.clp(requestOf(2, { 20: [2, 4] }), 64));
    expect([second.code, second.data.getUint16(0), second.data.getBigUint64(16)]).toEqual([0x0010, 48, 0n]);
    expect(second.data.getUint32(40)).toBe(0x12);
  });

  it('Z-CLP-06: an unknown token, a format bit or a reserved bit is refused, format first', () => {
    const guest = new Guest();
    const code = (fields: Parameters<typeof requestOf>[1], length = 96): number =>
      responseOf(guest.clp(requestOf(2, fields), length)).code;
    expect(code({ 20: [77, 4] })).toBe(0x010a);
    expect(code({ 16: [1, 4] })).toBe(0x010a);
    expect(code({ 4: [0x1000_0000, 4] })).toBe(0x0040);
    expect(code({ 4: [0x8000_0001, 4] })).toBe(0x0040);
    expect(code({ 4: [1, 4] })).toBe(0x0070);
    expect(code({ 8: [1, 1] })).toBe(0x0070);
    expect(code({ 12: [1, 4], 20: [77, 4] })).toBe(0x0070);
    expect(code({ 20: [77, 4] }, 40)).toBe(0x010a);
  });

  it('Z-CLP-07: a standby function lacks the configured bit, a reserved one is absent', () => {
    const guest = new Guest(STATES.map((state, index) => functionAt(index, state)));
    const { data } = responseOf(guest.clp(LIST, 32 + 16 * 8));
    expect(data.getUint16(0)).toBe(32 + 16 * 6);
    const entries = Array.from({ length: 6 }, (_, n) => [
      data.getUint32(32 + 16 * n + 12) & 0xffff,
      data.getUint32(32 + 16 * n + 4),
    ]);
    expect(entries).toEqual([1, 2, 3, 4, 5, 6].map((index) => [index, index === 1 ? 0 : 0x8000_0000]));
  });

  it('lists nothing on a machine without functions', () => {
    const { data, code } = responseOf(new Guest([]).clp(LIST, 96));
    expect([code, data.getUint16(0), data.getBigUint64(16)]).toEqual([0x0010, 32, 0n]);
  });

  it('Z-CLP-12: lays out header and entries byte for byte', () => {
    const guest = new Guest(three);
    const { data } = responseOf(guest.clp(LIST, 48));
    expect(hexOf(data, 0, 48)).toBe(
      '0030001000000000' +
        '0000000000000000' +
        '0000000000000001' +
        '00ff000010000110' + // header
        '10411af480000000' +
        '0000001080020000',
    );
    const view: ClpView = { ...FROZEN, uidChecking: false, functions: () => three };
    expect(responseOf(runClp(blockOf(32, 48), view)).data.getUint8(30)).toBe(0);
  });

  it('shows each function once for any order, states and room', () => {
    const indexes = fc.uniqueArray(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 });
    fc.assert(
      fc.property(
        indexes,
        fc.infiniteStream(fc.constantFrom(...STATES)),
        fc.integer({ min: 1, max: 12 }),
        (all, states, room) => {
          const functions = all.map((index) => functionAt(index, states.next().value));
          const guest = new Guest(functions);
          const seen: number[] = [];
          let token = 0;
          do {
            const { data, code } = responseOf(guest.clp(requestOf(2, { 20: [token, 4] }), 32 + 16 * room));
            expect(code).toBe(0x0010);
            const entries = (data.getUint16(0) - 32) / 16;
            expect(entries).toBeLessThanOrEqual(room);
            for (let n = 0; n < entries; n++) seen.push(data.getUint32(32 + 16 * n + 8));
            token = Number(data.getBigUint64(16));
          } while (token !== 0);
          const listed = functions.filter(({ state }) => state !== 'reserved').map(({ fid }) => fid);
          expect(seen).toEqual(listed.sort((one, other) => one - other));
        },
      ),
    );
  });
});

/** A view whose functions a test gives. */
const FROZEN: ClpView = {
  clpBarWords: 'little',
  functions: () => [FUNCTION],
  group: (id) => (id === 0xff ? GROUP : undefined),
  setFunction: () => ({ response: 0x0108, handle: 0xffff_ffff }),
};

describe('query PCI function', () => {
  const QUERY = requestOf(3, { 16: [FUNCTION.handle, 4] });
  const full: ClpFunction = {
    ...FUNCTION,
    bars: [
      { sizeExponent: 16, word: 0xc },
      { sizeExponent: 0, word: 0x12 },
      undefined,
      { sizeExponent: 14, word: 0xfe00_0008 },
    ],
    fid: 0xf1f2_f3f4,
    uid: 0x0102_0304,
    vfn: 0x0506,
    isPhysicalFunction: true,
    pchid: 0x0708,
    path: Uint8Array.of(0xa1, 0xa2, 0xa3, 0xa4),
    port: 0x1b,
    type: 5,
    fmbBytes: 128,
    rid: 0x1108,
    tid: 0x2209,
    utilityString: Uint8Array.of(0xc1, 0xc2),
    mio: [
      { writeBack: 0x10, writeThrough: 0x20n },
      undefined,
      undefined,
      undefined,
      undefined,
      { writeBack: 0x30, writeThrough: 0x40 },
    ],
  };
  const FIRST_192 = [
    '0180001000000000' + '0000000000000000',
    '05063bff' + 'f1f2f3f4' + '1000000e0000' + '0708',
    '0c000000' + '12000000' + '00000000' + '080000fe' + '00000000' + '00000000',
    'a1a2a3a4' + '000b' + '20' + '05',
    '0000000100000000' + '01ffffffffffffff',
    `1108000000002209${'00'.repeat(36)}01020304`,
    `c1c2${'00'.repeat(62)}`,
  ].join('');
  const MIO = `84000000${'00'.repeat(4)}${'0'.repeat(14)}10${'0'.repeat(14)}20${'00'.repeat(64)}${'0'.repeat(14)}30${'0'.repeat(14)}40${'00'.repeat(24)}`;

  it('Z-CLP-12: lays out all fields byte for byte', () => {
    const { code, data } = responseOf(new Guest([full]).clp(QUERY, 384));
    expect(code).toBe(0x0010);
    expect(hexOf(data, 0, 192)).toBe(FIRST_192);
    expect(hexOf(data, 192, 256)).toBe('00'.repeat(64));
    expect(hexOf(data, 256, 384)).toBe(MIO);
  });

  it('Z-CLP-08: gives size exponents, 0 for a BAR that is absent', () => {
    const { data } = responseOf(new Guest([full]).clp(QUERY, 384));
    expect(hexOf(data, 24, 30)).toBe('1000000e0000');
    const without = responseOf(new Guest([{ ...FUNCTION, bars: [] }]).clp(QUERY, 384));
    expect(hexOf(without.data, 24, 30)).toBe('000000000000');
  });

  it('stores BAR words in the order of clpBarWords', () => {
    const guest = new Guest([full]);
    guest.clpBarWords = 'big';
    const { data } = responseOf(guest.clp(QUERY, 384));
    expect(hexOf(data, 32, 48)).toBe('0000000c' + '00000012' + '00000000' + 'fe000008');
  });

  it('writes the first 192 bytes only for a function without MIO addresses, over what was there', () => {
    const { mio: _, ...plain } = full;
    const block = blockOf(32, 384, QUERY).fill(0xee, 48, 32 + 400);
    const result = runClp(block, { ...FROZEN, functions: () => [plain] });
    const { data } = responseOf(result);
    expect(hexOf(data, 16, 192)).toBe(FIRST_192.slice(32).replace('05063bff', '050639ff'));
    expect(hexOf(data, 192, 384)).toBe('ee'.repeat(192));
    expect('block' in result && result.block.length).toBe(32 + 384);
  });

  it('writes all 384 bytes for a function with MIO addresses, over what was there', () => {
    const block = blockOf(32, 384, QUERY).fill(0xee, 48, 32 + 384);
    const { data } = responseOf(runClp(block, { ...FROZEN, functions: () => [full] }));
    expect(hexOf(data, 16, 192)).toBe(FIRST_192.slice(32));
    expect(hexOf(data, 192, 256)).toBe('00'.repeat(64));
    expect(hexOf(data, 256, 384)).toBe(MIO);
  });

  it('stores no more than the response has room for', () => {
    const result = new Guest([full]).clp(QUERY, 24);
    expect('block' in result && result.block.length).toBe(56);
    const { data, code } = responseOf(result);
    expect(code).toBe(0x0010);
    expect(hexOf(data, 16, 24)).toBe('05063bfff1f2f3f4');
  });

  it('Z-CLP-10: refuses a stale handle, and answers in every state', () => {
    for (const state of STATES) {
      const fn = functionAt(0, state);
      const guest = new Guest([fn]);
      expect(responseOf(guest.clp(requestOf(3, { 16: [fn.handle, 4] }), 384)).code).toBe(0x0010);
      const stale = fn.handle ^ 0x0100_0000;
      expect(responseOf(guest.clp(requestOf(3, { 16: [stale >>> 0, 4] }), 384)).code).toBe(0x0101);
    }
  });
});

describe('query PCI function group', () => {
  const QUERY = requestOf(4, { 19: [0xff, 1] });

  it('Z-CLP-09: maxstbl 4096 reads back from its 13 bits', () => {
    const guest = new Guest();
    guest.groups = { 255: { ...GROUP, maxstbl: 4096 } };
    expect(responseOf(guest.clp(QUERY, 64)).data.getUint16(20) & 0x1fff).toBe(4096);
  });

  it('Z-CLP-10: refuses an unknown group', () => {
    expect(responseOf(new Guest().clp(requestOf(4, { 19: [1, 1] }), 64)).code).toBe(0x010b);
  });

  it('Z-PCISTB-24: shows relaxed alignment as mask 0x08 of byte 19, apart from relaxed translation', () => {
    const guest = new Guest();
    const flags = (more: Partial<typeof GROUP>): number => {
      guest.groups = { 255: { ...GROUP, refresh: false, ...more } };
      return responseOf(guest.clp(QUERY, 64)).data.getUint8(19);
    };
    expect([flags({}), flags({ refresh: true }), flags({ frame: true })]).toEqual([0, 1, 2]);
    expect([flags({ relaxed: true }), flags({ rtr: true })]).toEqual([8, 0x20]);
  });

  it('Z-CLP-12: lays out all fields byte for byte', () => {
    const guest = new Guest();
    guest.groups = {
      255: {
        ...GROUP,
        noi: 0xfedc,
        version: 1,
        relaxed: true,
        maxstbl: 0xffff,
        maxfaal: 0x0102,
        directedInterrupts: 0xffff,
        directedCpus: 0x0304,
        dasm: 0x1122_3344_5566_7788n,
      },
    };
    expect(hexOf(responseOf(guest.clp(QUERY, 64)).data, 0, 64)).toBe(
      '0040001000000000' +
        '0000000000000000' +
        '0edc01091fff0fa0' +
        '400001020fff0304' + // flags, sizes
        '1122334455667788' +
        'fe00000000000000' +
        '00'.repeat(16),
    );
  });
});

describe('set PCI function', () => {
  const disabled = functionAt(0, 'disabled');

  it('Z-ST-01: enables a disabled function and returns the handle with its enable bit', () => {
    const guest = new Guest([disabled]);
    const { data, code } = responseOf(guest.clp(setRequest(disabled.handle, 0, 1), 40));
    expect([code, data.getUint32(16)]).toEqual([0x0010, 0x8002_0000]);
    expect(guest.first.controls.state).toBe('enabled');
  });

  it('Z-ST-02: refuses to enable twice', () => {
    const guest = new Guest([disabled]);
    guest.clp(setRequest(disabled.handle, 0, 1), 40);
    const { data, code } = responseOf(guest.clp(setRequest(0x8002_0000, 0, 1), 40));
    expect([code, data.getUint32(16)]).toEqual([0x0102, 0]);
  });

  it('Z-CLP-11: refuses 0 and 2 DMA address spaces, and operation 2 without MIO', () => {
    const code = (fn: ClpFunction, oc: number, ndas: number): number =>
      responseOf(new Guest([fn]).clp(setRequest(fn.handle, oc, ndas), 40)).code;
    expect(code(disabled, 0, 0)).toBe(0x0103);
    for (const ndas of [2, 255]) expect(code(disabled, 0, ndas)).toBe(0x0104);
    for (const fn of [disabled, FUNCTION])
      for (const oc of [2, 3, 4, 255]) expect(code(fn, oc, 1)).toBe(0x0102);
    expect(code(FUNCTION, 0, 0)).toBe(0x0103);
    expect(code({ ...disabled, handle: 0x0002_0009 }, 0, 1)).toBe(0x0101);
  });

  it('takes MIO of an enabled function that has addresses, and stores them', () => {
    const mio = [{ writeBack: 1, writeThrough: 2 }];
    const guest = new Guest([{ ...FUNCTION, mio }]);
    const { data, code } = responseOf(guest.clp(setRequest(FUNCTION.handle, 2, 0), 160));
    expect([code, data.getUint32(16), data.getUint32(32)]).toEqual([0x0010, 0x8002_0000, 0x8000_0000]);
    expect([data.getBigUint64(40), data.getBigUint64(48)]).toEqual([1n, 2n]);
    const off = responseOf(guest.clp(setRequest(FUNCTION.handle, 3, 0), 160));
    expect([off.code, off.data.getUint32(32)]).toEqual([0x0010, 0]);
    expect(setFunctionResponse({ ...disabled, mio }, 2, 0)).toEqual({ response: 0x0102 });
  });

  it('disables in every state with an enabled handle, and in no other', () => {
    const answers = STATES.map((state) => setFunctionResponse(functionAt(0, state), 1, 0).response);
    expect(answers).toEqual([0x0102, 0x0102, 0x0102, 0x0010, 0x0010, 0x0010, 0x0010]);
  });

  it('enables a disabled function only', () => {
    const answers = STATES.map((state) => {
      const fn = functionAt(0, state);
      return setFunctionResponse({ ...fn, handle: withEnableBit(fn.handle, false) }, 0, 1).response;
    });
    expect(answers).toEqual([0x0102, 0x0102, 0x0010, 0x0102, 0x0102, 0x0102, 0x0106]);
  });

  it('stores no handle with another response of the machine, and hands on the GISA designation', () => {
    const asked: unknown[] = [];
    const view: ClpView = {
      ...FROZEN,
      setFunction: (...all) => {
        asked.push(all);
        return { response: 0x0108, handle: 0xffff_ffff };
      },
    };
    const request = requestOf(5, { 16: [FUNCTION.handle, 4], 22: [0, 1], 23: [1, 1], 28: [0xfeed_beef, 4] });
    const { data, code } = responseOf(runClp(blockOf(32, 40, request), view));
    expect([code, data.getUint32(16)]).toEqual([0x0108, 0]);
    expect(asked).toEqual([[0, 0, 1, 0xfeed_beef]]);
  });
});

describe('random blocks', () => {
  const functions = [functionAt(0), functionAt(1, 'standby', { mio: [{ writeBack: 1, writeThrough: 2 }] })];
  /** Bytes of the responses to commands 3, 4 and 5. */
  const LAYOUTS: Readonly<Record<number, number>> = { 3: 384, 4: 64, 5: 160 };

  /** Blocks that get past the lengths often, with handles that exist. */
  const request = fc.record({
    command: fc.integer({ min: 0, max: 6 }),
    length: fc.oneof(fc.constant(32), fc.constantFrom(16, 24, 40, 12), fc.nat(0xffff)),
    response: fc.oneof(fc.constantFrom(8, 48, 64, 96, 384, 400, 8160), fc.nat(0xffff)),
    fh: fc.constantFrom(0x8002_0000, 0x0002_0001, 0, 0x8002_0001),
    rest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    zero: fc.boolean(),
    size: fc.oneof(fc.constant(8192), fc.nat(8192)),
  });

  it('never throw, and write the documented bytes of the response only', () => {
    fc.assert(
      fc.property(request, ({ command, length, response, fh, rest, zero, size }) => {
        const whole = new Uint8Array(8192).fill(0xa5);
        whole.set(zero ? new Uint8Array(32) : rest);
        const view = new DataView(whole.buffer);
        view.setUint16(0, length);
        view.setUint16(2, command);
        if (command === 3 || command === 5) view.setUint32(16, fh);
        if (length + 2 <= 8192) view.setUint16(length, response);
        const block = whole.slice(0, size);
        const before = block.slice();
        const result = runClp(block, new Guest(functions));
        expect(Buffer.compare(block, before)).toBe(0);
        if (!('cc' in result)) {
          expect(['operand', 'addressing']).toContain(result.programInterruption);
          return;
        }
        const { code, data, cc } = responseOf(result);
        expect(result.block.length).toBe(length + response);
        expect(cc === 0 || (cc === 3 && code === 0x0050)).toBe(true);
        if (code !== 0x0010 || command !== 2) expect(data.getUint16(0)).toBe(response);
        // All but the response code and, after success, the documented bytes is as it was.
        const rebuilt = before.slice(0, length + response);
        rebuilt.set(result.block.subarray(length, length + 4), length);
        if (code === 0x0010 && response > 16) {
          const end = length + documentedEnd(command, data);
          rebuilt.set(result.block.subarray(length + 16, end), length + 16);
        }
        expect(Buffer.compare(result.block, rebuilt)).toBe(0);
      }),
      { numRuns: 2000 },
    );
  });

  /** First byte of the response that a successful command leaves alone. */
  function documentedEnd(command: number, data: DataView): number {
    if (command === 2) return data.getUint16(0);
    return LAYOUTS[command] ?? 0;
  }
});
