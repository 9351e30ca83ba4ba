/** From its first moment a pod is under its policy: nothing passes that must not, in either direction. */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { apply, get, kubectl, namespace, PROBE, readyCluster } from "./harness/cluster.ts";
import { createPods, parseReceived, type Pod, type PodObject, podObject, readyPods } from "./harness/pods.ts";
import { enforce, policy } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("newpod");
after(() => ns.remove());
const pods = await createPods(ns.name, [
  { name: "friend", node: 2, labels: { app: "friend" } },
  { name: "stranger-1", node: 1, labels: { app: "stranger" } },
  { name: "stranger-2", node: 2, labels: { app: "stranger" } },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const selects = (app: string): object => ({ matchLabels: { app } });
const ROUNDS = 6;

await enforce(ns.name, policy("newcomer", {
  endpointSelector: selects("newcomer"),
  ingress: [{ fromEndpoints: [selects("friend")] }],
  egress: [{ toEndpoints: [selects("friend")] }],
}));

/** The next pods of node 1 get some of these. */
async function freeAddresses(): Promise<string[]> {
  const { spec } = await get<{ spec: { podCIDR: string } }>("node", "node-1");
  const prefix = spec.podCIDR.replace(/\d+\/\d+$/, "");
  const { items } = await get<{ items: PodObject[] }>("pods", "-A");
  const used = new Set(items.flatMap((item) => (item.status.podIPs ?? []).map(({ ip }) => ip)));
  const last = Math.max(1, ...[...used].filter((ip) => ip.startsWith(prefix)).map((ip) => Number(ip.slice(prefix.length))));
  return Array.from({ length: ROUNDS + 6 }, (_, index) => `${prefix}${last + 1 + index}`).filter((ip) => !used.has(ip));
}

test("a new pod neither hears nor reaches a stranger, and soon hears and reaches a friend", { timeout: 360_000 }, async () => {
  const addresses = await freeAddresses();
  const strangers = [pod("stranger-1"), pod("stranger-2")];
  // Asks for each address that a newcomer may get, from before there is one, a hundred times a second.
  const floods = strangers.flatMap((from) => addresses.map((address) => from.flow("udp", address, 8080, 100, 100, "stranger-to-newcomer")));
  const names = Array.from({ length: ROUNDS }, (_, index) => `newcomer-${index}`);
  // The container's first instruction asks both; then it serves.
  const first = [
    ...strangers.map(({ ipv4 }, index) => `${PROBE} flow tcp-new ${ipv4} 8080 100 2 newcomer-to-stranger-${index} > /tmp/s${index} &`),
    `${PROBE} flow udp ${pod("stranger-2").ipv6} 8080 200 2 newcomer-to-stranger-6 > /tmp/s6 &`,
    `${PROBE} flow udp-new ${pod("friend").ipv4} 8080 50 2 newcomer-to-friend > /tmp/f &`,
    `exec ${PROBE} serve 8080`,
  ].join(" ");
  await apply({ apiVersion: "v1", kind: "List", items: names.map((name) => podObject(ns.name, { name, node: 1, labels: { app: "newcomer" }, shell: first })) });
  const newcomers = Object.values(await readyPods(ns.name, names));
  for (const newcomer of newcomers) await pod("friend").reaches("tcp", newcomer.ipv4, 8080, `friend-to-${newcomer.name}`);
  await new Promise((resolve) => setTimeout(resolve, 2500));
  const results = await Promise.all(floods.map((flow) => flow.stop()));
  assert.ok(results.every(({ sent }) => sent > 100), "the strangers asked all the time");
  assert.ok(newcomers.some(({ ipv4 }) => addresses.includes(ipv4)), `the newcomers' addresses ${newcomers.map(({ ipv4 }) => ipv4).join(", ")} were among those asked for`);
  assert.equal(results.reduce((sum, { answered }) => sum + answered, 0), 0, "a newcomer answered a stranger");
  for (const newcomer of newcomers) {
    const heard = (await newcomer.received()).map(({ text }) => text);
    assert.deepEqual(heard.filter((text) => text.startsWith("stranger")), []);
    assert.ok(heard.includes(`friend-to-${newcomer.name}`));
    const friend = JSON.parse(await newcomer.exec("cat /tmp/f")) as { sent: number; answered: number };
    assert.ok(friend.sent >= 90 && friend.answered > 0, `${newcomer.name} reached its friend ${friend.answered} of ${friend.sent} times`);
  }
  for (const stranger of strangers) {
    const log = parseReceived(await kubectl("-n", ns.name, "logs", stranger.name));
    assert.deepEqual(log.filter(({ text }) => text.startsWith("newcomer")), [], `${stranger.name} heard a newcomer`);
  }
});
