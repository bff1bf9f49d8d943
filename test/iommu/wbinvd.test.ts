/** Who gets the instruction that flushes caches: the required rule, and the one of Linux (iommu.md 9). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareWbinvd, type WbinvdDevice, wbinvdLinux, wbinvdNeeded } from '../../src/iommu/wbinvd.js';

const GPU: WbinvdDevice = { name: 'gpu', nsCapable: true, en: true, leafForce: 'none' };

/** The five rows of iommu.md 9: sends, gets through, honoured; needed, Linux. */
const ROWS = [
  ['0 0 -', false, false, [true, false], false, false],
  ['0 1 -', false, true, [true, false], false, true],
  ['1 0 -', true, false, [true, false], false, false],
  ['1 1 0', true, true, [false], false, true],
  ['1 1 1', true, true, [true], true, true],
] as const;

describe('wbinvd', () => {
  it.each(ROWS)('IOM-49: row %s by both rules', (_row, sends, passes, platforms, needed, linux) => {
    // A device does not send when it cannot, and when it must not.
    for (const honour of platforms)
      for (const [nsCapable, en] of sends
        ? [[true, true] as const]
        : ([
            [false, true],
            [true, false],
          ] as const)) {
        const report = compareWbinvd({
          devices: [{ nsCapable, en, leafForce: passes ? 'none' : 'all' }],
          units: [{ enforceCap: !passes }],
          platform: { honour },
        });
        expect([report.needed.answer, report.linux.answer]).toEqual([needed, linux]);
        expect(report.difference).toBe(needed === linux ? 'none' : 'needless');
      }
  });

  it('IOM-58: pages of which only some force snooping let it through', () => {
    const platform = { honour: true };
    const of = (leafForce: WbinvdDevice['leafForce']): boolean =>
      wbinvdNeeded({ devices: [{ ...GPU, leafForce }], platform }).answer;
    expect([of('none'), of('some'), of('all')]).toEqual([true, true, false]);
  });

  it('IOM-58: with no device that is able to send it, no tables make the answer yes', () => {
    const device = fc.record({
      nsCapable: fc.constant(false),
      en: fc.boolean(),
      leafForce: fc.constantFrom('all', 'some', 'none'),
    });
    fc.assert(
      fc.property(fc.array(device), fc.boolean(), (devices, honour) => {
        expect(wbinvdNeeded({ devices, platform: { honour } }).answer).toBe(false);
      }),
    );
  });

  it('looks at each device by itself, and at every unit', () => {
    const device = fc.record({
      nsCapable: fc.boolean(),
      en: fc.boolean(),
      leafForce: fc.constantFrom('all', 'some', 'none'),
    });
    const input = fc.record({
      devices: fc.array(device, { maxLength: 4 }),
      units: fc.array(fc.record({ enforceCap: fc.boolean() }), { maxLength: 4 }),
      platform: fc.record({ honour: fc.boolean() }),
    });
    fc.assert(
      fc.property(input, ({ devices, units, platform }) => {
        let needed = false;
        for (const { nsCapable, en, leafForce } of devices)
          if (nsCapable && en && leafForce !== 'all' && platform.honour) needed = true;
        const linux = units.filter(({ enforceCap }) => enforceCap).length < units.length;
        const report = compareWbinvd({ devices, units, platform });
        expect([report.needed.answer, report.linux.answer]).toEqual([needed, linux]);
        expect(report.difference).toBe(needed && !linux ? 'missing' : linux && !needed ? 'needless' : 'none');
      }),
    );
  });

  it('says what is wrong with an input', () => {
    const platform = { honour: true };
    const bad = (input: unknown): (() => void) => {
      return () => wbinvdNeeded(input as Parameters<typeof wbinvdNeeded>[0]);
    };
    expect(bad(undefined)).toThrow(/^input: undefined/);
    expect(bad({ devices: [] })).toThrow(/^platform: /);
    expect(bad({ devices: GPU, platform })).toThrow(/^devices: an object is not valid; allowed: a list/);
    expect(bad({ devices: [null], platform })).toThrow(/^devices\[0\]: /);
    expect(bad({ devices: [{ ...GPU, leafForce: 'most' }], platform })).toThrow('leafForce of gpu: "most"');
    expect(() => wbinvdLinux({} as { units: [] })).toThrow(/^units: /);
  });

  it('names the condition and the device that decided', () => {
    const why = (devices: WbinvdDevice[], honour = true): string =>
      wbinvdNeeded({ devices, platform: { honour } }).why;
    expect(why([GPU])).toBe(
      'gpu sends No Snoop, none of its pages force snooping, and the platform honours it',
    );
    expect(why([{ ...GPU, leafForce: 'some' }])).toContain('gpu sends No Snoop, only some of its pages');
    expect(why([GPU], false)).toBe(
      'the platform does not honour the No Snoop requests of gpu: all DMA is coherent',
    );
    expect(why([{ ...GPU, leafForce: 'all' }])).toBe(
      'every page that gpu reaches forces snooping: its No Snoop does not get through',
    );
    expect(why([{ nsCapable: true, en: false, leafForce: 'none' }])).toBe(
      'no device sends No Snoop: Enable No Snoop of device 0 is clear',
    );
    expect(why([{ ...GPU, nsCapable: false }])).toBe('no device sends No Snoop: gpu is not able to');
    expect(why([])).toBe('there is no device');
    // The second device is the one that decides.
    expect(why([{ ...GPU, name: 'nic', leafForce: 'all' }, GPU])).toContain('gpu sends');
    expect(wbinvdLinux({ units: [{ enforceCap: true }, { enforceCap: false }] }).why).toBe(
      'unit 1 cannot enforce cache coherency',
    );
    expect(wbinvdLinux({ units: [{ name: 'dmar0', enforceCap: true }] }).why).toBe(
      'every unit can enforce cache coherency',
    );
    expect(wbinvdLinux({ units: [] }).answer).toBe(false);
  });
});
