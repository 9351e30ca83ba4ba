/** Bytes as the programs and the agent write them → what a person reads. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { MAP_TABLES, OVERVIEW, TABLES } from "../../../src/inspect/index.ts";
import * as types from "../../../src/kernel/gen/types.ts";
import { isLent } from "../../../src/kernel/lent.ts";
import { parseAddress, parseCidr } from "../../../src/lib/ip.ts";
import { ALLOW, CLOSED, NOW_NS, TestMap, cells, rowsOf, u32 } from "./facts.ts";

const NOW_S = Number(NOW_NS / 1_000_000_000n);
const flows = (): TestMap => new TestMap("flows", types.flowKeyCodec.size, types.flowStateCodec.size);
const flow = { sourceGeneration: 1, destinationGeneration: 1, egressRule: 0, quota: 0, moved: 0, bytes: 4000n };
const subjects = (): TestMap => new TestMap("subjects", 4, types.subjectCodec.size).put(u32, 1, types.subjectCodec, {
  ruleSet: 5, generation: 9, owner: 300, ingressDefault: CLOSED, egressDefault: 0, ingressPorts: 1 << 16, egressPorts: 0, ingressEnforced: 1, egressEnforced: 0, flags: types.SUBJECT_INGRESS_BLOCKS, audit: 0,
});

describe("connections", () => {
  test("who opened them, their state, their rules with the policy, counters beyond 2^53 exact", async () => {
    const map = flows().put(types.flowKeyCodec, { low: parseAddress("10.0.0.2"), high: parseAddress("10.0.0.3"), lowPort: 8080, highPort: 50_000, protocol: 6, zone: 0 }, types.flowStateCodec, {
      ...flow, expires: NOW_S + 7200, flags: types.CT_REPLIED | types.CT_CONFIRMED | types.CT_VIA_STACK, sourceIdentity: 300, destinationIdentity: 301, ingressRule: ALLOW, packets: 2n ** 53n + 1n,
    });
    const rows = await rowsOf("ct", map);
    assert.equal(rows[0]?.["packets"], "9007199254740993");
    assert.deepEqual(cells("ct", rows), [{
      PROTOCOL: "TCP", SOURCE: "production/api-1 (10.0.0.3:50000)", DESTINATION: "production/frontend-1 (10.0.0.2:8080)", STATE: "established", EXPIRES: "2h",
      PACKETS: "9007199254740993", BYTES: "4000", "EGRESS BY": "-", "INGRESS BY": "CiliumNetworkPolicy production/allow-frontend spec.ingress[0].toPorts[0]",
    }]);
    assert.deepEqual(rows[0]?.["flags"], ["via-stack", "replied", "confirmed"]);
  });

  test("each state has its word; what is over says 0 s", async () => {
    const states = [[0, "opening"], [types.CT_REPLIED, "answered"], [types.CT_FIN_OPENER | types.CT_REPLIED, "half-closed"], [types.CT_CLOSING, "closing"], [types.CT_REVOKED | types.CT_CONFIRMED, "revoked"]] as const;
    const map = flows();
    states.forEach(([flags], index) => map.put(types.flowKeyCodec, { low: parseAddress("10.0.0.2"), high: parseAddress("2001:db8::1"), lowPort: index, highPort: 53, protocol: 17, zone: types.FlowZone.PRE_NAT }, types.flowStateCodec, {
      ...flow, expires: NOW_S - 1, flags: flags | types.CT_FROM_LOW, sourceIdentity: 301, destinationIdentity: types.Identity.WORLD_IPV6, ingressRule: 0, packets: 1n,
    }));
    const read = cells("ct", await rowsOf("ct", map));
    assert.deepEqual(read.map((row) => row["STATE"]), states.map(([, word]) => `${word}, before translation`));
    assert.deepEqual([...new Set(read.map((row) => `${row["PROTOCOL"]} ${row["DESTINATION"]} ${row["EXPIRES"]}`))], ["UDP world-ipv6 ([2001:db8::1]:53) 0s"]);
  });

  test("of ICMP the type is told, the identifier is no port of the destination", async () => {
    const map = flows().put(types.flowKeyCodec, { low: parseAddress("10.0.0.2"), high: parseAddress("10.0.0.3"), lowPort: 77, highPort: 8, protocol: 1, zone: 0 }, types.flowStateCodec, {
      ...flow, expires: NOW_S + 30, flags: types.CT_FROM_LOW, sourceIdentity: 301, destinationIdentity: 300, ingressRule: 99, packets: 1n,
    });
    const [row] = cells("ct", await rowsOf("ct", map));
    assert.equal(`${row?.["PROTOCOL"]}; ${row?.["SOURCE"]}; ${row?.["DESTINATION"]}; ${row?.["INGRESS BY"]}`, "ICMPv4 type 8; production/frontend-1 (10.0.0.2:77); production/api-1 (10.0.0.3); rule 99");
  });
});

describe("policy", () => {
  const key = { tier: types.Tier.POLICIES, ruleSet: 5, direction: types.Direction.INGRESS, protocol: 6, port: 8080, portPrefix: 16 };
  const entry = { precedence: 1000, rule: ALLOW, proxyPort: 0, verdict: types.Verdict.ALLOW };
  const policy = (): TestMap => new TestMap("policy", types.policyKeyCodec.size, types.policyEntryCodec.size);

  test("an entry: whose, whom, which port, which verdict, and the rule of which policy", async () => {
    const map = policy().put(types.policyKeyCodec, { ...key, peer: 301 }, types.policyEntryCodec, entry);
    assert.deepEqual(cells("policy", await rowsOf("policy", map, subjects())), [{
      "RULE SET": "5", "OF IDENTITY": "300", DIRECTION: "ingress", TIER: "policies", VERDICT: "allow", PORT: "TCP 8080", PRECEDENCE: "1000",
      BY: "CiliumNetworkPolicy production/allow-frontend spec.ingress[0].toPorts[0]", PEER: "301 (k8s:app=frontend)",
    }]);
  });

  test("every kind of peer and of port has words", async () => {
    const map = policy();
    const put = (over: Partial<types.PolicyKey>): TestMap => map.put(types.policyKeyCodec, { ...key, peer: 0, ...over }, types.policyEntryCodec, entry);
    put({ protocol: 0, port: 0, portPrefix: 0 });
    put({ peer: types.CLASS_BLOCKS + 2, protocol: 17, port: 8000, portPrefix: 14 });
    put({ peer: types.CLASS_PORTS + 1, protocol: 58, port: 128 });
    put({ peer: types.Identity.HOST, protocol: 132, port: 0, portPrefix: 0 });
    const address = parseCidr("10.9.0.0/16");
    const blocks = new TestMap("blocks", types.blockKeyCodec.size, types.blockCodec.size).put(types.blockKeyCodec, { ruleSet: 5, prefix: 32 + address.prefix, address: address.address }, types.blockCodec, { world: types.CLASS_BLOCKS + 2, node: 0, pod: types.CLASS_BLOCKS });
    assert.deepEqual(cells("policy", await rowsOf("policy", map, blocks)).map((row) => `${row["PEER"]}: ${row["PORT"]}`), [
      "any: any", "addresses 10.9.0.0/16: UDP 8000-8003", "300 (k8s:app=api) with http=8080/TCP: ICMPv6 type 128", "1 (reserved:host): SCTP",
    ]);
    const [row] = cells("block", await rowsOf("block", blocks, subjects()));
    assert.deepEqual(row, { "RULE SET": "5", "OF IDENTITY": "300", CIDR: "10.9.0.0/16", "CLASS OF WORLD": "2", "OF NODES": "-", "OF PODS": "0" });
  });

  test("a subject: what holds for a packet that no rule means, and by which policies", async () => {
    const [row] = cells("subject", await rowsOf("subject", subjects()));
    assert.deepEqual([row?.["IDENTITY"], row?.["RULE SET"], row?.["INGRESS"], row?.["EGRESS"], row?.["INGRESS CLOSED BY"], row?.["LABELS"]], ["300", "5", "closed", "open", "default deny of CiliumNetworkPolicy production/allow-frontend", "k8s:app=api"]);
  });
});

describe("addresses", () => {
  const peer = { identity: 301, flags: types.PEER_TUNNEL, ports: types.CLASS_PORTS + 1, node: parseAddress("192.0.2.9") };

  test("ipcache and cidr: identity, name, tunnel and named ports", async () => {
    const ipcache = new TestMap("ipcache", 16, types.peerCodec.size).put(types.addressCodec, { bytes: parseAddress("10.0.0.2") }, types.peerCodec, peer);
    assert.deepEqual(cells("ipcache", await rowsOf("ipcache", ipcache)), [{ ADDRESS: "10.0.0.2", NAME: "production/frontend-1", IDENTITY: "301", "TUNNEL TO": "192.0.2.9", FLAGS: "tunnel", "NAMED PORTS": "http=8080/TCP", LABELS: "k8s:app=frontend" }]);
    const cidrs = new TestMap("cidrs", types.cidrKeyCodec.size, types.peerCodec.size).put(types.cidrKeyCodec, parseCidr("fd00:1::/64"), types.peerCodec, { ...peer, identity: 0, ports: 0, flags: types.PEER_POD_CIDR | types.PEER_DIRECT, node: new Uint8Array(16) });
    assert.deepEqual(cells("cidr", await rowsOf("cidr", cidrs)), [{ CIDR: "fd00:1::/64", IDENTITY: "0", "TUNNEL TO": "-", FLAGS: "pod-cidr,direct", "NAMED PORTS": "-", LABELS: "-" }]);
  });

  test("endpoints and interfaces: the pod, its device and whether it is open; nodes and underlays by name", async () => {
    const value = { ifindex: 12, identity: 300, subject: 1, ports: 0, id: 4, mtu: 1450, flags: types.ENDPOINT_READY, mac: Uint8Array.of(2, 0, 0, 0, 0, 1), hostMac: Uint8Array.of(2, 0, 0, 0, 0, 2), ipv4: parseAddress("10.0.0.3"), ipv6: new Uint8Array(16) };
    const endpoints = new TestMap("endpoints", 16, types.endpointCodec.size).put(types.addressCodec, { bytes: value.ipv4 }, types.endpointCodec, value);
    const [row] = cells("endpoint", await rowsOf("endpoint", endpoints));
    assert.deepEqual([row?.["ADDRESS"], row?.["POD"], row?.["STATE"], row?.["DEVICE"], row?.["MAC"]], ["10.0.0.3", "production/api-1", "ready", "lxc00000000 (12)", "02:00:00:00:00:01"]);
    const interfaces = new TestMap("interfaces", 4, types.endpointCodec.size).put(u32, 13, types.endpointCodec, { ...value, id: 5, ifindex: 13, flags: 0 });
    const [closed] = cells("interface", await rowsOf("interface", interfaces));
    assert.deepEqual([closed?.["POD"], closed?.["STATE"], closed?.["DEVICE"], closed?.["IPV4"], closed?.["IPV6"]], ["-", "closed", "13", "10.0.0.3", "-"]);
    const nodes = new TestMap("nodes", 16, types.nodeCodec.size).put(types.addressCodec, { bytes: parseAddress("192.0.2.9") }, types.nodeCodec, { routerIpv4: parseAddress("10.0.2.1"), routerIpv6: new Uint8Array(16), address: parseAddress("192.0.2.9") });
    assert.deepEqual(cells("node", await rowsOf("node", nodes)), [{ ADDRESS: "192.0.2.9", NAME: "node-2", "KNOWN AS": "192.0.2.9", ROUTERS: "10.0.2.1" }]);
    assert.deepEqual(cells("underlay", await rowsOf("underlay", new TestMap("underlays", 4, 4).put(u32, 12, u32, 1))), [{ IFINDEX: "12", DEVICE: "lxc00000000" }]);
  });
});

describe("counters and what else the programs keep", () => {
  test("metrics: reasons in words, all CPUs together, exact", async () => {
    const map = new TestMap("metrics", types.metricKeyCodec.size, 2 * types.metricCodec.size, 5)
      .put(types.metricKeyCodec, { reason: 0, direction: 0 }, types.metricCodec, { packets: 2n ** 53n, bytes: 1n }, { packets: 1n, bytes: 2n })
      .put(types.metricKeyCodec, { reason: types.DropReason.FLOW_QUOTA, direction: 1 }, types.metricCodec, { packets: 1n, bytes: 1n }, { packets: 0n, bytes: 0n })
      .put(types.metricKeyCodec, { reason: types.METRIC_LOST_EVENTS, direction: 1 }, types.metricCodec, { packets: 3n, bytes: 0n }, { packets: 0n, bytes: 0n });
    assert.deepEqual(await rowsOf("metrics", map), [
      { reason: "forwarded", direction: "ingress", packets: "9007199254740993", bytes: "3" },
      { reason: "flow-quota", direction: "egress", packets: "1", bytes: "1" },
      { reason: "events-lost", direction: "egress", packets: "3", bytes: "0" },
    ]);
  });

  test("quotas: only who owes, until when; fragments with their ports; hooks that have a program", async () => {
    const quotas = new TestMap("quotas", 4, 8, 2).put(u32, 8, types.quotaCodec, { paidNs: NOW_NS - 1n }).put(u32, 9, types.quotaCodec, { paidNs: NOW_NS + 1_500_000_000n });
    assert.deepEqual(await rowsOf("quota", quotas), [{ endpoint: 4, pod: "production/api-1", direction: "egress", paidInSeconds: 1.5 }]);
    const budgets = new TestMap("event_budgets", 4, 8, 2).put(u32, 1, types.quotaCodec, { paidNs: NOW_NS + 250_000_000n });
    assert.deepEqual(await rowsOf("event-budget", budgets), [{ endpoint: 0, pod: undefined, kind: "drop", paidInSeconds: 0.25 }]);
    assert.deepEqual(await rowsOf("encryption", new TestMap("encryption", 4, 4, 2).put(u32, 0, u32, 1)), [{ inForce: true, inForceOnReceipt: false }]);
    assert.deepEqual(await rowsOf("encryption", new TestMap("encryption", 4, 4, 2).put(u32, 0, u32, 3)), [{ inForce: true, inForceOnReceipt: true }]);
    assert.deepEqual(await rowsOf("host", new TestMap("host", 4, types.hostCodec.size, 2).put(u32, 0, types.hostCodec, { subject: 3, flags: types.HOST_TRACKED })), [{ tracked: true, slot: 3 }]);
    const fragments = new TestMap("fragments", types.fragmentKeyCodec.size, types.fragmentPortsCodec.size).put(types.fragmentKeyCodec, { source: parseAddress("10.0.0.2"), destination: parseAddress("10.0.0.3"), id: 0x1234, protocol: 17 }, types.fragmentPortsCodec, { sourcePort: 5, destinationPort: 53 });
    assert.deepEqual(await rowsOf("fragment", fragments), [{ protocol: "UDP", source: "10.0.0.2", destination: "10.0.0.3", id: 0x1234, sourcePort: 5, destinationPort: 53 }]);
    assert.deepEqual(await rowsOf("hook", new TestMap("hooks", 4, 4, 3).put(u32, types.Hook.FROM_NETDEV, u32, 812).put(u32, 20, u32, 0)), [{ hook: "from_netdev", program: 812 }]);
  });

  test("the list of maps: entries, limit, fill, and the command that shows each", async () => {
    const rows = await rowsOf("maps", new TestMap("flows", types.flowKeyCodec.size, types.flowStateCodec.size, 1, 8).put(types.flowKeyCodec, { low: parseAddress("1.1.1.1"), high: parseAddress("1.1.1.2"), lowPort: 1, highPort: 2, protocol: 6, zone: 0 }, types.flowStateCodec, { ...flow, expires: 1, flags: 0, sourceIdentity: 1, destinationIdentity: 1, ingressRule: 0, packets: 1n }), new TestMap("events", 4, 4, 27, 4096), new TestMap("rule_hits", 4, 24, 5, 8), new TestMap("quotas", 4, 8, 2, 8));
    assert.deepEqual(cells(OVERVIEW.name, rows), [
      { MAP: "events", TYPE: "ringbuf", ENTRIES: "-", LIMIT: "4096 bytes", FILL: "-", COMMAND: "-" },
      { MAP: "flows", TYPE: "hash", ENTRIES: "1", LIMIT: "8", FILL: "12.5%", COMMAND: "cilium bpf ct list" },
      { MAP: "quotas", TYPE: "array", ENTRIES: "-", LIMIT: "8", FILL: "-", COMMAND: "cilium bpf quota list" },
      { MAP: "rule_hits", TYPE: "percpu-hash", ENTRIES: "0", LIMIT: "8", FILL: "0%", COMMAND: "cilium policy stats" },
    ]);
  });

  /** What is lent is there for the moment of a take-over. */
  test("every map that the programs keep has a table, and every table its own name", () => {
    const declared = [...readFileSync(join(import.meta.dirname, "../../../bpf/lib/maps.h"), "utf8").matchAll(/^\} (\w+) SEC\("\.maps"\);/gm)].map(([, name]) => name);
    const shown = [...TABLES.values()].map(({ map }) => map);
    assert.deepEqual(declared.filter((name = "") => name !== "events" && !isLent(name) && !shown.includes(name)), []);
    assert.equal(new Set(MAP_TABLES.map(({ name }) => name)).size, MAP_TABLES.length);
  });
});
