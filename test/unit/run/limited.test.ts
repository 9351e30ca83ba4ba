/** The limit of a tier of `make test`. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { runLimited } from "../../limited.ts";

const root = resolve(import.meta.dirname, "..", "..", "..");
const options = { cwd: root, limitMs: 10_000, graceMs: 200, said: () => undefined };

test("a program that ends in time is judged by its exit status", async () => {
  assert.deepEqual(await runLimited(["sh", "-c", "echo yes"], options), { output: "yes\n", ok: true, timedOut: false });
  assert.equal((await runLimited(["sh", "-c", "exit 3"], options)).ok, false);
});

test("past the limit the whole group ends, also children that ignore SIGTERM", async () => {
  const started = performance.now();
  const stuck = `trap "" TERM; (trap "" TERM; sleep 60) & sleep 60`;
  // Its end is seen when nobody has its output open any more.
  const { ok, timedOut } = await runLimited(["sh", "-c", stuck], { ...options, limitMs: 300 });
  assert.deepEqual([ok, timedOut], [false, true]);
  assert.ok(performance.now() - started < 5000);
});

test("past the limit a process that left the group and holds the output keeps nobody waiting", async () => {
  const started = performance.now();
  const { timedOut } = await runLimited(["sh", "-c", "setsid sleep 8 & sleep 60"], { ...options, limitMs: 300 });
  assert.equal(timedOut, true);
  assert.ok(performance.now() - started < 5000);
});

test("every test has a limit", () => {
  const makefile = readFileSync(join(root, "Makefile"), "utf8");
  assert.match(makefile, /^TEST = .*--test-timeout=\$\(TEST_LIMIT_MS\)/m);
  const runs = makefile.split("\n").filter((line) => line.includes("--test ") && !line.startsWith("TEST ="));
  assert.deepEqual(runs, []);
});
