/**
 * The agent's side of the Container Network Interface: one request of the static plugin (plugin/cilium-cni.c)
 * in, one attachment of a pod out.
 *
 *   plugin ── cni.sock ── CniServer ── parseRequest ── CniOperations ─┬─ Admission   (which identity, is its policy applied)
 *                                                                     ├─ AddressPool (which addresses)
 *                                                                     ├─ AttachmentStore (what is done so far, on disk)
 *                                                                     └─ PodDatapath (veth, maps, routes)
 *
 * This folder knows no Kubernetes client and no kernel: both are behind the interfaces of `ports.ts`.
 */
export { AddressPool } from "./ipam.ts";
export { Addresses } from "./addresses.ts";
export { AttachmentStore } from "./store.ts";
export type { Attachment, AttachmentStep } from "./store.ts";
export { CniError, CniErrorCode } from "./errors.ts";
export { CniOperations } from "./operations.ts";
export { CniServer } from "./server.ts";
export { CONFLIST_NAME, installConflist, removeConflist, removePlugin, restoreOthers } from "./conflist.ts";
export { NetnsResolver } from "./netns.ts";
export { replayDeletes } from "./delete-queue.ts";
export type { Admission, Admitted, AttachmentListener, LinkFacts, PodDatapath, PodRef } from "./ports.ts";
