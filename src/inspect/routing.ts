/** How a node routes to the others, and which of them answer. No kernel map says it. */
import { erased } from "./table.ts";
import type { Source, Table } from "./table.ts";
import { NONE, listText } from "./text.ts";

export interface RoutingFacts {
  /** In force on the node. */
  readonly mode: "tunnel" | "native" | "auto";
  /** What is not as it shall be, in a sentence. */
  readonly message: string | undefined;
  /** Why no other node can be asked whether it answers; undefined: they are. */
  readonly healthFailure: string | undefined;
  readonly peers: readonly RoutingPeer[];
}

export interface RoutingPeer {
  readonly peer: string;
  /** How its pods are sent to. */
  readonly way: "tunnel" | "direct";
  readonly probes: readonly RoutingProbe[];
}

export interface RoutingProbe {
  /** `endpoint`: by the way that its pods' packets take. */
  readonly type: "endpoint" | "node";
  readonly address: string;
  readonly state: "reachable" | "unreachable" | "unknown";
  readonly latencySeconds: number | undefined;
  /** Since that was found out. */
  readonly ageSeconds: number | undefined;
}

export interface RoutingRow extends Omit<RoutingFacts, "peers"> {
  /** Other nodes of which every address answers, those that were asked, and all. */
  readonly reached: number;
  readonly asked: number;
  readonly known: number;
  /** Names of those that do not answer. */
  readonly unreached: readonly string[];
  /** Of the answers by the way of pods' packets. */
  readonly latencySeconds: { readonly median: number; readonly greatest: number } | undefined;
}

type State = RoutingProbe["state"];

/** One address that does not answer is enough, as is one that was not asked yet. */
export function stateOf(probes: readonly Pick<RoutingProbe, "state">[]): State {
  if (probes.some(({ state }) => state === "unreachable")) return "unreachable";
  return probes.length === 0 || probes.some(({ state }) => state === "unknown") ? "unknown" : "reachable";
}

export function routingRow({ mode, message, healthFailure, peers }: RoutingFacts): RoutingRow {
  const named = (state: State): readonly string[] => peers.filter(({ probes }) => stateOf(probes) === state).map(({ peer }) => peer);
  const [reached, unreached] = [named("reachable").length, named("unreachable")];
  const latencies = peers.flatMap(({ probes }) => probes.flatMap(({ type, state, latencySeconds }) => (type === "endpoint" && state === "reachable" ? (latencySeconds ?? []) : []))).sort((a, b) => a - b);
  const [median, greatest] = [latencies[Math.floor((latencies.length - 1) / 2)], latencies.at(-1)];
  return {
    mode, message, healthFailure, reached, asked: reached + unreached.length, known: peers.length, unreached,
    latencySeconds: median === undefined || greatest === undefined ? undefined : { median, greatest },
  };
}

const DIGITS = 3;

export function latencyText(seconds: number | undefined): string {
  return seconds === undefined ? NONE : `${(seconds * 1000).toFixed(DIGITS)}ms`;
}

export const reachedText = ({ reached, asked, known }: Pick<RoutingRow, "reached" | "asked" | "known">): string => (asked < known ? `${reached}/${known} (${known - asked} not asked yet)` : `${reached}/${known}`);
export const latenciesText = ({ latencySeconds }: Pick<RoutingRow, "latencySeconds">): string => (latencySeconds === undefined ? NONE : `${latencyText(latencySeconds.median)}, at most ${latencyText(latencySeconds.greatest)}`);

export const routingStatus: Table = erased<RoutingRow>({
  name: "routing-status",
  map: undefined,
  about: "how each node routes to the others' pods, how many of them answer and how fast, and what is missing",
  columns: [
    { head: "MODE", cell: ({ mode }) => mode },
    { head: "NODES REACHED", cell: reachedText },
    { head: "LATENCY", cell: latenciesText },
    { head: "NOT REACHED", cell: ({ unreached }) => listText(unreached) },
    { head: "MISSING", cell: ({ message, healthFailure }) => [message, healthFailure].filter((text) => text !== undefined).join("; ") || NONE },
  ],
  rows: async function* ({ routing }: Source) {
    const facts = routing();
    yield facts === undefined ? [] : [routingRow(facts)];
  },
});

export const routingPeers: Table = erased<RoutingProbe & Pick<RoutingPeer, "peer" | "way">>({
  name: "routing-peers",
  map: undefined,
  about: "of each node the others: by which way their pods are sent to, whether they answer there and at their own address, and how fast",
  columns: [
    { head: "PEER", cell: ({ peer }) => peer },
    { head: "WAY", cell: ({ way }) => way },
    { head: "ASKED", cell: ({ type }) => ({ endpoint: "as its pods", node: "as a node" })[type] },
    { head: "ADDRESS", cell: ({ address }) => address },
    { head: "STATE", cell: ({ state }) => state },
    { head: "LATENCY", cell: ({ latencySeconds }) => latencyText(latencySeconds) },
    { head: "LAST ASKED", cell: ({ ageSeconds }) => (ageSeconds === undefined ? "never" : `${ageSeconds}s ago`) },
  ],
  rows: async function* ({ routing }: Source) {
    yield (routing()?.peers ?? []).flatMap(({ peer, way, probes }) => probes.map((probe) => ({ peer, way, ...probe })));
  },
});
