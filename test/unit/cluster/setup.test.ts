/** src/cluster/setup.sh runs before there is Node: what it repeats of the sources must be what they say. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { cniPlugins, coredns, etcd, helm, kubernetes } from "../../../src/cluster/binaries/catalog.ts";

const setup = readFileSync(join(resolve(import.meta.dirname, "..", "..", ".."), "src", "cluster", "setup.sh"), "utf8");

test("Go is left out only where every host of the catalog can be reached", () => {
  const hosts = new Set([kubernetes("1.36.3"), etcd(), helm(), coredns(), cniPlugins()].map(({ download }) => new URL(download.base).host));
  assert.deepEqual(/^download_hosts="(.*)"$/m.exec(setup)?.[1]?.split(" "), [...hosts].sort());
});

test("no package is removed for one of ours", () => {
  for (const install of setup.match(/^ *apt-get .*install .*/gm) ?? assert.fail("nothing is installed")) assert.match(install, /--no-remove/);
});
