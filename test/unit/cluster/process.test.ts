import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { capture, ensureDaemon, isAlive, logEnd, processIdentity, readPidFile, run, waitReady } from "../../../src/cluster/process.ts";

const work = mkdtempSync(join(tmpdir(), "cluster-process-"));
after(() => rmSync(work, { recursive: true, force: true }));

function spec(name: string, ...argv: string[]): Parameters<typeof ensureDaemon>[0] {
  return { argv, logFile: join(work, `${name}.log`), pidFile: join(work, `${name}.pid`), cgroups: [] };
}

test("a daemon is started once, and found again by its pid file", () => {
  const first = ensureDaemon(spec("sleeper", "sleep", "60"));
  try {
    assert.deepEqual(ensureDaemon(spec("sleeper", "sleep", "60")), first);
    assert.deepEqual(readPidFile(join(work, "sleeper.pid")), first);
    assert.equal(isAlive({ ...first, startTime: "1" }), false);
  } finally {
    process.kill(first.pid, "SIGKILL");
  }
});

test("a daemon that ends is reported with its log and the log's end", async () => {
  const daemon = ensureDaemon(spec("broken", "sh", "-c", "echo no such flag --x >&2; exit 1"));
  await assert.rejects(waitReady("the daemon", join(work, "broken.log"), 5000, () => Promise.resolve(false), daemon),
    /the daemon ended: read \S+broken\.log, which ends with\n {2}no such flag --x$/);
});

test("a command whose time is over ends with what it started", async () => {
  const file = join(work, "grandchild");
  const output = await capture(["sh", "-c", 'sleep 60 & echo $! > "$0"; wait', file], { timeoutMs: 500 });
  assert.equal(output.code, null);
  // It was sent the signal; when it is gone is the kernel's matter.
  const grandchild = Number(readFileSync(file, "utf8"));
  for (const end = performance.now() + 30_000; processIdentity(grandchild) !== undefined; await sleep(20)) assert.ok(performance.now() < end, `process ${grandchild} still runs`);
});

test("one that is never ready is reported after the deadline", async () => {
  writeFileSync(join(work, "slow.log"), "still starting\n");
  await assert.rejects(waitReady("it", join(work, "slow.log"), 200, () => Promise.resolve(false)), /it is not ready after 0 s: read .*still starting/s);
});

test("logEnd: the last lines of a large file, long lines cut; a missing file is no error", () => {
  const file = join(work, "large.log");
  writeFileSync(file, `${"x".repeat(200_000)}\n${Array.from({ length: 50 }, (_, index) => `line ${index}`).join("\n")}\n${"y".repeat(1000)}\n`);
  const lines = logEnd(file, 3).split("\n");
  assert.deepEqual(lines.slice(0, 2), ["  line 48", "  line 49"]);
  assert.equal(lines[2]?.length, 404);
  assert.equal(logEnd(join(work, "none"), 3), "  (no such file)");
});

test("run rejects with what the command said; capture leaves the judgement to its caller", async () => {
  await assert.rejects(run(["sh", "-c", "echo reason >&2; exit 3"]), /exit status 3\nreason/);
  assert.deepEqual(await capture(["cat"], { input: "in" }), { code: 0, stdout: "in", stderr: "" });
  assert.equal(processIdentity(process.pid)?.pid, process.pid);
});
