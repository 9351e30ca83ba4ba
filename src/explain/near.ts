/** Rules that came close: what each asks for that this flow does not have. By the selectors' own function, one requirement at a time. */
import { selects } from "../compile/index.ts";
import type { Direction, PeerSelector, PolicyDraft, PortMatch, Requirement, RuleDraft } from "../compile/index.ts";
import { protocolName } from "../hubble/index.ts";
import { portText } from "../inspect/text.ts";
import { cidrContains, parseCidr } from "../lib/ip.ts";
import { NAMED_PREFIX } from "../model/index.ts";
import type { Labels } from "../model/index.ts";
import type { NamedPorts } from "../targets/index.ts";
import { numbersOf } from "../targets/ports.ts";
import type { Known } from "./engine.ts";
import type { PortSpec } from "./parties.ts";

export interface Miss {
  readonly draft: PolicyDraft;
  readonly rule: RuleDraft;
  /** One for each requirement that is not met, in words; empty: the rule means the flow. */
  readonly missed: readonly string[];
}

export interface Flow {
  readonly direction: Direction;
  readonly subject: Labels;
  readonly peer: Known;
  readonly port: PortSpec;
  /** What the receiver calls its ports. */
  readonly names: NamedPorts;
}

/** How far each rule of the direction is from meaning the flow. */
export function missesOf(drafts: readonly PolicyDraft[], flow: Flow): readonly Miss[] {
  return drafts.flatMap((draft) => {
    const unselected = unmet(draft.subject.requirements, flow.subject).map((text) => `the policy does not select it: ${text}`);
    // Beside a denial by a label that identities may not tell of stands the compiler's own for those: nobody wrote it.
    const isWritten = ({ peer }: RuleDraft): boolean => peer === undefined || !JSON.stringify(draft.selectors.get(peer)).includes(`"key":"${NAMED_PREFIX}`);
    const rules = draft.rules.filter((rule) => rule.direction === flow.direction && isWritten(rule));
    return rules.map((rule) => ({ draft, rule, missed: [...unselected, ...missedPeer(rule, draft, flow), ...missedPort(rule.ports, flow)] }));
  });
}

function unmet(requirements: readonly Requirement[], labels: Labels): readonly string[] {
  return requirements.filter((each) => !meets(each, labels)).map((each) => requirementText(each, labels));
}

function meets(requirement: Requirement, labels: Labels): boolean {
  return selects({ kind: "labels", requirements: [requirement] }, labels);
}

function requirementText({ key, operator, values }: Requirement, labels: Labels): string {
  if (key.startsWith("reserved:")) return `it is not ${key.slice("reserved:".length)}`;
  const name = key.replace(/^any:/, "");
  const has = labels.get(key.startsWith("any:") ? `k8s:${name}` : key);
  const is = has === undefined ? "which it lacks" : `it has ${has === "" ? "an empty value" : JSON.stringify(has)}`;
  switch (operator) {
    case "In":
      return `it needs the label ${values.length === 1 ? `${name}=${values[0]}` : `${name} in (${values.join(", ")})`}; ${has === undefined ? "it lacks it" : is}`;
    case "NotIn":
      return `it must not have the label ${name} in (${values.join(", ")}); ${is}`;
    case "Exists":
      return `it needs the label ${name}, ${is}`;
    case "DoesNotExist":
      return `it must not have the label ${name}; ${is}`;
  }
}

function missedPeer({ peer }: RuleDraft, { selectors }: PolicyDraft, flow: Flow): readonly string[] {
  const selector = peer === undefined ? undefined : selectors.get(peer);
  if (selector === undefined) return [];
  const side = flow.direction === "ingress" ? "the sender" : "the receiver";
  if (selector.kind === "cidrs") return meansAddress(selector, flow.peer) ? [] : [`${side} is ${scopeText(flow.peer)}; the rule is for ${blockText(selector)}`];
  if (selects(selector, flow.peer.labels)) return [];
  const isOfPods = !selector.requirements.some(({ key }) => key.startsWith("reserved:"));
  if (isOfPods && flow.peer.scope !== "pods") return [`${side} is ${scopeText(flow.peer)}; the rule is for pods`];
  return unmet(selector.requirements, flow.peer.labels).map((text) => `${side}: ${text}`);
}

function meansAddress({ blocks, scopes }: Extract<PeerSelector, { kind: "cidrs" }>, { scope, address }: Known): boolean {
  if (address === undefined || !scopes.includes(scope)) return false;
  const holds = (text: string): boolean => cidrContains(parseCidr(text), address);
  return blocks.some(({ cidr, except }) => holds(cidr) && !except.some(holds));
}

/** World, nodes and pods. */
const ALL_SCOPES = 3;
const SCOPES = { world: "an address outside", nodes: "a node", pods: "a pod" } as const;

function scopeText({ scope }: Known): string {
  return SCOPES[scope];
}

function blockText({ blocks, scopes }: Extract<PeerSelector, { kind: "cidrs" }>): string {
  const texts = blocks.map(({ cidr, except }) => (except.length === 0 ? cidr : `${cidr} except ${except.join(", ")}`));
  if (scopes.length === ALL_SCOPES) return `addresses in ${texts.join(", ")}`;
  return `addresses in ${texts.join(", ")}, of ${scopes.map((scope) => ({ world: "the outside", nodes: "nodes", pods: "pods" })[scope]).join(" and ")}`;
}

function missedPort(ports: readonly PortMatch[], { port, names }: Flow): readonly string[] {
  if (ports.some((match) => meansPort(match, port, names))) return [];
  const wanted = ports.map((match) => ("name" in match ? namedText(match, names) : portText(match.protocol, match.port, match.prefix)));
  return [`it is ${specText(port)}; the rule is for ${wanted.join(", ")}`];
}

function meansPort(match: PortMatch, { protocol, port }: PortSpec, names: NamedPorts): boolean {
  if ("name" in match) return numbersOf(names, match).some((one) => one.protocol === protocol && one.port === port);
  if (match.protocol === 0) return true;
  return match.protocol === protocol && match.port >> (16 - match.prefix) === port >> (16 - match.prefix);
}

function namedText(match: Extract<PortMatch, { name: string }>, names: NamedPorts): string {
  const numbers = numbersOf(names, match).map(({ protocol, port }) => `${protocolName(protocol)} ${port}`);
  return `the port named ${match.name} (${numbers.length === 0 ? "the receiver has none of that name" : numbers.join(", ")})`;
}

export function specText({ protocol, port }: PortSpec): string {
  return portText(protocol, port, port === 0 && ![1, 58].includes(protocol) ? 0 : 16);
}
