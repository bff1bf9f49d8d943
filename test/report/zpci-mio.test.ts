/** zPCI scripts: the MIO forms, functions that come and go, devices that refuse; and all example scripts. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BUILDS, useBuild } from '../support/builds.js';
import { meets, read, run } from './zpci-support.js';

const EXAMPLES = new URL('../../examples/', import.meta.url);
const SCRIPTS = readdirSync(EXAMPLES).filter((name) => name.endsWith('.zpci'));
const NATIVE = 'function nic bar0=64K bar2=4K zpciMode=native\n';

describe.each(BUILDS)('on the %s core', (build) => {
  const core = useBuild(build);

  it.each(SCRIPTS)('%s meets what it expects', async (name) => {
    const { results } = await meets(readFileSync(new URL(name, EXAMPLES), 'utf8'), core());
    expect(results.length).toBeGreaterThan(5);
  });

  it('an address is a number, or a place in a BAR', async () => {
    await meets(
      `${NATIVE}PCISTGI addr=nic.bar0+0x10 len=2 data=beef -> cc=0
PCILGI addr=0x10_0000_0000_0010 len=2 -> cc=0 data=beef
PCILGI addr=NIC.BAR0WB+16 len=2 data=beef -> cc=0
PCISTBI addr=nic.bar2 len=16 fill=counting -> cc=0 tlps=1
PCISTBI addr=nic.bar2 len=16 src=0x1000 -> cc=0
PCISTBI addr=nic.bar2 len=16 data=000102030405060708090a0b0c0d0e0f -> cc=0
PCILGI addr=nic.bar2wb+8 len=8 data=08090a0b0c0d0e0f -> cc=0
PCILGI addr=nic.bar1 len=4 -> addressing
PCILGI addr=nic.bar0 len=4 r2=3 -> specification
PCILGI addr=nic.bar0+0xffd len=4 -> operand
PCISTBI addr=nic.bar0 len=0xffffffff -> specification
PCIWB -> cc=0`,
      core(),
    );
    const { texts } = await run(
      'option mio=false\nPCILGI addr=dev.bar0 len=4 -> operation\nPCIWB -> operation',
      core(),
    );
    expect(texts.join('\n')).toContain('the machine has no MIO');
  });

  it('a wrong word is an error with what is allowed', async () => {
    const first = async (text: string) => (await read(text)).errors[0]?.error;
    expect(await first('PCILGI addr=bar0 len=4')).toMatchObject({ field: 'addr' });
    expect(await first('PCILGI addr=nix.bar0 len=4')).toMatchObject({ code: 'unknown-name', field: 'addr' });
    expect(await first('PCILGI addr=dev.bar6 len=4')).toMatchObject({ field: 'addr' });
    expect(await first('PCILGI addr=dev.bar0+x len=4')).toMatchObject({ field: 'addr' });
    expect(await first('PCISTGI addr=0 len=4 data=11')).toMatchObject({ field: 'data' });
    expect(await first('PCISTBI addr=0 len=16 src=0 fill=1')).toMatchObject({ field: 'PCISTBI' });
    expect(await first('function nic state=error')).toMatchObject({ field: 'state' });
    expect(await first('function nic mio=maybe')).toMatchObject({ field: 'mio' });
    expect(await first('function nic takes=pcilg,pci')).toMatchObject({ field: 'takes' });
    expect(await first('function nic device=virtio-like mio=false')).toMatchObject({ field: 'device' });
    expect(await first('unplug nix')).toMatchObject({ code: 'unknown-name' });
  });

  it('plugging what is there is told at its line, and the others run', async () => {
    const { results } = await run(
      'plug dev\nunplug dev surprise -> event=0x304\nunplug dev\nplug dev',
      core(),
    );
    expect(results.map(({ error }) => error?.field)).toEqual(['plug', undefined, 'unplug', undefined]);
    expect(results[1]?.missed).toEqual([]);
  });

  it('tells what CLP says of MIO and how often a device refused', async () => {
    const { texts } = await run(
      `function nic zpciMode=native takes=pcilg mio=false
CLP query fh=nic
PCISTG fh=nic as=0 len=4 off=0 -> operand
PCISTG fh=nic as=15 len=4 off=0x10 -> cc=0
PCISTGI addr=nic.bar0 len=4 -> cc=1 status=20
state nic`,
      core(),
    );
    const text = texts.join('\n');
    expect(text).not.toContain('MIO bar0');
    expect(text).toMatch(/nic refused +2 instructions/);
    const { texts: capable } = await run(`${NATIVE}CLP query fh=nic`, core());
    expect(capable.join('\n')).toMatch(/MIO bar2 +0x10000200000000, write-back 0x210000200000000/);
  });
});
