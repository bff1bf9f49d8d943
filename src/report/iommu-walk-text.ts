/** `ztlp iommu walk` for people: a table of steps per request, and how each ended. */
import { hex64 } from '../core/u64.js';
import { nameOf } from '../iommu/domain-unit.js';
import { pageName } from '../iommu/explain.js';
import type { Walk, WalkReport } from './iommu-walk.js';
import type { Style } from './style.js';
import { table } from './table.js';

function requestText({ request }: Walk): string {
  const { sid, address, isWrite, isPrivileged, pasid } = request;
  const of = pasid === undefined ? '' : ` PASID ${pasid}`;
  return `${nameOf({ sid })}${of} ${isPrivileged ? 'privileged ' : ''}${isWrite ? 'write' : 'read'} ${hex64(address)}`;
}

function endText({ answer, reason }: Walk): string {
  switch (answer.kind) {
    case 'translated': {
      const { read, write } = answer.permissions;
      const allowed = [read ? 'read' : '', write ? 'write' : ''].filter((word) => word !== '').join(' ');
      const page =
        answer.pageLg2 === 63 ? answer.path : `${answer.path}, ${pageName(answer.pageLg2)} page, ${allowed}`;
      return `-> ${hex64(answer.address)}  (${page}${answer.forcesSnoop ? ', takes No Snoop away' : ''})`;
    }
    case 'fault':
      return `-> fault 0x${answer.reason.toString(16)}: ${reason}${answer.isRecorded ? '' : ' (not recorded)'}`;
    case 'message':
      return '-> an interrupt message';
    default:
      return '-> refused without a fault';
  }
}

export function formatWalks(report: WalkReport, style: Style, width: number): string {
  const { unit, root, memory, walks } = report;
  const head = `${unit}, root ${hex64(root)}, memory ${hex64(memory.first)} to ${hex64(memory.end - 1n)}`;
  const parts = walks.map((walk) => {
    const rows = walk.steps.map(({ what, address, entry, meaning }) => [
      what,
      hex64(address),
      hex64(entry),
      meaning,
    ]);
    const steps =
      rows.length === 0
        ? ''
        : `${table(['structure', 'address', 'entry', 'says'], rows, { style, width })}\n`;
    return `${style.bold(requestText(walk))}\n${steps}${endText(walk)}`;
  });
  return `${head}\n\n${parts.join('\n\n')}\n`;
}
