/**
 * One lookup as the programs do it (bpf/lib/policy.h: judge, search_policy, consider), in the entries that
 * targets/expand.ts writes into their maps. Pure; test/bpf holds it against the programs themselves.
 */
import type { PeerScope, RuleId } from "../compile/state.ts";
import { Direction, SUBJECT_EGRESS_ADMIN, SUBJECT_EGRESS_BLOCKS, SUBJECT_INGRESS_ADMIN, SUBJECT_INGRESS_BLOCKS, SUBJECT_NAMED_PORTS, Tier, Verdict } from "../kernel/gen/types.ts";
import type { PolicyEntry } from "../kernel/gen/types.ts";
import { cidrContains } from "../lib/ip.ts";
import { entryKey } from "../targets/expand.ts";
import type { Expanded } from "../targets/expand.ts";

/** What a program knows of a packet when it asks. */
export interface Question {
  readonly direction: "ingress" | "egress";
  /** Identity of the other side; 0: an address of the cluster whose pod is not known. */
  readonly peer: number;
  /** What the other side's address is. */
  readonly scope: PeerScope;
  /** 16 bytes; undefined where nobody knows it, and no block of addresses means it. */
  readonly address: Uint8Array | undefined;
  /** Class of the other side's names of ports, 0 when it has none. */
  readonly ports: number;
  /** IANA number. */
  readonly protocol: number;
  /** Destination port; of ICMP the message's type; of other protocols 0. */
  readonly port: number;
}

export interface Judgement {
  readonly verdict: "allow" | "deny";
  /** The rule that the event of such a packet names; 0: nothing is enforced. */
  readonly rule: RuleId;
  readonly by: "rule" | "default-deny" | "unknown-peer" | "nothing";
  /** The rule of the administrator's tier that handed over to the policies; absent: none did. */
  readonly passedBy?: RuleId;
}

const ANY_PEER = 0;
const PORT_BITS = 16;
const ALL_BITS = 0xffff;

export function judge(rules: Expanded, question: Question): Judgement {
  const { header } = rules;
  const isIngress = question.direction === "ingress";
  const mask = isIngress ? header.ingressPorts : header.egressPorts;
  const isEnforced = (isIngress ? header.ingressEnforced : header.egressEnforced) !== 0;
  const fallback = isIngress ? header.ingressDefault : header.egressDefault;
  if (question.peer === 0 && (isEnforced || mask !== 0)) return { verdict: "deny", rule: fallback, by: "unknown-peer" };
  const admin = hasAdmin(rules, question) ? searchTier(rules, question, mask, Tier.ADMIN) : undefined;
  const isPassed = admin?.verdict === Verdict.PASS;
  const passed = isPassed ? { passedBy: admin.rule } : {};
  // The administrator's tier first, as far as it does not pass the packet on.
  const found = admin === undefined || isPassed ? searchTier(rules, question, mask, Tier.POLICIES) : admin;
  if (found !== undefined) return { verdict: found.verdict === Verdict.DENY ? "deny" : "allow", rule: found.rule, by: "rule", ...passed };
  return isEnforced ? { verdict: "deny", rule: fallback, by: "default-deny", ...passed } : { verdict: "allow", rule: 0, by: "nothing", ...passed };
}

function hasAdmin({ header: { flags } }: Expanded, { direction }: Question): boolean {
  return (flags & (direction === "ingress" ? SUBJECT_INGRESS_ADMIN : SUBJECT_EGRESS_ADMIN)) !== 0;
}

/** The greatest precedence decides; of equal ones a denial, else the first in the programs' order. */
function searchTier(rules: Expanded, question: Question, mask: number, tier: Tier): PolicyEntry | undefined {
  const direction = question.direction === "ingress" ? Direction.INGRESS : Direction.EGRESS;
  const peers = peersOf(rules, question);
  let best: PolicyEntry | undefined;
  const consider = (protocol: number, portPrefix: number): void => {
    const port = question.port & (ALL_BITS << (PORT_BITS - portPrefix)) & ALL_BITS;
    for (const peer of peers) {
      const entry = rules.entries.get(entryKey({ tier, direction, peer, protocol, port, portPrefix }))?.value;
      if (entry === undefined) continue;
      if (best === undefined || entry.precedence > best.precedence || (entry.precedence === best.precedence && entry.verdict === Verdict.DENY)) best = entry;
    }
  };
  if ((mask & 1) !== 0) consider(0, 0);
  for (let bits = 0; bits <= PORT_BITS; bits++) if ((mask & (1 << bits)) !== 0) consider(question.protocol, bits);
  return best;
}

/** The ways in which the other side stands in keys. */
function peersOf(rules: Expanded, question: Question): readonly number[] {
  const isIngress = question.direction === "ingress";
  const { flags } = rules.header;
  const hasBlocks = (flags & (isIngress ? SUBJECT_INGRESS_BLOCKS : SUBJECT_EGRESS_BLOCKS)) !== 0;
  const block = hasBlocks ? blockClass(rules, question) : 0;
  const ports = !isIngress && (flags & SUBJECT_NAMED_PORTS) !== 0 ? question.ports : 0;
  return [ANY_PEER, ...[question.peer, block, ports].filter((peer) => peer !== 0)];
}

/** Class of the longest block around the address, for what the address is; 0: none. */
export function blockClass({ blocks }: Pick<Expanded, "blocks">, { address, scope }: Pick<Question, "address" | "scope">): number {
  if (address === undefined) return 0;
  let longest: { readonly prefix: number; readonly number: number } | undefined;
  for (const { value, ...cidr } of blocks.values()) {
    if ((longest !== undefined && cidr.prefix <= longest.prefix) || !cidrContains(cidr, address)) continue;
    longest = { prefix: cidr.prefix, number: { world: value.world, nodes: value.node, pods: value.pod }[scope] };
  }
  return longest?.number ?? 0;
}
