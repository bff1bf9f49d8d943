/** Linux's copy of 4 KiB to offset 8 of a BAR, with the 4 KiB rule as it is meant and as it is written. */
import { ready, splitAccess } from 'ztlp';

await ready();
for (const boundary of ['intended', 'literal']) {
  const { accesses, fault } = splitAccess('zpci-memcpy-new', {
    op: 'write',
    offset: 8,
    bytes: 4096,
    block: true,
    sourceAddress: 0x1000, // the buffer begins with a page
    options: { boundary },
  });
  const done = accesses.reduce((sum, { bytes }) => sum + bytes, 0);
  const last = accesses
    .slice(-3)
    .map(({ offset, bytes }) => `${bytes} at 0x${offset.toString(16)}`)
    .join(', ');
  console.log(`${boundary}: ${accesses.length} instructions, ${done} bytes; the last: ${last}`);
  if (fault !== undefined)
    console.log(
      `  then ${fault.text} at 0x${fault.offset.toString(16)}, and the copy ends with ${fault.errno}`,
    );
}
