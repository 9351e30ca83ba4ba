import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { canonicalRef, tagOf, writeOciArchive } from "../../../src/image/oci.ts";

const dir = mkdtempSync(join(tmpdir(), "oci-test-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function layer(name: string, content: string): string {
  const file = join(dir, `${name}.txt`);
  writeFileSync(file, content);
  const tar = join(dir, `${name}.tar`);
  execFileSync("tar", ["--mtime=@0", "-C", dir, "-cf", tar, `${name}.txt`]);
  return tar;
}

function unpack(archive: string): (path: string) => Buffer {
  const into = mkdtempSync(join(dir, "unpacked-"));
  execFileSync("tar", ["-C", into, "-xf", archive]);
  return (path) => readFileSync(join(into, path));
}

function json(buffer: Buffer): any {
  return JSON.parse(buffer.toString("utf8"));
}

const config = { entrypoint: ["/bin/sh"], env: ["A=b"], user: "65532", labels: { k: "v" } };

test("an archive has an OCI index whose digests name the bytes they claim", async () => {
  const file = join(dir, "image.tar");
  const big = layer("big", "x".repeat(3_000_000));
  await writeOciArchive({ file, ref: "cilium:1.2", layers: [layer("small", "hello"), big], config });
  const read = unpack(file);
  const blob = (descriptor: { digest: string; size: number }): Buffer => {
    const bytes = read(`blobs/${descriptor.digest.replace(":", "/")}`);
    assert.equal(`sha256:${createHash("sha256").update(bytes).digest("hex")}`, descriptor.digest);
    assert.equal(bytes.length, descriptor.size);
    return bytes;
  };
  const [described] = json(read("index.json")).manifests;
  assert.equal(described.annotations["io.containerd.image.name"], "docker.io/library/cilium:1.2");
  assert.equal(described.annotations["org.opencontainers.image.ref.name"], "1.2");
  const manifest = json(blob(described));
  const image = json(blob(manifest.config));
  assert.deepEqual(image.config, { User: "65532", Env: ["A=b"], Entrypoint: ["/bin/sh"], Labels: { k: "v" } });
  assert.deepEqual(image.rootfs.diff_ids, manifest.layers.map((l: { digest: string }) => l.digest));
  assert.deepEqual(blob(manifest.layers[1]), readFileSync(big));
});

test("docker's manifest names the same config and layers", async () => {
  const file = join(dir, "docker.tar");
  await writeOciArchive({ file, ref: "localhost/busybox:1", layers: [layer("one", "1")], config });
  const read = unpack(file);
  const [image] = json(read("manifest.json"));
  assert.deepEqual(image.RepoTags, ["localhost/busybox:1"]);
  assert.deepEqual(json(read(image.Config)).config.User, "65532");
  assert.deepEqual(read(image.Layers[0]), readFileSync(join(dir, "one.tar")));
});

test("equal input gives equal bytes", async () => {
  const layers = [layer("same", "same")];
  const [a, b] = [join(dir, "a.tar"), join(dir, "b.tar")];
  await writeOciArchive({ file: a, ref: "x:1", layers, config });
  await writeOciArchive({ file: b, ref: "x:1", layers, config });
  assert.deepEqual(readFileSync(a), readFileSync(b));
});

test("a layer that occurs twice is stored once", async () => {
  const file = join(dir, "twice.tar");
  const twice = layer("twice", "2");
  await writeOciArchive({ file, ref: "x:1", layers: [twice, twice], config });
  const names = execFileSync("tar", ["-tf", file], { encoding: "utf8" }).trim().split("\n");
  assert.equal(new Set(names).size, names.length);
});

test("a missing layer fails and leaves no archive", async () => {
  const file = join(dir, "none.tar");
  const layers = [join(dir, "absent.tar")];
  await assert.rejects(writeOciArchive({ file, ref: "x:1", layers, config }), { code: "ENOENT" });
  assert.throws(() => readFileSync(file), { code: "ENOENT" });
});

test("refs are read as container runtimes read them", () => {
  assert.equal(canonicalRef("cilium:1"), "docker.io/library/cilium:1");
  assert.equal(canonicalRef("me/cilium:1"), "docker.io/me/cilium:1");
  assert.equal(canonicalRef("localhost/cilium:1"), "localhost/cilium:1");
  assert.equal(canonicalRef("reg.example:5000/cilium:1"), "reg.example:5000/cilium:1");
  assert.equal(tagOf("reg.example:5000/cilium"), "latest");
  assert.equal(tagOf("cilium:1.2"), "1.2");
});
