/** Loader and tc attachment on real devices. Needs root; runs itself again in a network namespace of its own. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { LibbpfPort } from "../../src/kernel/bpf.ts";
import { Datapath } from "../../src/kernel/datapath.ts";
import { Hook } from "../../src/kernel/gen/types.ts";
import { Links } from "../../src/kernel/links.ts";
import { Netlink } from "../../src/kernel/netlink.ts";
import { PodVeths } from "../../src/kernel/pod-link.ts";
import { runCommand } from "../../src/kernel/command.ts";
import { detachStubs } from "../../src/kernel/tc.ts";
import { Sysctl } from "../../src/kernel/sysctl.ts";
import { compile, makeFixture } from "./kernel-fixture.ts";
import type { Fixture } from "./kernel-fixture.ts";

const CHILD = "KERNEL_DATAPATH_CHILD";
const POD = `kdpod${process.pid}`;

if (process.env[CHILD] === undefined) {
  it("in a network namespace of its own", () => {
    const { status, stdout, stderr } = spawnSync("unshare", ["--net", process.execPath, "--test", import.meta.filename], {
      env: { ...process.env, [CHILD]: "1", NODE_TEST_CONTEXT: undefined },
      encoding: "utf8",
    });
    assert.equal(status, 0, stdout + stderr);
  });
} else {
  describe("datapath", suite);
}

function suite(): void {
  let fixture: Fixture;
  let objects: string;
  let pinDir: string;
  before(() => {
    fixture = makeFixture();
    objects = join(fixture.folder, "objects");
    pinDir = join(fixture.bpffs, "cilium");
    mkdirSync(objects);
    compile(join(import.meta.dirname, "../bpf/fixtures/hooks.bpf.c"), join(objects, "hooks.o"));
    execFileSync("ip", ["netns", "add", POD]);
  });
  after(() => {
    execFileSync("ip", ["netns", "delete", POD]);
    fixture.remove();
  });

  const spec = { hostName: "lxc0000000a", mac: "0a:00:00:00:00:01", hostMac: "0a:00:00:00:00:02", mtu: 1400, netns: `/run/netns/${POD}`, ipv4: { address: "10.8.0.2", gateway: "10.8.0.1" }, ipv6: undefined };
  const reachable = (): boolean => spawnSync("busybox", ["ping", "-c1", "-W1", spec.ipv4.address]).status === 0;
  const count = (port: LibbpfPort, hook: number): bigint => new BigUint64Array(port.map("seen")?.lookup(new Uint8Array([hook, 0, 0, 0]))?.buffer as ArrayBuffer)[0] ?? 0n;

  it("attaches before the pod has its end, then every packet meets the programs", async () => {
    execFileSync("ip", ["address", "add", "10.8.0.1/32", "dev", "lo"]);
    execFileSync("ip", ["link", "set", "lo", "up"]);
    const port = new LibbpfPort(pinDir);
    const datapath = Datapath.load({ port, objects, pinDir });
    const veths = new PodVeths({ netlink: new Netlink(), sysctl: new Sysctl(), run: runCommand, plugin: join(import.meta.dirname, "../../build/bin/cilium-cni") });
    const { ifindex } = await veths.create(spec);
    datapath.attach("FROM_CONTAINER", ifindex);
    datapath.attach("TO_CONTAINER", ifindex);
    await veths.connect(spec);
    assert.ok(reachable());
    assert.ok(count(port, Hook.TO_CONTAINER) > 0n && count(port, Hook.FROM_CONTAINER) > 0n);
  });

  it("attaching again leaves one filter per side", async () => {
    const port = new LibbpfPort(pinDir);
    const datapath = Datapath.load({ port, objects, pinDir });
    const device = await new Links(runCommand).find(spec.hostName);
    assert.ok(device);
    for (let i = 0; i < 3; i++) datapath.attach("FROM_CONTAINER", device.ifindex);
    const shown = execFileSync("tc", ["filter", "show", "dev", spec.hostName, "ingress"], { encoding: "utf8" });
    assert.equal(shown.match(/ handle /g)?.length, 1, shown);
    assert.ok(reachable());
  });

  it("a new version takes the slots of the devices that are attached already", () => {
    const port = new LibbpfPort(pinDir);
    Datapath.load({ port, objects, pinDir, rodata: { option_closed: 1 } });
    assert.equal(reachable(), false);
    Datapath.load({ port: new LibbpfPort(pinDir), objects, pinDir });
    assert.equal(reachable(), true);
  });

  /** In a process of its own, which ends before any device has the stubs of this version. */
  const loadAndEnd = (version: object): void => {
    const source = `import { LibbpfPort, Datapath } from ${JSON.stringify(join(import.meta.dirname, "../../src/kernel/index.ts"))};
      Datapath.load({ port: new LibbpfPort(${JSON.stringify(pinDir)}), ...${JSON.stringify({ objects, pinDir, ...version })} });`;
    execFileSync(process.execPath, ["--input-type=module-typescript", "-e", source]);
  };
  const arrays = (): number => readdirSync(pinDir).filter((name) => name.startsWith("hooks_")).length;

  it("keeps running when the process that loaded it is gone", () => {
    loadAndEnd({});
    assert.equal(reachable(), true);
    assert.deepEqual(readdirSync(pinDir).filter((name) => name.startsWith("stub_")).length, 6);
  });

  it("a version with another program array is in force at once, by the stubs that the devices have, until they have its own", async () => {
    const device = await new Links(runCommand).find(spec.hostName);
    assert.ok(device);
    const attach = (datapath: Datapath): void => { for (const hook of ["FROM_CONTAINER", "TO_CONTAINER"] as const) datapath.attach(hook, device.ifindex); };
    const versions = [{ maxEntries: { hooks: 40 }, rodata: { option_closed: 1 } }, { rodata: { option_closed: 0 } }];
    for (const version of versions) {
      const datapath = Datapath.load({ port: new LibbpfPort(pinDir), objects, pinDir, ...version });
      assert.equal(reachable(), version.rodata.option_closed === 0, "before the devices have its stubs");
      attach(datapath);
      datapath.allAttached();
      assert.equal(reachable(), version.rodata.option_closed === 0);
    }
    assert.equal(arrays(), 1);
  });

  it("a start with another program array that ends before all devices have its stubs cuts none off; the next one ends it", async () => {
    loadAndEnd({ maxEntries: { hooks: 40 } });
    assert.equal(reachable(), true, "by the stubs and the array of before, with the new programs");
    assert.equal(arrays(), 2);
    loadAndEnd({ maxEntries: { hooks: 40 }, rodata: { option_closed: 1 } });
    assert.equal(reachable(), false, "a later start flips that array too");
    const device = await new Links(runCommand).find(spec.hostName);
    const datapath = Datapath.load({ port: new LibbpfPort(pinDir), objects, pinDir, maxEntries: { hooks: 40 } });
    for (const hook of ["FROM_CONTAINER", "TO_CONTAINER"] as const) datapath.attach(hook, device?.ifindex ?? 0);
    datapath.allAttached();
    assert.equal(reachable(), true);
    assert.equal(arrays(), 1);
  });

  it("replaces stubs whose program array is gone", async () => {
    const [hooks] = readdirSync(pinDir).filter((name) => name.startsWith("hooks_"));
    rmSync(join(pinDir, hooks ?? ""));
    const datapath = Datapath.load({ port: new LibbpfPort(pinDir), objects, pinDir });
    const device = await new Links(runCommand).find(spec.hostName);
    assert.ok(device);
    for (const hook of ["FROM_CONTAINER", "TO_CONTAINER"] as const) datapath.attach(hook, device.ifindex);
    assert.equal(reachable(), true);
  });

  it("a version that does not load changes nothing, and an unknown option is refused", () => {
    const bad = { port: new LibbpfPort(pinDir), objects, pinDir, rodata: { option_typo: 1 } };
    assert.throws(() => Datapath.load(bad), /no object in .* has the option option_typo/);
    assert.equal(reachable(), true);
  });

  it("what a start that died before its flip has left is removed, and not taken for what is in force", () => {
    Datapath.load({ port: new LibbpfPort(pinDir), objects, pinDir });
    const files = (): string[] => readdirSync(pinDir).sort();
    const before = files();
    const dead = new LibbpfPort(pinDir);
    dead.load({ file: join(objects, "hooks.o"), maxEntries: { seen: 16 } });
    dead.map("seen")?.update(new Uint8Array(4), new Uint8Array(8).fill(0xff));
    assert.equal(files().length, before.length + 1);
    const port = new LibbpfPort(pinDir);
    Datapath.load({ port, objects, pinDir });
    assert.deepEqual(files(), before);
    assert.notEqual(count(port, Hook.FROM_CONTAINER), 0xffff_ffff_ffff_ffffn);
  });

  it("detaches; absent filters and devices are no error", async () => {
    const datapath = Datapath.load({ port: new LibbpfPort(pinDir), objects, pinDir });
    const device = await new Links(runCommand).find(spec.hostName);
    assert.ok(device);
    for (const hook of ["FROM_CONTAINER", "TO_CONTAINER"] as const) {
      datapath.detach(hook, device.ifindex);
      datapath.detach(hook, device.ifindex);
      datapath.detach(hook, 99_999);
    }
    assert.doesNotMatch(execFileSync("tc", ["filter", "show", "dev", spec.hostName, "ingress"], { encoding: "utf8" }), /bpf/);
    assert.throws(() => datapath.attach("FROM_CONTAINER", 99_999), { name: "KernelError" });
  });

  it("takes every stub off at uninstall, by name, and leaves the filters of others", async () => {
    const datapath = Datapath.load({ port: new LibbpfPort(pinDir), objects, pinDir });
    const links = new Links(runCommand);
    const device = await links.find(spec.hostName);
    assert.ok(device);
    execFileSync("tc", ["filter", "add", "dev", spec.hostName, "ingress", "protocol", "all", "pref", "5", "bpf", "bytecode", "1,6 0 0 0"]);
    for (const hook of ["FROM_NETDEV", "TO_NETDEV"] as const) datapath.attach(hook, device.ifindex);
    await detachStubs(runCommand, await links.list());
    assert.doesNotMatch(execFileSync("tc", ["filter", "show", "dev", spec.hostName, "egress"], { encoding: "utf8" }), /stub/);
    const ingress = execFileSync("tc", ["filter", "show", "dev", spec.hostName, "ingress"], { encoding: "utf8" });
    assert.doesNotMatch(ingress, /stub/);
    assert.match(ingress, /pref 5 bpf/);
    const qdiscs = (): string => execFileSync("tc", ["qdisc", "show", "dev", spec.hostName], { encoding: "utf8" });
    assert.match(qdiscs(), /clsact/);
    execFileSync("tc", ["filter", "delete", "dev", spec.hostName, "ingress", "pref", "5"]);
    for (const hook of ["FROM_NETDEV", "TO_NETDEV"] as const) datapath.attach(hook, device.ifindex);
    await detachStubs(runCommand, await links.list());
    assert.doesNotMatch(qdiscs(), /clsact/, "a clsact that held nothing but ours is gone");
  });
}
