/** A pod's service account, from files that the kubelet replaces; and what an agent must not load. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ServiceAccount } from "../../../src/kube/index.ts";

const directory = mkdtempSync(join(tmpdir(), "service-account-"));
after(() => rmSync(directory, { recursive: true }));

test("the token is the one that is in the file at that moment", async () => {
  const account = new ServiceAccount(["https://10.0.0.1:6443/"], directory);
  writeFileSync(join(directory, "ca.crt"), "CA");
  for (const token of ["one", "two"]) {
    writeFileSync(join(directory, "token"), `${token}\n`);
    assert.deepEqual(await account.headers(), { Authorization: `Bearer ${token}` });
  }
  assert.equal(String((await account.tls()).ca), "CA");
  assert.deepEqual(account.servers, ["https://10.0.0.1:6443"]);
});

test("no address, or one that is none, is refused by name", () => {
  assert.throws(() => new ServiceAccount([], directory), { code: "CONFIG", message: /servers/ });
  assert.throws(() => new ServiceAccount(["ftp://10.0.0.1"], directory), { code: "CONFIG", message: /neither https nor http/ });
});

test("the agent does not load a client library that costs 84 MB on every node", () => {
  const trace = execFileSync(process.execPath, ["--input-type=module", "-e", `
    import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ resolve(specifier, context, next) { loaded.push(specifier); return next(specifier, context); } });
    await import("./src/agent/agent.ts");
    console.log(JSON.stringify(loaded.filter((name) => name.startsWith("@kubernetes") || name.startsWith("@dot-i"))));
  `], { cwd: join(import.meta.dirname, "../../.."), encoding: "utf8" });
  assert.equal(trace.trim(), "[]");
});
