import assert from "node:assert/strict";
import { test } from "node:test";
import { statusOf, type StatusFacts } from "../../../src/cli/status.ts";
import { statusText } from "../../../src/cli/status-text.ts";

const READY = { conditions: [{ type: "Ready", status: "True" }] };

function agent(node: string, ready = true): any {
  return {
    metadata: { namespace: "kube-system", name: `cilium-${node}`, labels: { "k8s-app": "cilium" } },
    spec: { nodeName: node, hostNetwork: true, containers: [{ name: "cilium-agent", image: "cilium:1" }] },
    status: { phase: "Running", podIP: "10.0.0.1", ...(ready ? READY : {}) },
  };
}

function pod(name: string, node: string, more: object = {}): any {
  return { metadata: { namespace: "default", name }, spec: { nodeName: node }, status: { phase: "Running", podIP: "10.1.0.1", ...more } };
}

function endpoint(name: string, node: string, state = "ready"): any {
  return { metadata: { namespace: "default", name }, status: { id: 1, identity: { id: 300 }, state, networking: { addressing: [], node: "", nodeName: node } } };
}

const manifest = { hash: "h", format: 1, nodeUID: "u", leaseTransitions: 1, parts: [] };

function healthy(): StatusFacts {
  return {
    daemonSet: { metadata: { name: "cilium" }, status: { desiredNumberScheduled: 1, numberReady: 1 } },
    deployment: { metadata: { name: "cilium-operator" }, spec: { replicas: 1 }, status: { readyReplicas: 1 } },
    nodes: [{ metadata: { name: "a" } }],
    pods: [agent("a"), pod("web", "a")],
    endpoints: [endpoint("web", "a")],
    nodeStates: [
      { metadata: { name: "spec.a" }, node: "a", manifest: { ...manifest, revision: 4 } },
      { metadata: { name: "status.a" }, node: "a", status: { appliedRevision: 4, appliedHash: "h" } },
    ] as StatusFacts["nodeStates"],
  };
}

test("a cluster where everything runs and is applied has no problems", () => {
  const status = statusOf(healthy(), "kube-system");
  assert.deepEqual(status.problems, []);
  assert.deepEqual(status.nodes, [{ name: "a", agent: "ready", managed: 1, pods: 1, revision: 4, applied: 4, failures: [], warnings: [] }]);
  assert.match(statusText(status), /Endpoints: {2}1 of 1 pods managed/);
});

test("pods that no agent manages are listed; host-network and ended pods are not", () => {
  const facts = healthy();
  const more = [pod("old", "a"), pod("done", "a", { phase: "Succeeded" })];
  const status = statusOf({ ...facts, pods: [...facts.pods, ...more] }, "kube-system");
  assert.deepEqual(status.unmanaged, ["default/old"]);
  assert.deepEqual(status.problems, []);
  assert.match(statusText(status), /Unmanaged pods.*\n {2}default\/old\n/);
});

test("a warning of a node is shown, and is no problem", () => {
  const facts = healthy();
  const [manifestOf, acknowledged] = facts.nodeStates as any[];
  const nodeStates = [manifestOf, { ...acknowledged, status: { ...acknowledged.status, warnings: [{ part: "map policy", message: "more than 85 % of its 100 entries are taken" }] } }];
  const status = statusOf({ ...facts, nodeStates }, "kube-system");
  assert.deepEqual(status.problems, []);
  assert.match(statusText(status), /Warnings:\n {2}a: map policy: more than 85 % of its 100 entries are taken\n/);
});

test("what is not ready, not applied or failed is a problem by name", () => {
  const facts = healthy();
  const status = statusOf(
    {
      ...facts,
      daemonSet: { metadata: { name: "cilium" }, status: { desiredNumberScheduled: 2, numberReady: 1 } },
      deployment: { metadata: { name: "cilium-operator" }, spec: { replicas: 2 }, status: { readyReplicas: 1 } },
      endpoints: [endpoint("web", "a", "waiting-for-policy")],
      nodeStates: [
        { metadata: { name: "spec.a" }, node: "a", manifest: { ...manifest, revision: 5 } },
        { metadata: { name: "status.a" }, node: "a", status: { appliedRevision: 4, appliedHash: "h", failures: [{ part: "policy", message: "map full" }] } },
      ] as StatusFacts["nodeStates"],
    },
    "kube-system",
  );
  assert.deepEqual(status.problems, [
    "1 of 2 agents are ready",
    "1 of 2 operators are ready",
    "a: revision 5 is not applied yet (4 is)",
    "a: policy: map full",
    "default/web: waiting-for-policy",
  ]);
});

test("a cluster without the chart says so", () => {
  const facts = { ...healthy(), daemonSet: undefined, deployment: undefined, pods: [], endpoints: [], nodeStates: [] };
  const { problems } = statusOf(facts, "kube-system");
  assert.match(problems.join("\n"), /no DaemonSet cilium/);
  assert.match(problems.join("\n"), /no Deployment cilium-operator/);
});
