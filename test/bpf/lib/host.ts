/** The node's own network namespace, as a subject of its own. */
import { HOST_TRACKED, hostCodec } from "../../../src/kernel/gen/types.ts";
import { a } from "./world.ts";
import type { Pod, World } from "./world.ts";

export const host: Pod = { ...a, id: 20, identity: 1 };

/** @param slot by which it is judged; 0: what it sends and receives is remembered alone. */
export function judgeHost(world: World, slot: number): void {
  const value = new Uint8Array(hostCodec.size);
  hostCodec.encode({ subject: slot, flags: HOST_TRACKED }, new DataView(value.buffer));
  world.map("host").update(new Uint8Array(4), value);
}
