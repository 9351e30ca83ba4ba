/** CiliumRoutings that users make: which one speaks for a node, what it means there, and what each says of itself. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CiliumRouting } from "../../../src/api/gen/ciliumroutings.ts";
import { nodeRouting, readRouting, routingHash, routingProblem } from "../../../src/compile/index.ts";
import { RoutingBook } from "../../../src/operator/routing.ts";
import type { RoutingSpec, RoutingStatus } from "../../../src/operator/routing.ts";

const NOW = "2030-01-01T00:00:00Z";
const values = readRouting((key) => ({ "non-masquerade-cidrs": "192.0.2.0/24" })[key]);
const at = (day: number): string => `2029-01-0${day}T00:00:00Z`;
const rack = (name: string): NonNullable<RoutingSpec["nodeSelector"]> => ({ matchLabels: { rack: name } });
const object = (name: string, day: number, spec: RoutingSpec, status?: RoutingStatus): CiliumRouting => ({ metadata: { name, generation: 2, creationTimestamp: at(day) }, spec, ...(status === undefined ? {} : { status }) });

/** Nodes a and b in rack 1, c in rack 2, each of which routes as it is told. */
function book(objects: readonly CiliumRouting[], isEncrypted = false): RoutingBook {
  const source = <T>(rows: Readonly<Record<string, T>>): never => ({ objects: new Map(Object.entries(rows)) }) as never;
  const nodes = { a: { uid: "a", labels: { rack: "1" } }, b: { uid: "b", labels: { rack: "1", disk: "ssd" } }, c: { uid: "c", labels: { rack: "2" } } };
  const routings = source(Object.fromEntries(objects.map((each) => [each.metadata.name, each])));
  const made: RoutingBook = new RoutingBook(values, isEncrypted, { routings, nodes: source(nodes), ciliumNodes: { objects: { get: (name: string) => ({ routing: { settings: routingHash(made.decisionOf(name)), mode: "Tunnel" } }) } } as never });
  return made;
}

const conditions = (status: RoutingStatus): string[] => status.conditions.map(({ type, status: is, reason }) => `${type} ${is} ${reason}`);

describe("objects of users", () => {
  it("the greatest priority speaks for a node, then the oldest; the others say so, and for which nodes", () => {
    const [one, other, ssd] = [object("one", 2, { mode: "native", nodeSelector: rack("1") }), object("other", 1, { mode: "auto", nodeSelector: rack("1") }), object("ssd", 3, { mode: "tunnel", priority: 1, nodeSelector: { matchExpressions: [{ key: "disk", operator: "Exists" }] } })];
    const all = book([one, other, ssd]);
    assert.deepEqual(["a", "b", "c", "unknown"].map((node) => all.decisionOf(node).mode), ["auto", "tunnel", "tunnel", "tunnel"]);
    assert.deepEqual(conditions(all.status(other, NOW)), ["Ready True Routed", "Conflict True Overridden"]);
    assert.match(all.status(other, NOW).conditions[1]?.message ?? "", /b \(ssd\)$/);
    assert.deepEqual([all.status(other, NOW).nodes, all.status(one, NOW).nodes, all.status(ssd, NOW).nodes], ["1/1", "0/0", "1/1"]);
    assert.deepEqual(conditions(all.status(one, NOW)), ["Ready False Overridden", "Conflict True Overridden"]);
    assert.deepEqual(conditions(all.status(ssd, NOW)), ["Ready True Routed", "Conflict False None"]);
  });

  it("the one of the chart's values speaks where no other does", () => {
    const all = book([object("one", 1, { mode: "auto", nodeSelector: rack("1") })]);
    const status = all.status(object("default", 1, { mode: "tunnel" }), NOW);
    assert.match(status.nodes, /\/1$/);
  });

  it("where nodes encrypt, every mode leads through the tunnel between them, which the object says; what it says of the outside holds", () => {
    const native = object("native", 1, { mode: "native", nodeSelector: rack("1"), native: { directNodeRoutes: true, cidrs: ["10.0.0.0/8"] } });
    const all = book([native], true);
    assert.deepEqual(all.decisionOf("a"), { ...values, mode: "tunnel", directRoutes: false, unmasqueraded: ["10.0.0.0/8"] });
    const status = all.status(native, NOW);
    assert.deepEqual([conditions(status), status.nodes, status.tunnel, status.native], [["Ready True Routed", "Conflict False None"], "2/2", 2, 0]);
    assert.match(status.conditions[0]?.message ?? "", /^all 2 nodes route by native; what their pods say to each other goes through the tunnel, as it is encrypted$/);
    assert.match(book([native]).status(native, NOW).conditions[0]?.message ?? "", /route by native$/);
  });

  it("one that selects nothing says so", () => {
    const empty = object("empty", 1, { mode: "auto", nodeSelector: rack("9") });
    assert.deepEqual(conditions(book([empty]).status(empty, NOW)), ["Ready False NoNodes", "Conflict False None"]);
  });

  it("what is wrong is refused by its path before anything is changed: what was valid before stays in force", () => {
    const wrong = { mode: "native", nodeSelector: rack("1"), masquerade: { excludedCIDRs: ["10.0.0.0/33"] } } as const satisfies RoutingSpec;
    const fresh = object("fresh", 1, { ...wrong, masquerade: { excludedCIDRs: [...wrong.masquerade.excludedCIDRs] } });
    assert.equal(book([fresh]).decisionOf("a").mode, "tunnel");
    const { conditions: [ready] } = book([fresh]).status(fresh, NOW);
    assert.match(`${ready?.reason} ${ready?.message}`, /^Invalid spec\.masquerade\.excludedCIDRs\[0\]: "10\.0\.0\.0\/33" is no CIDR$/);
    const valid = object("fresh", 1, { mode: "auto", nodeSelector: rack("1") });
    const edited = object("fresh", 1, fresh.spec, book([valid]).status(valid, NOW));
    assert.equal(book([edited]).decisionOf("a").mode, "auto");
    const kept = book([edited]).status(edited, NOW);
    assert.match(kept.conditions[0]?.message ?? "", /stays in force/);
    assert.equal(kept.lastValid, edited.status?.lastValid);
  });

  it("a status that somebody else wrote is no spec", () => {
    for (const lastValid of ["{", "null", "3", '{"native":null}', '{"mode":"native","masquerade":7}']) {
      const broken = object("broken", 1, { mode: "native", nodeSelector: rack("1"), tunnel: { port: 1 } }, { nodes: "", tunnel: 0, native: 0, conditions: [], lastValid });
      assert.equal(book([broken]).decisionOf("a").mode, "tunnel", lastValid);
    }
  });
});

describe("what an object means", () => {
  it("of what it leaves out the chart's values hold", () => {
    assert.deepEqual(nodeRouting({ mode: "tunnel" }, values), values);
    assert.deepEqual(nodeRouting({ mode: "auto", masquerade: { ipv6: false, excludedCIDRs: ["10.1.2.3/8"] }, native: { cidrs: ["fd00::/8"] } }, values), { mode: "auto", tunnelPort: 8472, directRoutes: true, masquerade: { ipv4: true, ipv6: false }, unmasqueraded: ["10.0.0.0/8", "fd00::/8"] });
    assert.deepEqual(nodeRouting({ mode: "tunnel", masquerade: { sourceCIDRs: ["203.0.113.9/24"] } }, values).masqueradeFrom, ["203.0.113.0/24"]);
    assert.deepEqual([{}, { masquerade: { sourceCIDRs: [] } }].map((more) => nodeRouting({ mode: "tunnel", ...more }, { ...values, masqueradeFrom: ["fd00::/8"] }).masqueradeFrom), [["fd00::/8"], undefined]);
    assert.equal(nodeRouting({ mode: "native", native: { directNodeRoutes: true } }, values).directRoutes, true);
    assert.equal(nodeRouting({ mode: "native" }, values).directRoutes, false);
  });

  it("says by its path what cannot be", () => {
    const problem = (spec: object): string | undefined => routingProblem({ mode: "native", ...spec } as RoutingSpec, values);
    assert.equal(problem({ priority: 3, nodeSelector: {}, tunnel: { port: 8472, protocol: "vxlan" }, native: { directNodeRoutes: true, cidrs: ["10.0.0.0/8"] }, masquerade: { ipv4: false, ipv6: false, excludedCIDRs: [] } }), undefined);
    for (const [spec, path] of [[{ mtu: 1400 }, /^spec\.mtu: not known/], [{ tunnel: { kind: "geneve" } }, /^spec\.tunnel\.kind/], [{ tunnel: { port: 4789 } }, /^spec\.tunnel\.port: all nodes have one/], [{ mode: "tunnel", native: { directNodeRoutes: true } }, /^spec\.native\.directNodeRoutes/], [{ mode: "auto", native: { directNodeRoutes: false } }, /^spec\.native\.directNodeRoutes/], [{ masquerade: { sourceCIDRs: ["10.0.0.0/8", "y"] } }, /^spec\.masquerade\.sourceCIDRs\[1\]: "y" is no CIDR/], [{ native: { cidrs: ["x"] } }, /^spec\.native\.cidrs\[0\]/]] as const) assert.match(problem(spec) ?? "", path);
  });
});
