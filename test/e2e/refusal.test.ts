/** What the language does not have, or a typing error: named by its path, never enforced half, never ignored. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { ARTICLE } from "./harness/article.ts";
import { apply, command, get, kubectl, namespace, readyCluster, refused, waitFor } from "./harness/cluster.ts";
import { createPods, type Pod } from "./harness/pods.ts";
import { conditionOf, enforce, policy, waitCondition } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("refusal");
after(() => ns.remove());
const pods = await createPods(ns.name, [
  { name: "api", node: 1, labels: { app: "api" }, ports: [8080, 9090] },
  { name: "good", node: 2, labels: { app: "good" } },
  { name: "frontend", node: 2, labels: { app: "frontend" } },
  { name: "other", node: 1, labels: { app: "other" } },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const [api, good, frontend, other] = [pod("api"), pod("good"), pod("frontend"), pod("other")];

async function passes(from: Pod, to: Pod, port: number, expected: boolean): Promise<void> {
  for (const address of to.addresses) {
    if (expected) await from.reaches("tcp", address, port);
    else await from.isCutFrom("tcp", address, port);
  }
}

const selects = (app: string): object => ({ matchLabels: { app } });

describe("refusals", { concurrency: 3 }, () => {
  test("the article's L7 policy, with rules beside toPorts, is refused by that path and changes nothing", async () => {
    const said = await refused(ARTICLE.l7Policy, "-n", ns.name);
    assert.match(said, /spec\.ingress\[0\]\.rules/);
    assert.match(said, /not (supported|built) yet/);
    const within = ARTICLE.l7Policy.replace("    rules:\n      http:\n", "      rules:\n        http:\n").replaceAll(/^ {6}(- method|  path)/gm, "          $1");
    assert.match(await refused(within, "-n", ns.name), /spec\.ingress\[0\]\.toPorts\[0\]\.rules/);
    assert.equal((await get<{ items: { metadata: { name: string } }[] }>("cnp", "-n", ns.name)).items.filter(({ metadata }) => metadata.name === "api-rate-limit").length, 0);
    await passes(other, api, 9090, true);
  });

  test("each part of the language that is not built is refused by its path", async () => {
    const endpointSelector = selects("nothing");
    const cases: [string, object][] = [
      ["spec.egress[0].toFQDNs", { endpointSelector, egress: [{ toFQDNs: [{ matchName: "example.com" }] }] }],
      ["spec.egress[0].toServices[0]", { endpointSelector, egress: [{ toServices: [{}] }] }],
      ["spec.egress[0]", { endpointSelector, egress: [{ toCIDR: ["10.0.0.0/8"], toEntities: ["world"] }] }],
      ["spec.ingress[0]", { endpointSelector, ingress: [{ toPorts: [{ ports: [{ port: "80" }] }], icmps: [{ fields: [{ type: 8 }] }] }] }],
      ["spec.ingress[0].fromCIDR[0]", { endpointSelector, ingress: [{ fromCIDR: ["example.com"] }] }],
      ["spec.ingress[0].fromEntities[0]", { endpointSelector, ingress: [{ fromEntities: ["everybody"] }] }],
      ["spec.ingressDeny[0].authentication", { endpointSelector, ingressDeny: [{ authentication: { mode: "required" } }] }],
      ["spec.ingress[0].authentication", { endpointSelector, ingress: [{ authentication: { mode: "required" } }] }],
      ["spec.ingress[0].toPorts[0].ports[0].protocol", { endpointSelector, ingress: [{ toPorts: [{ ports: [{ port: "80", protocol: "QUIC" }] }] }] }],
      ["spec.nodeSelector", { endpointSelector, ingress: [{}], nodeSelector: {} }],
      ["spec.nodeSelector", { nodeSelector: {}, endpointSelector, ingress: [{}] }],
      ["spec", { endpointSelector }],
    ];
    await Promise.all(cases.map(async ([path, spec]) => {
      const said = await refused(JSON.stringify(policy("unbuilt", spec)), "-n", ns.name);
      assert.ok(said.includes(path), `the refusal does not name ${path}: ${said}`);
    }));
  });

  test("a misspelt field makes a new policy invalid by its name, and it enforces nothing", async () => {
    const misspelt = policy("misspelt", { endpointSelector: selects("api"), ingress: [{ fromEndpoint: [selects("frontend")] }] });
    await apply(misspelt, "-n", ns.name);
    const object = await waitCondition(ns.name, "misspelt", "Valid", "False");
    assert.match(conditionOf(object, "Valid")?.message ?? "", /spec\.ingress\[0\]\.fromEndpoint\b/);
    for (const type of ["Ready", "Enforced"]) assert.equal(conditionOf(object, type)?.status, "False", type);
    await passes(other, api, 9090, true);
    await kubectl("delete", "cnp", "misspelt", "-n", ns.name);
  });

  test("a bad change of a good policy: the last good version stays enforced, and its status says so", async () => {
    const spec = { endpointSelector: selects("good"), ingress: [{ fromEndpoints: [selects("frontend")] }] };
    await enforce(ns.name, policy("good", spec));
    await passes(frontend, good, 8080, true);
    await passes(other, good, 8080, false);
    await refused(JSON.stringify(policy("good", { ...spec, egress: [{ toFQDNs: [{ matchName: "example.com" }] }] })), "-n", ns.name);
    const unknown = policy("good", { ...spec, ingress: [{ fromEndpoints: [selects("other")], fromEndpointz: [] }] });
    await apply(unknown, "-n", ns.name);
    const bad = await waitCondition(ns.name, "good", "Valid", "False");
    assert.equal(bad.metadata.generation, 2);
    assert.match(conditionOf(bad, "Valid")?.message ?? "", /spec\.ingress\[0\]\.fromEndpointz: unknown field.*; generation 1 stays enforced instead of 2/);
    await passes(frontend, good, 8080, true);
    await passes(other, good, 8080, false);
    // A restart of the operator forgets nothing of it.
    await kubectl("-n", "kube-system", "rollout", "restart", "deployment/cilium-operator");
    await kubectl("-n", "kube-system", "rollout", "status", "deployment/cilium-operator", "--timeout=360s");
    await passes(frontend, good, 8080, true);
    await passes(other, good, 8080, false);
    await apply(policy("good", { ...spec, ingress: [{ fromEndpoints: [selects("other")] }] }), "-n", ns.name);
    await waitCondition(ns.name, "good", "Enforced", "True");
    await passes(frontend, good, 8080, false);
    await passes(other, good, 8080, true);
  });

  test("kubectl explain has a sentence for the fields, and the kinds have short names", async () => {
    for (const field of ["cnp", "cnp.spec", "cnp.spec.ingress.fromEndpoints", "cnp.spec.ingress.toPorts.ports", "cnp.status", "cep", "cn", "ciliumid", "cns"]) {
      const explained = await kubectl("explain", field);
      assert.match(explained, /^DESCRIPTION:\n +[A-Z][^\n]+/m, field);
      assert.doesNotMatch(explained, /<(no description|empty)>/, field);
    }
    await waitFor("short names", async () => ((await command(["kubectl", "get", "cnp,cep,cn,ciliumid,cns", "-A"])).code === 0 ? true : undefined), async () => "unknown");
  });
});
