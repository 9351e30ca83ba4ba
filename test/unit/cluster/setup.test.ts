/** src/cluster/setup.sh runs before there is Node: what it repeats of the sources must be what they say. */
import assert from "node:assert/strict";
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
