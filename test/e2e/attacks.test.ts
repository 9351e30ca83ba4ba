/**
 * Forgers on the cluster: a pod that may use raw sockets, and a machine beside the nodes. What counts is what came in on
 * the victims' links; nobody's policy helps, for there is none. Each drop has its own reason in `cilium monitor`.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { arp, ethernet, frame, udp } from "../bpf/lib/packet.ts";
import { datagram, etherType, ip, linkMessage, vxlan, type Macs } from "../node/datapath/forge.ts";
import { Raw, type Ear } from "../node/datapath/raw.ts";
import { get, must, namespace, node, readyCluster, waitFor } from "./harness/cluster.ts";
import { nodeSite, plugInOutside } from "./harness/outside.ts";
import { createPods, type Pod, type Site } from "./harness/pods.ts";
import { monitor, type Monitor } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("attacks");
const outside = await plugInOutside(208);
const raw = new Raw();
const [TUNNEL_PORT, PORT] = [8472, 9090];
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const word = (what: string): string => `${what}-${Math.random().toString(36).slice(2, 10)}`;
const FORGED = word("forged");
let [forger, near, far]: Pod[] = [];
let ears: readonly Ear[] = [];
let watching: Monitor;

type Try = readonly [reason: string, packet: Uint8Array];

before(async () => {
  const pods = await createPods(ns.name, [{ name: "forger", node: 1 }, { name: "near", node: 1 }, { name: "far", node: 2 }]);
  [forger, near, far] = ["forger", "near", "far"].map((name) => pods[name]) as [Pod, Pod, Pod];
  ears = await Promise.all([near, far].map((pod) => raw.hear((pod as Pod).enter)));
  watching = monitor(ns.name, "--type", "drop");
  const { mac, hostMac } = await macsOf(forger);
  await waitFor("a drop in cilium monitor", async () => {
    raw.send((forger as Pod).enter, [datagram({ mac, hostMac }, (near as Pod).ipv4, (far as Pod).ipv4, FORGED, PORT)]);
    return watching.events()[0];
  }, async () => "none");
}, { timeout: 300_000 });
after(async () => {
  watching.close();
  raw.close();
  await Promise.all([ns.remove(), outside.remove()]);
});

async function macOf(site: Site): Promise<string> {
  const [link] = JSON.parse(await must([...site.enter, "ip", "-json", "link", "show", "eth0"])) as { address: string }[];
  return link?.address ?? assert.fail(`${site.name} has no eth0`);
}

/** Of a pod: its own, and the gateway's that its neighbour table has. */
async function macsOf(pod: Site): Promise<Macs> {
  const neighbours = JSON.parse(await must([...pod.enter, "ip", "-json", "neigh", "show", "dev", "eth0"])) as { lladdr?: string }[];
  return { mac: await macOf(pod), hostMac: neighbours.find(({ lladdr }) => lladdr !== undefined)?.lladdr ?? assert.fail(`${pod.name} knows no gateway`) };
}

const counts = (reasons: readonly string[]): Record<string, number> => Object.fromEntries([...new Set(reasons)].sort().map((reason) => [reason, reasons.filter((each) => each === reason).length]));

/** Every packet ends under its reason; the honest ones behind them arrive at each victim, and nothing forged does. */
async function allDropped(from: Site, tries: readonly Try[], honest: readonly (readonly [Site, Uint8Array])[], said: string): Promise<void> {
  const seen = watching.events().length;
  raw.send(from.enter, tries.map(([, packet]) => packet));
  const speak = (): void => { for (const [site, packet] of honest) raw.send(site.enter, [packet]); };
  speak();
  // A datagram may be lost.
  const again = setInterval(speak, 2000);
  try {
    for (const ear of ears) await ear.waitFor((heard) => heard.includes(Buffer.from(said).toString("hex")), said);
  } finally {
    clearInterval(again);
  }
  const expected = counts(tries.map(([reason]) => reason));
  const told = (): Record<string, number> => counts(watching.events().slice(seen).map(({ reason }) => reason ?? ""));
  await waitFor(`drops for ${JSON.stringify(expected)}`, async () => {
    const now = told();
    return Object.entries(expected).every(([reason, count]) => (now[reason] ?? 0) >= count) ? true : undefined;
  }, async () => JSON.stringify(told()));
  for (const ear of ears) assert.ok(!ear.has(FORGED), `a victim heard ${ear.heard.join("\n")}`);
}

async function identityOf(pod: Pod): Promise<number> {
  return (await get<{ status: { identity: { id: number } } }>("cep", pod.name, "-n", ns.name)).status.identity.id;
}

describe("forgers", () => {
  test("a pod with raw sockets passes for nobody else: not by address, MAC, ARP, ND, RA or DHCP", async () => {
    const [self, beside, away] = [forger, near, far] as [Pod, Pod, Pod];
    const macs = await macsOf(self);
    const tries: Try[] = [];
    for (const [from, to] of [[beside, away], [away, beside]] as const) for (const [index, source] of from.addresses.entries()) tries.push(["invalid-source-ip", datagram(macs, source, to.addresses[index] ?? "", FORGED, PORT)]);
    for (const source of [node(1).ipv4, node(2).ipv4, outside.ipv4, "127.0.0.1", "0.0.0.0"]) for (const to of [beside, away]) tries.push(["invalid-source-ip", datagram(macs, source, to.ipv4, FORGED, PORT)]);
    tries.push(["invalid-source-mac", datagram({ ...macs, mac: "02:00:00:00:00:99" }, self.ipv4, beside.ipv4, FORGED, PORT)]);
    for (const operation of [1, 2]) tries.push(["forged-neighbour", frame(ethernet(macs.mac, BROADCAST, 0x0806), arp(operation, macs.mac, beside.ipv4, BROADCAST, beside.ipv4))]);
    for (const type of [136, 134, 137]) tries.push(["forged-neighbour", linkMessage(macs.mac, type, self.ipv6, beside.ipv6, FORGED)]);
    tries.push(["forged-dhcp", datagram({ ...macs, hostMac: BROADCAST }, self.ipv4, "255.255.255.255", FORGED, 68, 67)], ["forged-dhcp", datagram(macs, "0.0.0.0", "255.255.255.255", FORGED, 67, 68)]);
    const said = word("honest");
    await allDropped(self, tries, [beside, away].map((to) => [self, datagram(macs, self.ipv4, to.ipv4, said, PORT)]), said);
  });

  test("a pod is no tunnel: not to any address of a node, whatever identity it claims", async () => {
    const [self, beside, away] = [forger, near, far] as [Pod, Pod, Pod];
    const macs = await macsOf(self);
    const identity = await identityOf(away);
    const tries: Try[] = [1, 2, 3].flatMap((number) => [node(number).ipv4, node(number).ipv6]).flatMap((to): Try[] => [identity, 1, 2].map((vni) => {
      const inner = datagram(macs, away.ipv4, beside.ipv4, FORGED, PORT);
      return ["tunnel-port", frame(ethernet(macs.mac, macs.hostMac, etherType(to)), ip(to.includes(":") ? self.ipv6 : self.ipv4, to, 17), udp(40000, TUNNEL_PORT), vxlan(vni, inner))];
    }));
    const said = word("honest");
    await allDropped(self, tries, [beside, away].map((to) => [self, datagram(macs, self.ipv4, to.ipv4, said, PORT)]), said);
  });

  test("a machine that is no node brings no pod: neither by a tunnel nor bare, under its own address or a node's", async () => {
    const [self, beside, away] = [forger, near, far] as [Pod, Pod, Pod];
    const identity = await identityOf(away);
    const own = await macOf(outside.site);
    const tries: Try[] = [];
    for (const [number, there, elsewhere] of [[1, beside, away], [2, away, beside]] as const) {
      const macs = { mac: own, hostMac: await macOf(nodeSite(number)) };
      const tunnel = (outer: string, vni: number, source: string, target: string): Uint8Array =>
        frame(ethernet(macs.mac, macs.hostMac, 0x0800), ip(outer, node(number).ipv4, 17), udp(40000, TUNNEL_PORT), vxlan(vni, datagram(macs, source, target, FORGED, PORT)));
      for (const [index, target] of there.addresses.entries()) {
        for (const source of [elsewhere.addresses[index] ?? "", self.addresses[index] ?? ""]) tries.push(["spoofed-underlay", datagram(macs, source, target, FORGED, PORT)]);
        tries.push(["spoofed-overlay", tunnel(outside.ipv4, identity, elsewhere.addresses[index] ?? "", target)]);
      }
      // Under another node's address, but for a pod that this node does not have, for the node itself, or for nobody.
      const other = node(3).ipv4;
      tries.push(["spoofed-overlay", tunnel(other, identity, elsewhere.ipv4, there.ipv4)], ["spoofed-overlay", tunnel(other, 1, elsewhere.ipv4, there.ipv4)], ["invalid-identity", tunnel(other, 0, elsewhere.ipv4, there.ipv4)]);
    }
    const said = word("honest");
    const macs = await macsOf(self);
    await allDropped(outside.site, tries, [beside, away].map((to) => [self, datagram(macs, self.ipv4, to.ipv4, said, PORT)]), said);
  });
});
