/** src/cluster/setup.sh runs before there is Node: what it repeats of the sources must be what they say. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";

const setup = readFileSync(join(resolve(import.meta.dirname, "..", "..", ".."), "src", "cluster", "setup.sh"), "utf8");

test("Go is installed where there is none", () => {
  assert.match(setup, /^command -v go .*\|\| packages="\$packages golang-go"$/m);
});

test("no package is removed for one of ours", () => {
  for (const install of setup.match(/^ *apt-get .*install .*/gm) ?? assert.fail("nothing is installed")) assert.match(install, /--no-remove/);
});

test("an npm whose own Node is older than the linter's binary allows is asked again by Node 24", () => {
  const pattern = /^ *case \$\(node --version\) in\n *(.+)\)$/m.exec(setup)?.[1] ?? assert.fail("nobody looks");
  const isOld = (version: string): boolean => spawnSync("sh", ["-c", `case "$1" in ${pattern}) exit 0;; esac; exit 1`, "sh", version]).status === 0;
  assert.deepEqual(["v9.1.0", "v18.20.4", "v20.19.2", "v24.21.0"].map(isOld), [true, true, false, false]);
});
