/** Numbers and places of the mlx5 data path: opcodes, syndromes, event types and sizes, all big-endian in memory. */

// Facts: Linux 6.1 include/linux/mlx5/{device.h,qp.h,cq.h,eq.h,mlx5_ifc.h} and rdma-core providers/mlx5/mlx5dv.h, read for
// their layouts (sheet mlx.md A2 to A7).

export const PAGE_BYTES = 4096;
/** Bytes of a send queue basic block (WQEBB), and the 16-byte unit in which a WQE says its length. */
export const BLOCK_BYTES = 64;
export const UNIT_BYTES = 16;
export const UNITS_PER_BLOCK = BLOCK_BYTES / UNIT_BYTES;
/** Bytes of a CQE and of an EQE. */
export const ENTRY_BYTES = 64;
/** Counters of work queues have 16 bits, those of CQs and EQs 24. */
export const WQ_MASK = 0xffff;
export const CQ_MASK = 0xff_ffff;

/** Offsets in a UAR page. */
export const UAR = {
  CQ_DOORBELL: 0x020, // 8 bytes: sn, cmd, ci; cqn
  EQ_ARM: 0x040, // eqn, ci
  EQ_UPDATE: 0x048, // the same, without arming
  BLUE_FLAME: 0x800, // four registers, bfRegSize apart
} as const;
export const BLUE_FLAME_REGISTERS = 4; // MLX5_BFREGS_PER_UAR

/** Pages of BAR 0 below this one hold the initialization segment and the MSI-X tables (A1). */
export const FIRST_UAR = 4;

/** Send WQE opcodes that are served. */
export const WQE_NOP = 0x00;
export const WQE_SEND = 0x0a;

/** CE field of the control segment: when a completion is written. */
export const CE_ALWAYS = 2; // MLX5_WQE_CTRL_CQ_UPDATE
export const CE_EVENT = 3; // CQE and EQE

/** CQE opcodes, bits [7:4] of the last byte. */
export const CQE = {
  REQ: 0x0,
  RESP_SEND: 0x2,
  REQ_ERR: 0xd,
  RESP_ERR: 0xe,
} as const;

/** Syndromes of error CQEs. */
export const SYNDROME = {
  LOCAL_LENGTH: 0x01,
  LOCAL_QP_OPERATION: 0x02,
  LOCAL_PROTECTION: 0x04,
  FLUSHED: 0x05, // WR flushed
  LOCAL_ACCESS: 0x11,
} as const;
export type Syndrome = (typeof SYNDROME)[keyof typeof SYNDROME];

/** EQE types. */
export const EVENT = {
  COMPLETION: 0x00,
  CQ_ERROR: 0x04,
  WQ_CATASTROPHIC: 0x05, // WQ_CATAS
} as const;

/** Type of a queue in an EQE about a work queue (device.h MLX5_EVENT_QUEUE_TYPE_*). */
export const QUEUE_RQ = 1;
export const QUEUE_SQ = 2;

/** Syndromes of the health buffer (B1). */
export const HEALTH_FETCH_PCI = 0x0a;
export const HEALTH_EQ_OVERRUN = 0x0c;

/** lkey that ends a receive scatter list. */
export const INVALID_LKEY = 0x100;
