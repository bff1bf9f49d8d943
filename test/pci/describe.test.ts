// The lines that show configuration space to people.
import { describe, expect, it } from 'vitest';
import { ConfigModel } from '../../src/pci/config-model.js';
import { describeConfig } from '../../src/pci/describe.js';
import { space } from './dumps.js';
import { dumped, everything } from './models.js';

describe('describeConfig', () => {
  it('shows a dump', async () => {
    expect(describeConfig(await dumped('qemu72-e1000e'))).toEqual([
      '8086:10d3 class 020000 revision 00, header type 0',
      'Subsystem: 8086:0000',
      'Command: 0103 I/O+ Mem+ BusMaster- ParErr- SERR+ DisINTx-',
      'Status: 0010 INTx- Cap+ ParErr- >TAbort- <TAbort- <MAbort- >SERR- <PERR-',
      'Cache line: 0 bytes',
      'Interrupt: pin A, line 11',
      'BAR 0: memory, 32-bit, 128 KiB at 0xfeb80000',
      'BAR 1: memory, 32-bit, 128 KiB at 0xfeba0000',
      'BAR 2: I/O ports, 32 bytes at 0xc040',
      'BAR 3: memory, 32-bit, 16 KiB at 0xfebc4000',
      'ROM: expansion ROM, disabled, 256 KiB at 0xfeb40000',
      '[c8] PM: D0, D1- D2- NoSoftRst- PME-Enable- PME-',
      '[d0] MSI: Enable- 1 of 1 vectors, 64bit+ Maskable- address 0x0 data 0000',
      '[e0] EXP: root complex integrated endpoint v1, MaxPayload 128 of 128, MaxReadReq 128, RlxdOrd- ExtTag- NoSnoop-, FLReset-, CorrErr- NonFatalErr- FatalErr- UnsupReq- AuxPwr- TransPend-, link 2.5 GT/s x1',
      '[a0] MSIX: Enable- Masked- 5 vectors, table BAR 3 + 0x0, pending bits BAR 3 + 0x2000',
      '[100] ERR v2: uncorrectable 00000000 mask 00000000 severity 00462030, correctable 00000000 mask 0000e000',
      '[140] DSN v1: 0x525400ffff123456',
    ]);
  });

  it('shows every capability', () => {
    expect(describeConfig(everything()).slice(5)).toEqual([
      'Interrupt: pin A, line 0',
      'BAR 0: memory, 64-bit, prefetchable, 16 KiB at 0x0',
      'BAR 2: memory, 32-bit, 64 KiB at 0x0',
      'BAR 3: I/O ports, 32 bytes at 0x0',
      'BAR 4: memory, 64-bit, 4 KiB at 0x0',
      'ROM: expansion ROM, disabled, 64 KiB at 0x0',
      '[40] EXP: endpoint v2, MaxPayload 128 of 512, MaxReadReq 512, RlxdOrd+ ExtTag- NoSnoop+, FLReset+, CorrErr- NonFatalErr- FatalErr- UnsupReq- AuxPwr- TransPend-, link 16 GT/s x8',
      '[7c] MSI: Enable- 1 of 8 vectors, 64bit+ Maskable+ address 0x0 data 0000',
      '[94] MSIX: Enable- Masked- 65 vectors, table BAR 2 + 0x0, pending bits BAR 2 + 0x1000',
      '[a0] PM: D0, D1+ D2- NoSoftRst- PME-Enable- PME-',
      '[a8] VNDR: 8 bytes',
      '[100] ERR v2: uncorrectable 00000000 mask 00400000 severity 00462030, correctable 00000000 mask 0000e000',
      '[148] ATS v1: Enable- queue depth 32, smallest unit 4096 bytes',
      '[150] PRI v1: Enable- RF- UPRGI- Stopped+ 0 of 32 requests',
      '[160] PASID v1: Enable- Exec- Priv- 20 bits',
      '[168] SRIOV v1: Enable- MSE- 0 of 7 VFs, first at +1, stride 1, device id 5679',
      '[1a8] DSN v1: 0x1122334455667788',
      '[1b4] VNDR v1: id 0009 revision 0, 12 bytes',
    ]);
  });

  it('shows a bridge, unknown capabilities and broken chains', () => {
    const words = [
      [0x00, 0x0001_1b36],
      [0x04, 0x0010_0000],
      [0x0c, 0x0081_0000],
      [0x18, 0x0003_0200],
      [0x34, 0x40],
      [0x40, 0x0000_5003],
      [0x50, 0x0000_4077],
    ] as const;
    const lines = describeConfig(new ConfigModel(space(256, words)));
    expect([lines[0], lines[1], ...lines.slice(5)]).toEqual([
      '1b36:0001 class 000000 revision 00, header type 1, multifunction',
      'Bus: primary=00 secondary=02 subordinate=03',
      'Interrupt: no pin',
      '[40] VPD',
      '[50] #0x77',
      'Problem: capabilities: pointer 0x40 at 0x51 leads back: the chain is a loop',
    ]);
  });
});
