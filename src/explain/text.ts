/** An answer for people. */
import type { Answer, PolicyName, RuleWords, SideAnswer } from "./explain.ts";

export function answerText({ from, to, port, verdict, egress, ingress, notes }: Answer): string {
  const head = `${from.name} → ${to.name} ${port}: ${verdict === "allowed" ? "ALLOWED" : "DENIED"}`;
  const lines = [head, ...sideLines("egress", egress), ...sideLines("ingress", ingress), ...notes.map((note) => `  note: ${note}`)];
  return `${lines.join("\n")}\n`;
}

function sideLines(direction: string, side: SideAnswer): readonly string[] {
  const words = side.verdict === "audited" ? "allowed, as policies only watch that would drop it" : side.verdict;
  const passed = side.passedBy === undefined ? "" : `; passed on by ${ruleText(side.passedBy)}`;
  const head = `  ${direction} of ${side.subject}: ${words}, ${reason(side)}${passed}`;
  const pending = side.pending === undefined ? [] : [`    pending: allowed ${side.pending.rule === undefined ? "" : `by ${ruleText(side.pending.rule)} `}if the policies that only watch were enforced`];
  const also = side.also.map((rule) => `    also by ${ruleText(rule)}`);
  const near = side.near.flatMap(({ rule, verdict, missed }) => [`    close: ${ruleText(rule)} would ${verdict} it, but`, ...missed.map((text) => `      ${text}`)]);
  return [head, ...pending, ...also, ...near];
}

function reason({ because, rule }: SideAnswer): string {
  switch (because) {
    case "rule":
      return `by ${rule === undefined ? "a rule" : ruleText(rule)}`;
    case "default-deny":
      return `no rule allows it; closed by ${rule === undefined ? "a policy" : ruleText(rule)}`;
    case "unknown-peer":
      return `the address is one of pods, and no pod is known to have it; closed by ${rule === undefined ? "a policy" : ruleText(rule)}`;
    case "nothing-enforced":
      return "no policy closes this direction";
    case "own-node":
      return "a node always reaches its own pods";
    case "same-pod":
      return "what a pod sends to itself never leaves it";
    case "same-node":
      return "what a node sends to itself never leaves it";
    case "no-pod":
      return "policies select pods and nodes";
  }
}

export function policyText({ kind, namespace, name }: PolicyName): string {
  return `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}

export function ruleText({ policies, path, name, at }: RuleWords): string {
  const words = [policies.map(policyText).join(", "), path, name === undefined ? "" : JSON.stringify(name)].filter((part) => part !== "").join(" ");
  return at === undefined ? words : `${words} (${at})`;
}
