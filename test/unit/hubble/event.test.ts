import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import { enrich, renderEvent } from "../../../src/hubble/index.ts";
import type { EnrichContext } from "../../../src/hubble/index.ts";
import type { Event } from "../../../src/kernel/gen/types.ts";
import { parseAddress } from "../../../src/lib/ip.ts";

const context: EnrichContext = {
  node: "node-1",
  clockOffsetNs: 1_795_392_000_000_000_000n,
  ruleName: (rule) =>
    rule === 7
      ? { kind: "default-deny", direction: "ingress", path: "", policies: [{ kind: "CiliumNetworkPolicy", namespace: "production", name: "allow-frontend-to-api", uid: "u", generation: 1 }] }
      : rule === 8
        ? { kind: "rule", direction: "ingress", path: "spec.ingress[0].toPorts[0]", policies: [{ kind: "CiliumNetworkPolicy", namespace: "production", name: "allow-frontend-to-api", uid: "u", generation: 1 }] }
        : rule === 10
          ? { kind: "rule", direction: "ingress", path: "spec.ingressDeny[0]", log: "ticket-7", policies: [{ kind: "CiliumNetworkPolicy", namespace: "production", name: "watch", uid: "w", generation: 1 }] }
          : rule === 11
            ? { kind: "rule", direction: "ingress", path: "spec.ingress[1]", name: "no strangers", policies: [{ kind: "ClusterNetworkPolicy", namespace: "", name: "admin", uid: "c", generation: 1 }] }
            : undefined,
  labels: (identity) => (identity === 300 ? ["k8s:app=other"] : identity === 301 ? ["k8s:app=api"] : undefined),
  endpoint: (id) => (id === 4 ? { namespace: "production", pod: "api" } : id === 9 ? { namespace: "production", pod: "forger" } : undefined),
  address: (ip) => (ip === "10.0.1.5" ? { namespace: "production", pod: "other" } : ip === "10.0.0.7" ? { namespace: "production", pod: "api" } : ip === "192.168.0.2" ? { node: "node-2" } : undefined),
};
const base: Event = {
  timeNs: 72_062_345_678_000n, type: 1, direction: 0, verdict: 1, protocol: 6, reason: 133, endpoint: 4, rule: 7,
  sourceIdentity: 300, destinationIdentity: 301, ifindex: 3, length: 74, sourcePort: 43210, destinationPort: 8080,
  source: parseAddress("10.0.1.5"), destination: parseAddress("10.0.0.7"), tcpFlags: 2, hook: 0, icmpType: 0,
};

describe("monitor events", () => {
  it("names pods, labels, rule and policy of a drop", () => {
    const event = enrich(base, context);
    assert.equal(event.type, "drop");
    assert.equal(event.reason, "policy-denied");
    assert.deepEqual(event.source, { ip: "10.0.1.5", port: 43210, identity: 300, labels: ["k8s:app=other"], namespace: "production", pod: "other" });
    assert.deepEqual(event.tcpFlags, ["SYN"]);
    assert.equal(event.rule?.policies[0], "production/allow-frontend-to-api");
    assert.match(event.time, /^20\d\d-\d\d-\d\dT20:01:02\.345678Z$/);
    assert.equal(
      renderEvent(event),
      "20:01:02.345 DROPPED policy denied  production/other (10.0.1.5:43210) -> production/api (10.0.0.7:8080) TCP SYN  by default-deny ingress of production/allow-frontend-to-api",
    );
  });

  it("names the path of the rule that allowed, and reserved peers", () => {
    const event = enrich({ ...base, type: 2, verdict: 0, reason: 0, rule: 8, sourceIdentity: 6, source: parseAddress("192.168.0.2"), protocol: 17 }, context);
    assert.equal(event.reason, undefined);
    assert.equal(
      renderEvent(event),
      "20:01:02.345 ALLOWED  remote-node node-2 (192.168.0.2:43210) -> production/api (10.0.0.7:8080) UDP  by production/allow-frontend-to-api spec.ingress[0].toPorts[0]",
    );
  });

  it("says what a policy that only watches would have dropped, and the policy's word for its events", () => {
    const event = enrich({ ...base, type: 2, verdict: 2, reason: 181, rule: 10 }, context);
    assert.deepEqual([event.type, event.verdict, event.reason, event.rule?.log], ["policy-verdict", "audit", "policy-deny", "ticket-7"]);
    assert.match(renderEvent(event), /AUDITED policy deny {2}production\/other .* by production\/watch spec\.ingressDeny\[0\] \(ticket-7\)$/);
  });

  it("says what the policy calls the rule", () => {
    const event = enrich({ ...base, reason: 181, rule: 11 }, context);
    assert.equal(event.rule?.name, "no strangers");
    assert.match(renderEvent(event), / by admin spec\.ingress\[1\] "no strangers"$/);
  });

  it("names the pod on whose link it was, where the addresses are not its own", () => {
    const forged = enrich({ ...base, reason: 132, rule: 0, endpoint: 9, sourceIdentity: 0 }, context);
    assert.deepEqual(forged.endpoint, { namespace: "production", pod: "forger" });
    assert.match(renderEvent(forged), /DROPPED invalid source ip {2}production\/other .* TCP SYN {2}on the link of production\/forger$/);
    assert.equal(enrich({ ...base, endpoint: 0 }, context).endpoint, undefined);
  });

  it("keeps numbers where it has no words", () => {
    const event = enrich({ ...base, reason: 999, rule: 99, protocol: 250, sourceIdentity: 4000, source: parseAddress("fd00::1"), destination: parseAddress("fd00::2") }, context);
    assert.equal(renderEvent(event), "20:01:02.345 DROPPED unknown 999  identity 4000 ([fd00::1]:43210) -> identity 301 ([fd00::2]:8080) proto-250  by rule 99  on the link of production/api");
    assert.equal(renderEvent({ time: event.time, type: "lost", node: "n", count: 5, where: "kernel-ring" }), "20:01:02.345 LOST 5 events (kernel-ring)");
  });
});
