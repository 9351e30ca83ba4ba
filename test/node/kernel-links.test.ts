/** Links, host devices, routes and nftables on the real kernel, in network namespaces of their own. Needs root. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { unusedRoutes } from "../../src/agent/node-routes.ts";
import { runCommand } from "../../src/kernel/command.ts";
import type { Run } from "../../src/kernel/command.ts";
import { Host } from "../../src/kernel/host.ts";
import { Links } from "../../src/kernel/links.ts";
import { Nft } from "../../src/kernel/nft.ts";
import { Sysctl, SysctlLedger } from "../../src/kernel/sysctl.ts";

const NODE = `klnode${process.pid}`;

/** Runs a command as if the node's namespace were ours. */
const inNode: Run = (command, input) => runCommand(["ip", "netns", "exec", NODE, ...command], input);
const text = async (run: Run, ...command: [string, ...string[]]): Promise<string> => {
  const { status, stdout, stderr } = await run(command);
  assert.equal(status, 0, `${command.join(" ")}: ${stderr}`);
  return stdout;
};

/** A pod's link, as pod-link.ts names it. */
const DEVICE = "lxc00000001";
const hostSpec = { routerIpv4: "10.9.1.1", routerIpv6: "fd09:1::1", tunnelPort: 8472, mtu: 1500 };

describe("links in a network namespace", () => {
  before(async () => {
    await text(runCommand, "ip", "netns", "add", NODE);
    await text(inNode, "ip", "link", "add", "under0", "type", "veth", "peer", "name", "under1");
    await text(inNode, "ip", "link", "set", "under0", "up");
    await text(inNode, "ip", "link", "set", "under1", "up");
  });
  after(async () => {
    await runCommand(["ip", "netns", "delete", NODE]);
  });

  it("makes the node's devices, and the same call again changes nothing", async () => {
    const host = new Host(inNode, new Sysctl());
    const first = await host.createDevices(hostSpec);
    const second = await host.createDevices(hostSpec);
    assert.deepEqual(second, first);
    assert.equal(first.tunnel?.port, 8472);
    assert.equal(first.host.up, true);
    assert.match(await text(inNode, "ip", "address", "show", "dev", "cilium_host"), /inet 10\.9\.1\.1\/32[^]*inet6 fd09:1::1\/128/);
  });

  it("follows a changed router address and tunnel port", async () => {
    const host = new Host(inNode, new Sysctl());
    await host.createDevices({ ...hostSpec, routerIpv4: "10.9.1.2", tunnelPort: 8473 });
    const { tunnel } = await host.createDevices(hostSpec);
    assert.equal(tunnel?.port, 8472);
    assert.doesNotMatch(await text(inNode, "ip", "address", "show", "dev", "cilium_host"), /10\.9\.1\.2/);
  });

  it("takes the tunnel's device away where there is no tunnel any more, and makes it again", async () => {
    const host = new Host(inNode, new Sysctl());
    const names = async (): Promise<string[]> => (await new Links(inNode).list()).map(({ name }) => name).filter((name) => name.startsWith("cilium"));
    assert.equal((await host.createDevices({ ...hostSpec, tunnelPort: undefined })).tunnel, undefined);
    assert.deepEqual((await names()).sort(), ["cilium_host", "cilium_net"]);
    await host.createDevices(hostSpec);
    assert.deepEqual((await names()).sort(), ["cilium_host", "cilium_net", "cilium_vxlan"]);
  });

  it("knows on which segment an address is, and which gateway leads to it", async () => {
    const host = new Host(inNode, new Sysctl());
    await text(inNode, "ip", "address", "add", "198.51.100.1/24", "dev", "under0");
    await text(inNode, "ip", "-6", "address", "add", "2001:db8:1::1/64", "dev", "under0", "nodad");
    await text(inNode, "ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.254");
    const ways = await host.waysTo(["198.51.100.2", "192.0.2.77", "203.0.113.9", "2001:db8:1::2"]);
    assert.deepEqual([...ways], [["198.51.100.2", { device: "under0", gateway: undefined }], ["203.0.113.9", { device: "under0", gateway: "198.51.100.254" }], ["2001:db8:1::2", { device: "under0", gateway: undefined }]]);
    await host.syncRoutes([{ destination: "10.9.7.0/24", device: "under0", via: "198.51.100.2", source: undefined, mtu: 1500 }, { destination: "fd09:7::/64", device: "under0", via: "2001:db8:1::2", source: undefined, mtu: 1500 }]);
    assert.match(await text(inNode, "ip", "route"), /10\.9\.7\.0\/24 via 198\.51\.100\.2 dev under0 proto 193 mtu 1500/);
    const shown = await text(inNode, "ip", "-6", "route");
    assert.match(shown, /fd09:7::\/64 via 2001:db8:1::2 dev under0 proto 193/);
    await host.syncRoutes([{ destination: "10.9.7.0/24", device: "under0", via: "198.51.100.3", source: undefined }]);
    assert.match(await text(inNode, "ip", "route"), /10\.9\.7\.0\/24 via 198\.51\.100\.3 dev under0/);
    await host.syncRoutes([]);
    assert.doesNotMatch(await text(inNode, "ip", "route"), /10\.9\.7/);
    await text(inNode, "ip", "address", "flush", "dev", "under0");
  });

  it("knows where routes of others lead, in every table, and takes none of its own for one", async () => {
    const host = new Host(inNode, new Sysctl());
    const before = await host.othersDestinations();
    await text(inNode, "ip", "route", "add", "10.9.8.0/24", "dev", "under0", "table", "77");
    await text(inNode, "ip", "-6", "route", "add", "default", "dev", "under0");
    await text(inNode, "ip", "route", "add", "blackhole", "10.9.9.0/24");
    await host.syncRoutes([{ destination: "10.9.7.0/24", device: "under0", source: undefined, mtu: 1500 }, ...unusedRoutes(["10.9.4.0/24"])]);
    const added = (await host.othersDestinations()).filter((destination) => !before.includes(destination));
    assert.deepEqual(added.sort(), ["10.9.8.0/24", "::/0"]);
    await host.syncRoutes([]);
    for (const route of [["10.9.8.0/24", "table", "77"], ["blackhole", "10.9.9.0/24"]]) await text(inNode, "ip", "route", "delete", ...route);
    await text(inNode, "ip", "-6", "route", "delete", "default", "dev", "under0");
  });

  it("says that addresses without a pod are unreachable, unless another has a route there", async () => {
    const host = new Host(inNode, new Sysctl());
    const wanted = unusedRoutes(["10.9.4.0/24", "fd09:4::/64"]);
    await text(inNode, "ip", "route", "add", "10.9.4.0/24", "dev", "under0");
    for (let again = 0; again < 2; again++) {
      await host.syncRoutes(wanted);
      assert.equal((await text(inNode, "ip", "route")).split("\n").filter((line) => line.startsWith("unreachable 10.9.4.0/24 proto 194")).length, 1);
      assert.match(await text(inNode, "ip", "-6", "route"), /unreachable fd09:4::\/64 dev lo proto 194/);
      // Versions that know no such routes take every route of 193 for one of a device, also after a downgrade.
      assert.equal((await text(inNode, "ip", "route", "show", "proto", "193")).trim(), "");
    }
    assert.match(await text(inNode, "ip", "route", "get", "10.9.4.7"), /dev under0/);
    await text(inNode, "ip", "route", "delete", "10.9.4.0/24", "dev", "under0");
    for (const unused of ["10.9.4.7", "fd09:4::7"]) assert.notEqual((await inNode(["ip", "route", "get", unused])).status, 0, unused);
    await host.syncRoutes([]);
    assert.doesNotMatch(`${await text(inNode, "ip", "route")}${await text(inNode, "ip", "-6", "route")}`, /unreachable/);
  });

  it("keeps the routes of others and removes only its own", async () => {
    const host = new Host(inNode, new Sysctl());
    await text(inNode, "ip", "route", "add", "192.0.2.0/24", "dev", "under0");
    await text(inNode, "ip", "link", "add", DEVICE, "type", "veth", "peer", "name", "pod0");
    for (const end of [DEVICE, "pod0"]) await text(inNode, "ip", "link", "set", end, "up");
    const route = (destination: string) => ({ destination, device: "cilium_host", source: destination.includes(":") ? "fd09:1::1" : "10.9.1.1", mtu: 1450 });
    const pods = ["10.9.1.5/32", "fd09:1::5/128"].map((destination) => ({ destination, device: DEVICE, source: destination.includes(":") ? "fd09:1::1" : "10.9.1.1" }));
    await host.syncRoutes([...pods, route("10.9.2.0/24"), route("10.9.3.0/24"), route("fd09:2::/64")]);
    const before = await text(inNode, "ip", "route");
    await host.syncRoutes([...pods, route("10.9.2.0/24"), route("fd09:2::/64")]);
    const after4 = await text(inNode, "ip", "route");
    assert.match(before, /10\.9\.3\.0\/24 dev cilium_host proto 193 scope link src 10\.9\.1\.1 mtu 1450/);
    assert.doesNotMatch(after4, /10\.9\.3\.0/);
    assert.match(after4, /10\.9\.2\.0\/24/);
    assert.match(after4, /192\.0\.2\.0\/24/);
    assert.match(after4, /10\.9\.1\.5 dev lxc00000001/);
    assert.match(await text(inNode, "ip", "-6", "route"), /fd09:2::\/64 dev cilium_host proto 193 src fd09:1::1/);
  });

  it("replaces its nftables table as a whole, and removes it", async () => {
    const nft = new Nft(inNode);
    const nftSpec = { underlay: ["under0"], podCidrs: ["10.9.1.0/24", "fd09:1::/64"], remotePods: ["10.9.2.0/24", "fd09:2::/64"], masquerade: { ipv4: true, ipv6: true }, unmasqueraded: ["10.9.0.0/16", "fd09::/32"], sources: ["192.0.2.1", "2001:db8::1"], nodes: ["192.0.2.2"], routers: ["10.9.1.1", "fd09:1::1"] };
    await nft.apply(nftSpec);
    await nft.apply(nftSpec);
    const shown = await text(inNode, "nft", "list", "table", "inet", "cilium");
    assert.match(shown, /ip saddr 10\.9\.1\.0\/24 .*masquerade/);
    assert.match(shown, /iif != 0 iifname != "lxc\*".* snat ip to 10\.9\.1\.1/);
    assert.match(shown, /iifname "lxc\*" meta mark & 0x00000f00 == 0x00000200 counter/);
    assert.equal(shown.match(/chain /g)?.length, 3);
    await nft.remove();
    await nft.remove();
    assert.equal(await text(inNode, "nft", "list", "tables"), "");
  });

  it("accepts pods in a FORWARD chain whose policy is DROP, once, and takes it back", async () => {
    const nft = new Nft(inNode);
    assert.equal(await nft.acceptForwarding(), false);
    await text(inNode, "iptables", "-P", "FORWARD", "DROP");
    assert.equal(await nft.acceptForwarding(), true);
    await nft.acceptForwarding();
    const rules = await text(inNode, "iptables", "-S", "FORWARD");
    assert.equal(rules.match(/--comment cilium/g)?.length, 4);
    await nft.remove();
    assert.doesNotMatch(await text(inNode, "iptables", "-S", "FORWARD"), /cilium/);
  });

  it("knows pod devices by name and kind, and removes them; absent devices are no error", async () => {
    const links = new Links(inNode);
    assert.deepEqual((await links.podDevices()).map((d) => d.name), [DEVICE]);
    await links.remove(DEVICE);
    await links.remove(DEVICE);
    assert.equal(await links.find(DEVICE), undefined);
    await new Host(inNode, new Sysctl()).remove();
    assert.deepEqual((await links.list()).map((d) => d.name).filter((name) => name.startsWith("cilium")), []);
  });
});

it("writes kernel settings only where they differ, never makes a file that the kernel lacks, and puts back what it found", async () => {
  const root = mkdtempSync(join(tmpdir(), "sysctl-"));
  try {
    const put = (path: string, value: string): void => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), `${value}\n`);
    };
    const get = (path: string): string => readFileSync(join(root, path), "utf8").trim();
    put("net/ipv4/ip_forward", "0");
    put("net/ipv4/conf/all/rp_filter", "2");
    put("net/ipv6/conf/eth0/accept_ra", "1");
    const sysctl = new Sysctl(root);
    const host = new Host(inNode, sysctl);
    const ledger = (): SysctlLedger => new SysctlLedger(sysctl, join(root, "state/sysctls.json"));
    await ledger().write(host.wantedSysctls(["eth0"]));
    assert.equal(get("net/ipv4/ip_forward"), "1");
    assert.equal(get("net/ipv4/conf/all/rp_filter"), "0");
    assert.equal(get("net/ipv6/conf/eth0/accept_ra"), "2");
    assert.throws(() => get("net/ipv6/conf/all/forwarding"), /ENOENT/);
    // A later agent, perhaps after somebody has written another value: the first one counts.
    put("net/ipv4/ip_forward", "2");
    await ledger().write(host.wantedSysctls(["eth0"]));
    put("net/ipv6/conf/eth0/accept_ra", "0");
    ledger().restore();
    assert.equal(get("net/ipv4/ip_forward"), "0");
    assert.equal(get("net/ipv4/conf/all/rp_filter"), "2");
    assert.equal(get("net/ipv6/conf/eth0/accept_ra"), "0", "what somebody else has set since then is theirs");
  } finally {
    rmSync(root, { recursive: true });
  }
});
