/** The DaemonSet of `cilium uninstall`: the agents' own, with another task. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { awaitUninstall } from "../../../src/cli/await-uninstall.ts";
import { CliError } from "../../../src/cli/errors.ts";
import type { DaemonSet } from "../../../src/cli/kinds.ts";
import { uninstallDaemonSet } from "../../../src/cli/uninstall.ts";

const agents: DaemonSet = {
  metadata: { name: "cilium", namespace: "kube-system" },
  spec: {
    selector: { matchLabels: { "k8s-app": "cilium" } },
    template: {
      metadata: { labels: { "k8s-app": "cilium" } },
      spec: {
        serviceAccountName: "cilium",
        hostNetwork: true,
        tolerations: [{ operator: "Exists" }],
        affinity: { nodeAffinity: {} },
        volumes: [{ name: "config" }],
        containers: [{ name: "cilium-agent", image: "cilium:1", imagePullPolicy: "Never", command: ["node", "main.js"], readinessProbe: {}, volumeMounts: [{ name: "config" }], securityContext: { privileged: true } }],
      },
    },
  },
};

test("uninstalls with the agents' image, mounts and tolerations, never beside an agent, and without rights in the API", () => {
  const { metadata, spec } = uninstallDaemonSet(agents, "kube-system", undefined);
  assert.equal(metadata.name, "cilium-uninstall");
  assert.deepEqual(spec?.template.metadata?.labels, { name: "cilium-uninstall", "app.kubernetes.io/part-of": "cilium" });
  const pod = spec?.template.spec as Record<string, any>;
  assert.deepEqual(pod["initContainers"], [{
    name: "uninstall", image: "cilium:1", imagePullPolicy: "Never", command: ["node", "/opt/cilium/dist/agent/main.js", "uninstall"], volumeMounts: [{ name: "config" }], securityContext: { privileged: true },
  }]);
  assert.deepEqual(pod["containers"], [{ name: "done", image: "cilium:1", imagePullPolicy: "Never", command: ["sleep", "infinity"] }]);
  assert.deepEqual([pod["hostNetwork"], pod["tolerations"], pod["volumes"]], [true, [{ operator: "Exists" }], [{ name: "config" }]]);
  assert.equal(pod["serviceAccountName"], undefined);
  assert.equal(pod["automountServiceAccountToken"], false);
  assert.deepEqual(pod["affinity"].podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchLabels, { "k8s-app": "cilium" });
  assert.equal(pod["affinity"].nodeAffinity, undefined);
});

test("one node: nowhere else", () => {
  const { spec } = uninstallDaemonSet(agents, "kube-system", "node-1");
  const affinity = spec?.template.spec["affinity"] as Record<string, any> | undefined;
  assert.deepEqual(affinity?.["nodeAffinity"].requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms, [{ matchFields: [{ key: "metadata.name", operator: "In", values: ["node-1"] }] }]);
});

test("one node is reached although the agents' node selector keeps them off it", () => {
  const selected = { ...agents, spec: { ...agents.spec!, template: { ...agents.spec!.template, spec: { ...agents.spec!.template.spec, nodeSelector: { network: "ours" } } } } };
  assert.equal(uninstallDaemonSet(selected, "kube-system", "node-1").spec?.template.spec["nodeSelector"], undefined);
  assert.deepEqual(uninstallDaemonSet(selected, "kube-system", undefined).spec?.template.spec["nodeSelector"], { network: "ours" });
});

test("a node that is down is named, although its pod could not be put there yet", async () => {
  const term = { matchFields: [{ key: "metadata.name", operator: "In", values: ["node-3"] }] };
  const pod = (name: string, spec: object): object => ({ metadata: { name }, spec, status: {} });
  const items = [pod("a", { nodeName: "node-2" }), pod("b", { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } } } }), pod("c", {})];
  const client = { get: () => Promise.resolve({ metadata: { generation: 1 }, status: { observedGeneration: 1, desiredNumberScheduled: 3, numberReady: 0 } }), list: () => Promise.resolve({ items }) };
  await assert.rejects(awaitUninstall({ client, namespace: "kube-system" } as never, 0), /these nodes are not done: node-2, node-3, a node that is not chosen yet;/);
});

test("a DaemonSet that is not the agents' is refused", () => {
  assert.throws(() => uninstallDaemonSet({ metadata: { name: "cilium" } }, "kube-system", undefined), CliError);
});
