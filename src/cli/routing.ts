/** `cilium routing status` and `cilium node list`: what the objects say, and what the agents see of one another. Pure but for the reading. */
import { dump } from "js-yaml";
import type { CiliumNode } from "../api/gen/ciliumnodes.ts";
import type { CiliumRouting } from "../api/gen/ciliumroutings.ts";
import { latenciesText, reachedText } from "../inspect/index.ts";
import type { RoutingRow } from "../inspect/index.ts";
import { CILIUM_NODES, CILIUM_ROUTINGS } from "../kube/kinds.ts";
import type { Cluster } from "./cluster.ts";
import { readCluster } from "./inspect.ts";
import type { Format } from "./inspect.ts";
import { table } from "./table.ts";

const NONE = "-";
const STATUS_TABLE = "routing-status";

export interface RoutingObject {
  readonly name: string;
  readonly mode: string;
  readonly priority: number;
  /** Nodes where it is so, of those for which it speaks. */
  readonly nodes: string;
  readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[];
}

export type NodeRow = RoutingRow & { readonly node: string };

export interface RoutingOverview {
  readonly objects: readonly RoutingObject[];
  readonly nodes: readonly NodeRow[];
}

/** What the agents say, and why some do not. */
interface Told {
  readonly rows: readonly NodeRow[];
  readonly failures: readonly string[];
}

export interface Answer<T> {
  readonly found: T;
  readonly failures: readonly string[];
}

async function askAgents(cluster: Cluster, nodes: readonly string[]): Promise<Told> {
  const { rows, failures } = await readCluster(cluster, nodes, STATUS_TABLE);
  return { rows: rows as unknown as readonly NodeRow[], failures };
}

export async function readRouting(cluster: Cluster, nodes: readonly string[]): Promise<Answer<RoutingOverview>> {
  const [{ items }, { rows, failures }] = await Promise.all([cluster.client.list(CILIUM_ROUTINGS), askAgents(cluster, nodes)]);
  return { found: { objects: items.map(routingObject).sort(byName), nodes: rows }, failures };
}

export function routingObject({ metadata, spec, status }: CiliumRouting): RoutingObject {
  const conditions = (status?.conditions ?? []).map(({ type, status: value, reason, message }) => ({ type, status: value, reason, message }));
  return { name: metadata.name, mode: spec.mode, priority: spec.priority ?? 0, nodes: status?.nodes ?? NONE, conditions };
}

export function routingText({ objects, nodes }: RoutingOverview, format: Format): string {
  if (format !== "table") return inFormat({ objects, nodes }, format);
  const said = ({ conditions }: RoutingObject, type: string): string => conditions.find((each) => each.type === type)?.status ?? NONE;
  const words = ({ conditions }: RoutingObject): string => conditions.filter(({ type, status }) => (type === "Ready") !== (status === "True")).map(({ reason, message }) => `${reason}: ${message}`).join("; ") || NONE;
  const ofObjects = table(["OBJECT", "MODE", "PRIORITY", "NODES", "READY", "CONFLICT", "WHY"], objects.map((object) => [object.name, object.mode, String(object.priority), object.nodes, said(object, "Ready"), said(object, "Conflict"), words(object)]));
  const ofNodes = table(["NODE", "MODE", "NODES REACHED", "LATENCY", "NOT REACHED", "MISSING"], nodes.map((row) => [row.node, row.mode, reachedText(row), latenciesText(row), namesText(row.unreached), missingText(row)]));
  return `${ofObjects}\n${ofNodes}`;
}

/** A node as the cluster knows it. */
export interface ListedNode {
  readonly name: string;
  readonly internalIPs: readonly string[];
  readonly routerIPs: readonly string[];
  readonly podCIDRs: readonly string[];
  readonly routing: string | undefined;
  readonly encryption: string | undefined;
  /** What its own agent reaches; undefined: that did not answer. */
  readonly reaches: Pick<RoutingRow, "reached" | "asked" | "known" | "latencySeconds"> | undefined;
  /** Nodes whose agents do not reach it. */
  readonly unreachedBy: readonly string[];
}

export async function readNodes(cluster: Cluster, nodes: readonly string[]): Promise<Answer<readonly ListedNode[]>> {
  const [{ items }, told] = await Promise.all([cluster.client.list(CILIUM_NODES), askAgents(cluster, [])]);
  return { found: listedNodes(items, told.rows).filter(({ name }) => nodes.length === 0 || nodes.includes(name)), failures: told.failures };
}

export function listedNodes(objects: readonly CiliumNode[], rows: readonly NodeRow[]): readonly ListedNode[] {
  const told = new Map(rows.map((row) => [row.node, row]));
  return objects.map(({ metadata: { name }, spec, status }): ListedNode => {
    const own = told.get(name);
    const of = (type: string): string[] => spec.addresses.filter((address) => address.type === type).map(({ ip }) => ip);
    return {
      name, internalIPs: of("InternalIP"), routerIPs: of("CiliumInternalIP"), podCIDRs: spec.ipam.podCIDRs,
      routing: status?.routing?.mode, encryption: status?.encryption?.phase,
      reaches: own === undefined ? undefined : { reached: own.reached, asked: own.asked, known: own.known, latencySeconds: own.latencySeconds },
      unreachedBy: rows.filter(({ unreached }) => unreached.includes(name)).map(({ node }) => node),
    };
  }).sort(byName);
}

export function nodesText(nodes: readonly ListedNode[], format: Format): string {
  if (format !== "table") return inFormat(nodes, format);
  return table(["NAME", "ADDRESSES", "POD CIDRS", "ROUTING", "ENCRYPTION", "REACHES", "LATENCY", "NOT REACHED BY"], nodes.map((node) => [
    node.name, node.internalIPs.join(",") || NONE, node.podCIDRs.join(",") || NONE, node.routing ?? NONE, node.encryption ?? NONE,
    node.reaches === undefined ? NONE : reachedText(node.reaches), node.reaches === undefined ? NONE : latenciesText(node.reaches), namesText(node.unreachedBy),
  ]));
}

const missingText = ({ message, healthFailure }: RoutingRow): string => [message, healthFailure].filter((text) => text !== undefined).join("; ") || NONE;
const namesText = (names: readonly string[]): string => names.join(",") || NONE;
const byName = (a: { readonly name: string }, b: { readonly name: string }): number => a.name.localeCompare(b.name, "en", { numeric: true });
const inFormat = (value: unknown, format: "json" | "yaml"): string => (format === "json" ? JSON.stringify(value, null, 2) : dump(value, { noRefs: true, lineWidth: -1, skipInvalid: true }));
