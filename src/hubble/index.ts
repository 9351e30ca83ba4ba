/**
 * What the kernel saw, in words: bytes of the ring buffer → Event → names of rules, labels and pods → one line.
 * Everything here is pure. Imports kernel's generated codecs, compile's types and lib.
 */
export { enrich } from "./enrich.ts";
export type { EnrichContext } from "./enrich.ts";
export { renderEvent } from "./render.ts";
export type { EventPeer, EventRule, LostEvent, MonitorEvent, PacketEvent } from "./event.ts";
