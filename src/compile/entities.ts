/** Entities of the policy language: kinds of peers, by the labels of the identities whose numbers are fixed. */
import { CLUSTER_LABEL, CLUSTER_NAME } from "../model/labels.ts";
import type { LabelPeers } from "./state.ts";

/** What belongs to the cluster and is no pod of it with labels. */
const CLUSTER_MEMBERS = ["health", "host", "ingress", "init", "kube-apiserver", "remote-node", "unmanaged"] as const;

function reserved(name: string): LabelPeers {
  return { kind: "labels", requirements: [{ key: `reserved:${name}`, operator: "Exists", values: [] }] };
}

/** undefined among them: any peer. */
export function entityPeers(entity: string): readonly (LabelPeers | undefined)[] {
  switch (entity) {
    case "all":
      return [undefined];
    case "none":
      return [];
    case "cluster":
      return [...CLUSTER_MEMBERS.map(reserved), { kind: "labels", requirements: [{ key: CLUSTER_LABEL, operator: "In", values: [CLUSTER_NAME] }] }];
    default:
      return [reserved(entity)];
  }
}
