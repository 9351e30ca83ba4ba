/** What the tables of this node are read from, as of now. */
import { Names } from "../inspect/index.ts";
import type { Source } from "../inspect/index.ts";
import type { Core } from "./core.ts";
import { eventContext } from "./event-context.ts";
import { clockOffsetNs } from "./events.ts";
import type { NodeNetwork } from "./node-network.ts";

export async function inspectSource(node: string, core: Core, network: NodeNetwork, { encryption, routing }: Pick<Source, "encryption" | "routing">): Promise<Source> {
  const { maps } = network.port;
  const devices = new Map((await network.links.list()).map(({ ifindex, name }) => [ifindex, name]));
  const facts = {
    ...eventContext(node, core),
    clockOffsetNs: clockOffsetNs(),
    nowNs: process.hrtime.bigint(),
    device: (ifindex: number) => devices.get(ifindex),
    portClass: (number: number) => core.portClass(number),
  };
  return { maps, state: core.enforcer.assignment?.state, identities: core.state.identities, names: new Names(facts, maps), encryption, routing };
}
