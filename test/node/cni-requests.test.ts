/** Whatever a runtime asks the agent of a real node: a CNI answer, and nothing is left of it. */
import { strict as assert } from "node:assert";
import { symlinkSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { AgentLab } from "./agent-lab.ts";
import type { PluginCall } from "./agent-lab.ts";
import { leaves, traces } from "./cni-traces.ts";
import type { Traces } from "./cni-traces.ts";

const TRY_AGAIN = 11;
const lab = new AgentLab({ prefix: `cilcnir${process.pid}`, pods: 1, subnet: "198.51.100", podCidrs: ["10.79.0.0/28", "fd79::/64"] });
const container = (pod: string): string => `container-${pod}`;

describe("CNI requests", { timeout: 280_000 }, () => {
  let empty: Traces;

  before(async () => {
    await lab.setUp();
    empty = await lab.ready("app", ["p0"]);
  });
  after(() => lab.tearDown());

  it("whatever a runtime sends is answered by a CNI error, and nothing is left of it", { timeout: 120_000 }, async () => {
    const proc = lab.path("own-namespace");
    symlinkSync("/proc/self/ns/net", proc);
    writeFileSync(lab.path("a-file"), "");
    const refused: readonly (readonly [string, PluginCall, number])[] = [
      ["no JSON", { stdin: "ADD me" }, TRY_AGAIN], // without a configuration the plugin asks the socket of the default path
      ["an unknown version", { config: { cniVersion: "9.0.0" } }, 1],
      ["no version", { config: { cniVersion: "" } }, 1],
      ["the agent's own namespace", { env: { CNI_NETNS: `/run/netns/${lab.nodeNs}` } }, 4],
      ["a link to the agent's own namespace", { env: { CNI_NETNS: proc } }, 4],
      ["a file that is no namespace", { env: { CNI_NETNS: lab.path("a-file") } }, 4],
      ["a namespace of another kind", { env: { CNI_NETNS: "/proc/self/ns/mnt" } }, 4],
      ["a namespace that is not there", { env: { CNI_NETNS: "/run/netns/absent" } }, 4],
      ["a relative namespace", { env: { CNI_NETNS: "run/netns/x" } }, 4],
      ["dots in the namespace", { env: { CNI_NETNS: `/run/netns/../netns/${lab.podNs[0]}` } }, 4],
      ["a container that leaves its folder", { env: { CNI_CONTAINERID: "../../../etc/passwd" } }, 4],
      ["a container id that is too long", { env: { CNI_CONTAINERID: "c".repeat(129) } }, 4],
      ["an interface name that is too long", { env: { CNI_IFNAME: "sixteen-letters-" } }, 4],
      ["the loopback interface", { env: { CNI_IFNAME: "lo" } }, 4],
      ["no pod", { env: { CNI_ARGS: "" } }, 4],
      ["a pod of no name", { env: { CNI_ARGS: "K8S_POD_NAMESPACE=../x;K8S_POD_NAME=y" } }, 4],
    ];
    for (const [what, call, code] of refused) {
      const { code: status, answer } = await lab.plugin("ADD", "p0", 0, call);
      assert.equal(status, 1, what);
      assert.equal(answer?.code, code, `${what}: ${JSON.stringify(answer)}`);
      assert.ok((answer?.msg ?? "").length > 5, what);
    }
    for (const [command, pod] of [["CHECK", "p0"], ["GC", "p0"]] as const) assert.equal((await lab.plugin(command, pod, 0)).code, 1, command);
    assert.deepEqual(await lab.plugin("DEL", "never-seen", 0), { code: 0, answer: undefined });
    await leaves(lab, empty, "refused requests");
  });

  it("ADD twice and at once, DEL twice, a changed prevResult, a second interface, GC", { timeout: 60_000 }, async () => {
    const all = await Promise.all(Array.from({ length: 5 }, () => lab.plugin("ADD", "p0", 0)));
    for (const each of all) assert.deepEqual(each, all[0], "the same answer");
    assert.equal(all[0]?.code, 0, JSON.stringify(all[0]));
    assert.equal(traces(lab).files, 1);
    assert.equal((await lab.plugin("CHECK", "p0", 0, { config: { prevResult: all[0]?.answer } })).code, 0);
    assert.equal((await lab.plugin("CHECK", "p0", 0, { config: { prevResult: { ips: [{ address: "10.79.0.14/32" }] } } })).answer?.code, 999);
    assert.match((await lab.plugin("ADD", "p0", 0, { env: { CNI_IFNAME: "eth1" } })).answer?.msg ?? "", /has interface eth0 already/);
    const valid = (ids: readonly string[]): PluginCall => ({ config: { cniVersion: "1.1.0", "cni.dev/valid-attachments": ids.map((containerID) => ({ containerID, ifname: "eth0" })) } });
    assert.equal((await lab.plugin("GC", "", 0, valid([container("p0")]))).code, 0);
    assert.equal((await lab.plugin("CHECK", "p0", 0)).code, 0, "what is valid stays");
    assert.equal((await lab.plugin("GC", "", 0, valid([]))).code, 0);
    assert.equal((await lab.plugin("CHECK", "p0", 0)).answer?.code, 3, "what is not is gone");
    for (let time = 0; time < 2; time++) assert.deepEqual(await lab.plugin("DEL", "p0", 0), { code: 0, answer: undefined });
    await leaves(lab, empty, "GC and DEL");
  });
});
