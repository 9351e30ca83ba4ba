/** What policies probably do not mean, told by the operator's own process in their status, and taken back with its cause. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, openSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { CILIUM_CLUSTERWIDE_NETWORK_POLICIES, CILIUM_NETWORK_POLICIES, NODES } from "../../src/kube/index.ts";
import type { KubeClient } from "../../src/kube/index.ts";
import { startApiServer } from "../support/apiserver.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { clientOf, createNamespace, createNode, eventually, getPolicy, policy } from "../support/cluster-objects.ts";

const NS = "shop";
const API = { endpointSelector: { matchLabels: { app: "api" } } };

describe("warnings", { timeout: 300_000 }, () => {
  let server: ApiServer;
  let client: KubeClient;
  let operator: ChildProcess | undefined;

  /** Waits until the status is of these words, or (empty) says nothing of the kind; both of a version that was looked at. */
  const warnedOf = (name: string, wanted: RegExp | undefined): Promise<unknown> =>
    eventually(`${name} warned of ${wanted?.source ?? "nothing"}`, async () => {
      const { metadata, status } = await getPolicy(client, NS, name);
      const conditions = status?.conditions ?? [];
      if (!conditions.some(({ type, observedGeneration }) => type === "Valid" && observedGeneration === metadata.generation)) return undefined;
      const said = conditions.find(({ type }) => type === "Warnings");
      return wanted === undefined ? said === undefined : said !== undefined && wanted.test(`${said.reason} ${said.message}`);
    });

  before(async () => {
    server = await startApiServer();
    const config = join(server.directory, "operator-config");
    mkdirSync(config);
    for (const [key, value] of [["operator-prometheus-port", "0"], ["operator-health-port", "0"], ["policy-cidr-match-mode", "pods"]] as const) writeFileSync(join(config, key), value);
    client = clientOf(server.kubeconfig);
    await createNamespace(client, NS);
    const out = openSync(join(server.directory, "operator.log"), "a");
    operator = spawn(process.execPath, [resolve(import.meta.dirname, "../../src/operator/main.ts")], {
      env: { ...process.env, KUBECONFIG: server.kubeconfig, CILIUM_CONFIG_DIRECTORY: config, POD_NAME: "op", POD_NAMESPACE: "kube-system" }, stdio: ["ignore", out, out],
    });
    await eventually("definitions", async () => (await client.list(CILIUM_NETWORK_POLICIES).catch(() => undefined)) !== undefined);
  });

  after(async () => {
    if (operator !== undefined && operator.exitCode === null) {
      operator.kill("SIGKILL");
      await once(operator, "exit");
    }
    await server.stop();
  });

  test("what another policy denies is told of the one that allows it, until it is gone", async () => {
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "allow", { ...API, ingress: [{ fromEndpoints: [{ matchLabels: { app: "web" } }] }] }));
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "beside", { ...API, ingress: [{ fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "other" } }] }] }));
    await warnedOf("allow", /^SelectsNothing spec: it selects no pod$/);
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "deny", { endpointSelector: {}, ingressDeny: [{ fromEndpoints: [{}] }] }));
    await warnedOf("allow", /ShadowedByDeny|Several.*all that it allows is denied by spec\.ingressDeny\[0\] of CiliumNetworkPolicy shop\/deny/);
    await warnedOf("beside", /^SelectsNothing/);
    await client.delete(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "deny" });
    await warnedOf("allow", /^SelectsNothing spec: it selects no pod$/);
    await client.create(CILIUM_CLUSTERWIDE_NETWORK_POLICIES, { ...policy("", "all", { endpointSelector: {}, ingressDeny: [{ fromEntities: ["all"] }] }), kind: "CiliumClusterwideNetworkPolicy", metadata: { name: "all" } });
    for (const name of ["allow", "beside"]) await warnedOf(name, /denied by spec\.ingressDeny\[0\] of CiliumClusterwideNetworkPolicy all/);
    await client.delete(CILIUM_CLUSTERWIDE_NETWORK_POLICIES, { name: "all" });
    for (const name of ["allow", "beside"]) await warnedOf(name, /^SelectsNothing spec: it selects no pod$/);
  });

  test("addresses of pods are no mistake where policyCIDRMatchMode says that blocks mean pods", async () => {
    await createNode(client, "n1");
    await client.patch(NODES, { name: "n1" }, { spec: { podCIDR: "10.0.3.0/24", podCIDRs: ["10.0.3.0/24"] } });
    await client.create(CILIUM_NETWORK_POLICIES, policy(NS, "by-address", { ...API, egress: [{ toCIDR: ["10.0.3.7"] }, { toCIDR: [] }] }));
    await warnedOf("by-address", /^Several spec\.egress\[1\]: its list of peers is empty.*; spec: it selects no pod$/);
  });

  test("every item of specs is told by its path, what is wrong and what is probably not meant", async () => {
    await client.create(CILIUM_NETWORK_POLICIES, { metadata: { namespace: NS, name: "several" }, specs: [{ ...API, ingress: [] }, { ...API, ingress: [{ fromEndpoints: [] }] }] });
    await warnedOf("several", /^Several specs\[1\]\.ingress\[0\]: its list of peers is empty/);
    await client.patch(CILIUM_NETWORK_POLICIES, { namespace: NS, name: "several" }, { specs: [{ ...API, ingress: [] }, { ...API, egress: [{ toPorts: [{ ports: [{ port: "80", endPort: 70, protocol: "TCP" }] }] }] }] });
    await eventually("invalid by its path", async () => {
      const { status } = await getPolicy(client, NS, "several");
      const valid = status?.conditions?.find(({ type }) => type === "Valid");
      return valid?.status === "False" && valid.message.startsWith("specs[1].egress[0].toPorts[0].ports[0].endPort: 70 is less than port 80");
    });
  });

  test("an operator that was asked all this is still running", () => assert.equal(operator?.exitCode, null));
});
