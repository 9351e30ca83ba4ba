/** What a person may do to the objects of a node's state by hand. */
import assert from "node:assert/strict";
import { NODE_LABEL, isIntact, manifestName, nodeKey, statusName } from "../../src/feed/index.ts";
import type { ManifestHead } from "../../src/feed/index.ts";
import { CILIUM_NODE_STATES } from "../../src/kube/index.ts";
import type { KubeClient } from "../../src/kube/index.ts";
import { eventually } from "./cluster-objects.ts";

/** Damages the manifest and one of its parts, which are objects; resolves when both are whole again. */
export async function damageAndAwait(client: KubeClient, node: string): Promise<void> {
  const name = manifestName(node);
  const whole = async () => {
    const object = await client.get(CILIUM_NODE_STATES, { name });
    const parts = await Promise.all((object?.manifest?.parts ?? []).map((part) => client.get(CILIUM_NODE_STATES, { name: part.name })));
    return object?.manifest !== undefined && isIntact(object) && parts.every((part) => part !== undefined && isIntact(part)) ? object.manifest : undefined;
  };
  const { parts } = await eventually("a whole state", whole);
  const [part] = parts;
  assert.ok(part !== undefined && part.data === undefined, "its parts are objects");
  await client.patch(CILIUM_NODE_STATES, { name }, { manifest: { parts: [] } });
  await eventually("the manifest names its parts", async () => (await whole())?.parts.length === parts.length);
  const damaged = { metadata: { name: part.name, labels: { [NODE_LABEL]: nodeKey(node) } }, node, part: { hash: part.hash, data: "[]" } };
  await eventually("the part is damaged", async () => {
    await client.delete(CILIUM_NODE_STATES, { name: part.name });
    // The operator writes it again at once: who is first is chance.
    return await client.create(CILIUM_NODE_STATES, damaged).then(() => true, () => undefined);
  });
  await eventually("the part is what its name says", whole);
}

/** Changes each field of the manifest, which was `before`, and deletes it; each time it is as it was, with a revision that only then the agent acknowledges. */
export async function changeAndAwait(client: KubeClient, node: string, before: ManifestHead): Promise<void> {
  const name = manifestName(node);
  const applied = async (): Promise<number | undefined> => (await client.get(CILIUM_NODE_STATES, { name: statusName(node) }))?.status?.appliedRevision;
  let last = before.revision;
  for (const damage of [{ format: 99 }, { nodeUID: "other" }, { revision: 1 }, undefined]) {
    if (damage === undefined) await client.delete(CILIUM_NODE_STATES, { name });
    else await client.patch(CILIUM_NODE_STATES, { name }, { manifest: damage });
    const past = last;
    last = await eventually(`the manifest after ${JSON.stringify(damage)}`, async () => {
      const { revision = 0, format, nodeUID } = (await client.get(CILIUM_NODE_STATES, { name }))?.manifest ?? {};
      return revision > past && format === before.format && nodeUID === before.nodeUID ? revision : undefined;
    });
    await eventually(`revision ${last} acknowledged`, async () => (await applied()) === last);
  }
}
