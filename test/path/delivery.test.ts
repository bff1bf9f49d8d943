/** A machine delivers along every path what the listing says: bytes, TLPs, totals, answers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AccessTotals, decodeTlp, encodeTlp, PATH_IDS, PATHS, type Tlp } from '../../src/index.js';
import { BUILDS, useBuild } from '../support/builds.js';
import { pattern } from '../support/reference.js';
import { type Access, accessOf, comparable, PAGE, rig, split, times, WRITE_PATHS } from './support.js';

/** Tags count up over the life of a core: two lists of requests are compared without them. */
function withoutTags(tlps: readonly Tlp[]): Tlp[] {
  return tlps.map((tlp) => ({ ...tlp, tag: 0 }));
}

describe.each(BUILDS)('access paths with the %s build', (variant) => {
  const core = useBuild(variant);

  it.each(PATH_IDS)(
    'Z-PATH-10 %s delivers what it lists: bytes, TLPs and totals of a machine',
    async (id) => {
      const { machine, fn } = await rig(core(), id);
      const base = fn.bars[0]?.address ?? 0;
      const memory = fn.barMemory(0);
      const background = pattern(memory.length, 99);
      machine.trace.start();
      let before = machine.stats();

      /** What the counters of the machine and of its only function counted since the last call, against `totals`. */
      const compareCounters = (totals: AccessTotals): void => {
        const now = machine.stats();
        for (const key of [
          'tlps',
          'wireBytesDown',
          'wireBytesUp',
          'payloadBytesDown',
          'payloadBytesUp',
        ] as const) {
          expect(now[key] - before[key], key).toBe(totals[key]);
        }
        const byType = Object.values(now.tlpsByType).reduce((sum, count) => sum + count, 0);
        expect(byType).toBe(now.tlps);
        const { tlps, wireBytesDown, wireBytesUp } = now;
        expect(machine.stats(fn)).toMatchObject({ tlps, wireBytesDown, wireBytesUp });
        before = now;
      };

      /** What the machine did against the listing of the same access. */
      const compare = (
        op: 'read' | 'write',
        access: Access,
        totals: AccessTotals,
        fault: unknown,
      ): number => {
        const listed = split(id, op, access, { base });
        const traced = machine.trace.take();
        const down = traced.filter(({ direction }) => direction === 'down');
        expect(withoutTags(down.map(({ tlp }) => tlp))).toEqual(withoutTags(listed.tlps));
        expect(traced.every(({ slot }) => slot === fn.slot)).toBe(true);
        expect(traced.length).toBe(listed.totals.tlps);
        expect(comparable(totals)).toEqual(comparable(listed.totals));
        compareCounters(totals);
        expect(fault).toEqual(listed.fault);
        // What a traced write carries are the bytes it leaves behind.
        for (const { tlp, data } of op === 'write' ? down : []) {
          const at = Number(BigInt(tlp.address) - BigInt(base));
          for (let n = 0; n < data.length; n++) {
            const dw = n < 4 ? tlp.firstBe : n >= data.length - 4 ? tlp.lastBe : 0xf;
            const isEnabled = ((dw >> (n % 4)) & 1) === 1;
            if (data[n] !== (isEnabled ? memory[at + n] : 0))
              throw new Error(`traced byte ${at + n} is ${data[n]}`);
          }
        }
        return listed.fault === undefined ? access.bytes : listed.fault.offset - access.offset;
      };

      fc.assert(
        fc.property(accessOf(id), fc.nat(200), (access, seed) => {
          const { offset, bytes, block: isBlock } = access;
          fc.pre(offset + bytes <= memory.length);
          const at = { path: id, function: fn, bar: 0, offset, block: isBlock };
          memory.set(background);
          const expected = Uint8Array.from(background);
          if (PATHS[id].write !== null) {
            const data = pattern(bytes, seed);
            const { totals, fault } = machine.cpu.write({ ...at, data });
            const done = compare('write', access, totals, fault);
            expected.set(data.subarray(0, done), offset);
            expect(Buffer.compare(memory, expected)).toBe(0);
          }
          if (PATHS[id].read !== null) {
            const { data, totals, fault } = machine.cpu.read({ ...at, length: bytes });
            const done = compare('read', access, totals, fault);
            // Behind a load that Linux's accessor could not do, all is ones.
            const wanted = new Uint8Array(bytes).fill(fault?.kind === 'zpci' ? 0xff : 0);
            wanted.set(expected.subarray(offset, offset + done));
            expect(Buffer.compare(data, wanted)).toBe(0);
            expect(Buffer.compare(memory, expected)).toBe(0);
          }
        }),
        { numRuns: 60 },
      );
    },
  );

  it.each(PATH_IDS)('TLP-14 no TLP of %s, either way, breaks a rule that a receiver checks', async (id) => {
    const mps = 256;
    const { machine, fn } = await rig(core(), id, { mps });
    machine.trace.start();
    fc.assert(
      fc.property(accessOf(id), ({ offset, bytes, block: isBlock }) => {
        const at = { path: id, function: fn, bar: 0, offset, block: isBlock };
        if (PATHS[id].write !== null) machine.cpu.write({ ...at, data: pattern(bytes, offset) });
        if (PATHS[id].read !== null) machine.cpu.read({ ...at, length: bytes });
        for (const { tlp, data } of machine.trace.take().slice(0, 60)) {
          const wire = encodeTlp(tlp, tlp.payloadBytes > 0 ? data : undefined, { malformed: true });
          expect(decodeTlp(wire, { mps, beCheck: true }).malformed).toBeUndefined();
          expect(tlp.wireBytes).toBe(wire.length + 8);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('TLP-13 a load that no function claims as a whole reads as ones and counts as unsupported', async () => {
    // A load of a 64-byte line reaches over the end of a BAR of 16 bytes.
    const { machine, fn } = await rig(core(), 'x86-wc-line', {}, 16);
    machine.trace.start();
    const { data, totals } = machine.cpu.read({
      path: 'x86-wc-line',
      function: fn,
      bar: 0,
      offset: 4,
      length: 8,
    });
    expect([...data]).toEqual(times(8, 0xff));
    expect(totals.unclaimed).toBe(1);
    expect(machine.stats()).toMatchObject({
      unsupportedRequests: 1,
      droppedPosted: 0,
      tlpsByType: { MRd: 1, Cpl: 1 },
    });
    const [request, completion] = machine.trace.take();
    expect(request).toMatchObject({ slot: undefined, direction: 'down' });
    expect(completion).toMatchObject({
      slot: undefined,
      direction: 'up',
      tlp: { type: 'Cpl', status: 1, byteCount: 64 },
    });
    expect(completion?.tlp.tag).toBe(request?.tlp.tag);
    expect(fn.stats.tlps).toBe(0);
  });

  it('Z-PATH-10 every write path that takes a whole page leaves the same bytes', async () => {
    const data = pattern(PAGE, 5);
    for (const id of WRITE_PATHS) {
      const { machine, fn } = await rig(core(), id);
      const { fault } = machine.cpu.write({ path: id, function: fn, bar: 0, offset: PAGE, data });
      expect(fault, id).toBeUndefined();
      expect(Buffer.compare(fn.barMemory(0).subarray(PAGE, 2 * PAGE), data), id).toBe(0);
      expect(
        fn
          .barMemory(0)
          .subarray(0, PAGE)
          .every((byte) => byte === 0),
      ).toBe(true);
      expect(
        fn
          .barMemory(0)
          .subarray(2 * PAGE)
          .every((byte) => byte === 0),
      ).toBe(true);
    }
  });

  it('a block of 1 MiB arrives whole with the trace running and with it stopped', async () => {
    const megabyte = 1 << 20;
    const { machine, fn } = await rig(core(), 'x86-memcpy-toio', {}, megabyte);
    const at = { path: 'x86-memcpy-toio', function: fn, bar: 0, offset: 1 } as const;
    for (const isTraced of [false, true]) {
      const data = pattern(megabyte - 2, isTraced ? 3 : 4);
      if (isTraced) machine.trace.start();
      const written = machine.cpu.write({ ...at, data });
      const traced = machine.trace.take();
      expect(traced.length).toBe(isTraced ? written.totals.tlps : 0);
      expect(Buffer.compare(fn.barMemory(0).subarray(1, megabyte - 1), data)).toBe(0);
      expect(fn.barMemory(0)[0]).toBe(0);
      const { data: back } = machine.cpu.read({ ...at, length: data.length });
      expect(Buffer.compare(back, data)).toBe(0);
      expect(machine.trace.take().length).toBe(isTraced ? 2 * written.totals.tlps : 0);
    }
  });

  it('TLP-09 an endpoint cuts completions at 128 bytes and the bytes come back in order', async () => {
    for (const completionPolicy of ['fewest', 'rcb'] as const) {
      const { machine, fn } = await rig(core(), 'vfio-rw-w8', {
        vfioWidth: 'preserve',
        completionPolicy,
        mps: 256,
        mrrs: 1024,
      });
      fn.barMemory(0).set(pattern(4 * PAGE));
      machine.trace.start();
      const { data } = machine.cpu.read({
        path: 'vfio-rw-w8',
        function: fn,
        bar: 0,
        offset: 100,
        length: 1000,
      });
      expect(Buffer.compare(data, pattern(4 * PAGE).subarray(100, 1100))).toBe(0);
      const up = machine.trace.take().filter(({ direction }) => direction === 'up');
      // Requests are [100, 1024) and [1024, 1100), 924 and 76 bytes.
      const starts =
        completionPolicy === 'rcb'
          ? [100, 128, 256, 384, 512, 640, 768, 896, 1024]
          : [100, 256, 512, 768, 1024];
      expect(up.map(({ tlp }) => tlp.lowerAddress)).toEqual(starts.map((at) => at % 128));
      expect(up.map(({ tlp }) => tlp.byteCount)).toEqual(starts.map((at) => (at < 1024 ? 1024 : 1100) - at));
      expect(up.every(({ tlp }) => tlp.completer === 0x0100 && tlp.status === 0)).toBe(true);
    }
  });
});
