/** `make push` gives the image to a registry as it is: the real registry server, on loopback. */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

const root = resolve(import.meta.dirname, "..", "..", "..");
const dir = mkdtempSync(join(tmpdir(), "push-test-"));
after(() => rmSync(dir, { recursive: true, force: true }));

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** Starts the registry and returns its address when it answers. */
async function registry(): Promise<string> {
  const address = `127.0.0.1:${await freePort()}`;
  const config = join(dir, "config.yml");
  writeFileSync(config, `version: 0.1\nstorage: {filesystem: {rootdirectory: ${join(dir, "store")}}}\nhttp: {addr: "${address}"}\n`);
  const server = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  after(() => server.kill());
  for (let tries = 0; tries < 100; tries++) {
    const answer = await fetch(`http://${address}/v2/`).catch(() => undefined);
    if (answer?.status === 200) return address;
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.fail("the registry does not answer");
}

/** Setup does not install it: Debian's package starts a service on the machine. */
const missing = spawnSync("docker-registry", ["--version"]).status === 0 ? false : "no docker-registry here (Debian's package of that name)";

/** The digest of the image's configuration: its identity, also after skopeo has compressed the layers. */
function configDigest(manifest: string): string {
  return (JSON.parse(manifest) as { config: { digest: string } }).config.digest;
}

test("make push puts the image of the archive into a registry", { timeout: 180_000, skip: missing }, async () => {
  const address = await registry();
  execFileSync("make", ["-s", "push", `REGISTRY=${address}/team`, "PUSH_FLAGS=--dest-tls-verify=false"], { cwd: root, stdio: "pipe" });
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const answer = await fetch(`http://${address}/v2/team/cilium/manifests/${version}`, { headers: { accept: "application/vnd.oci.image.manifest.v1+json" } });
  assert.equal(answer.status, 200);
  const inspected = execFileSync("skopeo", ["inspect", "--raw", `oci-archive:${join(root, "build", "image", "cilium.tar")}`], { encoding: "utf8" });
  assert.equal(configDigest(await answer.text()), configDigest(inspected));
});

test("without REGISTRY it says what to give", () => {
  assert.throws(() => execFileSync("make", ["-s", "push"], { cwd: root, stdio: "pipe" }), /say where to: make push REGISTRY=/);
});
