/** Names of the objects that carry one node's state: prefixed, so that no node's name can be another's part. */
import type { OwnerReference } from "../api/meta.ts";
import { contentHash } from "../lib/hash.ts";

/** Limits the watch of an agent to its own node. */
export const NODE_LABEL = "cilium.io/node";

/** A label value may have 63 characters, a node's name 253. */
const MAX_KEY = 63;

/** The node's name where it fits into a label, else a shortened one with a hash. */
export function nodeKey(node: string): string {
  if (node.length <= MAX_KEY) return node;
  return `${node.slice(0, MAX_KEY - 18).replace(/[^a-z0-9]+$/, "")}-${contentHash(node)}`;
}

export function manifestName(node: string): string {
  return `spec.${nodeKey(node)}`;
}

export function statusName(node: string): string {
  return `status.${nodeKey(node)}`;
}

export function partName(node: string, hash: string): string {
  return `p-${hash}.${nodeKey(node)}`;
}

/** Of a part in the manifest: an operator that knows only objects finds none of this name, and makes them. */
export function carriedName(node: string, hash: string): string {
  return `c-${hash}.${nodeKey(node)}`;
}

/** The Node owns what belongs to it, so that the garbage collector removes it with the Node. */
export function ownerOf(node: string, uid: string): OwnerReference {
  return { apiVersion: "v1", kind: "Node", name: node, uid };
}
