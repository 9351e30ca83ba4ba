/** What the CiliumRouting says, from what the nodes say. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CiliumRouting } from "../../../src/api/gen/ciliumroutings.ts";
import { readRouting, routingHash } from "../../../src/compile/index.ts";
import { routingSpec, routingStatus } from "../../../src/operator/routing.ts";
import type { NodeRoutingRow } from "../../../src/operator/routing.ts";

const decision = readRouting((key) => ({ "routing-mode": "native", "auto-direct-node-routes": "true", "non-masquerade-cidrs": "192.0.2.0/24" })[key]);
const spec = routingSpec(decision);
const before = readRouting(() => undefined);
const object: CiliumRouting = { metadata: { name: "default", generation: 3 }, spec };
const NOW = "2030-01-01T00:00:00Z";
const native: NodeRoutingRow = { settings: routingHash(decision), mode: "Native" };

const told = (nodes: Readonly<Record<string, NodeRoutingRow | undefined>>, wanted = decision): ReturnType<typeof routingStatus> => routingStatus(object, wanted, new Map(Object.entries(nodes)), NOW);
const ready = (status: ReturnType<typeof routingStatus>): string => `${status.conditions[0]?.status} ${status.conditions[0]?.reason}`;

describe("the status of routing", () => {
  it("the spec is what the chart's values mean, without words of which they say nothing and that an older definition lacks", () => {
    assert.deepEqual(spec, { mode: "native", tunnel: { protocol: "vxlan", port: 8472 }, native: { directNodeRoutes: true }, masquerade: { ipv4: true, ipv6: true, excludedCIDRs: ["192.0.2.0/24"] } });
    assert.deepEqual(routingSpec({ ...decision, masqueradeFrom: ["10.0.0.0/8"] }).masquerade?.sourceCIDRs, ["10.0.0.0/8"]);
  });

  it("is ready when every node routes so", () => {
    const status = told({ a: native, b: native });
    assert.deepEqual([status.nodes, status.tunnel, status.native, status.failingNodes, ready(status), status.observedGeneration], ["2/2", 0, 2, [], "True Routed", 3]);
  });

  it("names each node that does not, with why: one in the mode of before, one with a route that cannot be, one that says nothing", () => {
    const status = told({ d: native, c: undefined, b: { ...native, message: "no direct route to 10.0.1.0/24 of a: it is behind a gateway" }, a: { settings: routingHash(before), mode: "Tunnel" } });
    assert.deepEqual([status.nodes, status.tunnel, status.native, ready(status)], ["1/4", 1, 2, "False NotRouted"]);
    assert.deepEqual(status.failingNodes?.map(({ name }) => name), ["a", "b", "c"]);
    assert.match(status.failingNodes?.[0]?.message ?? "", /still routes by tunnel as was said before/);
    assert.match(status.failingNodes?.[1]?.message ?? "", /behind a gateway/);
    assert.match(status.failingNodes?.[2]?.message ?? "", /does not say/);
  });

  it("of an object that somebody made with another spec says that it is not in force", () => {
    const status = told({ a: native }, before);
    assert.deepEqual([status.nodes, ready(status)], ["0/1", "False NotInForce"]);
  });

  it("counts no node whose agent has other settings, also of the same mode", () => {
    const port = { ...decision, masquerade: { ipv4: true, ipv6: false } };
    const status = told({ a: native, b: { settings: routingHash(port), mode: "Native" } });
    assert.deepEqual([status.nodes, status.native, ready(status), status.failingNodes?.map(({ name }) => name)], ["1/2", 2, "False NotRouted", ["b"]]);
  });
});
