/**
 * A third judge of whole policies: random ones of every kind, with tiers and groups of blocks, enforced or only watching,
 * are compiled, resolved, and written into the kernel's maps by the agent's own code; then the programs judge packets of
 * every kind of peer. What they do, and the rule that they name, must be what the engine of explanations finds in the same
 * entries, and what the languages say when they are read naively. A counterexample is shrunk, and told with its seed.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { NodeState, RuleSetId } from "../../../src/compile/index.ts";
import { judge } from "../../../src/explain/index.ts";
import type { Judgement as Engines, Question } from "../../../src/explain/index.ts";
import { EventType, PEER_ROUTER, PEER_TUNNEL, Verdict, addressCodec, dropReasonNames, nodeCodec } from "../../../src/kernel/gen/types.ts";
import type { Event } from "../../../src/kernel/gen/types.ts";
import type { Codec } from "../../../src/kernel/index.ts";
import { parseAddress } from "../../../src/lib/ip.ts";
import { formatLabels } from "../../../src/model/index.ts";
import type { NamedPorts } from "../../../src/targets/desired.ts";
import { expandRuleSet } from "../../../src/targets/expand.ts";
import type { Expanded } from "../../../src/targets/expand.ts";
import { PolicyTarget } from "../../../src/targets/policy.ts";
import { PortClasses } from "../../../src/targets/ports.ts";
import { SelectorResolver } from "../../../src/targets/resolve.ts";
import { OPEN, compileFor } from "../../unit/compile/oracle/compare.ts";
import type { Packet, Policy, Workload } from "../../unit/compile/oracle/language.ts";
import { labelsOfWorkload } from "../../unit/compile/oracle/lookup.ts";
import { naive, naiveOfAll } from "../../unit/compile/oracle/tiers.ts";
import type { Judgement } from "../../unit/compile/oracle/tiers.ts";
import { aboutSomebody, packet as anyPacket } from "../../unit/compile/oracle/worlds.ts";
import { icmpFrame, sctpFrame, tcpFrame, udpFrame } from "../lib/frames.ts";
import { Chunk, Protocol, Tcp } from "../lib/packet.ts";
import { Action } from "../lib/rows.ts";
import { a, other } from "../lib/world.ts";
import type { ProgramName, RunOptions, World } from "../lib/world.ts";

/** How a world must be made for this. No quota: none of these flows is ever answered. */
export const STAGE = { flows: 1 << 12, sizes: { policy: 1 << 14, blocks: 1 << 10 }, options: { config_flow_quota_step_ns: 0n } };

const SUBJECT = a.identity;
const FIRST_PEER = 5000;
const [HOST, REMOTE_NODE, WORLD_IPV4, WORLD_IPV6] = [1, 6, 9, 10];
const NUMBERS = { TCP: Protocol.TCP, UDP: Protocol.UDP, SCTP: Protocol.SCTP, ICMP: Protocol.ICMP, ICMPv6: Protocol.ICMPV6, GRE: 47 } as const;
/** Answers open nothing. */
const REPLIES = { ICMP: 0, ICMPv6: 129 } as const;
/** Under which address the subject's packets leave the node. */
const MASQUERADED = { ipv4: "203.0.113.77", ipv6: "2001:db8:77::1" } as const;
const MARK_LEAVING = 0x200 | (a.id << 16);
const MARK_OUTSIDE = 0x300;

const isV6 = (address: string): boolean => address.includes(":");

/** One that a network could carry, and that begins a flow. */
function isOpening({ protocol, port, address }: Packet): boolean {
  if (protocol === "GRE") return false;
  if (protocol === "ICMP") return !isV6(address) && port !== REPLIES.ICMP;
  return protocol !== "ICMPv6" || (isV6(address) && port !== REPLIES.ICMPv6);
}

interface Case {
  readonly list: readonly Policy[];
  readonly subject: Workload;
  readonly packets: readonly Packet[];
  readonly auditMode: boolean;
}

interface Rules {
  readonly state: NodeState;
  readonly enforced: Expanded;
  readonly audit: Expanded | undefined;
  /** Class of what each packet's peer calls its ports. */
  readonly classes: readonly number[];
}

const numbered = ({ named }: Workload): NamedPorts => named.map(({ name, port, protocol }) => ({ name, port, protocol: NUMBERS[protocol] }));

/** The subject's rules, with the peers of the packets as identities, the first FIRST_PEER. */
function rulesOf({ list, subject, packets, auditMode }: Case): Rules {
  const state = compileFor(list, SUBJECT, subject, auditMode);
  const identities = new Map([[SUBJECT, formatLabels(labelsOfWorkload(subject))]]);
  const portClasses = new PortClasses();
  const classes = packets.map(({ peer }, index) => {
    if (peer.kind !== "pod") return 0;
    identities.set(FIRST_PEER + index, formatLabels(labelsOfWorkload(peer)));
    return portClasses.numberOf(FIRST_PEER + index, numbered(peer));
  });
  const selectors = new SelectorResolver().resolve(state.selectors, identities);
  const expand = (id: RuleSetId | undefined): Expanded => expandRuleSet(state.ruleSets.get(id ?? "") ?? assert.fail("no rule set"), selectors, { own: numbered(subject), classes: portClasses.byIdentity });
  const audit = state.audits?.get(SUBJECT);
  return { state, enforced: expand(state.subjects.get(SUBJECT)), audit: audit === undefined ? undefined : expand(audit), classes };
}

function write(world: World, { enforced, audit }: Rules): void {
  world.reset();
  for (const name of ["cidrs", "subjects"]) world.clear(name);
  const target = new PolicyTarget({ subjects: world.map("subjects"), policy: world.map("policy"), blocks: world.map("blocks") }, 1, () => 0);
  target.recover();
  const ruleSets = new Map([["enforced", enforced], ...(audit === undefined ? [] : [["audit", audit] as const])]);
  const audits = audit === undefined ? {} : { audits: new Map([[SUBJECT, "audit"]]) };
  const { slots, failures } = target.apply({ subjects: new Map([[SUBJECT, "enforced"]]), ...audits, ruleSets, isComplete: true });
  assert.deepEqual(failures, []);
  world.endpoint(a, { subject: slots.get(SUBJECT) ?? assert.fail("no slot") });
}

function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const view = new DataView(new ArrayBuffer(codec.size));
  codec.encode(value, view);
  return new Uint8Array(view.buffer);
}

/** What the agent tells the programs of the peer's address. */
function introduce(world: World, { peer, address, direction }: Packet, index: number, ports: number): void {
  world.forgetPeer(address);
  if (peer.kind === "pod") world.peer(address, { identity: FIRST_PEER + index, flags: PEER_TUNNEL, ports, node: other.ipv4 });
  if (peer.kind === "host") world.peer(address, { identity: HOST });
  if (peer.kind !== "remote-node") return;
  if (direction === "egress") return world.peer(address, { identity: REMOTE_NODE });
  // Of a node's own packets the tunnel has its router's address.
  world.peer(address, { identity: REMOTE_NODE, flags: PEER_TUNNEL | PEER_ROUTER, node: other.ipv4 });
  const routers = isV6(address) ? { routerIpv4: new Uint8Array(16), routerIpv6: parseAddress(address) } : { routerIpv4: parseAddress(address), routerIpv6: new Uint8Array(16) };
  world.map("nodes").update(encode(addressCodec, { bytes: parseAddress(other.ipv4) }), encode(nodeCodec, { address: parseAddress(other.ipv4), ...routers }));
}

interface Path {
  readonly hook: ProgramName;
  readonly run: RunOptions;
  /** The subject's address on this way. */
  readonly own: string;
  readonly isOnLink: boolean;
}

/** Where the subject is judged for such a peer. */
function pathOf({ direction, peer, address }: Packet, index: number): Path {
  const own = isV6(address) ? a.ipv6 : a.ipv4;
  if (direction === "egress") {
    if (peer.kind === "pod" || peer.kind === "host") return { hook: "from_container", run: { at: a }, own, isOnLink: true };
    return { hook: "to_netdev", run: { cameFrom: a, mark: MARK_LEAVING }, own: isV6(address) ? MASQUERADED.ipv6 : MASQUERADED.ipv4, isOnLink: false };
  }
  if (peer.kind === "world") return { hook: "to_container", run: { at: a, cameFrom: 50, mark: MARK_OUTSIDE }, own, isOnLink: false };
  if (peer.kind === "host") return { hook: "to_container", run: { at: a }, own, isOnLink: false };
  return { hook: "from_overlay", run: { outer: { source: other.ipv4, vni: peer.kind === "pod" ? FIRST_PEER + index : HOST } }, own, isOnLink: false };
}

function frameOf({ direction, address, protocol, port }: Packet, { own, isOnLink }: Path): Uint8Array {
  const [from, to] = direction === "egress" ? [own, address] : [address, own];
  const ends = { from, to, dport: port, ...(isOnLink ? { pod: a } : {}) };
  switch (protocol) {
    case "TCP":
      return tcpFrame(Tcp.SYN, ends);
    case "UDP":
      return udpFrame(ends);
    case "SCTP":
      return sctpFrame(Chunk.INIT, ends);
    default:
      return icmpFrame(port, ends);
  }
}

/** What became of a packet, and the number of the rule that the event names; 0: there was no event. */
type Fate = readonly [outcome: "dropped" | "audited" | "passed", rule: number, reason: string | undefined];

function fateOf(events: readonly Event[], where: string): Fate {
  const [event, ...more] = events;
  assert.deepEqual(more, [], where);
  if (event === undefined) return ["passed", 0, undefined];
  const reason = dropReasonNames.get(event.reason);
  if (event.type === EventType.DROP) return ["dropped", event.rule, reason];
  return event.verdict === Verdict.AUDIT ? ["audited", event.rule, reason] : ["passed", event.rule, undefined];
}

function ofEngine({ enforced, audit }: Rules, question: Question): Fate {
  const reason = ({ by }: Engines): string => (by === "default-deny" ? "POLICY_DENIED" : "POLICY_DENY");
  const judged = judge(enforced, question);
  if (judged.verdict === "deny") return ["dropped", judged.rule, reason(judged)];
  const watched = audit === undefined ? undefined : judge(audit, question);
  return watched?.verdict === "deny" ? ["audited", watched.rule, reason(watched)] : ["passed", judged.rule, undefined];
}

function questionOf({ direction, peer, address, protocol, port }: Packet, index: number, ports: number): Question {
  const world = { peer: isV6(address) ? WORLD_IPV6 : WORLD_IPV4, scope: "world" } as const;
  const known = { pod: { peer: FIRST_PEER + index, scope: "pods" }, world, host: { peer: HOST, scope: "nodes" }, "remote-node": { peer: REMOTE_NODE, scope: "nodes" } } as const;
  return { direction, ...known[peer.kind], address: parseAddress(address), ports, protocol: NUMBERS[protocol], port };
}

/** The rule of the event is one of those that decide by the languages' words. */
function assertMeant({ ruleNames }: NodeState, rule: number, { allowed, by, closedBy }: Judgement, where: string): void {
  if (rule === 0) return assert.ok(allowed && closedBy.length === 0, where);
  const name = ruleNames.get(rule) ?? assert.fail(`a rule without words: ${where}`);
  if (name.kind === "default-deny") return assert.deepEqual([allowed, by, new Set(name.policies.map((policy) => policy.name))], [false, [], new Set(closedBy.map((place) => `p${place}`))], where);
  const words = `${name.policies[0]?.name} ${name.path}`;
  const isOpened = allowed && closedBy.length === 0 && OPEN.test(words);
  assert.ok(isOpened || by.some((each) => words === `p${each}`), `${words} is none of ${by.join(", ")}: ${where}`);
}

function check(world: World, { list, subject, packets, auditMode }: Case): Fate[] {
  const rules = rulesOf({ list, subject, packets, auditMode });
  write(world, rules);
  return packets.map((one, index): Fate => {
    const ports = rules.classes[index] ?? 0;
    const path = pathOf(one, index);
    introduce(world, one, index, ports);
    const { events, verdict } = world.run(path.hook, frameOf(one, path), path.run);
    world.clear("flows");
    const where = JSON.stringify({ list, subject, one, auditMode, hook: path.hook, events: events.map(({ type, reason, verdict: said, rule }) => ({ type, reason, verdict: said, rule })) });
    const fate = fateOf(events, where);
    assert.equal(verdict === Action.SHOT, fate[0] === "dropped", where);
    // A node always reaches its own pods.
    if (one.peer.kind === "host" && one.direction === "ingress") return (assert.deepEqual(fate, ["passed", 0, undefined], where), fate);
    assert.deepEqual(fate, ofEngine(rules, questionOf(one, index, ports)), where);
    const expected = naive(list, subject, one, auditMode);
    const ofAll = naiveOfAll(list, subject, one);
    assert.equal(fate[0], !expected.allowed ? "dropped" : ofAll.allowed ? "passed" : "audited", where);
    assertMeant(rules.state, fate[1], fate[0] === "audited" ? ofAll : expected, where);
    return fate;
  });
}

export interface Seen {
  readonly cases: number;
  readonly packets: number;
  readonly allowed: number;
  readonly denied: number;
  readonly audited: number;
}

export function judgeWithPrograms(world: World, cases: number): Seen {
  const packets = fc.array(anyPacket.filter(isOpening), { minLength: 4, maxLength: 10 });
  const any = fc.record({ packets, auditMode: fc.constantFrom(false, false, false, true) });
  const sum = { cases: 0, packets: 0, allowed: 0, denied: 0, audited: 0 };
  const counter = { dropped: "denied", audited: "audited", passed: "allowed" } as const;
  fc.assert(
    fc.property(aboutSomebody, any, (who, what) => {
      for (const [outcome] of check(world, { ...who, ...what })) {
        sum[counter[outcome]]++;
        sum.packets++;
      }
      sum.cases++;
    }),
    { numRuns: cases, includeErrorInReport: true },
  );
  return sum;
}
