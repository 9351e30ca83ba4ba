/** The datapath without a tunnel: the underlay's routes lead to the pods of the other node. Needs root. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { DropReason, EventType, Hook } from "../../src/kernel/gen/types.ts";
import { Lab, OUTSIDE, PODS, PREFIX, a1, b1, c2, nft, router, run, underlay } from "./datapath/lab.ts";

const [N1, N2] = [`${PREFIX}n1`, `${PREFIX}n2`];
let lab: Lab;
before(async () => {
  lab = await Lab.start({ mode: "native" });
  for (const pod of [a1, b1, c2]) lab.serve(pod, 8080);
  lab.serve(OUTSIDE, 8080);
  for (const node of [N1, N2]) lab.serve(node, 9090);
});
after(() => lab.stop());
afterEach(() => lab.forget());

/** Rule ids of the verdicts on a node since the last look, in order. */
async function verdicts(node: number): Promise<readonly number[]> {
  return (await lab.events(node)).filter(({ type }) => type === EventType.VERDICT).map(({ rule }) => rule).sort();
}

test("pods of two nodes reach each other by the underlay's routes, in both families, with no tunnel device", async () => {
  for (const to of [c2.ipv4, c2.ipv6]) {
    assert.ok(lab.ping(a1, to), to);
    assert.ok(lab.echo(a1, to, 8080), to);
    assert.ok(lab.echo(a1, to, 8080, "x".repeat(3_000_000)), to);
    assert.ok(lab.ping(a1, to, 4000), `${to} in fragments`);
  }
  assert.ok(lab.echo(c2, a1.ipv4, 8080));
  for (const node of [N1, N2]) assert.doesNotMatch(run("ip", "-n", node, "link"), /vxlan/);
  assert.deepEqual([await lab.events(1), await lab.events(2)], [[], []]);
});

test("egress and ingress are judged once each, where the pod is, with the identity that the source address stands for", async () => {
  for (const [from, to, node] of [[a1, b1, 1], [a1, c2, 2], [c2, a1, 1]] as const) {
    await lab.policy(from, { ingress: [], egress: [{ peer: to.identity, protocol: 6, port: 8080, rule: 31 }] });
    await lab.policy(to, { ingress: [{ peer: from.identity, protocol: 6, port: 8080, rule: 41 }], egress: [] });
    for (const address of [to.ipv4, to.ipv6]) {
      assert.ok(lab.echo(from, address, 8080), address);
      const seen = from.node === to.node ? [await verdicts(node)] : [await verdicts(from.node), await verdicts(to.node)];
      assert.deepEqual(seen.flat(), [31, 41], `${from.name} → ${address}`);
    }
    for (const pod of PODS) await lab.policy(pod, {});
  }
  await lab.policy(c2, { ingress: [{ peer: a1.identity, rule: 51 }] });
  assert.ok(!lab.echo(b1, c2.ipv4, 8080));
  const [drop] = (await lab.events(2)).filter(({ type }) => type === EventType.DROP);
  assert.deepEqual([drop?.reason, drop?.hook, drop?.sourceIdentity], [DropReason.POLICY_DENIED, Hook.FROM_NETDEV, b1.identity]);
});

test("a revoked rule cuts the live connection between nodes", async () => {
  await lab.policy(c2, { ingress: [{ peer: a1.identity, rule: 41 }] });
  const connection = lab.connect(a1, c2.ipv4, 8080);
  assert.ok(await connection.send("before"));
  await lab.policy(c2, { ingress: [] });
  assert.ok(!(await connection.send("after")));
  connection.close();
  assert.deepEqual(await lab.drops(2), [DropReason.POLICY_DENIED]);
});

test("a node reaches its own closed pods and others' open ones, as remote-node; a pod reaches both nodes", async () => {
  for (const to of [b1.ipv4, b1.ipv6, c2.ipv4, c2.ipv6]) {
    assert.ok(lab.ping(N1, to), to);
    assert.ok(lab.echo(N1, to, 8080), to);
  }
  for (const to of [underlay(1), underlay(2), "2001:db8::1", "2001:db8::2", router(1).ipv4, router(2).ipv6]) assert.ok(lab.echo(a1, to, 9090), to);
  await lab.policy(b1, { ingress: [], egress: [] });
  await lab.policy(c2, { ingress: [], egress: [] });
  assert.ok(lab.echo(N1, b1.ipv4, 8080));
  for (const to of [c2.ipv4, c2.ipv6]) assert.ok(!lab.echo(N1, to, 8080), to);
  assert.deepEqual(await lab.drops(2), [DropReason.POLICY_DENIED]);
  await lab.policy(c2, { ingress: [{ peer: 6, rule: 42 }], egress: [] });
  for (const to of [c2.ipv4, c2.ipv6]) assert.ok(lab.echo(N1, to, 8080), to);
  assert.deepEqual(await verdicts(2), [42, 42]);
});

test("services of the stack: backends here and on the other node, judged with the backend; outsiders stay the world", async (t) => {
  nft(N1, `table ip svc {
    chain pre {
      type nat hook prerouting priority dstnat;
      ip daddr 10.96.0.1 tcp dport 80 dnat to 10.200.1.12:8080
      ip daddr 10.96.0.2 tcp dport 80 dnat to 10.200.2.21:8080
      ip daddr 192.0.2.1 tcp dport 30080 dnat to 10.200.2.21:8080
      ip daddr 192.0.2.1 tcp dport 30081 dnat to 10.200.1.12:8080
    }
    chain out {
      type nat hook output priority -100;
      ip daddr 10.96.0.2 tcp dport 80 dnat to 10.200.2.21:8080
    }
    chain post {
      type nat hook postrouting priority srcnat;
      ct status dnat ip saddr 192.0.2.0/24 masquerade
    }
  }`);
  t.after(() => run("ip", "netns", "exec", N1, "nft", "delete table ip svc"));
  run("ip", "-n", N1, "route", "add", "10.96.0.0/16", "dev", "eth0", "src", underlay(1));
  for (const service of ["10.96.0.1", "10.96.0.2"]) assert.ok(lab.echo(a1, service, 80, "x".repeat(500_000)), service);
  assert.ok(lab.echo(N1, "10.96.0.2", 80), "from the node");
  await lab.policy(a1, { ingress: [], egress: [{ peer: c2.identity, protocol: 6, port: 8080, rule: 31 }] });
  await lab.policy(c2, { ingress: [{ peer: a1.identity, protocol: 6, port: 8080, rule: 51 }], egress: [] });
  await lab.events(2);
  assert.ok(lab.echo(a1, "10.96.0.2", 80), "allowed backend elsewhere");
  assert.deepEqual([...(await verdicts(1)), ...(await verdicts(2))], [31, 51]);
  assert.ok(!lab.echo(a1, "10.96.0.1", 80), "denied backend");
  assert.ok(!lab.echo(OUTSIDE, "192.0.2.1", 30080), "the world is not allowed");
  assert.ok(!lab.echo(N1, "10.96.0.2", 80), "the other node is not allowed");
  await lab.policy(c2, { ingress: [{ peer: 9, rule: 52 }], egress: [] });
  assert.ok(lab.echo(OUTSIDE, "192.0.2.1", 30080), "the world is allowed, behind the first node");
  assert.ok(!lab.echo(N1, "10.96.0.2", 80), "the world is no node");
  await lab.policy(b1, { ingress: [{ peer: 9, rule: 42 }], egress: [] });
  assert.ok(lab.echo(OUTSIDE, "192.0.2.1", 30081), "the world, on the backend's node");
});

test("to the outside: masqueraded, judged where it leaves", async () => {
  for (const to of ["192.0.2.9", "2001:db8::9"]) assert.ok(lab.echo(a1, to, 8080), to);
  await lab.policy(a1, { ingress: [], egress: [{ peer: 9, protocol: 6, port: 8080, rule: 31 }] });
  assert.ok(lab.echo(a1, "192.0.2.9", 8080));
  assert.ok(!lab.ping(a1, "192.0.2.9"));
  assert.ok((await lab.events(1)).some(({ reason, hook }) => reason === DropReason.POLICY_DENIED && hook === Hook.TO_NETDEV));
});

test("a pod whose link is smaller than the sender's is answered for, and the connection goes on", async (t) => {
  // The pod itself does not know, and so announces segments of 1500 bytes.
  await lab.resize(c2, 1400);
  t.after(() => lab.resize(c2, 1500));
  for (const to of [c2.ipv4, c2.ipv6]) assert.ok(lab.echo(a1, to, 8080, "x".repeat(200_000)), to);
  for (const to of [a1.ipv4, a1.ipv6]) assert.ok(lab.echo(c2, to, 8080, "x".repeat(200_000)), to);
  assert.deepEqual(await lab.drops(2), [DropReason.PACKET_TOO_BIG]);
});

test("a smaller underlay behind the node answers the pod by the stack", async (t) => {
  for (const family of ["-4", "-6"] as const) {
    const [cidr, via] = family === "-4" ? ["10.200.2.0/24", underlay(2)] : ["fd00:2::/64", "2001:db8::2"];
    run("ip", "-n", N1, family, "route", "replace", cidr, "via", via, "dev", "eth0", "proto", "193", "mtu", "1400");
    t.after(() => run("ip", "-n", N1, family, "route", "replace", cidr, "via", via, "dev", "eth0", "proto", "193", "mtu", "1500"));
  }
  for (const to of [c2.ipv4, c2.ipv6]) assert.ok(lab.echo(a1, to, 8080, "x".repeat(200_000)), to);
});

test("no machine passes for a pod of this node, and no other device brings a pod of the other", async () => {
  run("ip", "-n", OUTSIDE, "address", "add", `${b1.ipv4}/32`, "dev", "lo");
  run("ip", "-n", OUTSIDE, "route", "add", `${a1.ipv4}/32`, "via", underlay(1), "src", b1.ipv4);
  assert.ok(!lab.ping(OUTSIDE, a1.ipv4));
  assert.deepEqual(await lab.drops(1), [DropReason.SPOOFED_UNDERLAY]);
  run("ip", "-n", N1, "link", "add", "side", "type", "veth", "peer", "name", "side", "netns", OUTSIDE);
  for (const [where, address] of [[N1, "203.0.113.1/24"], [OUTSIDE, "203.0.113.9/24"]] as const) {
    run("ip", "-n", where, "address", "add", address, "dev", "side");
    run("ip", "-n", where, "link", "set", "side", "up");
  }
  for (const spoofed of [c2.ipv4, underlay(2), router(2).ipv4]) {
    run("ip", "-n", OUTSIDE, "address", "replace", `${spoofed}/32`, "dev", "lo");
    run("ip", "-n", OUTSIDE, "route", "replace", `${a1.ipv4}/32`, "via", "203.0.113.1", "dev", "side", "src", spoofed);
    assert.ok(!lab.ping(OUTSIDE, a1.ipv4), spoofed);
    assert.deepEqual(await lab.drops(1), [DropReason.SPOOFED_UNDERLAY], spoofed);
    run("ip", "-n", OUTSIDE, "address", "delete", `${spoofed}/32`, "dev", "lo");
  }
});
