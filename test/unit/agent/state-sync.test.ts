/** When the node state counts as the API server's, with a transport that streams as told. */
import { strict as assert } from "node:assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { NodeStateReader } from "../../../src/feed/index.ts";
import { encodeDocument, manifestHash, nextDocument } from "../../../src/feed/document.ts";
import type { Transport } from "../../../src/kube/index.ts";
import type { NodeState } from "../../../src/compile/state.ts";
import { sleep } from "../../../src/lib/backoff.ts";
import type { Logger } from "../../../src/lib/log.ts";

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };
const state: NodeState = { subjects: new Map(), ruleSets: new Map(), selectors: new Map(), ruleNames: new Map(), policies: new Map(), routing: { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] } };

it("a node state counts as complete once the API server's own was handed out, not while it is the disk's", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "cilium-state-sync-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const parts = encodeDocument(nextDocument(undefined, state, 1, 0));
  const manifest = { format: 1, revision: 1, nodeUID: "u", hash: manifestHash(parts.map(({ hash }) => hash)), parts: parts.map(({ hash }) => ({ name: `p-${hash}.n`, hash })) };
  const object = (name: string, more: object): string => JSON.stringify({ type: "ADDED", object: { metadata: { name, uid: name, resourceVersion: "1" }, ...more } });
  const end = JSON.stringify({ type: "BOOKMARK", object: { metadata: { resourceVersion: "2", annotations: { "k8s.io/initial-events-end": "true" } } } });
  const stages = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  async function* lines(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    await stages[0].promise;
    yield Buffer.from(`${object("spec.n", { manifest })}\n${end}\n`);
    await stages[1].promise;
    for (const { hash, data } of parts) yield Buffer.from(`${object(`p-${hash}.n`, { part: { hash, data } })}\n`);
    await sleep(60_000, signal);
  }
  const run = async (seen: string[]): Promise<NodeStateReader> => {
    const transport = { stream: ({ signal }: { signal: AbortSignal }) => Promise.resolve(lines(signal)) } as unknown as Transport;
    const reader = new NodeStateReader({
      transport, logger: silent, node: "n", nodeUid: () => "u", path: join(folder, "state.json"),
      onState: ({ origin }) => void seen.push(origin), onFailure: () => undefined, onSynced: () => void seen.push("synced"),
    });
    await reader.start(t.signal);
    return reader;
  };
  const first: string[] = [];
  const reader = await run(first);
  stages[0].resolve();
  await sleep(20);
  assert.deepEqual(first, [], "its parts are on their way");
  stages[1].resolve();
  await sleep(50);
  assert.deepEqual(first, ["api", "synced"]);
  await reader.stop();
  const second: string[] = [];
  const next = await run(second);
  assert.deepEqual(second, ["disk"]);
  await sleep(50);
  assert.deepEqual(second, ["disk", "synced"]);
  await next.stop();
});
