import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeClient } from "../../../src/kube/client.ts";
import type { Logger } from "../../../src/lib/log.ts";
import { Cluster } from "../../../src/operator/cluster.ts";
import { IdentityAllocator } from "../../../src/operator/identities.ts";
import { decodePod } from "../../../src/operator/rows.ts";

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };

test("one namespace has so many identities and no more, is told so once, and another gets its own", async () => {
  const made: string[] = [];
  const told: string[] = [];
  const cluster = new Cluster({ nodeChanged: () => undefined, identityChanged: () => undefined });
  const client = { create: async (_type: unknown, object: { metadata: { name: string } }) => (made.push(object.metadata.name), object) } as unknown as KubeClient;
  const events = { record: async (_type: unknown, object: { metadata: { name: string } }, _severity: unknown, reason: string) => void told.push(`${object.metadata.name} ${reason}`) };
  const allocator = new IdentityAllocator({ client, cluster, events, logger: silent, most: 3 });
  for (const namespace of ["greedy", "modest"]) cluster.namespaceChanged(namespace, { labels: {} });
  const pod = (namespace: string, app: string) => decodePod({ metadata: { name: app, namespace, labels: { app } }, spec: { nodeName: "n1" } });
  for (let at = 0; at < 6; at++) cluster.podChanged(pod("greedy", `a${at}`), undefined);
  cluster.podChanged(pod("modest", "b"), undefined);
  const allocate = async (): Promise<number> => {
    const results = await Promise.all([...cluster.wantedKeys()].map(async (key) => await allocator.reconcile(key, new AbortController().signal)));
    return results.filter(({ requeueAfterMs }) => requeueAfterMs !== undefined).length;
  };
  for (const key of cluster.wantedKeys()) await allocator.reconcile(key, new AbortController().signal);
  assert.equal(made.length, 4);
  assert.deepEqual([cluster.numbersOf("greedy"), cluster.numbersOf("modest")], [3, 1]);
  assert.deepEqual([await allocate(), told], [3, ["greedy CapacityExceeded"]]);
  // The watch shows what we made ourselves: it counts once. What goes makes room.
  const [number, labels] = [...cluster.identities.labels].find(([, each]) => each.get("k8s:io.kubernetes.pod.namespace") === "greedy") ?? assert.fail("none");
  cluster.identityChanged({ number, labels, uid: "" }, undefined);
  assert.equal(cluster.numbersOf("greedy"), 3);
  cluster.podChanged(undefined, pod("greedy", labels.get("k8s:app") ?? ""));
  cluster.identityChanged(undefined, { number, labels, uid: "" });
  for (const key of cluster.wantedKeys()) await allocator.reconcile(key, new AbortController().signal);
  assert.deepEqual([made.length, cluster.numbersOf("greedy")], [5, 3]);
});
