/** An agent that dies between any two steps of ADD: the next one leaves nothing behind, and the runtime's next try succeeds. */
import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import { leaves, traces } from "./cni-traces.ts";
import { step } from "./kill-points.ts";
import type { Step } from "./kill-points.ts";
import { nodeOfKilledAgents } from "./killed-agents.ts";

const ADD_POINTS: readonly (readonly [string, Step])[] = [
  ["the address is taken", step("Addresses", "allocate", "after")],
  ["the record is half written", step("files", "rename", "before")],
  ["the record is on disk", step("AttachmentStore", "put", "after")],
  ["the pair is made, without programs", step("PodVeths", "create", "after")],
  ["the programs are on it", step("PodLinks", "createLink", "after")],
  ["it is up, with addresses and routes", step("PodLinks", "configure", "after")],
  ["the maps know the pod", step("PodLinks", "open", "after")],
];
/** From here on the pod is whole, only the runtime was not told. */
const ANSWER: readonly [string, Step] = ["the record says ready", step("AttachmentStore", "put", "after", 2)];
const TRY_AGAIN = 11;

describe("an agent that is killed in ADD", { timeout: 290_000 }, () => {
  const names = [...ADD_POINTS, ANSWER].map((_, index) => `p${index}`);
  const { lab, empty } = nodeOfKilledAgents("cilcnik", names);

  it("killed at any step of ADD: the next agent takes it back, and the runtime's next try succeeds", async () => {
    for (const [index, [moment, point]] of ADD_POINTS.entries()) {
      const pod = names[index] ?? "";
      await lab.restart(point, pod);
      if (index > 0) await leaves(lab, empty(), `killed when ${ADD_POINTS[index - 1]?.[0]}`);
      const { code, answer } = await lab.plugin("ADD", pod, 0);
      assert.deepEqual([code, answer?.code], [1, TRY_AGAIN], `${moment}: ${JSON.stringify(answer)}`);
      await lab.until(`the agent died when ${moment}`, () => lab.hasEnded());
      await lab.killAgent();
    }
    await lab.restart();
    await leaves(lab, empty(), "killed when the maps know the pod");
    for (const pod of names.slice(0, ADD_POINTS.length)) {
      const { code, answer } = await lab.plugin("ADD", pod, 0);
      assert.equal(code, 0, `${pod}: ${JSON.stringify(answer)}`);
      for (const { address } of answer?.ips ?? []) lab.ping(lab.nodeNs, address.replace(/\/.*/, ""));
      assert.equal((await lab.plugin("DEL", pod, 0)).code, 0);
    }
    await leaves(lab, empty(), "the tries that succeeded");
    await lab.killAgent();
  });

  it("killed before the answer: the pod is kept as it is, and a second ADD says so", async () => {
    const pod = names.at(-1) ?? "";
    await lab.restart(ANSWER[1], pod);
    assert.equal((await lab.plugin("ADD", pod, 0)).answer?.code, TRY_AGAIN);
    await lab.until("the agent died", () => lab.hasEnded());
    await lab.killAgent();
    const kept = traces(lab);
    await lab.restart();
    await leaves(lab, kept, "kept");
    const { code, answer } = await lab.plugin("ADD", pod, 0);
    assert.equal(code, 0, JSON.stringify(answer));
    for (const { address } of answer?.ips ?? []) lab.ping(lab.nodeNs, address.replace(/\/.*/, ""));
    assert.equal((await lab.plugin("DEL", pod, 0)).code, 0);
    await leaves(lab, empty(), "deleted at last");
    await lab.killAgent();
  });
});
