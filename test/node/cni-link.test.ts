/** Pod links on the real kernel: netlink from this process, and the plugin inside the pod's namespace. Needs root; runs itself again in a network namespace of its own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { runCommand } from "../../src/kernel/command.ts";
import type { Run } from "../../src/kernel/command.ts";
import * as rt from "../../src/kernel/link-messages.ts";
import { Netlink, packed } from "../../src/kernel/netlink.ts";
import { PodVeths } from "../../src/kernel/pod-link.ts";
import type { PodLinkSpec } from "../../src/kernel/pod-link.ts";
import { Sysctl } from "../../src/kernel/sysctl.ts";
import { codeOf } from "../../src/lib/errors.ts";

const CHILD = "CNI_LINK_CHILD";
const PLUGIN = join(import.meta.dirname, "../../build/bin/cilium-cni");
const POD = `clpod${process.pid}`;
/** linux/rtnetlink.h and linux/netlink.h, and where struct nlmsghdr has them. */
const [RTM_DELADDR, NLMSG_TYPE] = [21, 4];
const [NLM_F_REQUEST_ACK, NLMSG_FLAGS] = [5, 6];
/** As many pods as start at once on a node where a Deployment lands. */
const MANY = 20;

if (process.env[CHILD] === undefined) {
  it("in a network namespace of its own", () => {
    assert.equal(spawnSync("make", ["-s", "cni"], { cwd: join(import.meta.dirname, "../..") }).status, 0);
    const { status, stdout, stderr } = spawnSync("unshare", ["--net", process.execPath, "--test", import.meta.filename], {
      env: { ...process.env, [CHILD]: "1", NODE_TEST_CONTEXT: undefined },
      encoding: "utf8",
    });
    assert.equal(status, 0, stdout + stderr);
  });
} else {
  describe("pod links", suite);
}

async function text(...command: [string, ...string[]]): Promise<string> {
  const { status, stdout, stderr } = await runCommand(command);
  assert.equal(status, 0, `${command.join(" ")}: ${stderr}`);
  return stdout;
}

function specOf(index: number, netns: string): PodLinkSpec {
  const hex = index.toString(16).padStart(2, "0");
  return {
    hostName: `lxc000000${hex}`, mac: `0a:00:00:00:00:${hex}`, hostMac: `0a:00:00:00:01:${hex}`, mtu: 1450, netns: `/run/netns/${netns}`,
    ipv4: { address: `10.9.1.${index}`, gateway: "10.9.1.1" },
    ipv6: { address: `fd09:1::${hex}`, gateway: "fd09:1::1" },
  };
}

function suite(): void {
  const spec = specOf(5, POD);
  const make = (run: Run = runCommand, plugin = PLUGIN): PodVeths => new PodVeths({ netlink: new Netlink(), sysctl: new Sysctl(), run, plugin });
  const veths = make();
  const many = Array.from({ length: MANY }, (_, index) => `${POD}-${index}`);
  const inPod = (...command: string[]): Promise<string> => text("ip", "netns", "exec", POD, ...command);

  before(async () => {
    for (const name of [POD, ...many]) await text("ip", "netns", "add", name);
    // The node's router address, which the pods' routes name as their source.
    await text("ip", "link", "set", "lo", "up");
    for (const router of ["10.9.1.1/32", "fd09:1::1/128"]) await text("ip", "address", "add", router, "dev", "lo");
  });
  after(async () => {
    for (const name of [POD, ...many]) await runCommand(["ip", "netns", "delete", name]);
  });

  it("makes both ends down and without an address, so that programs come first", async () => {
    const device = await veths.create(spec);
    assert.equal(device.up, false);
    const shown = await inPod("ip", "address", "show", "dev", "eth0");
    assert.match(shown, /state DOWN/);
    assert.doesNotMatch(shown, /inet/);
    assert.equal((await text("ip", "-o", "link", "show", "type", "veth")).trim().split("\n").length, 1, "the pod's end was never the node's");
  });

  it("connects a pod: addresses, permanent neighbours, default routes, and the node can reach it", async () => {
    await veths.connect(spec);
    const shown = await inPod("ip", "address", "show", "dev", "eth0");
    for (const expected of [/mtu 1450/, /0a:00:00:00:00:05/, /inet 10\.9\.1\.5\/32/, /inet6 fd09:1::5\/128/]) assert.match(shown, expected);
    assert.doesNotMatch(shown, /tentative|fe80/);
    assert.match(await inPod("ip", "link", "show", "dev", "lo"), /LOOPBACK,UP/);
    assert.match(await inPod("ip", "route"), /default via 10\.9\.1\.1 dev eth0 src 10\.9\.1\.5/);
    assert.match(await inPod("ip", "-6", "route"), /default via fd09:1::1 dev eth0/);
    for (const family of ["-4", "-6"]) {
      assert.match(await inPod("ip", family, "neigh"), /1 .*0a:00:00:00:01:05.*PERMANENT/);
      assert.match(await text("ip", family, "neigh"), /5 dev lxc00000005 lladdr 0a:00:00:00:00:05 PERMANENT/);
    }
    assert.match(await text("ip", "route"), /10\.9\.1\.5 dev lxc00000005 proto 193 scope link src 10\.9\.1\.1/);
    assert.match(await text("ip", "-6", "route"), /fd09:1::5 dev lxc00000005 proto 193 src fd09:1::1/);
    for (const setting of ["accept_ra", "accept_dad", "dad_transmits", "autoconf"]) assert.equal((await inPod("cat", `/proc/sys/net/ipv6/conf/eth0/${setting}`)).trim(), "0", setting);
    for (const { address } of [spec.ipv4, spec.ipv6].filter((family) => family !== undefined)) await text("busybox", "ping", "-c1", "-W5", address);
    assert.equal((await veths.find(spec.hostName))?.up, true);
  });

  it("is not through before packets to the pod's IPv6 address arrive: the kernel makes that route later, on a work queue", async () => {
    const [name = ""] = many;
    const one = specOf(100, name);
    const { peerIfindex } = await veths.create(one);
    const given = packed([rt.address(peerIfindex, one.ipv6?.address ?? "")]);
    const taken = Buffer.from(given);
    taken.writeUInt16LE(RTM_DELADDR, NLMSG_TYPE);
    taken.writeUInt16LE(NLM_F_REQUEST_ACK, NLMSG_FLAGS);
    // Of an address that goes at once it never comes.
    const { status, stderr } = await runCommand([PLUGIN, "netns", one.netns], Buffer.concat([given, taken]));
    assert.deepEqual([status, stderr.trim()], [1, "an IPv6 address that was given: Connection timed out"]);
    await veths.remove(one.hostName);
  });

  it("makes a link that an earlier try left anew", async () => {
    const before = await veths.find(spec.hostName);
    const device = await veths.create(spec);
    assert.notEqual(device.ifindex, before?.ifindex);
    assert.equal(device.up, false);
    assert.doesNotMatch(await inPod("ip", "address"), /10\.9\.1\.5/);
    await veths.connect(spec);
    await text("busybox", "ping", "-c1", "-W5", "10.9.1.5");
  });

  it("removes a link, and an absent one is no error", async () => {
    await veths.remove(spec.hostName);
    await veths.remove(spec.hostName);
    assert.equal(await veths.find(spec.hostName), undefined);
    assert.doesNotMatch(await inPod("ip", "link"), /eth0/);
    assert.doesNotMatch(await text("ip", "route"), /10\.9\.1\.5/);
  });

  it("says what the kernel refused, on either side", async () => {
    await assert.rejects(veths.create({ ...spec, hostName: "lxc:no" }), (error: Error) => codeOf(error) === "EINVAL" && /make lxc:no/.test(error.message));
    await assert.rejects(veths.create({ ...spec, netns: PLUGIN }), (error: Error) => codeOf(error) === "EINVAL");
    await veths.create(spec);
    await veths.connect(spec);
    await assert.rejects(veths.connect(spec), /message 2 \(type 20\): File exists/, "the pod's side has its address already");
    await assert.rejects(veths.connect({ ...spec, netns: "/run/netns/absent" }), /\/run\/netns\/absent: No such file/);
    await assert.rejects(make(runCommand, "/absent").connect(spec), /cannot start \/absent/);
    await veths.remove(spec.hostName);
    await assert.rejects(veths.connect(spec), /is gone/);
  });

  it(`makes ${MANY} links beside one another, each whole`, async () => {
    const specs = many.map((netns, index) => specOf(100 + index, netns));
    await Promise.all(specs.map(async (each) => {
      await veths.create(each);
      await veths.connect(each);
    }));
    // The kernel drops what is sent on a link before that; 20 at once make the link watch late.
    for (const { hostName } of specs) assert.equal((await veths.find(hostName))?.sends, true, hostName);
    for (const { ipv4, ipv6 } of specs) {
      for (const family of [ipv4, ipv6]) await text("busybox", "ping", "-c1", "-W5", family?.address ?? "");
    }
    await Promise.all(specs.map(({ hostName }) => veths.remove(hostName)));
    assert.equal((await text("ip", "-o", "link", "show", "type", "veth")).trim(), "");
  });

  it("starts no process but the plugin, once for a pod", async () => {
    const started: string[] = [];
    const counting = make((command, input) => {
      started.push(command.slice(0, 2).join(" "));
      return runCommand(command, input);
    });
    await counting.create(spec);
    await counting.connect(spec);
    await counting.remove(spec.hostName);
    assert.deepEqual(started, [`${PLUGIN} netns`]);
  });
}
