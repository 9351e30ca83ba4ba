/**
 * What the kernel saw, in words: bytes of the ring buffer → Event → names of rules, labels and pods → one line.
 * Everything here is pure. Imports kernel's generated codecs, compile's types and lib.
 */
export { describePeer, describeRule, enrich, labelsOf, protocolName, timeText, words } from "./enrich.ts";
export type { AddressName, EnrichContext } from "./enrich.ts";
export { peerText, renderEvent } from "./render.ts";
export type { EventPeer, EventRule, LostEvent, MonitorEvent, PacketEvent } from "./event.ts";
