/** `policy-endpoints` and `policy-selectors`: what is loaded on a node, of the node state and of the maps. */
import { endpointCodec, subjectCodec } from "../kernel/gen/types.ts";
import type { Endpoint, Subject } from "../kernel/gen/types.ts";
import type { NodeState, PeerSelector, PolicyRef, Requirement, RuleId, RuleSet, SelectorId } from "../compile/state.ts";
import { SelectorResolver } from "../targets/resolve.ts";
import type { IdentityWords } from "./names.ts";
import { openOrClosed } from "./policy.ts";
import { erased, readMap, viewOf } from "./table.ts";
import type { Source } from "./table.ts";
import { NONE, labelsText, listText, policyText } from "./text.ts";

export interface PolicyEndpointRow extends IdentityWords {
  readonly endpoint: number;
  /** `namespace/name`. */
  readonly pod: string | undefined;
  /** Number in the kernel; 0: closed, no rules are in force for it yet. */
  readonly ruleSet: number;
  /** What becomes of a packet that no rule means. */
  readonly ingress: string;
  readonly egress: string;
  readonly rules: number;
  readonly policies: readonly PolicyRef[];
  /** Those that only watch: what they would drop passes and is told. */
  readonly audited: readonly PolicyRef[];
}

export const policyEndpoints = erased<PolicyEndpointRow>({
  name: "policy-endpoints",
  map: "interfaces",
  about: "which rule set holds for each pod of the node, and the policies it is made of",
  columns: [
    { head: "POD", cell: ({ pod, endpoint }) => pod ?? `endpoint ${endpoint}` },
    { head: "IDENTITY", cell: ({ identity }) => String(identity) },
    { head: "RULE SET", cell: ({ ruleSet }) => String(ruleSet) },
    { head: "INGRESS", cell: ({ ingress }) => ingress },
    { head: "EGRESS", cell: ({ egress }) => egress },
    { head: "RULES", cell: ({ rules }) => String(rules) },
    { head: "POLICIES", cell: ({ policies }) => listText(policies.map(policyText), ", ") },
    { head: "AUDITED", cell: ({ audited }) => listText(audited.map(policyText), ", ") },
    { head: "LABELS", cell: ({ labels }) => labelsText(labels) },
  ],
  rows: async function* (source) {
    const subjects = new Map<number, Subject>();
    for await (const batch of readMap(source, "subjects", (key, value) => [key.getUint32(0, true), subjectCodec.decode(viewOf(value))] as const)) {
      for (const [slot, subject] of batch) subjects.set(slot, subject);
    }
    for await (const endpoints of readMap(source, "interfaces", (_, value) => endpointCodec.decode(viewOf(value)))) {
      yield endpoints.map((endpoint) => endpointRow(endpoint, subjects.get(endpoint.subject), source)).sort((a, b) => (a.pod ?? "").localeCompare(b.pod ?? ""));
    }
  },
});

function endpointRow({ id, identity }: Endpoint, subject: Subject | undefined, { state, names }: Source): PolicyEndpointRow {
  const number = subject?.ruleSet ?? 0;
  return {
    endpoint: id,
    pod: names.pod(id),
    ...names.identity(identity),
    ruleSet: number,
    ingress: openOrClosed(number, subject?.ingressEnforced ?? 1),
    egress: openOrClosed(number, subject?.egressEnforced ?? 1),
    ...loadedFor(identity, state),
  };
}

function loadedFor(identity: number, state: NodeState | undefined): Pick<PolicyEndpointRow, "rules" | "policies" | "audited"> {
  const rulesOf = (id: string | undefined): RuleId[] => {
    const found = state?.ruleSets.get(id ?? "");
    return found === undefined ? [] : idsOf(found);
  };
  const rules = rulesOf(state?.subjects.get(identity));
  const policies = state === undefined ? [] : policiesOf(state, rules);
  const enforced = new Set(policies.map(({ uid }) => uid));
  const watching = state === undefined ? [] : policiesOf(state, rulesOf(state.audits?.get(identity)));
  return { rules: state?.ruleSets.get(state.subjects.get(identity) ?? "")?.rules.length ?? 0, policies, audited: watching.filter(({ uid }) => !enforced.has(uid)) };
}

function idsOf({ rules, ingressDefault, egressDefault }: RuleSet): RuleId[] {
  return [...rules.map(({ id }) => id), ingressDefault, egressDefault].filter((id) => id !== undefined);
}

/** Each once, by its words. */
function policiesOf({ ruleNames }: NodeState, rules: readonly RuleId[]): PolicyRef[] {
  const refs = rules.flatMap((rule) => ruleNames.get(rule)?.policies ?? []);
  return [...new Map(refs.map((ref) => [ref.uid, ref])).values()].sort((a, b) => policyText(a).localeCompare(policyText(b)));
}

interface SelectorRow {
  readonly selector: SelectorId;
  readonly kind: PeerSelector["kind"];
  /** As people write it. */
  readonly words: string;
  /** Of selectors of labels: whom it means now. */
  readonly identities: readonly IdentityWords[];
  /** Of address blocks. */
  readonly cidrs: readonly string[];
  readonly policies: readonly PolicyRef[];
}

export const policySelectors = erased<SelectorRow>({
  name: "policy-selectors",
  map: undefined,
  about: "the peers that rules on the node name, the identities that each means now, and the policies that use it",
  columns: [
    { head: "SELECTOR", cell: ({ words }) => words },
    { head: "IDENTITIES", cell: ({ kind, identities }) => (kind === "labels" ? listText(identities.map(({ identity }) => identity), ",") : NONE) },
    { head: "COUNT", cell: ({ kind, identities }) => (kind === "labels" ? String(identities.length) : NONE) },
    { head: "POLICIES", cell: ({ policies }) => listText(policies.map(policyText), ", ") },
  ],
  rows: async function* ({ state, identities, names }) {
    if (state === undefined) return;
    const resolved = new SelectorResolver().resolve(state.selectors, identities);
    const users = usersOf(state);
    for (const [selector, meaning] of state.selectors) {
      const numbers = resolved.get(selector);
      yield [{
        selector,
        kind: meaning.kind,
        words: selectorWords(meaning),
        identities: numbers === undefined || "kind" in numbers ? [] : [...numbers].sort((a, b) => a - b).map((number) => names.identity(number)),
        cidrs: meaning.kind === "cidrs" ? meaning.blocks.map(({ cidr }) => cidr) : [],
        policies: policiesOf(state, users.get(selector) ?? []),
      }];
    }
  },
});

function usersOf({ ruleSets }: NodeState): ReadonlyMap<SelectorId, readonly RuleId[]> {
  const users = new Map<SelectorId, RuleId[]>();
  for (const { rules } of ruleSets.values()) {
    for (const { peer, id } of rules) {
      if (peer === undefined) continue;
      const found = users.get(peer) ?? [];
      found.push(id);
      users.set(peer, found);
    }
  }
  return users;
}

export function selectorWords(selector: PeerSelector): string {
  if (selector.kind === "labels") return selector.requirements.length === 0 ? "every pod" : selector.requirements.map(requirementWords).join(", ");
  const blocks = selector.blocks.map(({ cidr, except }) => (except.length === 0 ? cidr : `${cidr} but ${listText(except, ",")}`));
  return `${listText(blocks, ", ")} (${selector.scopes.join(", ")})`;
}

function requirementWords({ key, operator, values }: Requirement): string {
  switch (operator) {
    case "In":
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(", ")})`;
    case "NotIn":
      return `${key} not in (${values.join(", ")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
  }
}
