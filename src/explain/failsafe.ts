/** What a policy of nodes seems to close and does not: what the failsafe keeps open. Pure. */
import { selectsHosts } from "../compile/index.ts";
import type { Failsafe, NumberedPort, PolicyDraft, RuleDraft } from "../compile/index.ts";
import { coversPorts } from "./shadows.ts";
import type { Warning } from "./warnings.ts";

export function closedFailsafe(draft: PolicyDraft, failsafe: Failsafe): readonly Warning[] {
  if (!selectsHosts(draft.subject)) return [];
  return (["ingress", "egress"] as const).flatMap((direction): Warning[] => {
    const rules = draft.rules.filter((rule) => rule.direction === direction);
    const means = (rule: RuleDraft, port: NumberedPort): boolean => coversPorts(rule.ports, [port]);
    const isClosed = (port: NumberedPort): boolean =>
      rules.some((rule) => rule.verdict === "deny" && means(rule, port)) ||
      (draft.enforces.has(direction) && !rules.some((rule) => rule.verdict === "allow" && rule.peer === undefined && means(rule, port)));
    const closed = failsafe[direction].filter(isClosed).map(portText);
    if (closed.length === 0) return [];
    return [{ reason: "FailsafeHolds", path: `${draft.path}.${direction}`, message: `it would close ${closed.join(", ")} of the nodes, which stay open by the chart's hostFirewall.failsafe.${direction}` }];
  });
}

function portText({ protocol, port, prefix }: NumberedPort): string {
  const last = port + (1 << (16 - prefix)) - 1;
  return `${port}${last === port ? "" : `-${last}`}/${protocol === 6 ? "TCP" : "UDP"}`;
}
