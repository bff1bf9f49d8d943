// Floor 0: I/O memory management units as core and host both see them: what a unit is, what it answers, what it recorded.

export const UNIT_MOST = 4;
/** Bytes of one unit's block. u32 words, or u64 where it says so. */
export const UNIT_STRIDE = 512;

export const UNIT_VTD = 0;
export const UNIT_SMMU = 1;
export const UNIT_AMD = 2;

// What the unit is, written by the host before `unitStart`.
export const UNIT_HOST_WIDTH = 0; // address bits that entries may name
export const UNIT_GUEST_WIDTH = 4; // MGAW: address bits of requests
export const UNIT_WIDTHS = 8; // SAGAW: bit 1 is 3 levels, bit 2 is 4, bit 3 is 5
export const UNIT_FEATURES = 12; // FEATURE_*
export const UNIT_MODEL = 16; // MODEL_*
export const UNIT_RECORDS = 20; // fault recording registers, 1 to FAULT_RECORDS
export const UNIT_ENTRIES = 24; // of the IOTLB
export const UNIT_REPLACEMENT = 28; // REPLACE_*
export const UNIT_KEY = 32; // KEY_*
export const UNIT_SEED = 36; // of the generator for REPLACE_RANDOM, not 0
export const UNIT_KIND = 44; // UNIT_VTD, UNIT_SMMU or UNIT_AMD

// Registers.
export const UNIT_IS_ON = 40; // 1: translation is on (TE, SMMUEN)
export const UNIT_ROOT = 48; // u64, RTADDR, STRTAB_BASE, base of the device table
export const UNIT_STREAMS = 104; // STRTAB_BASE_CFG; AMD: entries of the device table
export const UNIT_FAULT_STATUS = 56; // FSTS: FAULT_OVERFLOW, FAULT_PENDING, index of the first record in bits 15:8

export const UNIT_NEXT_RECORD = 60; // the core's: where the next fault goes

// Timed: how many walks run at a time (1 to WALKERS_MOST), and how long one takes, u64 ticks.
export const UNIT_WALKERS = 108;
export const UNIT_WALK_TICKS = 112;
export const WALKERS_MOST = 1024;

// What it did, u64.
export const UNIT_HITS = 64;
export const UNIT_MISSES = 72;
export const UNIT_WALK_READS = 80; // entries read from memory, of all structures
export const UNIT_FAULTS = 88; // recorded or not
export const UNIT_SAVED_READS = 120; // entries that walks did not read, as they began at a table that was kept

/** Fault records, FAULT_RECORD_BYTES each: address (u64), FAULT_RECORD_* words. */
export const UNIT_FAULT_RECORDS = 128;
export const FAULT_RECORDS = 8;
export const FAULT_RECORD_BYTES = 32;
export const FAULT_RECORD_REASON = 8;
export const FAULT_RECORD_SID = 12;
export const FAULT_RECORD_PASID = 16; // PASID_NONE: the request had none
export const FAULT_RECORD_FLAGS = 20; // REQUEST_*
export const FAULT_RECORD_IS_SET = 24; // F

/** Entries of the paging-structure caches, for each level; 0: there are none. The host writes it before `unitStart`. */
export const UNIT_STRUCTURES = 456;

/** SMMU and AMD: events since software looked; the first EVENTS_MOST stand where a VT-d unit has its fault records. */
export const UNIT_EVENTS = 96;
export const EVENTS_MOST = 8;
export const EVENT_BYTES = 32;
export const EVENT_ADDRESS = 0; // u64, of the request
export const EVENT_TYPE = 8;
export const EVENT_SID = 12;
export const EVENT_FETCH = 16; // u64, what could not be read, or the intermediate address that was not translated
export const EVENT_FLAGS = 24; // SMMU: bit 0 RnW, bits 2:1 class, bit 3 S2, bit 4 PnU; AMD: AMD_*
export const EVENT_DETAIL = 28; // SMMU: substream, PASID_NONE for none; AMD: domain

// Flags of an AMD event, in the order of its second word from bit 16 on.
export const AMD_GUEST = 0x01; // GN: the request has a PASID
export const AMD_INTERRUPT = 0x08; // I
export const AMD_PRESENT = 0x10; // PR
export const AMD_WRITE = 0x20; // RW
export const AMD_PERMISSION = 0x40; // PE
export const AMD_RESERVED = 0x80; // RZ

// SMMU, behind the fault records.
export const UNIT_SUBSTREAM_BITS = 448; // SSIDSIZE: log2 of the substreams that a stream may have
export const UNIT_ABORTS = 452; // GBPA.ABORT: 1: requests are aborted while the unit is off

export const FAULT_OVERFLOW = 1; // PFO
export const FAULT_PENDING = 2; // PPF

export const FEATURE_SNOOP_CONTROL = 1; // ECAP.SC
export const FEATURE_DEVICE_TLB = 2; // ECAP.DT
export const FEATURE_PASS_THROUGH = 4; // ECAP.PT
export const FEATURE_SCALABLE = 8; // ECAP.SMTS
export const FEATURE_2M = 16; // CAP.SLLPS
export const FEATURE_1G = 32;
export const FEATURE_ACCESS_FLAG = 0x1_0000; // SMMU, AMD: hardware sets access flags
export const FEATURE_DIRTY_FLAG = 0x2_0000; // and marks pages as dirty
export const FEATURE_FIRST_STAGE = 64; // ECAP.FLTS
export const FEATURE_NESTED = 128; // ECAP.NEST
export const FEATURE_FIRST_1G = 256; // CAP.FL1GP
export const FEATURE_FIVE_LEVELS = 512; // CAP.FL5LP, of the first stage
export const FEATURE_WALK_SNOOPS = 1024; // ECAP.SMPWCS
export const FEATURE_SECOND_FLAGS = 2048; // ECAP.SLADS: accessed and dirty flags of the second stage
export const FEATURE_EXTENDED_FLAG = 4096; // ECAP.EAFS
export const FEATURE_SUPERVISOR = 8192; // ECAP.SRS
export const FEATURE_NO_WRITE = 16384; // ECAP.NWFS
export const FEATURE_ABORT = 32768; // ECAP.ADMS

/** SMMU: CANWBS of the root complex: accesses are coherent whatever their attributes are. */
export const FEATURE_COHERENT = 0x4_0000;

export const MODEL_QEMU = 1; // vtdModel qemu72
export const MODEL_QEMU_REASONS = 2; // faultReasons qemu72
export const MODEL_BYTE_CHECK = 4; // interruptRangeCheck byte
export const MODEL_WIDTH_CHECK = 8; // passThroughWidthCheck
export const MODEL_IGNORE_PGSNP = 16; // pgsnpWithoutSc ignore
export const MODEL_PASS_AS_SENT = 32; // passThroughSnoop asSent

export const REPLACE_LRU = 0;
export const REPLACE_FIFO = 1;
export const REPLACE_RANDOM = 2;
export const REPLACE_FLUSH = 3;

export const KEY_DOMAIN = 0;
export const KEY_REQUESTER = 1;

export const PASID_NONE = 0xfffff + 1;

// Flags of a request.
export const REQUEST_WRITE = 1;
export const REQUEST_PRIVILEGED = 2;
export const REQUEST_TRANSLATION = 4; // AT 01: an endpoint asks for a translation
export const REQUEST_TRANSLATED = 8; // AT 10: the address comes from one
export const REQUEST_NO_WRITE = 16; // NW of a request for a translation

// ---------------------------------------------------------------------------------------- RESULT: of the last translation
export const RESULT_BYTES = 48;
export const RESULT_ADDRESS = 0; // u64
export const RESULT_PAGE_LG2 = 8;
export const RESULT_PERMISSIONS = 12; // PERMISSION_*
export const RESULT_FORCES_SNOOP = 16;
export const RESULT_REASON = 20; // of a fault, as it is reported; 0: none
export const RESULT_IS_RECORDED = 24;
export const RESULT_READS = 28; // entries read from memory
export const RESULT_CACHE = 32; // CACHE_*
export const RESULT_PATH = 36; // PATH_*
export const RESULT_DOMAIN = 40;
/** SMMU: TYPE_*. */
export const RESULT_TYPE = 44;
/** The memory type of the page is Device or Normal non-cacheable, so that caches are never asked. */
export const TYPE_UNCACHEABLE = 1;
/** Caches are always asked (FEATURE_COHERENT). */
export const TYPE_COHERENT = 2;

export const PERMISSION_READ = 1;
export const PERMISSION_WRITE = 2;

export const CACHE_BYPASS = 0;
export const CACHE_HIT = 1;
export const CACHE_MISS = 2;

export const PATH_OFF = 0;
export const PATH_PASS_THROUGH = 1;
export const PATH_SECOND = 2;
export const PATH_FIRST = 3;
export const PATH_NESTED = 4;
export const PATH_TRANSLATED = 5;

// Answers of `unitTranslate`.
export const TRANSLATED = 0;
export const TRANSLATION_FAULT = 1;
export const TRANSLATION_MESSAGE = 2; // a write to the interrupt range
export const TRANSLATION_REFUSED = 3; // without a fault: a read of the interrupt range, or a quirk of the reference

// ------------------------------------------------------------------------------------------ STEPS: entries that a walk read
// Per entry: address (u64), value (u64), STEP_WHAT.
export const STEPS_MOST = 64;
export const STEP_STRIDE = 24;
export const STEP_ADDRESS = 0;
export const STEP_VALUE = 8;
export const STEP_WHAT = 16; // WHAT_*, or the level of a paging structure

export const WHAT_ROOT = 16;
export const WHAT_CONTEXT = 17;
export const WHAT_DIRECTORY = 18;
export const WHAT_PASID = 19;
export const WHAT_STREAM_LIST = 20;
export const WHAT_STREAM = 21;
export const WHAT_DESCRIPTOR = 22;
export const WHAT_DEVICE = 23;
export const WHAT_SECOND = 32; // and the level: a second stage on the way of a first
