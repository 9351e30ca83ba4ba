/**
 * Every right that the chart grants, with its reason. A new right fails here until its reason stands here too. Whose
 * objects an agent may write is said by admission policies: test/node/rights.test.ts.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { before, describe, it } from "node:test";
import { chartObjects, findHelm, findObject } from "../../support/chart.ts";

const CRDS = join(resolve(import.meta.dirname, "..", "..", ".."), "crds");

/** `group/resource verb` -> why. */
type Reasons = Readonly<Record<string, string>>;

const FOLLOWED = "followed";

const AGENT: Reasons = {
  "pods get": "CNI ADD asks for the pod when the watch is behind",
  "pods list": FOLLOWED,
  "pods watch": "labels and UIDs of the node's own pods",
  "namespaces list": FOLLOWED,
  "namespaces watch": "labels that are part of a pod's identity",
  "nodes get": "the taint and the condition as they are now",
  "nodes list": FOLLOWED,
  "nodes watch": "the own Node: its addresses and pod CIDRs",
  "nodes patch": "takes the taint node.cilium.io/agent-not-ready away",
  "nodes/status patch": "the condition NetworkUnavailable",
  "discovery.k8s.io/endpointslices list": FOLLOWED,
  "discovery.k8s.io/endpointslices watch": "addresses of the API server, for the entity kube-apiserver; in the namespace default alone",
  "cilium.io/ciliumidentities list": FOLLOWED,
  "cilium.io/ciliumidentities watch": "which labels an identity stands for",
  "cilium.io/ciliumnodes list": FOLLOWED,
  "cilium.io/ciliumnodes watch": "tunnels and routes to other nodes",
  "cilium.io/ciliumnodes create": "server-side apply of the own CiliumNode",
  "cilium.io/ciliumnodes patch": "server-side apply of the own CiliumNode",
  "cilium.io/ciliumencryptions list": FOLLOWED,
  "cilium.io/ciliumencryptions watch": "whether somebody asks for other keys",
  "cilium.io/ciliumendpoints list": FOLLOWED,
  "cilium.io/ciliumendpoints watch": "identities of addresses on other nodes",
  "cilium.io/ciliumendpoints create": "server-side apply for its own pods",
  "cilium.io/ciliumendpoints patch": "server-side apply for its own pods",
  "cilium.io/ciliumendpoints delete": "a pod's network has ended",
  "cilium.io/ciliumnodestates list": FOLLOWED,
  "cilium.io/ciliumnodestates watch": "the desired state of the own node",
  "cilium.io/ciliumnodestates create": "the own acknowledgement",
  "cilium.io/ciliumnodestates/status patch": "the own acknowledgement",
};

const OPERATOR: Reasons = {
  ...Object.fromEntries(["pods", "namespaces", "nodes", "services"].flatMap((resource) => [[`${resource} list`, FOLLOWED], [`${resource} watch`, "what runs where, with which labels"]])),
  "discovery.k8s.io/endpointslices list": FOLLOWED,
  "discovery.k8s.io/endpointslices watch": "where services are that select no pods",
  "events get": "an event that happens again is counted up",
  "events create": "tells of policies",
  "events patch": "an event that happens again is counted up",
  "cilium.io/ciliumnetworkpolicies list": FOLLOWED,
  "cilium.io/ciliumnetworkpolicies watch": "what is to be compiled",
  "cilium.io/ciliumnetworkpolicies/status patch": "Valid, Enforced, the last valid version",
  "cilium.io/ciliumclusterwidenetworkpolicies list": FOLLOWED,
  "cilium.io/ciliumclusterwidenetworkpolicies watch": "what is to be compiled",
  "cilium.io/ciliumclusterwidenetworkpolicies/status patch": "Valid, Enforced, the last valid version",
  "cilium.io/ciliumcidrgroups list": FOLLOWED,
  "cilium.io/ciliumcidrgroups watch": "blocks that policies name",
  "networking.k8s.io/networkpolicies list": FOLLOWED,
  "networking.k8s.io/networkpolicies watch": "what is to be compiled",
  "policy.networking.k8s.io/clusternetworkpolicies list": FOLLOWED,
  "policy.networking.k8s.io/clusternetworkpolicies watch": "what is to be compiled",
  "policy.networking.k8s.io/clusternetworkpolicies/status patch": "Valid, Enforced",
  "cilium.io/ciliumendpoints list": FOLLOWED,
  "cilium.io/ciliumendpoints watch": "identities in use; on which nodes a policy has pods",
  "cilium.io/ciliumidentities list": FOLLOWED,
  "cilium.io/ciliumidentities watch": "numbers that are taken",
  "cilium.io/ciliumnodes list": FOLLOWED,
  "cilium.io/ciliumnodes watch": "how far each node's encryption has come, and how it routes",
  "cilium.io/ciliumencryptions list": FOLLOWED,
  "cilium.io/ciliumencryptions watch": "the object that stands for the chart's values",
  "cilium.io/ciliumencryptions create": "encryption was switched on",
  "cilium.io/ciliumencryptions patch": "the chart's values were changed, or the object by hand",
  "cilium.io/ciliumencryptions delete": "encryption was switched off",
  "cilium.io/ciliumencryptions/status patch": "how many nodes encrypt, and what is missing where",
  "cilium.io/ciliumroutings list": FOLLOWED,
  "cilium.io/ciliumroutings watch": "the object that stands for the chart's values",
  "cilium.io/ciliumroutings create": "how the chart's values route is to be read",
  "cilium.io/ciliumroutings patch": "the chart's values were changed, or the object by hand",
  "cilium.io/ciliumroutings/status patch": "how many nodes route so, and what is missing where",
  "cilium.io/ciliumidentities create": "a new set of labels",
  "cilium.io/ciliumidentities delete": "a number that nobody uses any more",
  "cilium.io/ciliumnodestates get": "the manifest as it is now, before it is replaced",
  "cilium.io/ciliumnodestates list": FOLLOWED,
  "cilium.io/ciliumnodestates watch": "acknowledgements; parts that someone else changed",
  "cilium.io/ciliumnodestates create": "manifests and parts",
  "cilium.io/ciliumnodestates update": "manifests, each under its version",
  "cilium.io/ciliumnodestates patch": "the owner of parts when a Node comes back under its name",
  "cilium.io/ciliumnodestates delete": "parts that no manifest names, states of nodes that are gone",
  "apiextensions.k8s.io/customresourcedefinitions create": "definitions at the first start",
  "apiextensions.k8s.io/customresourcedefinitions get": "whether a definition is served",
  "apiextensions.k8s.io/customresourcedefinitions patch": "definitions of a newer version",
  "coordination.k8s.io/leases create": "the election of the leader",
  "coordination.k8s.io/leases get": "the election of the leader",
  "coordination.k8s.io/leases update": "the election of the leader",
};

const UNINSTALL: Reasons = {
  "apps/daemonsets get": "whether every node is done",
  "pods list": "which node is not done, and why",
};

const GENERATED = ["ciliumendpoints", "ciliumidentities", "ciliumnodes", "ciliumnodestates"];

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const rightsOf = ({ apiGroups, resources, verbs }: Rule): string[] =>
  apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => `${group === "" ? "" : `${group}/`}${resource} ${verb}`)));

describe("every right has its reason", () => {
  let all: any[] = [];
  before(async () => {
    all = chartObjects(await findHelm());
  });

  for (const [role, reasons] of [["cilium", AGENT], ["cilium-operator", OPERATOR], ["cilium-uninstall", UNINSTALL]] as const) {
    it(`of ${role}`, () => {
      const roles = all.filter(({ kind, metadata }) => (kind === "ClusterRole" || kind === "Role") && metadata.name === role);
      const granted = roles.flatMap((each) => each.rules.flatMap(rightsOf));
      assert.deepEqual([...new Set(granted)].sort(), Object.keys(reasons).sort());
    });
  }

  it("grants nothing to other roles but those for users", () => {
    const names = all.filter(({ kind }) => kind === "ClusterRole" || kind === "Role").map(({ metadata }) => metadata.name);
    assert.deepEqual([...new Set(names)].sort(), ["cilium", "cilium-edit", "cilium-operator", "cilium-uninstall", "cilium-view"]);
  });

  it("limits what can be limited by name", () => {
    const limited = all.flatMap(({ rules }) => rules ?? []).filter(({ resourceNames }) => resourceNames !== undefined);
    const limitedRights = new Set(limited.flatMap(rightsOf));
    for (const right of ["coordination.k8s.io/leases update", "apiextensions.k8s.io/customresourcedefinitions patch", "apps/daemonsets get"]) assert.ok(limitedRights.has(right), right);
  });

  it("lets users read every kind, write namespaced policies, and no generated kind", () => {
    const view = findObject(all, "ClusterRole", "cilium-view");
    assert.equal(view.metadata.labels["rbac.authorization.k8s.io/aggregate-to-view"], "true");
    const kinds = readdirSync(CRDS).filter((file) => file.endsWith(".yaml")).map((file) => file.replace(".yaml", ""));
    const read: string[] = view.rules.flatMap(({ resources }: Rule) => resources);
    assert.deepEqual(kinds.filter((kind) => !read.includes(kind)), []);
    for (const { verbs } of view.rules as Rule[]) assert.deepEqual(verbs, ["get", "list", "watch"]);
    const edit = findObject(all, "ClusterRole", "cilium-edit");
    assert.equal(edit.metadata.labels["rbac.authorization.k8s.io/aggregate-to-edit"], "true");
    const written: string[] = edit.rules.flatMap(({ resources }: Rule) => resources);
    assert.deepEqual(written.filter((kind) => GENERATED.includes(kind) || kind.includes("cluster")), []);
    assert.ok(written.includes("ciliumnetworkpolicies"));
  });
});
