/**
 * A real cluster of its own (name, directory and subnets differ from `make cluster`'s), brought up, used and removed.
 * Needs root; takes some minutes.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { cgroupDirs, cgroupPids, machineCgroups } from "../../src/cluster/cgroup.ts";
import { AGENT_NOT_READY_TAINT, clusterConfig, clusterPaths, machineLink } from "../../src/cluster/config.ts";
import { nodeExec } from "../../src/cluster/exec.ts";
import { writeOciArchive } from "../../src/image/index.ts";
import { capture, isAlive, type Output, processIdentity, type ProcessIdentity, run } from "../../src/cluster/process.ts";

const NAME = "cltest";
const ROOT = join(import.meta.dirname, "../..");
const MAIN = join(ROOT, "src/cluster/main.ts");
const PIN = "/sys/fs/bpf/test-program";
const work = mkdtempSync("/var/tmp/cluster-test-");
const env = { CLUSTER_NAME: NAME, CLUSTER_DIR: join(work, "state"), CLUSTER_SUBNET: "172.29.77.0/24", CLUSTER_SUBNET6: "fd00:172:29:4d::/64", NODES: "2", CNI: "ptp", KUBE_PROXY: "1" };
const config = clusterConfig({ ...process.env, ...env });
const layout = machineCgroups();

function cluster(...args: string[]): Promise<Output> {
  return capture([process.execPath, MAIN, ...args], { env, timeoutMs: 300_000 });
}

async function succeeds(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster(...args);
  assert.equal(code, 0, stdout + stderr);
  return stdout;
}

/** Everything on the machine that carries the cluster's name or directory, and settings that belong to nobody. */
async function traces(): Promise<object> {
  const named = (text: string): string[] => text.split("\n").filter((line) => line.includes(NAME) || line.includes(work));
  return {
    netns: named((await run(["ip", "netns", "list"]))),
    links: named(await run(["ip", "-brief", "link"])),
    routes: named(`${await run(["ip", "route", "show", "table", "all"])}${await run(["ip", "-6", "route", "show", "table", "all"])}`),
    mounts: named(readFileSync("/proc/self/mountinfo", "utf8")),
    cgroups: cgroupDirs(layout, NAME, "").filter(existsSync),
    // A dead process is there until its parent collects it.
    processes: allPids().filter((pid) => processIdentity(pid) !== undefined && belongs(pid)),
    pins: existsSync("/sys/fs/bpf") ? readdirSync("/sys/fs/bpf", { recursive: true }) : [],
    files: existsSync(config.dir) ? [config.dir] : [],
    firewall: (await capture(["iptables-save"])).stdout.split("\n").filter((line) => line.startsWith("-") || line.startsWith(":")).map((line) => line.replace(/ \[.*/, "")),
    sysctls: ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/hostname", "net/ipv4/ip_forward", "kernel/random/boot_id"]
      .map((name) => readFileSync(`/proc/sys/${name}`, "utf8")),
    directories: ["/etc/cni", "/opt/cni", "/etc/kubernetes", "/var/lib/kubelet", "/var/lib/cni", "/var/lib/cilium", "/var/log/pods", "/run/containerd", "/lib/modules"].filter(existsSync),
  };
}

function allPids(): number[] {
  return readdirSync("/proc").map(Number).filter((pid) => pid > 0 && pid !== process.pid);
}

function belongs(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`${NAME}-cluster`) || readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(work);
  } catch {
    return false;
  }
}

/** Network and mount namespaces of the cluster's processes, which nobody may hold once it is gone. */
function namespacesOf(pids: Iterable<number>): Set<string> {
  const held = new Set<string>();
  for (const pid of pids) for (const kind of ["net", "mnt", "uts", "cgroup"]) held.add(namespaceOf(pid, kind));
  for (const kind of ["net", "mnt", "uts", "cgroup"]) held.delete(namespaceOf(process.pid, kind));
  held.delete("");
  return held;
}

function namespaceOf(pid: number, kind: string): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return "";
  }
}

function programOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return ""; // It has ended.
  }
}

let untouched: object;
before(async () => {
  await succeeds("down");
  untouched = await traces();
});
after(async () => {
  await succeeds("down"); // The next tier needs what a cluster of ours would hold.
  rmSync(work, { recursive: true, force: true });
});

async function assertNothingLeft(): Promise<void> {
  // The kernel takes a network namespace and its links down after the last process in it, in its own time.
  for (let attempt = 0; attempt < 20 && (await run(["ip", "-brief", "link"])).includes(machineLink(config)); attempt++) await sleep(100);
  assert.deepEqual(await traces(), untouched);
}

test("up, twice; pods on two nodes reach one another by both families and by name; nodes restart; down leaves nothing", { timeout: 400_000 }, async (t) => {
  await succeeds("up");
  const kubectl = async (...args: string[]): Promise<string> => (await run([join(clusterPaths(config).bin, "kubectl"), `--kubeconfig=${clusterPaths(config).kubeconfig}`, ...args])).trim();

  await t.test("up on a healthy cluster is quick and starts nothing anew", async () => {
    const daemons = [...cgroupPids(layout, NAME)].filter((pid) => /\/(kube-apiserver|etcd|kubelet|containerd)$/.test(programOf(pid)))
      .map(processIdentity).filter((each): each is ProcessIdentity => each !== undefined);
    const start = performance.now();
    await succeeds("up");
    assert.ok(performance.now() - start < 15_000);
    assert.equal(daemons.length, 6);
    assert.ok(daemons.every(isAlive));
  });

  await t.test("another command at the same time, and other settings, are refused in one line", async () => {
    const [first, second] = await Promise.all([cluster("up"), cluster("up")]);
    const refused = [first, second].filter(({ code }) => code !== 0);
    assert.equal(refused.length, 1);
    assert.match(refused[0]?.stderr ?? "", /^cluster: another command \(make cluster, process \d+\) is at work on this cluster: [^\n]+\n$/);
    const changed = await capture([process.execPath, MAIN, "up"], { env: { ...env, CNI: "none" } });
    assert.match(changed.stderr, /^cluster: the cluster in \S+ has cni ptp, not none: make cluster-down first, or ask for the same\n$/);
  });

  await t.test("another checkout with the same names is told whose they are", async () => {
    const other = await capture([process.execPath, MAIN, "up"], { env: { ...env, CLUSTER_DIR: join(work, "other") } });
    assert.equal(other.stderr, `cluster: a cluster named ${NAME} is on this machine, made in ${config.dir}: make cluster-down CLUSTER_DIR=${config.dir}, or choose CLUSTER_NAME, CLUSTER_SUBNET and CLUSTER_SUBNET6 of your own\n`);
  });

  await t.test("pods talk", async () => {
    await kubectl("create", "deployment", "web", "--image=localhost/busybox:1", "--replicas=4", "--", "sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www");
    await kubectl("create", "service", "clusterip", "web", "--tcp=80:8080");
    await kubectl("rollout", "status", "deployment/web", "--timeout=60s");
    const pods = (JSON.parse(await kubectl("get", "pods", "-o", "json")) as { items: { metadata: { name: string }; spec: { nodeName: string }; status: { podIPs: { ip: string }[] } }[] }).items;
    assert.equal(new Set(pods.map((pod) => pod.spec.nodeName)).size, 2);
    for (const from of pods.slice(0, 2)) {
      for (const to of pods) {
        for (const { ip } of to.status.podIPs) {
          const url = `http://${ip.includes(":") ? `[${ip}]` : ip}:8080`;
          assert.equal(await kubectl("exec", from.metadata.name, "--", "timeout", "5", "wget", "-qO-", url), to.metadata.name);
        }
      }
      assert.match(await kubectl("exec", from.metadata.name, "--", "timeout", "10", "wget", "-qO-", "http://web.default.svc.cluster.local"), /^web-/);
    }
  });

  await t.test("an archive is loaded into every node, and into one that is added later", async () => {
    const tag = "localhost/loaded:1";
    const archive = join(work, "loaded.tar");
    const layer = join(work, "layer.tar");
    await run(["tar", "-cf", layer, "-C", work, "--files-from=/dev/null"]);
    await writeOciArchive({ file: archive, ref: tag, layers: [layer], config: { cmd: ["/none"] } });
    await succeeds("load", archive);
    const more = { ...env, NODES: "3" };
    const grown = await capture([process.execPath, MAIN, "up"], { env: more, timeoutMs: 120_000 });
    assert.equal(grown.code, 0, grown.stderr);
    for (const node of ["node-1", "node-2", "node-3"]) {
      const images = await nodeExec(node, ["ctr", "--namespace=k8s.io", "images", "list", "--quiet"], { config: { ...config, nodes: 3 } });
      assert.ok(images.stdout.split("\n").includes(tag), `${node}: ${images.stdout}`);
    }
  });

  await t.test("a stopped node starts again with its disk and comes back Ready", async () => {
    const bootId = async (): Promise<string> => (await nodeExec("node-2", ["cat", "/proc/sys/kernel/random/boot_id", "/etc/machine-id"], { config })).stdout;
    const [firstBoot, machine] = (await bootId()).split("\n");
    await nodeExec("node-2", ["sh", "-c", "echo kept > /var/lib/cilium/kept; echo gone > /run/gone"], { config });
    await succeeds("node-stop", "node-2");
    await assert.rejects(async () => nodeExec("node-2", ["true"], { config }), /node-2 is not running/);
    await succeeds("node-start", "node-2");
    const files = await nodeExec("node-2", ["sh", "-c", "cat /var/lib/cilium/kept; ls /run/gone"], { config });
    assert.equal(files.stdout, "kept\n");
    const [secondBoot, sameMachine] = (await bootId()).split("\n");
    assert.notEqual(secondBoot, firstBoot);
    assert.equal(sameMachine, machine);
    await kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=90s");
  });

  const pinned: BpfObjects = { progs: [], maps: [] };
  await t.test("a node's programs and maps, pinned in its bpffs and attached to its device", async () => {
    const inNode = async (...argv: string[]): Promise<string> => {
      const { code, stdout, stderr } = await nodeExec("node-1", argv, { config });
      assert.equal(code, 0, stderr);
      return stdout;
    };
    await inNode("bpftool", "prog", "load", join(ROOT, "build/bpf/netdev.o"), PIN, "type", "classifier", "pinmaps", "/sys/fs/bpf/test-maps");
    await inNode("sh", "-c", `tc qdisc add dev eth0 clsact && tc filter add dev eth0 egress prio 99 bpf direct-action object-pinned ${PIN}`);
    const program = JSON.parse(await inNode("bpftool", "--json", "prog", "show", "pinned", PIN)) as { id: number; map_ids: number[] };
    pinned.progs.push(program.id);
    pinned.maps.push(...program.map_ids);
    assert.ok(pinned.maps.length > 0);
    assert.match(await inNode("tc", "filter", "show", "dev", "eth0", "egress"), new RegExp(`id ${program.id}\\b`));
    assert.deepEqual(await livingBpf(pinned), pinned);
  });

  await t.test("down", async () => {
    const pids = [...cgroupPids(layout, NAME)];
    const identities = pids.map(processIdentity).filter((each): each is ProcessIdentity => each !== undefined);
    const namespaces = namespacesOf(pids);
    assert.ok(identities.length > 15 && namespaces.size > 8, `${identities.length} processes, ${namespaces.size} namespaces`);
    await succeeds("down");
    assert.deepEqual(identities.filter(isAlive), []);
    assert.deepEqual([...namespacesOf(allPids())].filter((namespace) => namespaces.has(namespace)), []);
    await assertNothingLeft();
    // The kernel frees programs and maps some time after their last holder.
    for (let attempt = 0; attempt < 50 && (await livingBpf(pinned)).maps.length > 0; attempt++) await sleep(100);
    assert.deepEqual(await livingBpf(pinned), { progs: [], maps: [] });
    await succeeds("down");
  });
});

test("without CNI plugin and kube-proxy: the node registers and waits for a network; down leaves nothing", { timeout: 200_000 }, async () => {
  const bare = { ...env, NODES: "1", CNI: "none", KUBE_PROXY: "0" };
  const made = await capture([process.execPath, MAIN, "up"], { env: bare, timeoutMs: 120_000 });
  assert.equal(made.code, 0, made.stdout + made.stderr);
  const get = async (...args: string[]): Promise<{ items: { metadata: { name: string }; spec: { taints?: { key: string }[] }; status: { conditions: { type: string; status: string; message: string }[] } }[] }> =>
    JSON.parse(await run([join(clusterPaths(config).bin, "kubectl"), `--kubeconfig=${clusterPaths(config).kubeconfig}`, "get", "-o", "json", ...args])) as Awaited<ReturnType<typeof get>>;
  const [node, ...others] = (await get("nodes")).items;
  assert.deepEqual([node?.metadata.name, others.length], ["node-1", 0]);
  const ready = node?.status.conditions.find(({ type }) => type === "Ready");
  assert.equal(ready?.status, "False");
  assert.match(ready?.message ?? "", /cni plugin not initialized/);
  assert.ok(!node?.spec.taints?.some(({ key }) => key === AGENT_NOT_READY_TAINT));
  assert.deepEqual((await get("daemonsets", "--all-namespaces")).items, []);
  await succeeds("down");
  await assertNothingLeft();
});

for (const step of ["machine is fit", "programs", "network", "control plane", "kubelets"]) {
  test(`kill -9 after the step "${step}" of up: down leaves nothing`, { timeout: 120_000 }, async () => {
    await killedUp(step);
    await succeeds("down");
    await assertNothingLeft();
  });
}

test("kill -9 in the middle of up: another up completes it", { timeout: 300_000 }, async () => {
  await killedUp("control plane");
  await succeeds("up");
  await succeeds("down");
  await assertNothingLeft();
});

test("behind Docker's FORWARD DROP, and with Kubernetes' ports taken, pods of two nodes talk", { timeout: 200_000 }, async () => {
  // A network namespace stands for such a machine, so that nothing of this one is changed.
  const machine = `${NAME}-machine`;
  const there = (...argv: string[]): string[] => ["nsenter", `--net=/run/netns/${machine}`, "--", ...argv];
  await run(["ip", "netns", "add", machine]);
  const ports = spawn("nsenter", there(process.execPath, "-e", "for (const port of [2379, 2380, 6443, 10250, 10257, 10259]) require('node:net').createServer().listen(port)").slice(1), { stdio: "ignore" });
  try {
    await run(there("sh", "-c", "ip link set lo up; for tool in iptables ip6tables; do $tool -P FORWARD DROP; done; sysctl -qw net.bridge.bridge-nf-call-iptables=1 2> /dev/null || true"));
    const inside = async (...argv: string[]): Promise<string> => (await run(there(...argv), { env, timeoutMs: 120_000 })).trim();
    assert.match(await inside(process.execPath, MAIN, "up"), /FORWARD policy is DROP .* no need to change it/);
    const kubectl = (...args: string[]): Promise<string> => inside(join(clusterPaths(config).bin, "kubectl"), `--kubeconfig=${clusterPaths(config).kubeconfig}`, ...args);
    for (const node of ["node-1", "node-2"]) {
      const spec = { nodeName: node, containers: [{ name: "web", image: "localhost/busybox:1", command: ["sh", "-c", "mkdir /www; echo here > /www/index.html; exec httpd -f -p 8080 -h /www"] }] };
      await run(there(join(clusterPaths(config).bin, "kubectl"), `--kubeconfig=${clusterPaths(config).kubeconfig}`, "apply", "-f", "-"), { input: JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: node }, spec }) });
    }
    await kubectl("wait", "--for=condition=Ready", "pod/node-1", "pod/node-2", "--timeout=60s");
    const address = await kubectl("get", "pod", "node-2", "--output=jsonpath={.status.podIP}");
    assert.equal(await kubectl("exec", "node-1", "--", "timeout", "5", "wget", "-qO-", `http://${address}:8080`), "here");
  } finally {
    ports.kill("SIGKILL");
    await cluster("down");
    await run(["ip", "netns", "del", machine]);
  }
  await assertNothingLeft();
});

/** Kills `up` when it says that a step is done; something of the cluster is then there. */
async function killedUp(step: string): Promise<void> {
  const child = spawn(process.execPath, [MAIN, "up"], { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise<NodeJS.Signals | null>((done) => child.on("close", (_code, signal) => done(signal)));
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString();
    if (said.includes(`✓ ${step}`)) child.kill("SIGKILL");
  });
  assert.equal(await ended, "SIGKILL", said);
  assert.notDeepEqual(await traces(), untouched);
}

interface BpfObjects {
  readonly progs: number[];
  readonly maps: number[];
}

/** Those of some programs and maps that the kernel still has, by their ids, which it does not soon give again. */
async function livingBpf({ progs, maps }: BpfObjects): Promise<BpfObjects> {
  const ids = async (kind: string): Promise<Set<number>> => new Set((JSON.parse(await run(["bpftool", "--json", kind, "list"])) as { id: number }[]).map(({ id }) => id));
  const [livingProgs, livingMaps] = [await ids("prog"), await ids("map")];
  return { progs: progs.filter((id) => livingProgs.has(id)), maps: maps.filter((id) => livingMaps.has(id)) };
}
