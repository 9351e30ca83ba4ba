/** Questions to files: who is meant, which rule decides and where it is written, and what came close. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Validator } from "../../../src/api/index.ts";
import type { KubeObject } from "../../../src/api/meta.ts";
import { manifestsOf } from "../../../src/cli/manifests.ts";
import { explainGround } from "../../../src/cli/explain.ts";
import { Engine, answerText, simulate, withPolicies, worldOf } from "../../../src/explain/index.ts";
import type { Answer } from "../../../src/explain/index.ts";

const validator = new Validator();
const FILE = `apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: List
items:
- kind: Pod
  metadata: {name: web, namespace: shop, labels: {app: web}}
  spec: {nodeName: n1}
  status: {podIP: 10.0.1.5}
- kind: Pod
  metadata: {name: stray, namespace: default, labels: {app: web}}
- kind: Pod
  metadata: {name: agent, namespace: shop}
  spec: {nodeName: n1, hostNetwork: true}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {selector: {app: api}, clusterIP: 10.96.0.5, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.0.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: web
    toPorts:
    - ports:
      - {port: "8080", protocol: TCP}
  - fromEntities: [cluster]
    toPorts:
    - ports: [{port: "8080", protocol: TCP}]
  ingressDeny:
  - fromCIDR: [203.0.113.0/24]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-out, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
  - to: [{podSelector: {matchLabels: {app: api}}}]
`;

function ask(from: string, to: string, port: string, source = FILE): Answer {
  const { objects, unreadable } = manifestsOf("shop.yaml", source);
  assert.deepEqual(unreadable, []);
  const policy = { cidrMatchMode: new Set<never>() };
  const { answers } = explainGround({ world: worldOf(objects, { validator, live: false }), policy }, from, to, port);
  assert.equal(answers.length, 1);
  return answers[0] ?? assert.fail();
}

test("both ends are asked; each says the deciding rule with its file and line, and the others of the same say", () => {
  const { verdict, egress, ingress } = ask("shop/web", "shop/api", "8080/TCP");
  assert.equal(verdict, "allowed");
  assert.deepEqual([egress.subject, egress.because, egress.rule], ["shop/web", "rule", { policies: [{ kind: "NetworkPolicy", namespace: "shop", name: "web-out" }], path: "spec.egress[0]", at: "shop.yaml:62" }]);
  assert.equal(ingress.because, "rule");
  assert.deepEqual(new Set([ingress.rule, ...ingress.also].map((rule) => `${rule?.path} ${rule?.at}`)), new Set(["spec.ingress[0].toPorts[0] shop.yaml:47", "spec.ingress[1].toPorts[0] shop.yaml:51"]));
});

test("what is denied says what came close, and the label, port or address that missed", () => {
  const port = ask("shop/web", "shop/api", "9090/TCP");
  assert.deepEqual([port.verdict, port.egress.verdict, port.ingress.verdict, port.ingress.because], ["denied", "allowed", "denied", "default-deny"]);
  assert.deepEqual(port.ingress.near[0]?.missed, ["it is TCP 9090; the rule is for TCP 8080"]);
  const other = FILE.replace("fromEntities: [cluster]", "fromEntities: [host]");
  const stray = ask("default/stray", "shop/api", "8080/TCP", other);
  assert.match(stray.ingress.near[0]?.missed.join() ?? "", /the sender: it needs the label k8s:io\.kubernetes\.pod\.namespace=shop; it has "default"/);
  const out = ask("shop/web", "203.0.113.9", "443/TCP", other);
  assert.deepEqual([out.verdict, out.egress.because], ["denied", "default-deny"]);
  assert.match(out.egress.near[0]?.missed.join() ?? "", /the receiver is an address outside; the rule is for pods/);
  assert.match(answerText(stray), /DENIED\n {2}egress of default\/stray: allowed, no policy closes this direction\n {2}ingress of shop\/api: denied, no rule allows it; closed by CiliumNetworkPolicy shop\/api \(shop\.yaml:37\)\n {4}close: /);
});

test("a policy that would allow it but does not select the pod is told with the label", () => {
  const { egress } = ask("default/stray", "shop/api", "8080/TCP", `${FILE}---\napiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: no}\nspec: {endpointSelector: {matchLabels: {app: wob}}, egressDeny: [{toEntities: [all]}]}\n`);
  assert.deepEqual(egress.near[0]?.missed, ['the policy does not select it: it needs the label app=wob; it has "web"']);
});

test("a denial is the answer although a rule allows it, and a rule of the same reach is nothing against it", () => {
  const { ingress } = ask("203.0.113.9", "shop/api", "8080/TCP", FILE.replace("fromEntities: [cluster]", "fromEntities: [all]"));
  assert.deepEqual([ingress.verdict, ingress.rule?.path, ingress.rule?.at], ["denied", "spec.ingressDeny[0]", "shop.yaml:53"]);
});

const TIERS = `---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: admin}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  ingress:
  - name: strangers
    action: Deny
    from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: default}}}]
  - name: rest
    action: Pass
    from: [{namespaces: {}}]
  egress:
  - {action: Deny, to: [{networks: [198.51.100.0/24]}]}
`;

test("tiers: the rule's name is told, and which rule passed the flow on; rules that would not be asked first are not near", () => {
  const stray = ask("default/stray", "shop/api", "8080/TCP", FILE + TIERS).ingress;
  assert.deepEqual([stray.verdict, stray.rule?.name, stray.rule?.path, stray.passedBy, stray.near], ["denied", "strangers", "spec.ingress[0]", undefined, []]);
  const { ingress, egress } = ask("shop/web", "shop/api", "8080/TCP", FILE + TIERS);
  assert.deepEqual([ingress.verdict, ingress.rule?.policies[0]?.name, ingress.passedBy?.name], ["allowed", "api", "rest"]);
  assert.match(ingress.near.map(({ rule, missed }) => `${rule.name} ${missed.join()}`).join(), /strangers the sender: it needs the label .*metadata\.name=default/);
  assert.equal(egress.because, "rule");
  const answer = ask("shop/api", "shop/web", "80/TCP", FILE + TIERS);
  assert.deepEqual([answer.egress.because, answer.egress.rule], ["nothing-enforced", undefined], "what nothing denies passes where nothing is closed, by no rule that somebody wrote");
  assert.match(answerText(ask("shop/web", "shop/api", "8080/TCP", FILE + TIERS)), /allowed, by .*; passed on by ClusterNetworkPolicy admin spec\.ingress\[1\] "rest" \(shop\.yaml:/);
});

test("services are asked as the pods behind them, nodes and host-network pods as what they are to that pod", () => {
  for (const service of ["shop/front", "service/shop/front", "10.96.0.5"]) {
    const { to, port } = ask("shop/web", service, "80/TCP");
    assert.deepEqual([to.name, port], ["shop/api", "TCP 8080"]);
  }
  assert.deepEqual([ask("n1", "shop/web", "80/TCP").ingress.because, ask("shop/agent", "shop/web", "80/TCP").ingress.because], ["own-node", "own-node"]);
  const node = ask("n1", "shop/api", "8080/TCP");
  assert.deepEqual([node.verdict, node.egress.because, node.notes.length], ["allowed", "nothing-enforced", 1]);
  assert.deepEqual([ask("shop/web", "shop/web", "1/TCP").ingress.because, ask("shop/api", "10.0.1.5", "9/UDP").to.name], ["same-pod", "shop/web"]);
  assert.equal(ask("shop/web", "10.0.1.77", "80/TCP").egress.because, "unknown-peer");
});

const OF_NODES = `${FILE}---
apiVersion: v1
kind: Node
metadata: {name: n2, labels: {zone: b}}
spec: {podCIDRs: [10.0.2.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: shop, labels: {app: far}}
spec: {nodeName: n2}
status: {podIP: 10.0.2.5}
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: edge}
spec:
  nodeSelector: {matchLabels: {zone: b}}
  enableDefaultDeny: {egress: false}
  ingress:
  - fromEndpoints:
    - matchLabels: {app: web, "k8s:io.kubernetes.pod.namespace": shop}
    toPorts:
    - ports: [{port: "9000", protocol: TCP}]
  egressDeny:
  - toEntities: [world]
`;

test("a node is a party of its own: policies of nodes decide, with their path, what came close and the failsafe; its own pods it always reaches", () => {
  const answer = (from: string, to: string, port: string): Answer => ask(from, to, port, OF_NODES);
  const allowed = answer("shop/web", "node/n2", "9000/TCP");
  assert.deepEqual([allowed.ingress.verdict, allowed.ingress.subject, allowed.ingress.rule?.path, allowed.ingress.rule?.policies[0]?.name], ["allowed", "n2", "spec.ingress[0].toPorts[0]", "edge"]);
  const denied = answer("shop/far", "n2", "9000/TCP");
  assert.deepEqual([denied.verdict, denied.ingress.because, denied.ingress.near[0]?.rule.path], ["denied", "default-deny", "spec.ingress[0].toPorts[0]"]);
  assert.match(answerText(denied), /ingress of n2: denied, no rule allows it; closed by CiliumClusterwideNetworkPolicy edge[^]*close: .*spec\.ingress\[0\]/);
  const failsafe = answer("203.0.113.9", "node/n2", "22/TCP");
  assert.deepEqual([failsafe.verdict, failsafe.ingress.rule?.path], ["allowed", "hostFirewall.failsafe.ingress"]);
  assert.deepEqual(["9000/TCP", "GRE"].map((port) => answer("203.0.113.9", "node/n2", port).ingress.because), ["default-deny", "default-deny"]);
  assert.deepEqual([answer("node/n2", "203.0.113.9", "443/TCP").egress.rule?.path, answer("node/n2", "node/n1", "443/TCP").egress.because], ["spec.egressDeny[0]", "nothing-enforced"]);
  assert.deepEqual([answer("node/n2", "shop/far", "1/TCP").egress.because, answer("node/n2", "shop/far", "1/TCP").ingress.because, answer("n2", "n2", "1/TCP").ingress.because], ["own-node", "own-node", "same-node"]);
  assert.equal(answer("shop/far", "node/n1", "1/TCP").ingress.because, "nothing-enforced", "no policy selects it");
});

test("a forecast of a policy of nodes names who reaches them no more", () => {
  const [objects, options] = [manifestsOf("shop.yaml", OF_NODES).objects, { policy: { cidrMatchMode: new Set<never>() } }];
  const world = worldOf(objects, { validator, live: false });
  const without = withPolicies(world, [], ({ metadata }) => metadata.name === "edge", validator);
  const { pairs } = simulate({ before: new Engine(without, options), after: new Engine(world, options) });
  const changed = (from: string): readonly string[] | undefined => pairs.find((pair) => pair.from.name === from && pair.to.name === "node n2" && pair.after === "denied")?.ports;
  assert.ok(changed("shop/far")?.some((ports) => ports.includes("9000") || ports.includes("8")), JSON.stringify(pairs));
  assert.equal(changed("node n2"), undefined);
  assert.ok(pairs.some(({ from, to, after }) => from.name === "node n2" && to.name.startsWith("outside") && after === "denied"));
  assert.ok(!pairs.some(({ to, from }) => to.name === "node n1" || (from.name === "node n2" && to.name === "shop/far")), JSON.stringify(pairs.map(({ from, to, ports, after }) => [from.name, to.name, ports, after])));
});

test("a forecast of a policy of nodes tells of the replicas on other nodes: a node always reaches its own", () => {
  const pod = (name: string, nodeName: string): string => `---\nkind: Pod\nmetadata: {name: ${name}, namespace: shop, labels: {app: far}}\nspec: {nodeName: ${nodeName}}\n`;
  const { objects } = manifestsOf("shop.yaml", OF_NODES.replace("toEntities: [world]", "toEndpoints: [{matchLabels: {app: far}}]") + pod("far-2", "n2") + pod("near", "n1") + pod("near-2", "n1"));
  const options = { policy: { cidrMatchMode: new Set<never>() } };
  const world = worldOf(objects, { validator, live: false });
  const without = withPolicies(world, [], ({ metadata }) => metadata.name === "edge", validator);
  const { pairs } = simulate({ before: new Engine(without, options), after: new Engine(world, options) });
  assert.deepEqual(pairs.filter(({ from }) => from.name === "node n2").map(({ to, ports, after }) => [to.name, to.pods, ports.at(-1), after]), [["shop/near", 2, "other protocols", "denied"]]);
  assert.deepEqual(pairs.filter(({ to, from }) => to.name === "node n2" && from.name.startsWith("shop/far")).map(({ from }) => from.pods), [4], "it is no question who asks the node from where");
});

test("a question that means nobody says what there is", () => {
  assert.throws(() => ask("shop/we", "shop/api", "80"), /"shop\/we" is nobody: .*there is shop\/web/);
  assert.throws(() => ask("shop/web", "www.example.com", "80"), /names of DNS are not known here/);
  assert.throws(() => ask("shop/web", "shop/front", "81"), /has no such port; it has 80\/TCP/);
  assert.throws(() => ask("shop/web", "shop/api", "http"), /not a number from 1 to 65535/);
  assert.throws(() => ask("shop/web", "shop/api", "80/GRE"), /TCP, UDP, SCTP, ICMP or ICMPv6/);
  assert.equal(ask("shop/web", "shop/api", "EchoRequest/ICMP").port, "ICMPv4 type 8");
});

test("an invalid policy counts for nothing and is noted; of a list each item has its own lines", () => {
  const { objects } = manifestsOf("shop.yaml", FILE.replace("ingressDeny:", "ingresDeny:"));
  const world = worldOf(objects, { validator, live: false });
  assert.match(world.notes.join(), /CiliumNetworkPolicy shop\/api is not valid \(spec\.ingresDeny: unknown field; did you mean ingressDeny\?\) and counts for nothing/);
  const unknown = worldOf([{ object: { kind: "AdminNetworkPolicy", metadata: { name: "a" } } }], { validator, live: false });
  assert.match(unknown.notes.join(), /AdminNetworkPolicy .*a: policies of this kind are not built yet: it counts for nothing/);
  const web = objects.find(({ object }) => object.metadata.name === "web");
  assert.deepEqual([web?.line(""), web?.line("spec")], [16, 18]);
});

test("a policy whose rules the operator leaves out, as its status says, closes and allows nothing", () => {
  const status = "status: {conditions: [{type: Enforced, status: 'False', reason: CapacityExceeded, message: too much, lastTransitionTime: '2026-01-01T00:00:00Z'}]}";
  const left = ask("shop/web", "shop/api", "8080/TCP", FILE.replace("  ingressDeny:\n  - fromCIDR: [203.0.113.0/24]\n", `${status}\n`));
  assert.deepEqual([left.verdict, left.ingress.because], ["denied", "default-deny"]);
});

test("replicas are judged once: a thousand pods of two workloads are two in a forecast", () => {
  const pods = ["web", "job"].flatMap((app) => Array.from({ length: 500 }, (_, index) => ({ object: { kind: "Pod", metadata: { name: `${app}-${index}`, namespace: "shop", labels: { app } } } })));
  const world = worldOf(pods, { validator, live: false });
  const spec = { endpointSelector: { matchLabels: { app: "web" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "web" } }] }] };
  const next = withPolicies(world, [{ object: { kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "shop" }, spec } as KubeObject }], () => false, validator);
  const options = { policy: { cidrMatchMode: new Set<never>() } };
  const { pairs } = simulate({ before: new Engine(world, options), after: new Engine(next, options) });
  assert.deepEqual(pairs.map(({ from, to, ports, after }) => [from.name, from.pods, to.name, to.pods, ports, after]), [
    ["another node", 0, "shop/web-0", 500, ["any"], "denied"],
    ["outside 0.0.0.0/0", 0, "shop/web-0", 500, ["any"], "denied"],
    ["outside ::/0", 0, "shop/web-0", 500, ["any"], "denied"],
    ["shop/job-0", 500, "shop/web-0", 500, ["any"], "denied"],
  ]);
});

test("an edit that is tried: what it would drop is told beside what is in force, and what it would let pass too", () => {
  const edit = `${FILE}---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api-edit, namespace: shop}
spec:
  enforcement: Audit
  stages: api
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts:
    - ports: [{port: "9090", protocol: TCP}]
`;
  const dropped = ask("shop/web", "shop/api", "8080/TCP", edit);
  assert.deepEqual([dropped.verdict, dropped.ingress.verdict, dropped.ingress.because, dropped.ingress.rule?.policies[0]?.name], ["allowed", "audited", "default-deny", "api-edit"]);
  const passing = ask("shop/web", "shop/api", "9090/TCP", edit);
  assert.deepEqual([passing.verdict, passing.ingress.verdict, passing.ingress.rule?.policies[0]?.name], ["denied", "denied", "api"]);
  assert.deepEqual([passing.ingress.pending?.rule?.policies[0]?.name, passing.ingress.pending?.rule?.path], ["api-edit", "spec.ingress[0].toPorts[0]"]);
  assert.match(answerText(passing), /pending: allowed by CiliumNetworkPolicy shop\/api-edit spec\.ingress\[0\]\.toPorts\[0\] \(shop\.yaml:\d+\) if the policies that only watch were enforced/);
});
