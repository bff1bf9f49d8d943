/** What the machine under test is known to do otherwise than the sheet, kept out of the sequences. */

/** True once the machine does as the sheet says: then the sequences have it. */
export const MATCHES_SHEET = {
  /** 2.6 step 7: PCILG and PCISTG that are not naturally aligned, to a memory BAR of an emulated function, are refused. */
  unalignedToEmulatedMemory: false,
  /** 6.1 operation 2: cc 1 status 4 when a bit vector is not in guest memory. */
  indicatorsOutsideMemory: false,
  /** 7: after an update failed and updates stopped, operation 10 with the same address starts them again. */
  sameBlockAfterFailure: false,
};
