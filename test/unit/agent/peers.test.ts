import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import { EndpointRows } from "../../../src/agent/endpoint-rows.ts";
import type { EndpointObjectRow } from "../../../src/agent/endpoint-rows.ts";
import { decodePod, formatPorts, isPlacedAlike } from "../../../src/agent/objects.ts";
import { furtherAddresses } from "../../../src/agent/local-node.ts";
import { tunnelRoutes } from "../../../src/agent/node-routes.ts";
import { RemotePods } from "../../../src/agent/remote-pods.ts";
import { nodeTables } from "../../../src/agent/peers.ts";
import { reachingBy } from "../../../src/agent/reach.ts";
import type { Reaching } from "../../../src/agent/reach.ts";
import type { LocalNode, Place } from "../../../src/agent/peers.ts";
import type { CiliumNodeRow, RoutingStatus } from "../../../src/agent/objects.ts";
import { Identity, PEER_BARE, PEER_DIRECT, PEER_POD_CIDR, PEER_ROUTER, PEER_TUNNEL } from "../../../src/kernel/gen/types.ts";

const local: LocalNode = { name: "a", uid: "u", internalIps: ["192.168.0.1", "fd00::1"], routerIps: ["10.0.0.1"], podCidrs: ["10.0.0.0/24"] };
const other: CiliumNodeRow = { name: "b", internalIps: ["192.168.0.2", "fd00::2"], routerIps: ["10.0.1.1", "fd01:1::1"], podCidrs: ["10.0.1.0/24", "fd01:1::/64"] };
const endpoint = (more: Partial<EndpointObjectRow> = {}): EndpointObjectRow => ({
  key: "ns/p", identity: 300, ips: ["10.0.1.5"], nodeName: "b", written: 1, namedPorts: undefined, own: undefined, ...more,
});
const decodeEndpoint = (object: Parameters<EndpointRows["decode"]>[0], localNode: string) => new EndpointRows(localNode).decode(object);

function remotePods(localName: string, endpoints: readonly EndpointObjectRow[], places: ReadonlyMap<string, Place>) {
  const pods = new RemotePods(localName, () => undefined);
  pods.placed(places, () => []);
  for (const row of endpoints) pods.changed(row, undefined);
  return new Map([...pods.keys()].map((ip) => [ip, pods.get(ip)]));
}

describe("peers", () => {
  it("knows nodes, routers and pod CIDRs of both families", () => {
    const tables = nodeTables(local, [other, { ...other, name: "a", podCidrs: ["10.9.0.0/24"] }], reachingBy("tunnel"));
    assert.deepEqual(tables.peers.get("192.168.0.1"), { identity: Identity.HOST, node: undefined, flags: 0 });
    assert.deepEqual(tables.peers.get("10.0.0.1"), { identity: Identity.HOST, node: undefined, flags: PEER_ROUTER });
    assert.deepEqual(tables.peers.get("fd00::2"), { identity: Identity.REMOTE_NODE, node: undefined, flags: 0 });
    assert.deepEqual(tables.peers.get("fd01:1::1"), { identity: Identity.REMOTE_NODE, node: "192.168.0.2", flags: PEER_ROUTER | PEER_TUNNEL });
    assert.deepEqual(tables.cidrs.get("10.0.1.0/24"), { identity: 0, node: "192.168.0.2", flags: PEER_POD_CIDR | PEER_TUNNEL });
    assert.deepEqual(tables.cidrs.get("10.0.0.0/24"), { identity: 0, node: undefined, flags: PEER_POD_CIDR });
    assert.equal(tables.cidrs.has("10.9.0.0/24"), false, "the own object is not asked");
    assert.deepEqual(tables.nodes.get("192.168.0.2"), { address: "192.168.0.2", routerIpv4: "10.0.1.1", routerIpv6: "fd01:1::1" });
    assert.deepEqual(tables.nodes.get("fd00::2"), tables.nodes.get("192.168.0.2"), "whichever of its addresses it sends from, its pods are the same");
    assert.equal(tables.nodes.has("192.168.0.1"), false);
  });

  it("knows that the underlay's routes lead to the others' pods, and by which address", () => {
    const tables = nodeTables(local, [other], reachingBy("native"));
    assert.deepEqual(tables.cidrs.get("10.0.1.0/24"), { identity: 0, node: "192.168.0.2", flags: PEER_POD_CIDR | PEER_DIRECT }, "what still comes through the tunnel is believed");
    assert.deepEqual(tables.peers.get("10.0.1.1"), { identity: Identity.REMOTE_NODE, node: "192.168.0.2", flags: PEER_ROUTER | PEER_DIRECT });
    assert.deepEqual(remotePods("a", [endpoint()], tables.places).get("10.0.1.5"), { identity: 300, node: "192.168.0.2", flags: PEER_DIRECT });
    assert.deepEqual(tables.remoteCidrs, [{ cidr: "10.0.1.0/24", nodeName: "b", nodeIp: "192.168.0.2", tunnelIp: "192.168.0.2", mode: undefined }, { cidr: "fd01:1::/64", nodeName: "b", nodeIp: "fd00::2", tunnelIp: "192.168.0.2", mode: undefined }]);
  });

  it("while nodes change over each is sent to by its own way, and believed both ways where this node routes without a tunnel or did a moment ago", () => {
    const flags = (reaching: Reaching, mode?: RoutingStatus["mode"]): number | undefined => nodeTables(local, [{ ...other, ...(mode === undefined ? {} : { routing: { settings: "", mode } }) }], reaching).cidrs.get("10.0.1.0/24")?.flags;
    const through = PEER_POD_CIDR | PEER_TUNNEL;
    assert.equal(flags(reachingBy("native", new Map([["b", "tunnel"]])), "Tunnel"), through | PEER_BARE);
    assert.equal(flags(reachingBy("auto", new Map([["b", "direct"]])), "Auto"), PEER_POD_CIDR | PEER_DIRECT);
    assert.equal(flags(reachingBy("auto"), "Auto"), through | PEER_BARE, "whose way is not known yet");
    assert.equal(flags(reachingBy("native", new Map([["b", "tunnel"]]), false, new Set(["b"])), "Tunnel"), through, "it has said for long that it sends by the tunnel");
    for (const mode of ["Native", "Auto"] as const) {
      assert.equal(flags(reachingBy("tunnel", new Map(), true), mode), through | PEER_BARE);
      assert.equal(flags(reachingBy("tunnel", new Map(), false), mode), through, "it has heard by now");
    }
    assert.equal(flags(reachingBy("tunnel", new Map(), true), "Tunnel"), through, "a node that has a tunnel sends nothing without");
    assert.equal(flags(reachingBy("tunnel", new Map(), true)), through);
  });

  it("knows the node by every address of its underlay devices, but not by what services bring there", () => {
    const at = (address: string, prefix: number, scope = "global") => ({ address, prefix, scope });
    const underlay = [
      { addresses: [at("192.168.0.1", 24), at("192.168.0.100", 32), at("fe80::1", 64, "link")] },
      { addresses: [at("172.20.0.1", 16), at("fd77::1", 64), at("fd77::100", 128)] },
    ];
    const deviceIps = furtherAddresses(underlay, local.internalIps);
    assert.deepEqual(deviceIps, ["172.20.0.1", "fd77::1"]);
    const { peers, nodes } = nodeTables({ ...local, deviceIps }, [{ ...other, internalIps: ["192.168.0.2", "172.20.0.1"] }], reachingBy("tunnel"));
    assert.deepEqual(peers.get("172.20.0.1"), { identity: Identity.HOST, node: undefined, flags: 0 });
    assert.equal(nodes.has("172.20.0.1"), false, "whatever another node's object claims");
  });

  it("the addresses of ten thousand services on a device are not held against each of thousands of blocks: all else would wait", () => {
    const guestIps = Array.from({ length: 10_000 }, (_, index) => `10.250.${index >> 8}.${index & 255}`);
    const others = Array.from({ length: 5_000 }, (_, index): CiliumNodeRow => ({ name: `n${index}`, internalIps: [`172.20.${index >> 8}.${index & 255}`], routerIps: [], podCidrs: [`10.${100 + (index >> 8)}.${index & 255}.0/24`] }));
    const start = performance.now();
    const { peers } = nodeTables({ ...local, guestIps: [...guestIps, "10.100.7.7"] }, others, reachingBy("tunnel"));
    assert.ok(performance.now() - start < 10_000, "not each with each, 50 million times");
    assert.deepEqual([guestIps.every((ip) => peers.has(ip)), peers.has("10.100.7.7")], [true, false]);
  });

  it("a node without an address of the tunnel's family is named, and its pods are nobody's: never the world", () => {
    const tables = nodeTables(local, [{ ...other, internalIps: ["fd00::2"] }], reachingBy("tunnel"));
    assert.deepEqual(tables.cidrs.get("10.0.1.0/24"), { identity: Identity.UNKNOWN, node: undefined, flags: PEER_POD_CIDR | PEER_TUNNEL });
    assert.equal(tables.nodes.size, 0, "no tunnel of it is believed");
    const { routes, failures } = tunnelRoutes(tables.remoteCidrs, () => undefined, 1450);
    assert.equal(routes.length, 2, "they lead to the program that drops and says so");
    assert.match(failures.join(), /no tunnel to 10\.0\.1\.0\/24 of b: that node has no InternalIP of the family/);
    assert.deepEqual(tunnelRoutes(nodeTables({ ...local, internalIps: ["fd00::1"] }, [{ ...other, internalIps: ["fd00::2"] }], reachingBy("tunnel")).remoteCidrs, () => undefined, 1430).failures, []);
  });

  it("knows the API server wherever it runs: on another node under all its addresses, on this one, outside", () => {
    const known = (...apiServers: string[]) => nodeTables(local, [other], reachingBy("tunnel"), apiServers);
    const there = known("192.168.0.2");
    for (const ip of ["192.168.0.2", "fd00::2", "10.0.1.1", "fd01:1::1"]) assert.equal(there.peers.get(ip)?.identity, Identity.KUBE_APISERVER, ip);
    assert.deepEqual(there.peers.get("10.0.1.1"), { identity: Identity.KUBE_APISERVER, node: "192.168.0.2", flags: PEER_ROUTER | PEER_TUNNEL });
    assert.equal(there.peers.get("192.168.0.1")?.identity, Identity.HOST);
    const here = known("fd00::1");
    assert.equal(here.peers.get("192.168.0.1")?.identity, Identity.HOST);
    assert.deepEqual(here.labels.get(Identity.HOST), ["reserved:host", "reserved:kube-apiserver"]);
    assert.equal(there.labels.has(Identity.HOST), false);
    const outside = known("203.0.113.5", "2001:db8::5");
    for (const [ip, family] of [["203.0.113.5", "world-ipv4"], ["2001:db8::5", "world-ipv6"]] as const) {
      const row = outside.peers.get(ip);
      assert.deepEqual(outside.labels.get(row?.identity ?? 0), ["reserved:kube-apiserver", "reserved:world", `reserved:${family}`]);
      assert.equal(row?.flags, 0);
    }
    assert.deepEqual([...known("10.0.0.9", "10.0.1.9", "fd01:1::9").peers.keys()].filter((ip) => ip.endsWith("9")), [], "no pod's address");
  });

  it("does not let another node's object take over what is ours", () => {
    const tables = nodeTables(local, [{ ...other, internalIps: ["192.168.0.2", "192.168.0.1"], routerIps: ["10.0.0.1"], podCidrs: ["10.0.0.0/24"] }], reachingBy("tunnel"));
    assert.equal(tables.peers.get("192.168.0.1")?.identity, Identity.HOST);
    assert.equal(tables.peers.get("10.0.0.1")?.node, undefined);
    assert.equal(tables.cidrs.get("10.0.0.0/24")?.node, undefined);
    assert.equal(tables.nodes.has("192.168.0.1"), false);
  });

  it("of one block that two nodes claim the first by name has it, this node its own; the other is told, and nothing of it is believed", () => {
    const twin: CiliumNodeRow = { name: "c", internalIps: ["192.168.0.3"], routerIps: ["10.0.1.1"], podCidrs: ["10.0.1.0/24", "10.0.5.0/24"] };
    for (const order of [[other, twin], [twin, other]]) {
      const tables = nodeTables(local, order, reachingBy("tunnel"));
      assert.equal(tables.cidrs.get("10.0.1.0/24")?.node, "192.168.0.2");
      assert.equal(tables.peers.get("10.0.1.1")?.node, "192.168.0.2");
      assert.deepEqual(tables.remoteCidrs.filter(({ nodeName }) => nodeName === "c").map(({ cidr }) => cidr), ["10.0.5.0/24"], "its other one is its own");
      assert.equal(remotePods("a", [endpoint({ nodeName: "c" })], tables.places).size, 0);
      assert.deepEqual(tables.refusedCidrs, ["c: its pod CIDR 10.0.1.0/24 is refused, as b has 10.0.1.0/24"]);
    }
    const refused = (...podCidrs: string[]): readonly string[] => nodeTables(local, [other, { ...twin, routerIps: [], podCidrs }], reachingBy("native")).refusedCidrs;
    assert.deepEqual(refused("10.0.1.128/25", "10.0.0.0/16", "10.0.0.0/24").map((text) => text.replace(/.* as /, "")), ["b has 10.0.1.0/24", "a has 10.0.0.0/24", "a has 10.0.0.0/24"], "also a part of it, or more than it");
    assert.deepEqual(refused("10.0.2.0/24", "10.0.2.0/25", "fd01:2::/64"), [], "a node's own blocks are its own");
    assert.deepEqual(refused("10.0.2.0/25", "10.0.2.128/25", "10.0.2.0/24", "10.0.2.64/26", "::/0").map((text) => text.replace(/.* as /, "")), ["b has fd01:1::/64"], "in whichever order, and the families are two spaces");
  });

  it("tells what a node says of its encryption from where its pods are", () => {
    assert.ok(isPlacedAlike({ ...other, keys: { publicKey: "k" }, encryption: { phase: "Confirmed", device: "Kernel", peers: 3 } }, other));
    assert.ok(!isPlacedAlike({ ...other, podCidrs: [] }, other) && !isPlacedAlike(undefined, other) && !isPlacedAlike({ ...other, routerIps: [] }, other) && !isPlacedAlike({ ...other, internalIps: [] }, other));
    const routed = (mode: RoutingStatus["mode"], message?: string): CiliumNodeRow => ({ ...other, routing: { settings: "", mode, ...(message === undefined ? {} : { message }) } });
    assert.ok(isPlacedAlike(routed("Native", "a route is missing"), routed("Native")) && !isPlacedAlike(routed("Native"), routed("Tunnel")), "by which way it may be reached");
  });

  it("survives a node object with nonsense in it", () => {
    const tables = nodeTables(local, [{ name: "c", internalIps: ["192.168.0.3", "x"], routerIps: ["y"], podCidrs: ["z", "10.0.3.1/24", "10.0.4.0/24"] }, { name: "d", internalIps: [], routerIps: [], podCidrs: [] }], reachingBy("tunnel"));
    assert.deepEqual([...tables.cidrs.keys()].sort(), ["10.0.0.0/24", "10.0.4.0/24"]);
    assert.equal(tables.peers.has("x"), false);
  });

  it("believes a pod's address only inside the pod CIDRs of its node", () => {
    const { places } = nodeTables(local, [other], reachingBy("tunnel"));
    const pods = remotePods("a", [endpoint({ ips: ["10.0.1.5", "10.0.0.7", "192.168.0.2", "8.8.8.8", "junk", "fd01:1::5"] })], places);
    assert.deepEqual([...pods.keys()].sort(), ["10.0.1.5", "fd01:1::5"]);
    assert.deepEqual(pods.get("10.0.1.5"), { identity: 300, node: "192.168.0.2", flags: PEER_TUNNEL });
    assert.equal(remotePods("a", [endpoint({ nodeName: "unknown" }), endpoint({ nodeName: "a" }), endpoint({ identity: 0 })], places).size, 0);
  });

  it("believes a router's address only inside the pod CIDRs of its node", () => {
    const { peers, nodes } = nodeTables(local, [{ ...other, routerIps: ["10.0.2.1", "8.8.8.8", "10.0.0.9", "fd01:2::1"] }], reachingBy("tunnel"));
    for (const ip of ["10.0.2.1", "8.8.8.8", "10.0.0.9", "fd01:2::1"]) assert.equal(peers.has(ip), false, ip);
    assert.deepEqual(nodes.get("192.168.0.2"), { address: "192.168.0.2", routerIpv4: undefined, routerIpv6: undefined });
  });

  it("knows what a pod calls its ports, from its containers and sidecars to the other nodes", () => {
    const spec = {
      containers: [{ ports: [{ name: "http", containerPort: 80 }, { containerPort: 81 }] }, { ports: [{ name: "http", containerPort: 90 }, { name: "dns", containerPort: 53, protocol: "UDP" }] }],
      initContainers: [{ ports: [{ name: "once", containerPort: 1 }] }, { restartPolicy: "Always", ports: [{ name: "admin", containerPort: 9000, protocol: "SCTP" }] }],
    };
    const { namedPorts = [] } = decodePod({ metadata: { name: "p", namespace: "ns" }, spec });
    assert.deepEqual(namedPorts, [{ name: "admin", port: 9000, protocol: 132 }, { name: "dns", port: 53, protocol: 17 }, { name: "http", port: 80, protocol: 6 }]);
    const status = { id: 1, state: "ready" as const, identity: { id: 300 }, "named-ports": formatPorts(namedPorts), networking: { addressing: [{ ipv4: "10.0.1.5" }], node: "192.168.0.2", nodeName: "b" } };
    const row = decodeEndpoint({ metadata: { name: "p", namespace: "ns" }, status }, "a");
    assert.ok(row);
    assert.deepEqual(remotePods("a", [row], nodeTables(local, [other], reachingBy("tunnel")).places).get("10.0.1.5")?.namedPorts, namedPorts);
    assert.equal("namedPorts" in decodePod({ metadata: { name: "p", namespace: "ns" }, spec: { containers: [{}] } }), false);
  });

  it("takes the later written of two objects with one address, in any order", () => {
    const { places } = nodeTables(local, [other], reachingBy("tunnel"));
    const young = endpoint({ key: "ns/new", identity: 400, written: 2 });
    for (const list of [[endpoint(), young], [young, endpoint()]]) assert.equal(remotePods("a", list, places).get("10.0.1.5")?.identity, 400);
  });

  it("believes a pod whose sandbox was made anew with the address of a pod that is gone", () => {
    const { places } = nodeTables(local, [other], reachingBy("tunnel"));
    const object = (name: string, id: number, created: string, written: string) => ({
      metadata: { name, namespace: "ns", creationTimestamp: created, managedFields: [{ time: created }, { time: written }] },
      status: { id: 1, state: "ready" as const, identity: { id, labels: [] }, networking: { addressing: [{ ipv4: "10.0.1.5" }], node: "192.168.0.2", nodeName: "b" } },
    });
    const gone = object("gone", 300, "2026-01-02T00:00:00Z", "2026-01-02T00:00:01Z");
    const anew = object("anew", 400, "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
    for (const list of [[gone, anew], [anew, gone]]) {
      const rows = list.flatMap((item) => decodeEndpoint(item, "a") ?? []);
      assert.equal(remotePods("a", rows, places).get("10.0.1.5")?.identity, 400);
    }
  });
});
