import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { withLock } from "../../../src/cluster/lock.ts";

const work = mkdtempSync(join(tmpdir(), "cluster-lock-"));
after(() => rmSync(work, { recursive: true, force: true }));

test("a second command is refused in one line; the lock goes with the first, also when that fails", async () => {
  const file = join(work, "lock");
  await assert.rejects(withLock(file, "make cluster", async () => {
    await assert.rejects(withLock(file, "make cluster-down", () => Promise.resolve()), /^ClusterError: another command \(make cluster, process \d+\) is at work on this cluster: wait until it ends/);
    throw new Error("broken");
  }), /broken/);
  assert.equal(existsSync(file), false);
});

test("the lock of a killed command is taken over", async () => {
  const file = join(work, "stale");
  writeFileSync(file, `${process.pid} 1 make cluster\n`); // Our id, but not our start time: an id used again.
  assert.equal(await withLock(file, "make cluster", () => Promise.resolve("done")), "done");
});
