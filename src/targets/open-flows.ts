/**
 * What the node's own network namespace has open when its first rules come, as flows that no rules judge: from the tables
 * of its TCP sockets and of netfilter's conntrack, which also knows UDP, and how the stack translates. Pure.
 */
import { CT_CONFIRMED, CT_FROM_LOW, CT_REPLIED, Identity, TIMEOUT_TCP_ESTABLISHED, TIMEOUT_UDP_STREAM, flowKeyCodec, flowStateCodec } from "../kernel/gen/types.ts";
import type { FlowState } from "../kernel/gen/types.ts";
import type { BatchMap } from "../kernel/port.ts";
import { codeOf } from "../lib/errors.ts";
import { parseAddress } from "../lib/ip.ts";
import { viewOf } from "./map-target.ts";

/** Texts of /proc/net; empty where the kernel has none. */
export interface OpenTables {
  /** Seconds of CLOCK_MONOTONIC. */
  readonly now: number;
  readonly tcp: string;
  readonly tcp6: string;
  readonly conntrack: string;
}

interface End {
  readonly address: Uint8Array;
  readonly port: number;
}

/** As it is on the wire, from who opened it. */
export interface OpenFlow {
  readonly protocol: number;
  readonly opener: End;
  readonly responder: End;
}

const [TCP, UDP] = [6, 17];
/** Of include/net/tcp_states.h: those in which both sides were heard. */
const CONNECTED = new Set([1, 4, 5, 8, 9, 11]);
const LISTENS = 10;

/** `0100007F:1F90`: words of the address as this machine reads them (proc(5)), which is little-endian, and the port. */
function procEnd(text: string): End {
  const [address = "", port = ""] = text.split(":");
  const bytes = Buffer.from(address, "hex");
  for (let at = 0; at + 4 <= bytes.length; at += 4) bytes.subarray(at, at + 4).reverse();
  return { address: bytes.length === 4 ? parseAddress([...bytes].join(".")) : new Uint8Array(bytes), port: Number.parseInt(port, 16) };
}

/** Who serves on the port was asked. */
export function openSockets(tcp: string, tcp6: string): readonly OpenFlow[] {
  const rows = [tcp, tcp6].flatMap((text) => text.split("\n").slice(1)).flatMap((line) => {
    const [, local, remote, state] = line.trim().split(/\s+/);
    return local === undefined || remote === undefined || state === undefined ? [] : [{ local: procEnd(local), remote: procEnd(remote), state: Number.parseInt(state, 16) }];
  });
  const served = new Set(rows.flatMap(({ local, state }) => (state === LISTENS ? [local.port] : [])));
  return rows.filter(({ state }) => CONNECTED.has(state)).map(({ local, remote }) => (served.has(local.port) ? { protocol: TCP, opener: remote, responder: local } : { protocol: TCP, opener: local, responder: remote }));
}

const CONNTRACK = /^ipv[46]\s+\d+\s+(tcp|udp)\s+(.*)$/;
const TUPLE = /src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)/g;

function isEnd(one: End, other: End): boolean {
  return one.port === other.port && Buffer.compare(one.address, other.address) === 0;
}

/** The table names a few addresses again and again. */
function remembering<K, V>(find: (key: K) => V): (key: K) => V {
  const found = new Map<K, V>();
  return (key) => {
    const known = found.get(key);
    if (known !== undefined) return known;
    const fresh = find(key);
    found.set(key, fresh);
    return fresh;
  };
}

function* linesOf(text: string): Iterable<string> {
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\n", at);
    yield text.slice(at, end < 0 ? text.length : end);
    at = end < 0 ? text.length : end + 1;
  }
}

/** Before the stack translates and behind, where these differ. One by one: a gateway has a million. */
export function* trackedFlows(text: string): Iterable<OpenFlow> {
  const addressOf = remembering(parseAddress);
  for (const line of linesOf(text)) {
    const [, name, rest = ""] = CONNTRACK.exec(line) ?? [];
    if (name === undefined || !rest.includes("[ASSURED]") || (name === "tcp" && !/ (ESTABLISHED|FIN_WAIT|CLOSE_WAIT) /.test(` ${rest} `))) continue;
    const [sent, answered] = [...rest.matchAll(TUPLE)].map(([, src = "", dst = "", sport, dport]) => ({ from: { address: addressOf(src), port: Number(sport) }, to: { address: addressOf(dst), port: Number(dport) } }));
    if (sent === undefined || answered === undefined) continue;
    const protocol = name === "tcp" ? TCP : UDP;
    yield { protocol, opener: sent.from, responder: sent.to };
    if (!isEnd(sent.from, answered.to) || !isEnd(sent.to, answered.from)) yield { protocol, opener: answered.to, responder: answered.from };
  }
}

/** As numerically_smaller of bpf/lib/packet.h: network order is the order of bytes. */
function isLow({ opener, responder }: OpenFlow): boolean {
  const order = Buffer.compare(opener.address, responder.address);
  return order === 0 ? opener.port <= responder.port : order < 0;
}

function keyOf(flow: OpenFlow): Uint8Array {
  const [first, last] = isLow(flow) ? [flow.opener, flow.responder] : [flow.responder, flow.opener];
  const key = new Uint8Array(flowKeyCodec.size);
  flowKeyCodec.encode({ low: first.address, high: last.address, lowPort: first.port, highPort: last.port, protocol: flow.protocol, zone: 0 }, viewOf(key));
  return key;
}

/** No rules of a node judged the node's side. */
function isUnjudged({ flags, sourceGeneration, destinationGeneration }: FlowState, isNodeLow: boolean): boolean {
  return (((flags & CT_FROM_LOW) !== 0) === isNodeLow ? sourceGeneration : destinationGeneration) === 0;
}

export interface Remembered {
  readonly written: number;
  /** For lack of room: judged as what opens anew. At most, as a socket can be tracked as well. */
  readonly leftOut: number;
}

/** What one node has open takes at most this share of the map, and of what is free there: the flows of pods need room as well. */
const [SHARE, SHARE_OF_FREE] = [1 / 4, 1 / 2];
const NO_ROOM: ReadonlySet<string> = new Set(["E2BIG", "ENOMEM", "ENOSPC"]);
const NEW = { quota: 0, moved: 0, packets: 0n, bytes: 0n };

/**
 * Writes those that have one of the node's addresses, and that the programs do not know, sockets first. Whom an address belongs
 * to they find with the first packet. What earlier rules of the node judged and is still open belongs to nobody's rules now
 * either; a pod's judge it again.
 * @param taken entries of the map, as far as known.
 */
export function rememberOpen(flows: BatchMap, { now, tcp, tcp6, conntrack }: OpenTables, isOwn: (address: Uint8Array) => boolean, taken = 0): Remembered {
  let room = Math.floor(Math.max(0, Math.min(flows.maxEntries * SHARE, (flows.maxEntries - taken) * SHARE_OF_FREE)));
  let [written, leftOut] = [0, 0];
  const isNodes = remembering(isOwn);
  const write = (flow: OpenFlow): void => {
    const [opens, answers] = [isNodes(flow.opener.address), isNodes(flow.responder.address)];
    if (opens === answers) return; // another's, or the node's with itself
    const [key, low] = [keyOf(flow), isLow(flow)];
    const found = flows.lookup(key);
    const state = found === undefined ? undefined : flowStateCodec.decode(viewOf(found));
    const known = state !== undefined && state.expires > now ? state : undefined;
    if (known !== undefined && isUnjudged(known, opens === low)) return;
    if (room <= 0) return void leftOut++;
    const { quota, moved, packets, bytes } = known ?? NEW;
    const value = new Uint8Array(flowStateCodec.size);
    flowStateCodec.encode({
      expires: now + (flow.protocol === TCP ? TIMEOUT_TCP_ESTABLISHED : TIMEOUT_UDP_STREAM), flags: CT_REPLIED | CT_CONFIRMED | (low ? CT_FROM_LOW : 0),
      sourceIdentity: opens ? Identity.HOST : Identity.UNKNOWN, destinationIdentity: answers ? Identity.HOST : Identity.UNKNOWN,
      sourceGeneration: 0, destinationGeneration: 0, egressRule: 0, ingressRule: 0, quota, moved, packets, bytes,
    }, viewOf(value));
    try {
      flows.update(key, value);
    } catch (thrown) {
      if (!NO_ROOM.has(codeOf(thrown))) throw thrown;
      room = 0;
      return void leftOut++;
    }
    written++;
    room--;
  };
  for (const flow of openSockets(tcp, tcp6)) write(flow);
  for (const flow of trackedFlows(conntrack)) write(flow);
  return { written, leftOut };
}
