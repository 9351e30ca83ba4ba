import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";
import { HttpServer, textAnswer } from "../../../src/lib/http.ts";
import type { HttpAnswer } from "../../../src/lib/http.ts";
import { canonicalJson, contentHash, hash32 } from "../../../src/lib/hash.ts";
import { Lifecycle, OK } from "../../../src/lib/lifecycle.ts";
import { createLogger } from "../../../src/lib/log.ts";
import { createMetrics, queueObserver } from "../../../src/lib/metrics.ts";

const logger = createLogger({ component: "test", level: "error", stream: new Writable({ write: (_c, _e, done) => done() }) });

function part(name: string, log: string[], fails = false) {
  return {
    name,
    async start() {
      log.push(`start ${name}`);
      if (fails) throw new Error("cannot");
    },
    async stop() {
      log.push(`stop ${name}`);
    },
    health: () => OK,
  };
}

test("parts start in order, stop in reverse", async () => {
  const log: string[] = [];
  const lifecycle = new Lifecycle(logger);
  for (const name of ["a", "b"]) lifecycle.append(part(name, log));
  await lifecycle.start();
  await lifecycle.stop();
  assert.deepEqual(log, ["start a", "start b", "stop b", "stop a"]);
});

test("a failed start stops only what was touched", async () => {
  const log: string[] = [];
  const lifecycle = new Lifecycle(logger);
  lifecycle.append(part("a", log));
  lifecycle.append(part("b", log, true));
  lifecycle.append(part("c", log));
  await assert.rejects(lifecycle.start(), /cannot/);
  assert.deepEqual(log, ["start a", "start b", "stop b", "stop a"]);
});

test("the server answers its routes and refuses everything else", async (context) => {
  const metrics = createMetrics("test");
  queueObserver(metrics).handled("pods", "ok", 0.5);
  const routes = new Map<string, () => Promise<HttpAnswer> | HttpAnswer>([
    ["/healthz", () => textAnswer(200, "ok\n")],
    ["/metrics", async () => ({ status: 200, ...(await metrics.render()) })],
    ["/broken", () => Promise.reject(new Error("x"))],
  ]);
  const server = new HttpServer({ name: "http", allowFrom: [], port: 0, logger, routes });
  await server.start();
  context.after(() => server.stop());
  const get = (path: string, method = "GET") => fetch(`http://127.0.0.1:${server.port}${path}`, { method });
  assert.equal((await get("/healthz?verbose")).status, 200);
  assert.match(await (await get("/metrics")).text(), /test_queue_handled_total\{queue="pods",outcome="ok"\} 1/);
  assert.equal((await get("/broken")).status, 500);
  assert.equal((await get("/")).status, 404);
  assert.equal((await get("/healthz", "POST")).status, 405);
});

test("hashes depend on content, not on key order", () => {
  const a = canonicalJson({ b: 1, a: [{ d: 1, c: 2 }] });
  assert.equal(a, canonicalJson({ a: [{ c: 2, d: 1 }], b: 1 }));
  assert.match(contentHash(a), /^[0-9a-f]{16}$/);
  assert.equal(hash32("x") >>> 0, hash32("x"));
});
