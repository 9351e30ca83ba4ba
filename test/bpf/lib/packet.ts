/** Frames for the rows: each layer is a function of what it carries, outermost first in `frame(...)`. */
import { parseAddress, familyOf } from "../../../src/lib/ip.ts";

export type Layer = (inner: Uint8Array) => Uint8Array;

export const Protocol = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58, SCTP: 132 } as const;
/** Chunk types of SCTP (RFC 9260 3.2). */
export const Chunk = { INIT: 1, INIT_ACK: 2, ABORT: 6, SHUTDOWN: 7, SHUTDOWN_ACK: 8, COOKIE_ECHO: 10 } as const;
export const Tcp = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;

export function bytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/[: ]/g, ""), "hex"));
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

function u32(value: number): Uint8Array {
  return concat(u16(value >>> 16), u16(value & 0xffff));
}

/** RFC 1071. */
export function checksum(...parts: readonly Uint8Array[]): number {
  const data = concat(...parts);
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += ((data[i] ?? 0) << 8) | (data[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Bytes on the wire of an address text: 4 or 16. */
export function wireAddress(text: string): Uint8Array {
  const address = parseAddress(text);
  return familyOf(address) === 4 ? address.slice(12) : address;
}

export function frame(...layers: readonly Layer[]): Uint8Array {
  return layers.reduceRight<Uint8Array>((inner, layer) => layer(inner), new Uint8Array(0));
}

export function payload(length: number, fill = 0x61): Layer {
  return () => new Uint8Array(length).fill(fill);
}

export function raw(data: Uint8Array): Layer {
  return (inner) => concat(data, inner);
}

export function ethernet(source: string, destination: string, type: number): Layer {
  return (inner) => concat(bytes(destination), bytes(source), u16(type), inner);
}

export interface Ipv4Options {
  readonly protocol: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  readonly moreFragments?: boolean;
  /** Bytes. */
  readonly offset?: number;
  readonly options?: Uint8Array;
  readonly totalLength?: number;
}

export function ipv4(source: string, destination: string, o: Ipv4Options): Layer {
  return (inner) => {
    const options = o.options ?? new Uint8Array(0);
    const words = 5 + options.length / 4;
    const fragment = (o.dontFragment ? 0x4000 : 0) | (o.moreFragments ? 0x2000 : 0) | (o.offset ?? 0) / 8;
    const total = o.totalLength ?? words * 4 + inner.length;
    const header = (sum: number): Uint8Array =>
      concat(Uint8Array.of(0x40 | words, 0), u16(total), u16(o.id ?? 0), u16(fragment), Uint8Array.of(64, o.protocol), u16(sum), wireAddress(source), wireAddress(destination), options);
    return concat(header(checksum(header(0))), inner);
  };
}

/** `next` is the first next header; extension headers follow as `raw` layers. */
export function ipv6(source: string, destination: string, next: number, hopLimit = 64): Layer {
  return (inner) => concat(u32(0x60000000), u16(inner.length), Uint8Array.of(next, hopLimit), parseAddress(source), parseAddress(destination), inner);
}

export function fragmentHeader(next: number, id: number, offset: number, more: boolean): Layer {
  return raw(concat(Uint8Array.of(next, 0), u16(offset | (more ? 1 : 0)), u32(id)));
}

export function tcp(source: number, destination: number, flags: number): Layer {
  return (inner) => concat(u16(source), u16(destination), u32(1), u32(1), Uint8Array.of(0x50, flags), u16(65535), u16(0), u16(0), inner);
}

export function udp(source: number, destination: number): Layer {
  return (inner) => concat(u16(source), u16(destination), u16(8 + inner.length), u16(0), inner);
}

/** The common header and one empty chunk. */
export function sctp(source: number, destination: number, chunk: number): Layer {
  return (inner) => concat(u16(source), u16(destination), u32(1), u32(0), Uint8Array.of(chunk, 0), u16(4), inner);
}

/** `rest`: identifier and sequence of an echo, MTU of an error. */
export function icmp(type: number, code: number, rest: number): Layer {
  return (inner) => {
    const message = (sum: number): Uint8Array => concat(Uint8Array.of(type, code), u16(sum), u32(rest), inner);
    return message(checksum(message(0)));
  };
}

export function icmpv6(source: string, destination: string, type: number, code: number, rest: number): Layer {
  return (inner) => {
    const message = (sum: number): Uint8Array => concat(Uint8Array.of(type, code), u16(sum), u32(rest), inner);
    const pseudo = concat(parseAddress(source), parseAddress(destination), u32(8 + inner.length), u32(Protocol.ICMPV6));
    return message(checksum(pseudo, message(0)));
  };
}

export function arp(operation: number, senderMac: string, senderIp: string, targetMac: string, targetIp: string): Layer {
  return () => concat(u16(1), u16(0x0800), Uint8Array.of(6, 4), u16(operation), bytes(senderMac), wireAddress(senderIp), bytes(targetMac), wireAddress(targetIp));
}

export function hex(data: Uint8Array): string {
  return Buffer.from(data).toString("hex").replaceAll(/(..)(?=.)/g, "$1 ");
}
