/** Status of commands (NVM Express base specification 1.4, section 4.6.1): code, type, More and Do Not Retry. */

// Status Field of a completion queue entry, DW3 bits 31:17, as one number:
//
//    14    13   12 11   10      8   7                 0
//   +-----+-----+-----+------------+-------------------+
//   | DNR |  M  | CRD | SCT        | SC                |
//   +-----+-----+-----+------------+-------------------+

/** Do Not Retry: the same command will fail again. */
const DNR = 1 << 14;
/** More: the Error Information log has an entry for this command. */
export const MORE = 1 << 13;
const SPECIFIC = 1 << 8; // Status Code Type 1: command specific
const MEDIA = 2 << 8; // Status Code Type 2: media and data integrity

export const STATUS = {
  SUCCESS: 0,
  // Generic (figure 127)
  INVALID_OPCODE: 0x01 | DNR,
  INVALID_FIELD: 0x02 | DNR,
  DATA_TRANSFER_ERROR: 0x04, // the host may have repaired its memory or its IOMMU tables: a retry can succeed
  ABORT_REQUESTED: 0x07,
  ABORTED_SQ_DELETION: 0x08,
  INVALID_NAMESPACE: 0x0b | DNR,
  SEQUENCE_ERROR: 0x0c | DNR,
  PRP_OFFSET_INVALID: 0x13 | DNR,
  WRITE_PROTECTED: 0x20 | DNR,
  LBA_OUT_OF_RANGE: 0x80 | DNR,
  // Command specific (figure 128)
  COMPLETION_QUEUE_INVALID: 0x00 | SPECIFIC | DNR,
  INVALID_QUEUE_ID: 0x01 | SPECIFIC | DNR,
  INVALID_QUEUE_SIZE: 0x02 | SPECIFIC | DNR,
  EVENT_LIMIT_EXCEEDED: 0x05 | SPECIFIC | DNR,
  INVALID_VECTOR: 0x08 | SPECIFIC | DNR,
  INVALID_LOG_PAGE: 0x09 | SPECIFIC | DNR,
  INVALID_QUEUE_DELETION: 0x0c | SPECIFIC | DNR,
  NOT_SAVEABLE: 0x0d | SPECIFIC | DNR,
  NOT_NAMESPACE_SPECIFIC: 0x0f | SPECIFIC | DNR,
  // Media (figure 130)
  WRITE_FAULT: 0x80 | MEDIA,
  READ_ERROR: 0x81 | MEDIA,
} as const;

/** One of `STATUS`. */
export type Status = (typeof STATUS)[keyof typeof STATUS];
