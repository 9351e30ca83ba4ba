/** When the object that stands for the chart's values is made, changed, deleted, told, and left alone. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CiliumEncryption } from "../../../src/api/gen/ciliumencryptions.ts";
import { CILIUM_ENCRYPTIONS } from "../../../src/kube/kinds.ts";
import type { Source } from "../../../src/kube/source.ts";
import { DefaultObjectKeeper } from "../../../src/operator/default-object.ts";

const OURS = { "app.kubernetes.io/managed-by": "cilium-operator" };
const status = { observedGeneration: 1, nodes: "1/1", kernel: 1, userspace: 0, failingNodes: [], conditions: [] };
const signal = new AbortController().signal;

/** The calls to the API server that one look at the object makes. `kept`: the spec that the API server keeps of a patch; absent, all of it. */
async function calls(object: CiliumEncryption | undefined, spec: CiliumEncryption["spec"] | undefined, kept = spec): Promise<string[]> {
  return (await bodies(object, spec, kept)).map((each) => each.split(" ")[0] ?? "");
}

/** With what they send. */
async function bodies(object: CiliumEncryption | undefined, spec: CiliumEncryption["spec"] | undefined, kept = spec): Promise<string[]> {
  const made: string[] = [];
  const say = (verb: string) => (...rest: unknown[]): Promise<unknown> => {
    made.push(`${verb} ${JSON.stringify(rest[verb === "create" ? 1 : 2] ?? null)}`);
    return Promise.resolve({ ...object, spec: kept });
  };
  const client = { create: say("create"), patch: say("patch"), patchStatus: say("patchStatus"), delete: say("delete") };
  const objects = { objects: new Map(object === undefined ? [] : [["default", object]]) } as unknown as Source<CiliumEncryption>;
  const keeper = new DefaultObjectKeeper<CiliumEncryption>({ client: client as never, events: { record: () => Promise.resolve() } as never, kept: { type: CILIUM_ENCRYPTIONS, objects, spec, status: () => status }, now: () => new Date(0) });
  await keeper.reconcile("default", signal);
  return made;
}

const ours = (more: object = {}): CiliumEncryption => ({ metadata: { name: "default", labels: OURS }, spec: { type: "wireguard" }, ...more });
const theirs = (more: object = {}): CiliumEncryption => ({ metadata: { name: "default" }, spec: { type: "wireguard" }, ...more });
const other = { type: "another" } as unknown as CiliumEncryption["spec"];

describe("the object that stands for the chart's values", () => {
  it("is made when it is missing, and not when nobody wants it", async () => {
    assert.deepEqual(await calls(undefined, { type: "wireguard" }), ["create"]);
    assert.deepEqual(await calls(undefined, undefined), []);
  });

  it("is deleted when the values want none; what somebody made is told instead", async () => {
    assert.deepEqual(await calls(ours(), undefined), ["delete"]);
    assert.deepEqual(await calls(theirs(), undefined), ["patchStatus"]);
  });

  it("gets the spec of the values; what somebody made is told instead", async () => {
    assert.deepEqual(await calls(ours({ spec: other }), { type: "wireguard" }), ["patch"]);
    assert.deepEqual(await calls(theirs({ spec: other }), { type: "wireguard" }), ["patchStatus"]);
  });

  it("loses every word that somebody else wrote into it, however deep", async () => {
    const [there, wanted] = [{ mode: "auto", words: 1, masquerade: { ipv4: true, sourceCidrs: ["x"] }, list: [1] }, { mode: "auto", masquerade: { ipv4: true, sourceCIDRs: [] }, list: [] }] as unknown as CiliumEncryption["spec"][];
    const [sent = ""] = await bodies(ours({ spec: there }), wanted);
    assert.deepEqual(JSON.parse(sent.replace("patch ", "")), { spec: { words: null, mode: "auto", masquerade: { sourceCidrs: null, ipv4: true, sourceCIDRs: [] }, list: [] } });
  });

  it("is told where the API server does not keep all of the spec, as no event follows that would make it so", async () => {
    const wanted = { type: "wireguard", port: 5000 } as const;
    assert.deepEqual(await calls(ours(), wanted), ["patch"]);
    assert.deepEqual(await calls(ours(), wanted, { type: "wireguard" }), ["patch", "patchStatus"]);
    assert.deepEqual(await calls(ours({ status }), wanted, { type: "wireguard" }), ["patch"], "it is told already");
  });

  it("is written on change only", async () => {
    assert.deepEqual(await calls(ours(), { type: "wireguard" }), ["patchStatus"]);
    assert.deepEqual(await calls(ours({ status }), { type: "wireguard" }), []);
  });
});
