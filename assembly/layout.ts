// Floor 0: every size, offset, enumeration and status code that the core and the host share. Imports nothing.
//
// Plain constants only, so that AssemblyScript and TypeScript read the same file. Each constant derives from
// the one before where that is possible; values stay below 0x80000000 so that both languages see one number.

// ---------------------------------------------------------------------------------------------- answers of run()
/** The access is finished; its results are in the ACCESS block. */
export const RUN_DONE = 0;
/** The host has to drain the descriptor ring or the operation records, then call `run` again. */
export const RUN_HOST = 1;

// -------------------------------------------------------------------------------------- answers of machineCreate
export const CREATE_OK = 0;
/** The engine refused to grow the memory. */
export const CREATE_NO_MEMORY = 1;
/** Asked for more than a 32-bit WebAssembly memory can hold. */
export const CREATE_TOO_LARGE = 2;
/** Called a second time: one memory growth per machine. */
export const CREATE_TWICE = 3;

// ------------------------------------------------------------------------------------------------- TLP kinds
// One number per row of the type table (PCIe base specification 2.2.1, table 2-3), used as an index.
export const KIND_MRD32 = 0; // Memory Read, 3 DW header
export const KIND_MRD64 = 1; // Memory Read, 4 DW header
export const KIND_MRDLK32 = 2; // Memory Read Locked
export const KIND_MRDLK64 = 3;
export const KIND_MWR32 = 4; // Memory Write
export const KIND_MWR64 = 5;
export const KIND_IORD = 6; // I/O Read
export const KIND_IOWR = 7; // I/O Write
export const KIND_CFGRD0 = 8; // Configuration Read, type 0
export const KIND_CFGWR0 = 9;
export const KIND_CFGRD1 = 10; // type 1: still to pass a bridge
export const KIND_CFGWR1 = 11;
export const KIND_CPL = 12; // Completion without data
export const KIND_CPLD = 13; // Completion with data
export const KIND_CPLLK = 14;
export const KIND_CPLDLK = 15;
export const KIND_FETCHADD32 = 16; // AtomicOps
export const KIND_FETCHADD64 = 17;
export const KIND_SWAP32 = 18;
export const KIND_SWAP64 = 19;
export const KIND_CAS32 = 20;
export const KIND_CAS64 = 21;
export const KIND_DMWR32 = 22; // Deferrable Memory Write
export const KIND_DMWR64 = 23;
export const KIND_MSG = 24; // Message; its routing is a field of its own
export const KIND_MSGD = 25; // Message with data
export const KIND_COUNT = 26;
/** Answer of the decoder for a Fmt/Type it does not know. */
export const KIND_UNKNOWN = 255;

// Shape of the header after DW0.
export const SHAPE_MEMORY = 0; // requester, tag, byte enables, address
export const SHAPE_IO = 1;
export const SHAPE_CONFIG = 2; // destination ID and register instead of an address
export const SHAPE_COMPLETION = 3; // completer, status, byte count, lower address
export const SHAPE_MESSAGE = 4; // requester, tag, message code, eight message-specific bytes

// Flow-control class.
export const FC_POSTED = 0;
export const FC_NON_POSTED = 1;
export const FC_COMPLETION = 2;

// Completion status (PCIe base specification 2.2.9.1).
export const CPL_SC = 0; // Successful Completion
export const CPL_UR = 1; // Unsupported Request
export const CPL_RRS = 2; // Request Retry Status
export const CPL_CA = 4; // Completer Abort

// Answers of the decoder. Anything but 0 is a Malformed TLP (2.2, 2.3) or bytes that are no TLP.
export const DECODE_OK = 0;
export const DECODE_SHORT = 1; // fewer bytes than the header needs
export const DECODE_UNKNOWN_TYPE = 2; // undefined Fmt/Type
export const DECODE_LENGTH = 3; // data bytes differ from Length
export const DECODE_DIGEST = 4; // TD set without a digest DW, or a digest DW without TD
export const DECODE_BYTE_ENABLES = 5; // byte-enable rules of 2.2.5 (only with `beCheck`)
export const DECODE_CROSS_4K = 6; // memory request crosses a 4 KiB boundary
export const DECODE_IO_CONFIG = 7; // I/O or configuration request with Length, Last BE, TC, Attr or AT not as required
export const DECODE_PAYLOAD = 8; // payload above Max_Payload_Size
export const DECODE_PREFIX = 9; // undefined local prefix, a local prefix behind an end-to-end one, or too many
export const DECODE_MESSAGE_ROUTING = 10; // this message code is not routed that way
export const DECODE_MESSAGE_TC = 11; // INTx, power management and error messages have TC 0
export const DECODE_ATOMIC_LENGTH = 12; // operand size that the AtomicOp does not have
export const DECODE_ATOMIC_ALIGNMENT = 13; // AtomicOp address not aligned to its operand
export const DECODE_DEFERRABLE = 14; // Deferrable Memory Write above 128 bytes
export const DECODE_ADDRESS_FORMAT = 15; // 4 DW header for an address below 4 GiB
export const DECODE_HINT = 16; // processing hint without TH
export const DECODE_ADDRESS_TYPE = 17; // reserved AT, or a translation request that is no memory read
export const DECODE_TOO_MANY_PREFIXES = 18; // more prefixes than FIELDS holds: not decoded any further

/** Longest Deferrable Memory Write, in bytes. */
export const DEFERRABLE_BYTES = 128;

// ------------------------------------------------------------------------------------- FIELDS: one TLP, decoded
// A block of u32 words, one per header field, that host and core fill for each other.
export const FIELD_KIND = 0;
export const FIELD_FMT = 4;
export const FIELD_TYPE = 8;
export const FIELD_TC = 12; // Traffic Class
export const FIELD_ATTR = 16; // bit 0 No Snoop, bit 1 Relaxed Ordering, bit 2 ID-based Ordering
export const FIELD_AT = 20; // Address Type
export const FIELD_TH = 24; // TLP Hints present
export const FIELD_LN = 28; // Lightweight Notification
export const FIELD_TD = 32; // TLP Digest present
export const FIELD_EP = 36; // Error Poisoned
export const FIELD_LENGTH = 40; // in DW, 0..1024
export const FIELD_REQUESTER = 44;
export const FIELD_TAG = 48; // 10 bits
export const FIELD_FIRST_BE = 52;
export const FIELD_LAST_BE = 56;
export const FIELD_ADDRESS_LO = 60;
export const FIELD_ADDRESS_HI = 64;
export const FIELD_PH = 68; // Processing Hint
export const FIELD_COMPLETER = 72; // completer ID, or destination ID of a configuration request
export const FIELD_REGISTER = 76; // configuration byte offset, multiple of 4
export const FIELD_STATUS = 80;
export const FIELD_BCM = 84; // Byte Count Modified
export const FIELD_BYTE_COUNT = 88; // 1..4096
export const FIELD_LOWER_ADDRESS = 92;
export const FIELD_FC = 96;
export const FIELD_DATA_CREDITS = 100;
export const FIELD_HEADER_BYTES = 104;
export const FIELD_PAYLOAD_BYTES = 108;
export const FIELD_WIRE_BYTES = 112; // on a non-flit link, LCRC and framing included
export const FIELD_ROUTING = 116; // of a message: ROUTE_* of message-codes.ts
export const FIELD_MESSAGE_CODE = 120;
export const FIELD_MESSAGE_LO = 124; // message bytes 12 to 15 as a big-endian number
export const FIELD_MESSAGE_HI = 128; // message bytes 8 to 11
export const FIELD_PREFIX_COUNT = 132;
export const FIELD_PREFIX = 136; // PREFIX_SLOTS words, each a prefix with byte 0 in bits 31:24
/** Prefixes that the block holds; a legal TLP has at most four end-to-end ones and rarely a local one. */
export const PREFIX_SLOTS = 8;
export const FIELDS_BYTES = FIELD_PREFIX + 4 * PREFIX_SLOTS + 8;

// ------------------------------------------------------------------------------------------------- TLP prefixes
// Byte 0 of a TLP prefix is 100 e tttt: Fmt 4, bit 4 set when it travels end to end, then the type (2.2.10).
export const PREFIX_FMT = 0x80;
export const PREFIX_FMT_MASK = 0xe0;
export const PREFIX_END_TO_END = 0x10;
export const PREFIX_TYPE_MASK = 0x0f;
export const PREFIX_LOCAL_MR_IOV = 0x0;
export const PREFIX_LOCAL_FLIT = 0xd; // flit mode only
export const PREFIX_VENDOR_0 = 0xe; // both scopes
export const PREFIX_VENDOR_1 = 0xf;
export const PREFIX_TPH = 0x0; // end to end: upper steering tag bits
export const PREFIX_PASID = 0x1; // end to end: Process Address Space ID
export const PREFIX_IDE = 0x2; // end to end: integrity and encryption
/** End-to-end prefixes of one TLP. */
export const PREFIX_MAXIMUM = 4;

// -------------------------------------------------------------------------------------- DESCRIPTOR: one TLP, queued
//
//   0        4        8        12       16       20       24  26  28       32            40       44       48
//   | DW0    | DW1    | DW2    | DW3    | payload| bytes  |knd|slt| prefix | tick        | cause  | wire   |
//
// Header words stand in host order. `payload` points at byte 0 of the first data DW, in the payload ring.
export const DESCRIPTOR_H0 = 0;
export const DESCRIPTOR_H1 = 4;
export const DESCRIPTOR_H2 = 8;
export const DESCRIPTOR_H3 = 12;
export const DESCRIPTOR_PAYLOAD = 16;
export const DESCRIPTOR_BYTES = 20; // payload bytes, Length * 4, 0 without data
export const DESCRIPTOR_KIND = 24; // u8
export const DESCRIPTOR_FLAGS = 25; // u8
export const DESCRIPTOR_SLOT = 26; // u16: function slot at the device end, SLOT_NONE before routing
export const DESCRIPTOR_PREFIX = 28; // u32: the one TLP prefix, byte 0 in bits 31:24; 0: none
export const DESCRIPTOR_TICK = 32; // u64
export const DESCRIPTOR_CAUSE = 40; // number of the operation within its access
export const DESCRIPTOR_WIRE = 44; // wire bytes
export const DESCRIPTOR_STRIDE = 48;

/** Direction: set when the TLP travels from the function towards the root complex. */
export const FLAG_UPSTREAM = 1;
/** Timed: the TLP is only passing through, on its way from one function to another. */
export const FLAG_PASSING = 2;
/** Of a function's request: caches are asked, or not; a unit took No Snoop away; a unit did not let it pass. */
export const FLAG_SNOOPED = 32;
export const FLAG_NON_COHERENT = 4;
export const FLAG_STRIPPED = 8;
export const FLAG_DENIED = 16;
/** `DESCRIPTOR_SLOT` of a TLP that no function claimed; also "no function" as an argument. */
export const SLOT_NONE = 0xffff;

export const RING_LG2 = 13;
/** TLPs that the ring holds. */
export const RING_SLOTS = 1 << RING_LG2;
/** No single operation makes more TLPs than this, completions included: 4 KiB at MPS 128 with RCB 64. */
export const OPERATION_TLPS = 256;

/** Payload ring: staged writes, read results and completion data of one access. */
export const PAYLOAD_BYTES = 4 << 20;
/** No single operation needs more payload room than this: 4 KiB of completions in RCB pieces, each padded. */
export const OPERATION_PAYLOAD = 16384;
/** Staged bytes begin this far into the payload ring: QEMU TCG reads up to 7 bytes before the range asked for. */
export const STAGE_LEAD = 16;
/** Longest access of one host call, in bytes. */
export const ACCESS_BYTES = 1 << 20;

// ------------------------------------------------------------------------- OPERATION record: one operation of a path
export const OPERATION_POSITION_LO = 0;
export const OPERATION_POSITION_HI = 4;
export const OPERATION_BYTES = 8;
export const OPERATION_KIND = 12; // OP_*
export const OPERATION_STRIDE = 16;
export const OPERATION_SLOTS = 8192;

export const OP_ACCESS = 0; // an access that reaches the device: TLPs or device calls
export const OP_SKIPPED = 1; // bytes of an excluded range: dropped on write, 0xff on read

// ------------------------------------------------------------------- HOST record: one thing that a device model has to do
//
//   0      4    6      8        12      16        20     24       28
//   | kind | slot|space| offset | bytes | enables | data | status | request |
export const RECORD_KIND = 0; // RECORD_WRITE and so on
export const RECORD_SLOT = 4; // u16
export const RECORD_SPACE = 6; // u16: BAR number, or SPACE_CONFIG
export const RECORD_OFFSET = 8; // in the space: of the first DW of a TLP, of the first byte of a device call
export const RECORD_BYTES = 12; // Length * 4 of a TLP, or the bytes of a device call
export const RECORD_ENABLES = 16; // Last DW BE in 7:4, First DW BE in 3:0, as in DW1; of a call 0
export const RECORD_DATA = 20; // core address: bytes to write, or where the bytes read go
export const RECORD_STATUS = 24; // CPL_*: the host's answer, CPL_SC before
export const RECORD_REQUEST = 28; // descriptor of the request to complete; 0: nothing waits
export const RECORD_OFFSET_HI = 32; // bits 63:32 of the offset, or of an address
export const RECORD_STRIDE = 40;
export const RECORD_SLOTS = 1024;

export const RECORD_WRITE = 0; // a memory write TLP arrived
export const RECORD_READ = 1; // a memory read TLP wants an answer
export const RECORD_CALL_WRITE = 2; // an emulator's dispatch, no TLP
export const RECORD_CALL_READ = 3;
export const RECORD_CONFIG_WRITE = 4; // a configuration TLP
export const RECORD_CONFIG_READ = 5;
export const RECORD_MESSAGE = 6; // a memory write to the interrupt address range: MSI
/** A PCI instruction asks whether the model accepts it; the answer is 0 (yes) or what the instruction answers, packed. */
export const RECORD_INSTRUCTION = 7;
/** There: which instruction. */
export const RECORD_INSTRUCTION_KIND = RECORD_DATA;

/** A function went into error: space 1 for a read; the offset is the failing address. */
export const RECORD_EVENT = 8;
export const RECORD_EVENT_CODE = RECORD_BYTES; // EVENT_*

/** Timed: a piece of a function's DMA is done; offset says which, the answer is CPL_*. */
export const RECORD_DMA = 9;

export const INSTRUCTION_PCILG = 0;
export const INSTRUCTION_PCISTG = 1;
export const INSTRUCTION_PCISTB = 2;
/** The MIO form of an instruction: this much above the number of the other. */
export const INSTRUCTION_MIO = 3;

// ------------------------------------------------------------------------------ ACCESS block: what one access did
// f64 words: counts are exact up to 2^53.
export const ACCESS_GUEST_INSTRUCTIONS = 0;
export const ACCESS_EXITS = 8;
export const ACCESS_SYSTEM_CALLS = 16;
export const ACCESS_HOST_OPERATIONS = 24;
export const ACCESS_DEVICE_CALLS = 32;
export const ACCESS_TLPS = 40; // requests and completions
export const ACCESS_PAYLOAD_BYTES_DOWN = 48; // data DWs towards the function, in bytes
export const ACCESS_PAYLOAD_BYTES_UP = 56;
export const ACCESS_WIRE_DOWN = 64; // wire bytes towards the function
export const ACCESS_WIRE_UP = 72;
export const ACCESS_LAST_WIRE_DOWN = 80; // wire bytes of the last operation alone
export const ACCESS_LAST_WIRE_UP = 88;
export const ACCESS_REQUESTS = 96; // request TLPs alone
export const ACCESS_BYTES_DONE = 104; // bytes of the access covered by operations, skipped ones included
export const ACCESS_FAULT = 112; // FAULT_*
export const ACCESS_ANSWER = 120; // zPCI answer of a fault, packed as ANSWER_*
export const ACCESS_UNCLAIMED = 128; // requests no function claimed
export const ACCESS_FAULT_POSITION = 136; // offset of the faulting operation
export const ACCESS_FAULT_BYTES = 144; // length of the refused instruction's operand
export const ACCESS_MIO_OPERATIONS = 152; // host operations in the MIO form
export const ACCESS_BLOCK_BYTES = 192;

export const FAULT_NONE = 0;
export const FAULT_ALIGNMENT = 1; // arm64: unaligned access to Device memory
export const FAULT_GENERAL_PROTECTION = 2; // x86 #GP: MOVDIR64B and ENQCMD want a 64-byte aligned destination
export const FAULT_SIZE = 3; // the instruction has exactly one size
export const FAULT_ZPCI = 4; // a PCI instruction did not end with condition code 0; see ACCESS_ANSWER
export const FAULT_EINVAL = 5; // system call refused the range

// ---------------------------------------------------------------------------------- PARAMETERS: u32 words of one access
export const PARAM_OP = 0; // OPERATION_WRITE or OPERATION_READ
export const PARAM_REQUEST = 4; // REQUEST_*
export const PARAM_MPS = 8;
export const PARAM_MRRS = 12;
export const PARAM_RCB = 16;
export const PARAM_WRITE_SPLIT = 20;
export const PARAM_READ_SPLIT = 24;
export const PARAM_COMPLETION_POLICY = 28;
export const PARAM_REQUESTER = 32; // requester ID
export const PARAM_HEADER_BITS = 36; // TC, Attr, AT, TH, TD, EP bits of DW0
export const PARAM_RULES = 40; // four rules: guest, exit, dispatch, host
export const PARAM_RULE_VALUES = 56; // their four values
export const PARAM_COUNTING = 72; // COUNT_* bits
export const PARAM_CHECK = 76; // CHECK_*
export const PARAM_ZPCI_FLAGS = 80; // ZPCI_*
export const PARAM_MAXSTBL = 84;
export const PARAM_EXCLUDED_LO = 88; // first excluded offset (below 4 GiB)
export const PARAM_EXCLUDED_END = 92;
export const PARAM_DESCENDING = 96; // write-combining chunks in descending order
export const PARAM_SOURCE = 100; // memory address of byte 0, low bits (chunking and alignment rules)
export const PARAM_REGION_VALID = 104; // min | max << 8 | unaligned << 16
export const PARAM_REGION_IMPL = 108;
export const PARAM_MODE = 112; // MODE_*
export const PARAM_COMPLETER = 116;
export const PARAM_COALESCED = 120; // 1: writes are queued in the coalesced MMIO ring
export const PARAM_UNCUT = 124; // operations up to this many bytes are one request unless they cross 4 KiB
export const PARAM_ORIGIN = 128; // who sends the requests: ORIGIN_CPU, or slot + 1 of a function (DMA)
export const PARAM_MESSAGE_LO = 132; // addresses at which memory writes are MSI: [LO, END), below 4 GiB; none: both 0
export const PARAM_MESSAGE_END = 136;
export const PARAM_PREFIX = 140; // prefix of all requests as in DESCRIPTOR_PREFIX (a function's PASID); 0: none
export const PARAM_HONOURS = 144; // 1: the platform honours No Snoop
export const PARAM_BYTES = 152;

export const ORIGIN_CPU = 0;

export const OPERATION_WRITE = 0;
export const OPERATION_READ = 1;

export const REQUEST_MEMORY = 0; // MRd / MWr
export const REQUEST_DEFERRABLE = 1; // DMWr
export const REQUEST_CALL = 2; // device call of an emulator, no TLP

export const SPLIT_ALIGNED = 0;
export const SPLIT_GREEDY = 1;
export const SPLIT_COCOTBEXT = 2;

export const COMPLETION_FEWEST = 0;
export const COMPLETION_RCB = 1;

/** Count only: TLPs are formed and forgotten. */
export const MODE_COUNT = 0;
/** List: TLPs and operations stay in their rings until the host drained them; nothing is delivered. */
export const MODE_LIST = 1;
/** Live: TLPs travel to the functions of the machine. */
export const MODE_LIVE = 2;
/** Live, and TLPs stay in the ring until the host drained them. */
export const MODE_TRACE = 3;
/** Live in simulated time: TLPs travel over the links of the machine. */
export const MODE_TIMED = 4;

// Rules: how a range of bytes is cut into the pieces of the next level. `v` is the value beside the rule.
export const RULE_WHOLE = 0; // one piece
export const RULE_NATURAL = 1; // largest power of two <= v that divides the position and fits
export const RULE_CUT = 2; // cut at position multiples of v
export const RULE_FRAGMENT = 3; // at most v bytes from the start, cut at 4 KiB (KVM MMIO fragments)
export const RULE_X86_STRING = 4; // Linux memcpy_toio on x86: 1, 2, dwords, 2, 1
export const RULE_ARM64_COPY = 5; // Linux __memcpy_toio on arm64: bytes, qwords, bytes
export const RULE_ZPCI_OLD = 6; // s390 copy helper before January 2024, limit v
export const RULE_ZPCI_NEW = 7; // s390 copy helper since then, limit v, 4 KiB rule on the I/O address
export const RULE_ZPCI_NEW_LITERAL = 8; // the same with the 4 KiB rule on the memory address
export const RULE_TCG = 9; // QEMU TCG: unaligned stores bytewise, unaligned loads as two aligned loads
export const RULE_WC_LINE = 10; // a closed write-combining line: 64 bytes, or 8-byte chunks
export const RULE_VFIO = 11; // RULE_NATURAL outside the excluded range, which is skipped
export const RULE_VFIO_PRESERVE = 12; // caller's width kept, cut at 4 KiB and the excluded range
export const RULE_CALL = 13; // one dispatch; its device calls follow the region's `impl` sizes

export const LEVELS = 4;

// What each level counts.
export const COUNT_INSTRUCTIONS = 1; // guest level pieces are guest instructions
export const COUNT_EXITS = 2; // exit level pieces are exits
export const COUNT_SYSTEM_CALLS = 4; // dispatch level pieces are system calls
export const COUNT_HOST_OPERATIONS = 8; // host level pieces are host operations
export const COUNT_DEVICE_CALLS = 16; // host level pieces are device calls
export const COUNT_LINE_STORES = 32; // guest pieces are lines, filled by naturally aligned stores of up to 64 bytes
export const COUNT_MIO = 64; // host operations are MIO forms of the PCI instructions

// What must hold for a guest-level piece.
export const CHECK_NONE = 0;
export const CHECK_NATURAL = 1; // position a multiple of the size: else FAULT_ALIGNMENT
export const CHECK_64 = 2; // exactly 64 bytes at a 64-byte aligned position
export const CHECK_ZPCI = 3; // PCISTB above 8 bytes, PCISTG and PCILG up to 8
export const CHECK_ZPCI_BLOCK = 4; // always PCISTB
export const CHECK_KIND = 0xff; // the bits of the above
export const CHECK_CALL = 0x100; // the guest level is a system call that takes ranges within a page: else FAULT_EINVAL
export const CHECK_AT_HOST = 0x200; // the kind holds for host operations, the host's own PCI instructions
export const CHECK_PASSED_ON = 0x400; // a VMM passes the instruction on: those of the host reach the function
export const CHECK_RETRY = 0x800; // a kernel accessor in the form with a handle: busy is tried again

// --------------------------------------------------------------------------------------- FUNCTION table
export const FUNCTION_SLOTS = 64;
export const FUNCTION_HANDLE = 0; // zPCI function handle as the guest has to give it, enable bit included
export const FUNCTION_STATE = 4; // STATE_*
export const FUNCTION_ZPCI_FLAGS = 8;
export const FUNCTION_MAXSTBL = 12;
export const FUNCTION_ID = 16; // bus/device/function
/** vfio: widest access of the host kernel, 4 or 8 bytes; 0: the caller's width is kept. */
export const FUNCTION_HOST_WIDTH = 20;
export const FUNCTION_LOADS = 24; // f64 words, measurement block counters
export const FUNCTION_STORES = 32;
export const FUNCTION_STORE_BLOCKS = 40;
export const FUNCTION_TLPS_DOWN = 48; // f64 words, traffic
export const FUNCTION_TLPS_UP = 56;
export const FUNCTION_WIRE_DOWN = 64;
export const FUNCTION_WIRE_UP = 72;
export const FUNCTION_DEVICE_CALLS = 80;
export const FUNCTION_REFRESHES = 88; // f64, measurement block: successful RPCIT
export const FUNCTION_POLICY_VIOLATIONS = 96; // f64, PCI instructions that the function does not take
export const FUNCTION_COHERENT = 104; // f64, its requests for host memory: TLPs and bytes that caches were asked about
export const FUNCTION_COHERENT_BYTES = 112;
export const FUNCTION_NON_COHERENT = 120;
export const FUNCTION_NON_COHERENT_BYTES = 128;
export const FUNCTION_STRIPPED = 136; // TLPs whose No Snoop the translation unit took away
export const FUNCTION_COMMAND = 144; // COMMAND_* of the command register
export const FUNCTION_UNIT = 148; // translation unit in front of it, counted from 1; 0: none
export const FUNCTION_BARS = 152;
/** Memory Space Enable: without it no BAR claims an address (PCI local bus specification 3.0, 6.2.2). */
export const COMMAND_MEMORY = 2;
export const BAR_BASE = 0; // u64 bus address
export const BAR_BYTES = 8; // u64; 0: not implemented
export const BAR_MEMORY = 16; // core memory behind it, below 4 GiB
export const BAR_VALID = 20; // accepted sizes: min | max << 8 | unaligned << 16
export const BAR_IMPL = 24; // sizes of the device calls
export const BAR_SERVER = 28; // SERVED_BY_*
export const BAR_STRIDE = 32;
/** The BAR is memory of the core. */
export const SERVED_BY_CORE = 0;
/** Accesses become HOST records: a device model answers them. */
export const SERVED_BY_HOST = 1;
export const BAR_COUNT = 6;
export const FUNCTION_STRIDE = FUNCTION_BARS + BAR_COUNT * BAR_STRIDE;

// ------------------------------------------------------------------------------------- DMA table: one entry per function
//
//   0      4       8     16    24     32
//   | mode | flags | PBA | PAL | IOTA | MSIA |
export const DMA_MODE = 0; // DMA_DIRECT and so on
export const DMA_FLAGS = 4;
export const DMA_PBA = 8; // u64: first and last I/O address of the registered range
export const DMA_PAL = 16;
export const DMA_IOTA = 24; // u64: translation anchor
export const DMA_MSIA = 32; // u64: a write to this page is an interrupt message
export const DMA_STRIDE = 40;

/** Bit T of an anchor: translation through tables. Without it real addresses stand from the first DMA address on. */
export const IOTA_TRANSLATED = 0x800;
/** First DMA address of every function, bits 63:32 (QEMU 7.2, zpci.md 4.4). */
export const SDMA_HI = 1;

/** Entries of the I/O translation buffer, and bytes of each. */
export const IOTLB_LG2 = 16;
export const IOTLB_ENTRY_LG2 = 4;

export const DMA_DIRECT = 0; // requests reach the bus as they are
export const DMA_UNREGISTERED = 1; // nothing is translated
export const DMA_REGISTERED = 2;

export const DMA_IN_ERROR = 1; // flag: also in state ERROR_LS_OPEN (option dmaInErrorLsOpen)
export const DMA_QUIRKS = 2; // flag: as QEMU 7.2: writes above PAL are lost, frame 0 cannot be mapped

// PCI event codes of errors (zpci.md 5.6).
export const EVENT_INVALID_SPACE = 0x1;
export const EVENT_OUT_OF_RANGE = 0x2;
export const EVENT_TRANSLATION = 0x4;
export const EVENT_INVALID_ENTRY = 0x7;
export const EVENT_TABLE_LENGTH = 0x8;
export const EVENT_TABLE_TYPE = 0x9;

// zPCI function states (QEMU's seven; Linux: standby, configured, reserved).
export const STATE_RESERVED = 0;
export const STATE_STANDBY = 1;
export const STATE_DISABLED = 2;
export const STATE_ENABLED = 3;
export const STATE_ERROR_LS_OPEN = 4;
export const STATE_ERROR = 5;
export const STATE_PERMANENT_ERROR = 6;

export const ZPCI_RELAXED = 1; // PCISTB: any length and alignment (already combined with interception)
export const ZPCI_DWORD_PAGE = 2; // PCILG/PCISTG may cross a doubleword, not a page
export const ZPCI_RELAXED_MAXIMUM_PAGE = 4; // longest relaxed PCISTB is 4096 whatever maxstbl says
export const ZPCI_ZERO_LENGTH_PE = 8; // relaxed PCISTB of length 0 is a specification exception
export const ZPCI_QUIRKS = 16; // lengths 3, 5, 6, 7 act as their lowest set bit
export const ZPCI_EMULATED = 32; // device calls instead of TLPs
export const ZPCI_INTERCEPTED = 64; // executed by a VMM
export const ZPCI_ASKS = 128; // the device model accepts or refuses each PCI instruction
export const ZPCI_MIO_CAPABLE = 256; // the function can be reached by the MIO forms
export const ZPCI_MIO_ENABLED = 512; // and this guest may use them (CLP set PCI function, operation 2)
export const ZPCI_HOST_MIO = 1024; // the kernel that passes instructions on uses MIO forms

// MIO addresses: what machines use is not public, so the layout is ours. Write-through addresses; those for write-back
// have one bit more, at the position that CLP command 1 reports.
export const MIO_BASE_HI = 0x0010_0000; // bits 63:32
export const MIO_SLOT_SHIFT = 4; // bits 63:32: slot above BAR number
export const MIO_BAR_MASK = 0xf;
export const MIO_WRITE_BACK_HI = 0x0200_0000; // bit 57
export const MIO_WRITE_BACK_BIT = 6; // the same counted from the left

export const HANDLE_ENABLE_LG2 = 31; // bit number of the enable bit
export const HANDLE_INDEX_MASK = 0xffff;
export const HANDLE_MARK_VFIO = 0x00010000;
export const HANDLE_MARK_EMULATED = 0x00020000;

export const SPACE_CONFIG = 15; // address space 15 is configuration space

// Answer of a PCI instruction: cc | status << 8 | program interruption code << 16.
export const ANSWER_CC_MASK = 0xff;
export const ANSWER_STATUS_SHIFT = 8;
export const ANSWER_INTERRUPTION_SHIFT = 16;
export const CC_DONE = 0;
export const CC_ERROR = 1; // see the status
export const CC_BUSY = 2;
export const CC_NO_FUNCTION = 3; // invalid handle or function not available
export const STATUS_IN_ERROR = 8; // function in error state
export const STATUS_BLOCKED = 12; // function blocked
export const STATUS_RESOURCES = 16; // insufficient resources
export const STATUS_ADDRESS_SPACE = 20; // invalid address space
export const STATUS_ERROR_RECOVERY = 40; // function not available: QEMU in error recovery
export const PE_OPERATION = 1; // operation exception: the machine has no such instruction
export const PE_PRIVILEGED = 2; // privileged-operation exception
export const PE_ADDRESSING = 5; // addressing exception
export const PE_SPECIFICATION = 6; // specification exception
export const PE_OPERAND = 0x15; // operand exception

/** Longest PCISTB and the border it may not cross, in bytes. */
export const PAGE_BYTES = 4096;
/** The length field of PCISTB has 13 bits. */
export const PCISTB_LENGTH_MASK = 0x1fff;
/** The length field of PCILG and PCISTG has 4 bits. */
export const PCISTG_LENGTH_MASK = 0xf;

// ------------------------------------------------------------------------------------------------ traffic counters
// COUNTERS block: f64 words, one per TLP kind and direction: `kind * 16 + (upstream ? 8 : 0)`.
export const COUNTER_KIND_STRIDE = 16;
export const COUNTER_WIRE_DOWN = KIND_COUNT * COUNTER_KIND_STRIDE;
export const COUNTER_WIRE_UP = COUNTER_WIRE_DOWN + 8;
export const COUNTER_PAYLOAD_DOWN = COUNTER_WIRE_UP + 8;
export const COUNTER_PAYLOAD_UP = COUNTER_PAYLOAD_DOWN + 8;
export const COUNTER_UNCLAIMED_POSTED = COUNTER_PAYLOAD_UP + 8; // dropped: no function claimed the address
export const COUNTER_UNCLAIMED_NON_POSTED = COUNTER_UNCLAIMED_POSTED + 8; // answered with UR
export const COUNTERS_BYTES = COUNTER_UNCLAIMED_NON_POSTED + 8;

// ------------------------------------------------------------------------------------------------ places
// Argument of `place`: where a block stands in memory.
export const PLACE_FIELDS = 0;
export const PLACE_WIRE = 1; // scratch: one TLP in wire order, WIRE_LEAD bytes after the start
export const PLACE_PARAMS = 2;
export const PLACE_ACCESS = 3;
export const PLACE_FUNCTIONS = 4;
export const PLACE_COUNTERS = 5;
export const PLACE_RING = 6;
export const PLACE_OPERATIONS = 7;
export const PLACE_PAYLOAD = 8;
export const PLACE_HOST_MEMORY = 9;
export const PLACE_BAR_MEMORY = 10;
export const PLACE_RECORDS = 11;
export const PLACE_DMA = 12;
export const PLACE_LINK = 13;
export const PLACE_LATENCIES = 14;
export const PLACE_LINK_LOG = 15;
export const PLACE_UNITS = 16; // blocks of translation units, see iommu-layout.ts
export const PLACE_UNIT_RESULT = 17;
export const PLACE_UNIT_STEPS = 18;
export const PLACE_COUNT = 19;

/** Bytes kept free before the TLP in the wire scratch: the LCRC also covers two sequence bytes. */
export const WIRE_LEAD = 16;
/** Largest TLP: PREFIX_SLOTS prefixes, 16 header bytes, 4096 data bytes, digest; rounded up. */
export const WIRE_BYTES = WIRE_LEAD + 4160;

/** Data link overhead of one TLP on a non-flit link: framing 4, sequence and LCRC 4 (base specification 3.6, 4.2). */
export const TLP_OVERHEAD_BYTES = 8;

/** Ticks per nanosecond: every byte time of gen 1 to 5 at x1 to x16 is a whole number of ticks. */
export const TICKS_PER_NS = 4096;

// Flags of `pcistb` and `pcilgOrStg`, beside the address space in bits 3:0.
export const STORE_PROBLEM_STATE = 1 << 8; // executed in problem state
export const STORE_FROM_MEMORY = 1 << 9; // source is a guest address, else bytes staged in the payload ring
/** Source bytes are the host's: it writes them straight into place once the core has said where. */
export const STORE_IN_PLACE = 1 << 10;
/** PCILG and PCISTG: the first register of the pair has an odd number. */
export const OPERAND_ODD = 1 << 11;
/** The MIO form: the offset is a MIO address, which names function and space. */
export const OPERAND_ADDRESS = 1 << 12;
/** Answers of `pcistb` below this are packed as ANSWER_*; from it on they are where the host puts the bytes. */
export const ANSWER_LIMIT = PAYLOAD_BYTES;
/** Nothing happened yet: stage the bytes and call again without STORE_IN_PLACE. */
export const STAGE_FIRST = ANSWER_LIMIT - 1;
/** Set in an answer: the host has to serve the records and then call `zpciResume`. */
export const ANSWER_HOST = 1 << 30;

// ------------------------------------------------------------------------------------- TIMED: a machine in simulated time
/** Pieces of DMA that may be under way at once in a timed machine, and the room of each: a page at any phase. */
export const DMA_PIECES = 256;
export const DMA_PIECE_BYTES = PAGE_BYTES + 32;

/** Answers of `timedRun`. */
export const TIMED_REACHED = 0; // what was waited for
export const TIMED_HOST = 1; // records to serve, a timer of the host is due, or TLPs to drain

// What `timedRun` waits for, beside its end.
export const UNTIL_TIME = 0;
export const UNTIL_ROOM = 1; // in the store buffer of the CPU
export const UNTIL_QUIET = 2; // nothing is under way on any link
