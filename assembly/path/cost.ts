// Floor 7: what software takes in a timed machine: each operation of an access begins when its instructions, exits and calls
// are paid for (timing.md 7).

import { catchUp, cpuTime, runTimed, spend } from '../fabric/schedule';
import { UNTIL_ROOM, UNTIL_TIME } from '../layout';
import { NEVER } from '../link/port';
import { exits, hostOperations, hostOperationsNext, instructions, systemCalls } from './counts';

let instructionTicks: u64 = 0;
let exitTicks: u64 = 0;
let systemCallTicks: u64 = 0;
let hostTicks: u64 = 0;
/** Of the access that runs. */
let paid: u64 = 0;

/** Ticks of one of each, for the accesses that follow. */
export function setCosts(instruction: u64, exit: u64, systemCall: u64, host: u64): void {
  instructionTicks = instruction;
  exitTicks = exit;
  systemCallTicks = systemCall;
  hostTicks = host;
}

export function resetCost(): void {
  paid = 0;
}

/**
 * The next operation of the access: pays for it, and waits for room in the store buffer. A device call of an emulator
 * (`isCall`) happens at the time of the CPU. False: the host has something to do first.
 */
export function isTimeFor(isCall: bool): bool {
  pay(hostOperationsNext());
  if (isCall) return runTimed(UNTIL_TIME, cpuTime);
  return runTimed(UNTIL_ROOM, NEVER);
}

/** What was paid for last was refused, and is no operation. */
export function takeBack(): void {
  pay(hostOperations);
  catchUp();
}

function pay(operations: u64): void {
  const cost =
    instructions * instructionTicks +
    exits * exitTicks +
    systemCalls * systemCallTicks +
    operations * hostTicks;
  spend(cost - paid);
  paid = cost;
}
