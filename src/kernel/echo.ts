/**
 * ICMP echo (RFC 792, RFC 4443 section 4) in the network namespace of this process: the other machine's kernel answers, so
 * nothing has to listen there. The kernel says when an answer came, so that it may be read later. Needs CAP_NET_RAW.
 */
import { familyOf, formatAddress, parseAddress } from "../lib/ip.ts";
import type { Family } from "../lib/ip.ts";
import { KernelError } from "./errors.ts";
import { addressOf, lastErrno, openDatagrams } from "./ffi.ts";
import type { Datagrams } from "./ffi.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_RAW_NONBLOCK_CLOEXEC = 0o2004003;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const SOL_SOCKET = 1;
const SO_TIMESTAMPNS = 35;
const SOL_RAW = 255;
/** Of SOL_RAW and of IPPROTO_ICMPV6: types that are not to be delivered. */
const ICMP_FILTER = 1;
const MSG_DONTWAIT = 0x40;
const CLOCK_REALTIME = 0;
const EAGAIN = 11;

const ECHO = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
const ICMP_HEADER = 8;
export const TOKEN_BYTES = 16;
const PACKET_BYTES = 256;
/** Read at a time of each family: whoever floods the node with answers must not hold up all else that the process does. */
export const MOST_AT_A_TIME = 1024;
const NS_PER_S = 1_000_000_000n;

export interface EchoReply {
  /** Canonical text. */
  readonly from: string;
  /** What the request said, in hex. */
  readonly token: string;
  /** By the clock of `nowNs`. */
  readonly atNs: bigint;
}

export interface EchoReplies {
  readonly replies: readonly EchoReply[];
  /** More may have come than is read at a time: the next call goes on. */
  readonly isCutOff: boolean;
}

/** What the agent needs of it. */
export interface EchoPort {
  /** False: it could not leave, for want of a route or because something of this node drops it. Throws KernelError without the right to ask. */
  send(address: string, token: Uint8Array): boolean;
  /** Of what has come since the last call, the answers to what is asked. */
  received(isAsked: (token: string) => boolean): EchoReplies;
  nowNs(): bigint;
  close(): void;
}

export class EchoSockets implements EchoPort {
  readonly #libc: Datagrams;
  readonly #sockets = new Map<Family, number>();
  readonly #message = new Message();
  #sequence = 0;

  constructor(libc: Datagrams = openDatagrams()) {
    this.#libc = libc;
  }

  send(address: string, token: Uint8Array): boolean {
    const to = parseAddress(address);
    const family = familyOf(to);
    const fd = this.#sockets.get(family) ?? this.#open(family);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    const packet = echoRequest(family, this.#sequence, token);
    const name = socketAddress(family, to);
    return Number(this.#libc.sendTo(fd, packet, packet.length, MSG_DONTWAIT, name, name.length)) === packet.length;
  }

  received(isAsked: (token: string) => boolean): EchoReplies {
    const drained = [...this.#sockets].map(([family, fd]) => this.#drain(family, fd, isAsked));
    return { replies: drained.flatMap(({ replies }) => replies), isCutOff: drained.some(({ isCutOff }) => isCutOff) };
  }

  nowNs(): bigint {
    const time = Buffer.alloc(16);
    this.#libc.now(CLOCK_REALTIME, time);
    return timeOf(time, 0);
  }

  close(): void {
    for (const fd of this.#sockets.values()) this.#libc.close(fd);
    this.#sockets.clear();
  }

  #open(family: Family): number {
    const fd = this.#libc.socket(family === 4 ? AF_INET : AF_INET6, SOCK_RAW_NONBLOCK_CLOEXEC, family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    if (fd < 0) throw new KernelError("open a socket for ICMP", lastErrno());
    const on = Buffer.from(Uint32Array.of(1).buffer);
    const filter = onlyReplies(family);
    const isSet = this.#libc.setOption(fd, SOL_SOCKET, SO_TIMESTAMPNS, on, on.length) === 0
      && this.#libc.setOption(fd, family === 4 ? SOL_RAW : IPPROTO_ICMPV6, ICMP_FILTER, filter, filter.length) === 0;
    if (!isSet) {
      const errno = lastErrno();
      this.#libc.close(fd);
      throw new KernelError("set up a socket for ICMP", errno);
    }
    this.#sockets.set(family, fd);
    return fd;
  }

  #drain(family: Family, fd: number, isAsked: (token: string) => boolean): EchoReplies {
    const replies: EchoReply[] = [];
    for (let count = 0; count < MOST_AT_A_TIME; count++) {
      const header = this.#message.header();
      const length = Number(this.#libc.receiveMessage(fd, header, MSG_DONTWAIT));
      if (length < 0) {
        const errno = lastErrno();
        if (errno === EAGAIN) return { replies, isCutOff: false };
        throw new KernelError("receive ICMP", errno);
      }
      const token = tokenOf(family, this.#message.data.subarray(0, length));
      if (token !== undefined && isAsked(token)) replies.push({ from: this.#message.from(family), token, atNs: this.#message.time() ?? this.nowNs() });
    }
    return { replies, isCutOff: true };
  }
}

/** Memory for recvmsg(2), used again and again: struct msghdr as 64-bit machines have it, and what it points to. */
class Message {
  readonly data = Buffer.alloc(PACKET_BYTES);
  readonly #name = Buffer.alloc(28);
  readonly #control = Buffer.alloc(64);
  readonly #vector = Buffer.alloc(16);
  readonly #header = Buffer.alloc(56);

  header(): Uint8Array {
    this.#vector.writeBigUInt64LE(addressOf(this.data), 0);
    this.#vector.writeBigUInt64LE(BigInt(this.data.length), 8);
    this.#header.fill(0);
    this.#header.writeBigUInt64LE(addressOf(this.#name), 0);
    this.#header.writeUInt32LE(this.#name.length, 8);
    this.#header.writeBigUInt64LE(addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(addressOf(this.#control), 32);
    this.#header.writeBigUInt64LE(BigInt(this.#control.length), 40);
    return this.#header;
  }

  from(family: Family): string {
    if (family === 6) return formatAddress(Uint8Array.from(this.#name.subarray(8, 24)));
    return this.#name.subarray(4, 8).join(".");
  }

  /** Of the one control message that was asked for; undefined: the kernel did not send it. */
  time(): bigint | undefined {
    const isThere = this.#header.readBigUInt64LE(40) >= 32n && this.#control.readInt32LE(8) === SOL_SOCKET && this.#control.readInt32LE(12) === SO_TIMESTAMPNS;
    return isThere ? timeOf(this.#control, 16) : undefined;
  }
}

/** struct timespec. */
function timeOf(bytes: Buffer, at: number): bigint {
  return bytes.readBigInt64LE(at) * NS_PER_S + bytes.readBigInt64LE(at + 8);
}

/** A bit for each type that is left out: of IPv4 one word, of IPv6 eight (RFC 3542 section 3.2). */
function onlyReplies(family: Family): Uint8Array {
  const words = new Uint32Array(family === 4 ? 1 : 8).fill(0xffff_ffff);
  const { reply } = ECHO[family];
  words[reply >> 5] = 0xffff_ffff & ~(1 << (reply & 31));
  return Buffer.from(words.buffer);
}

function socketAddress(family: Family, address: Uint8Array): Uint8Array {
  if (family === 4) {
    const name = Buffer.alloc(16);
    name.writeUInt16LE(AF_INET, 0);
    name.set(address.subarray(12), 4);
    return name;
  }
  const name = Buffer.alloc(28);
  name.writeUInt16LE(AF_INET6, 0);
  name.set(address, 8);
  return name;
}

/** Of IPv6 the kernel fills in the checksum. */
export function echoRequest(family: Family, sequence: number, token: Uint8Array): Uint8Array {
  const packet = Buffer.alloc(ICMP_HEADER + TOKEN_BYTES);
  packet.writeUInt8(ECHO[family].request, 0);
  packet.writeUInt16BE(process.pid & 0xffff, 4);
  packet.writeUInt16BE(sequence, 6);
  packet.set(token, ICMP_HEADER);
  if (family === 4) packet.writeUInt16BE(checksum(packet), 2);
  return packet;
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** undefined: no answer to a request as ours are. A raw socket of IPv4 is given the IP header too. */
export function tokenOf(family: Family, packet: Buffer): string | undefined {
  const at = family === 4 && packet.length > 0 ? ((packet[0] ?? 0) & 0x0f) * 4 : 0;
  if (packet.length !== at + ICMP_HEADER + TOKEN_BYTES || packet[at] !== ECHO[family].reply) return undefined;
  return packet.subarray(at + ICMP_HEADER).toString("hex");
}
