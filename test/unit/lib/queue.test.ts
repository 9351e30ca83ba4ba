import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";
import { Backoff, sleep } from "../../../src/lib/backoff.ts";
import { TerminalError } from "../../../src/lib/errors.ts";
import { createLogger } from "../../../src/lib/log.ts";
import { WorkQueue } from "../../../src/lib/queue.ts";
import type { WorkQueueOptions } from "../../../src/lib/queue.ts";

const logger = createLogger({ component: "test", level: "error", stream: new Writable({ write: (_c, _e, done) => done() }) });

function queueOf(context: { after(fn: () => void): void }, options: Partial<WorkQueueOptions> = {}) {
  const abort = new AbortController();
  context.after(() => abort.abort());
  return { queue: new WorkQueue({ name: "test", logger, backoff: { firstMs: 5, maxMs: 20 }, ...options }), signal: abort.signal, abort };
}

test("a key that is added many times while it waits is handled once", async (context) => {
  const { queue, signal } = queueOf(context);
  const seen: string[] = [];
  for (let i = 0; i < 10; i++) queue.add("a");
  queue.add("b");
  queue.run({ reconcile: async (key) => (seen.push(key), {}) }, signal);
  await queue.idle();
  assert.deepEqual(seen, ["a", "b"]);
});

test("a key that changes while it is handled is handled once more, never twice at a time", async (context) => {
  const { queue, signal } = queueOf(context, { concurrency: 4 });
  let running = 0;
  let handled = 0;
  const reconcile = async (): Promise<object> => {
    assert.equal(++running, 1);
    if (++handled === 1) for (let i = 0; i < 5; i++) queue.add("a");
    await sleep(2);
    running--;
    return {};
  };
  queue.add("a");
  queue.run({ reconcile }, signal);
  await queue.idle();
  assert.equal(handled, 2);
});

test("a failing key comes back by itself and does not hold the others", async (context) => {
  const { queue, signal } = queueOf(context);
  const seen: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const reconcile = async (key: string): Promise<object> => {
    seen.push(key);
    if (key === "bad" && seen.filter((k) => k === "bad").length < 3) throw new Error("not yet");
    if (key === "bad") resolve();
    return {};
  };
  queue.add("bad");
  queue.add("good");
  queue.run({ reconcile }, signal);
  await promise;
  assert.deepEqual(seen, ["bad", "good", "bad", "bad"]);
});

test("a terminal error is not retried until the key changes", async (context) => {
  const { queue, signal } = queueOf(context);
  let handled = 0;
  const reconcile = async (): Promise<object> => {
    handled++;
    throw new TerminalError("no use");
  };
  queue.add("a");
  queue.run({ reconcile }, signal);
  await sleep(40);
  assert.equal(handled, 1);
  queue.add("a");
  await queue.idle();
  assert.equal(handled, 2);
});

test("changes inside the minimum interval become one", async (context) => {
  const { queue, signal } = queueOf(context, { minIntervalMs: 40 });
  let handled = 0;
  queue.run({ reconcile: async () => (handled++, {}) }, signal);
  queue.add("a");
  await queue.idle();
  for (let i = 0; i < 5; i++) queue.add("a");
  assert.equal(handled, 1);
  await sleep(80);
  assert.equal(handled, 2);
});

test("after the abort nothing starts and no timer is left", async (context) => {
  const { queue, signal, abort } = queueOf(context);
  let handled = 0;
  queue.run({ reconcile: async () => (handled++, {}) }, signal);
  queue.addAfter("a", 5);
  abort.abort();
  queue.add("b");
  await sleep(20);
  assert.equal(handled, 0);
});

test("delays grow to the limit and start over after a success", () => {
  const backoff = new Backoff({ firstMs: 10, maxMs: 50, jitter: 0 });
  assert.deepEqual([backoff.next(), backoff.next(), backoff.next(), backoff.next()], [10, 20, 40, 50]);
  backoff.reset();
  assert.equal(backoff.next(), 10);
});

test("a queue that was stopped is idle, whatever is added and however its last key ends", async (context) => {
  const { queue, signal, abort } = queueOf(context);
  const reconcile = async (): Promise<object> => {
    await sleep(20);
    queue.add("a");
    queue.add("b");
    throw new Error("cut off");
  };
  queue.add("a");
  queue.run({ reconcile }, signal);
  await sleep(5);
  queue.add("a");
  abort.abort();
  await queue.idle();
  assert.equal(queue.depth, 0);
});
