/** What the agent does with what preflight says of its node: log, acknowledgement, condition. */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { it } from "node:test";
import { loadConfig } from "../../../src/agent/config.ts";
import { NodePreflight } from "../../../src/agent/preflight.ts";
import type { Logger } from "../../../src/lib/log.ts";
import type { Facts } from "../../../src/preflight/facts.ts";
import type { GatherOptions } from "../../../src/preflight/index.ts";
import { device, machine } from "../preflight/facts.ts";

const config = loadConfig({ directory: tmpdir(), environment: { NODE_NAME: "a" } });
const LOCAL = { name: "a", uid: "u", internalIps: ["192.0.2.1"], routerIps: [], podCidrs: ["10.0.0.0/24"] };
const OTHER = { name: "b", internalIps: ["192.0.2.2"], routerIps: [], podCidrs: ["10.0.1.0/24"] };

function lab(read: (options: GatherOptions) => Promise<Facts>, others: readonly (typeof OTHER)[] = [OTHER]): { preflight: NodePreflight; lines: [level: string, message: string][] } {
  const lines: [string, string][] = [];
  const say = (level: string) => (message: string): void => void lines.push([level, message]);
  const logger: Logger = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error"), child: () => logger };
  return { lines, preflight: new NodePreflight({ config, logger, local: () => LOCAL, nodes: () => [LOCAL, ...others], gather: read }) };
}

it("tells a problem once in the log, and in acknowledgement and condition for as long as it holds", async () => {
  let facts = machine();
  const { preflight, lines } = lab(() => Promise.resolve(facts));
  assert.equal(await preflight.look(), false);
  assert.deepEqual([preflight.warnings(), preflight.summary, lines], [[], "", []]);
  facts = machine({ rules: { value: [{ family: 4, priority: 100, text: "from all lookup 200" }] }, devices: { value: [device("flannel.1", [], { kind: "vxlan", port: 8472 })] } });
  assert.equal(await preflight.look(), true);
  assert.equal(await preflight.look(), false);
  assert.deepEqual(lines.map(([level]) => level), ["error", "warn"], "the blocker, the warning, once each");
  assert.deepEqual(preflight.warnings().map(({ part }) => part), ["preflight tunnel port", "preflight ip rules"]);
  assert.match(preflight.warnings()[0]?.message ?? "", /flannel\.1 .*: the tunnel .*; remove it/);
  assert.match(preflight.summary, /^; preflight found 2 problems/);
  facts = machine();
  assert.equal(await preflight.look(), true);
  assert.deepEqual([preflight.warnings(), preflight.summary], [[], ""]);
});

it("compares the pods and addresses of all nodes, its own counted once, and loads nothing twice", async () => {
  let given: GatherOptions | undefined;
  const read = (options: GatherOptions): Promise<Facts> => {
    given = options;
    return Promise.resolve(machine({ plan: options.plan }));
  };
  const fine = lab(read);
  await fine.preflight.look();
  assert.deepEqual(fine.preflight.warnings(), []);
  assert.equal(given?.load, false);
  assert.deepEqual(given.plan.ranges.map(({ of, cidr }) => `${of} ${cidr}`), ["pods of a 10.0.0.0/24", "node a 192.0.2.1", "pods of b 10.0.1.0/24", "node b 192.0.2.2"]);
  const overlapping = lab(read, [{ ...OTHER, podCidrs: ["10.0.0.128/25"] }]);
  await overlapping.preflight.look();
  assert.match(overlapping.preflight.warnings()[0]?.message ?? "", /^pods of a \(10\.0\.0\.0\/24\) and pods of b \(10\.0\.0\.128\/25\) overlap/);
});

it("that fails stops nothing, and forgets nothing", async () => {
  let fails = false;
  const { preflight, lines } = lab(() => (fails ? Promise.reject(new Error("no /proc")) : Promise.resolve(machine({ sysctls: { "net/core/bpf_jit_enable": "0" } }))));
  await preflight.look();
  fails = true;
  assert.equal(await preflight.look(), false);
  assert.equal(preflight.warnings().length, 1);
  assert.deepEqual(lines.at(-1), ["warn", "the node could not be checked"]);
});
