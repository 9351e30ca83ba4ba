/** The reflector against a loopback server that answers as scripted: what the real one does rarely, and in which order. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Writable } from "node:stream";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { KubeAccess } from "../../../src/kube/access.ts";
import { HttpTransport, NAMESPACES, Reflector } from "../../../src/kube/index.ts";
import { splitLines } from "../../../src/kube/lines.ts";
import { Backoff, sleep } from "../../../src/lib/backoff.ts";
import { createLogger } from "../../../src/lib/log.ts";

const logger = createLogger({ component: "test", level: "error", stream: new Writable({ write: (_c, _e, done) => done() }) });

type Answer = (url: URL, response: ServerResponse) => void;

/** Answers each request with the next script; the last one stays. */
async function scripted(context: TestContext, answers: readonly Answer[]): Promise<{ readonly url: string; readonly requests: URL[] }> {
  const requests: URL[] = [];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? "", "http://x");
    const answer = answers[Math.min(requests.length, answers.length - 1)];
    requests.push(url);
    answer?.(url, response);
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

const object = (name: string, version: number, uid = `uid-${name}`, labels: Record<string, string> = {}) => ({ metadata: { name, uid, resourceVersion: String(version), labels } });
const event = (type: string, body: object): string => `${JSON.stringify({ type, object: body })}\n`;
const bookmark = (version: number, end: boolean): string =>
  event("BOOKMARK", { metadata: { resourceVersion: String(version), ...(end ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}) } });
const refuse = (status: number, reason: string): Answer => (_url, response) => {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ kind: "Status", reason, message: reason, code: status }));
};
/** Sends the lines, then ends the stream, or leaves it open. */
const stream = (lines: readonly string[], open = false): Answer => (_url, response) => {
  response.writeHead(200);
  for (const line of lines) response.write(line);
  if (!open) response.end();
};

async function follow(context: TestContext, answers: readonly Answer[], pageSize?: number) {
  const { url, requests } = await scripted(context, answers);
  const directory = new KubeAccess({ servers: [url], serviceAccountDirectory: import.meta.dirname });
  directory.headers = () => Promise.resolve({});
  const changes: string[] = [];
  const reflector = new Reflector({
    type: NAMESPACES,
    transport: new HttpTransport(directory, logger),
    logger,
    decode: (namespace) => {
      if (namespace.metadata.labels?.["broken"] !== undefined) throw new Error("broken");
      return `${namespace.metadata.uid}@${namespace.metadata.resourceVersion}`;
    },
    backoff: new Backoff({ firstMs: 1, maxMs: 5 }),
    ...(pageSize === undefined ? {} : { pageSize }),
  });
  reflector.subscribe({ changed: (key, value) => changes.push(`${key}=${value ?? "gone"}`), synced: () => changes.push("synced") });
  const abort = new AbortController();
  context.after(() => abort.abort());
  await reflector.start(abort.signal);
  const until = async (count: number): Promise<void> => {
    for (let tries = 0; requests.length < count && tries < 500; tries++) await sleep(5);
    await sleep(20);
  };
  return { reflector, requests, changes, until };
}

test("streams the list, then watches from the bookmark", async (context) => {
  const { reflector, requests, changes, until } = await follow(context, [
    stream([event("ADDED", object("a", 3)), bookmark(2, false), event("ADDED", object("b", 4)), bookmark(10, true), event("MODIFIED", object("a", 11))]),
    stream([], true),
  ]);
  await until(2);
  assert.deepEqual(changes, ["a=uid-a@3", "b=uid-b@4", "synced", "a=uid-a@11"]);
  assert.equal(requests[0]?.searchParams.get("sendInitialEvents"), "true");
  assert.equal(requests[1]?.searchParams.get("resourceVersion"), "11");
  assert.equal(reflector.health().level, "ok");
});

test("a stream that breaks before the list is complete removes nothing and is no sync", async (context) => {
  const { reflector, changes, until } = await follow(context, [
    stream([event("ADDED", object("a", 3))]),
    stream([event("ADDED", object("b", 4)), bookmark(10, true)], true),
  ]);
  await until(2);
  assert.deepEqual(changes, ["a=uid-a@3", "b=uid-b@4", "a=gone", "synced"]);
  assert.equal(reflector.synced, true);
});

test("after 410 the list is made again: what vanished goes, what is as it was is no change", async (context) => {
  const { requests, changes, until } = await follow(context, [
    stream([event("ADDED", object("a", 3)), event("ADDED", object("b", 4)), bookmark(10, true)]),
    stream([event("ERROR", { metadata: {}, code: 410, reason: "Expired", message: "too old" })]),
    stream([event("ADDED", object("b", 4)), event("ADDED", object("c", 20)), bookmark(21, true)], true),
  ]);
  await until(3);
  assert.deepEqual(changes, ["a=uid-a@3", "b=uid-b@4", "synced", "c=uid-c@20", "a=gone"]);
  assert.equal(requests[2]?.searchParams.get("sendInitialEvents"), "true");
});

test("forbidden, failing and missing lists never remove anything", async (context) => {
  const { reflector, changes, until } = await follow(context, [
    stream([event("ADDED", object("a", 3)), bookmark(10, true)]),
    stream([event("ERROR", { metadata: {}, code: 410, reason: "Expired", message: "too old" })]),
    refuse(403, "Forbidden"),
    refuse(404, "NotFound"),
    refuse(500, "InternalError"),
    (_url, response) => response.end("[]"),
  ]);
  await until(8);
  assert.deepEqual(changes, ["a=uid-a@3", "synced"]);
  assert.deepEqual([...reflector.objects], [["a", "uid-a@3"]]);
  assert.equal(reflector.health().level, "degraded");
});

test("a server without WatchList is read in pages; a page that fails fails the list", async (context) => {
  const page = (items: object[], next?: string): Answer => (_url, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ metadata: { resourceVersion: "30", ...(next === undefined ? {} : { continue: next }) }, items }));
  };
  const { requests, changes, reflector, until } = await follow(
    context,
    [refuse(422, "Invalid"), page([object("a", 1)], "more"), refuse(500, "InternalError"), page([object("a", 1)], "more"), page([object("b", 2)]), stream([], true)],
    1,
  );
  await until(6);
  assert.deepEqual(changes, ["a=uid-a@1", "b=uid-b@2", "synced"]);
  assert.equal(requests[4]?.searchParams.get("continue"), "more");
  assert.equal(requests[5]?.searchParams.get("resourceVersion"), "30");
  assert.equal(reflector.synced, true);
});

test("another UID under the same name is a removal and an addition", async (context) => {
  const { changes, until } = await follow(context, [
    stream([event("ADDED", object("a", 3)), bookmark(10, true), event("MODIFIED", object("a", 12, "other")), event("DELETED", object("a", 13, "other"))], true),
  ]);
  await until(1);
  assert.deepEqual(changes, ["a=uid-a@3", "synced", "a=gone", "a=other@12", "a=gone"]);
});

test("an object that is not understood keeps its last good state", async (context) => {
  const { changes, until } = await follow(context, [
    stream([event("ADDED", object("a", 3)), bookmark(10, true), event("MODIFIED", object("a", 11, "uid-a", { broken: "" })), event("MODIFIED", object("b", 12))], true),
  ]);
  await until(1);
  assert.deepEqual(changes, ["a=uid-a@3", "synced", "b=uid-b@12"]);
});

test("the next server of the list is asked when one cannot be reached, and kept", async (context) => {
  const { url } = await scripted(context, [(_url, response) => response.end("{}")]);
  const access = new KubeAccess({ servers: ["http://127.0.0.1:1", url], serviceAccountDirectory: import.meta.dirname });
  access.headers = () => Promise.resolve({});
  const good: string[] = [];
  const transport = new HttpTransport(access, logger, (server) => good.push(server));
  await transport.json({ method: "GET", path: "/" });
  await transport.json({ method: "GET", path: "/" });
  assert.deepEqual(good, [url]);
  const nowhere = new KubeAccess({ servers: ["http://127.0.0.1:1"], serviceAccountDirectory: import.meta.dirname });
  nowhere.headers = () => Promise.resolve({});
  await assert.rejects(new HttpTransport(nowhere, logger).json({ method: "GET", path: "/x" }), { code: "KUBE_Unreachable", message: /API server http:\/\/127\.0\.0\.1:1 not reached/ });
});

test("lines are split on bytes: a character cut in two, an empty line, a tail that the network cut", async () => {
  const bytes = Buffer.from('{"a":"é"}\n\n{"b":1}\n{"cut');
  async function* chunks(size: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  for (const size of [1, 2, 7, 100]) {
    const lines: string[] = [];
    for await (const line of splitLines(chunks(size))) lines.push(line);
    assert.deepEqual(lines, ['{"a":"é"}', '{"b":1}']);
  }
});
