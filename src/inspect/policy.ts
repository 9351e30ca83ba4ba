/** `policy`, `subject`, `block`: the rules of the node's pods as the programs read them. */
import {
  CLASS_BLOCKS, SUBJECT_EGRESS_ADMIN, SUBJECT_EGRESS_BLOCKS, SUBJECT_INGRESS_ADMIN, SUBJECT_INGRESS_BLOCKS, SUBJECT_NAMED_PORTS, blockCodec, blockKeyCodec, directionNames, policyEntryCodec, policyKeyCodec, subjectCodec, tierNames, verdictNames,
} from "../kernel/gen/types.ts";
import { words } from "../hubble/index.ts";
import type { EventRule } from "../hubble/index.ts";
import { formatCidr } from "../lib/ip.ts";
import { ownerOf } from "../targets/index.ts";
import type { IdentityWords, PeerWords } from "./names.ts";
import { mapTable, viewOf } from "./table.ts";
import { NONE, flagWords, labelsText, listText, peerWordsText, portText, ruleText } from "./text.ts";

export interface PolicyRow {
  readonly ruleSet: number;
  /** Who obeys it on this node. */
  readonly subjects: readonly IdentityWords[];
  readonly direction: string;
  /** Which rules are asked together; those of the administrator first. */
  readonly tier: string;
  readonly verdict: string;
  readonly peer: PeerWords;
  /** Protocol and destination port, or type. */
  readonly port: string;
  /** The greatest of those of a tier that mean a packet decides. */
  readonly precedence: number;
  readonly rule: EventRule | undefined;
}

const identitiesText = (subjects: readonly IdentityWords[]): string => listText(subjects.map(({ identity }) => identity), ",");

export const policy = mapTable<PolicyRow>({
  name: "policy",
  map: "policy",
  about: "rules by rule set: whom they mean, the verdict, and the policy that each comes from",
  columns: [
    { head: "RULE SET", cell: ({ ruleSet }) => String(ruleSet) },
    { head: "OF IDENTITY", cell: ({ subjects }) => identitiesText(subjects) },
    { head: "DIRECTION", cell: ({ direction }) => direction },
    { head: "TIER", cell: ({ tier }) => tier },
    { head: "VERDICT", cell: ({ verdict }) => verdict },
    { head: "PORT", cell: ({ port }) => port },
    { head: "PRECEDENCE", cell: ({ precedence }) => String(precedence) },
    { head: "BY", cell: ({ rule }) => ruleText(rule) },
    { head: "PEER", cell: ({ peer }) => peerWordsText(peer) },
  ],
  row: (names) => (keyView, value) => {
    const key = policyKeyCodec.decode(keyView);
    const entry = policyEntryCodec.decode(viewOf(value));
    return {
      ruleSet: key.ruleSet,
      subjects: names.owners(key.ruleSet).map((owner) => names.owner(owner)),
      direction: words(directionNames.get(key.direction), key.direction),
      tier: words(tierNames.get(key.tier), key.tier),
      verdict: words(verdictNames.get(entry.verdict), entry.verdict),
      peer: names.meant(key.ruleSet, key.peer),
      port: portText(key.protocol, key.port, key.portPrefix),
      precedence: entry.precedence,
      rule: names.rule(entry.rule),
    };
  },
});

interface SubjectRow {
  readonly slot: number;
  /** An identity, or one with the names of its ports where these count. */
  readonly owner: IdentityWords & { readonly ports?: readonly string[] };
  /** 0: closed. */
  readonly ruleSet: number;
  readonly generation: number;
  readonly ingress: string;
  readonly egress: string;
  readonly ingressDefault: EventRule | undefined;
  readonly egressDefault: EventRule | undefined;
  readonly flags: readonly string[];
  /** enforced, or audit: what would hold if policies that only watch were enforced too. */
  readonly holds: "enforced" | "audit";
}

const FLAGS = [[SUBJECT_INGRESS_BLOCKS, "ingress-blocks"], [SUBJECT_EGRESS_BLOCKS, "egress-blocks"], [SUBJECT_NAMED_PORTS, "named-ports"], [SUBJECT_INGRESS_ADMIN, "ingress-admin"], [SUBJECT_EGRESS_ADMIN, "egress-admin"]] as const;

/** What becomes of a packet that no rule means. */
export const openOrClosed = (ruleSet: number, enforced: number): string => (ruleSet === 0 || enforced !== 0 ? "closed" : "open");

export const subject = mapTable<SubjectRow>({
  name: "subject",
  map: "subjects",
  about: "which rule set an identity of the node's pods obeys, and what holds for packets that no rule means",
  columns: [
    { head: "SLOT", cell: ({ slot }) => String(slot) },
    { head: "IDENTITY", cell: ({ owner }) => String(owner.identity) },
    { head: "RULE SET", cell: ({ ruleSet }) => String(ruleSet) },
    { head: "HOLDS", cell: ({ holds }) => holds },
    { head: "GENERATION", cell: ({ generation }) => String(generation) },
    { head: "INGRESS", cell: ({ ingress }) => ingress },
    { head: "EGRESS", cell: ({ egress }) => egress },
    { head: "INGRESS CLOSED BY", cell: ({ ingressDefault }) => ruleText(ingressDefault) },
    { head: "EGRESS CLOSED BY", cell: ({ egressDefault }) => ruleText(egressDefault) },
    { head: "NAMED PORTS", cell: ({ owner }) => listText(owner.ports ?? [], ",") },
    { head: "LABELS", cell: ({ owner }) => labelsText(owner.labels) },
  ],
  row: (names) => (key, value) => {
    const found = subjectCodec.decode(viewOf(value));
    return {
      slot: key.getUint32(0, true),
      owner: names.owner(found.owner),
      ruleSet: found.ruleSet,
      generation: found.generation,
      ingress: openOrClosed(found.ruleSet, found.ingressEnforced),
      egress: openOrClosed(found.ruleSet, found.egressEnforced),
      ingressDefault: names.rule(found.ingressDefault),
      egressDefault: names.rule(found.egressDefault),
      flags: flagWords(found.flags, FLAGS),
      holds: ownerOf(found.owner) === found.owner ? "enforced" : "audit",
    };
  },
});

interface BlockRow {
  readonly ruleSet: number;
  readonly subjects: readonly IdentityWords[];
  readonly cidr: string;
  /** By what has the address; absent: nobody is meant. */
  readonly classes: { readonly world: number | undefined; readonly nodes: number | undefined; readonly pods: number | undefined };
}

const RULE_SET_BITS = 32;
const classOrNone = (number: number): number | undefined => (number === 0 ? undefined : number);
const classText = (number: number | undefined): string => (number === undefined ? NONE : String(number - CLASS_BLOCKS));

export const block = mapTable<BlockRow>({
  name: "block",
  map: "blocks",
  about: "address blocks of CIDR rules: classes that rules of the rule set mean, by what has the address",
  columns: [
    { head: "RULE SET", cell: ({ ruleSet }) => String(ruleSet) },
    { head: "OF IDENTITY", cell: ({ subjects }) => identitiesText(subjects) },
    { head: "CIDR", cell: ({ cidr }) => cidr },
    { head: "CLASS OF WORLD", cell: ({ classes }) => classText(classes.world) },
    { head: "OF NODES", cell: ({ classes }) => classText(classes.nodes) },
    { head: "OF PODS", cell: ({ classes }) => classText(classes.pods) },
  ],
  row: (names) => (keyView, value) => {
    const { ruleSet, prefix, address } = blockKeyCodec.decode(keyView);
    const { world, node, pod } = blockCodec.decode(viewOf(value));
    return {
      ruleSet,
      subjects: names.owners(ruleSet).map((owner) => names.owner(owner)),
      cidr: formatCidr({ prefix: prefix - RULE_SET_BITS, address }),
      classes: { world: classOrNone(world), nodes: classOrNone(node), pods: classOrNone(pod) },
    };
  },
});
