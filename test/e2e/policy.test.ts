/** Policies added, changed and deleted on the live cluster; what the receiving pod saw decides. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { ARTICLE } from "./harness/article.ts";
import { kubectl, namespace, readyCluster, waitFor } from "./harness/cluster.ts";
import { createPods, type Pod, type PodSpec } from "./harness/pods.ts";
import { enforce, monitor, policy, remove, settled } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("policy");
after(() => ns.remove());

/** A subject of its own for each test, so that they run at once; the peers are shared. */
const subjects = ["api", "ports", "nobody", "everybody", "selected", "cut", "sender", "relabel", "named"] as const;
const specs: PodSpec[] = [
  ...subjects.map((app, index) => ({ name: app, node: 1 + (index % 2), labels: { app }, ports: [8080, 9090] })),
  { name: "frontend-1", node: 1, labels: { app: "frontend", tier: "web", release: "stable" }, ports: [8080, 9090] },
  { name: "frontend-2", node: 2, labels: { app: "frontend", tier: "web", release: "canary" }, ports: [8080, 9090] },
  { name: "other-1", node: 1, labels: { app: "other" } },
  { name: "other-2", node: 2, labels: { app: "other" } },
  { name: "mover", node: 2, labels: { app: "mover" } },
];
const pods = await createPods(ns.name, specs);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const FRONTENDS = [pod("frontend-1"), pod("frontend-2")];
const OTHERS = [pod("other-1"), pod("other-2")];
const PEERS = [...FRONTENDS, ...OTHERS];

type Try = readonly [from: Pod, protocol: "tcp" | "udp", port: number];

/** Exactly these tries arrive at the subject, over both families; of all others it hears nothing. */
async function admits(subject: Pod, expected: (each: Try) => boolean, all: readonly Try[]): Promise<void> {
  const asked = await Promise.all(all.flatMap((each) => subject.addresses.map(async (address, family) => {
    const [from, protocol, port] = each;
    const text = `${from.name}-${protocol}-${port}-${Math.random().toString(36).slice(2, 8)}`;
    if (expected(each)) await from.reaches(protocol, address, port, text);
    else await from.isCutFrom(protocol, address, port, text);
    return { text, peers: expected(each) ? [from.addresses[family]] : [], label: `${from.name} → ${subject.name} ${protocol} ${address} ${port}` };
  })));
  const received = await subject.received();
  for (const { text, peers, label } of asked) assert.deepEqual(received.filter((line) => line.text === text).map(({ peer }) => peer), peers, label);
}

function tries(from: readonly Pod[], ...kinds: readonly ["tcp" | "udp", number][]): Try[] {
  return from.flatMap((each) => kinds.map(([protocol, port]): Try => [each, protocol, port]));
}

const selects = (app: string): object => ({ matchLabels: { app } });
const tcp = (port: string): object => ({ ports: [{ port, protocol: "TCP" }] });

describe("CiliumNetworkPolicy", { concurrency: 5 }, () => {
  test("the article's policy: all pass before, frontends on TCP 8080 alone after, changed in place, all pass when it is gone", async () => {
    const api = pod("api");
    const all = tries(PEERS, ["tcp", 8080], ["tcp", 9090], ["udp", 8080]);
    const sniffer = await api.sniff(PEERS.flatMap(({ addresses }) => addresses).map((address) => `src host ${address}`).join(" or "));
    const arrived = (address: string): number => sniffer.packets().filter((line) => line.includes(` ${address}.`) || line.includes(` ${address} >`)).length;
    const fromOthers = (): number[] => OTHERS.flatMap(({ addresses }) => addresses.map(arrived));
    await admits(api, () => true, all);
    await waitFor("packets of the others on the pod's link", async () => (fromOthers().every((packets) => packets > 0) ? true : undefined), async () => sniffer.packets().join("\n"), { timeoutMs: 5000 });
    await enforce(ns.name, ARTICLE.policy);
    await sleep(500);
    const before = fromOthers();
    await admits(api, ([from, protocol, port]) => FRONTENDS.includes(from) && protocol === "tcp" && port === 8080, all);
    // What the link hears is shown in its order: once a later packet of a friend is there, an earlier one of a stranger would be too.
    const friend = pod("frontend-1");
    const heard = arrived(friend.ipv4);
    await friend.reaches("tcp", api.ipv4, 8080);
    await waitFor("the friend's packet on the pod's link", async () => (arrived(friend.ipv4) > heard ? true : undefined), async () => sniffer.packets().join("\n"), { timeoutMs: 5000 });
    assert.deepEqual(fromOthers(), before, "no packet of the others arrives at the pod's link");
    sniffer.close();
    await enforce(ns.name, ARTICLE.policy.replace("8080", "9090"));
    await admits(api, ([from, protocol, port]) => FRONTENDS.includes(from) && protocol === "tcp" && port === 9090, all);
    await remove(ns.name, "allow-frontend-to-api");
    await waitFor("open again", async () => ((await pod("other-1").ask("tcp", api.ipv4, 8080, { timeoutMs: 500 })).answered ? true : undefined), async () => "closed");
    await settled();
    await admits(api, () => true, all);
  });

  test("lists of ports and peers; no protocol means TCP and UDP", async () => {
    await enforce(ns.name, policy("ports", {
      endpointSelector: selects("ports"),
      ingress: [
        { fromEndpoints: [selects("frontend")], toPorts: [{ ports: [{ port: "8080", protocol: "UDP" }, { port: "9090", protocol: "TCP" }] }] },
        { fromEndpoints: [selects("other"), selects("nothing")], toPorts: [{ ports: [{ port: "8080" }] }] },
      ],
    }));
    const allowed = (from: Pod, protocol: string, port: number): boolean =>
      FRONTENDS.includes(from) ? (protocol === "udp") === (port === 8080) : port === 8080;
    await admits(pod("ports"), ([from, protocol, port]) => allowed(from, protocol, port), tries(PEERS, ["tcp", 8080], ["tcp", 9090], ["udp", 8080], ["udp", 9090]));
  });

  test("an empty list closes, an empty peer list selects nobody", async () => {
    const subject = pod("nobody");
    for (const ingress of [[], [{ fromEndpoints: [] }], [{}]]) {
      await enforce(ns.name, policy("nobody", { endpointSelector: selects("nobody"), ingress }));
      await admits(subject, () => false, tries(PEERS, ["tcp", 8080], ["udp", 8080]));
    }
    // What it sends is not touched by a policy for what it receives.
    await subject.reaches("tcp", pod("frontend-1").ipv4, 8080);
  });

  test("{} as a peer is every pod of the namespace; ports alone are any peer", async () => {
    await enforce(ns.name, policy("everybody", { endpointSelector: selects("everybody"), ingress: [{ fromEndpoints: [{}] }] }));
    await admits(pod("everybody"), () => true, tries(PEERS, ["tcp", 9090]));
    await enforce(ns.name, policy("everybody", { endpointSelector: selects("everybody"), ingress: [{ toPorts: [tcp("9090")] }] }));
    await admits(pod("everybody"), ([, , port]) => port === 9090, tries(PEERS, ["tcp", 9090], ["tcp", 8080]));
  });

  test("matchExpressions: In, NotIn, Exists, DoesNotExist", async () => {
    const subject = pod("selected");
    const [stable, canary] = FRONTENDS;
    const cases: [object[], (from: Pod) => boolean][] = [
      [[{ key: "app", operator: "In", values: ["frontend", "none"] }, { key: "release", operator: "NotIn", values: ["canary"] }], (from) => from === stable],
      [[{ key: "tier", operator: "Exists" }, { key: "release", operator: "In", values: ["canary"] }], (from) => from === canary],
      [[{ key: "app", operator: "Exists" }, { key: "tier", operator: "DoesNotExist" }], (from) => OTHERS.includes(from)],
    ];
    for (const [matchExpressions, expected] of cases) {
      await enforce(ns.name, policy("selected", { endpointSelector: selects("selected"), ingress: [{ fromEndpoints: [{ matchExpressions }] }] }));
      await admits(subject, ([from]) => expected(from), tries(PEERS, ["tcp", 8080]));
    }
  });

  test("egress: only what is listed, with DNS by its pods' labels", async () => {
    const sender = pod("sender");
    const dns = { matchLabels: { "k8s:io.kubernetes.pod.namespace": "kube-system", "k8s-app": "kube-dns" } };
    await enforce(ns.name, policy("sender", {
      endpointSelector: selects("sender"),
      egress: [
        { toEndpoints: [dns], toPorts: [{ ports: [{ port: "53", protocol: "ANY" }] }] },
        { toEndpoints: [selects("frontend")], toPorts: [tcp("8080")] },
      ],
    }));
    for (const to of PEERS) {
      await admits(to, ([, protocol, port]) => FRONTENDS.includes(to) && protocol === "tcp" && port === 8080, tries([sender], ["tcp", 8080], ["udp", 8080]));
    }
    const answer = await sender.exec("nslookup kubernetes.default.svc.cluster.local");
    assert.match(answer, /10\.96\.0\.1/);
    // What it receives is not touched.
    await pod("other-1").reaches("tcp", sender.ipv4, 8080);
  });

  test("a connection is cut when its rule goes, and undisturbed while another rule changes", async () => {
    const subject = pod("cut");
    const rules = (peers: string[]): object => policy("cut", { endpointSelector: selects("cut"), ingress: peers.map((app) => ({ fromEndpoints: [selects(app)] })) });
    await enforce(ns.name, rules(["frontend", "other"]));
    const [kept, ...cut] = [pod("frontend-2"), ...OTHERS].map((from) => from.flow("tcp", subject.ipv4, 8080, 100, 20));
    const udp = pod("other-1").flow("udp", subject.ipv6, 8080, 100, 20, "udp-cut");
    await sleep(1500);
    await enforce(ns.name, rules(["frontend"]));
    const cutAt = Date.now();
    await sleep(1500);
    await enforce(ns.name, rules(["frontend", "nothing"]));
    await sleep(500);
    const result = await (kept?.stop() ?? assert.fail());
    assert.equal(result.answered, result.sent, `the allowed connection lost something: ${JSON.stringify(result)}`);
    for (const flow of [...cut, udp]) {
      const ended = await flow.stop();
      const late = ended.tenths.filter((_, index) => ended.startedMs + index * 100 > cutAt).reduce((sum, [, answered]) => sum + answered, 0);
      const early = ended.tenths.slice(0, 10).reduce((sum, [, answered]) => sum + answered, 0);
      assert.ok(early > 50, `the connection worked before: ${JSON.stringify(ended)}`);
      assert.equal(late, 0, `answered after its rule was gone: ${JSON.stringify(ended)}`);
    }
    const heard = (await subject.received()).filter(({ atMs, peer }) => atMs > cutAt && peer !== pod("frontend-2").ipv4);
    assert.deepEqual(heard, [], "the subject heard a cut connection");
  });

  test("drops name the policy, its rules' verdicts too", async () => {
    const subject = pod("named");
    await enforce(ns.name, policy("only-frontend", { endpointSelector: selects("named"), ingress: [{ fromEndpoints: [selects("frontend")], toPorts: [tcp("8080")] }] }));
    const watching = monitor(ns.name, "--pod", subject.name);
    try {
      const drop = await waitFor("a drop in cilium monitor", async () => {
        await pod("other-2").ask("tcp", subject.ipv4, 8080, { timeoutMs: 200 });
        return watching.events().find((event) => event.type === "drop" && event.source.pod === "other-2");
      }, async () => JSON.stringify(watching.events(), null, 1));
      assert.deepEqual(drop.rule?.policies, [`${ns.name}/only-frontend`]);
      assert.equal(drop.rule?.kind, "default-deny");
      assert.equal(drop.direction, "ingress");
      assert.equal(drop.destination.pod, subject.name);
      assert.equal(drop.destination.port, 8080);
      await pod("frontend-2").reaches("tcp", subject.ipv4, 8080);
      const verdict = await waitFor("a verdict in cilium monitor", async () =>
        watching.events().find((event) => event.type === "policy-verdict" && event.source.pod === "frontend-2"), async () => JSON.stringify(watching.events(), null, 1));
      assert.equal(verdict.verdict, "allow");
      assert.deepEqual(verdict.rule?.policies, [`${ns.name}/only-frontend`]);
      assert.match(verdict.rule?.path ?? "", /^spec\.ingress\[0\]/);
    } finally {
      watching.close();
    }
  });

  test("relabelled pods change sides without a policy change", async () => {
    const [subject, moved] = [pod("relabel"), pod("mover")];
    await enforce(ns.name, policy("relabel", { endpointSelector: selects("relabel"), ingress: [{ fromEndpoints: [{ matchLabels: { promoted: "yes" } }] }] }));
    await moved.isCutFrom("tcp", subject.ipv4, 8080);
    await kubectl("label", "pod", moved.name, "-n", ns.name, "promoted=yes");
    await waitFor("the relabelled pod passes", async () => ((await moved.ask("tcp", subject.ipv4, 8080, { timeoutMs: 400 })).answered ? true : undefined), async () => "cut");
    await kubectl("label", "pod", moved.name, "-n", ns.name, "promoted-");
    await waitFor("the pod is cut again", async () => ((await moved.ask("tcp", subject.ipv4, 8080, { timeoutMs: 400 })).answered ? undefined : true), async () => "passes");
  });
});
