/** The datapath on real devices: two nodes, a real VXLAN tunnel, nftables as kube-proxy would use it. Needs root. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { DropReason, EventType, Hook, Identity } from "../../src/kernel/gen/types.ts";
import { Lab, OUTSIDE, PREFIX, a1, b1, c2, nft, router, run, underlay } from "./datapath/lab.ts";

const N1 = `${PREFIX}n1`;
let lab: Lab;
before(async () => {
  lab = await Lab.start();
  for (const pod of [b1, c2]) lab.serve(pod, 8080);
  lab.serve(OUTSIDE, 8080);
  lab.serve(N1, 9090);
});
after(() => lab.stop());
afterEach(() => lab.forget());

test("pods of one node reach each other, and netfilter sees none of it", async () => {
  nft(N1, 'table inet seen { chain raw { type filter hook prerouting priority -300; iifname "lxc*" counter; }; }');
  assert.ok(lab.ping(a1, b1.ipv4));
  assert.ok(lab.ping(a1, b1.ipv6));
  assert.ok(lab.echo(a1, b1.ipv4, 8080));
  assert.ok(lab.echo(a1, b1.ipv6, 8080));
  assert.match(run("ip", "netns", "exec", N1, "nft", "list table inet seen"), /counter packets 0 /);
  run("ip", "netns", "exec", N1, "nft", "delete table inet seen");
  assert.deepEqual(await lab.events(1), []);
});

test("a denied connection is dropped with the rule's id; the allowed port passes", async () => {
  await lab.policy(b1, { ingress: [{ peer: a1.identity, protocol: 6, port: 8080, rule: 41 }] });
  assert.ok(lab.echo(a1, b1.ipv4, 8080));
  assert.ok(!lab.ping(a1, b1.ipv4));
  const events = await lab.events(1);
  assert.deepEqual(events.filter(({ type }) => type === EventType.VERDICT).map(({ rule }) => rule), [41]);
  const drop = events.find(({ type }) => type === EventType.DROP);
  assert.deepEqual([drop?.reason, drop?.rule, drop?.sourceIdentity, drop?.destinationIdentity], [DropReason.POLICY_DENIED, 900, a1.identity, b1.identity]);
});

test("pods of two nodes reach each other through the tunnel, in both families", async () => {
  assert.ok(lab.ping(a1, c2.ipv4));
  assert.ok(lab.ping(a1, c2.ipv6));
  assert.ok(lab.echo(a1, c2.ipv4, 8080));
  assert.ok(lab.echo(a1, c2.ipv6, 8080));
  assert.ok(lab.echo(a1, c2.ipv4, 8080, "x".repeat(3_000_000)));
  assert.deepEqual([await lab.events(1), await lab.events(2)], [[], []]);
});

test("fragments pass in both families, on the node, between nodes, to and from the node and the outside", async () => {
  await lab.policy(b1, { ingress: [{ peer: a1.identity, rule: 41 }] });
  for (const to of [b1.ipv4, b1.ipv6, c2.ipv4, c2.ipv6, router(1).ipv4, router(1).ipv6, "192.0.2.9"]) assert.ok(lab.ping(a1, to, 4000), to);
  for (const to of [a1.ipv4, a1.ipv6, c2.ipv4, c2.ipv6]) assert.ok(lab.ping(N1, to, 4000), `${to} from the node`);
  assert.deepEqual(await lab.drops(1), []);
  assert.deepEqual(await lab.drops(2), []);
});

test("a revoked rule cuts the live connection, on the node and between nodes", async () => {
  for (const [to, pod] of [[b1, b1], [c2, c2]] as const) {
    await lab.policy(pod, { ingress: [{ peer: a1.identity, rule: 41 }] });
    const connection = lab.connect(a1, to.ipv4, 8080);
    assert.ok(await connection.send("before"));
    await lab.policy(pod, { ingress: [{ peer: a1.identity, rule: 43 }] });
    assert.ok(await connection.send("another rule"));
    await lab.policy(pod, { ingress: [] });
    assert.ok(!(await connection.send("after")));
    connection.close();
    assert.deepEqual(await lab.drops(pod.node), [DropReason.POLICY_DENIED]);
  }
});

test("the other node judges by the identity from the tunnel", async () => {
  await lab.policy(c2, { ingress: [{ peer: a1.identity, rule: 51 }] });
  assert.ok(lab.echo(a1, c2.ipv4, 8080));
  assert.ok(!lab.echo(b1, c2.ipv4, 8080));
  const events = await lab.events(2);
  assert.ok(events.some(({ type, rule }) => type === EventType.VERDICT && rule === 51));
  assert.ok(events.some(({ reason, hook, sourceIdentity }) => reason === DropReason.POLICY_DENIED && hook === Hook.FROM_OVERLAY && sourceIdentity === b1.identity));
});

test("the node reaches its closed pods, other nodes do not; open ones are reached by all", async () => {
  assert.ok(lab.ping(N1, c2.ipv4));
  assert.ok(lab.echo(N1, c2.ipv6, 8080));
  await lab.policy(b1, { ingress: [], egress: [] });
  await lab.policy(c2, { ingress: [], egress: [] });
  assert.ok(lab.ping(N1, b1.ipv4));
  assert.ok(lab.echo(N1, b1.ipv4, 8080));
  assert.ok(lab.echo(N1, b1.ipv6, 8080));
  assert.ok(!lab.ping(N1, c2.ipv4));
  assert.deepEqual(await lab.drops(2), [DropReason.POLICY_DENIED]);
});

test("an address of this node's pods that no pod has is unreachable at once, and nothing of it leaves the node", async (t) => {
  for (const gateway of [underlay(9), "2001:db8::9"]) {
    run("ip", "-n", N1, "route", "add", "default", "via", gateway);
    t.after(() => run("ip", "-n", N1, ...(gateway.includes(":") ? ["-6"] : []), "route", "delete", "default", "via", gateway));
  }
  for (const from of [a1, N1]) {
    for (const to of ["10.200.1.77", "fd00:1::77"]) {
      const { detail } = await lab.site(from).ask("tcp", to, 8080, { timeoutMs: 20_000 });
      assert.match(detail, /No route to host|Network is unreachable/, to);
    }
  }
});

test("a pod reaches its node when its egress allows it", async () => {
  for (const to of [router(1).ipv4, underlay(1), router(1).ipv6]) assert.ok(lab.echo(a1, to, 9090), to);
  await lab.policy(a1, { egress: [] });
  assert.ok(!lab.echo(a1, router(1).ipv4, 9090));
  await lab.policy(a1, { egress: [{ peer: 1, rule: 31 }] });
  assert.ok(lab.echo(a1, router(1).ipv4, 9090));
});

test("to the outside: masqueraded, judged where it leaves", async () => {
  assert.ok(lab.echo(a1, "192.0.2.9", 8080));
  assert.ok(lab.echo(a1, "2001:db8::9", 8080));
  assert.ok(lab.ping(a1, "192.0.2.9"));
  await lab.policy(a1, { ingress: [], egress: [{ peer: Identity.WORLD_IPV4, protocol: 6, port: 8080, rule: 31 }] });
  assert.ok(lab.echo(a1, "192.0.2.9", 8080));
  assert.ok(!lab.ping(a1, "192.0.2.9"));
  const events = await lab.events(1);
  assert.ok(events.some(({ reason, hook }) => reason === DropReason.POLICY_DENIED && hook === Hook.TO_NETDEV));
  assert.ok(events.some(({ type, rule }) => type === EventType.VERDICT && rule === 31));
});

test("a service that the stack translates: backends here and elsewhere, judged with the backend", async (t) => {
  const table = `table ip svc {
    chain pre {
      type nat hook prerouting priority dstnat;
      ip daddr 10.96.0.1 tcp dport 80 dnat to 10.200.1.12:8080
      ip daddr 10.96.0.2 tcp dport 80 dnat to 10.200.2.21:8080
      ip daddr 192.0.2.1 tcp dport 30080 dnat to 10.200.2.21:8080
      ip daddr 192.0.2.1 tcp dport 30081 dnat to 10.200.1.12:8080
    }
    chain post {
      type nat hook postrouting priority srcnat - 1;
      oifname cilium_host ip saddr 192.0.2.0/24 masquerade
    }
  }`;
  nft(N1, table);
  t.after(() => run("ip", "netns", "exec", N1, "nft", "delete table ip svc"));
  assert.ok(lab.echo(a1, "10.96.0.1", 80), "backend here");
  assert.ok(lab.echo(a1, "10.96.0.2", 80), "backend elsewhere");
  await lab.policy(a1, { ingress: [], egress: [{ peer: b1.identity, protocol: 6, port: 8080, rule: 31 }] });
  await lab.policy(b1, { ingress: [{ peer: a1.identity, protocol: 6, port: 8080, rule: 41 }], egress: [] });
  assert.ok(lab.echo(a1, "10.96.0.1", 80), "allowed backend");
  assert.ok(!lab.echo(a1, "10.96.0.2", 80), "denied backend");
  const seen = await lab.events(1);
  assert.deepEqual(new Set(seen.filter(({ type }) => type === EventType.VERDICT).map(({ rule }) => rule)), new Set([31, 41]));
  assert.ok(seen.some(({ reason, hook, rule }) => reason === DropReason.POLICY_DENIED && hook === Hook.FROM_HOST && rule === 901));
  await lab.policy(a1, { ingress: [], egress: [{ peer: 1, protocol: 6, port: 30081, rule: 32 }, { peer: b1.identity, protocol: 6, port: 8080, rule: 31 }] });
  assert.ok(lab.echo(a1, "192.0.2.1", 30081), "node port of the own node, backend here");
  await lab.policy(a1, { ingress: [], egress: [{ peer: b1.identity, rule: 31 }] });
  assert.ok(!lab.echo(a1, "192.0.2.1", 30081), "node port of the own node, the host is not allowed");
  assert.ok(!lab.echo(OUTSIDE, "192.0.2.1", 30081), "node port, the world is not allowed");
  await lab.policy(b1, { ingress: [{ peer: Identity.WORLD_IPV4, rule: 42 }], egress: [] });
  assert.ok(lab.echo(OUTSIDE, "192.0.2.1", 30081), "node port, the world is allowed");
  await lab.policy(c2, { ingress: [{ peer: Identity.WORLD_IPV4, rule: 52 }], egress: [] });
  assert.ok(lab.echo(OUTSIDE, "192.0.2.1", 30080), "node port, backend elsewhere");
});

test("a packet that is too big for the tunnel is answered, and the connection goes on", async (t) => {
  for (const pod of [a1, c2]) run("ip", "-n", `${PREFIX}${pod.name}`, "link", "set", "eth0", "mtu", "1500");
  run("ip", "-n", N1, "link", "set", "lxca1", "mtu", "1500");
  run("ip", "-n", `${PREFIX}n2`, "link", "set", "lxcc2", "mtu", "1500");
  t.after(() => { for (const pod of [a1, c2]) run("ip", "-n", `${PREFIX}${pod.name}`, "link", "set", "eth0", "mtu", "1450"); });
  for (const to of [c2.ipv4, c2.ipv6]) assert.ok(lab.echo(a1, to, 8080, "x".repeat(200_000)), to);
  assert.deepEqual(await lab.drops(1), [DropReason.PACKET_TOO_BIG]);
});

test("outside addresses cannot pretend to be pods, pods cannot pretend to be others", async () => {
  run("ip", "-n", OUTSIDE, "route", "add", "10.200.1.0/24", "via", "192.0.2.1");
  run("ip", "-n", OUTSIDE, "address", "add", `${c2.ipv4}/32`, "dev", "eth0");
  run("ip", "-n", OUTSIDE, "route", "replace", "10.200.1.0/24", "via", "192.0.2.1", "src", c2.ipv4);
  assert.ok(!lab.ping(OUTSIDE, b1.ipv4));
  assert.ok((await lab.drops(1)).includes(DropReason.SPOOFED_UNDERLAY));
  run("ip", "-n", `${PREFIX}a1`, "address", "add", "10.200.1.77/32", "dev", "eth0");
  run("ip", "-n", `${PREFIX}a1`, "route", "replace", `${b1.ipv4}/32`, "via", router(1).ipv4, "dev", "eth0", "src", "10.200.1.77");
  assert.ok(!lab.ping(a1, b1.ipv4));
  assert.deepEqual(await lab.drops(1), [DropReason.INVALID_SOURCE_IP]);
});
