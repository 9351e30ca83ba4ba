/** Forgers with raw sockets: inside a pod, and on the underlay. What counts is what the victim's device saw. Needs root. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import type { TestContext } from "node:test";
import { arp, ethernet, frame, icmp, ipv4, ipv6, raw as layer, udp, wireAddress } from "../bpf/lib/packet.ts";
import type { Layer } from "../bpf/lib/packet.ts";
import { EventType, dropReasonNames } from "../../src/kernel/gen/types.ts";
import type { DropReason } from "../../src/kernel/gen/types.ts";
import * as forge from "./datapath/forge.ts";
import { etherType as family, ip, says, vxlan } from "./datapath/forge.ts";
import { Lab, OUTSIDE, PREFIX, a1, b1, c2, macOf, namespaceOf, nft, router, run, underlay } from "./datapath/lab.ts";
import { Raw } from "./datapath/raw.ts";
import type { Ear } from "./datapath/raw.ts";

type Reason = keyof typeof DropReason;

const N1 = `${PREFIX}n1`;
const TUNNEL_PORT = 8472;
const PORT = 9090;
const BROADCAST = "ff:ff:ff:ff:ff:ff";
let lab: Lab;
const raw = new Raw();
before(async () => { lab = await Lab.start(); });
after(() => {
  raw.close();
  lab.stop();
});
afterEach(async () => { for (const node of [1, 2]) await lab.events(node); });

const FORGED = "forged-by-a1";
const HONEST = "honest-words";
const own = { mac: "02:00:00:00:01:11", hostMac: "02:00:00:00:f1:11" } as const;

const datagram = (from: string, to: string, text = FORGED, dport = PORT, sport = 40000, mac: string = own.mac): Uint8Array =>
  forge.datagram({ mac, hostMac: own.hostMac }, from, to, text, dport, sport);
const linkMessage = (type: number, source: string, target: string): Uint8Array => forge.linkMessage(own.mac, type, source, target, FORGED);
const inTunnel = (from: string, to: string): Uint8Array => forge.datagram(own, from, to, FORGED, PORT);

/** Services of node 1 as kube-proxy would make them, for the length of a test. */
function translate(t: TestContext, destinations: readonly string[], sources: readonly string[] = []): void {
  const chain = (name: string, type: string, rules: readonly string[]): readonly string[] => [`chain ${name} {`, `type nat hook ${type};`, ...rules, "}"];
  nft(N1, ["table inet service {", ...chain("pre", "prerouting priority dstnat", destinations), ...chain("post", "postrouting priority srcnat", sources), "}", ""].join("\n"));
  t.after(() => run("ip", "netns", "exec", N1, "nft", "delete", "table", "inet", "service"));
}

async function reasons(node: number): Promise<readonly string[]> {
  return (await lab.events(node)).filter(({ type }) => type === EventType.DROP).map(({ reason }) => dropReasonNames.get(reason) ?? `${reason}`);
}

/** Every forged frame ends at node 1 under its reason, in this order; the honest one behind them arrives, they do not. */
async function allDropped(from: string, tries: readonly (readonly [Reason, Uint8Array])[], honest: Uint8Array, witness: Ear, victims: readonly Ear[]): Promise<void> {
  await lab.events(1);
  raw.send(from, [...tries.map(([, packet]) => packet), honest]);
  await witness.waitFor((heard) => heard.includes(Buffer.from(HONEST).toString("hex")), HONEST);
  assert.deepEqual(await reasons(1), tries.map(([reason]) => reason));
  for (const victim of victims) assert.ok(!victim.has(FORGED), `a victim heard ${victim.heard.join("\n")}`);
}

test("a pod with raw sockets speaks for itself alone", async () => {
  const ears = [await raw.hear(namespaceOf(b1)), await raw.hear(namespaceOf(c2)), await raw.hear(N1, "datagrams", `${PORT}`)];
  const tries: (readonly [Reason, Uint8Array])[] = [];
  for (const to of [b1.ipv4, c2.ipv4, router(1).ipv4, underlay(1)]) {
    for (const from of [b1.ipv4, c2.ipv4, underlay(1), router(1).ipv4, "0.0.0.0", "127.0.0.1", "224.0.0.1", "192.0.2.9"]) {
      if (from !== to) tries.push(["INVALID_SOURCE_IP", datagram(from, to)]);
    }
  }
  for (const from of [b1.ipv6, c2.ipv6, router(1).ipv6, "::", "::1", "fe80::1", "ff02::1"]) tries.push(["INVALID_SOURCE_IP", datagram(from, from === b1.ipv6 ? c2.ipv6 : b1.ipv6)]);
  tries.push(["INVALID_PACKET", frame(ethernet(own.mac, own.hostMac, 0x86dd), ipv6(`::ffff:${b1.ipv4}`, c2.ipv6, 17), udp(1, PORT), says(FORGED))]);
  tries.push(["INVALID_SOURCE_MAC", datagram(a1.ipv4, b1.ipv4, FORGED, PORT, 40000, "02:00:00:00:01:12")]);
  tries.push(["FORGED_NEIGHBOUR", frame(ethernet(own.mac, BROADCAST, 0x0806), arp(1, own.mac, b1.ipv4, "00:00:00:00:00:00", b1.ipv4))]);
  tries.push(["FORGED_NEIGHBOUR", frame(ethernet(own.mac, BROADCAST, 0x0806), arp(2, own.mac, router(1).ipv4, BROADCAST, router(1).ipv4))]);
  for (const type of [136, 134, 137, 130]) tries.push(["FORGED_NEIGHBOUR", linkMessage(type, a1.ipv6, b1.ipv6)]);
  tries.push(["FORGED_DHCP", datagram(a1.ipv4, "255.255.255.255", FORGED, 68, 67)], ["FORGED_DHCP", datagram("0.0.0.0", "255.255.255.255", FORGED, 67, 68)]);
  tries.push(["UNKNOWN_L4", frame(ethernet(own.mac, BROADCAST, 0x0800), ipv4(a1.ipv4, "224.0.0.22", { protocol: 2 }), says(FORGED))]);
  tries.push(["LINK_ONLY", datagram(a1.ipv4, "224.0.0.251")], ["LINK_ONLY", datagram(a1.ipv6, "ff02::fb")], ["LINK_ONLY", datagram(a1.ipv6, "fe80::1")]);
  for (const type of [0x8100, 0x88a8]) tries.push(["UNSUPPORTED_L3", frame(ethernet(own.mac, own.hostMac, type), layer(Uint8Array.of(0, 0, 8, 0)), ip(a1.ipv4, b1.ipv4, 17), udp(1, PORT), says(FORGED))]);
  tries.push(["UNSUPPORTED_L3", frame(ethernet(own.mac, own.hostMac, 0x88cc), says(FORGED.repeat(4)))]);
  await allDropped(namespaceOf(a1), tries, datagram(a1.ipv4, b1.ipv4, HONEST), ears[0] as Ear, ears);
  raw.send(namespaceOf(a1), [datagram(a1.ipv4, c2.ipv4, HONEST), datagram(a1.ipv4, underlay(1), HONEST)]);
  for (const ear of ears.slice(1)) await ear.waitFor((heard) => heard.includes(Buffer.from(HONEST).toString("hex")), HONEST);
  for (const ear of ears) assert.ok(!ear.has(FORGED));
});

test("a pod is no tunnel: not to any address of a node, whatever stands in between", async (t) => {
  const ears = [await raw.hear(namespaceOf(b1)), await raw.hear(namespaceOf(c2))];
  translate(t, [["10.96.0.7", underlay(1)], ["10.96.0.8", underlay(2)], ["10.96.0.9", router(2).ipv4]].map(([service, to]) => `ip daddr ${service} udp dport 53 dnat ip to ${to}:${TUNNEL_PORT}`));
  const tunnel = (to: string, victim: string, from: string, port = TUNNEL_PORT): Uint8Array =>
    frame(ethernet(own.mac, own.hostMac, family(to)), ip(to.includes(":") ? a1.ipv6 : a1.ipv4, to, 17), udp(40000, port), vxlan(b1.identity, inTunnel(from, victim)));
  const direct = [underlay(1), underlay(2), router(1).ipv4, router(2).ipv4, "192.0.2.9", router(1).ipv6, "2001:db8::1", "2001:db8::2"];
  const tries: (readonly [Reason, Uint8Array])[] = direct.map((to) => ["TUNNEL_PORT", tunnel(to, b1.ipv4, c2.ipv4)]);
  tries.push(["SPOOFED_OVERLAY", tunnel("10.96.0.7", b1.ipv4, c2.ipv4, 53)], ["TUNNEL_PORT", tunnel("10.96.0.8", c2.ipv4, b1.ipv4, 53)], ["TUNNEL_PORT", tunnel("10.96.0.9", c2.ipv4, b1.ipv4, 53)]);
  await allDropped(namespaceOf(a1), tries, datagram(a1.ipv4, b1.ipv4, HONEST), ears[0] as Ear, ears);
  assert.ok(!(ears[1] as Ear).has(FORGED));
});

test("the underlay has no pods: neither bare, nor under a priority tag, nor by a tunnel that no node opened", async () => {
  const ears = [await raw.hear(namespaceOf(b1)), await raw.hear(N1, "datagrams", `${PORT + 1}`)];
  const [from, to] = [macOf(OUTSIDE), macOf(N1)];
  const bare = (source: string, destination: string, ...tags: readonly Layer[]): Uint8Array =>
    frame(ethernet(from, to, tags.length > 0 ? 0x8100 : family(source)), ...tags, ip(source, destination, 17), udp(40000, PORT + 1), says(FORGED));
  const tag = (inner: number): Layer => layer(Uint8Array.of(0, 0, inner >>> 8, inner & 0xff));
  const tunnel = (node: string, vni: number, source: string, destination = b1.ipv4): Uint8Array =>
    frame(ethernet(from, to, family(node)), ip(node, node.includes(":") ? "2001:db8::1" : underlay(1), 17), udp(40000, TUNNEL_PORT), vxlan(vni, inTunnel(source, destination)));
  const tries: (readonly [Reason, Uint8Array])[] = [];
  for (const source of [a1.ipv4, c2.ipv4, router(1).ipv4, router(2).ipv4]) for (const target of [b1.ipv4, underlay(1)]) tries.push(["SPOOFED_UNDERLAY", bare(source, target)]);
  for (const source of [a1.ipv6, c2.ipv6]) tries.push(["SPOOFED_UNDERLAY", bare(source, b1.ipv6)]);
  tries.push(["SPOOFED_UNDERLAY", bare(c2.ipv4, underlay(1), tag(0x0800))], ["UNSUPPORTED_L3", bare(c2.ipv4, underlay(1), tag(0x8100), tag(0x0800))]);
  tries.push(["SPOOFED_OVERLAY", tunnel("192.0.2.9", c2.identity, c2.ipv4)]);
  for (const source of [a1.ipv4, underlay(2), router(1).ipv4, "192.0.2.9"]) tries.push(["SPOOFED_OVERLAY", tunnel(underlay(2), c2.identity, source)]);
  for (const vni of [1, 2]) tries.push(["SPOOFED_OVERLAY", tunnel(underlay(2), vni, c2.ipv4)]);
  for (const vni of [0, 3, 6, 8, 255]) tries.push(["INVALID_IDENTITY", tunnel(underlay(2), vni, c2.ipv4)]);
  const honest = frame(ethernet(from, to, 0x0800), ip("192.0.2.9", underlay(1), 17), udp(40000, PORT + 1), says(HONEST));
  await allDropped(OUTSIDE, tries, honest, ears[1] as Ear, ears);
});

test("an ICMP error about a flow through a service or a masquerade comes back translated, in both families; a forged one does not", async (t) => {
  translate(t, [b1, c2].flatMap(({ ipv4: to4, ipv6: to6 }, i) => [`ip daddr 10.96.0.${3 + i} udp dport 53 dnat ip to ${to4}:5353`, `ip6 daddr fd00:96::${3 + i} udp dport 53 dnat ip6 to [${to6}]:5353`]));
  const ear = await raw.hear(namespaceOf(a1));
  const hex = (address: string): string => Buffer.from(wireAddress(address)).toString("hex");
  // Port unreachable from whom the pod asked, and in the quote the pod and whom it asked: bytes from the addresses on.
  const isUnreachable4 = (heard: string, to: string): boolean => heard.startsWith(`${hex(to)}${hex(a1.ipv4)}0303`, 52) && heard.startsWith(hex(a1.ipv4) + hex(to), 108);
  const isUnreachable6 = (heard: string, to: string): boolean => heard.startsWith(`${hex(to)}${hex(a1.ipv6)}0104`, 44) && heard.startsWith(hex(a1.ipv6) + hex(to), 140);
  for (const to of ["10.96.0.3", "10.96.0.4", "192.0.2.9"]) {
    raw.send(namespaceOf(a1), [datagram(a1.ipv4, to, HONEST, 53)]);
    await ear.waitFor((heard) => isUnreachable4(heard, to), `port unreachable from ${to}`);
  }
  for (const to of ["fd00:96::3", "fd00:96::4", "2001:db8::9"]) {
    run("ip", "netns", "exec", namespaceOf(a1), "sh", "-c", `echo ${HONEST} | socat -u - 'UDP6-SENDTO:[${to}]:53'`);
    await ear.waitFor((heard) => isUnreachable6(heard, to), `port unreachable from ${to}`);
  }
  await lab.events(1);
  const error = frame(ethernet("02:00:00:00:01:12", "02:00:00:00:f1:12", 0x0800), ipv4(b1.ipv4, a1.ipv4, { protocol: 1 }), icmp(3, 3, 0), ipv4(a1.ipv4, b1.ipv4, { protocol: 17 }), udp(40001, 5353), says(FORGED));
  const honest = frame(ethernet("02:00:00:00:01:12", "02:00:00:00:f1:12", 0x0800), ipv4(b1.ipv4, a1.ipv4, { protocol: 17 }), udp(5, 6), says("after-the-error"));
  raw.send(namespaceOf(b1), [error, honest]);
  await ear.waitFor((heard) => heard.includes(Buffer.from("after-the-error").toString("hex")), "the datagram behind the error");
  assert.ok(!ear.has(FORGED));
  assert.deepEqual(await reasons(1), ["POLICY_DENIED"]);
});

test("a pod that asks its own service is answered", async (t) => {
  translate(t, [`ip daddr 10.96.0.5 tcp dport 80 dnat ip to ${a1.ipv4}:8080`], [`ip saddr ${a1.ipv4} ip daddr ${a1.ipv4} masquerade`]);
  lab.serve(a1, 8080);
  await lab.policy(a1, { ingress: [], egress: [{ peer: a1.identity, rule: 31 }] });
  t.after(async () => await lab.policy(a1, {}));
  assert.ok(lab.echo(a1, "10.96.0.5", 80));
  assert.ok(!lab.echo(a1, b1.ipv4, 8080));
});

test("a pod refuses router advertisements by itself too", () => {
  for (const pod of [a1, b1, c2]) assert.equal(run("ip", "netns", "exec", namespaceOf(pod), "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").trim(), "0");
});
