/** Addresses that go round in a small pod CIDR: nothing passes that must not, nothing is lost that must pass. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { sideCluster } from "../e2e/harness/side-cluster.ts";
import { recorded } from "./record.ts";

const cluster = sideCluster("churn", 80, { NODES: "2", CNI: "cilium", KUBE_PROXY: "1", POD_CIDR_SIZE: "28" });
cluster.adopt();
after(() => cluster.remove());
const { churn } = await import("../e2e/harness/churn.ts");
const logs = join(cluster.work, "log");
before(async () => {
  mkdirSync(logs);
  await cluster.start();
  await cluster.install("operator.replicas=2");
}, { timeout: 1_800_000 });

test("200 pods come and go on 26 addresses: none is taken for the one before it, from its first packet to its last", { timeout: 3_000_000 }, async (context) => {
  await recorded("M12: pods that start and end on addresses that go round", async () => {
    const summary = await churn(200, logs);
    context.diagnostic(JSON.stringify(summary));
    assert.ok(summary.shared > 10, "addresses went from members to guests and back");
    return `${summary.pods} pods, ${summary.shared} addresses that both kinds had: ${summary.sent} allowed, 0 of them lost after Ready; ${summary.forbidden} forbidden, 0 of them passed`;
  });
});
