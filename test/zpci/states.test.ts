/** The state table of sheet zpci.md 1.2 to 1.4: every step from every state, and what each state answers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PEC } from '../../src/zpci/events.js';
import { FC } from '../../src/zpci/fib.js';
import {
  type FunctionEvent,
  type FunctionState,
  isConfigured,
  sclpRequest,
  transition,
} from '../../src/zpci/states.js';
import { FUNCTION, Guest, INTERRUPTS_FIB, setRequest, VALID_FIB } from './guest-support.js';

const STATES: readonly FunctionState[] = [
  'reserved',
  'standby',
  'disabled',
  'enabled',
  'error-ls-open',
  'error',
  'permanent-error',
];

const DISABLED_HANDLE = 0x0002_0000;
const ENABLED_HANDLE = 0x8002_0000;

/** State after `event` from each of STATES in turn, or what it is refused with. */
function column(event: FunctionEvent): (string | number | undefined)[] {
  return STATES.map((state) => {
    const step = transition(state, event);
    return 'refused' in step ? step.refused : step.state;
  });
}

/** A guest whose only function went through `events` from DISABLED. */
function guestAfter(...events: readonly FunctionEvent[]): Guest {
  const guest = new Guest([{ ...FUNCTION, state: 'disabled', handle: DISABLED_HANDLE }]);
  for (const event of events) expect(guest.first.step(event)).toBe(true);
  return guest;
}

/** FIB fc that STPCIFC reports. */
const fcOf = (guest: Guest): number | undefined => guest.stpcifc().fib?.[8];

describe('the steps of section 1.3', () => {
  const no = undefined;

  it.each<[FunctionEvent, readonly (string | number | undefined)[]]>([
    ['plug', ['disabled', no, no, no, no, no, no]],
    ['unplug', [no, 'reserved', no, no, no, no, no]],
    ['remove', [no, no, 'reserved', 'reserved', 'reserved', 'reserved', 'reserved']],
    ['unplug-request', [no, no, 'disabled', 'enabled', 'error-ls-open', 'error', 'permanent-error']],
    ['configure', [0x05f0, 'disabled', 0x0120, 0x0120, 0x0120, 0x0120, 0x0120]],
    ['deconfigure', [0x05f0, 0x0120, 'standby', 'standby', 'standby', 'standby', 'standby']],
    ['enable', [0x0102, 0x0102, 'enabled', 0x0102, 0x0102, 0x0102, 0x0106]],
    ['disable', [0x0102, 0x0102, 0x0102, 'disabled', 'disabled', 'disabled', 'disabled']],
    ['fault', [no, no, no, 'error', 'error', no, no]],
    ['reset-load-store-block', [24, 24, 24, 24, 24, 'error-ls-open', 24]],
    ['reset-error', [24, 24, 24, 24, 'enabled', 'enabled', 24]],
    [
      'permanent-error',
      [no, no, 'permanent-error', 'permanent-error', 'permanent-error', 'permanent-error', 'permanent-error'],
    ],
    ['reset', [no, no, 'disabled', 'disabled', 'disabled', 'disabled', 'disabled']],
  ])('%s', (event, states) => {
    expect(column(event)).toEqual(states);
  });

  it('tell the guest of what comes, goes and is broken', () => {
    expect(transition('reserved', 'plug')).toMatchObject({ event: PEC.TO_CONFIGURED });
    expect(transition('standby', 'unplug')).toMatchObject({ event: PEC.STANDBY_TO_RESERVED });
    expect(transition('enabled', 'unplug-request')).toMatchObject({ event: PEC.DECONFIGURE_REQUESTED });
    expect(transition('error', 'permanent-error')).toMatchObject({ event: PEC.PERMANENT_ERROR });
    expect(transition('permanent-error', 'permanent-error')).not.toHaveProperty('event');
    expect(transition('enabled', 'fault')).not.toHaveProperty('event');
  });

  it('reset the device and drop everything on disable and reset, translation and interrupts on deconfigure', () => {
    for (const event of ['disable', 'reset'] as const) {
      expect(transition('error', event)).toMatchObject({
        resetsDevice: true,
        enableBit: false,
        tearsDown: ['ioat', 'interrupts', 'fmb'],
      });
    }
    expect(transition('enabled', 'deconfigure')).toMatchObject({
      resetsDevice: false,
      enableBit: false,
      tearsDown: ['ioat', 'interrupts'],
    });
  });

  it('never lead to a handle that lacks or has the enable bit against section 1.2', () => {
    const events: readonly FunctionEvent[] = [
      'plug',
      'unplug',
      'remove',
      'unplug-request',
      'configure',
      'deconfigure',
      'enable',
      'disable',
      'fault',
      'reset-load-store-block',
      'reset-error',
      'permanent-error',
      'reset',
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...events), { maxLength: 30 }), (walk) => {
        const guest = new Guest([{ ...FUNCTION, state: 'reserved', handle: DISABLED_HANDLE }]);
        for (const event of walk) {
          guest.first.step(event);
          const { controls, handle } = guest.first;
          if (controls.state === 'permanent-error') continue;
          const enabled = ['enabled', 'error', 'error-ls-open'].includes(controls.state);
          expect(handle).toBe(enabled ? ENABLED_HANDLE : DISABLED_HANDLE);
        }
      }),
    );
  });
});

describe('a function as its guest moves it', () => {
  it('Z-ST-01: enable from DISABLED', () => {
    const guest = guestAfter();
    guest.clp(setRequest(DISABLED_HANDLE, 0, 1), 40);
    expect([guest.first.controls.state, guest.first.handle]).toEqual(['enabled', ENABLED_HANDLE]);
  });

  it('Z-ST-03, Z-DMA-16: disable resets the device and forgets translation, interrupts and measurement', () => {
    const guest = guestAfter('enable');
    guest.mpcifc(4, VALID_FIB);
    guest.mpcifc(2, INTERRUPTS_FIB);
    guest.mpcifc(10, { fmb: 0x1300_4000 });
    expect(guest.first.controls).toMatchObject({ ioat: {}, interrupts: {}, fmb: 0x1300_4000n });
    guest.clp(setRequest(ENABLED_HANDLE, 1, 0), 40);
    expect(guest.first.controls).toEqual({ state: 'disabled' });
    expect([guest.first.resets, guest.first.handle]).toEqual([1, DISABLED_HANDLE]);
  });

  it('Z-ST-05: ERROR, MPCIFC operation 9: load and store run, fc is 0xC0', () => {
    const guest = guestAfter('enable', 'fault');
    expect(guest.mpcifc(9).answer).toEqual({ cc: 0, status: 0 });
    expect(guest.first.controls.state).toBe('error-ls-open');
    expect(fcOf(guest)).toBe(0xc0);
  });

  it('Z-ST-06: then operation 7: ENABLED, fc 0x80', () => {
    const guest = guestAfter('enable', 'fault', 'reset-load-store-block');
    expect(guest.mpcifc(7).answer).toEqual({ cc: 0, status: 0 });
    expect([guest.first.controls.state, fcOf(guest)]).toEqual(['enabled', 0x80]);
  });

  it('Z-ST-07: ERROR, operation 7 at once: ENABLED', () => {
    const guest = guestAfter('enable', 'fault');
    expect(guest.mpcifc(7).answer).toEqual({ cc: 0, status: 0 });
    expect(guest.first.controls.state).toBe('enabled');
  });

  it('Z-ST-08: operation 9 in ERROR_LS_OPEN and operation 7 in ENABLED are out of sequence', () => {
    const open = guestAfter('enable', 'fault', 'reset-load-store-block');
    expect(open.mpcifc(9)).toEqual({ answer: { cc: 1, status: 24 } });
    expect(guestAfter('enable').mpcifc(7)).toEqual({ answer: { cc: 1, status: 24 } });
  });

  it('Z-ST-09, Z-DMA-15: the translation survives an error and its reset: fc 0xF0, 0xD0, 0x90', () => {
    const guest = guestAfter('enable');
    guest.mpcifc(4, VALID_FIB);
    const { ioat } = guest.first.controls;
    guest.first.step('fault');
    const codes = [fcOf(guest)];
    guest.mpcifc(9);
    codes.push(fcOf(guest));
    guest.mpcifc(7);
    codes.push(fcOf(guest));
    expect(codes).toEqual([0xf0, 0xd0, 0x90]);
    expect(guest.first.controls).toEqual({ state: 'enabled', ioat });
    expect(FC).toEqual({ ENABLED: 0x80, ERROR: 0x40, LOAD_STORE_BLOCKED: 0x20, DMA_REGISTERED: 0x10 });
  });

  it('Z-ST-11: SCLP deconfigure: done, nothing to do, reserved, unknown', () => {
    expect(sclpRequest('enabled', 'deconfigure')).toMatchObject({
      response: 0x0020,
      step: { state: 'standby' },
    });
    expect(sclpRequest('standby', 'deconfigure')).toEqual({ response: 0x0120 });
    expect(sclpRequest('standby', 'configure')).toMatchObject({
      response: 0x0020,
      step: { state: 'disabled' },
    });
    expect(sclpRequest('enabled', 'configure')).toEqual({ response: 0x0120 });
    for (const command of ['configure', 'deconfigure'] as const) {
      expect(sclpRequest('reserved', command)).toEqual({ response: 0x05f0 });
      expect(sclpRequest(undefined, command)).toEqual({ response: 0x09f0 });
    }
  });

  it('Z-FH-03: STPCIFC with the handle minus its enable bit returns the enabled handle', () => {
    const stored = guestAfter('enable').stpcifc({ fh: DISABLED_HANDLE });
    expect([stored.answer, stored.register]).toEqual([{ cc: 0, status: 0 }, 0x8002_0000_0000_0000n]);
  });

  it('Z-FH-04: STPCIFC on a DISABLED function: cc 3 with the enable bit, zeros without', () => {
    const guest = guestAfter();
    expect(guest.stpcifc({ fh: ENABLED_HANDLE }).answer).toEqual({ cc: 3, status: 0 });
    const stored = guest.stpcifc({ fh: DISABLED_HANDLE });
    expect([stored.answer, stored.register]).toEqual([{ cc: 0, status: 0 }, 0x0002_0000_0000_0000n]);
    expect(stored.fib).toEqual(new Uint8Array(80));
  });
});

describe('what each state answers, section 1.4', () => {
  it('STPCIFC', () => {
    const answers = STATES.map((state) => {
      const { answer, fib } = new Guest([{ ...FUNCTION, state, handle: DISABLED_HANDLE }]).stpcifc();
      return 'cc' in answer ? [answer.cc, answer.status, fib?.[8]] : [];
    });
    expect(answers).toEqual([
      [3, 0, undefined],
      [3, 0, undefined],
      [0, 0, 0],
      [0, 0, 0x80],
      [0, 0, 0xc0],
      [0, 0, 0xe0],
      [1, 8, undefined],
    ]);
  });

  it('all but RESERVED and STANDBY are configured', () => {
    expect(STATES.filter((state) => !isConfigured(state))).toEqual(['reserved', 'standby']);
  });
});
