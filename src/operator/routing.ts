/** The CiliumRouting named default: how the chart's values route between nodes, and on which nodes it is so. */
import type { CiliumRouting } from "../api/gen/ciliumroutings.ts";
import { routingHash } from "../compile/index.ts";
import type { RoutingDecision } from "../compile/index.ts";
import { CILIUM_ROUTINGS } from "../kube/kinds.ts";
import type { Source } from "../kube/source.ts";
import { canonicalJson } from "../lib/hash.ts";
import { failingNodes, firstOf, namesOf, readyCondition, saidByNodes } from "./default-object.ts";
import type { DefaultObject, NodeSources, Verdict } from "./default-object.ts";
import type { CiliumNodeReport } from "./rows.ts";

export type RoutingSpec = CiliumRouting["spec"];
export type RoutingStatus = NonNullable<CiliumRouting["status"]>;
export type NodeRoutingRow = NonNullable<CiliumNodeReport["routing"]>;

/** Every field, so that a merge leaves nothing of an earlier spec. */
export function routingSpec({ mode, tunnelPort, directRoutes, masquerade, unmasqueraded }: RoutingDecision): RoutingSpec {
  return {
    mode,
    tunnel: { protocol: "vxlan", port: tunnelPort },
    native: { directNodeRoutes: directRoutes },
    masquerade: { ipv4: masquerade.ipv4, ipv6: masquerade.ipv6, excludedCIDRs: [...unmasqueraded] },
  };
}

/** Why a node is not counted; undefined: it is. */
function shortfall(row: NodeRoutingRow | undefined, settings: string): string | undefined {
  if (row === undefined) return "its agent does not say how it routes";
  if (row.settings !== settings) return `it still routes by ${row.mode.toLowerCase()} as the values said before: its agent has not started again since they were changed`;
  return row.message;
}

function verdict(wanted: RoutingSpec, total: number, failing: ReturnType<typeof failingNodes>): Verdict {
  if (failing.length === 0) return { status: "True", reason: "Routed", message: `all ${total} nodes route by ${wanted.mode}` };
  return { status: "False", reason: "NotRouted", message: `${failing.length} of ${total} nodes do not route as it says: ${namesOf(failing)}` };
}

/** Pure. `decision`: what the chart's values mean. `nodes`: name → what its agent says. */
export function routingStatus(object: CiliumRouting, decision: RoutingDecision, nodes: ReadonlyMap<string, NodeRoutingRow | undefined>, now: string): RoutingStatus {
  const rows = [...nodes.values()];
  const [wanted, settings] = [routingSpec(decision), routingHash(decision)];
  const failing = failingNodes(nodes, (row) => shortfall(row, settings));
  const inForce = canonicalJson(object.spec) === canonicalJson(wanted);
  const found: Verdict = inForce ? verdict(wanted, nodes.size, failing) : { status: "False", reason: "NotInForce", message: `the chart's values decide, and say otherwise: ${JSON.stringify(wanted)}` };
  return {
    observedGeneration: object.metadata.generation ?? 0,
    nodes: `${inForce ? nodes.size - failing.length : 0}/${nodes.size}`,
    tunnel: rows.filter((row) => row?.mode === "Tunnel").length,
    native: rows.filter((row) => row?.mode === "Native").length,
    failingNodes: [...firstOf(failing)],
    conditions: [readyCondition(object, found, now)],
  };
}

export interface RoutingSources extends NodeSources {
  readonly routings: Source<CiliumRouting>;
}

export function defaultRouting(decision: RoutingDecision, sources: RoutingSources): DefaultObject<CiliumRouting> {
  return {
    type: CILIUM_ROUTINGS,
    objects: sources.routings,
    spec: routingSpec(decision),
    status: (object, now) => routingStatus(object, decision, saidByNodes(sources, ({ routing }) => routing), now),
  };
}
