/** A packet looked up in a compiled state, as the datapath does: of all rules that mean it, the greatest precedence decides. */
import assert from "node:assert/strict";
import { isIPv6 } from "node:net";
import { selects } from "../../../../src/compile/index.ts";
import type { NodeState, PeerSelector, PortMatch } from "../../../../src/compile/index.ts";
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

export function lookup(state: NodeState, identity: number, subject: Workload, packet: Packet): boolean {
  return judge(state, state.subjects.get(identity), subject, packet);
}

/** The same if the policies that only watch were enforced too. */
export function lookupOfAll(state: NodeState, identity: number, subject: Workload, packet: Packet): boolean {
  return judge(state, state.audits?.get(identity) ?? state.subjects.get(identity), subject, packet);
}

function judge(state: NodeState, id: string | undefined, subject: Workload, packet: Packet): boolean {
  const set = state.ruleSets.get(id ?? "");
  assert.ok(set, "every subject has a rule set");
  const byDefault = packet.direction === "ingress" ? set.ingressDefault : set.egressDefault;
  const rules = set.rules.filter(({ direction }) => direction === packet.direction);
  if (byDefault === undefined) {
    assert.deepEqual(rules, [], "a direction that is not enforced has no rules");
    return true;
  }
  assert.ok(state.ruleNames.has(byDefault));
  const receiver = packet.direction === "ingress" ? subject : packet.peer;
  const named = receiver.kind === "pod" ? receiver.named : [];
  const deciding = rules.filter((rule) => {
    assert.ok(state.ruleNames.has(rule.id));
    const selector = rule.peer === undefined ? undefined : state.selectors.get(rule.peer);
    assert.ok(rule.peer === undefined || selector !== undefined, "every selector that a rule names is there");
    return (selector === undefined || isPeer(selector, packet)) && rule.ports.some((match) => isPort(match, packet, named));
  });
  const greatest = Math.max(...deciding.map(({ precedence }) => precedence));
  const verdicts = new Set(deciding.filter(({ precedence }) => precedence === greatest).map(({ verdict }) => verdict));
  assert.ok(verdicts.size <= 1, "no two verdicts of one precedence");
  return verdicts.has("allow");
}
