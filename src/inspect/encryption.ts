/** What a node's encryption is doing: of the node as a whole, and of each node that it speaks with. No kernel map says it. */
import { erased } from "./table.ts";
import type { Source, Table } from "./table.ts";
import { NONE, durationText } from "./text.ts";

export interface EncryptionFacts {
  /** How far it has come, as the node's CiliumNode says; undefined: the agent has not looked yet. */
  readonly phase: string | undefined;
  /** Who encrypts. */
  readonly device: string | undefined;
  /** What would leave in clear is dropped. */
  readonly inForce: boolean;
  /** What comes in clear is dropped too. */
  readonly inForceOnReceipt: boolean;
  /** What is missing. */
  readonly message: string | undefined;
  /** While the node's key is being replaced, what that waits for. */
  readonly rotation: string | undefined;
  readonly keys: readonly KeyFacts[];
  readonly peers: readonly PeerFacts[];
}

/** Of one of this node's keys. */
export interface KeyFacts {
  readonly publicKey: string;
  readonly device: string;
  readonly port: number;
}

/** Of another node behind one of this node's devices. */
export interface PeerFacts {
  /** The node's name; undefined: a key that no node has published. */
  readonly peer: string | undefined;
  readonly device: string;
  readonly publicKey: string;
  readonly endpoint: string | undefined;
  /** Seconds since the last one; undefined: there was none since the device was made. */
  readonly handshakeAge: number | undefined;
  /** Bytes, as decimal text. */
  readonly received: string;
  readonly sent: string;
}

type Type = "wireguard" | "off";

interface StatusRow extends Partial<Omit<EncryptionFacts, "peers">> {
  readonly type: Type;
  /** Other nodes that were reached, of those that have a key here. */
  readonly reached: number;
  readonly known: number;
  readonly newestHandshakeAge: number | undefined;
  readonly oldestHandshakeAge: number | undefined;
  readonly received: string;
  readonly sent: string;
}

/** Enough to tell keys apart, as wg(8) begins them too. */
const SHOWN = 8;
const keyText = (publicKey: string): string => `${publicKey.slice(0, SHOWN)}…`;
const ageText = (seconds: number | undefined): string => (seconds === undefined ? NONE : durationText(seconds));
const sum = (counts: readonly string[]): string => String(counts.reduce((total, count) => total + BigInt(count), 0n));

function statusRow(facts: EncryptionFacts | undefined): StatusRow {
  const { peers = [], ...node } = facts ?? {};
  const ages = peers.flatMap(({ handshakeAge }) => handshakeAge ?? []);
  const names = (some: readonly PeerFacts[]): number => new Set(some.map(({ peer, publicKey }) => peer ?? publicKey)).size;
  return {
    type: facts === undefined ? "off" : "wireguard",
    ...node,
    reached: names(peers.filter(({ handshakeAge }) => handshakeAge !== undefined)),
    known: names(peers),
    newestHandshakeAge: ages.length === 0 ? undefined : Math.min(...ages),
    oldestHandshakeAge: ages.length === 0 ? undefined : Math.max(...ages),
    received: sum(peers.map(({ received }) => received)),
    sent: sum(peers.map(({ sent }) => sent)),
  };
}

export const encryptionStatus: Table = erased<StatusRow>({
  name: "encryption-status",
  map: undefined,
  about: "who encrypts on each node, with which key, whether what is not encrypted is dropped, and what is missing",
  columns: [
    { head: "ENCRYPTION", cell: ({ type }) => type },
    { head: "BY", cell: ({ device }) => device?.toLowerCase() ?? NONE },
    { head: "PHASE", cell: ({ phase }) => phase ?? NONE },
    { head: "CLEAR IS DROPPED", cell: ({ inForce, inForceOnReceipt }) => (inForce !== true ? "no" : inForceOnReceipt === true ? "yes" : "when sent") },
    { head: "KEY", cell: ({ keys = [] }) => keys.map(({ publicKey, port }) => `${keyText(publicKey)} port ${port}`).join(", ") || NONE },
    { head: "PEERS", cell: ({ reached, known, type }) => (type === "off" ? NONE : `${reached}/${known}`) },
    { head: "HANDSHAKES", cell: ({ newestHandshakeAge, oldestHandshakeAge }) => (newestHandshakeAge === undefined ? NONE : `${ageText(newestHandshakeAge)}-${ageText(oldestHandshakeAge)} ago`) },
    { head: "RECEIVED", cell: ({ received }) => received },
    { head: "SENT", cell: ({ sent }) => sent },
    { head: "MISSING", cell: ({ message }) => message ?? NONE },
    { head: "ROTATION WAITS FOR", cell: ({ rotation }) => rotation ?? NONE },
  ],
  rows: async function* ({ encryption }: Source) {
    yield [statusRow(await encryption())];
  },
});

export const encryptionPeers: Table = erased<PeerFacts>({
  name: "encryption-peers",
  map: undefined,
  about: "the other nodes of each node's WireGuard: when each last proved its key, and the bytes",
  columns: [
    { head: "PEER", cell: ({ peer }) => peer ?? NONE },
    { head: "DEVICE", cell: ({ device }) => device },
    { head: "KEY", cell: ({ publicKey }) => keyText(publicKey) },
    { head: "ENDPOINT", cell: ({ endpoint }) => endpoint ?? NONE },
    { head: "HANDSHAKE", cell: ({ handshakeAge }) => (handshakeAge === undefined ? "never" : `${ageText(handshakeAge)} ago`) },
    { head: "RECEIVED", cell: ({ received }) => received },
    { head: "SENT", cell: ({ sent }) => sent },
  ],
  rows: async function* ({ encryption }: Source) {
    yield [...((await encryption())?.peers ?? [])];
  },
});
