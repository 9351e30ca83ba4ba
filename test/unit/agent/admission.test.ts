import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import { PodAdmission } from "../../../src/agent/admission.ts";
import { Change } from "../../../src/agent/change.ts";
import { PodIdentities } from "../../../src/agent/identities.ts";
import type { PodRow } from "../../../src/agent/objects.ts";
import type { CniError } from "../../../src/cni/index.ts";
import { identityLabels } from "../../../src/model/index.ts";

const pod: PodRow = { namespace: "ns", name: "p", uid: "u1", sandboxUid: "u1", labels: { app: "x" }, serviceAccount: "default", hostNetwork: false, finished: false, ips: [] };
const ref = { namespace: "ns", name: "p", uid: "u1" };

function setUp(limitMs = 200) {
  const pods = new Map<string, PodRow>();
  const namespaces = new Map<string, Record<string, string>>();
  const enforced = new Set<number>();
  const change = new Change();
  const named = new Map<string, readonly string[]>();
  const identities = new PodIdentities(namespaces, (namespace) => named.get(namespace) ?? []);
  const fetched: string[] = [];
  const api: { pod: PodRow | undefined; down: boolean } = { pod: undefined, down: false };
  const admission = new PodAdmission({
    pods, identities, change, limitMs,
    isEnforced: (identity) => enforced.has(identity),
    fetchPod: async ({ name }) => {
      fetched.push(name);
      if (api.down) throw new Error("connection refused");
      return api.pod;
    },
  });
  const allocate = (id: number, labels = pod.labels, keys: readonly string[] = []): void =>
    identities.changed({ id, labels: identityLabels({ metadata: { name: "p", labels } }, { metadata: { name: "ns", labels: {} } }, keys) }, undefined);
  return { named, pods, namespaces, enforced, change, admission, fetched, api, allocate };
}
const never = new AbortController().signal;

describe("admission", () => {
  it("admits at once, without asking the API server, what is known and enforced", async () => {
    const t = setUp();
    t.pods.set("ns/p", pod);
    t.namespaces.set("ns", {});
    t.allocate(300);
    t.enforced.add(300);
    assert.deepEqual(await t.admission.admit(ref, never), { pod: ref, identity: 300 });
    assert.deepEqual(t.fetched, []);
  });

  it("counts a churning label where the node state says that a policy names it, and nowhere else", async () => {
    const t = setUp();
    const labels = { ...pod.labels, "job-name": "j1" };
    t.pods.set("ns/p", { ...pod, labels });
    t.namespaces.set("ns", {});
    t.allocate(300);
    t.allocate(301, labels, ["job-name"]);
    for (const id of [300, 301]) t.enforced.add(id);
    assert.equal((await t.admission.admit(ref, never)).identity, 300);
    t.named.set("other", ["job-name"]);
    assert.equal((await t.admission.admit(ref, never)).identity, 300);
    t.named.set("ns", ["job-name"]);
    assert.equal((await t.admission.admit(ref, never)).identity, 301);
  });

  it("knows a static pod by the UID that the kubelet gave it", async () => {
    const t = setUp();
    t.pods.set("ns/p", { ...pod, uid: "mirror" });
    t.namespaces.set("ns", {});
    t.allocate(300);
    t.enforced.add(300);
    assert.deepEqual(await t.admission.admit(ref, never), { pod: { ...ref, uid: "mirror" }, identity: 300 });
  });

  it("asks once when the cache is behind: no pod, or another UID", async () => {
    const t = setUp();
    t.pods.set("ns/p", { ...pod, uid: "old", sandboxUid: "old" });
    const namedPorts = [{ name: "http", port: 80, protocol: 6 }];
    t.api.pod = { ...pod, namedPorts };
    t.namespaces.set("ns", {});
    t.allocate(300);
    t.enforced.add(300);
    assert.deepEqual(await t.admission.admit(ref, never), { pod: ref, identity: 300, namedPorts }, "with its named ports, which nothing else here knows yet");
    assert.deepEqual(t.fetched, ["p"]);
  });

  it("waits for identity and policy, in any order, and says what is missing when it ends", async () => {
    const t = setUp();
    t.pods.set("ns/p", pod);
    await assert.rejects(t.admission.admit(ref, never), (error: CniError) => error.cniCode === 11 && /namespace ns is not known/.test(error.message));
    t.namespaces.set("ns", {});
    await assert.rejects(t.admission.admit(ref, never), /operator has not given its labels an identity/);
    t.allocate(300);
    await assert.rejects(t.admission.admit(ref, never), /policy of its identity 300 is not in force/);
    const waiting = setUp(5_000);
    waiting.pods.set("ns/p", pod);
    const admitted = waiting.admission.admit(ref, never);
    for (const step of [() => waiting.enforced.add(300), () => waiting.namespaces.set("ns", {}), () => waiting.allocate(300)]) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      step();
      waiting.change.notify();
    }
    assert.equal((await admitted).identity, 300);
  });

  it("refuses what is no pod of this network, and ends when the pod is deleted", async () => {
    const t = setUp(5_000);
    await assert.rejects(t.admission.admit(ref, never), /does not exist/);
    t.api.down = true;
    await assert.rejects(t.admission.admit(ref, never), (error: CniError) => error.cniCode === 11 && /API server does not answer/.test(error.message));
    t.pods.set("ns/p", { ...pod, hostNetwork: true });
    await assert.rejects(t.admission.admit(ref, never), /host's network/);
    t.pods.set("ns/p", pod);
    const abort = new AbortController();
    const waiting = t.admission.admit(ref, abort.signal);
    setTimeout(() => abort.abort(), 10);
    await assert.rejects(waiting, /being deleted/);
  });
});
