/** What ISM functions share: who is there, and whose memory a token stands for. */
import { ZtlpError } from '../../base/errors.js';
import { TOKEN_BITS, TOKEN_SHIFT } from './layout.js';

/** A buffer (DMB) that a function has registered, for one peer to write. */
export interface Dmb {
  readonly token: bigint;
  /** In the DMA address space of the function that registered it. */
  readonly address: bigint;
  readonly bytes: number;
  /** Of the signal area. */
  readonly index: number;
  /** GID of the function that may write. */
  readonly peer: bigint;
}

/** How the fabric reaches a function. */
export interface Member {
  readonly gid: bigint;
  /** Writes to its DMB, and signals element `element` where there is one. */
  move(dmb: Dmb, offset: number, bytes: Uint8Array, element: number | undefined): void;
  event(type: number, code: number, token: bigint, info: bigint): void;
  /** VLAN IDs that it has joined. */
  vlans(): readonly number[];
}

/**
 * Functions that reach each other, in one machine or in several of one process (partitions of one physical machine). Give the
 * same fabric to each `ism({ fabric })`.
 */
export class IsmFabric {
  private readonly members = new Map<bigint, Member>();
  private readonly dmbs = new Map<bigint, { readonly owner: bigint; readonly dmb: Dmb }>();
  private last = 0;

  /** GIDs of the functions that are up. */
  get gids(): readonly bigint[] {
    return [...this.members.keys()];
  }

  /** Tokens of the buffers that are registered. */
  get tokens(): readonly bigint[] {
    return [...this.dmbs.keys()];
  }

  /** False: another function has this GID. */
  join(member: Member): boolean {
    const other = this.members.get(member.gid);
    if (other !== undefined && other !== member) return false;
    this.members.set(member.gid, member);
    return true;
  }

  /** The function is reset: its buffers are gone, and those who let it write to theirs are told by `gone`. */
  leave(member: Member, gone: (peer: Member) => void): void {
    if (this.members.get(member.gid) !== member) return;
    this.members.delete(member.gid);
    const told = new Set<bigint>();
    for (const [token, { owner, dmb }] of [...this.dmbs]) {
      if (owner === member.gid) {
        this.dmbs.delete(token);
        told.add(dmb.peer);
      } else if (dmb.peer === member.gid) told.add(owner);
    }
    for (const gid of told) {
      const peer = this.members.get(gid);
      if (peer !== undefined) gone(peer);
    }
  }

  member(gid: bigint): Member | undefined {
    return this.members.get(gid);
  }

  /** A token that stands for nothing yet. Throws ZtlpError `resource` when there is none. */
  newToken(): bigint {
    const most = 2 ** TOKEN_BITS - 1;
    for (let tries = 0; tries < most; tries++) {
      this.last = (this.last % most) + 1;
      const token = BigInt(this.last) << BigInt(TOKEN_SHIFT);
      if (!this.dmbs.has(token)) return token;
    }
    throw new ZtlpError('resource', 'the ISM fabric has no token left', { field: 'token' });
  }

  register(owner: bigint, dmb: Dmb): void {
    this.dmbs.set(dmb.token, { owner, dmb });
  }

  unregister(token: bigint): void {
    this.dmbs.delete(token);
  }

  /** The buffer of `token`, and who owns it. */
  find(token: bigint): { readonly owner: bigint; readonly dmb: Dmb } | undefined {
    return this.dmbs.get(token);
  }
}
