/** What the rest of a large cluster costs an agent: held memory and writes, of the agent's own parts in a process of their own. */
import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import type { MemoryFigures } from "../../bench/agent-memory.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

/** As the chart starts the agent. */
function flags(): readonly string[] {
  const chart = readFileSync(join(ROOT, "config/helm/cilium/templates/agent-daemonset.yaml"), "utf8");
  const [, list] = /command: \[node, (.*), \/opt\/cilium\/dist\/agent\/main\.js\]/.exec(chart) ?? [];
  assert.ok(list !== undefined, "the chart's command of the agent");
  return list.split(", ");
}

describe("an agent in a large cluster", () => {
  it("holds less than 1 KiB for each pod of the cluster, and writes no more than what changed", async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [...flags(), "--expose-gc", join(ROOT, "test/bench/agent-memory.ts"), "100", "500", "8500"], { timeout: 240_000 });
    const [few, many] = stdout.trim().split("\n").map((line) => JSON.parse(line) as MemoryFigures);
    assert.ok(few !== undefined && many !== undefined, stdout);
    const slope = (many.heldKiB - few.heldKiB) / (many.pods - few.pods);
    assert.ok(slope > 0 && slope < 1, `${slope} KiB: ${stdout}`);
    assert.equal(many.writes, 2, "the pod's two addresses");
  });
});
