// Floor 4: what an entry of a paging structure is to a request.

export const ENTRY_TABLE: u32 = 0;
export const ENTRY_LEAF: u32 = 1;
/** Not present, or without the permission that the request needs. */
export const ENTRY_DENIED: u32 = 2;
export const ENTRY_RESERVED: u32 = 3;
/** Of a walk alone: the table is not in memory. */
export const ENTRY_UNREADABLE: u32 = 4;
