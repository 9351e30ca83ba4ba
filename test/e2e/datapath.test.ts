/** Who reaches whom, over which address, as the receiver saw it. No policy is in force here. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { apply, get, inNode, kubectl, namespace, node, readyCluster, waitFor } from "./harness/cluster.ts";
import { nodeSite, plugInOutside } from "./harness/outside.ts";
import { createPods, type Pod, type Protocol, type Site } from "./harness/pods.ts";

await readyCluster();
const ns = await namespace("datapath");
const outside = await plugInOutside(201);
after(async () => {
  await Promise.all([ns.remove(), outside.remove()]);
});

const HTTPD = 'mkdir -p /tmp/www && head -c 10485760 /dev/urandom > /tmp/www/big && md5sum < /tmp/www/big > /tmp/www/sum && echo "hello from $HOSTNAME" > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www';
const pods = await createPods(ns.name, [
  { name: "near", node: 1, labels: { app: "near" } },
  { name: "beside", node: 1, labels: { app: "beside" } },
  { name: "far", node: 2, labels: { app: "far" } },
  { name: "host", node: 3, hostNetwork: true, ports: [18090] },
  { name: "web", node: 2, labels: { app: "web" }, shell: HTTPD, container: { readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } } },
]);
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);
const [near, beside, far, host, web] = ["near", "beside", "far", "host", "web"].map(pod) as [Pod, Pod, Pod, Pod, Pod];
const PROTOCOLS: readonly Protocol[] = ["tcp", "udp"];

/** A word that no other try uses, so that the receiver's log tells this one. */
function word(...parts: readonly (string | number)[]): string {
  return [...parts, Math.random().toString(36).slice(2, 8)].join("-");
}

/** Asks, and returns the peers that the receiver says it heard from. */
async function seenBy(receiver: Pod, from: Site, protocol: Protocol, address: string, port = 8080): Promise<string[]> {
  const text = word(from.name, protocol);
  await from.reaches(protocol, address, port, text);
  const peers = (await receiver.heard(text)).map(({ peer }) => peer);
  assert.equal(peers.length, 1, `${receiver.name} heard ${from.name} ${peers.length} times`);
  return peers;
}

describe("pod to pod", { concurrency: 3 }, () => {
  for (const [from, to] of [[near, beside], [near, far], [far, near]] as const) {
    for (const [family, index] of [["IPv4", 0], ["IPv6", 1]] as const) {
      test(`${from.name} → ${to.name}, ${family}: both sides see the pods' own addresses`, async () => {
        for (const protocol of PROTOCOLS) {
          assert.deepEqual(await seenBy(to, from, protocol, to.addresses[index] ?? ""), [from.addresses[index]], protocol);
        }
      });
    }
  }

  test("a pod reaches itself", async () => {
    for (const address of near.addresses) await seenBy(near, near, "tcp", address);
  });
});

describe("pods and nodes", { concurrency: 3 }, () => {
  test("pod → its own node and another node, both families", async () => {
    for (const number of [1, 2]) {
      const server = await nodeSite(number).serve(18081);
      try {
        for (const address of [node(number).ipv4, node(number).ipv6]) {
          const text = word("to-node", number);
          for (const protocol of PROTOCOLS) await near.reaches(protocol, address, 18081, text);
          const peers = server.received().filter((line) => line.text === text).map(({ peer }) => peer);
          // Its own node sees the pod; to another node the pod may come with its node's address.
          const expected = number === 1 ? near.addresses : [...near.addresses, node(1).ipv4, node(1).ipv6];
          assert.equal(peers.length, 2);
          assert.ok(peers.every((peer) => expected.includes(peer)), `${node(number).name} saw ${peers.join(", ")}`);
        }
      } finally {
        server.close();
      }
    }
  });

  test("node → pod on it and on another node, both families", async () => {
    for (const [from, to] of [[1, near], [2, near], [1, far]] as const) {
      for (const address of to.addresses) {
        for (const protocol of PROTOCOLS) {
          const [peer] = await seenBy(to, nodeSite(from), protocol, address);
          assert.ok(peer !== undefined && !to.addresses.includes(peer));
        }
      }
    }
  });

  test("a process of the node that is bound to the node's address reaches pods on it and elsewhere", async () => {
    for (const to of [near, far]) {
      const text = word("bound", to.name);
      await inNode("node-1", ["sh", "-c", `echo ${text} | timeout 5 socat -t 2 - TCP:${to.ipv4}:8080,bind=${node(1).ipv4} | grep -q ${text}`]);
      assert.equal((await to.heard(text)).length, 1);
    }
  });

  test("host-network pod → pod, and the kubelet's probe", async () => {
    await seenBy(near, host, "tcp", near.ipv4);
    await seenBy(near, host, "tcp", near.ipv6);
    const { status } = await get<{ status: { containerStatuses: { ready: boolean }[] } }>("pod", "web", "-n", ns.name);
    assert.deepEqual(status.containerStatuses.map(({ ready }) => ready), [true]);
  });
});

interface Service {
  readonly spec: { readonly clusterIPs: readonly string[]; readonly ports: readonly { readonly nodePort?: number }[] };
}

async function service(name: string, app: string, type = "ClusterIP"): Promise<Service> {
  const ports = [{ name: "tcp", port: 80, targetPort: 8080, protocol: "TCP" }, { name: "udp", port: 80, targetPort: 8080, protocol: "UDP" }];
  await apply({ apiVersion: "v1", kind: "Service", metadata: { name, namespace: ns.name }, spec: { type, selector: { app }, ipFamilyPolicy: "RequireDualStack", ports } });
  await kubectl("wait", "-n", ns.name, "--for=jsonpath={.endpoints[0].addresses[0]}", `endpointslice`, "-l", `kubernetes.io/service-name=${name}`, "--timeout=90s");
  return get<Service>("service", name, "-n", ns.name);
}

/** kube-proxy writes its rules a moment after the endpoints are known. */
async function served(from: Site, protocol: Protocol, address: string, port: number): Promise<void> {
  await waitFor(`kube-proxy serves ${protocol} ${address} ${port} to ${from.name}`, async () =>
    ((await from.ask(protocol, address, port, { timeoutMs: 500, text: "is-it-served" })).answered ? true : undefined), () => kubectl("get", "endpointslices", "-n", ns.name), { timeoutMs: 15_000 });
}

describe("services, by kube-proxy", { concurrency: 3 }, () => {
  for (const [kind, backend] of [["a backend beside it", beside], ["a backend on another node", far], ["itself as the backend", near]] as const) {
    test(`pod → ClusterIP with ${kind}, both families`, async () => {
      const { spec } = await service(`to-${backend.name}`, backend.name);
      for (const [index, address] of spec.clusterIPs.entries()) {
        for (const protocol of PROTOCOLS) {
          await served(near, protocol, address, 80);
          const peers = await seenBy(backend, near, protocol, address, 80);
          // A pod that reaches itself through a service comes from its node: kube-proxy translates the source too.
          if (backend !== near) assert.deepEqual(peers, [near.addresses[index]], `${protocol} ${address}`);
        }
      }
    });
  }

  test("host-network pod → ClusterIP → pod", async () => {
    const { spec } = await service("from-host", "far");
    for (const address of spec.clusterIPs) {
      await served(host, "tcp", address, 80);
      await seenBy(far, host, "tcp", address, 80);
    }
  });

  test("NodePort from outside, on the backend's node and on another", async () => {
    const { spec } = await service("node-port", "far", "NodePort");
    const [tcp, udp] = spec.ports.map(({ nodePort }) => nodePort ?? 0) as [number, number];
    for (const number of [2, 1]) {
      for (const address of [node(number).ipv4, node(number).ipv6]) {
        await served(outside.site, "tcp", address, tcp);
        await seenBy(far, outside.site, "tcp", address, tcp);
        await seenBy(far, outside.site, "udp", address, udp);
      }
    }
  });

  test("a service by its name: DNS and HTTP, from both nodes", async () => {
    await service("web", "web");
    await waitFor("the service answers", async () => ((await near.exec("timeout 2 wget -qO- http://web/ || true")) === "" ? undefined : true), () => kubectl("get", "endpointslices", "-n", ns.name));
    for (const asker of [near, beside, far]) {
      assert.equal(await asker.exec(`timeout 5 wget -qO- http://web.${ns.name}.svc.cluster.local/`), "hello from web\n");
      assert.equal(await asker.exec("timeout 5 wget -qO- http://web/"), "hello from web\n");
    }
  });
});

describe("outside", { concurrency: 2 }, () => {
  test("pod → outside leaves with its node's address, both families and protocols", async () => {
    const server = await outside.site.serve(18082);
    try {
      for (const [from, number] of [[near, 1], [far, 2]] as const) {
        for (const [address, expected] of [[outside.ipv4, node(number).ipv4], [outside.ipv6, node(number).ipv6]] as const) {
          const text = word("out", number);
          for (const protocol of PROTOCOLS) await from.reaches(protocol, address, 18082, text);
          assert.deepEqual(server.received().filter((line) => line.text === text).map(({ peer }) => peer), [expected, expected]);
        }
      }
    } finally {
      server.close();
    }
  });
});

const NODE_1 = [node(1).ipv4, node(1).ipv6] as const;

/** A counter at every hook for both pods' traffic, and for the control that must move: pod → its node. */
function witness(): string {
  const counters = (["ip", "ip6"] as const).flatMap((family, index) => {
    const [a, b] = [near.addresses[index], beside.addresses[index]];
    return [
      `${family} saddr ${a} ${family} daddr ${b} counter`,
      `${family} saddr ${b} ${family} daddr ${a} counter`,
      `${family} saddr ${a} ${family} daddr ${NODE_1[index]} counter comment "control ${["IPv4", "IPv6"][index]}"`,
    ];
  });
  const hooks = ["prerouting", "input", "forward", "output", "postrouting"];
  return `table inet e2e_witness {\n${hooks.map((hook) => `chain ${hook} { type filter hook ${hook} priority -400;\n${counters.join("\n")}\n}`).join("\n")}\n}`;
}

describe("large packets and many", { concurrency: 2 }, () => {
  test("10 MB arrive whole, on the node and across nodes, both families, also through a service", async () => {
    const expected = (await web.exec("cat /tmp/www/sum")).trim();
    const { spec } = await service("big", "web");
    await waitFor("the service answers", async () => ((await near.exec("timeout 2 wget -qO- http://big/ || true")) === "" ? undefined : true), () => kubectl("get", "endpointslices", "-n", ns.name));
    const ofService = spec.clusterIPs.map((address) => (address.includes(":") ? `[${address}]` : address));
    for (const asker of [near, far]) {
      for (const address of [web.ipv4, `[${web.ipv6}]`]) {
        assert.equal((await asker.exec(`timeout 20 wget -qO- http://${address}:8080/big | md5sum`)).trim(), expected, `${asker.name} ${address}`);
      }
      for (const address of ofService) {
        assert.equal((await asker.exec(`timeout 20 wget -qO- http://${address}/big | md5sum`)).trim(), expected, `${asker.name} ${address}`);
      }
    }
  });

  test("a packet of the pods' MTU passes unfragmented; a longer one is refused at once, not lost", async () => {
    const mtu = Number(await near.exec("cat /sys/class/net/eth0/mtu"));
    assert.ok(mtu >= 1280 && mtu <= 1450, `MTU ${mtu} leaves room for the tunnel on 1500`);
    for (const to of [beside, far]) {
      for (const address of to.addresses) {
        const whole = await near.ask("udp", address, 8080, { size: mtu });
        assert.ok(whole.answered, `${mtu} bytes to ${to.name} ${address}: ${whole.detail}`);
        assert.deepEqual(await near.ask("udp", address, 8080, { size: mtu + 1 }), { answered: false, detail: "Message too long" });
      }
    }
  });

  test("pod-to-pod traffic of one node moves no netfilter counter and makes no conntrack entry of the stack", async () => {
    await inNode("node-1", ["nft", "-f", "-"], { input: witness() });
    const server = await nodeSite(1).serve(18083);
    try {
      const flows = beside.addresses.flatMap((address) => (["tcp-new", "udp-new"] as const).map((kind) => near.flow(kind, address, 8080, 150, 2, word("many")).done));
      for (const result of await Promise.all(flows)) assert.ok(result.answered >= 100 && result.answered === result.sent, JSON.stringify(result));
      for (const address of NODE_1) await near.reaches("udp", address, 18083);
      const counted = (await inNode("node-1", ["nft", "list", "table", "inet", "e2e_witness"])).split("\n").filter((line) => line.includes("counter"));
      const moved = counted.filter((line) => !line.includes("packets 0 "));
      for (const family of ["IPv4", "IPv6"]) assert.ok(moved.some((line) => line.includes(`"control ${family}"`)), `the counters count ${family}: ${counted.join("\n")}`);
      assert.deepEqual(moved.filter((line) => !line.includes("control")), []);
      for (const [index, family] of ["ipv4", "ipv6"].entries()) {
        const [a, b, control] = [near.addresses[index], beside.addresses[index], NODE_1[index]];
        const entries = (await inNode("node-1", ["conntrack", "-L", "-f", family])).split("\n");
        assert.ok(entries.some((line) => line.includes(`src=${a} dst=${control} `)), `conntrack shows ${near.name} → its node: ${entries.join("\n")}`);
        // The first pair is the flow as it was opened; the second, its answers, names a pod also where a service stands between.
        const opened = (line: string): string => /src=\S+ dst=\S+/.exec(line)?.[0] ?? "";
        assert.deepEqual(entries.filter((line) => [`src=${a} dst=${b}`, `src=${b} dst=${a}`].includes(opened(line))), []);
      }
    } finally {
      server.close();
      await inNode("node-1", ["nft", "delete", "table", "inet", "e2e_witness"]);
    }
  });
});
