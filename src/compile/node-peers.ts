/**
 * Nodes that policies name by their labels, as addresses: identities tell nodes from pods and from the world, and not one
 * node from another. Pure.
 */
import type { Problem } from "../api/problem.ts";
import { selectsObject } from "./object-selector.ts";
import type { ObjectSelector } from "./object-selector.ts";

export interface NodePeer {
  readonly labels: Readonly<Record<string, string>>;
  /** Canonical text, those of its router too. */
  readonly addresses: readonly string[];
}

/** By name. */
export type NodePeers = ReadonlyMap<string, NodePeer>;

export function nodeAddresses(selector: ObjectSelector, path: string, all: NodePeers, unresolved: Problem[]): readonly string[] {
  const found = [...all.values()].filter(({ labels }) => selectsObject(selector, labels));
  if (found.length === 0) unresolved.push({ path, message: "no Node has these labels: it means nobody" });
  return found.flatMap(({ addresses }) => addresses);
}

/** What labels are not asked for means every node: these have identities of their own. */
export function isEveryNode({ matchLabels = {}, matchExpressions = [] }: ObjectSelector): boolean {
  return Object.keys(matchLabels).length === 0 && matchExpressions.length === 0;
}
