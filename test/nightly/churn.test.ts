/** Addresses that go round in a small pod CIDR: nothing passes that must not, nothing is lost that must pass. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";

import { ownCluster } from "../e2e/harness/own-cluster.ts";

const cluster = await ownCluster({ name: "e2enight", subnet: "172.29.80.0/24", subnet6: "fd00:172:29:50::/64", chartPort: 8876, nodes: 2, podCidrSize: 28 });
after(() => cluster.remove());
const { churn } = await import("../e2e/harness/churn.ts");

test("200 pods come and go on 26 addresses: none is taken for the one before it, from its first packet to its last", { timeout: 3_000_000 }, async (context) => {
  const summary = await churn(200, join(cluster.folder, "log"));
  context.diagnostic(JSON.stringify(summary));
  assert.ok(summary.shared > 10, "addresses went from members to guests and back");
});
