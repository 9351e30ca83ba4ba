/**
 * What somebody takes off a node by hand is back, and works: routes, neighbours, devices, addresses, settings, programs. A
 * whole agent in a network namespace.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import type { TestContext } from "node:test";
import { CILIUM_NODES } from "../../src/kube/index.ts";
import { sleep } from "../../src/lib/backoff.ts";
import { AgentLab } from "./agent-lab.ts";

const lab = new AgentLab({ prefix: `cilkept${process.pid}`, pods: 1, subnet: "198.51.100", podCidrs: ["10.79.0.0/24", "fd79::/64"] });
const { ip, ping, log, inNode } = lab;
const OTHER = { name: "agent-other", ip: "198.51.100.2", cidrs: ["10.80.0.0/24", "fd80::/64"] } as const;
const POD = ["10.79.0.2", "fd79::2"] as const;
const PATIENCE_MS = 120_000;
const TIMES = 20;
const TAKEN = /others had taken programs off devices/;
/** Half of what the agent would take that hears of nothing and looks every ten seconds; a busy machine has several. */
const HEARD_MS = 5000;

const inNetns = (...args: string[]): string => ip("-n", lab.nodeNs, ...args);
const routes = (): string => `${inNetns("route")}${inNetns("-6", "route")}`;
const filters = (device: string, side: string): string => inNode("tc", "filter", "show", "dev", device, side);

/** Milliseconds until it is as it was. */
async function back(what: string, take: () => unknown, isBack: () => boolean): Promise<number> {
  take();
  const takenMs = performance.now();
  while (!isBack()) {
    assert.ok(performance.now() - takenMs < PATIENCE_MS, `${what} is not back\n${log().slice(-3000)}`);
    await sleep(5);
  }
  return performance.now() - takenMs;
}

const deviceOf = (pattern: RegExp): string => pattern.exec(inNetns("-oneline", "link"))?.[1] ?? assert.fail(`no device ${pattern}`);
const numberOf = (device: string): number => (JSON.parse(inNetns("-json", "link")) as { ifname: string; ifindex: number }[]).find(({ ifname }) => ifname === device)?.ifindex ?? 0;

describe("a node whose network others change", { timeout: 600_000 }, () => {
  let pod = "";
  before(async () => {
    await lab.setUp();
    inNetns("link", "add", "others0", "type", "veth", "peer", "name", "others1");
    for (const device of ["others0", "others1"]) inNetns("link", "set", device, "up");
    inNetns("route", "add", "203.0.113.0/24", "dev", "others0");
    inNetns("rule", "add", "pref", "77", "to", "203.0.113.0/24", "lookup", "77");
    inNetns("neighbour", "add", "203.0.113.77", "lladdr", "02:00:00:00:00:77", "dev", "others0", "nud", "permanent");
    await lab.ready("web", ["web"]);
    const addresses = [{ type: "InternalIP", ip: OTHER.ip }, { type: "CiliumInternalIP", ip: "10.80.0.1" }, { type: "CiliumInternalIP", ip: "fd80::1" }];
    await lab.client.create(CILIUM_NODES, { metadata: { name: OTHER.name }, spec: { addresses, ipam: { podCIDRs: [...OTHER.cidrs] } } } as never);
    await lab.until("routes to the other node", () => OTHER.cidrs.every((cidr) => routes().includes(cidr)), PATIENCE_MS);
    const { code, answer } = await lab.plugin("ADD", "web", 0);
    assert.equal(code, 0, JSON.stringify(answer));
    POD.forEach((address) => ping(lab.nodeNs, address));
    pod = deviceOf(/: (lxc[^@:]+)/);
  });
  after(() => lab.tearDown());

  it("has a deleted route back as soon as the kernel tells of it", async (t: TestContext) => {
    const took: number[] = [];
    for (let time = 0; time < TIMES; time++) {
      const cidr = OTHER.cidrs[time % 2] ?? "";
      took.push(await back(cidr, () => inNetns(cidr.includes(":") ? "-6" : "-4", "route", "delete", cidr), () => routes().includes(`${cidr} dev cilium_host proto 193`)));
    }
    const [first = 0, middle = 0, last = 0] = [0, TIMES / 2, TIMES - 1].map((index) => took.toSorted((a, b) => a - b)[index]);
    t.diagnostic(`${TIMES} routes: back after ${first.toFixed(0)} ms at best, ${middle.toFixed(0)} ms in the middle, ${last.toFixed(0)} ms at worst`);
    assert.ok(middle < HEARD_MS, `${middle} ms`);
  });

  it("has a pod's route and neighbour entry back", async () => {
    for (const [index, address] of POD.entries()) {
      await back(`route to ${address}`, () => inNetns(index === 0 ? "-4" : "-6", "route", "delete", address), () => routes().includes(`${address} dev ${pod} proto 193`));
      await back(`neighbour ${address}`, () => inNetns("neighbour", "delete", address, "dev", pod), () => inNetns("neighbour", "show", "dev", pod).match(new RegExp(`${address} lladdr \\S+ PERMANENT`)) !== null);
      ping(lab.nodeNs, address);
    }
  });

  it("has its devices back under their numbers, with their programs, and the routes that went with them", async () => {
    for (const [device, side] of [["cilium_vxlan", "ingress"], ["cilium_host", "egress"]] as const) {
      const number = numberOf(device);
      await back(device, () => inNetns("link", "delete", device), () => numberOf(device) === number && /state (UP|UNKNOWN)/.test(inNetns("link", "show", "dev", device)));
      assert.match(filters(device, side), /stub_from_/);
    }
    await back("routes", () => undefined, () => OTHER.cidrs.every((cidr) => routes().includes(`${cidr} dev cilium_host proto 193`)));
    POD.forEach((address) => ping(lab.nodeNs, address));
    await back("cilium_host", () => inNetns("link", "set", "cilium_host", "down"), () => OTHER.cidrs.every((cidr) => routes().includes(`${cidr} dev cilium_host proto 193`)));
    const { mtu } = (JSON.parse(inNetns("-json", "link", "show", "dev", "cilium_vxlan")) as { mtu: number }[])[0] ?? { mtu: 0 };
    await back("MTU", () => inNetns("link", "set", "cilium_vxlan", "mtu", "1300"), () => inNetns("link", "show", "dev", "cilium_vxlan").includes(`mtu ${mtu} `));
  });

  it("has its router addresses and settings back", async () => {
    for (const address of ["10.79.0.1/32", "fd79::1/128"]) await back(address, () => inNetns("address", "delete", address, "dev", "cilium_host"), () => inNetns("address", "show", "dev", "cilium_host").includes(` ${address} `));
    for (const [setting, wanted] of [["net.ipv4.ip_forward", "1"], ["net.ipv6.conf.all.forwarding", "1"], ["net.ipv4.conf.all.rp_filter", "0"]] as const) {
      await back(setting, () => inNode("sysctl", "-qw", `${setting}=${1 - Number(wanted)}`), () => inNode("sysctl", "-n", setting).trim() === wanted);
    }
    POD.forEach((address) => ping(lab.nodeNs, address));
  });

  it("has the programs of the node's and of pods' devices back", async () => {
    for (const [device, side] of [["eth0", "egress"], ["cilium_vxlan", "ingress"], [pod, "ingress"]] as const) {
      await back(`programs of ${device}`, () => inNode("tc", "qdisc", "delete", "dev", device, "clsact"), () => filters(device, side).includes("stub_"));
      await back(`filter of ${device}`, () => inNode("tc", "filter", "delete", "dev", device, side), () => filters(device, side).includes("stub_"));
    }
    for (const device of ["eth0", "cilium_vxlan", pod]) await back(`a word of ${device}`, () => undefined, () => new RegExp(`${TAKEN.source}.*${device}`).test(log()));
    inNode("tc", "qdisc", "add", "dev", "others0", "clsact");
    inNode("tc", "qdisc", "delete", "dev", "others0", "clsact");
    POD.forEach((address) => ping(lab.nodeNs, address));
  });

  it("follows its address to another device: programs there, none where it was; further addresses are its own too", async () => {
    const has = (device: string): boolean => filters(device, "ingress").includes("stub_") && filters(device, "egress").includes("stub_");
    assert.ok(has("eth0") && !has("wire"));
    const at = `${lab.nodeIp}/24`;
    await back("programs on the other device", () => (inNetns("address", "delete", at, "dev", "eth0"), inNetns("address", "add", at, "dev", "wire")), () => has("wire") && !has("eth0"));
    await back("programs on the first device", () => (inNetns("address", "add", "198.51.100.9/24", "dev", "eth0"), inNetns("address", "delete", at, "dev", "wire"), inNetns("address", "add", at, "dev", "eth0")), () => has("eth0") && !has("wire"));
    assert.doesNotMatch(log(), new RegExp(`${TAKEN.source}.*(wire|others0)`), "what the agent takes off itself, and what was others', is no loss");
    POD.forEach((address) => ping(lab.nodeNs, address));
  });

  it("has its own devices back also while the device with its address is away", async () => {
    const has = (device: string): boolean => filters(device, "ingress").includes("stub_") && filters(device, "egress").includes("stub_");
    const at = `${lab.nodeIp}/24`;
    inNetns("link", "add", "spare0", "type", "veth", "peer", "name", "spare1");
    for (const device of ["spare0", "spare1"]) inNetns("link", "set", device, "up");
    await back("programs on the spare device", () => (inNetns("address", "delete", at, "dev", "eth0"), inNetns("address", "add", at, "dev", "spare0")), () => has("spare0") && !has("eth0"));
    inNetns("link", "delete", "spare0");
    const number = numberOf("cilium_host");
    await back("cilium_host", () => inNetns("link", "delete", "cilium_host"), () => numberOf("cilium_host") === number && /state (UP|UNKNOWN)/.test(inNetns("link", "show", "dev", "cilium_host")));
    assert.match(filters("cilium_host", "egress"), /stub_from_/);
    await back("programs on the first device", () => inNetns("address", "add", at, "dev", "eth0"), () => has("eth0"));
    POD.forEach((address) => ping(lab.nodeNs, address));
  });

  it("takes away what it no longer wants, and leaves what is others'", async () => {
    inNetns("route", "add", "10.99.0.0/24", "dev", "eth0", "proto", "193");
    await back("a route under our number that nobody wants is gone", () => lab.client.delete(CILIUM_NODES, { name: OTHER.name }), () => ["10.99.0.0", ...OTHER.cidrs].every((cidr) => !routes().includes(cidr)));
    const others = (): void => {
      assert.match(routes(), /^203\.0\.113\.0\/24 dev others0/m);
      assert.match(inNetns("rule"), /^77:.*203\.0\.113\.0\/24/m);
      assert.match(inNetns("neighbour", "show", "dev", "others0"), /203\.0\.113\.77 lladdr 02:00:00:00:00:77 PERMANENT/);
    };
    others();
    await lab.killAgent();
    assert.equal(spawnSync("ip", ["netns", "exec", lab.nodeNs, process.execPath, `${import.meta.dirname}/agent-runner.ts`, lab.path("runner.json"), "uninstall"], { encoding: "utf8" }).status, 0);
    assert.doesNotMatch(routes(), /proto 19[34]/);
    assert.doesNotMatch(inNetns("link"), /cilium_|lxc/);
    others();
  });
});
