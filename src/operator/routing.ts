/**
 * The CiliumRoutings: the one named default, how the chart's values route between nodes; those that users make for some
 * nodes; which of them speaks for a node, and on which nodes it is so.
 */
import type { CiliumRouting } from "../api/gen/ciliumroutings.ts";
import { DEFAULT_OBJECT, encryptedRouting, isSelected, nodeRouting, objectFor, routingHash, routingProblem, speakersOf } from "../compile/index.ts";
import type { NodeLabels, RoutingDecision } from "../compile/index.ts";
import { CILIUM_ROUTINGS } from "../kube/kinds.ts";
import type { Source } from "../kube/source.ts";
import { canonicalJson } from "../lib/hash.ts";
import { conflictCondition, failingNodes, firstOf, namesOf, readyCondition, saidByNodes } from "./default-object.ts";
import type { DefaultObject, NodeSources, Verdict } from "./default-object.ts";
import type { CiliumNodeReport } from "./rows.ts";

export type RoutingSpec = CiliumRouting["spec"];
export type RoutingStatus = NonNullable<CiliumRouting["status"]>;
export type NodeRoutingRow = NonNullable<CiliumNodeReport["routing"]>;

/** Without networks for the source the word is left out: a definition of an older version does not know it. */
export function routingSpec({ mode, tunnelPort, directRoutes, masquerade, unmasqueraded, masqueradeFrom = [] }: RoutingDecision): RoutingSpec {
  return {
    mode,
    tunnel: { protocol: "vxlan", port: tunnelPort },
    native: { directNodeRoutes: directRoutes },
    masquerade: { ipv4: masquerade.ipv4, ipv6: masquerade.ipv6, excludedCIDRs: [...unmasqueraded], ...(masqueradeFrom.length === 0 ? {} : { sourceCIDRs: [...masqueradeFrom] }) },
  };
}

/** Why a node is not counted; undefined: it is. */
function shortfall(row: NodeRoutingRow | undefined, settings: string): string | undefined {
  if (row === undefined) return "its agent does not say how it routes";
  if (row.settings !== settings) return `it still routes by ${row.mode.toLowerCase()} as was said before: ${row.message ?? "its agent is changing over, or does not answer"}`;
  return row.message;
}

/** @param inForce what it comes to: another mode where encryption decides the way between nodes */
function verdict(wanted: Pick<RoutingSpec, "mode">, inForce: Pick<RoutingDecision, "mode">, total: number, failing: ReturnType<typeof failingNodes>): Verdict {
  const between = wanted.mode === inForce.mode ? "" : `; what their pods say to each other goes through the ${inForce.mode}, as it is encrypted`;
  if (failing.length === 0) return { status: "True", reason: "Routed", message: `all ${total} nodes route by ${wanted.mode}${between}` };
  return { status: "False", reason: "NotRouted", message: `${failing.length} of ${total} nodes do not route as it says: ${namesOf(failing)}` };
}

type Rows = ReadonlyMap<string, NodeRoutingRow | undefined>;

/** How many of these nodes route in which way. */
function counts(nodes: Rows): Pick<RoutingStatus, "tunnel" | "native" | "auto"> {
  const count = (mode: NodeRoutingRow["mode"]): number => [...nodes.values()].filter((row) => row?.mode === mode).length;
  return { tunnel: count("Tunnel"), native: count("Native"), auto: count("Auto") };
}

/** Pure. `decision`: what the chart's values mean. `nodes`: name → what its agent says, of the nodes for which no other object speaks. */
export function routingStatus(object: CiliumRouting, decision: RoutingDecision, nodes: Rows, now: string, isEncrypted = false): RoutingStatus {
  const [wanted, meant] = [routingSpec(decision), encryptedRouting(decision, isEncrypted)];
  const settings = routingHash(meant);
  const failing = failingNodes(nodes, (row) => shortfall(row, settings));
  const inForce = canonicalJson(object.spec) === canonicalJson(wanted);
  const found: Verdict = inForce ? verdict(wanted, meant, nodes.size, failing) : { status: "False", reason: "NotInForce", message: `the chart's values decide, and say otherwise: ${JSON.stringify(wanted)}` };
  return {
    observedGeneration: object.metadata.generation ?? 0,
    nodes: `${inForce ? nodes.size - failing.length : 0}/${nodes.size}`,
    ...counts(nodes),
    failingNodes: [...firstOf(failing)],
    conditions: [readyCondition(object, found, now)],
  };
}

/** What an object of a user comes to. */
export interface UserRouting {
  /** Why the spec cannot be; undefined: it can. */
  readonly problem: string | undefined;
  /** The spec that speaks: this one, or the last that was valid; undefined: none. */
  readonly spec: RoutingSpec | undefined;
  /** What that means. */
  readonly decision: RoutingDecision | undefined;
  /** Nodes that it selects, by name, and which object speaks for each. */
  readonly speakers: ReadonlyMap<string, string>;
}

/** Pure. `nodes`: name → what its agent says, of all nodes. */
export function userRoutingStatus(object: CiliumRouting, { problem, spec, decision, speakers }: UserRouting, nodes: Rows, now: string): RoutingStatus {
  const own = new Map([...nodes].filter(([name]) => speakers.get(name) === object.metadata.name));
  const failing = decision === undefined ? [] : failingNodes(own, (row) => shortfall(row, routingHash(decision)));
  return {
    observedGeneration: object.metadata.generation ?? 0,
    nodes: `${own.size - failing.length}/${own.size}`,
    ...counts(own),
    failingNodes: [...firstOf(failing)],
    ...(spec === undefined ? {} : { lastValid: canonicalJson(spec) }),
    conditions: [readyCondition(object, userVerdict({ problem, spec, decision, speakers }, own.size, failing), now), conflictCondition(object, speakers, now)],
  };
}

function userVerdict({ problem, spec, decision, speakers }: UserRouting, own: number, failing: ReturnType<typeof failingNodes>): Verdict {
  if (problem !== undefined) return { status: "False", reason: "Invalid", message: `${problem}${spec === undefined ? "" : " (what it said before stays in force)"}` };
  if (speakers.size === 0) return { status: "False", reason: "NoNodes", message: "it selects no node" };
  if (own === 0) return { status: "False", reason: "Overridden", message: "other objects speak for all nodes that it selects" };
  return verdict(spec ?? { mode: "tunnel" }, decision ?? { mode: "tunnel" }, own, failing);
}

export interface RoutingSources extends NodeSources {
  readonly routings: Source<CiliumRouting>;
}

/** Which object speaks for which node. Of an object that is not valid the last valid spec does, which its status keeps. */
export class RoutingBook {
  readonly #values: RoutingDecision;
  readonly #isEncrypted: boolean;
  readonly #sources: RoutingSources;

  /** @param values what the chart's values mean */
  constructor(values: RoutingDecision, isEncrypted: boolean, sources: RoutingSources) {
    this.#values = values;
    this.#isEncrypted = isEncrypted;
    this.#sources = sources;
  }

  decisionOf(node: string): RoutingDecision {
    const object = objectFor(this.#users(), this.#sources.nodes.objects.get(node)?.labels ?? {});
    return this.#meaning(object?.spec);
  }

  status(object: CiliumRouting, now: string): RoutingStatus {
    const nodes = saidByNodes(this.#sources, ({ routing }) => routing);
    const users = this.#users();
    const labels = new Map([...this.#sources.nodes.objects].map(([name, { labels = {} }]) => [name, labels] as const));
    if (object.metadata.name === DEFAULT_OBJECT) return routingStatus(object, this.#values, unspoken(nodes, users, labels), now, this.#isEncrypted);
    const spec = this.#effective(object);
    const speaking = spec === undefined ? new Map<string, CiliumRouting>() : speakersOf({ ...object, spec }, users, labels);
    return userRoutingStatus(object, {
      problem: this.#problem(object.spec),
      spec,
      decision: spec && this.#meaning(spec),
      speakers: new Map([...speaking].map(([name, speaker]) => [name, speaker.metadata.name])),
    }, nodes, now);
  }

  #meaning(spec: RoutingSpec | undefined): RoutingDecision {
    return encryptedRouting(spec === undefined ? this.#values : nodeRouting(spec, this.#values), this.#isEncrypted);
  }

  #users(): readonly CiliumRouting[] {
    return [...this.#sources.routings.objects.values()].flatMap((object) => {
      const spec = object.metadata.name === DEFAULT_OBJECT ? undefined : this.#effective(object);
      return spec === undefined ? [] : [{ ...object, spec }];
    });
  }

  #effective({ spec, status }: CiliumRouting): RoutingSpec | undefined {
    if (this.#problem(spec) === undefined) return spec;
    const kept = status?.lastValid === undefined ? undefined : parsed(status.lastValid);
    return kept !== undefined && this.#problem(kept) === undefined ? kept : undefined;
  }

  #problem(spec: RoutingSpec): string | undefined {
    return routingProblem(spec, this.#values);
  }
}

/** Nodes for which the chart's values hold. */
function unspoken(nodes: Rows, users: readonly CiliumRouting[], labels: ReadonlyMap<string, NodeLabels>): Rows {
  return new Map([...nodes].filter(([name]) => !users.some((object) => isSelected(object, labels.get(name) ?? {}))));
}

/** What our own status says; undefined: somebody else wrote it. */
function parsed(text: string): RoutingSpec | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as RoutingSpec) : undefined;
  } catch {
    return undefined;
  }
}

export function defaultRouting(decision: RoutingDecision, book: RoutingBook, sources: RoutingSources): DefaultObject<CiliumRouting> {
  return {
    type: CILIUM_ROUTINGS,
    objects: sources.routings,
    spec: routingSpec(decision),
    status: (object, now) => book.status(object, now),
  };
}
