/**
 * inspect: what a node holds, in words: each kernel map, and the policy that it is made of, as rows for people and programs.
 *
 * A table reads (a map in batches, or the node state), names what it reads, and says how a row looks in a column. It
 * changes nothing. It must not know sockets, clusters or arguments: the agent serves the rows, the command prints them.
 */
export { MAP_TABLES, OVERVIEW, TABLES } from "./tables.ts";
export type { Column, Row, Source, Table } from "./table.ts";
export { sumStats } from "./stats.ts";
export type { StatsRow } from "./stats.ts";
export { Names } from "./names.ts";
export type { EncryptionFacts, KeyFacts, PeerFacts } from "./encryption.ts";
export { latenciesText, latencyText, reachedText, stateOf } from "./routing.ts";
export type { RoutingFacts, RoutingPeer, RoutingProbe, RoutingRow } from "./routing.ts";
export type { Facts } from "./names.ts";
