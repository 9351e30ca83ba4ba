/** `cilium preflight --offline` as a person runs it, in network namespaces that are as prepared. */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { NodeReport } from "../../src/cli/preflight.ts";
import type { Finding } from "../../src/preflight/index.ts";
import { LibbpfPort, probeBpf } from "../../src/kernel/index.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const OBJECTS = join(ROOT, "build/bpf");
const NAMES = [`preflight-a-${process.pid}`, `preflight-b-${process.pid}`] as const;
const [good, bad] = NAMES;
const folder = mkdtempSync(join(tmpdir(), "preflight-node-"));
const inside = (name: string, ...command: string[]): string => execFileSync("ip", ["netns", "exec", name, ...command], { encoding: "utf8" });

after(() => {
  for (const name of NAMES) spawnSync("ip", ["netns", "delete", name]);
  rmSync(folder, { recursive: true, force: true });
});
for (const name of NAMES) {
  execFileSync("ip", ["netns", "add", name]);
  inside(name, "ip", "link", "add", "out0", "type", "veth", "peer", "name", "out1");
  inside(name, "ip", "address", "add", "192.0.2.1/24", "dev", "out0");
  inside(name, "ip", "link", "set", "out0", "up");
  mkdirSync(join(folder, name));
}

interface Answer {
  readonly status: number | null;
  readonly findings: readonly Finding[];
  readonly stderr: string;
}

function preflight(name: string, before: readonly string[], ...more: string[]): Answer {
  const command = ["ip", "netns", "exec", name, ...before, process.execPath, join(ROOT, "src/cli/main.ts"), "preflight", "--offline", "--setting", `cni-conf-path=${join(folder, name)}`, "-o", "json", ...more] as const;
  const { status, stdout, stderr } = spawnSync(command[0], command.slice(1), { encoding: "utf8", env: { PATH: process.env["PATH"], HOME: folder } });
  assert.notEqual(stdout, "", stderr);
  return { status, findings: (JSON.parse(stdout) as readonly NodeReport[]).flatMap(({ findings }) => findings), stderr };
}

const problem = ({ verdict }: Finding): boolean => verdict === "warning" || verdict === "blocker";
const links = (name: string): string => inside(name, "ip", "-details", "link", "show").replaceAll(/\d+sec/g, "");

test("a machine with nothing on it is fit, and is left as it was", () => {
  const before = [links(good), inside(good, "nft", "list", "ruleset"), inside(good, "tc", "qdisc", "show")];
  const { status, findings, stderr } = preflight(good, [], "--pod-cidr", "10.0.0.0/16", "--service-cidr", "10.96.0.0/12");
  assert.deepEqual(findings.filter(problem), []);
  assert.equal(status, 0, stderr);
  assert.match(findings.find(({ check }) => check === "bpf programs")?.message ?? "", /all \d+ objects load$/);
  assert.deepEqual([links(good), inside(good, "nft", "list", "ruleset"), inside(good, "tc", "qdisc", "show")], before);
});

test("what the objects need is read from the objects, every helper with its name", () => {
  const { needs } = probeBpf(new LibbpfPort(), OBJECTS, false);
  const names = needs.map(({ kind, name }) => `${kind} ${name}`);
  for (const name of ["program type sched_cls", "map type ringbuf", "map type prog_array", "helper tail_call", "helper redirect_peer"]) assert.ok(names.includes(name), `${name} is not in ${names.join(", ")}`);
  assert.deepEqual(names.filter((name) => name.includes("number")), [], "kernel/probe.ts lacks their names");
  assert.ok(needs.every(({ works, users }) => works && users.length > 0));
});

test("everything that is in the way is found, each with a remedy", () => {
  inside(bad, "ip", "link", "add", "flannel.1", "type", "vxlan", "id", "1", "dstport", "8472", "dev", "out0");
  inside(bad, "tc", "qdisc", "add", "dev", "out0", "clsact");
  inside(bad, "tc", "filter", "add", "dev", "out0", "egress", "pref", "7", "bpf", "da", "obj", join(OBJECTS, "host.o"), "sec", "tc");
  inside(bad, "ip", "rule", "add", "pref", "100", "to", "10.9.0.0/16", "lookup", "200");
  inside(bad, "ip", "route", "add", "10.0.3.0/24", "dev", "out0");
  const files = { "00-multus.conf": JSON.stringify({ type: "multus", delegates: [{ type: "macvlan" }] }), "01-broken.conf": "{ nonsense", "99-later.conflist": JSON.stringify({ plugins: [{ type: "bridge" }] }) };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, bad, name), text);
  symlinkSync("/nowhere", join(folder, bad, "02-lost.conf"));
  const { status, findings } = preflight(bad, [], "--setting", "cni-exclusive=false", "--pod-cidr", "10.0.0.0/16", "--service-cidr", "10.0.128.0/20");
  assert.equal(status, 1);
  const found = findings.filter(problem);
  for (const [check, words] of [
    ["tunnel port", /flannel\.1/], ["tc programs of others", /out0 egress: bpf .*preference 7/], ["ip rules", /IPv4 100: .*10\.9\.0\.0\/16/], ["routes", /10\.0\.3\.0\/24 dev out0/],
    ["network configurations", /00-multus\.conf is of Multus/], ["network configurations", /00-multus\.conf gives pods devices of macvlan/],
    ["network configurations", /01-broken\.conf is no network configuration/], ["network configurations", /02-lost\.conf is no network configuration/], ["address ranges", /overlap/],
  ] as const) assert.ok(found.some((each) => each.check === check && words.test(each.message)), `${check} ${String(words)}: ${JSON.stringify(found, undefined, 1)}`);
  for (const { message, meaning, remedy } of found) assert.ok(meaning !== undefined && remedy !== undefined, message);
  assert.match(findings.find(({ message }) => message.includes("99-later"))?.message ?? "", /read after ours/);
});

test("it ends while its standard input stays open, as it does behind the API server's exec", async () => {
  const child = spawn(process.execPath, [join(ROOT, "src/cli/main.ts"), "preflight", "--offline", "--ranges-from-stdin", "-o", "json"], { stdio: ["pipe", "pipe", "inherit"], env: { PATH: process.env["PATH"], HOME: folder } });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stdin.write(`${JSON.stringify([{ of: "services", kind: "services", cidr: "10.0.0.0/16" }, { of: "pods of a", kind: "pods", cidr: "10.0.1.0/24" }])}\n`);
  const status = await Promise.race([new Promise((settled) => child.on("close", settled)), sleep(90_000, "still runs", { ref: false })]);
  child.kill("SIGKILL");
  assert.equal(status, 1);
  assert.match(Buffer.concat(chunks).toString("utf8"), /services \(10\.0\.0\.0\/16\) and pods of a \(10\.0\.1\.0\/24\) overlap/);
});

test("without rights it says which are missing, and takes nothing for good that it could not try", () => {
  const { status, findings } = preflight(good, ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]);
  assert.equal(status, 1);
  assert.match(findings.find(({ check }) => check === "rights")?.message ?? "", /lacks NET_ADMIN .*SYS_ADMIN/);
  for (const check of ["bpf programs", "VXLAN", "tc (clsact)"]) assert.equal(findings.find((finding) => finding.check === check)?.verdict, "unknown", check);
});
