import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "../../../src/lib/metrics.ts";

test("whole numbers beyond 2^53 are exact, beside the library's own metrics", async () => {
  const metrics = createMetrics("t");
  metrics.gauge("plain", "Plain").set(1);
  const exact = metrics.exact("bytes", "Bytes", ["reason", "direction"]);
  exact.set({ reason: "forwarded", direction: "egress" }, (1n << 53n) + 1n);
  exact.set({ reason: 'a"b\\c\nd', direction: "ingress" }, 18_446_744_073_709_551_615n);
  const { body } = await metrics.render();
  const lines = body.split("\n");
  assert.ok(lines.includes('t_bytes{reason="forwarded",direction="egress"} 9007199254740993'), body);
  assert.ok(lines.includes('t_bytes{reason="a\\"b\\\\c\\nd",direction="ingress"} 18446744073709551615'), body);
  assert.ok(lines.includes("# TYPE t_bytes gauge") && lines.includes("t_plain 1"));
  exact.reset();
  assert.doesNotMatch((await metrics.render()).body, /^t_bytes\{/m);
});
