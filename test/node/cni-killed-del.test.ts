/** An agent that dies between any two steps of DEL: the runtime is told that it is done, and the next agent does it. */
import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import { leaves } from "./cni-traces.ts";
import { step } from "./kill-points.ts";
import type { Step } from "./kill-points.ts";
import { nodeOfKilledAgents } from "./killed-agents.ts";

const DEL_POINTS: readonly (readonly [string, Step])[] = [
  ["the maps forgot the pod", step("PodVeths", "remove", "before")],
  ["the link is gone", step("PodVeths", "remove", "after")],
  ["the flows are forgotten", step("PodLinks", "remove", "after")],
  ["the addresses rest", step("Addresses", "release", "after")],
  ["the record is gone", step("AttachmentStore", "remove", "after")],
];

describe("an agent that is killed in DEL", { timeout: 290_000 }, () => {
  const names = DEL_POINTS.map((_, index) => `p${index}`);
  const { lab, empty } = nodeOfKilledAgents("cilcnid", names);

  it("killed at any step of DEL: the runtime is told that it is done, and it is, once there is an agent", async () => {
    for (const [index, [moment, point]] of DEL_POINTS.entries()) {
      const pod = names[index] ?? "";
      await lab.restart(point, pod);
      if (index > 0) await leaves(lab, empty(), `killed when ${DEL_POINTS[index - 1]?.[0]}`);
      const { code, answer } = await lab.plugin("ADD", pod, 0);
      assert.equal(code, 0, JSON.stringify(answer));
      assert.deepEqual(await lab.plugin("DEL", pod, 0), { code: 0, answer: undefined }, moment);
      await lab.until(`the agent died when ${moment}`, () => lab.hasEnded());
      await lab.killAgent();
    }
    await lab.restart();
    await leaves(lab, empty(), "killed when the record is gone");
  });
});
