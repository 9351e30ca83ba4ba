/** networking.k8s.io/v1 NetworkPolicy: the fields that we read. The API server has checked its form. */
import { parseCidr } from "../lib/ip.ts";
import { checkAnnotation } from "./enforcement.ts";
import type { KubeObject } from "./meta.ts";
import type { Problem } from "./problem.ts";

export interface KubernetesSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
    readonly values?: readonly string[];
  }[];
}

export interface NetworkPolicyPeer {
  readonly podSelector?: KubernetesSelector;
  readonly namespaceSelector?: KubernetesSelector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

export interface NetworkPolicyPort {
  readonly protocol?: "TCP" | "UDP" | "SCTP";
  readonly port?: number | string;
  readonly endPort?: number;
}

export interface NetworkPolicySpec {
  readonly podSelector?: KubernetesSelector;
  readonly policyTypes?: readonly ("Ingress" | "Egress")[];
  readonly ingress?: readonly { readonly from?: readonly NetworkPolicyPeer[]; readonly ports?: readonly NetworkPolicyPort[] }[];
  readonly egress?: readonly { readonly to?: readonly NetworkPolicyPeer[]; readonly ports?: readonly NetworkPolicyPort[] }[];
}

export interface NetworkPolicy extends KubeObject {
  readonly spec?: NetworkPolicySpec;
}

/** What the API server accepts and we cannot say: it must be told, not enforced by halves. */
export function networkPolicyProblems(policy: NetworkPolicy): Problem[] {
  const { spec = {} } = policy;
  const problems: Problem[] = [];
  checkAnnotation(policy, false, problems);
  spec.policyTypes?.forEach((type, at) => {
    if (type !== "Ingress" && type !== "Egress") problems.push({ path: `spec.policyTypes[${at}]`, message: `${JSON.stringify(type)} is not known` });
  });
  spec.ingress?.forEach((item, at) => checkItem(item.from, item.ports, `spec.ingress[${at}]`, "from", problems));
  spec.egress?.forEach((item, at) => checkItem(item.to, item.ports, `spec.egress[${at}]`, "to", problems));
  return problems;
}

function checkItem(peers: readonly NetworkPolicyPeer[] | undefined, ports: readonly NetworkPolicyPort[] | undefined, path: string, field: string, problems: Problem[]): void {
  peers?.forEach(({ ipBlock }, at) => {
    const here = `${path}.${field}[${at}]`;
    if (ipBlock === undefined) return;
    checkBlock(ipBlock.cidr, `${here}.ipBlock.cidr`, problems);
    ipBlock.except?.forEach((block, index) => checkBlock(block, `${here}.ipBlock.except[${index}]`, problems));
  });
  ports?.forEach(({ protocol = "TCP" }, at) => {
    if (!["TCP", "UDP", "SCTP"].includes(protocol)) problems.push({ path: `${path}.ports[${at}].protocol`, message: `${JSON.stringify(protocol)} is not supported` });
  });
}

function checkBlock(text: string, path: string, problems: Problem[]): void {
  try {
    parseCidr(text, { maskHostBits: true });
  } catch {
    problems.push({ path, message: `${JSON.stringify(text)} is not a block of addresses` });
  }
}
