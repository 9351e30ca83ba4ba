/** An agent that dies between any two steps of DEL: the runtime is told that it is done, and the next agent does it. */
import { strict as assert } from "node:assert";
import { after, before, describe, it } from "node:test";
import { AgentLab } from "./agent-lab.ts";
import { leaves } from "./cni-traces.ts";
import type { Traces } from "./cni-traces.ts";
import { step } from "./kill-points.ts";
import type { Step } from "./kill-points.ts";

const DEL_POINTS: readonly (readonly [string, Step])[] = [
  ["the maps forgot the pod", step("PodVeths", "remove", "before")],
  ["the link is gone", step("PodVeths", "remove", "after")],
  ["the flows are forgotten", step("PodLinks", "remove", "after")],
  ["the addresses rest", step("Addresses", "release", "after")],
  ["the record is gone", step("AttachmentStore", "remove", "after")],
];
const lab = new AgentLab({ prefix: `cilcnid${process.pid}`, pods: 1, subnet: "198.51.100", podCidrs: ["10.79.0.0/24", "fd79::/64"] });

describe("an agent that is killed in DEL", { timeout: 290_000 }, () => {
  let empty: Traces;
  const names = DEL_POINTS.map((_, index) => `p${index}`);

  before(async () => {
    await lab.setUp();
    empty = await lab.ready("app", names);
    await lab.killAgent();
  });
  after(() => lab.tearDown());

  it("killed at any step of DEL: the runtime is told that it is done, and it is, once there is an agent", async () => {
    for (const [index, [moment, point]] of DEL_POINTS.entries()) {
      const pod = names[index] ?? "";
      await lab.restart(point, pod);
      if (index > 0) await leaves(lab, empty, `killed when ${DEL_POINTS[index - 1]?.[0]}`);
      const { code, answer } = await lab.plugin("ADD", pod, 0);
      assert.equal(code, 0, JSON.stringify(answer));
      assert.deepEqual(await lab.plugin("DEL", pod, 0), { code: 0, answer: undefined }, moment);
      await lab.until(`the agent died when ${moment}`, () => lab.hasEnded());
      await lab.killAgent();
    }
    await lab.restart();
    await leaves(lab, empty, "killed when the record is gone");
  });
});
