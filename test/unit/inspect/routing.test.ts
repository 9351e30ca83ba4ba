/** How a node routes and whom it reaches → what `cilium routing` and `cilium node list` tell. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CiliumNode } from "../../../src/api/gen/ciliumnodes.ts";
import type { RoutingFacts, RoutingProbe } from "../../../src/inspect/index.ts";
import { listedNodes, nodesText, routingObject, routingText } from "../../../src/cli/routing.ts";
import type { NodeRow } from "../../../src/cli/routing.ts";
import { cells, rowsFrom } from "./facts.ts";

const probe = (type: RoutingProbe["type"], address: string, state: RoutingProbe["state"], latencySeconds?: number): RoutingProbe => ({ type, address, state, latencySeconds, ageSeconds: state === "unknown" ? undefined : 4 });
const FACTS: RoutingFacts = {
  mode: "auto", message: "no route leads to n4", healthFailure: undefined,
  peers: [
    { peer: "n2", way: "direct", probes: [probe("endpoint", "10.0.2.1", "reachable", 0.0002), probe("node", "192.0.2.2", "reachable", 0.5)] },
    { peer: "n3", way: "tunnel", probes: [probe("endpoint", "10.0.3.1", "reachable", 0.0004), probe("node", "192.0.2.3", "unreachable")] },
    { peer: "n4", way: "tunnel", probes: [probe("endpoint", "10.0.4.1", "unknown")] },
  ],
};
const none = { encryption: async () => undefined };

test("of a node: mode, how many others are reached and how fast, who is not, what is missing", async () => {
  const rows = await rowsFrom("routing-status", { ...none, routing: () => FACTS });
  assert.deepEqual(cells("routing-status", rows), [{ MODE: "auto", "NODES REACHED": "1/3 (1 not asked yet)", LATENCY: "0.200ms, at most 0.400ms", "NOT REACHED": "n3", MISSING: "no route leads to n4" }]);
  assert.deepEqual(await rowsFrom("routing-status", { ...none, routing: () => undefined }), []);
});

test("of each pair: by which way, where it was asked, and what came of it", async () => {
  const rows = await rowsFrom("routing-peers", { ...none, routing: () => FACTS });
  assert.deepEqual(cells("routing-peers", rows).map((row) => Object.values(row).join(" | ")), [
    "n2 | direct | as its pods | 10.0.2.1 | reachable | 0.200ms | 4s ago", "n2 | direct | as a node | 192.0.2.2 | reachable | 500.000ms | 4s ago",
    "n3 | tunnel | as its pods | 10.0.3.1 | reachable | 0.400ms | 4s ago", "n3 | tunnel | as a node | 192.0.2.3 | unreachable | - | 4s ago",
    "n4 | tunnel | as its pods | 10.0.4.1 | unknown | - | never",
  ]);
});

async function rowOf(node: string, facts: RoutingFacts): Promise<NodeRow> {
  const [row] = await rowsFrom("routing-status", { ...none, routing: () => facts });
  return { ...(row as unknown as NodeRow), node };
}

test("the objects with their conditions, and the nodes", async () => {
  const condition = (type: string, status: "True" | "False", reason: string, message: string): object => ({ type, status, reason, message, lastTransitionTime: "", observedGeneration: 1 });
  const object = routingObject({ metadata: { name: "rack-2" }, spec: { mode: "native", priority: 5 }, status: { nodes: "1/2", conditions: [condition("Ready", "False", "NotRouted", "n3 does not"), condition("Conflict", "False", "None", "no other")] } } as unknown as Parameters<typeof routingObject>[0]);
  const overview = { objects: [object], nodes: [await rowOf("n1", FACTS)] };
  const text = routingText(overview, "table");
  assert.match(text, /^rack-2 +native +5 +1\/2 +False +False +NotRouted: n3 does not$/m);
  assert.match(text, /^n1 +auto +1\/3 \(1 not asked yet\) +0\.200ms, at most 0\.400ms +n3 +no route leads to n4$/m);
  assert.deepEqual(JSON.parse(routingText(overview, "json")), JSON.parse(JSON.stringify(overview)));
  assert.match(routingText(overview, "yaml"), /^ {4}mode: native$/m);
});

test("a node that others do not reach is told with their names, also when its own agent does not answer", async () => {
  const object = (name: string): CiliumNode => ({ metadata: { name }, spec: { addresses: [{ type: "InternalIP", ip: "192.0.2.3" }, { type: "CiliumInternalIP", ip: "10.0.3.1" }], ipam: { podCIDRs: ["10.0.3.0/24"] } }, status: { routing: { settings: "x", mode: "Auto" } } });
  const nodes = listedNodes([object("n10"), object("n3")], [await rowOf("n1", FACTS), await rowOf("n2", FACTS), await rowOf("n10", FACTS)]);
  assert.deepEqual(nodes.map(({ name, unreachedBy, reaches, routerIPs }) => [name, unreachedBy, reaches?.reached, routerIPs]), [["n3", ["n1", "n2", "n10"], undefined, ["10.0.3.1"]], ["n10", [], 1, ["10.0.3.1"]]]);
  assert.match(nodesText(nodes, "table"), /^n3 +192\.0\.2\.3 +10\.0\.3\.0\/24 +Auto +- +- +- +n1,n2,n10$/m);
});
