/**
 * By which way this node and each other one send to each other's pods. Pure.
 *
 * A packet of another node is understood either way it comes: the tunnel's always, one without a tunnel while this node
 * routes without one itself, or did a moment ago. So nodes may change over one after the other: each sends by what the
 * other says of itself, and what was sent before that was heard arrives still.
 */
import type { RoutingDecision } from "../compile/index.ts";
import type { Way } from "../kernel/index.ts";
import type { CiliumNodeRow, RoutingStatus } from "./objects.ts";
import { refusal } from "./node-routes.ts";
import type { RemoteCidr } from "./peers.ts";

export type Reach = "tunnel" | "direct";
type Mode = RoutingDecision["mode"];

export interface Reaching {
  /** How this node routes now. */
  readonly mode: Mode;
  /** It sends through the tunnel since a moment ago: others may not have heard of it. */
  readonly isFresh: boolean;
  /** Nodes that have said for long that they route by tunnel: all that they sent before has arrived. */
  readonly tunnelled: ReadonlySet<string>;
  /** Node name -> way; of a node that is not named, the one of the mode. */
  readonly reach: ReadonlyMap<string, Reach>;
}

export function reachingBy(mode: Mode, reach: Reaching["reach"] = new Map(), isFresh = false, tunnelled: Reaching["tunnelled"] = new Set()): Reaching {
  return { mode, reach, isFresh, tunnelled };
}

/** How the node is sent to. With mode auto a node whose way is not known yet is one behind a router. */
export function reachOf({ mode, reach }: Reaching, name: string): Reach {
  return reach.get(name) ?? (mode === "native" ? "direct" : "tunnel");
}

/**
 * Whether what the node sends without a tunnel is believed: the tunnel is what proves who sends. One that never said that it routes
 * without never is by one that has a tunnel itself, and by none any more that has said for long that it routes by tunnel.
 */
export function mayComeBare({ mode, isFresh, tunnelled }: Reaching, { name, routing }: Pick<CiliumNodeRow, "name" | "routing">): boolean {
  if (mode !== "tunnel") return !tunnelled.has(name);
  return isFresh && routing !== undefined && routing.mode !== "Tunnel";
}

/** Since when each node has said that it routes by tunnel. One whose word this process has just heard may have changed over a moment ago. */
export class TunnelSayings {
  readonly #sinceMs = new Map<string, number>();

  /** @returns those that have said it for longer than `freshMs` */
  heard(nodes: readonly Pick<RemoteCidr, "nodeName" | "mode">[], nowMs: number, freshMs: number): ReadonlySet<string> {
    const saying = new Set(nodes.filter(({ mode }) => mode === "Tunnel").map(({ nodeName }) => nodeName));
    for (const name of this.#sinceMs.keys()) if (!saying.has(name)) this.#sinceMs.delete(name);
    for (const name of saying) if (!this.#sinceMs.has(name)) this.#sinceMs.set(name, nowMs);
    return new Set([...this.#sinceMs].filter(([, sinceMs]) => nowMs - sinceMs > freshMs).map(([name]) => name));
  }
}

export function saidMode(mode: Mode): RoutingStatus["mode"] {
  return ({ tunnel: "Tunnel", native: "Native", auto: "Auto" } as const)[mode];
}

export interface Reached {
  readonly reach: ReadonlyMap<string, Reach>;
  /** Why nodes that shall be reached without a tunnel cannot be, a sentence each. */
  readonly failures: readonly string[];
}

export interface Ground {
  /** Where the network has the routes to pods: whether one leads to any of these addresses. */
  readonly isRouted: (cidr: string) => boolean;
  /** By address of a node: how the routes of others lead there. */
  readonly ways: ReadonlyMap<string, Way>;
  readonly underlay: readonly string[];
  /** Whether this node has a tunnel at all. */
  readonly hasTunnel: boolean;
}

/** Of every other node the way that both ends can go: without a tunnel only where both say so, and the routes allow it. */
export function reachAll({ mode, directRoutes }: Pick<RoutingDecision, "mode" | "directRoutes">, remote: readonly RemoteCidr[], ground: Ground): Reached {
  const reach = new Map<string, Reach>();
  const failures: string[] = [];
  for (const [name, cidrs] of Map.groupBy(remote, ({ nodeName }) => nodeName)) {
    const isTunnelled = mode === "tunnel" || cidrs.some(({ mode: said }) => said === "Tunnel");
    if (isTunnelled) {
      reach.set(name, "tunnel");
      continue;
    }
    const refusals = cidrs.flatMap((cidr) => (mode === "native" && !directRoutes ? missing(cidr, ground) : refusal(cidr, ground.ways, ground.underlay)) ?? []);
    const hasOther = ground.hasTunnel && cidrs.every(({ tunnelIp }) => tunnelIp !== undefined);
    reach.set(name, refusals.length > 0 && hasOther ? "tunnel" : "direct");
    if (mode === "native" && hasOther) failures.push(...refusals.map((text) => `${text}; it is reached through the tunnel`));
  }
  return { reach, failures };
}

function missing({ cidr, nodeName }: RemoteCidr, { isRouted }: Ground): string | undefined {
  return isRouted(cidr) ? undefined : `no route of the network leads to ${cidr} of ${nodeName}`;
}

/**
 * What may stand in the maps while the routes still change: without a tunnel only those that were reached so before too. A
 * packet whose entry says so needs the route, one through the tunnel does not.
 */
export function between(before: Reaching, next: ReadonlyMap<string, Reach>): ReadonlyMap<string, Reach> {
  return new Map([...next].map(([name, way]) => [name, reachOf(before, name) === "tunnel" ? "tunnel" : way]));
}

export function isSameReaching(a: Reaching, b: Reaching): boolean {
  return a.mode === b.mode && a.isFresh === b.isFresh && a.tunnelled.size === b.tunnelled.size && [...a.tunnelled].every((name) => b.tunnelled.has(name)) && a.reach.size === b.reach.size && [...a.reach].every(([name, way]) => b.reach.get(name) === way);
}
