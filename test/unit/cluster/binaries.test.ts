import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { cniPlugins, coredns, etcd, helm, kubernetes, type PublishedProject } from "../../../src/cluster/binaries/catalog.ts";
import { downloadProject, expectedChecksum } from "../../../src/cluster/binaries/download.ts";
import { findProject, hasVersion } from "../../../src/cluster/binaries/find.ts";
import { stagingModules } from "../../../src/cluster/binaries/gobuild.ts";
import { run } from "../../../src/cluster/process.ts";

const work = mkdtempSync(join(tmpdir(), "cluster-binaries-"));
after(() => rmSync(work, { recursive: true, force: true }));

const KUBECTL: PublishedProject = { ...kubernetes("1.36.3"), binaries: kubernetes("1.36.3").binaries.filter(({ name }) => name === "kubectl") };
const silent = (): void => undefined;

function script(version: string): string {
  return `#!/bin/sh\necho 'Client Version: ${version}'\n`;
}

async function served(files: Readonly<Record<string, string | Buffer>>, use: (base: string) => Promise<void>): Promise<void> {
  const server: Server = createServer((request, response) => {
    const body = files[request.url ?? ""];
    response.writeHead(body === undefined ? 404 : 200).end(body);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function sha256(content: string | Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

test("a download with the right checksum ends in the cache, executable", async () => {
  const cache = join(work, "good");
  const path = KUBECTL.download.path("kubectl");
  await served({ [path]: script("v1.36.3"), [`${path}.sha256`]: sha256(script("v1.36.3")) }, async (base) => {
    const found = await findProject(KUBECTL, { cacheDir: cache, kubeBin: undefined, pathDirs: [], fetching: { base, connectMs: 3000 }, say: silent });
    assert.equal(found["kubectl"], join(cache, "kubernetes/v1.36.3/kubectl"));
    assert.equal(await hasVersion(found["kubectl"] ?? "", KUBECTL.binaries[0]!), true);
  });
});

test("an archive is unpacked to the binary alone", async () => {
  const tree = join(work, "tree/etcd-v3.6.14-linux-amd64");
  mkdirSync(tree, { recursive: true });
  writeFileSync(join(tree, "etcd"), script("x"), { mode: 0o755 });
  const archive = join(work, "etcd.tar.gz");
  await run(["tar", "-czf", archive, "-C", join(work, "tree"), "."]);
  const content = readFileSync(archive);
  const path = etcd().download.path("etcd");
  await served({ [path]: content, [etcd().download.checksumPath("etcd")]: `${"0".repeat(64)}  other.tar.gz\n${sha256(content)}  ${path.split("/").at(-1)}\n` }, async (base) => {
    assert.equal(await downloadProject(etcd(), etcd().binaries, join(work, "etcd"), { base, connectMs: 3000 }, silent), true);
  });
  assert.equal(readFileSync(join(work, "etcd/etcd"), "utf8"), script("x"));
});

test("a wrong checksum is refused, and nothing of the file stays", async () => {
  const cache = join(work, "wrong");
  const path = KUBECTL.download.path("kubectl");
  await served({ [path]: script("v1.36.3"), [`${path}.sha256`]: sha256("something else") }, async (base) => {
    await assert.rejects(downloadProject(KUBECTL, KUBECTL.binaries, cache, { base, connectMs: 3000 }, silent), /has the wrong checksum .* look for a proxy/);
  });
  assert.equal(existsSync(join(cache, "kubectl")), false);
});

test("a refused connection, a silent server and a missing release fall through within 3 s", async () => {
  const refused = "http://127.0.0.1:1";
  assert.equal(await downloadProject(KUBECTL, KUBECTL.binaries, join(work, "refused"), { base: refused, connectMs: 3000 }, silent), false);
  await served({}, async (base) => assert.equal(await downloadProject(KUBECTL, KUBECTL.binaries, join(work, "none"), { base, connectMs: 3000 }, silent), false));
  const silentServer = createServer(() => undefined);
  await new Promise<void>((done) => silentServer.listen(0, "127.0.0.1", done));
  const start = performance.now();
  const base = `http://127.0.0.1:${(silentServer.address() as AddressInfo).port}`;
  assert.equal(await downloadProject(KUBECTL, KUBECTL.binaries, join(work, "silent"), { base, connectMs: 300 }, silent), false);
  assert.ok(performance.now() - start < 3000);
  silentServer.closeAllConnections();
  silentServer.close();
});

test("KUBE_BIN and PATH count only with exactly the wanted version; then the cache", async () => {
  const dirs = { old: join(work, "old"), exact: join(work, "exact"), cache: join(work, "cache") };
  for (const [dir, version] of [[dirs.old, "v1.36.30"], [dirs.exact, "v1.36.3"], [join(dirs.cache, "kubernetes/v1.36.3"), "v1.36.3"]] as const) {
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, "kubectl"), script(version), { mode: 0o755 });
  }
  const find = async (kubeBin: string | undefined, pathDirs: string[]): Promise<string | undefined> =>
    (await findProject(KUBECTL, { cacheDir: dirs.cache, kubeBin, pathDirs, fetching: { connectMs: 1 }, say: silent }))["kubectl"];
  assert.equal(await find(dirs.exact, [dirs.old]), join(dirs.exact, "kubectl"));
  assert.equal(await find(undefined, [dirs.old, dirs.exact]), join(dirs.exact, "kubectl"));
  assert.equal(await find(dirs.old, [dirs.old]), join(dirs.cache, "kubernetes/v1.36.3/kubectl"));
});

test("no binary, no download and no Go: one line with the remedy", async () => {
  // In a process of its own, whose PATH has no Go.
  const module = join(import.meta.dirname, "../../../src/cluster/binaries");
  const script = `import { findProject } from ${JSON.stringify(join(module, "find.ts"))};
    import { etcd } from ${JSON.stringify(join(module, "catalog.ts"))};
    const search = { cacheDir: ${JSON.stringify(join(work, "empty"))}, pathDirs: [], fetching: { base: "http://127.0.0.1:1", connectMs: 3000 }, say: () => undefined };
    await findProject(etcd(), search).catch((error) => console.log(error.message));`;
  const said = await run([process.execPath, "--input-type=module", "--eval", script], { env: { PATH: work } });
  assert.match(said, /^etcd v\S+ is neither here nor downloadable, and there is no Go to build it: install Go [^\n]+\n$/);
});

test("checksum files: the bare sum, or lines of sum and name", () => {
  const sum = "a".repeat(64);
  assert.equal(expectedChecksum(`${sum}\n`, "kubectl"), sum);
  assert.equal(expectedChecksum(`${"b".repeat(64)}  a.tgz\n${sum} *release/b.tgz\n`, "b.tgz"), sum);
  assert.equal(expectedChecksum(`${sum}  a.tgz\n`, "b.tgz"), undefined);
  assert.equal(expectedChecksum("<html>", "kubectl"), undefined);
});

test("staging modules are read from the project's go.mod", () => {
  const text = "module k8s.io/kubernetes\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/client-go => ./staging/src/k8s.io/client-go\n\texample.com/x => example.com/y v1.0.0\n)\n";
  assert.deepEqual(stagingModules(text), ["k8s.io/api", "k8s.io/client-go"]);
});

test("every project names a download, its checksum and a package for each binary", () => {
  for (const project of [kubernetes("1.36.3"), etcd(), helm(), coredns(), cniPlugins()]) {
    for (const binary of project.binaries) {
      assert.match(project.download.path(binary.name), /^\/\S+$/);
      assert.notEqual(project.download.checksumPath(binary.name), project.download.path(binary.name));
      assert.ok(binary.package.startsWith(project.module), binary.package);
    }
  }
});

test("a link on PATH is followed to the program, so that links of ours never point at each other", async () => {
  const dirs = { real: join(work, "link-real"), links: join(work, "link-bin") };
  for (const dir of Object.values(dirs)) mkdirSync(dir, { recursive: true });
  writeFileSync(join(dirs.real, "kubectl"), script("v1.36.3"), { mode: 0o755 });
  symlinkSync(join(dirs.real, "kubectl"), join(dirs.links, "kubectl"));
  const found = await findProject(KUBECTL, { cacheDir: join(work, "link-cache"), kubeBin: undefined, pathDirs: [dirs.links], fetching: { connectMs: 1 }, say: silent });
  assert.equal(found["kubectl"], join(dirs.real, "kubectl"));
});
