/** The command as a process: arguments, exit status, and what it says to a person. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import { matches } from "../../../src/cli/monitor.ts";

const root = resolve(import.meta.dirname, "..", "..", "..");
const dir = mkdtempSync(join(tmpdir(), "cli-test-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function cilium(args: readonly string[], input = ""): { status: number | null; stdout: string; stderr: string } {
  const env = { PATH: process.env["PATH"], HOME: dir };
  return spawnSync(process.execPath, [join(root, "src", "cli", "main.ts"), ...args], { encoding: "utf8", input, env });
}

test("policy validate says what is valid, and names the field of what is not", () => {
  const good = cilium(["policy", "validate", join(root, "samples", "allow-frontend-to-api.yaml")]);
  assert.equal(good.status, 0);
  assert.match(good.stdout, /allow-frontend-to-api: valid/);
  const bad = cilium(["policy", "validate", join(root, "samples", "api-rate-limit.yaml")]);
  assert.equal(bad.status, 1);
  assert.match(bad.stdout, /spec\.ingress\[0\]\.rules: /);
});

test("a reader that has read enough ends the command without an error", () => {
  const script = '"$@" | true; exit "${PIPESTATUS[0]}"';
  const { status, stderr } = spawnSync("bash", ["-c", script, "bash", process.execPath, join(root, "src", "cli", "main.ts"), "completion", "bash"], { encoding: "utf8", env: { PATH: process.env["PATH"], HOME: dir } });
  assert.deepEqual([status, stderr], [0, ""]);
});

test("policy validate reads standard input, knows every kind of policy, and skips what is none", () => {
  const namespace = cilium(["policy", "validate", "-"], "kind: Namespace\nmetadata: {name: x}\n");
  assert.equal(namespace.status, 1);
  assert.match(namespace.stdout, /skipped/);
  const documents = [
    "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: wide}\nspec: {nodeSelector: {}, ingress: []}",
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: native, namespace: n}\nspec: {podSelector: {}}",
    "apiVersion: cilium.io/v2\nkind: CiliumEgressGatewayPolicy\nmetadata: {name: other}",
  ];
  const { stdout } = cilium(["policy", "validate", "-"], documents.join("\n---\n"));
  assert.match(stdout, /wide: valid/);
  assert.match(stdout, /n\/native: valid/);
  assert.match(stdout, /CiliumEgressGatewayPolicy is not built yet/);
});

test("commands whose feature is not built say so and fail", () => {
  for (const [command, feature] of [["connectivity", /connectivity test is not built/], ["hubble", /Hubble .*not built/]] as const) {
    const { status, stderr } = cilium([command, "test", "--flag"]);
    assert.equal(status, 1);
    assert.match(stderr, feature);
  }
});

test("a cluster that is not there is one line with the remedy", () => {
  const { status, stderr } = cilium(["status"]);
  assert.equal(status, 1);
  assert.match(stderr, /^cilium: no cluster: give --kubeconfig or set KUBECONFIG\n$/);
  assert.match(cilium(["status", "--kubeconfig", join(dir, "none")]).stderr, /no such file/);
});

const DROP = {
  time: "2026-01-02T03:04:05.678901Z",
  type: "drop",
  node: "node-1",
  direction: "ingress",
  verdict: "deny",
  reason: "policy-denied",
  source: { ip: "10.0.0.2", port: 5000, identity: 300, labels: ["k8s:app=other"], namespace: "production", pod: "other-1" },
  destination: { ip: "10.0.0.3", port: 8080, identity: 301, labels: ["k8s:app=api"], namespace: "production", pod: "api-1" },
  protocol: "TCP",
  rule: { id: 7, kind: "default-deny", policies: ["production/allow-frontend-to-api"], path: "", references: [] },
  length: 74,
  hook: "from_container",
} as const;

test("monitor reads an agent's socket, names the policy, and ends with its standard input", async () => {
  const path = join(dir, "monitor.sock");
  const server = createServer((client) => client.write(`${JSON.stringify(DROP)}\nnot json\n`)).listen(path);
  const args = [join(root, "src", "cli", "main.ts"), "monitor", "--socket", path, "--until-stdin-ends"];
  const child = spawn(process.execPath, args, { stdio: "pipe" });
  const words = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    words.out += text;
    child.stdin.end();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (words.err += text));
  const status = await new Promise((settled) => child.on("close", settled));
  server.close();
  assert.equal(status, 0, words.err);
  assert.match(words.out, /node-1 .*DROPPED policy denied .*production\/other-1.*production\/api-1.*allow-frontend-to-api/);
  assert.match(words.err, /not an event: not json/);
});

test("monitor refuses to look at an agent's socket and at the cluster at once", () => {
  for (const [option, value] of [["--node", "n1"], ["--context", "east"], ["--kubeconfig", "x"], ["--namespace", "y"]] as const) {
    const { status, stderr } = cilium(["monitor", "--socket", join(dir, "none.sock"), option, value]);
    assert.equal(status, 1);
    assert.match(stderr, new RegExp(`^cilium: ${option} asks the cluster, but the socket .*none\\.sock has what its own agent knows alone`));
  }
});

test("monitor's filters never hide a loss", () => {
  const none = { types: new Set<string>() };
  assert.ok(matches(DROP, none));
  assert.ok(matches(DROP, { types: new Set(["drop"]), namespace: "production", pod: "api-1" }));
  assert.ok(!matches(DROP, { types: new Set(["policy-verdict"]) }));
  assert.deepEqual([new Set(["deny"]), new Set(["audit"])].map((verdicts) => matches(DROP, { ...none, verdicts })), [true, false]);
  assert.ok(!matches(DROP, { ...none, namespace: "default" }));
  assert.ok(!matches(DROP, { ...none, pod: "default/api-1" }));
  assert.ok(matches({ ...DROP, endpoint: { namespace: "default", pod: "forger" } }, { ...none, namespace: "default", pod: "forger" }), "whatever addresses it claims");
  assert.ok(matches({ time: "", type: "lost", node: "n", count: 3, where: "kernel-ring" }, { types: new Set(["drop"]), namespace: "default" }));
});
