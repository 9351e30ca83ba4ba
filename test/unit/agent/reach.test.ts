/** By which way nodes send to each other, also while they change over one after the other. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { routedBy } from "../../../src/agent/node-routes.ts";
import type { RemoteCidr } from "../../../src/agent/peers.ts";
import { TunnelSayings, between, isSameReaching, reachAll, reachOf, reachingBy } from "../../../src/agent/reach.ts";
import type { Ground, Reach } from "../../../src/agent/reach.ts";

const on = (nodeName: string, nodeIp: string, mode?: RemoteCidr["mode"]): RemoteCidr => ({ cidr: `10.${nodeName.charCodeAt(0)}.0.0/24`, nodeName, nodeIp, tunnelIp: nodeIp, mode });
const ground: Ground = {
  ways: new Map([["192.0.2.2", { device: "eth0", gateway: undefined }], ["192.0.2.3", { device: "eth0", gateway: undefined }], ["198.51.100.9", { device: "eth0", gateway: "192.0.2.254" }]]),
  underlay: ["eth0"],
  hasTunnel: true,
  isRouted: () => true,
};
const NEAR = on("b", "192.0.2.2", "Native");
const FAR = on("f", "198.51.100.9", "Native");
const decision = (mode: "tunnel" | "native" | "auto", directRoutes = mode !== "tunnel") => ({ mode, directRoutes });
const ways = (...args: Parameters<typeof reachAll>): Record<string, Reach> => Object.fromEntries(reachAll(...args).reach);

describe("the way to another node", () => {
  it("is without a tunnel only where both ends say so", () => {
    assert.deepEqual(ways(decision("native"), [NEAR, on("c", "192.0.2.3", "Tunnel")], ground), { b: "direct", c: "tunnel" });
    assert.deepEqual(ways(decision("tunnel"), [NEAR], ground), { b: "tunnel" });
    assert.deepEqual(ways(decision("auto"), [NEAR, on("c", "192.0.2.3", "Auto")], ground), { b: "direct", c: "direct" });
    assert.deepEqual(ways(decision("native"), [on("b", "192.0.2.2")], ground), { b: "direct" }, "an agent that does not say it routes as all do");
  });

  it("with mode auto is native on a shared segment and the tunnel beyond a router, and that is as it should be", () => {
    const { reach, failures } = reachAll(decision("auto"), [NEAR, FAR], ground);
    assert.deepEqual([Object.fromEntries(reach), failures], [{ b: "direct", f: "tunnel" }, []]);
  });

  it("with native routes of our own a node beyond a router is reached through the tunnel, and that is said", () => {
    const { reach, failures } = reachAll(decision("native"), [NEAR, FAR], ground);
    assert.deepEqual(Object.fromEntries(reach), { b: "direct", f: "tunnel" });
    assert.match(failures.join(), /^no direct route to \S+ of f: .* behind the gateway 192\.0\.2\.254.*; it is reached through the tunnel$/);
    assert.deepEqual(ways(decision("native"), [FAR], { ...ground, hasTunnel: false }), { f: "direct" }, "where there is no tunnel its route is missing, which the routes say");
    assert.deepEqual(ways(decision("native"), [{ ...FAR, tunnelIp: undefined }], ground), { f: "direct" });
  });

  it("is left to the network where it has the routes", () => {
    assert.deepEqual(reachAll(decision("native", false), [NEAR, FAR], ground), { reach: new Map([["b", "direct"], ["f", "direct"]]), failures: [] });
  });

  it("is the tunnel where the network was said to have a route and has none, and that is said before anything is sent there", () => {
    const { reach, failures } = reachAll(decision("native", false), [NEAR, FAR], { ...ground, isRouted: routedBy(["10.98.0.0/16"]) });
    assert.deepEqual(Object.fromEntries(reach), { b: "direct", f: "tunnel" });
    assert.deepEqual(failures, ["no route of the network leads to 10.102.0.0/24 of f; it is reached through the tunnel"]);
    assert.deepEqual(ways(decision("native", false), [FAR], { ...ground, hasTunnel: false, isRouted: () => false }), { f: "direct" }, "without a tunnel there is no other way");
  });

  it("a route of the network leads to a block by the default, by one around it, and by those of its parts", () => {
    const is = (destination: string, cidr: string): boolean => routedBy([destination])(cidr);
    for (const destination of ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.0/24", "10.1.2.128/25", "10.1.2.7"]) assert.ok(is(destination, "10.1.2.0/24"), destination);
    for (const destination of ["10.1.3.0/24", "10.1.3.7", "::/0"]) assert.ok(!is(destination, "10.1.2.0/24"), destination);
    assert.ok(is("::/0", "fd00:1::/64") && is("fd00:1::7", "fd00:1::/64") && !is("0.0.0.0/0", "fd00:1::/64"));
    assert.ok(!routedBy([])("10.1.2.0/24"));
  });

  it("thousands of routes are asked about thousands of blocks: each by its neighbours in order, as all else waits", () => {
    const hex = (number: number): string => number.toString(16);
    const routes = Array.from({ length: 10_000 }, (_, index) => [`10.${index >> 8}.${index & 255}.64/26`, `fd00:${hex(index)}::/80`]).flat();
    const blocks = Array.from({ length: 5_000 }, (_, index) => [`10.${index >> 8}.${index & 255}.0/24`, `fd00:${hex(index)}::/64`, `10.200.${index >> 8}.${index & 255}/32`, `fd01:${hex(index)}::/64`]).flat();
    const start = performance.now();
    const isRouted = routedBy(routes);
    assert.equal(blocks.filter(isRouted).length, 10_000);
    assert.ok(performance.now() - start < 15_000, "not each with each, 400 million times");
  });

  it("of a node that one family alone reaches is the tunnel for both", () => {
    assert.deepEqual(ways(decision("auto"), [NEAR, { ...NEAR, cidr: "fd00::/64", nodeIp: undefined }], ground), { b: "tunnel" });
  });
});

describe("changing over", () => {
  it("an entry says that there is no tunnel after the route is there, and no longer before it goes", () => {
    const native = new Map<string, Reach>([["b", "direct"], ["c", "tunnel"]]);
    assert.deepEqual(Object.fromEntries(between(reachingBy("tunnel"), native)), { b: "tunnel", c: "tunnel" });
    assert.deepEqual(Object.fromEntries(between(reachingBy("native", native), native)), { b: "direct", c: "tunnel" });
    assert.deepEqual(Object.fromEntries(between(reachingBy("native", native), new Map([["b", "tunnel"], ["c", "direct"]]))), { b: "tunnel", c: "tunnel" });
  });

  it("a node whose way nobody looked at yet is reached by that of the mode", () => {
    assert.deepEqual([reachOf(reachingBy("native"), "x"), reachOf(reachingBy("auto"), "x"), reachOf(reachingBy("tunnel"), "x")], ["direct", "tunnel", "tunnel"]);
  });

  it("a node has routed by tunnel for long once it has said so all the time", () => {
    const sayings = new TunnelSayings();
    const heard = (nowMs: number, ...nodes: readonly RemoteCidr[]): string => [...sayings.heard(nodes, nowMs, 100)].join();
    const [b, c] = [on("b", "192.0.2.2", "Tunnel"), on("c", "192.0.2.3", "Tunnel")];
    assert.equal(heard(0, b), "");
    assert.equal(heard(90, b, c), "");
    assert.equal(heard(101, b, c), "b");
    assert.equal(heard(150, NEAR, c), "", "it says otherwise");
    assert.equal(heard(200, b, c), "c", "and begins anew");
    assert.equal(heard(400, c, on("d", "192.0.2.4")), "c", "who is gone is forgotten; who says nothing does not say it");
  });

  it("the same is known to be the same", () => {
    const reach = new Map<string, Reach>([["b", "direct"]]);
    assert.ok(isSameReaching(reachingBy("auto", reach), reachingBy("auto", new Map(reach))));
    for (const other of [reachingBy("native", reach), reachingBy("auto"), reachingBy("auto", reach, true), reachingBy("auto", reach, false, new Set(["c"])), reachingBy("auto", new Map([["b", "tunnel"]]))]) assert.ok(!isSameReaching(reachingBy("auto", reach), other));
  });
});
