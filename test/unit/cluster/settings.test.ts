import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { type ClusterConfig, clusterConfig } from "../../../src/cluster/config.ts";
import { isClusterDirectory, refuseChange, runningConfig, saveSettings } from "../../../src/cluster/settings.ts";

const work = mkdtempSync(join(tmpdir(), "cluster-settings-"));
after(() => rmSync(work, { recursive: true, force: true }));

function configOf(name: string, env: Readonly<Record<string, string>> = {}): ClusterConfig {
  return clusterConfig({ CLUSTER_DIR: join(work, name), ...env });
}

test("a running cluster's settings come before what is asked for; only nodes can be added", () => {
  mkdirSync(join(work, "running"));
  saveSettings(configOf("running", { CNI: "ptp", NODES: "2" }));
  const running = runningConfig(configOf("running"));
  assert.deepEqual([running.cni, running.nodes], ["ptp", 2]);
  refuseChange(configOf("running", { CNI: "ptp", NODES: "4" }));
  assert.throws(() => refuseChange(configOf("running", { CNI: "ptp", NODES: "1" })), /has 2 nodes, not 1: make cluster-down first/);
  assert.throws(() => refuseChange(configOf("running", { CNI: "none", NODES: "2" })), /has cni ptp, not none: make cluster-down first/);
});

test("a directory is a cluster's when it is new, empty, begun or has settings; never when it holds other files", () => {
  assert.equal(isClusterDirectory(configOf("none")), true);
  for (const [name, files, expected] of [["empty", [], true], ["begun", ["logs", "run"], true], ["done", ["settings.json", "mine"], true], ["home", ["bin", "thesis.txt"], false]] as const) {
    mkdirSync(join(work, name));
    for (const file of files) writeFileSync(join(work, name, file), "");
    assert.equal(isClusterDirectory(configOf(name)), expected, name);
  }
});
