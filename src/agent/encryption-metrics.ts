/**
 * Figures of the node's encryption, asked of its devices when a scrape wants them. Of all peers together: figures of each
 * would be the square of the nodes over the cluster; `cilium encryption peers` has those.
 */
import type { EncryptionFacts } from "../inspect/index.ts";
import type { Metrics } from "../lib/metrics.ts";

export type ReadEncryption = () => Promise<EncryptionFacts | undefined>;

/** @returns what brings the figures up to date; of a node that does not encrypt there are none. */
export function encryptionMetrics(metrics: Metrics, read: ReadEncryption): () => Promise<void> {
  const inForce = metrics.gauge("encryption_in_force", "1 while what would leave for another node's pods in clear is dropped");
  const peers = metrics.gauge("encryption_peers", "Other nodes that WireGuard knows, by whether they have answered since the device was made", ["state"]);
  const age = metrics.gauge("encryption_handshake_age_seconds", "Time since the last handshake with a peer, of the most and of the least recent one; a peer to which nothing is said makes none", ["peer"]);
  const bytes = metrics.exact("encryption_bytes", "Bytes inside WireGuard since its present devices and peers were made", ["direction"]);
  return async () => {
    // Devices come and go: a scrape just then has no figures of them, and all others. Why they are missing the node's status says.
    const facts = await read().catch(() => undefined);
    for (const metric of [inForce, peers, age, bytes]) metric.reset();
    if (facts === undefined) return;
    const ages = facts.peers.flatMap(({ handshakeAge }) => handshakeAge ?? []);
    inForce.set(facts.inForce ? 1 : 0);
    peers.set({ state: "answered" }, ages.length);
    peers.set({ state: "silent" }, facts.peers.length - ages.length);
    if (ages.length > 0) {
      age.set({ peer: "newest" }, Math.min(...ages));
      age.set({ peer: "oldest" }, Math.max(...ages));
    }
    for (const direction of ["received", "sent"] as const) bytes.set({ direction }, facts.peers.reduce((total, peer) => total + BigInt(peer[direction]), 0n));
  };
}
