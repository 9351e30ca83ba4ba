import { strict as assert } from "node:assert";
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { installConflist, removeConflist, removePlugin, restoreOthers } from "../../../src/cni/index.ts";

describe("the CNI configuration of a node", () => {
  let folder = "";
  const path = (...parts: string[]): string => join(folder, ...parts);
  const options = (exclusive: boolean) => ({ confPath: path("net.d"), binPath: path("bin"), plugin: path("image-cni"), exclusive });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cilium-conflist-"));
    await mkdir(path("net.d"));
    await writeFile(path("image-cni"), "plugin 1", { mode: 0o755 });
    for (const name of ["10-other.conflist", "99-loopback.conf", "notes.txt"]) await writeFile(path("net.d", name), name);
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("installs plugin and configuration, and changes nothing the second time", async () => {
    assert.deepEqual(await installConflist(options(false)), []);
    const conf = JSON.parse(await readFile(path("net.d/05-cilium.conflist"), "utf8")) as { name: string; plugins: unknown[] };
    assert.deepEqual(conf.plugins, [{ type: "cilium-cni" }]);
    assert.equal((await stat(path("bin/cilium-cni"))).mode & 0o777, 0o755);
    const before = [await stat(path("net.d/05-cilium.conflist")), await stat(path("bin/cilium-cni"))].map((file) => file.ino);
    await installConflist(options(false));
    assert.deepEqual([await stat(path("net.d/05-cilium.conflist")), await stat(path("bin/cilium-cni"))].map((file) => file.ino), before);
    await writeFile(path("image-cni"), "plugin 2", { mode: 0o755 });
    await installConflist(options(false));
    assert.equal(await readFile(path("bin/cilium-cni"), "utf8"), "plugin 2");
    assert.deepEqual(await readdir(path("bin")), ["cilium-cni"]);
  });

  it("sets other configurations aside and puts them back, except over a new file", async () => {
    assert.deepEqual((await installConflist(options(true))).toSorted(), ["10-other.conflist", "99-loopback.conf"]);
    assert.deepEqual((await readdir(path("net.d"))).sort(), ["05-cilium.conflist", "10-other.conflist.cilium_bak", "99-loopback.conf.cilium_bak", "notes.txt"]);
    await writeFile(path("net.d/99-loopback.conf"), "newer");
    await removeConflist(path("net.d"));
    assert.deepEqual(await restoreOthers(path("net.d")), ["10-other.conflist"]);
    assert.equal(await readFile(path("net.d/99-loopback.conf"), "utf8"), "newer");
    await removePlugin(path("bin"));
    await removeConflist(path("net.d"));
    assert.deepEqual(await readdir(path("bin")), []);
    assert.deepEqual(await restoreOthers(path("nowhere")), []);
  });
});
