/**
 * IP addresses as 16 bytes in network order: IPv4 is v4-mapped, ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that
 * one form serves both families, as in the kernel's maps. Text is canonical: RFC 5952 for IPv6.
 */
import { CodedError } from "./errors.ts";

export type Family = 4 | 6;

/** `prefix` counts bits of the 16 bytes: an IPv4 prefix of n is 96 + n. Host bits are zero. */
export interface Cidr {
  readonly address: Uint8Array;
  readonly prefix: number;
}

const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] as const;
const MAPPED_BITS = 96;

export class AddressError extends CodedError {
  constructor(text: string, what: string) {
    super("ADDRESS", `${JSON.stringify(text)} is not ${what}`);
    this.name = "AddressError";
  }
}

export function familyOf(address: Uint8Array): Family {
  return MAPPED_PREFIX.every((byte, index) => address[index] === byte) ? 4 : 6;
}

/** Parses an IPv4 or IPv6 address without zone or prefix; throws AddressError. */
export function parseAddress(text: string): Uint8Array {
  const bytes = text.includes(":") ? parseIPv6(text) : parseIPv4(text);
  if (bytes === undefined) throw new AddressError(text, "an IP address");
  return bytes;
}

export function isAddress(text: string): boolean {
  return (text.includes(":") ? parseIPv6(text) : parseIPv4(text)) !== undefined;
}

const [DOT, ZERO, FIRST_IPV4_BYTE] = [0x2e, 0x30, 12];

/** Character by character: an agent that starts parses each address of the cluster. */
function parseIPv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16).fill(0xff, 10, FIRST_IPV4_BYTE);
  let [at, value, digits] = [FIRST_IPV4_BYTE, 0, 0];
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT;
    if (code === DOT) {
      if (digits === 0 || at === bytes.length) return undefined;
      bytes[at++] = value;
      [value, digits] = [0, 0];
      continue;
    }
    // A leading zero is octal to some readers and decimal to others: refused (RFC 6943 section 3.1.1).
    if (code < ZERO || code > ZERO + 9 || (digits > 0 && value === 0)) return undefined;
    value = value * 10 + code - ZERO;
    if (value > 255) return undefined;
    digits++;
  }
  return at === bytes.length ? bytes : undefined;
}

function parseIPv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail]);
}

function parseGroups(text: string, mayEndDotted: boolean): number[] | undefined {
  if (text === "") return [];
  const groups = text.split(":");
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    if (group.includes(".")) {
      const dotted = mayEndDotted && index === groups.length - 1 ? parseIPv4(group) : undefined;
      if (dotted === undefined) return undefined;
      bytes.push(...dotted.subarray(FIRST_IPV4_BYTE));
      continue;
    }
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    const value = Number.parseInt(group, 16);
    bytes.push(value >> 8, value & 0xff);
  }
  return bytes;
}

export function formatAddress(address: Uint8Array): string {
  if (address.length !== 16) throw new AddressError(`${address.length} bytes`, "16 bytes of an address");
  if (familyOf(address) === 4) return address.subarray(12).join(".");
  const groups: number[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(((address[at] ?? 0) << 8) | (address[at + 1] ?? 0));
  const { start, length } = longestZeroRun(groups);
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

/** The first of the longest runs of zero groups (RFC 5952 section 4.2.3). */
function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}

/** Parses `address/prefix`; host bits must be zero unless `maskHostBits`. Throws AddressError. */
export function parseCidr(text: string, options: { readonly maskHostBits?: boolean } = {}): Cidr {
  const slash = text.lastIndexOf("/");
  const length = text.slice(slash + 1);
  if (slash < 0 || !/^(0|[1-9][0-9]{0,2})$/.test(length)) throw new AddressError(text, "a CIDR");
  const address = parseAddress(text.slice(0, slash));
  const isIPv4 = !text.includes(":");
  if (Number(length) > (isIPv4 ? 32 : 128)) throw new AddressError(text, "a CIDR: the prefix is too long");
  const prefix = Number(length) + (isIPv4 ? MAPPED_BITS : 0);
  const masked = maskAddress(address, prefix);
  if (options.maskHostBits !== true && compareAddresses(masked, address) !== 0) {
    throw new AddressError(text, `a CIDR: host bits are set, write ${formatCidr({ address: masked, prefix })}`);
  }
  return { address: masked, prefix };
}

export function formatCidr(cidr: Cidr): string {
  const isIPv4 = cidr.prefix >= MAPPED_BITS && familyOf(cidr.address) === 4;
  return `${formatAddress(cidr.address)}/${isIPv4 ? cidr.prefix - MAPPED_BITS : cidr.prefix}`;
}

/** CIDRs and single addresses between commas; throws AddressError. */
export function parseCidrList(text: string): Cidr[] {
  const parts = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  return parts.map((part) => parseCidr(part.includes("/") ? part : `${part}/${part.includes(":") ? 128 : 32}`));
}

/** The first `prefix` bits of the 16 bytes, the rest zero. */
export function maskAddress(address: Uint8Array, prefix: number): Uint8Array {
  return address.map((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefix - index * 8));
    return byte & (0xff << (8 - bits));
  });
}

export function cidrContains(cidr: Cidr, address: Uint8Array): boolean {
  return compareAddresses(maskAddress(address, cidr.prefix), cidr.address) === 0;
}

/** Byte order, which is numeric order within a family: negative, zero or positive. */
export function compareAddresses(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

/** `address` + `offset`; undefined past the end of its family. */
export function addToAddress(address: Uint8Array, offset: bigint): Uint8Array | undefined {
  const value = toBigInt(address) + offset;
  if (value < 0n || value >= 1n << 128n) return undefined;
  const sum = fromBigInt(value);
  return familyOf(sum) === familyOf(address) ? sum : undefined;
}

/** How many addresses the CIDR holds. */
export function cidrSize(cidr: Cidr): bigint {
  return 1n << BigInt(128 - cidr.prefix);
}

export function toBigInt(address: Uint8Array): bigint {
  return address.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

export function fromBigInt(value: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  for (let at = 15, rest = value; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  return bytes;
}
