/** The node on which tests kill agents between the steps of a request. */
import { strict as assert } from "node:assert";
import { after, before } from "node:test";
import { AgentLab } from "./agent-lab.ts";
import type { Traces } from "./cni-traces.ts";

/** Its pods are known and none is attached; no agent runs. `empty`: its traces then. */
export function nodeOfKilledAgents(prefix: string, pods: readonly string[]): { readonly lab: AgentLab; empty(): Traces } {
  const lab = new AgentLab({ prefix: `${prefix}${process.pid}`, pods: 1, subnet: "198.51.100", podCidrs: ["10.79.0.0/24", "fd79::/64"] });
  let empty: Traces | undefined;
  before(async () => {
    await lab.setUp();
    empty = await lab.ready("app", pods);
    await lab.killAgent();
  });
  after(() => lab.tearDown());
  return { lab, empty: () => empty ?? assert.fail("not set up yet") };
}
