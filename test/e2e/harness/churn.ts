/**
 * Short-lived pods in a pod CIDR so small that addresses go round: what one of them may do must not be what the next one
 * with its address may. Each counts from its first instruction to its end; what must not pass is counted where it would arrive.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { apply, get, inNode, kubectl, namespace, PROBE, readyCluster, waitFor } from "./cluster.ts";
import { createPods, type Flow, type FlowResult, parseReceived, type Pod, podObject, readyPods } from "./pods.ts";
import { enforce, policy } from "./policy.ts";

const NODES = [1, 2] as const;
/** Pods at once on a node: what a /28 leaves beside those that stay. */
const AT_ONCE = 8;
const LIFE_MS = 3000;
/** Other nodes learn of a pod beside its start; until then it is not let in there. */
const KNOWN_ELSEWHERE_MS = 15_000;

interface Short {
  readonly name: string;
  readonly node: (typeof NODES)[number];
  /** `member` may speak to the guarded; `guest` may not. */
  readonly app: "member" | "guest";
}

export interface ChurnSummary {
  readonly pods: number;
  /** Addresses that both a member and a guest had. */
  readonly shared: number;
  readonly sent: number;
  /** Of strangers to all addresses, none of which came through. */
  readonly forbidden: number;
}

/** @param logs a folder that the nodes see. */
export async function churn(count: number, logs: string): Promise<ChurnSummary> {
  await readyCluster();
  const ns = await namespace("churn");
  const selects = (app: string): object => ({ matchLabels: { app } });
  const stay = await createPods(ns.name, NODES.flatMap((node) => ["guarded", "friend", "stranger"].map((app) => ({ name: `${app}-${node}`, node, labels: { app } }))));
  const pod = (name: string): Pod => stay[name] ?? assert.fail(`no pod ${name}`);
  await enforce(ns.name, policy("guarded", { endpointSelector: selects("guarded"), ingress: [{ fromEndpoints: [selects("member")] }] }));
  for (const app of ["member", "guest"]) await enforce(ns.name, policy(app, { endpointSelector: selects(app), ingress: [{ fromEndpoints: [selects("friend")] }] }));
  const floods = await askEveryAddress(NODES.map((node) => pod(`stranger-${node}`)), Object.values(stay));
  const round = new Round(ns.name, logs, pod);
  for (let first = 0, wave = 0; first < count; wave++) {
    const size = Math.min(count - first, AT_ONCE * NODES.length);
    // By turns: an address that comes round goes from one to the other.
    await round.run(Array.from({ length: size }, (_, index) => ({ name: `short-${first + index}`, node: NODES[index % 2] ?? 1, app: (wave + (index >> 1)) % 2 === 0 ? "member" : "guest" })));
    first += size;
  }
  let asked = 0;
  for (const flow of floods) {
    const { sent, answered } = await flow.stop();
    asked += sent;
    assert.equal(answered, 0, "a stranger was answered");
  }
  for (const node of NODES) {
    const heard = parseReceived(await kubectl("-n", ns.name, "logs", `guarded-${node}`)).filter(({ text }) => text.startsWith("guest"));
    assert.deepEqual(heard.slice(0, 5), [], `guarded-${node} heard guests ${heard.length} times`);
  }
  await ns.remove();
  return { pods: count, shared: round.shared, sent: round.sent, forbidden: asked };
}

/** Ten times a second each, from before there is a pod until after the last one. */
async function askEveryAddress(strangers: readonly Pod[], others: readonly Pod[]): Promise<Flow[]> {
  const taken = new Set(others.map(({ ipv4 }) => ipv4));
  const { items } = await get<{ items: { spec: { podCIDR: string } }[] }>("nodes");
  const addresses = items.flatMap(({ spec }) => {
    const [network = "", bits] = spec.podCIDR.split("/");
    const last = network.lastIndexOf(".") + 1;
    const start = Number(network.slice(last));
    return Array.from({ length: 2 ** (32 - Number(bits)) - 3 }, (_, index) => `${network.slice(0, last)}${start + 2 + index}`);
  });
  return strangers.flatMap((from) => addresses.filter((address) => !taken.has(address)).map((address) => from.flow("udp", address, 8080, 10, 3600, "stranger")));
}

/** What the nodes' agents count, for whoever reads a failure. */
async function drops(): Promise<string> {
  const ask = "exec 3<>/dev/tcp/127.0.0.1/9962; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
  const texts = await Promise.all(NODES.map((node) => inNode(`node-${node}`, ["bash", "-c", ask])));
  return texts.map((text, index) => `node-${NODES[index]}\n${text.split("\n").filter((line) => /^cilium_[a-z_]*(packets|lost)[a-z_]*\{/.test(line)).join("\n")}`).join("\n");
}

class Round {
  readonly #namespace: string;
  readonly #logs: string;
  readonly #pod: (name: string) => Pod;
  readonly #appsByAddress = new Map<string, Set<string>>();
  sent = 0;

  constructor(ns: string, logs: string, pod: (name: string) => Pod) {
    this.#namespace = ns;
    this.#logs = logs;
    this.#pod = pod;
  }

  get shared(): number {
    return [...this.#appsByAddress.values()].filter((apps) => apps.size > 1).length;
  }

  async run(shorts: readonly Short[]): Promise<void> {
    await apply({ apiVersion: "v1", kind: "List", items: shorts.map((each) => this.#object(each)) });
    const names = shorts.map(({ name }) => name);
    const pods = await readyPods(this.#namespace, names, 240_000);
    const readyMs = await this.#readyTimes();
    for (const { name, app } of shorts) {
      const { ipv4 } = pods[name] ?? assert.fail(`no pod ${name}`);
      this.#appsByAddress.set(ipv4, (this.#appsByAddress.get(ipv4) ?? new Set()).add(app));
    }
    await Promise.all(shorts.map(({ name, node }) => this.#pod(`friend-${3 - node}`).reaches("tcp", pods[name]?.ipv4 ?? "", 8080, `friend-to-${name}`)));
    await sleep(LIFE_MS);
    await kubectl("delete", "pod", ...names, "-n", this.#namespace, "--timeout=360s");
    const dropped = await drops();
    for (const each of shorts) await this.#judge(each, readyMs.get(each.name) ?? 0).catch((error: unknown) => assert.fail(`${String(error)}\ndropped so far, by reason: ${dropped}`));
  }

  async #readyTimes(): Promise<Map<string, number>> {
    const { items } = await get<{ items: { metadata: { name: string }; status: { conditions?: { type: string; lastTransitionTime?: string }[] } }[] }>("pods", "-n", this.#namespace);
    return new Map(items.map((item) => [item.metadata.name, Date.parse(item.status.conditions?.find(({ type }) => type === "Ready")?.lastTransitionTime ?? "")]));
  }

  /** Its first instruction asks both guarded pods; at SIGTERM the asking ends, answers that are under way come in, then it ends. */
  #object({ name, node, app }: Short): object {
    const guarded = { near: this.#pod(`guarded-${node}`), far: this.#pod(`guarded-${3 - node}`) };
    const ask = (kind: string, address: string, to: string): string => `${PROBE} flow ${kind} ${address} 8080 20 600 ${app}-${name} > /log/${name}.${to} & f="$f $!";`;
    const shell = [
      `f=""; trap 'kill -TERM $f; wait $f; exit 0' TERM;`,
      ask("udp-new", guarded.near.ipv4, "near4"), ask("tcp-new", guarded.near.ipv6, "near6"), ask("udp-new", guarded.far.ipv4, "far4"), ask("tcp-new", guarded.far.ipv6, "far6"),
      `${PROBE} serve 8080 > /log/${name}.heard & wait $!`,
    ].join(" ");
    const object = podObject(this.#namespace, { name, node, labels: { app }, shell, container: { volumeMounts: [{ name: "probe", mountPath: PROBE.replace(/\/[^/]*$/, ""), readOnly: true }, { name: "log", mountPath: "/log" }] } }) as { spec: { volumes: object[]; terminationGracePeriodSeconds: number } };
    object.spec.volumes.push({ name: "log", hostPath: { path: this.#logs, type: "Directory" } });
    // A guest's last questions are never answered, so its end is SIGKILL.
    object.spec.terminationGracePeriodSeconds = app === "member" ? 30 : 1;
    return object;
  }

  async #judge({ name, app }: Short, readyMs: number): Promise<void> {
    const file = (kind: string): string => join(this.#logs, `${name}.${kind}`);
    const heard = parseReceived(readFileSync(file("heard"), "utf8")).map(({ text }) => text);
    assert.ok(heard.includes(`friend-to-${name}`), `${name} heard its friend`);
    assert.deepEqual(heard.filter((text) => !text.startsWith("friend")), [], `${name} heard what it must not`);
    if (app === "guest") return;
    for (const to of ["near4", "near6", "far4", "far6"]) {
      const text = await waitFor(`what ${name} counted`, async () => (existsSync(file(to)) && readFileSync(file(to), "utf8")) || undefined, async () => to);
      const result = JSON.parse(text) as FlowResult;
      this.sent += result.sent;
      judgeFlow(`${name} to ${to}`, result, to.startsWith("near"), readyMs);
    }
  }
}

/** Beside: from the first packet on. Elsewhere: from the first that was let in, which is soon. Then to the end, all. */
function judgeFlow(what: string, { tenths, startedMs, sent, error }: FlowResult, near: boolean, readyMs: number): void {
  const first = near ? 0 : tenths.findIndex(([, answered]) => answered > 0);
  const facts = JSON.stringify({ sent, error, startedMs, readyMs, lost: tenths.flatMap(([asked, answered], index) => (asked === answered ? [] : [[index, asked, answered]])) });
  assert.ok(sent > 20 && first >= 0, `${what}: nothing came through: ${facts}`);
  assert.ok(startedMs + first * 100 < readyMs + KNOWN_ELSEWHERE_MS, `${what}: not let in for long after Ready: ${facts}`);
  // In the tenth of the first one that was let in, some were asked before.
  const lost = tenths.slice(near ? 0 : first + 1).reduce((sum, [asked, answered]) => sum + asked - answered, 0);
  assert.equal(lost, 0, `${what}: lost ${facts}`);
}
