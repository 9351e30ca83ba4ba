/** The image as it is built: what runs in it, and that only what changed is built again. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";

const root = resolve(import.meta.dirname, "..", "..", "..");
const archive = join(root, "build", "image", "cilium.tar");
const dir = mkdtempSync(join(tmpdir(), "image-test-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function build(): string {
  execFileSync("make", ["-s", "image"], { cwd: root, encoding: "utf8" });
  return createHash("sha256").update(readFileSync(archive)).digest("hex");
}

describe("the image", () => {
  const filesystem = join(dir, "root");
  let digest = "";
  before(() => {
    digest = build();
    execFileSync("umoci", ["raw", "unpack", "--image", `${unpackLayout()}:${tag()}`, filesystem], { stdio: "pipe" });
  });

  function tag(): string {
    return (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version;
  }

  function unpackLayout(): string {
    const layout = join(dir, "layout");
    execFileSync("mkdir", [layout]);
    execFileSync("tar", ["-C", layout, "-xf", archive]);
    return layout;
  }

  function inside(...command: string[]): string {
    const { status, stdout, stderr } = spawnSync("chroot", ["--userspec=65532:65532", filesystem, ...command], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    return stdout;
  }

  it("is the same when it is built again", () => {
    assert.equal(build(), digest);
  });

  it("runs the command, Node 24 and the tools, also for a user without rights", () => {
    assert.match(inside("/usr/local/bin/cilium", "version", "--client"), /^cilium \d/);
    assert.match(inside("/usr/local/bin/node", "--version"), /^v24\./);
    assert.match(inside("/usr/sbin/nft", "--version"), /nftables/);
    assert.match(inside("/usr/bin/ip", "-V"), /iproute2/);
  });

  it("loads libbpf through koffi", () => {
    const script = 'require("/opt/cilium/node_modules/koffi").load("libbpf.so.1"); console.log("loaded")';
    assert.equal(inside("/usr/local/bin/node", "-e", script).trim(), "loaded");
  });

  it("holds the entry points, the programs, the plugin and the CRDs", () => {
    const script =
      'const {existsSync, readdirSync} = require("node:fs"); const at = "/opt/cilium/"; console.log(JSON.stringify({' +
      'agent: existsSync(at + "dist/agent/main.js"), operator: existsSync(at + "dist/operator/main.js"), plugin: existsSync(at + "bin/cilium-cni"),' +
      'programs: readdirSync(at + "bpf").filter((name) => name.endsWith(".o")).length > 3, crds: readdirSync(at + "crds").length > 3}))';
    assert.deepEqual(JSON.parse(inside("/usr/local/bin/node", "-e", script)), { agent: true, operator: true, plugin: true, programs: true, crds: true });
  });

  it("is read by skopeo as an OCI archive and as a docker archive", () => {
    for (const kind of ["oci-archive", "docker-archive"]) {
      const { Os } = JSON.parse(execFileSync("skopeo", ["inspect", `${kind}:${archive}`], { encoding: "utf8" })) as { Os: string };
      assert.equal(Os, "linux");
    }
  });
});

describe("make cli", () => {
  it("puts a command into ./bin that runs from any folder and through a link", () => {
    execFileSync("make", ["-s", "cli"], { cwd: root, stdio: "pipe" });
    const link = join(dir, "cilium");
    execFileSync("ln", ["-s", join(root, "bin", "cilium"), link]);
    for (const command of [join(root, "bin", "cilium"), link]) {
      assert.match(execFileSync(command, ["version", "--client"], { cwd: "/", encoding: "utf8" }), /^cilium \d/);
    }
    assert.match(execFileSync(join(root, "bin", "kubectl"), ["version", "--client"], { encoding: "utf8" }), /Client Version/);
  });
});
