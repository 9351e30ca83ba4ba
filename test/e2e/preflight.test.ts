/** `cilium preflight` of a cluster: by its agents, and by pods of the image as before an installation. */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import type { NodeReport } from "../../src/cli/preflight.ts";
import { command, get, inNode, kubectl, NODES, node, readyCluster, waitFor } from "./harness/cluster.ts";

await readyCluster();
const RULE = ["pref", "7777", "to", "203.0.113.0/24", "lookup", "7777"];
const CONFIGURATION = join(node(3).disk, "etc/cni/net.d/98-e2e-preflight.conflist");
const clean = async (): Promise<void> => {
  await inNode("node-2", ["sh", "-c", `ip rule delete ${RULE.join(" ")} 2> /dev/null || true`]);
  rmSync(CONFIGURATION, { force: true });
};
after(clean);

interface Answer {
  readonly code: number;
  readonly reports: readonly NodeReport[];
}

async function preflight(...args: string[]): Promise<Answer> {
  const { code, stdout, stderr } = await command(["cilium", "preflight", "-o", "json", ...args]);
  assert.notEqual(stdout, "", stderr);
  return { code: code ?? -1, reports: JSON.parse(stdout) as readonly NodeReport[] };
}

const told = (reports: readonly NodeReport[], check: string): string[] =>
  reports.flatMap(({ node, findings }) => findings.filter((finding) => finding.check === check && finding.verdict !== "ok").map(({ verdict, message }) => `${node} ${verdict}: ${message}`));

async function everyNodeIsFit(...args: string[]): Promise<void> {
  const { code, reports } = await preflight(...args);
  assert.deepEqual(reports.map(({ node }) => node), NODES.map(({ name }) => name));
  const bad = reports.flatMap(({ node, findings }) => findings.filter(({ verdict }) => verdict === "unknown" || verdict === "blocker").map(({ check, message }) => `${node} ${check}: ${message}`));
  assert.deepEqual(bad, [], "the agent's rights suffice to try everything, and nothing is in the way");
  assert.equal(code, 0);
  for (const { findings } of reports) {
    assert.match(findings.find(({ check }) => check === "bpf programs")?.message ?? "", /objects load$/);
    assert.match(findings.find(({ check }) => check === "address ranges")?.message ?? "", /no two overlap/);
  }
}

test("every node is fit, says its agent, with the rights that it has", { timeout: 300_000 }, () => everyNodeIsFit());

test("what is in the way on one node is told of that node, until it is gone", { timeout: 300_000 }, async () => {
  await inNode("node-2", ["ip", "rule", "add", ...RULE]);
  writeFileSync(CONFIGURATION, JSON.stringify({ cniVersion: "1.0.0", name: "e2e", plugins: [{ type: "macvlan" }] }));
  const { reports } = await preflight();
  assert.deepEqual(told(reports, "ip rules").filter((line) => line.includes("7777")).map((line) => line.split(" ")[0]), ["node-2"]);
  assert.deepEqual(told(reports, "network configurations").filter((line) => line.includes("98-e2e-preflight")).map((line) => line.split(" ")[0]), ["node-3", "node-3"]);
  const one = await preflight("--node", "node-2");
  assert.deepEqual(one.reports.map(({ node }) => node), ["node-2"]);
  const table = await command(["cilium", "preflight"]);
  assert.match(table.stdout, /warning: ip rules, node-2: .*7777.*\n {2}means: .*\n {2}do: /);
  await clean();
  assert.deepEqual(told((await preflight()).reports, "ip rules").filter((line) => line.includes("7777")), []);
  const wrong = await command(["cilium", "preflight", "--node", "node-9"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /no such node/);
});

test("pods of the image say the same, and leave nothing", { timeout: 400_000 }, async () => {
  const { spec } = await get<{ spec: { template: { spec: { containers: { image: string }[] } } } }>("daemonset", "cilium", "-n", "kube-system");
  await everyNodeIsFit("--image", spec.template.spec.containers[0]?.image ?? assert.fail("no image"), "--wait-duration", "3m");
  await waitFor("no pod of it", async () => ((await kubectl("get", "pods,daemonsets", "-n", "kube-system", "-l", "name=cilium-preflight", "-o", "name")) === "" ? true : undefined), () => kubectl("get", "pods", "-A"), { timeoutMs: 120_000 });
});
