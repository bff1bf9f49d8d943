/** The thread in which `ztlp check-device` runs a device model, which may never return. */
import { parentPort, workerData } from 'node:worker_threads';
import { ZtlpError } from '../base/errors.js';
import { checkDevice, DEFAULT_ACCESSES } from '../check/check-device.js';
import { Note, type WorkerInput, type WorkerMessage } from '../check/watchdog.js';
import { ENDLESS_AWAIT } from './contained.js';
import { loadDevice } from './load-device.js';

const input = workerData as WorkerInput;
const send = (message: WorkerMessage): void => parentPort?.postMessage(message);

try {
  const note = new Note(input.note);
  const onIdle = (): void => {
    send({ kind: 'error', code: 'malformed', message: `${input.device}: ${ENDLESS_AWAIT}` });
    process.exit();
  };
  process.on('beforeExit', onIdle);
  const device = await loadDevice(input.device);
  process.off('beforeExit', onIdle);
  const { seed, accesses = DEFAULT_ACCESSES } = input;
  send({ kind: 'loaded', name: device.name, accesses });
  const report = await checkDevice(device, {
    seed,
    accesses,
    onCheck: (result) => send({ kind: 'check', result }),
    onCall: (check, callback, bar, offset) => note.write(check, callback, bar, offset),
  });
  send({ kind: 'report', report });
} catch (error) {
  if (!(error instanceof ZtlpError)) throw error;
  send({ kind: 'error', code: error.code, message: error.message });
}
