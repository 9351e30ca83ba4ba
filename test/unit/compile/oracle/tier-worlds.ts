/** Random ClusterNetworkPolicies. */
import fc from "fast-check";
import type { Selector } from "./language.ts";
import type { TierSpec } from "./tiers.ts";

const port = fc.oneof(
  fc.record({ number: fc.constantFrom(80, 53) }),
  fc.record({ range: fc.constantFrom({ start: 1, end: 79 }, { start: 53, end: 8080 }, { start: 80, end: 65535 }) }),
);
const transport = fc.record({ destinationPort: port });
const numbered = fc.oneof(fc.record({ tcp: transport }), fc.record({ udp: transport }), fc.record({ sctp: transport }));
const named = fc.record({ destinationNamedPort: fc.constantFrom("http", "dns") });
const network = fc.constantFrom("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "::/0", "2001:db8::/32");

interface Selectors {
  readonly ownSelector: fc.Arbitrary<Selector>;
  readonly namespaceSelector: fc.Arbitrary<Selector>;
}

/** Few priorities, so that the order by name counts too. */
export function tierSpec({ ownSelector, namespaceSelector }: Selectors): fc.Arbitrary<TierSpec> {
  const pods = fc.oneof(
    fc.constant({ namespaces: {} }),
    fc.record({ namespaces: namespaceSelector }),
    fc.record({ pods: fc.record({ namespaceSelector, podSelector: ownSelector }, { requiredKeys: ["podSelector"] }) }),
  );
  const outside = fc.oneof({ weight: 2, arbitrary: fc.record({ networks: fc.uniqueArray(network, { minLength: 1, maxLength: 2 }) }) }, fc.record({ nodes: fc.constantFrom<Selector[]>({}, { matchLabels: { zone: "a" } }, { matchExpressions: [{ key: "zone", operator: "NotIn", values: ["a"] }] }, { matchLabels: { zone: "c" } }) }));
  const action = fc.constantFrom("Accept" as const, "Deny" as const, "Pass" as const);
  const protocols = (one: fc.Arbitrary<object>): fc.Arbitrary<object[] | undefined> => fc.option(fc.array(one, { minLength: 1, maxLength: 2 }), { nil: undefined });
  const some = (one: fc.Arbitrary<object>): fc.Arbitrary<object[]> => fc.array(one, { minLength: 1, maxLength: 2 });
  // A rule that names ports has pods as its peers alone.
  const rule = (side: string, peers: fc.Arbitrary<object>, ports: fc.Arbitrary<object>): fc.Arbitrary<object> =>
    fc.tuple(action, some(peers), protocols(ports)).map(([does, who, what]) => ({ action: does, [side]: who, ...(what === undefined ? {} : { protocols: what }) }));
  const egress = fc.oneof(rule("to", pods, fc.oneof(numbered, named)), rule("to", fc.oneof(pods, outside), numbered));
  return fc.record(
    {
      tier: fc.constantFrom("Admin", "Baseline"),
      priority: fc.constantFrom(0, 1, 1000),
      subject: pods,
      ingress: fc.array(rule("from", pods, fc.oneof(numbered, named)), { maxLength: 3 }),
      egress: fc.array(egress, { maxLength: 3 }),
    },
    { requiredKeys: ["tier", "priority", "subject"] },
  ) as fc.Arbitrary<TierSpec>;
}
