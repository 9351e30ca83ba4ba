/**
 * The node's WireGuard device, the kernel's own or wireguard-go's. Both are asked and told through wg(8), which speaks
 * netlink to the one and the process's socket to the other. Who makes the device is not decided here.
 */
import { check } from "./command.ts";
import type { Run } from "./command.ts";

/** The first has the node's key; while it is replaced, the second has the next one. Then they change their parts. */
export const WIREGUARD_DEVICES: readonly string[] = ["cilium_wg0", "cilium_wg1"];

export interface WireGuardPeer {
  /** Base64, as everywhere here. */
  readonly publicKey: string;
  readonly endpoint: { readonly ip: string; readonly port: number };
  /** CIDRs whose packets the peer gets, and from which it is believed. Of two peers with one the later told has it. */
  readonly allowedIps: readonly string[];
  /** Seconds; 0: silent unless there is something to say. */
  readonly keepalive: number;
}

export interface WireGuardSpec {
  readonly privateKey: string;
  readonly port: number;
  readonly peers: readonly WireGuardPeer[];
}

export interface PeerState {
  readonly publicKey: string;
  /** As wg(8) writes it; undefined: not known. */
  readonly endpoint: string | undefined;
  readonly allowedIps: readonly string[];
  /** Seconds since 1970; 0: never. */
  readonly lastHandshake: number;
  readonly received: number;
  readonly sent: number;
  readonly keepalive: number;
}

export interface WireGuardState {
  /** Never to be logged or written anywhere. */
  readonly privateKey: string | undefined;
  readonly publicKey: string | undefined;
  readonly port: number;
  readonly peers: ReadonlyMap<string, PeerState>;
}

const KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw480]=$/;

/** 32 bytes in canonical base64. */
export function isWireGuardKey(text: string): boolean {
  return KEY.test(text);
}

const unless = (none: string, text: string | undefined): string | undefined => (text === undefined || text === none ? undefined : text);

/** What `wg show <device> dump` prints: the device's line, then one for each peer; fields between tabs (wg(8)). */
export function parseDump(text: string): WireGuardState {
  const [device = "", ...lines] = text.trimEnd().split("\n");
  const [privateKey, publicKey, port = "0"] = device.split("\t");
  const peers = lines.map((line): readonly [string, PeerState] => {
    const [key = "", , endpoint, allowed, handshake = "0", received = "0", sent = "0", keepalive] = line.split("\t");
    return [key, {
      publicKey: key,
      endpoint: unless("(none)", endpoint),
      allowedIps: unless("(none)", allowed)?.split(",") ?? [],
      lastHandshake: Number(handshake),
      received: Number(received),
      sent: Number(sent),
      keepalive: Number(unless("off", keepalive) ?? 0),
    }];
  });
  return { privateKey: unless("(none)", privateKey), publicKey: unless("(none)", publicKey), port: Number(port), peers: new Map(peers) };
}

const endpointText = ({ ip, port }: WireGuardPeer["endpoint"]): string => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`);

/** Nothing, where it is so already. */
function peerChanges(now: PeerState | undefined, { publicKey, endpoint, keepalive, allowedIps }: WireGuardPeer): string[] {
  const isSame = [...(now?.allowedIps ?? [])].sort().join() === [...allowedIps].sort().join();
  const words = [
    ...(now?.endpoint === endpointText(endpoint) ? [] : ["endpoint", endpointText(endpoint)]),
    ...(now?.keepalive === keepalive ? [] : ["persistent-keepalive", String(keepalive)]),
    ...(now !== undefined && isSame ? [] : ["allowed-ips", allowedIps.join(",")]),
  ];
  return words.length === 0 ? [] : ["peer", publicKey, ...words];
}

/**
 * Arguments of `wg set` that make the device what is wanted, the private key left out; empty: it is. Only what differs is
 * named, as telling a peer its addresses again would take them from it for a moment. Those that go come first, so
 * that their addresses are free.
 */
export function changes(now: WireGuardState, wanted: WireGuardSpec): string[] {
  const keys = new Set(wanted.peers.map((peer) => peer.publicKey));
  return [
    ...(now.port === wanted.port ? [] : ["listen-port", String(wanted.port)]),
    ...[...now.peers.keys()].filter((key) => !keys.has(key)).flatMap((key) => ["peer", key, "remove"]),
    ...wanted.peers.flatMap((peer) => peerChanges(now.peers.get(peer.publicKey), peer)),
  ];
}

export class WireGuard {
  readonly #run: Run;
  readonly #device: string;

  constructor(run: Run, device: string) {
    this.#run = run;
    this.#device = device;
  }

  async read(): Promise<WireGuardState> {
    return parseDump(await check(this.#run, ["wg", "show", this.#device, "dump"]));
  }

  /** @returns whether something was changed. */
  async apply(now: WireGuardState, wanted: WireGuardSpec): Promise<boolean> {
    const isNewKey = now.privateKey !== wanted.privateKey;
    const args = changes(now, wanted);
    if (isNewKey) {
      // A child's standard input is a socket, which nobody can open by name: `cat` makes a pipe of it. An argument could be read by anyone.
      await check(this.#run, ["sh", "-c", 'cat | wg set "$0" private-key /dev/stdin', this.#device], `${wanted.privateKey}\n`);
    }
    if (args.length > 0) await check(this.#run, ["wg", "set", this.#device, ...args]);
    return isNewKey || args.length > 0;
  }

  /** Without a key and peers: it neither opens nor sends anything, and what was said by its key cannot be read by what is left. */
  async clear(now: WireGuardState): Promise<void> {
    if (now.privateKey === undefined && now.peers.size === 0) return;
    // An empty file takes the key away (wg(8)).
    await check(this.#run, ["wg", "set", this.#device, "private-key", "/dev/null", ...[...now.peers.keys()].flatMap((key) => ["peer", key, "remove"])]);
  }
}
