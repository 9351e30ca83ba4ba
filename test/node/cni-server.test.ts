import { strict as assert } from "node:assert";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { CniError, CniErrorCode, CniServer, replayDeletes } from "../../src/cni/index.ts";
import type { CniRequest } from "../../src/cni/protocol.ts";
import type { Logger } from "../../src/lib/log.ts";

const ROOT = join(import.meta.dirname, "../..");
const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };

describe("plugin and agent", () => {
  let folder = "";
  let server: CniServer | undefined;
  const seen: CniRequest[] = [];
  const handler = {
    run: async (request: CniRequest) => {
      seen.push(request);
      if (request.containerId === "refused") throw new CniError(CniErrorCode.tryAgainLater, "not yet", "because");
      if (request.containerId === "broken") throw new Error("a defect");
      return request.command === "ADD" ? { interfaces: [], ips: [{ address: "10.0.0.2/32", gateway: "10.0.0.1", interface: 0 }], routes: [] } : undefined;
    },
  };

  function plugin(command: string, containerId: string): Promise<{ code: number | null; stdout: string }> {
    const config = { cniVersion: "1.0.0", name: "cilium", agentSocket: join(folder, "cni.sock"), deleteQueue: join(folder, "cni-del") };
    const env = { CNI_COMMAND: command, CNI_CONTAINERID: containerId, CNI_NETNS: "/n", CNI_IFNAME: "eth0", CNI_ARGS: "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p", CNI_PATH: "/" };
    return new Promise((resolve) => {
      const child = spawn(join(ROOT, "build/bin/cilium-cni"), [], { env, stdio: ["pipe", "pipe", "inherit"] });
      let stdout = "";
      child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
      child.on("close", (code) => resolve({ code, stdout }));
      child.stdin.end(JSON.stringify(config));
    });
  }

  before(async () => {
    assert.equal(spawnSync("make", ["-s", "cni"], { cwd: ROOT }).status, 0);
    folder = mkdtempSync(join(tmpdir(), "cilium-cni-server-"));
    server = new CniServer({ path: join(folder, "cni.sock"), handler, logger: silent });
    await server.listen();
  });
  after(async () => {
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("only root may speak to the agent", () => {
    assert.equal(statSync(join(folder, "cni.sock")).mode & 0o777, 0o600);
  });

  it("carries results and errors to the runtime", async () => {
    const ok = await plugin("ADD", "c1");
    assert.equal(ok.code, 0);
    assert.equal((JSON.parse(ok.stdout) as { ips: { address: string }[] }).ips[0]?.address, "10.0.0.2/32");
    assert.deepEqual(await plugin("DEL", "c1"), { code: 0, stdout: "" });
    const refused = await plugin("ADD", "refused");
    assert.equal(refused.code, 1);
    assert.deepEqual(JSON.parse(refused.stdout), { cniVersion: "1.0.0", code: 11, msg: "not yet", details: "because" });
    assert.equal((JSON.parse((await plugin("ADD", "broken")).stdout) as { code: number }).code, 999);
    assert.equal((JSON.parse((await plugin("ADD", "../x")).stdout) as { code: number }).code, 4);
  });

  it("serves many at once", async () => {
    const results = await Promise.all(Array.from({ length: 40 }, (_, index) => plugin("ADD", `many${index}`)));
    assert.ok(results.every(({ code }) => code === 0));
  });

  it("survives clients that send garbage, nothing, or go away", async () => {
    for (const bytes of ["", "garbage\n", "{}\n", "\n", "x".repeat(9 << 20)]) {
      await new Promise<void>((resolve) => {
        const socket = connect(join(folder, "cni.sock"), () => socket.write(bytes, () => socket.destroy()));
        socket.on("error", () => undefined);
        socket.on("close", () => resolve());
      });
    }
    assert.equal((await plugin("ADD", "c2")).code, 0);
  });

  it("replays the DELs that came while it was away, once", async () => {
    await server?.close();
    for (const id of ["gone1", "gone2", "refused"]) assert.deepEqual(await plugin("DEL", id), { code: 0, stdout: "" });
    assert.equal((JSON.parse((await plugin("ADD", "c3")).stdout) as { code: number }).code, 11);
    seen.length = 0;
    assert.equal(await replayDeletes(join(folder, "cni-del"), handler, silent), 2);
    assert.deepEqual(seen.map((request) => `${request.command} ${request.containerId}`).sort(), ["DEL gone1", "DEL gone2", "DEL refused"]);
    assert.equal(readdirSync(join(folder, "cni-del")).length, 1, "what failed stays");
    assert.equal(await replayDeletes(join(folder, "nowhere"), handler, silent), 0);
  });
});
