/**
 * A third judge: random rules, written into the kernel's maps by the agent's own code, and the programs' verdict on
 * packets of every kind of peer, against what the rules mean. Verdict and rule must be those of a rule that decides.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import type { CidrPeers, PortMatch, Rule, RuleSet } from "../../src/compile/state.ts";
import { EventType, dropReasonNames } from "../../src/kernel/gen/types.ts";
import type { NamedPorts } from "../../src/targets/desired.ts";
import { judge } from "../../src/explain/index.ts";
import { parseAddress } from "../../src/lib/ip.ts";
import { expandRuleSet } from "../../src/targets/expand.ts";
import { PolicyTarget } from "../../src/targets/policy.ts";
import { PortClasses } from "../../src/targets/ports.ts";
import type { ResolvedSelectors } from "../../src/targets/resolve.ts";
import { deciders } from "../unit/targets/policy-model.ts";
import type { Packet } from "../unit/targets/policy-model.ts";
import { icmpFrame, sctpFrame, tcpFrame, udpFrame } from "./lib/frames.ts";
import { Chunk, Protocol, Tcp } from "./lib/packet.ts";
import { DEFAULT_EGRESS, DEFAULT_INGRESS, World, a, b, other, outside, remote, self } from "./lib/world.ts";
import type { RunOptions } from "./lib/world.ts";

const CASES = process.env["EMULATED"] === undefined ? 200 : 40;
const world = new World({ flows: 1 << 16 });
after(() => world.close());

const http = (port: number): NamedPorts => [{ name: "http", port, protocol: Protocol.TCP }];
const OWN = http(88);
const classes = new PortClasses();
const [NAMED_80, NAMED_88] = [classes.numberOf(remote.identity, http(80)), classes.numberOf(remote.identity, http(88))];
/** A second pod of the remote one's identity, which gives the name to another port. */
const twin = { ipv4: "10.2.0.22", ipv6: "fd00:2::22" } as const;

type Case = Pick<Packet, "direction" | "peer" | "address" | "scope" | "names"> & { readonly hook: Parameters<World["run"]>[0]; readonly run: RunOptions; readonly pod: typeof a | undefined };

const outgoing = (peer: number, address: string, names: NamedPorts): Case => ({ direction: "egress", peer, address, scope: "pods", names, hook: "from_container", run: { at: a }, pod: a });
const leaving = (peer: number, address: string, scope: "world" | "nodes"): Case => ({ direction: "egress", peer, address, scope, names: [], hook: "to_netdev", run: { cameFrom: a, mark: 0x200 | (a.id << 16) }, pod: undefined });
const tunnelled = (peer: number, address: string, scope: "pods" | "nodes", vni = peer): Case => ({ direction: "ingress", peer, address, scope, names: [], hook: "from_overlay", run: { outer: { source: other.ipv4, vni } }, pod: undefined });
const arriving = (peer: number, address: string): Case => ({ direction: "ingress", peer, address, scope: "world", names: [], hook: "to_container", run: { at: a, cameFrom: 50, mark: 0x300 }, pod: undefined });
const PEERS: readonly Case[] = [
  ...[remote.ipv4, remote.ipv6].map((address) => outgoing(remote.identity, address, http(80))),
  ...[twin.ipv4, twin.ipv6].map((address) => outgoing(remote.identity, address, http(88))),
  outgoing(b.identity, b.ipv4, []), leaving(9, outside.ipv4, "world"), leaving(10, outside.ipv6, "world"), leaving(6, other.ipv4, "nodes"),
  tunnelled(remote.identity, remote.ipv4, "pods"), tunnelled(remote.identity, remote.ipv6, "pods"), tunnelled(6, other.router4, "nodes", 1), arriving(9, outside.ipv4), arriving(10, outside.ipv6),
];

function frameOf(one: Case, protocol: number, port: number): Uint8Array {
  const isIPv6 = one.address.includes(":");
  const own = one.hook === "to_netdev" ? (isIPv6 ? self.ipv6 : self.ipv4) : isIPv6 ? a.ipv6 : a.ipv4;
  const [from, to] = one.direction === "egress" ? [own, one.address] : [one.address, own];
  const ends = { from, to, dport: port, ...(one.pod === undefined ? {} : { pod: one.pod }) };
  if (protocol === Protocol.TCP) return tcpFrame(Tcp.SYN, ends);
  if (protocol === Protocol.UDP) return udpFrame(ends);
  return protocol === Protocol.SCTP ? sctpFrame(Chunk.INIT, ends) : icmpFrame(port, ends);
}

/** Protocol and port, or type, as rules name them. */
const MESSAGES = [[Protocol.TCP, 80], [Protocol.TCP, 88], [Protocol.UDP, 80], [Protocol.SCTP, 80], [Protocol.ICMP, 8], [Protocol.ICMP, 13], [Protocol.ICMPV6, 128], [Protocol.ICMPV6, 160]] as const;

const PORTS: readonly PortMatch[] = [
  { protocol: 0, port: 0, prefix: 0 }, { protocol: 6, port: 0, prefix: 0 }, { protocol: 6, port: 80, prefix: 16 }, { protocol: 6, port: 80, prefix: 12 }, { protocol: 17, port: 64, prefix: 10 },
  { protocol: 132, port: 80, prefix: 16 }, { protocol: 1, port: 8, prefix: 16 }, { protocol: 58, port: 128, prefix: 16 }, { protocol: 6, name: "http" }, { protocol: 0, name: "http" },
];
const cidrs = ["0.0.0.0/0", "::/0", "198.51.100.0/24", "198.51.100.6/31", "10.0.0.0/8", "10.2.0.20/31", "fd00::/16", "2001:db8::/32", "192.0.2.0/30"];
const blocks: fc.Arbitrary<CidrPeers> = fc.record({
  kind: fc.constant("cidrs" as const),
  blocks: fc.array(fc.record({ cidr: fc.constantFrom(...cidrs), except: fc.subarray(cidrs, { maxLength: 2 }) }), { minLength: 1, maxLength: 3 }),
  scopes: fc.constantFrom(["world"], ["world", "nodes"], ["world", "nodes", "pods"], ["pods"]),
});
const identities = fc.subarray([remote.identity, b.identity, 6, 9, 10]).map((list) => new Set(list));
const ruleSet: fc.Arbitrary<RuleSet> = fc.record({
  ingressDefault: fc.constantFrom(undefined, DEFAULT_INGRESS),
  egressDefault: fc.constantFrom(undefined, DEFAULT_EGRESS),
  rules: fc.array(fc.record({ direction: fc.constantFrom("ingress" as const, "egress" as const), peer: fc.constantFrom(undefined, "s", "c1", "c2"), ports: fc.subarray([...PORTS], { minLength: 1, maxLength: 3 }), isDeny: fc.boolean() }), { maxLength: 5 }).map((list) =>
    list
      .filter(({ direction, peer, ports }) => direction === "ingress" || !(peer ?? "").startsWith("c") || ports.every((port) => !("name" in port)))
      .map(({ isDeny, ...rest }, i): Rule => ({ ...rest, id: i + 1, verdict: isDeny ? "deny" : "allow", precedence: isDeny ? 2 : 1 })),
  ),
});

function fill(set: RuleSet, selectors: ResolvedSelectors): void {
  world.reset();
  for (const address of [twin.ipv4, twin.ipv6]) world.peer(address, { identity: remote.identity, flags: 1, ports: NAMED_88, node: other.ipv4 });
  for (const address of [remote.ipv4, remote.ipv6]) world.peer(address, { identity: remote.identity, flags: 1, ports: NAMED_80, node: other.ipv4 });
  const maps = { subjects: world.map("subjects"), policy: world.map("policy"), blocks: world.map("blocks") };
  for (const [key] of [...maps.subjects.entries()]) maps.subjects.delete(key);
  const target = new PolicyTarget(maps, 1, () => 0);
  target.recover();
  const open = expandRuleSet({ ingressDefault: undefined, egressDefault: undefined, rules: [] }, new Map());
  const { slots, failures } = target.apply({ subjects: new Map([[a.identity, "set"], [b.identity, "open"]]), ruleSets: new Map([["set", expandRuleSet(set, selectors, { own: OWN, classes: classes.byIdentity })], ["open", open]]), isComplete: true });
  assert.deepEqual(failures, []);
  for (const pod of [a, b]) world.endpoint(pod, { subject: slots.get(pod.identity) ?? 0 });
}

function check(set: RuleSet, selectors: ResolvedSelectors, one: Case, protocol: number, port: number): void {
  const rules = deciders(set, selectors, { ...one, protocol, port }, OWN);
  const fallback = one.direction === "ingress" ? set.ingressDefault : set.egressDefault;
  const { events } = world.run(one.hook, frameOf(one, protocol, port), one.run);
  const seen = events.map(({ type, reason, rule }) => [type === EventType.DROP ? dropReasonNames.get(reason) : "passes", rule] as const);
  const where = `${one.direction} ${one.hook} ${one.address} protocol ${protocol} port ${port}: ${JSON.stringify(seen)}`;
  checkEvaluator(set, selectors, one, protocol, port, seen[0]);
  const [decider] = rules;
  if (decider === undefined && fallback === undefined) return assert.deepEqual(seen, [], where);
  const wanted = decider === undefined ? "POLICY_DENIED" : decider.verdict === "deny" ? "POLICY_DENY" : "passes";
  assert.equal(seen.length, 1, where);
  assert.equal(seen[0]?.[0], wanted, where);
  assert.ok((decider === undefined ? [fallback] : rules.map(({ id }) => id)).includes(seen[0]?.[1]), where);
}

/** What explains policies gives the verdict, and the very rule, that the program gave. */
function checkEvaluator(set: RuleSet, selectors: ResolvedSelectors, one: Case, protocol: number, port: number, seen: readonly [string | undefined, number] | undefined): void {
  const ports = classes.numberOf(one.peer, one.names);
  const rules = expandRuleSet(set, selectors, { own: OWN, classes: classes.byIdentity });
  const { verdict, rule, by } = judge(rules, { direction: one.direction, peer: one.peer, scope: one.scope, address: parseAddress(one.address), ports, protocol, port });
  const reason = by === "default-deny" ? "POLICY_DENIED" : verdict === "deny" ? "POLICY_DENY" : "passes";
  assert.deepEqual(by === "nothing" ? undefined : [reason, rule], seen, `${one.direction} ${one.address} protocol ${protocol} port ${port}`);
}

/** Of a kernel whose test runs cannot say where a packet came from, or by which tunnel, some ways are left out, by name. */
const refusalOf = ({ run }: Case): string | undefined => world.refusal(run);
const ASKED = PEERS.filter((one) => refusalOf(one) === undefined);
for (const one of PEERS) {
  const reason = refusalOf(one);
  if (reason !== undefined) test(`random rules, ${one.direction} by ${one.hook} and ${one.address}`, { skip: reason }, () => undefined);
}

test("random rules over identities, blocks, names, ports and types: the programs decide as the rules mean, and name the rule", () => {
  fc.assert(
    fc.property(ruleSet, identities, blocks, blocks, (set, s, c1, c2) => {
      const selectors: ResolvedSelectors = new Map<string, ReadonlySet<number> | CidrPeers>([["s", s], ["c1", c1], ["c2", c2]]);
      fill(set, selectors);
      for (const one of ASKED) {
        for (const [protocol, port] of MESSAGES) {
          const isOfFamily = protocol === Protocol.ICMP ? !one.address.includes(":") : protocol !== Protocol.ICMPV6 || one.address.includes(":");
          if (isOfFamily) check(set, selectors, one, protocol, port);
        }
      }
    }),
    { numRuns: CASES, includeErrorInReport: true },
  );
});
