import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadAll } from "js-yaml";
import { demoConfig } from "../../../src/demo/config.ts";
import { brokenPromises, dropsOf, type Outcome } from "../../../src/demo/expectations.ts";
import { reachTable } from "../../../src/demo/reach.ts";

const sources = [
  { app: "frontend", pod: "frontend-1", node: "node-1" },
  { app: "other", pod: "other-1", node: "node-2" },
];
const targets = [
  { name: "Service api", url: "http://api:8080/" },
  { name: "api on node-1", url: "http://10.0.0.1:8080/" },
];
const all = (frontend: boolean, other: boolean): Outcome["before"] =>
  new Map([
    ["frontend-1", new Map(targets.map(({ name }) => [name, frontend]))],
    ["other-1", new Map(targets.map(({ name }) => [name, other]))],
  ]);
const drop = { type: "drop", source: { labels: ["k8s:app=other"] }, rule: { policies: ["production/allow-frontend-to-api"] } } as unknown as Outcome["drops"][number];
const kept: Outcome = { sources, targets, before: all(true, true), after: all(true, false), drops: [drop] };

test("the demo succeeds when every promise was kept", () => {
  assert.deepEqual(brokenPromises(kept), []);
});

test("each broken promise fails the demo by name", () => {
  assert.match(brokenPromises({ ...kept, before: all(true, false) }).join(), /before the policy, other should reach/);
  assert.match(brokenPromises({ ...kept, after: all(true, true) }).join(), /after the policy, other should not reach/);
  assert.match(brokenPromises({ ...kept, after: all(false, false) }).join(), /frontend should still reach/);
  assert.match(brokenPromises({ ...kept, drops: [] }).join(), /cilium monitor should show a drop of other/);
  assert.match(brokenPromises({ ...kept, sources: [] }).join(), /no pod of frontend runs/);
  const wrong = { ...drop, source: { labels: ["k8s:app=frontend"] } } as unknown as typeof drop;
  assert.match(brokenPromises({ ...kept, drops: [drop, wrong] }).join(), /no packet of frontend should be dropped/);
});

test("the table shows who reached whom before and after", () => {
  const lines = reachTable(sources, targets, kept.before, kept.after).split("\n");
  assert.deepEqual(lines[0]?.split(/\s{2,}/), ["FROM", "TO", "BEFORE", "AFTER"]);
  assert.deepEqual(lines.at(-1)?.split(/\s{2,}/), ["other (node-2)", "api on node-1", "reached", "dropped"]);
});

test("the demo's application is three that ask or serve HTTP in namespace production", () => {
  const file = join(import.meta.dirname, "..", "..", "..", "samples", "demo-app.yaml");
  const objects = loadAll(readFileSync(file, "utf8")) as { kind: string; metadata: { name: string; namespace?: string } }[];
  const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ""}/${metadata.name}`);
  assert.deepEqual(names, [
    "Namespace /production",
    "Deployment production/api",
    "Service production/api",
    "Deployment production/frontend",
    "Deployment production/other",
  ]);
});

test("a line of the monitor that was cut off is not read", () => {
  assert.equal(dropsOf(`${JSON.stringify(drop)}\n{"type":"policy-verdict"}\n{"type":"dr`).length, 1);
});

test("the chart comes from where make chart-repo serves it", () => {
  assert.equal(demoConfig({}).chartRepo, "http://127.0.0.1:8879");
  assert.equal(demoConfig({ CHART_REPO_PORT: "18997" }).chartRepo, "http://127.0.0.1:18997");
});
