/**
 * The article's one flag on a cluster that runs: pods go on, and from then on nothing that pods of different nodes say to
 * each other is on the wire in clear. What is on the wire is told by captures on the nodes' underlay devices.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { ARTICLE, commandsOf } from "./harness/article.ts";
import { apply, CHART_URL, get, inNode, kubectl, must, namespace, node, NODES, readyCluster, waitFor } from "./harness/cluster.ts";
import { agentPod, killAgent } from "./harness/faults.ts";
import { nodeSite, plugInOutside } from "./harness/outside.ts";
import { containerPid, createPods, type Flow, type Pod, type PodObject, type Site } from "./harness/pods.ts";
import { capture, clearFilter } from "./harness/wire.ts";

await readyCluster();
await must(["helm", "repo", "add", "--force-update", "cilium", CHART_URL]);
const ns = await namespace("encryption");
const SPECS = [1, 2, 3].map((number) => ({ name: `p${number}`, node: number, labels: { app: `p${number}`, group: "all" } }));
const SECONDS = 900;
const NATIVE = ["routingMode=native", "autoDirectNodeRoutes=true"];
const numbers = NODES.map((_, index) => index + 1);
let pods: Pod[] = [];
let flows: Flow[] = [];
/** A connection from before encryption that says nothing until it is told to, and then much. */
let bulk: { readonly received: Promise<string>; readonly sent: Promise<string> };
const BULK_BYTES = 4_000_000;

interface Encryption {
  readonly status?: { readonly nodes: string; readonly kernel: number; readonly userspace: number; readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string }[] };
}

const state = async (): Promise<string> => `${await kubectl("get", "ciliumencryptions,ciliumnodes", "-o", "yaml")}\n${await kubectl("-n", "kube-system", "get", "pods", "-o", "wide")}`;

/** Bytes that a node's device has sent and received. */
async function encryptedBytes(number: number): Promise<number> {
  const lines = (await wg(number, "show", "cilium_wg0", "transfer")).split("\n").filter((line) => line !== "");
  return lines.flatMap((line) => line.split("\t").slice(1).map(Number)).reduce((sum, bytes) => sum + bytes, 0);
}

/** The last handshake with each peer of a node, in seconds since 1970. */
async function handshakes(number: number): Promise<number[]> {
  const lines = (await wg(number, "show", "cilium_wg0", "latest-handshakes")).split("\n").filter((line) => line !== "");
  return lines.map((line) => Number(line.split("\t")[1]));
}

async function isEncrypted(): Promise<void> {
  await waitFor("every node encrypts", async () => {
    const { status } = await get<Encryption>("ciliumencryption", "default");
    return status?.conditions.some((each) => each.type === "Ready" && each.status === "True") && status.nodes === `${NODES.length}/${NODES.length}` ? status : undefined;
  }, state, { timeoutMs: 180_000, everyMs: 500 });
}

interface PublishedKeys {
  readonly publicKey: string;
  readonly epoch?: number;
  readonly next?: object;
}

/** Nothing in clear while `work` runs; that the capture sees anything is shown by WireGuard's own packets. */
async function nothingInClear(work: () => Promise<void>): Promise<void> {
  const clear = await capture(await clearFilter());
  const encrypted = await capture("udp portrange 51871-51872");
  try {
    await work();
    await reachAll();
    await waitFor("WireGuard's packets on the wire", () => Promise.resolve(encrypted.lines().length > 0 ? true : undefined), state);
  } finally {
    await Promise.all([clear.stop(), encrypted.stop()]);
  }
  assert.deepEqual(clear.lines().slice(0, 5), [], `${clear.lines().length} packets in clear`);
}

/** Patiently: whoever answers at last was not cut off. */
async function reachAll(group: readonly Pod[] = pods): Promise<void> {
  for (const from of group) {
    for (const to of group) {
      if (from === to) continue;
      for (const address of to.addresses) {
        for (const protocol of ["tcp", "udp"] as const) {
          await waitFor(`${from.name} → ${protocol} ${address}`, async () => ((await from.ask(protocol, address, 8080, { timeoutMs: 2000 })).answered ? true : undefined), state, { timeoutMs: 90_000 });
        }
      }
    }
  }
}

async function wireguardPod(number: number): Promise<PodObject> {
  return await waitFor(`the WireGuard pod of node-${number}`, async () => {
    const { items } = await get<{ items: PodObject[] }>("pods", "-n", "kube-system", "-l", "k8s-app=cilium-wireguard");
    return items.find(({ spec, status }) => spec.nodeName === `node-${number}` && status.containerStatuses?.[0]?.ready === true);
  }, state);
}

/** wg(8) in the agent's container, where the process's socket is; of one that was just killed the API still says that it runs. */
async function wg(number: number, ...args: string[]): Promise<string> {
  return await waitFor(`wg ${args.join(" ")} on node-${number}`, async () => {
    const agent = await agentPod(number);
    return (await kubectl("-n", "kube-system", "exec", agent?.metadata.name ?? "none", "-c", "cilium-agent", "--", "wg", ...args)).trim();
  }, state);
}

async function openBulk(from: Pod, to: Pod): Promise<void> {
  // The receiver's own side stays open, or the sender would end with it.
  const received = to.exec(`mkfifo /tmp/open; exec 3<>/tmp/open; timeout ${SECONDS} nc -l -p 7777 <&3 | wc -c`);
  const isOn = async (pod: Pod, line: string): Promise<true> => await waitFor(`port 7777 in ${pod.name}`, async () => ((await pod.exec("cat /proc/net/tcp /proc/net/tcp6")).split("\n").some((shown) => new RegExp(line).test(shown)) ? true : undefined), state);
  await isOn(to, ":1E61 \\S+ 0A");
  const sent = from.exec(`(until [ -e /tmp/go ]; do sleep 0.2; done; dd if=/dev/zero bs=1000 count=${BULK_BYTES / 1000} 2>/dev/null) | timeout ${SECONDS} nc ${to.ipv4} 7777 >/dev/null`);
  await isOn(to, ":1E61 \\S+ 01");
  // Awaited where they are asked for; a run that ends before that has other things to say.
  for (const each of [received, sent]) each.catch(() => undefined);
  bulk = { received, sent };
}

async function upgrade(...values: readonly string[]): Promise<void> {
  await must(["helm", "upgrade", "cilium", "cilium/cilium", "-n", "kube-system", "--reset-values", ...values.flatMap((value) => ["--set", value])]);
  await kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=170s");
  await kubectl("-n", "kube-system", "rollout", "status", "deployment/cilium-operator", "--timeout=170s");
}

before(async () => {
  pods = Object.values(await createPods(ns.name, SPECS));
  await reachAll();
  const [first, second, third] = pods as [Pod, Pod, Pod];
  await openBulk(third, second);
  flows = [first.flow("tcp", second.ipv4, 8080, 20, SECONDS), third.flow("tcp", first.ipv6, 8080, 20, SECONDS)];
}, { timeout: 300_000 });
after(async () => {
  await Promise.all(flows.map((flow) => flow.stop()));
  await upgrade();
  await Promise.all([ns.remove(), readyCluster()]);
}, { timeout: 400_000 });

describe("encryption by one flag", () => {
  test("before it the capture sees pods' packets: it would see them after", { timeout: 120_000 }, async () => {
    const clear = await capture(await clearFilter());
    await reachAll();
    await waitFor("pods' packets on the wire", () => Promise.resolve(clear.lines().length > 0 ? true : undefined), state);
    await clear.stop();
  });

  test("the article's helm upgrade, while connections go on", { timeout: 400_000 }, async () => {
    const [line = ""] = commandsOf(ARTICLE.encryption);
    await must(["bash", "-c", line]);
    await kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=170s");
    await kubectl("-n", "kube-system", "rollout", "status", "deployment/cilium-operator", "--timeout=170s");
    await readyCluster();
    await isEncrypted();
    await reachAll();
    for (const flow of flows) {
      const result = await flow.stop();
      assert.equal(result.answered, result.sent, `a connection broke or lost: ${JSON.stringify({ ...result, tenths: undefined })}`);
      assert.ok(result.sent > 50, "it was sent");
    }
    flows = [];
  });

  test("kubectl describe says on how many nodes, and by whom", async () => {
    const text = await kubectl("describe", "ciliumencryption", "default");
    assert.match(text, /Nodes:\s+3\/3/);
    const { status } = await get<Encryption>("ciliumencryption", "default");
    assert.equal((status?.kernel ?? 0) + (status?.userspace ?? 0), NODES.length);
    const kinds = await Promise.all(NODES.map(async ({ name }) => (JSON.parse(await inNode(name, ["ip", "-json", "-details", "link", "show", "cilium_wg0"])) as { linkinfo: { info_kind: string } }[])[0]?.linkinfo.info_kind));
    assert.equal(status?.userspace, kinds.filter((kind) => kind === "tun").length);
    assert.match(await kubectl("get", "ciliumencryptions"), /default\s+wireguard\s+True\s+3\/3/);
  });

  test("nothing is in clear, whoever sends: pods that ran, that come and that end, by both families; nodes, names, services and their answers", { timeout: 300_000 }, async () => {
    const outside = await plugInOutside(208);
    const ports = [{ name: "tcp", port: 80, targetPort: 8080, protocol: "TCP" }, { name: "udp", port: 80, targetPort: 8080, protocol: "UDP" }];
    await apply({ apiVersion: "v1", kind: "Service", metadata: { name: "pods", namespace: ns.name }, spec: { type: "NodePort", selector: { group: "all" }, ipFamilyPolicy: "RequireDualStack", ports } });
    const { spec } = await get<{ spec: { clusterIPs: string[]; ports: { protocol: string; nodePort: number }[] } }>("service", "pods", "-n", ns.name);
    const answered = (what: string, from: Site, protocol: "tcp" | "udp", address: string, port: number): Promise<true> => waitFor(what, async () => ((await from.ask(protocol, address, port)).answered ? true : undefined), state, { timeoutMs: 90_000 });
    try {
      await nothingInClear(async () => {
        const late = Object.values(await createPods(ns.name, [1, 2, 3].map((number) => ({ name: `late${number}`, node: number }))));
        await reachAll([...pods, ...late]);
        for (const to of pods) for (const address of to.addresses) await answered(`node-1 → ${address}`, nodeSite(1), "tcp", address, 8080);
        const looking = pods.map((pod) => pod.exec("nslookup kubernetes.default.svc.cluster.local"));
        for (const found of await Promise.all(looking)) assert.match(found, /Address/);
        // Whichever pod answers: of six tries one is on another node.
        for (const { protocol, nodePort } of spec.ports) {
          const kind = protocol === "TCP" ? "tcp" : "udp";
          for (let time = 0; time < 6; time++) {
            for (const address of spec.clusterIPs) await answered(`${kind} service ${address}`, pods[0] as Pod, kind, address, 80);
            for (const address of [node(1).ipv4, node(1).ipv6]) await answered(`outside → ${kind} node port of ${address}`, outside.site, kind, address, nodePort);
          }
        }
        // The sender lives in the pod's network and goes on while that is taken down.
        const ends = [...pods, ...late].map((pod, index) => pod.flow("udp", (pods[(index + 1) % 3] as Pod).ipv4, 8080, 50, 60));
        await kubectl("-n", ns.name, "delete", "pod", "late1", "late2", "late3", "--grace-period=2");
        await Promise.all(ends.map((flow) => flow.stop()));
      });
    } finally {
      await outside.remove();
    }
  });

  test("packets as great as the link allows pass, and what is greater is told to its sender", { timeout: 240_000 }, async () => {
    const { big } = await createPods(ns.name, [{ name: "big", node: 1 }]);
    const mtu = Number((await big?.exec("cat /sys/class/net/eth0/mtu"))?.trim());
    const underlay = Number((await inNode("node-1", ["cat", "/sys/class/net/eth0/mtu"])).trim());
    assert.equal(mtu, underlay - 50 - 60);
    const far = pods[1] as Pod;
    for (const address of far.addresses) {
      await waitFor(`${mtu} bytes → ${address}`, async () => ((await big?.ask("udp", address, 8080, { size: mtu }))?.answered ? true : undefined), state);
      assert.deepEqual(await big?.ask("udp", address, 8080, { size: mtu + 1 }), { answered: false, detail: "Message too long" });
    }
    // A pod from before has a link of the old size, and its connection segments of that; in the middle of it both learn the new one.
    const old = pods[2] as Pod;
    assert.equal(Number((await old.exec("cat /sys/class/net/eth0/mtu")).trim()), underlay - 50, "its link is as it was");
    await old.exec("touch /tmp/go");
    assert.equal((await bulk.received).trim(), String(BULK_BYTES), "all of a connection from before must arrive");
    await bulk.sent;
    for (const address of far.addresses) {
      await waitFor(`${mtu} bytes of an old pod → ${address}`, async () => ((await old.ask("udp", address, 8080, { size: mtu })).answered ? true : undefined), state);
      assert.deepEqual(await old.ask("udp", address, 8080, { size: mtu + 1, timeoutMs: 20_000 }), { answered: false, detail: "Message too long" });
    }
  });

  test("an agent's SIGKILL: connections go on, nothing in clear", { timeout: 240_000 }, async () => {
    await nothingInClear(async () => {
      const flow = (pods[0] as Pod).flow("tcp", (pods[1] as Pod).ipv4, 8080, 20, 240);
      await killAgent(1);
      await readyCluster();
      // The status may be the one from before: what the device carries from here on is the proof.
      const before = await encryptedBytes(1);
      await reachAll();
      assert.ok((await encryptedBytes(1)) > before, "what the pods said went through WireGuard");
      await isEncrypted();
      const result = await flow.stop();
      assert.equal(result.answered, result.sent, JSON.stringify({ ...result, tenths: undefined }));
    });
  });

  test("SIGKILL of the process that encrypts: packets are dropped, none in clear, and it comes back by itself", { timeout: 300_000 }, async (context) => {
    const { status } = await get<Encryption>("ciliumencryption", "default");
    if (status?.userspace === 0) return context.skip("these nodes' kernel has WireGuard of its own: there is no process");
    await nothingInClear(async () => {
      const flow = (pods[0] as Pod).flow("udp", (pods[1] as Pod).ipv4, 8080, 50, 240);
      const since = Math.floor(Date.now() / 1000);
      process.kill(containerPid(await wireguardPod(1)), "SIGKILL");
      await waitFor("the device is back", async () => ((await wg(1, "show", "cilium_wg0", "peers")).split("\n").filter((line) => line !== "").length === NODES.length - 1 ? true : undefined), state, { timeoutMs: 120_000 });
      await reachAll();
      await waitFor("a handshake with every node since then", async () => ((await handshakes(1)).every((at) => at >= since) ? true : undefined), state, { timeoutMs: 120_000 });
      await isEncrypted();
      await flow.stop();
    });
  });

  test("a rule or route to WireGuard that somebody deletes is back; until then nothing leaves", { timeout: 180_000 }, async () => {
    await nothingInClear(async () => {
      await inNode("node-1", ["ip", "rule", "delete", "priority", "193", "table", "193"]);
      await waitFor("the rule", async () => ((await inNode("node-1", ["ip", "rule", "show"])).includes("lookup 193") ? true : undefined), state);
      await inNode("node-1", ["ip", "route", "flush", "table", "193"]);
      await waitFor("routes", async () => ((await inNode("node-1", ["ip", "route", "show", "table", "193"])).includes(node(2).ipv4) ? true : undefined), state);
    });
  });

  test("no private key is in an object, a log or the settings", async () => {
    const keys = await Promise.all(numbers.map((number) => wg(number, "show", "cilium_wg0", "private-key")));
    const told = (await Promise.all([
      kubectl("get", "ciliumnodes,ciliumencryptions,ciliumnodestates,configmaps,events", "-A", "-o", "yaml"),
      ...["k8s-app=cilium", "k8s-app=cilium-wireguard", "name=cilium-operator"].map((label) => kubectl("-n", "kube-system", "logs", "-l", label, "--tail=-1", "--prefix")),
    ])).join("\n");
    for (const key of keys) {
      assert.match(key, /^[A-Za-z0-9+/]{43}=$/);
      assert.ok(!told.includes(key), "a private key was told");
    }
    assert.equal(new Set(keys).size, NODES.length);
  });

  test("objects that select nodes: what they say holds there, the loser says so, and what is wrong is refused", { timeout: 300_000 }, async () => {
    interface Selecting { readonly status?: { readonly nodes: string; readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[] } }
    const object = (name: string, spec: object): object => ({ apiVersion: "cilium.io/v2alpha1", kind: "CiliumEncryption", metadata: { name }, spec: { type: "wireguard", ...spec } });
    const apply = async (...objects: object[]): Promise<string> => await must(["kubectl", "apply", "-f", "-"], { input: JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }) });
    const on = (...names: string[]): object => ({ nodeSelector: { matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: names }] } });
    const said = async (name: string, type: string): Promise<string> => {
      const condition = (await get<Selecting>("ciliumencryption", name)).status?.conditions.find((each) => each.type === type);
      return `${condition?.status} ${condition?.reason} ${condition?.message}`;
    };
    const keepalives = async (number: number): Promise<string[]> => (await wg(number, "show", "all", "persistent-keepalive")).split("\n").filter((line) => line !== "").map((line) => line.split("\t").at(-1) ?? "");
    for (const [wrong, why] of [
      [object("everywhere", {}), /spec\.nodeSelector/],
      [object("process", { ...on("node-1"), userspace: "always" }), /spec\.userspace/],
      [object("rest", { ...on("node-1"), port: 0 }), /port/],
      [object("hasty", { ...on("node-1"), keyRotationSeconds: 5 }), /a minute and more/],
    ] as const) await assert.rejects(apply(wrong), why);
    try {
      await apply(object("weak", { ...on("node-1", "node-2"), persistentKeepalive: 31 }), object("strong", { ...on("node-1"), priority: 7, persistentKeepalive: 37 }), object("tunnels", { ...on("node-3"), port: 8472 }));
      await waitFor("each node goes by its object", async () => {
        const seen = await Promise.all(numbers.map(keepalives));
        const want = ["37", "31", "off"];
        return seen.every((each, index) => each.length > 0 && each.every((value) => value === want[index])) ? true : undefined;
      }, state, { timeoutMs: 120_000 });
      await waitFor("the objects say so", async () => {
        const all = await Promise.all([said("strong", "Ready"), said("strong", "Conflict"), said("weak", "Ready"), said("weak", "Conflict"), said("tunnels", "Ready")]);
        const want = [/^True Encrypted/, /^False None/, /^True Encrypted/, /^True Overridden .*node-1 \(strong\)/, /^False Invalid .*the tunnel's/];
        return want.every((each, index) => each.test(all[index] ?? "")) && (await get<Selecting>("ciliumencryption", "weak")).status?.nodes === "1/1" ? true : undefined;
      }, state, { timeoutMs: 120_000 });
    } finally {
      await kubectl("delete", "ciliumencryption", "weak", "strong", "tunnels", "--ignore-not-found");
    }
    await waitFor("the chart's values hold again", async () => ((await Promise.all(numbers.map(keepalives))).flat().every((value) => value === "off") ? true : undefined), state, { timeoutMs: 120_000 });
    await isEncrypted();
    await reachAll();
  });

  test("keys are replaced by one command: connections go on, nothing is in clear, all keys are others", { timeout: 300_000 }, async () => {
    const keys = async (): Promise<readonly PublishedKeys[]> => await Promise.all(NODES.map(async ({ name }) => (await get<{ spec: { encryption: PublishedKeys } }>("ciliumnode", name)).spec.encryption));
    const old = await keys();
    await nothingInClear(async () => {
      const [first, second, third] = pods as [Pod, Pod, Pod];
      flows = [first.flow("udp", second.ipv4, 8080, 50, 240), third.flow("udp", first.ipv6, 8080, 50, 240)];
      await must(["cilium", "encryption", "rotate"]);
      await waitFor("every node has another key, and no old one", async () => {
        const now = await keys();
        return now.every(({ publicKey, epoch, next }, index) => next === undefined && publicKey !== old[index]?.publicKey && epoch === (old[index]?.epoch ?? 0) + 1) ? true : undefined;
      }, state, { timeoutMs: 120_000 });
      await reachAll();
      for (const flow of flows) {
        const result = await flow.stop();
        assert.equal(result.answered, result.sent, `lost: ${JSON.stringify({ ...result, tenths: undefined })}`);
        assert.ok(result.sent > 50, "it was sent");
      }
      flows = [];
    });
    await isEncrypted();
    const shown = JSON.parse(await must(["cilium", "encryption", "status", "-o", "json"])) as { node: string; inForce: boolean; reached: number; known: number; rotation?: string; keys: { publicKey: string }[] }[];
    const now = await keys();
    assert.deepEqual(shown.map(({ node: name, inForce, reached, known, rotation, keys: held }) => [name, inForce, reached, known, rotation, held.map(({ publicKey }) => publicKey)]), NODES.map(({ name }, index) => [name, true, NODES.length - 1, NODES.length - 1, undefined, [now[index]?.publicKey]]));
  });

  test("switched off, and to native routing, it is gone: no device, no rule, no object, and pods reach each other", { timeout: 400_000 }, async () => {
    await upgrade(...NATIVE);
    await readyCluster();
    await waitFor("nothing of it", async () => {
      const left = await Promise.all(NODES.map(({ name }) => inNode(name, ["sh", "-c", "ip -oneline link; ip rule; ip -6 rule"])));
      const objects = await kubectl("get", "ciliumencryptions", "-o", "name");
      return left.every((text) => !/cilium_wg|lookup 193/.test(text)) && objects.trim() === "" ? true : undefined;
    }, state, { timeoutMs: 120_000 });
    await reachAll();
    const { items } = await get<{ items: { spec: object; status?: object }[] }>("ciliumnodes");
    for (const item of items) assert.ok(!("encryption" in item.spec), "a node still says that it encrypts");
  });

  test("switched on where nodes route natively: connections go on, and through the tunnel inside WireGuard from then on; what is too big is told", { timeout: 500_000 }, async () => {
    const [first, second, third] = pods as [Pod, Pod, Pod];
    const { wide } = (await createPods(ns.name, [{ name: "wide", node: 3 }])) as { wide: Pod };
    assert.equal((await wide.exec("cat /sys/class/net/eth0/mtu")).trim(), (await inNode("node-3", ["cat", "/sys/class/net/eth0/mtu"])).trim(), "its link is as great as the nodes'");
    flows = [first.flow("tcp", second.ipv4, 8080, 20, SECONDS), wide.flow("tcp", first.ipv6, 8080, 20, SECONDS)];
    await upgrade(...NATIVE, "encryption.enabled=true");
    await readyCluster();
    await isEncrypted();
    for (const flow of flows) {
      const result = await flow.stop();
      assert.equal(result.answered, result.sent, `a connection broke or lost: ${JSON.stringify({ ...result, tenths: undefined })}`);
    }
    flows = [];
    await waitFor("the CiliumRouting says what it comes to", async () => (/route by native; .* through the tunnel, as it is encrypted/.test(await kubectl("describe", "ciliumrouting", "default")) ? true : undefined), () => kubectl("describe", "ciliumrouting"), { timeoutMs: 120_000 });
    await nothingInClear(() => reachAll([first, second, third, wide]));
    const mtu = Number((await inNode("node-3", ["cat", "/sys/class/net/eth0/mtu"])).trim()) - 50 - 60;
    for (const address of first.addresses) {
      await waitFor(`${mtu} bytes → ${address}`, async () => ((await wide.ask("udp", address, 8080, { size: mtu })).answered ? true : undefined), state, { timeoutMs: 90_000 });
      assert.deepEqual(await wide.ask("udp", address, 8080, { size: mtu + 1, timeoutMs: 20_000 }), { answered: false, detail: "Message too long" });
    }
  });
});
