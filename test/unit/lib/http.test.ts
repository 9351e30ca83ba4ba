/** Who is answered by the servers for probes and metrics. */
import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { Writable } from "node:stream";
import { describe, test } from "node:test";
import { HttpServer, mayConnect, textAnswer } from "../../../src/lib/http.ts";
import { parseCidrList } from "../../../src/lib/ip.ts";
import { createLogger } from "../../../src/lib/log.ts";

const logger = createLogger({ component: "test", level: "error", stream: new Writable({ write: (_c, _e, done) => done() }) });

describe("who may connect", () => {
  const answer = new Map([["/", () => textAnswer(200, "ok\n")]]);
  const machine = Object.values(networkInterfaces()).flat().find((address) => address?.internal === false && address.family === "IPv4")?.address;

  test("nobody but loopback, unless named", async (context) => {
    if (machine === undefined) return context.skip("the machine has no address beside loopback");
    const server = new HttpServer({ name: "http", port: 0, allowFrom: [], logger, routes: answer });
    await server.start();
    context.after(() => server.stop());
    assert.equal((await fetch(`http://127.0.0.1:${server.port}/`)).status, 200);
    await assert.rejects(fetch(`http://${machine}:${server.port}/`), (error: TypeError) => (error.cause as NodeJS.ErrnoException).code === "ECONNREFUSED");
  });

  test("of those that reach it, only who is named gets an answer", async (context) => {
    if (machine === undefined) return context.skip("the machine has no address beside loopback");
    for (const [allowFrom, isAnswered] of [["240.0.0.0/8,::/0", false], [`240.0.0.1,${machine}`, true], ["0.0.0.0/0", true]] as const) {
      const server = new HttpServer({ name: "http", port: 0, allowFrom: parseCidrList(allowFrom), logger, routes: answer });
      await server.start();
      context.after(() => server.stop());
      assert.equal((await fetch(`http://127.0.0.1:${server.port}/`)).status, 200, allowFrom);
      const asked = fetch(`http://${machine}:${server.port}/`);
      if (isAnswered) assert.equal((await asked).status, 200, allowFrom);
      else await assert.rejects(asked, allowFrom);
    }
  });

  test("an address belongs to its family, mapped or with a zone", () => {
    const rows: readonly (readonly [string | undefined, string, boolean])[] = [
      ["::ffff:10.1.2.3", "10.1.0.0/16", true],
      ["::ffff:10.2.2.3", "10.1.0.0/16", false],
      ["10.1.2.3", "::/0", false],
      ["fd00::5", "0.0.0.0/0", false],
      ["fd00::5", "fd00::/64", true],
      ["fe80::1%eth0", "fe80::/10", true],
      ["::1", "", true],
      ["::ffff:127.0.0.1", "", true],
      [undefined, "0.0.0.0/0,::/0", false],
    ];
    for (const [remote, allowed, wanted] of rows) assert.equal(mayConnect(remote, parseCidrList(allowed)), wanted, `${remote} by ${allowed}`);
    assert.throws(() => parseCidrList("10.0.0.0/16,nonsense"), /nonsense/);
  });
});
