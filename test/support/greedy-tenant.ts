/** One tenant that asks for far more than its share: it is told so, and nobody else feels it. */
import assert from "node:assert/strict";
import { Validator } from "../../src/api/index.ts";
import { draftPolicy } from "../../src/compile/index.ts";
import type { PolicySize } from "../../src/compile/index.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import type { Logger } from "../../src/lib/log.ts";
import { Cluster } from "../../src/operator/cluster.ts";
import { IdentityAllocator } from "../../src/operator/identities.ts";
import { PolicyBook } from "../../src/operator/policies.ts";
import { PolicyQuota } from "../../src/operator/policy-quota.ts";
import { policyStatus } from "../../src/operator/policy-status.ts";
import { decodePod } from "../../src/operator/rows.ts";

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };

/** `many` pods with labels of their own, where a namespace may have `most` identities. */
export async function greedyLabels(many: number, most: number): Promise<void> {
  const told: string[] = [];
  const cluster = new Cluster({ nodeChanged: () => undefined, identityChanged: () => undefined });
  const client = { create: async (_type: unknown, object: object) => object } as unknown as KubeClient;
  const events = { record: async (_type: unknown, object: { metadata: { name: string } }, _severity: unknown, reason: string, message: string) => void told.push(`${object.metadata.name} ${reason} ${message}`) };
  const allocator = new IdentityAllocator({ client, cluster, events, logger: silent, most });
  for (const namespace of ["greedy", "modest"]) cluster.namespaceChanged(namespace, { labels: {} });
  const put = (namespace: string, name: string): void => cluster.podChanged(decodePod({ metadata: { name, namespace, labels: { app: name } }, spec: { nodeName: "n1" } }), undefined);
  for (let at = 0; at < many; at++) put("greedy", `a${at}`);
  for (let at = 0; at < 10; at++) put("modest", `b${at}`);
  const { signal } = new AbortController();
  for (const key of [...cluster.wantedKeys()]) await allocator.reconcile(key, signal);
  assert.deepEqual([cluster.numbersOf("greedy"), cluster.numbersOf("modest")], [most, 10]);
  assert.deepEqual(told, [`greedy CapacityExceeded the pods of namespace greedy have more than ${most} different sets of labels, which is all that one namespace may have: pods of further sets get no network until others are gone`]);
}

/** `many` policies of one rule each, and one of `many` blocks. */
export function greedyPolicies(many: number, most: PolicySize): void {
  let told = 0;
  const changed = new Map<string, number>();
  const policies = new PolicyBook(new Validator(), { policiesChanged: (namespace) => void changed.set(namespace, (changed.get(namespace) ?? 0) + 1), policyChanged: () => void told++ }, new PolicyQuota(most));
  const put = (namespace: string, name: string, spec: object): void => policies.changed("CiliumNetworkPolicy", `${namespace}/${name}`, { metadata: { name, namespace, uid: `${namespace}-${name}`, generation: 1 }, spec });
  const rulesOf = (namespace: string): number => (policies.effective.get(namespace) ?? []).reduce((sum, row) => sum + draftPolicy(row).reduce((all, { rules }) => all + rules.length, 0), 0);
  const small = { endpointSelector: {}, ingress: [{ fromEndpoints: [{}], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] }] };
  put("modest", "p", small);
  for (let group = 0; group < 5; group++) policies.groupChanged(`g${group}`, { labels: {}, cidrs: Array.from({ length: many / 5 }, (_, at) => `${20 + group}.${at >> 8}.${at & 255}.0/24`), problems: [] });
  put("blocks", "wide", { endpointSelector: {}, egress: [{ toCIDRSet: [0, 1, 2, 3, 4].map((group) => ({ cidrGroupRef: `g${group}` })) }] });
  put("blocks", "other", small);
  for (let at = 0; at < many; at++) put("rules", `p${String(at).padStart(6, "0")}`, small);
  put("modest", "q", { endpointSelector: {}, egress: [] });
  assert.deepEqual([rulesOf("modest"), rulesOf("blocks"), rulesOf("rules")], [1, 1, most.rules]);
  assert.equal(changed.get("modest"), 2, "their policies alone change what they are");
  assert.ok(told < 2.5 * many, `${told} statuses are looked at for ${many} policies`);
  const said = (namespace: string, name: string): string => {
    const entry = policies.get(`CiliumNetworkPolicy:${namespace}/${name}`) ?? assert.fail(name);
    const enforced = policyStatus(entry, { endpoints: 1, nodes: [] }, "2026-01-01T00:00:00Z").conditions?.find(({ type }) => type === "Enforced");
    return `${enforced?.reason}: ${enforced?.message}`;
  };
  const last = `p${String(many - 1).padStart(6, "0")}`;
  assert.ok(said("rules", last).startsWith(`CapacityExceeded: it asks for 1 rules and 0 blocks of addresses; the policies of namespace rules ask for more than ${most.rules} rules, and may have ${most.rules} and ${most.blocks}`), said("rules", last));
  assert.ok(said("blocks", "wide").startsWith(`CapacityExceeded: it asks for 1 rules and ${many} blocks of addresses; `), said("blocks", "wide"));
  for (const [namespace, name] of [["modest", "p"], ["modest", "q"], ["blocks", "other"], ["rules", "p000000"]] as const) assert.doesNotMatch(said(namespace, name), /^CapacityExceeded/);
}
