/** What the agent knows about the numbers and addresses in events. */
import type { EnrichContext } from "../hubble/enrich.ts";
import type { Core } from "./core.ts";

export function eventContext(node: string, core: Core): Omit<EnrichContext, "clockOffsetNs"> {
  return {
    node,
    ruleName: (rule) => core.enforcer.assignment?.state.ruleNames.get(rule),
    labels: (identity) => core.state.identities.get(identity),
    address: (ip) => core.names.get(ip),
    endpoint: (id) => core.names.endpoint(id),
  };
}

