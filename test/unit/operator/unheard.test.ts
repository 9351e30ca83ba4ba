/** A node that is off: what it said last need not hold, and is not counted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CiliumEncryption } from "../../../src/api/gen/ciliumencryptions.ts";
import type { CiliumRouting } from "../../../src/api/gen/ciliumroutings.ts";
import { readRouting, routingHash } from "../../../src/compile/index.ts";
import { defaultEncryption } from "../../../src/operator/encryption.ts";
import { defaultRouting, RoutingBook, routingSpec } from "../../../src/operator/routing.ts";
import { Agents } from "../../../src/operator/standings.ts";

const NOW = "2030-01-01T00:00:00Z";
const SINCE = "2029-12-31T23:00:00Z";
const values = readRouting(() => undefined);
const source = <T>(rows: Readonly<Record<string, T>>): never => ({ objects: new Map(Object.entries(rows)) }) as never;

function sources(agents: Agents): never {
  const report = { encryption: { phase: "Enforced", device: "Userspace", peers: 2 }, routing: { settings: routingHash(values), mode: "Tunnel" } };
  const names = ["a", "b", "c"].map((name) => [name, { uid: name, labels: {} }] as const);
  return { encryptions: source({}), routings: source({}), nodes: source(Object.fromEntries(names)), ciliumNodes: source(Object.fromEntries(names.map(([name]) => [name, report]))), unheard: (node: string) => agents.problem(node) } as never;
}

function agentsOf(ready: Readonly<Record<string, boolean>>): Agents {
  const agents = new Agents();
  for (const [node, isReady] of Object.entries(ready)) agents.changed(`cilium-${node}`, { node, ready: isReady, since: SINCE }, undefined);
  return agents;
}

test("what a node said that is not heard from is counted neither for encryption nor for routing, and told with the reason", () => {
  const encryption = { metadata: { name: "default", generation: 1 }, spec: { type: "wireguard" } } as CiliumEncryption;
  const routing = { metadata: { name: "default", generation: 1 }, spec: routingSpec(values) } as CiliumRouting;
  const said = (agents: Agents) => {
    const all = sources(agents);
    return [defaultEncryption({ port: 51_871 } as never, values, all).status(encryption, NOW), defaultRouting(values, new RoutingBook(values, false, all), all).status(routing, NOW)] as const;
  };
  for (const status of said(agentsOf({ a: true, b: true, c: true }))) assert.deepEqual([status.nodes, status.conditions[0]?.status, status.failingNodes], ["3/3", "True", []]);
  for (const status of said(agentsOf({ a: true, b: false }))) {
    assert.deepEqual([status.nodes, status.conditions[0]?.status], ["1/3", "False"]);
    assert.deepEqual(status.failingNodes, [{ name: "b", message: `not heard from: the cilium agent is not Ready since ${SINCE}` }, { name: "c", message: "not heard from: no cilium agent runs there" }]);
    assert.match(status.conditions[0]?.message ?? "", /b, c$/);
  }
});
