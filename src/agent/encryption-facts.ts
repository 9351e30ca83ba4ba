/** The node's encryption as readers ask for it, from what the devices and the nodes' objects say. Pure. */
import type { EncryptionFacts, PeerFacts } from "../inspect/index.ts";
import type { WireGuardState } from "../kernel/index.ts";
import { keysOf } from "./key-rotation.ts";
import type { CiliumNodeRow, EncryptionStatus } from "./objects.ts";

export interface FactSources {
  readonly status: EncryptionStatus | undefined;
  readonly inForce: boolean;
  readonly inForceOnReceipt: boolean;
  readonly devices: readonly { readonly name: string; readonly state: WireGuardState }[];
  /** To name the peers. */
  readonly nodes: Iterable<CiliumNodeRow>;
  readonly nowMs: number;
}

export function encryptionFacts({ status, inForce, inForceOnReceipt, devices, nodes, nowMs }: FactSources): EncryptionFacts {
  const names = new Map([...nodes].flatMap((node) => keysOf(node, 0).map(({ publicKey }) => [publicKey, node.name] as const)));
  const peers = devices.flatMap(({ name, state }) => [...state.peers.values()].map((peer): PeerFacts => ({
    peer: names.get(peer.publicKey),
    device: name,
    publicKey: peer.publicKey,
    endpoint: peer.endpoint,
    // The node's clock may have been put back meanwhile.
    handshakeAge: peer.lastHandshake === 0 ? undefined : Math.max(0, Math.floor(nowMs / 1000) - peer.lastHandshake),
    received: String(peer.received),
    sent: String(peer.sent),
  })));
  const keys = devices.flatMap(({ name, state }) => (state.publicKey === undefined ? [] : [{ publicKey: state.publicKey, device: name, port: state.port }]));
  const collator = new Intl.Collator("en", { numeric: true });
  return {
    phase: status?.phase, device: status?.device, inForce, inForceOnReceipt, message: status?.message, rotation: status?.rotation, keys,
    peers: peers.sort((a, b) => collator.compare(a.peer ?? "", b.peer ?? "") || collator.compare(a.device, b.device)),
  };
}
