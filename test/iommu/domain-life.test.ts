/** Domains that are over: destroyed, or from before a reset; and those whose tables are in other memory. */
import { describe, expect, it } from 'vitest';
import { Domain, type DomainKind, PlainMemory } from '../../src/index.js';
import { errorOf } from '../machine/support.js';
import { notedVtd } from './domain-lab.js';

const IOVA = 0x1234_5000;
const PAGE = 0x20_0000;
const KINDS = ['dma', 'identity', 'blocked', 'unmanaged'] as const satisfies readonly DomainKind[];

/** Every call that a domain has. */
function callsOf(domain: Domain, sid: number): readonly (readonly [string, () => unknown])[] {
  return [
    ['attach', () => domain.attach({ sid })],
    ['detach', () => domain.detach({ sid })],
    ['map', () => domain.map(IOVA, PAGE, 4096)],
    ['unmap', () => domain.unmap(IOVA, 4096)],
    ['mapDma', () => domain.mapDma(PAGE, 4096)],
    ['unmapDma', () => domain.unmapDma(IOVA)],
    ['lookUp', () => domain.lookUp(IOVA)],
    ['enforceCacheCoherency', () => domain.enforceCacheCoherency()],
    ['isEmpty', () => domain.isEmpty],
    ['destroy', () => domain.destroy()],
  ];
}

describe('a domain that was destroyed', () => {
  it.each(KINDS)('%s: refuses every call', (kind) => {
    const memory = new PlainMemory();
    const domain = new Domain({ kind, unit: notedVtd(memory).unit, memory });
    domain.attach({ sid: 8 });
    domain.detach({ sid: 8 });
    domain.destroy();
    for (const [name, call] of callsOf(domain, 8))
      expect([name, errorOf(call)]).toMatchObject([
        name,
        { code: 'invalid-value', errno: 'EINVAL', message: expect.stringMatching(/was destroyed/) },
      ]);
    expect(domain.functions).toBe(0);
  });

  it('changes nothing of the domain that has its table now', () => {
    const memory = new PlainMemory();
    const { unit } = notedVtd(memory);
    const first = new Domain({ kind: 'unmanaged', unit, memory });
    first.destroy();
    const second = new Domain({ kind: 'unmanaged', unit, memory });
    second.attach({ sid: 8 });
    expect(errorOf(() => first.map(0x5000, 0x30_0000, 4096)).errno).toBe('EINVAL');
    expect([second.lookUp(0x5000), second.isEmpty]).toEqual([null, true]);
  });
});
