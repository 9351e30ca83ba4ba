/** What a person does to the objects of a node's state is seen and put right, and no acknowledgement of before counts for what comes then. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { CiliumNodeState } from "../../../src/api/gen/ciliumnodestates.ts";
import type { NodeState } from "../../../src/compile/index.ts";
import { NodeStateWriter, isIntact, manifestName } from "../../../src/feed/index.ts";
import { ApiError } from "../../../src/kube/errors.ts";
import type { KubeClient } from "../../../src/kube/index.ts";
import { createLogger } from "../../../src/lib/log.ts";
import { WorkQueue } from "../../../src/lib/queue.ts";
import { Cluster } from "../../../src/operator/cluster.ts";
import { NodeStates } from "../../../src/operator/node-states.ts";
import type { NodeStatesOptions } from "../../../src/operator/node-states.ts";
import { decodeNodeState } from "../../../src/operator/rows.ts";

const logger = createLogger({ component: "test", level: "error" });
const MANIFEST = manifestName("n1");
const ROUTING = { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] } as const;
type Change = (name: string, value: CiliumNodeState | undefined, previous: CiliumNodeState | undefined) => void;

/** As much of an API server as node states need: versions, conflicts, events. */
class Api {
  readonly objects = new Map<string, CiliumNodeState>();
  readonly calls: string[] = [];
  onChange: Change = () => undefined;
  /** Awaited before a replacement is answered: it happened, the caller does not know yet. */
  beforeAnswer: () => Promise<void> = () => Promise.resolve();
  #version = 0;

  get client(): KubeClient {
    const logged = <A extends unknown[], R>(call: string, act: (...args: A) => R) => async (...args: A): Promise<R> => (this.calls.push(call), act(...args));
    const replaced = async (_type: unknown, object: CiliumNodeState): Promise<CiliumNodeState> => {
      const there = this.objects.get(object.metadata.name);
      if (there?.metadata.resourceVersion !== object.metadata.resourceVersion) throw new ApiError(409, "Conflict", "another version");
      const set = this.set(object.metadata.name, object);
      await this.beforeAnswer();
      return set;
    };
    return {
      get: logged("get", (_type: unknown, { name }: { name: string }) => this.objects.get(name)),
      list: logged("list", () => ({ items: [...this.objects.values()], resourceVersion: "" })),
      create: logged("create", (_type: unknown, object: CiliumNodeState) => {
        if (this.objects.has(object.metadata.name)) throw new ApiError(409, "AlreadyExists", "it is there");
        return this.set(object.metadata.name, object);
      }),
      replace: logged("replace", replaced),
      patch: logged("patch", () => undefined),
      delete: logged("delete", (_type: unknown, { name }: { name: string }) => this.set(name, undefined)),
    } as unknown as KubeClient;
  }

  set(name: string, object: CiliumNodeState | undefined): CiliumNodeState {
    const previous = this.objects.get(name);
    const value = object && { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    if (value === undefined) this.objects.delete(name);
    else this.objects.set(name, value);
    if (value !== previous) this.onChange(name, value, previous);
    return value as CiliumNodeState;
  }

  get manifest(): NonNullable<CiliumNodeState["manifest"]> {
    const manifest = this.objects.get(MANIFEST)?.manifest;
    assert.ok(manifest);
    return manifest;
  }

  /** By hand. */
  change(fields: Partial<CiliumNodeState["manifest"] & object>): void {
    this.set(MANIFEST, { ...(this.objects.get(MANIFEST) as CiliumNodeState), manifest: { ...this.manifest, ...fields } });
  }

  get isWhole(): boolean {
    const object = this.objects.get(MANIFEST);
    return object?.manifest !== undefined && isIntact(object) && object.manifest.parts.every(({ name, data }) => data !== undefined || this.objects.has(name)) && [...this.objects.values()].every(isIntact);
  }
}

/** An operator of its own memory. Its agent reads parts as objects when `formats` says so. */
function operate(context: TestContext, api: Api, formats = [1, 2], acknowledged = 0, transitions = 1) {
  const status = { node: "n1", acknowledgement: { appliedRevision: acknowledged, appliedHash: "", formats } };
  const writer = new NodeStateWriter(api.client, logger);
  const states = new NodeStates({
    client: api.client,
    writer,
    cluster: new Cluster({ nodeChanged: () => undefined, identityChanged: () => undefined }),
    policies: { effective: new Map() },
    nodes: { objects: new Map([["n1", { uid: "node-uid" }]]) },
    states: { objects: new Map([["status.n1", status]]) },
    routing: () => ROUTING,
    policyOptions: { cidrMatchMode: new Set() },
    leadership: { transitions },
    onMarks: () => undefined,
  } as unknown as NodeStatesOptions);
  const queue = new WorkQueue({ name: "nodes", logger, backoff: { firstMs: 1, maxMs: 5 } });
  const end = new AbortController();
  context.after(() => end.abort());
  queue.run(states, end.signal);
  api.onChange = (name, value, previous) => {
    const row = value ?? previous;
    if (row !== undefined && states.isDisturbed(name, decodeNodeState(row), value && decodeNodeState(value))) queue.add("n1");
  };
  const settle = async (): Promise<void> => {
    queue.add("n1");
    await queue.idle();
  };
  return { states, writer, queue, settle };
}

/** Nothing but events brings the operator to work. */
const DAMAGES: Readonly<Record<string, (api: Api) => void>> = {
  "the manifest deleted": (api) => void api.set(MANIFEST, undefined),
  "the manifest without its parts": (api) => api.change({ parts: [] }),
  "a part deleted": (api) => void api.set(api.manifest.parts[0]?.name ?? "", undefined),
  "a part damaged": (api) => {
    const name = api.manifest.parts[0]?.name ?? "";
    api.set(name, { ...(api.objects.get(name) as CiliumNodeState), part: { hash: api.manifest.parts[0]?.hash ?? "", data: "[]" } });
  },
  "another revision": (api) => api.change({ revision: 1 }),
  "another format": (api) => api.change({ format: 99 }),
  "another Node": (api) => api.change({ nodeUID: "other" }),
};

for (const [what, damage] of Object.entries(DAMAGES)) {
  test(`${what}: an operator that took over and had nothing to write puts it right, again and again, with a revision beyond the acknowledged`, async (context) => {
    const api = new Api();
    await operate(context, api).settle();
    api.change({ revision: 500 });
    const { settle, queue } = operate(context, api, [1, 2], 500, 2);
    api.calls.length = 0;
    await settle();
    assert.ok(!api.calls.some((call) => call !== "get"), "there was nothing to write");
    const { format, nodeUID } = api.manifest;
    for (let round = 0; round < 2; round++) {
      damage(api);
      await queue.idle();
      assert.ok(api.isWhole, "all is there again");
      assert.deepEqual([api.manifest.format, api.manifest.nodeUID], [format, nodeUID]);
      assert.ok(what.startsWith("a part") ? api.manifest.revision >= 500 : api.manifest.revision > 500, `revision ${api.manifest.revision}`);
    }
  });
}

test("what nobody changed is read once", async (context) => {
  const api = new Api();
  await operate(context, api).settle();
  const { settle } = operate(context, api, [1, 2], 0, 2);
  await settle();
  api.calls.length = 0;
  await settle();
  assert.deepEqual(api.calls, []);
});

test("what a dead predecessor left behind goes with the first write, also when there was nothing to write before", async (context) => {
  const api = new Api();
  await operate(context, api).settle();
  const left = { metadata: { name: "p-left.n1" }, node: "n1", part: { hash: "left", data: "[]" } };
  api.objects.set("p-left.n1", left);
  const { settle, queue } = operate(context, api, [1, 2], 0, 2);
  await settle();
  api.change({ format: 99 });
  await queue.idle();
  assert.ok(!api.objects.has("p-left.n1"));
});

test("a part deleted by hand before the answer to the write is known is written again", async (context) => {
  const api = new Api();
  const { settle, queue } = operate(context, api);
  await settle();
  let deletions = 1;
  api.beforeAnswer = async () => {
    if (deletions-- > 0) api.set(api.manifest.parts[0]?.name ?? "", undefined);
  };
  api.change({ format: 99 });
  await queue.idle();
  assert.ok(deletions <= 0 && api.isWhole);
});

test("a revision is beyond all at which a policy changed, also when the agent acknowledged what was written by hand", async () => {
  const api = new Api();
  const ref = { kind: "CiliumNetworkPolicy", namespace: "red", name: "p", uid: "u1", generation: 1 } as const;
  const state: NodeState = {
    subjects: new Map([[256, "0000000000000001"]]),
    ruleSets: new Map([["0000000000000001", { ingressDefault: 1, egressDefault: undefined, rules: [] }]]),
    selectors: new Map(),
    ruleNames: new Map([[1, { kind: "default-deny", direction: "ingress", policies: [ref], path: "spec.ingress" }]]),
    policies: new Map([["u1", 1]]),
    routing: ROUTING,
  };
  const target = { node: "n1", nodeUid: "node-uid", acknowledged: 499, transitions: 1, signal: new AbortController().signal };
  assert.equal((await new NodeStateWriter(api.client, logger).write(target, state)).revision, 500);
  api.change({ revision: 1 });
  const { revision, document } = await new NodeStateWriter(api.client, logger).write({ ...target, acknowledged: 1 }, state);
  assert.deepEqual([revision, api.manifest.revision, document.marks.get("u1")?.since], [501, 501, 500]);
});

test("a node that is forgotten while it is written is read anew", async (context) => {
  const api = new Api();
  const { settle, queue, writer } = operate(context, api);
  await settle();
  api.beforeAnswer = async () => writer.forget("n1");
  api.change({ format: 99 });
  await queue.idle();
  api.beforeAnswer = () => Promise.resolve();
  assert.ok(!writer.needs("n1", MANIFEST), "it is not known");
  await settle();
  assert.ok(writer.needs("n1", MANIFEST));
});

test("a state that changed by nobody's hand is one write, and its own events bring nobody to work", async (context) => {
  const api = new Api();
  const { settle, states, writer } = operate(context, api);
  await settle();
  const document = states.records.get("n1")?.document;
  assert.ok(document);
  api.calls.length = 0;
  const target = { node: "n1", nodeUid: "node-uid", acknowledged: 0, formats: [1, 2, 3], transitions: 1, signal: new AbortController().signal };
  await writer.write(target, { ...document.state, subjects: new Map([[256, "0000000000000001"]]), ruleSets: new Map([["0000000000000001", { ingressDefault: undefined, egressDefault: undefined, rules: [] }]]) });
  assert.deepEqual(api.calls, ["replace", "delete"]);
  assert.ok(writer.needs("n1", MANIFEST), "it was not forgotten");
});
