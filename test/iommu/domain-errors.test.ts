/** What is left of calls of domains that failed half way: nothing (iommu.md 8.5). */
import { describe, expect, it } from 'vitest';
import { ZtlpError } from '../../src/base/errors.js';
import { type Machine, machineDomains } from '../../src/index.js';
import { Domain } from '../../src/iommu/domain.js';
import { S390DomainUnit } from '../../src/iommu/s390-domain-unit.js';
import { PlainMemory, type TableMemory } from '../../src/iommu/table-memory.js';
import { errorOf, machinesOf, pattern } from '../machine/support.js';
import { BUILDS } from '../support/builds.js';
import { Notes, notedVtd } from './domain-lab.js';
import { UnitMachine } from './machine-lab.js';
import { ECAP, SMTS } from './unit-lab.js';

/** Hardware of s390 that refuses to refresh some functions. */
class Refusing extends Notes {
  readonly refused = new Set<number>();

  override refresh(sid: number, range: { first: bigint; last: bigint }): void {
    super.refresh(sid, range);
    if (this.refused.has(sid)) throw new ZtlpError('invalid-value', `refresh ${sid}`, { errno: 'EINVAL' });
  }
}

function s390(): { hardware: Refusing; domain: Domain } {
  const memory = new PlainMemory();
  const hardware = new Refusing();
  const unit = new S390DomainUnit({ hardware });
  return { hardware, domain: new Domain({ kind: 'unmanaged', unit, memory }) };
}

describe('an attach that fails', () => {
  it('takes back the registration when what is mapped cannot be refreshed', () => {
    const { hardware, domain } = s390();
    domain.map(0x1000, 0x5000, 0x1000);
    domain.attach({ sid: 1 });
    hardware.take();
    hardware.refused.add(2);
    expect(errorOf(() => domain.attach({ sid: 2 })).message).toBe('refresh 2');
    expect(hardware.take().at(-1)).toBe('deregister 2');
    expect(domain.functions).toBe(1);
    // The first is as it was, and the second is told nothing any more.
    domain.unmap(0x1000, 0x1000);
    expect(hardware.take()).toEqual(['refresh 1 0x1000 0x1fff']);
    hardware.refused.clear();
    domain.attach({ sid: 2 });
    expect(domain.functions).toBe(2);
  });

  it('does so for the first function, and frees the number of the domain', () => {
    const { hardware, domain } = s390();
    domain.map(0x1000, 0x5000, 0x1000);
    hardware.refused.add(1);
    for (let n = 0; n < 3; n++) expect(errorOf(() => domain.attach({ sid: 1 })).message).toBe('refresh 1');
    expect([domain.functions, hardware.take().at(-1)]).toEqual([0, 'deregister 1']);
    hardware.refused.clear();
    domain.destroy();
  });

  it('throws its own error when taking back fails, too', () => {
    const { hardware, domain } = s390();
    domain.map(0x1000, 0x5000, 0x1000);
    hardware.refused.add(1);
    hardware.deregister = () => {
      throw new Error('deregister');
    };
    expect(errorOf(() => domain.attach({ sid: 1 })).message).toBe('refresh 1');
    expect(domain.functions).toBe(0);
  });

  it('VT-d, scalable: writes the context entry when there is room at last', () => {
    const plain = new PlainMemory();
    let room = Number.POSITIVE_INFINITY;
    const memory: TableMemory = {
      read64: (at) => plain.read64(at),
      write64: (at, value) => plain.write64(at, value),
      allocate(bytes) {
        if (room-- > 0) return plain.allocate(bytes);
        throw new ZtlpError('resource', 'no room', { errno: 'ENOMEM' });
      },
      free: (at) => plain.free(at),
    };
    const { unit, notes } = notedVtd(memory, { ecap: ECAP | SMTS, mode: 'scalable' });
    const domain = new Domain({ kind: 'unmanaged', unit, memory });
    const POINTER = ~0xfffn;
    const entryOf = (sid: number): bigint => {
      const root = plain.read64((notes.root & POINTER) + 16n * BigInt(sid >> 8));
      const context = plain.read64((root & POINTER) + 32n * BigInt(sid & 0x7f));
      const directory = plain.read64(context & POINTER);
      return [root, context, directory].every((word) => (word & 1n) === 1n)
        ? plain.read64(directory & POINTER)
        : 0n;
    };
    // A context table, a directory and a PASID table are needed: each of them may be the one without room.
    for (const [n, sid] of [
      [0, 0x100],
      [1, 0x200],
      [2, 0x300],
    ] as const) {
      room = n;
      expect(errorOf(() => domain.attach({ sid })).errno).toBe('ENOMEM');
      room = Number.POSITIVE_INFINITY;
      domain.attach({ sid });
      expect([n, entryOf(sid) & 1n]).toEqual([n, 1n]);
    }
    expect(domain.functions).toBe(3);
  });
});

describe('a detach that fails', () => {
  it('leaves the function attached, and can be done again', () => {
    const { hardware, domain } = s390();
    domain.attach({ sid: 1 });
    domain.attach({ sid: 2 });
    hardware.take();
    const { deregister } = hardware;
    hardware.deregister = () => {
      throw new ZtlpError('invalid-value', 'deregister', { errno: 'EINVAL' });
    };
    expect(errorOf(() => domain.detach({ sid: 1 })).message).toBe('deregister');
    expect([domain.functions, errorOf(() => domain.attach({ sid: 1 })).errno]).toEqual([2, 'EBUSY']);
    // It still uses the tables, so it is told.
    domain.map(0x1000, 0x5000, 0x1000);
    expect(hardware.take()).toEqual(['refresh 1 0x1000 0x1fff', 'refresh 2 0x1000 0x1fff']);
    hardware.deregister = deregister;
    domain.detach({ sid: 1 });
    expect([domain.functions, hardware.take()]).toEqual([1, ['deregister 1']]);
  });
});

describe('a map that fails', () => {
  it('tells those that have been told, whatever the other refuses', () => {
    for (const refused of [1, 2]) {
      const { hardware, domain } = s390();
      domain.attach({ sid: 1 });
      domain.attach({ sid: 2 });
      hardware.refused.add(refused);
      hardware.take();
      expect(errorOf(() => domain.map(0x1000, 0x5000, 0x2000)).message).toBe(`refresh ${refused}`);
      const both = ['refresh 1 0x1000 0x2fff', 'refresh 2 0x1000 0x2fff'];
      expect(hardware.take()).toEqual([...both, ...both]);
      expect([domain.lookUp(0x1000), domain.isEmpty]).toEqual([null, true]);
    }
  });

  it('and an unmap tells all before it fails', () => {
    const { hardware, domain } = s390();
    domain.attach({ sid: 1 });
    domain.attach({ sid: 2 });
    domain.map(0x1000, 0x5000, 0x1000);
    hardware.take();
    hardware.refused.add(1);
    expect(errorOf(() => domain.unmap(0x1000, 0x1000)).message).toBe('refresh 1');
    expect(hardware.take()).toEqual(['refresh 1 0x1000 0x1fff', 'refresh 2 0x1000 0x1fff']);
    expect(domain.lookUp(0x1000)).toBeNull();
  });
});

describe.each(BUILDS)('on the %s core', (build) => {
  const { make } = machinesOf(build);
  const SDMA = 0x1_0000_0000n;
  const PAGE = 0x20_0000;

  it.each([
    [0, 1],
    [1, 0],
  ])('s390x: function %i does not reach a page whose map failed for function %i', async (alive, gone) => {
    const native = { options: { zpciMode: 'native' } } as const;
    const m = await UnitMachine.create(make, { platform: 's390x', iommus: [] }, [native, native]);
    const { machine }: { machine: Machine } = m;
    const domain = machineDomains(machine, { tables: { at: 0x1_0000, bytes: 0x10_0000 } }).create(
      'unmanaged',
    );
    for (const n of [0, 1]) domain.attach({ sid: m.fn(n).id });
    machine.cpu.sclp('deconfigure', m.fn(gone).fid);
    expect(errorOf(() => domain.map(SDMA, PAGE, 4096))).toMatchObject({ field: 'sid', errno: 'EINVAL' });
    expect(domain.lookUp(SDMA)).toBeNull();
    m.write(SDMA, pattern(64, 1), {}, alive);
    expect(machine.memory.read(PAGE, 64)).toEqual(new Uint8Array(64));
  });
});
