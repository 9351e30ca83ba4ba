/** `cilium policy validate|explain|simulate` as a process: folders, standard input, formats, exit status, and what people read. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import { load } from "js-yaml";
import { readFlows } from "../../../src/cli/flows.ts";

const root = resolve(import.meta.dirname, "..", "..", "..");
const dir = mkdtempSync(join(tmpdir(), "cli-policy-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function policy(args: readonly string[], input = ""): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [join(root, "src", "cli", "main.ts"), "policy", ...args], { encoding: "utf8", input, env: { PATH: process.env["PATH"], HOME: dir }, cwd: dir });
}

function file(name: string, content: string): string {
  mkdirSync(join(dir, name, ".."), { recursive: true });
  writeFileSync(join(dir, name), content);
  return name;
}

const pod = (name: string, app: string, ip: string): string => `kind: Pod\nmetadata: {name: ${name}, labels: {app: ${app}}}\nstatus: {podIP: ${ip}}\n`;
const allow = (name: string, app: string, port: number): string =>
  `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${name}}\nspec:\n  endpointSelector: {matchLabels: {app: api}}\n  ingress:\n  - fromEndpoints: [{matchLabels: {app: ${app}}}]\n    toPorts: [{ports: [{port: "${port}", protocol: TCP}]}]\n`;
file("world/pods.yaml", ["kind: Namespace\nmetadata: {name: default}\n", pod("api", "api", "10.0.0.1"), pod("web", "web", "10.0.0.2"), pod("job", "job", "10.0.0.3")].join("---\n"));
file("world/more/policy.yml", allow("allow", "web", 8080));

test("validate reads folders and several documents, names file and line and path, warns, and ends with 0, 1 or 2", () => {
  const good = policy(["validate", "world", "-o", "json"]);
  assert.equal(good.status, 0, good.stderr);
  const findings = JSON.parse(good.stdout) as { file: string; object: string; outcome: string; warnings: object[] }[];
  assert.deepEqual(findings.map(({ file: at, object, outcome }) => [at, object, outcome]), [["world/more/policy.yml", "allow", "valid"], ["world/pods.yaml", "default", "skipped"], ["world/pods.yaml", "api", "skipped"], ["world/pods.yaml", "web", "skipped"], ["world/pods.yaml", "job", "skipped"]]);
  file("typo.yaml", `${allow("unselected", "wob", 1)}---\n${allow("bad", "web", 1).replace("toPorts", "toPort")}`);
  const bad = policy(["validate", "typo.yaml", "world/pods.yaml"]);
  assert.equal(bad.status, 1);
  assert.match(bad.stdout, /^typo\.yaml: bad: invalid\n {2}spec\.ingress\[0\]\.toPort: unknown field; did you mean toPorts\? \(typo\.yaml:17\)$/m);
  assert.match(bad.stdout, /^typo\.yaml: unselected: valid\n {2}warning: spec\.ingress\[0\]\.toPorts\[0\]: a selector of its peers means no pod that is known here \(typo\.yaml:8\)$/m);
  file("unselected.yaml", allow("unselected", "wob", 1));
  assert.deepEqual([policy(["validate", "unselected.yaml", "world/pods.yaml"]).status, policy(["validate", "--strict", "unselected.yaml", "world/pods.yaml"]).status], [0, 1]);
  const broken = policy(["validate", "-", "-o", "yaml"], "kind: X\nmetadata: [\n");
  assert.equal(broken.status, 1);
  assert.match((load(broken.stdout) as { problems: { message: string }[] }[])[0]?.problems[0]?.message ?? "", /no YAML/);
  assert.deepEqual([policy(["validate", "nowhere.yaml"]).status, policy(["validate"]).status], [2, 2]);
  assert.match(policy(["validate", "nowhere.yaml"]).stderr, /^cilium: nowhere\.yaml: there is no such file or folder$/m);
});

test("explain answers over files: 0 allowed, 1 denied, 2 no answer", () => {
  const ask = (from: string, port: string, ...more: string[]): ReturnType<typeof policy> => policy(["explain", "--files", "world", "--from", from, "--to", "default/api", "--port", port, ...more]);
  const allowed = ask("default/web", "8080/TCP", "-o", "json");
  assert.equal(allowed.status, 0, allowed.stderr);
  const { answers } = JSON.parse(allowed.stdout) as { answers: { verdict: string; ingress: { rule: object } }[] };
  assert.deepEqual(answers[0]?.ingress.rule, { policies: [{ kind: "CiliumNetworkPolicy", namespace: "default", name: "allow" }], path: "spec.ingress[0].toPorts[0]", at: "world/more/policy.yml:8" });
  const denied = ask("default/job", "8080/TCP");
  assert.equal(denied.status, 1, denied.stderr);
  assert.match(denied.stdout, /^default\/job → default\/api TCP 8080: DENIED$[\s\S]*the sender: it needs the label app=web; it has "job"$/m);
  const nobody = ask("default/none", "8080");
  assert.deepEqual([nobody.status, nobody.stdout], [2, ""]);
  assert.match(nobody.stderr, /"default\/none" is nobody/);
  assert.equal(policy(["explain", "--from", "a", "--to", "b"]).status, 2);
  assert.match(policy(["explain", "--files", "world", "--context", "east", "--from", "a", "--to", "b", "--port", "1"]).stderr, /--context asks the cluster, and --files asks none/);
});

test("simulate reads what hubble has recorded: requests, drops by policy and losses; answers and sockets say nothing", () => {
  file("new.yaml", allow("allow", "job", 8080));
  const end = (name: string): object => ({ ID: 1, identity: 300, cluster_name: "default", namespace: "default", labels: ["k8s:app=x"], pod_name: name, workloads: [] });
  const flow = (from: string, more: object = {}): string => JSON.stringify({ flow: { time: "2026-01-01T00:00:00.5Z", verdict: "FORWARDED", IP: { source: "10.0.0.9", destination: "10.0.0.1", ipVersion: "IPv4" }, l4: { TCP: { source_port: 4000, destination_port: 8080, flags: { SYN: true } } }, source: end(from), destination: end("api"), Type: "L3_L4", node_name: "n", traffic_direction: "INGRESS", is_reply: false, ...more }, node_name: "n", time: "2026-01-01T00:00:00.5Z" });
  const dropped = { verdict: "DROPPED", drop_reason: 133 };
  const lines = [flow("web"), flow("web"), flow("web", { is_reply: true }), flow("web", { Type: "SOCK" }), flow("job", { ...dropped, drop_reason_desc: "POLICY_DENIED" }), flow("job", dropped), flow("web", { verdict: "DROPPED", drop_reason_desc: "CT_MAP_INSERTION_FAILED" }), JSON.stringify({ lost_events: { source: "HUBBLE_RING_BUFFER", num_events_lost: "5" }, node_name: "n" }), JSON.stringify({ node_status: { state_change: "NODE_CONNECTED" } }),
    flow("web", { l4: { VRRP: { type: 1, vrid: 7, priority: 100 } } }), flow("web", { l4: { IGMP: { type: 22, group_address: "224.0.0.1" } } }), flow("web", { l4: null })];
  const { status, stdout, stderr } = policy(["simulate", "--files", "world", "-f", "new.yaml", "--flows", "-", "-o", "json"], `${lines.join("\n")}\n`);
  assert.equal(status, 1, stderr);
  const { flows } = JSON.parse(stdout) as { flows: { changes: { from: string; port: string; seen: number; after: string }[]; events: number; lost: number; outdated: number } };
  assert.deepEqual(flows.changes.map(({ from, port, seen, after: is }) => [from, port, seen, is]), [["default/web", "TCP 8080", 2, "denied"], ["default/job", "TCP 8080", 2, "allowed"]]);
  assert.deepEqual([flows.events, flows.lost, flows.outdated], [4, 5, 0]);
});

test("a recorded event of a wrong form is an error with file and line", async () => {
  const end = { ip: "10.0.0.1", port: 80, labels: [] };
  const good = { type: "drop", reason: "policy-denied", protocol: "TCP", source: end, destination: end };
  const broken = [{ source: undefined }, { source: { ...end, ip: "web" } }, { destination: { ...end, labels: "x" } }, { protocol: "VRRP" }, { protocol: "constructor" }, { icmpType: "8" }].map((part) => ({ ...good, ...part }));
  const hubble = { flow: { verdict: "FORWARDED", IP: { source: "x", destination: "10.0.0.1" }, l4: { TCP: {} } } };
  for (const wrong of [{ type: "drop", reason: "policy-denied" }, { type: "lost" }, ...broken, hubble]) {
    const text = JSON.stringify(wrong);
    const path = join(dir, file("wrong.json", `${JSON.stringify(good)}\n${text}\n`));
    await assert.rejects(readFlows(path), ({ message }: Error) => message.startsWith(`${path}:2: neither an event of cilium monitor`), text);
  }
});

test("simulate says which pairs and which recorded flows change, and ends as diff does", () => {
  file("new.yaml", allow("allow", "job", 8080));
  const end = (name: string, ip: string, port: number): object => ({ ip, port, identity: 300, labels: [], namespace: "default", pod: name });
  const event = (from: string, type: string): string => JSON.stringify({ type, direction: "ingress", verdict: "allow", protocol: "TCP", source: end(from, "10.0.0.9", 4000), destination: end("api", "10.0.0.1", 8080), ...(type === "drop" ? { reason: "policy-denied" } : {}) });
  file("flows.json", [event("web", "policy-verdict"), event("web", "policy-verdict"), event("job", "drop"), JSON.stringify({ type: "lost", count: 3 })].join("\n"));
  const forecast = policy(["simulate", "--files", "world", "-f", "new.yaml", "--flows", "flows.json", "-o", "json"]);
  assert.equal(forecast.status, 1, forecast.stderr);
  const { pairs, flows } = JSON.parse(forecast.stdout) as { pairs: { from: { name: string }; to: { name: string }; ports: string[]; after: string }[]; flows: { changes: { from: string; seen: number; after: string }[]; lost: number; outdated: number } };
  assert.deepEqual(pairs.map(({ from, to, ports, after: is }) => [from.name, to.name, ports, is]), [["default/job", "default/api", ["TCP 8080"], "allowed"], ["default/web", "default/api", ["TCP 8080"], "denied"]]);
  assert.deepEqual(flows.changes.map(({ from, seen, after: is }) => [from, seen, is]), [["default/web", 2, "denied"], ["default/job", 1, "allowed"]]);
  assert.deepEqual([flows.lost, flows.outdated], [3, 0]);
  const worded = policy(["simulate", "--files", "world", "-f", "new.yaml", "--flows", "-"], "# who asks whom\ndefault/web default/api 8080/TCP\n\ndefault/web default/api 9090 # closed, and stays so\n");
  assert.match(worded.stdout, /^Of the flows of 2 events these change their verdict:\n {2}default\/web → default\/api TCP 8080 \(seen 1 times\): allowed → DENIED/m);
  for (const wrong of ["{}", "a b"]) assert.match(policy(["simulate", "--files", "world", "-f", "new.yaml", "--flows", "-"], `${wrong}\n`).stderr, /-:1: neither an event of cilium monitor -o json or hubble observe -o json nor FROM TO PORT/);
  for (const [args, message] of [[["--live"], "--live asks the cluster, and --files asks none"], [["--for", "5s"], "--for is how long --live listens"]] as const) {
    const refused = policy(["simulate", "--files", "world", "-f", "new.yaml", ...args]);
    assert.deepEqual([refused.status, refused.stderr.includes(message)], [2, true], refused.stderr);
  }
  const gone = policy(["simulate", "--files", "world", "--delete", "default/allow"]);
  assert.equal(gone.status, 1);
  assert.match(gone.stdout, /default\/web → default\/api TCP 1-8079, TCP 8081-65535, other protocols: denied → ALLOWED/);
  const same = policy(["simulate", "--files", "world", "-f", "world/more/policy.yml"]);
  assert.deepEqual([same.status, same.stdout], [0, "No pair of pods changes its verdict.\n"]);
  assert.match(policy(["simulate", "--files", "world", "--delete", "default/none"]).stderr, /there is no such policy/);
  assert.match(policy(["simulate", "--files", "world", "-f", "world/pods.yaml"]).stderr, /world\/pods\.yaml:1: Namespace is no policy/);
  assert.equal(policy(["simulate", "--files", "world"]).status, 2);
});
