/** A packet looked up in a compiled state, as the datapath does: of all rules of a tier that mean it, the greatest precedence decides. */
import assert from "node:assert/strict";
import { isIPv6 } from "node:net";
import { selects } from "../../../../src/compile/index.ts";
import type { NodeState, PeerSelector, PortMatch, Rule } from "../../../../src/compile/index.ts";
import { cidrContains, parseAddress, parseCidr } from "../../../../src/lib/ip.ts";
import { identityLabels } from "../../../../src/model/index.ts";
import type { Labels } from "../../../../src/model/index.ts";
import { NAMESPACES } from "./language.ts";
import type { NamedPort, Packet, Workload } from "./language.ts";

const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58, GRE: 47 } as const;
const SCOPES = { pod: "pods", world: "world", host: "nodes", "remote-node": "nodes" } as const;

/** As where a policy names the label that changes from pod to pod. */
export function labelsOfWorkload({ namespace, labels }: Workload): Labels {
  return identityLabels({ metadata: { name: "pod", namespace, labels } }, { metadata: { name: namespace, labels: NAMESPACES[namespace] ?? {} } }, ["job-name"]);
}

function labelsOfPeer({ peer, address }: Packet): Labels {
  if (peer.kind === "pod") return labelsOfWorkload(peer);
  if (peer.kind !== "world") return new Map([[`reserved:${peer.kind}`, ""]]);
  return new Map([[`reserved:world-ipv${isIPv6(address) ? 6 : 4}`, ""], ["reserved:world", ""]]);
}

function isPeer(selector: PeerSelector, packet: Packet): boolean {
  if (selector.kind === "labels") return selects(selector, labelsOfPeer(packet));
  if (!selector.scopes.includes(SCOPES[packet.peer.kind])) return false;
  const bytes = parseAddress(packet.address);
  const contains = (cidr: string): boolean => cidrContains(parseCidr(cidr), bytes);
  return selector.blocks.some(({ cidr, except }) => contains(cidr) && !except.some(contains));
}

function isPort(match: PortMatch, packet: Packet, named: readonly NamedPort[]): boolean {
  const protocol = PROTOCOLS[packet.protocol];
  if ("name" in match) {
    const isMeant = (one: NamedPort): boolean => one.name === match.name && PROTOCOLS[one.protocol] === protocol && one.port === packet.port;
    return (match.protocol === 0 || match.protocol === protocol) && named.some(isMeant);
  }
  const mask = (0xffff << (16 - match.prefix)) & 0xffff;
  return (match.protocol === 0 || match.protocol === protocol) && (match.port & mask) === (packet.port & mask);
}

export interface Found {
  readonly allowed: boolean;
  /** `<name of the policy> <path>` of each rule that decides; empty: none. */
  readonly by: readonly string[];
  /** Names of the policies whose default denies it; empty: a rule decides, or nothing is enforced. */
  readonly closedBy: readonly string[];
}

export function lookup(state: NodeState, identity: number, subject: Workload, packet: Packet): Found {
  return judge(state, state.subjects.get(identity), subject, packet);
}

/** The same if the policies that only watch were enforced too. */
export function lookupOfAll(state: NodeState, identity: number, subject: Workload, packet: Packet): Found {
  return judge(state, state.audits?.get(identity) ?? state.subjects.get(identity), subject, packet);
}

function judge(state: NodeState, id: string | undefined, subject: Workload, packet: Packet): Found {
  const set = state.ruleSets.get(id ?? "");
  assert.ok(set, "every subject has a rule set");
  const byDefault = packet.direction === "ingress" ? set.ingressDefault : set.egressDefault;
  const rules = set.rules.filter(({ direction }) => direction === packet.direction);
  if (byDefault === undefined) {
    assert.deepEqual(rules, [], "a direction that is not enforced has no rules");
    return { allowed: true, by: [], closedBy: [] };
  }
  const closers = state.ruleNames.get(byDefault)?.policies ?? assert.fail("a default without words");
  const receiver = packet.direction === "ingress" ? subject : packet.peer;
  const named = receiver.kind === "pod" ? receiver.named : [];
  const deciding = rules.filter((rule) => {
    assert.ok(state.ruleNames.has(rule.id));
    const selector = rule.peer === undefined ? undefined : state.selectors.get(rule.peer);
    assert.ok(rule.peer === undefined || selector !== undefined, "every selector that a rule names is there");
    return (selector === undefined || isPeer(selector, packet)) && rule.ports.some((match) => isPort(match, packet, named));
  });
  const admin = strongest(deciding.filter(({ tier }) => tier === "admin"));
  const decider = admin.length > 0 && admin[0]?.verdict !== "pass" ? admin : strongest(deciding.filter(({ tier }) => tier === undefined));
  return { allowed: decider[0]?.verdict === "allow", by: [...new Set(decider.map(({ id }) => `${state.ruleNames.get(id)?.policies[0]?.name} ${state.ruleNames.get(id)?.path}`))], closedBy: decider.length > 0 ? [] : closers.map(({ name }) => name) };
}

function strongest(rules: readonly Rule[]): readonly Rule[] {
  const greatest = Math.max(...rules.map(({ precedence }) => precedence));
  const found = rules.filter(({ precedence }) => precedence === greatest);
  assert.ok(new Set(found.map(({ verdict }) => verdict)).size <= 1, "no two verdicts of one precedence");
  return found;
}
