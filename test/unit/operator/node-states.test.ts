/** What the operator remembers of a node's state, and until when. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeStates } from "../../../src/operator/node-states.ts";
import type { NodeStatesOptions } from "../../../src/operator/node-states.ts";
import { Cluster } from "../../../src/operator/cluster.ts";
import type { Document, PolicyMark } from "../../../src/feed/index.ts";
import { createLogger } from "../../../src/lib/log.ts";
import { WorkQueue } from "../../../src/lib/queue.ts";

const REF = { kind: "CiliumNetworkPolicy", namespace: "red", name: "gone", uid: "u1", generation: 1 } as const;

test("which nodes were told of a policy: one that left is forgotten although the node acknowledged before the write returned", async () => {
  const acknowledgements = new Map<string, object>();
  const written: number[] = [];
  const writer = {
    write: async (target: { readonly acknowledged: number }): Promise<{ revision: number; document: Document }> => {
      written.push(target.acknowledged);
      // The agent is quick: what it says arrives while the operator still sweeps.
      acknowledgements.set("status.n1", { node: "n1", acknowledgement: { appliedRevision: 7 } });
      const marks = new Map<string, PolicyMark>([["u2", { ref: { ...REF, uid: "u2" }, since: 1, removed: false }]]);
      if (target.acknowledged < 7) marks.set("u1", { ref: REF, since: 7, removed: true });
      return { revision: 7 + written.length - 1, document: { marks } as unknown as Document };
    },
  };
  const states = new NodeStates({
    writer,
    cluster: new Cluster({ nodeChanged: () => undefined, identityChanged: () => undefined }),
    policies: { effective: new Map() },
    nodes: { objects: new Map([["n1", { uid: "node-uid" }]]) },
    states: { objects: acknowledgements },
    routing: () => ({}),
    policyOptions: {},
    leadership: { transitions: 1 },
    onMarks: () => undefined,
  } as unknown as NodeStatesOptions);
  const end = new AbortController();
  const queue = new WorkQueue({ name: "nodes", logger: createLogger({ component: "test", level: "error" }) });
  queue.run(states, end.signal);
  queue.add("n1");
  for (let turn = 0; turn < 500 && states.records.get("n1")?.document.marks.has("u1") !== false; turn++) await new Promise((resolve) => setTimeout(resolve, 4));
  end.abort();
  assert.deepEqual(written, [0, 7]);
  assert.deepEqual(["u1", "u2"].map((uid) => [...states.holding(uid)]), [[], ["n1"]]);
});
