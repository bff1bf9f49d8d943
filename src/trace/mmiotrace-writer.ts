/** Prints mmiotrace records back as the lines of a Linux mmiotrace log. */
import type { MmioRecord } from './mmiotrace.js';

/**
 * One line without its line end, exactly as the kernel prints it (Linux kernel/trace/trace_mmiotrace.c).
 * A PCIDEV line without a driver ends with a space there, and so it does here.
 */
export function formatMmioRecord(record: MmioRecord): string {
  switch (record.kind) {
    case 'read':
    case 'write': {
      const { width, ts, map, pid } = record;
      const letter = record.kind === 'read' ? 'R' : 'W';
      const address = hex64(record.lo, record.hi);
      const value = hex64(record.valueLo, record.valueHi);
      return `${letter} ${width} ${seconds(ts)} ${map} 0x${address} 0x${value} ${pc(record)} ${pid}`;
    }
    case 'map': {
      const address = hex64(record.lo, record.hi);
      const virt = hex64(record.virtLo, record.virtHi);
      const where = `0x${address} 0x${virt} 0x${record.length.toString(16)}`;
      return `MAP ${seconds(record.ts)} ${record.map} ${where} ${pc(record)} ${record.pid}`;
    }
    case 'unmap':
      return `UNMAP ${seconds(record.ts)} ${record.map} ${pc(record)} ${record.pid}`;
    case 'mark':
      return `MARK ${seconds(record.ts)} ${record.text}`;
    case 'unknown': {
      const { opcode } = record;
      const bytes = [opcode >>> 16, (opcode >>> 8) & 0xff, opcode & 0xff]
        .map((byte) => hex(byte, 2))
        .join(',');
      const address = hex64(record.lo, record.hi);
      return `UNKNOWN ${seconds(record.ts)} ${record.map} 0x${address} ${bytes} ${pc(record)} ${record.pid}`;
    }
    case 'pcidev': {
      const place = hex(record.bus, 2) + hex(record.devfn, 2);
      const id = hex(record.vendor, 4) + hex(record.device, 4);
      const starts = record.resources.map((r) => hex64((r.lo | r.flags) >>> 0, r.hi)).join(' ');
      const sizes = record.resources.map((r) => r.size.toString(16)).join(' ');
      return `PCIDEV ${place} ${id} ${record.irq.toString(16)} ${starts} ${sizes} ${record.driver}`;
    }
    case 'version':
      return `VERSION ${record.version}`;
    case 'lspci':
      return `LSPCI ${record.text}`;
  }
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

/** A 64-bit number without leading zeros. */
function hex64(lo: number, hi: number): string {
  return hi === 0 ? lo.toString(16) : hi.toString(16) + hex(lo, 8);
}

function pc(record: { readonly pcLo: number; readonly pcHi: number }): string {
  return `0x${hex64(record.pcLo, record.pcHi)}`;
}

/** Microseconds as seconds with six digits after the point. */
function seconds(ts: number): string {
  return `${Math.floor(ts / 1e6)}.${String(ts % 1e6).padStart(6, '0')}`;
}
