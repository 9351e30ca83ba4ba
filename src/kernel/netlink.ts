/**
 * rtnetlink(7) in the network namespace of this process, without a process of its own. Messages are built here as bytes,
 * so that the same ones can also be sent inside another namespace (pod-link.ts).
 *
 * An exchange has a socket to itself: a reply is never another's, and a failure leaves nothing behind. The kernel does
 * the work inside send(2), which may wait for its one lock of all links, so that call runs on a thread of the pool.
 */
import { KernelError } from "./errors.ts";
import { lastErrno, openSockets } from "./ffi.ts";
import type { Sockets } from "./ffi.ts";

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 0o2000003;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const MSG_DONTWAIT = 0x40;
const NLMSG_ERROR = 2;
const EIO = 5;
const HEADER = 16;
const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_CAPPED = 0x100;
const NLMSGERR_ATTR_MSG = 1;
const RECEIVE_BYTES = 64 << 10;

/** Of `flags`: create and take over, or create what is not there yet. */
export const CREATE_OR_REPLACE = 0x500;
export const CREATE_ONLY = 0x600;

export type Attribute = Uint8Array;
export type Message = Uint8Array;
export type NetlinkValue = Uint8Array | string | number | readonly Attribute[];

const aligned = (length: number): number => (length + 3) & ~3;

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + aligned(part.length), 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += aligned(part.length);
  }
  return whole;
}

function bytesOf(value: NetlinkValue): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return new TextEncoder().encode(`${value}\0`);
  if (typeof value === "number") return new Uint8Array(Uint32Array.of(value).buffer);
  return join(value);
}

/** Text gets its terminator, a number is 32 bits, a list is a nest of attributes. */
export function attribute(type: number, value: NetlinkValue): Attribute {
  const payload = bytesOf(value);
  const whole = new Uint8Array(aligned(4 + payload.length));
  const view = new DataView(whole.buffer);
  view.setUint16(0, 4 + payload.length, true);
  view.setUint16(2, type, true);
  whole.set(payload, 4);
  return whole;
}

/** `body`: the fixed part of that type; each message is acknowledged. */
export function message(type: number, flags: number, body: Uint8Array, attributes: readonly Attribute[]): Message {
  const content = join([body, ...attributes]);
  const whole = new Uint8Array(HEADER + content.length);
  const view = new DataView(whole.buffer);
  view.setUint32(0, whole.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags | NLM_F_REQUEST | NLM_F_ACK, true);
  whole.set(content, HEADER);
  return whole;
}

/** Several messages, as one text for the kernel: it does them in order. */
export function packed(messages: readonly Message[]): Uint8Array {
  return join(messages);
}

/** Attributes of a reply by type; of repeated ones the last. */
export function attributesOf(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) break;
    found.set(view.getUint16(at + 2, true) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += aligned(length);
  }
  return found;
}

interface Received {
  readonly type: number;
  /** Behind the header. */
  readonly body: Uint8Array;
  readonly flags: number;
}

function* split(bytes: Uint8Array): Generator<Received> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + HEADER <= bytes.length;) {
    const length = view.getUint32(at, true);
    if (length < HEADER || at + length > bytes.length) return;
    yield { type: view.getUint16(at + 4, true), flags: view.getUint16(at + 6, true), body: bytes.slice(at + HEADER, at + length) };
    at += aligned(length);
  }
}

/** What the kernel says beside the number, where it says more (NETLINK_EXT_ACK). */
function explanation({ body, flags }: Received): string {
  if ((flags & NLM_F_CAPPED) === 0) return "";
  const text = attributesOf(body.subarray(4 + HEADER)).get(NLMSGERR_ATTR_MSG);
  return text === undefined ? "" : Buffer.from(text).toString("utf8").replace(/\0+$/, "");
}

export class Netlink {
  readonly #sockets: Sockets;

  constructor(sockets: Sockets = openSockets()) {
    this.#sockets = sockets;
  }

  /** Bodies of the replies. Throws KernelError of the first message that is refused; the kernel tried the others too. */
  async exchange(what: string, messages: readonly Message[]): Promise<readonly Uint8Array[]> {
    const sockets = this.#sockets;
    const fd = sockets.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, 0);
    if (fd < 0) throw new KernelError("open a netlink socket", lastErrno());
    try {
      const on = new Uint8Array(Uint32Array.of(1).buffer);
      for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK]) sockets.setOption(fd, SOL_NETLINK, option, on, on.length);
      const request = packed(messages);
      const sent = await sockets.send(fd, request, request.length, 0);
      if (sent !== request.length) throw new KernelError(`${what}: send to netlink`, EIO); // errno is the other thread's
      return this.#replies(what, fd, messages.length);
    } finally {
      sockets.close(fd);
    }
  }

  /** All are there once send has returned. */
  #replies(what: string, fd: number, acknowledgements: number): readonly Uint8Array[] {
    const replies: Uint8Array[] = [];
    const buffer = new Uint8Array(RECEIVE_BYTES);
    let refusal: KernelError | undefined;
    for (let left = acknowledgements; left > 0;) {
      const length = Number(this.#sockets.receive(fd, buffer, buffer.length, MSG_DONTWAIT));
      if (length <= 0) throw new KernelError(`${what}: receive from netlink`, lastErrno());
      for (const received of split(buffer.subarray(0, length))) {
        if (received.type !== NLMSG_ERROR) {
          replies.push(received.body);
          continue;
        }
        left--;
        const errno = -new DataView(received.body.buffer).getInt32(0, true);
        if (errno !== 0) refusal ??= new KernelError(what, errno, explanation(received));
      }
    }
    if (refusal !== undefined) throw refusal;
    return replies;
  }
}
