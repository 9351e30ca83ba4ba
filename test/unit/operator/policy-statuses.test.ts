/** How often a policy's status is written: as often as there are policies, however many nodes say something of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate, setTimeout } from "node:timers/promises";
import { Validator } from "../../../src/api/index.ts";
import type { KubeClient } from "../../../src/kube/client.ts";
import { createLogger } from "../../../src/lib/log.ts";
import { WorkQueue } from "../../../src/lib/queue.ts";
import { PolicyBook } from "../../../src/operator/policies.ts";
import type { PolicyEntry } from "../../../src/operator/policies.ts";
import type { Findings, PolicyStatus } from "../../../src/operator/policy-status.ts";
import { PolicyStatuses, STATUS_GATHER_MS, STATUS_INTERVAL_MS } from "../../../src/operator/policy-statuses.ts";
import { PolicyWarnings } from "../../../src/operator/policy-warnings.ts";
import type { Standings } from "../../../src/operator/standings.ts";

const [POLICIES, NODES] = [200, 400];
const LIMIT_MS = 120_000;
const KIND = "CiliumNetworkPolicy";

function object(name: string, status?: PolicyStatus): PolicyEntry["object"] {
  return { metadata: { name, namespace: "ns", uid: name, generation: 1 }, spec: { endpointSelector: {}, ingress: [] }, ...(status === undefined ? {} : { status }) };
}

test(`${NODES} nodes acknowledge ${POLICIES} policies one after the other: the writes are as many as the policies, for each while of the interval, and the last one says it all`, { timeout: 2 * LIMIT_MS }, async () => {
  const queue = new WorkQueue({ name: "policies", logger: createLogger({ component: "test", level: "error" }), concurrency: 4, minIntervalMs: STATUS_INTERVAL_MS });
  const policies = new PolicyBook(new Validator(), { policiesChanged: () => undefined, policyChanged: (key) => queue.addAfter(key, STATUS_GATHER_MS) });
  let acknowledged = 0;
  const standings = {
    of: (): Findings => ({ endpoints: NODES, nodes: Array.from({ length: NODES }, (_, at) => ({ node: `n${at}`, standing: at < acknowledged ? "enforced" : "pending", message: at < acknowledged ? "" : "not sent yet" })) }),
  } as unknown as Standings;
  const written = new Map<string, PolicyStatus>();
  let writes = 0;
  const client = {
    patchStatus: async (_type: unknown, { name }: { name: string }, status: PolicyStatus) => {
      writes++;
      await setImmediate();
      written.set(name, status);
      policies.changed(KIND, `ns/${name}`, object(name, status)); // the watch shows it
    },
  } as unknown as KubeClient;
  const warnings = new PolicyWarnings({ policyOptions: { cidrMatchMode: new Set() }, policies: () => policies.effective, onDenials: () => undefined });
  const statuses = new PolicyStatuses({ client, policies, standings, warnings, events: { record: () => Promise.resolve() }, now: () => new Date() });
  const ended = new AbortController();
  const startedMs = performance.now();
  for (let at = 0; at < POLICIES; at++) policies.changed(KIND, `ns/p${at}`, object(`p${at}`));
  queue.run(statuses, ended.signal);
  for (acknowledged = 1; acknowledged < NODES; acknowledged++) {
    for (const key of policies.keys()) queue.addAfter(key, STATUS_GATHER_MS);
    await setTimeout(3); // over several of the intervals
  }
  for (const key of policies.keys()) queue.addAfter(key, STATUS_GATHER_MS);
  const isSaid = (): boolean => written.size === POLICIES && [...written.values()].every(({ enforced }) => enforced === `${NODES}/${NODES}`);
  while (!isSaid() && performance.now() - startedMs < LIMIT_MS) await setTimeout(20);
  const elapsedMs = performance.now() - startedMs;
  ended.abort();
  assert.ok(isSaid(), "every policy says in the end that all nodes enforce it");
  const most = POLICIES * (2 + Math.ceil(elapsedMs / STATUS_INTERVAL_MS));
  assert.ok(writes >= POLICIES && writes <= most, `${writes} writes in ${Math.round(elapsedMs)} ms, ${most} at most`);
  assert.ok(elapsedMs > 3 * STATUS_INTERVAL_MS && writes > POLICIES, "it went on while it was written");
  assert.ok(writes < (POLICIES * NODES) / 10, `${writes} writes of ${POLICIES * NODES} acknowledgements`);
});
