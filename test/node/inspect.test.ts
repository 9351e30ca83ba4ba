/** The tables of real pinned maps, through the agent's socket and the command. Needs root; runs itself again in a network namespace of its own. */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { connect, type Server, type Socket } from "node:net";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { load } from "js-yaml";
import { InspectServer } from "../../src/agent/inspect.ts";
import { MapPressure } from "../../src/agent/map-fill.ts";
import { ProgramMaps } from "../../src/agent/program-maps.ts";
import { readSocket, renderRows, type Format } from "../../src/cli/inspect.ts";
import { MAP_TABLES, Names, TABLES, type Row } from "../../src/inspect/index.ts";
import { LibbpfPort } from "../../src/kernel/bpf.ts";
import { Datapath } from "../../src/kernel/datapath.ts";
import { CT_FROM_LOW, flowKeyCodec, flowStateCodec, metricCodec, metricKeyCodec, quotaCodec, ruleHitCodec } from "../../src/kernel/gen/types.ts";
import type { LibbpfMap } from "../../src/kernel/index.ts";
import type { Codec } from "../../src/kernel/port.ts";
import { parseAddress } from "../../src/lib/ip.ts";
import { MapApplier } from "../../src/targets/index.ts";
import type { MapName } from "../../src/targets/index.ts";
import { ALLOW, STATE } from "../unit/inspect/facts.ts";
import { makeFixture } from "./kernel-fixture.ts";
import type { Fixture } from "./kernel-fixture.ts";

const CHILD = "INSPECT_TEST_CHILD";
const ROOT = resolve(import.meta.dirname, "../..");
const FLOWS = 100_000;
/** Each takes the kernel up to 0.1 ms: a value for each CPU. */
const RULES = 4096;
const MAPS: readonly MapName[] = ["interfaces", "endpoints", "ipcache", "cidrs", "nodes", "subjects", "policy", "blocks", "host"];
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };
const run = promisify(execFile);

/** As far as this file looks into what was printed. */
interface Printed {
  readonly [field: string]: unknown;
  readonly peer: { readonly identity: number };
  readonly rule: { readonly policies: readonly string[] };
  readonly source: { readonly port: number };
  readonly destination: { readonly port: number };
  readonly packets: string;
  readonly lastHit: string;
}

if (process.env[CHILD] === undefined) {
  it("in a network namespace of its own", () => {
    const { status, stdout, stderr } = spawnSync("unshare", ["--net", process.execPath, "--test", import.meta.filename], {
      env: { ...process.env, [CHILD]: "1", NODE_TEST_CONTEXT: undefined },
      encoding: "utf8",
    });
    assert.equal(status, 0, stdout + stderr);
  });
} else {
  describe("tables of real maps", { timeout: 240_000 }, suite);
}

function suite(): void {
  let fixture: Fixture;
  let port: LibbpfPort;
  let server: Server;
  let socket: string;
  before(async () => {
    fixture = makeFixture();
    port = new LibbpfPort(join(fixture.bpffs, "cilium"));
    Datapath.load({ port, objects: join(ROOT, "build/bpf"), pinDir: join(fixture.bpffs, "cilium"), maxEntries: { rule_hits: RULES } });
    socket = join(fixture.folder, "run/inspect.sock");
    server = await new InspectServer({ path: socket, logger: silent, source: async () => ({ maps: port.maps, state: STATE, identities: IDENTITIES, names: new Names(facts(), port.maps), encryption: async () => undefined, routing: () => undefined }) }).listen();
  });
  after(() => {
    server.close();
    fixture.remove();
  });

  const map = (name: string): LibbpfMap => port.map(name) ?? assert.fail(`no map ${name}`);
  const cilium = async (...args: string[]): Promise<string> => (await run(process.execPath, [join(ROOT, "src/cli/main.ts"), ...args, "--socket", socket], { maxBuffer: 1 << 30 })).stdout;
  const read = async (table: string): Promise<readonly Printed[]> => (await readSocket(socket, table)).rows as readonly Row[] as readonly Printed[];
  const text = async (table: string, format: Format = "table"): Promise<string> => renderRows(await read(table) as readonly Row[], TABLES.get(table) ?? assert.fail(table), format, false);

  it("only root may ask", () => assert.equal(statSync(socket).mode & 0o777, 0o600));

  it("every map is listed, and every table can be read while it is empty", async () => {
    const rows = await read("maps");
    assert.deepEqual(rows.map((row) => row["map"]).sort(), [...port.maps.keys()].sort());
    for (const { name } of MAP_TABLES) assert.ok(Array.isArray(await read(name)), name);
  });

  it("what the agent writes is read back in words: rules with their policy, endpoints, addresses", async () => {
    const applier = new MapApplier({ maps: Object.fromEntries(MAPS.map((name) => [name, map(name)])) as unknown as Record<MapName, LibbpfMap>, nowMs: () => performance.now(), firstGeneration: 1, rememberOpen: () => undefined });
    const report = applier.apply({
      nodeState: STATE, identities: IDENTITIES, cidrs: new Map(), nodes: new Map(), synced: true,
      endpoints: new Map([["c", { id: 4, ifindex: 1, identity: 300, mtu: 1450, mac: "02:00:00:00:00:01", hostMac: "02:00:00:00:00:02", ipv4: "10.0.0.3", ipv6: "fd00::3" }]]),
      peers: new Map([["10.0.0.3", { identity: 300, node: undefined, flags: 0 }], ["10.0.1.2", { identity: 301, node: "192.0.2.9", flags: 1 }]]),
    });
    assert.ok(report.ok, JSON.stringify(report));
    const [entry] = await read("policy");
    assert.deepEqual([entry?.peer.identity, entry?.["port"], entry?.["verdict"], entry?.rule.policies], [301, "TCP 8080", "allow", ["production/allow-frontend"]]);
    assert.match(await text("policy"), /^RULE SET +OF IDENTITY .*\n\d+ +300 +ingress +policies +allow +TCP 8080 +1000 +CiliumNetworkPolicy production\/allow-frontend spec\.ingress\[0\]/);
    assert.match(await text("ipcache"), /10\.0\.1\.2 .*301 +192\.0\.2\.9 +tunnel +- +k8s:app=frontend/);
    assert.equal((await read("endpoint")).length, 2);
    assert.match(await text("policy-endpoints"), /production\/api-1 +300 +\d+ +closed +open +1 +CiliumNetworkPolicy production\/allow-frontend/);
    assert.match(await text("policy-selectors", "yaml"), /words: k8s:app=frontend, !k8s:old/);
    for (const name of ["policy", "policy-endpoints", "policy-selectors", "policy-stats"]) {
      const rows: unknown = JSON.parse(await text(name, "json"));
      assert.ok(Array.isArray(rows) && rows.length > 0, name);
      assert.deepEqual(load(await text(name, "yaml")), rows, name);
      assert.match(await text(name), /^[A-Z][A-Z -]+\n./, name);
    }
  });

  it("counters of all CPUs are summed and stay exact beyond 2^53", async () => {
    putPerCpu(map("rule_hits"), Uint8Array.of(ALLOW, 0, 0, 0), ruleHitCodec, { packets: 2n ** 53n + 1n, bytes: 7n, lastNs: process.hrtime.bigint() });
    putPerCpu(map("metrics"), encoded(metricKeyCodec, { reason: 0, direction: 1 }), metricCodec, { packets: 2n ** 63n, bytes: 1n });
    const [hit] = await read("policy-stats");
    assert.deepEqual([hit?.packets, hit?.["path"]], [String(2n ** 53n + 1n), "spec.ingress[0].toPorts[0]"]);
    assert.ok(Math.abs(Date.parse(hit?.lastHit ?? "") - Date.now()) < 120_000, hit?.lastHit);
    assert.deepEqual((await read("metrics")).map((row) => row.packets), [String(2n ** 63n)]);
  });

  it("the command: a table as JSON, the rules of one pod, and a pod that is not there", async () => {
    const [entry] = JSON.parse(await cilium("bpf", "policy", "list", "-o", "json")) as Printed[];
    assert.equal(entry?.peer.identity, 301);
    assert.match(await cilium("bpf"), /policy +hash +1 +\d+ +\d.*cilium bpf policy list/);
    assert.deepEqual(JSON.parse(await cilium("policy", "stats", "--in-namespace", "other", "-o", "json")), []);
    assert.match(await cilium("policy", "map", "--pod", "production/api-1"), /TCP 8080/);
    await assert.rejects(cilium("policy", "map", "--pod", "production/none"), /no agent has a pod of this name/);
  });

  it("what the programs fill is counted, of quotas who owes; counters of rules that are gone go", async () => {
    const maps = new ProgramMaps((name) => port.map(name));
    const now = process.hrtime.bigint();
    map("rule_hits").update(Uint8Array.of(0, 1, 0, 0), new Uint8Array(map("rule_hits").valueSize));
    map("quotas").update(Uint8Array.of(9, 0, 0, 0), encoded(quotaCodec, { paidNs: now + 600_000_000_000n }));
    await maps.look(() => undefined, now);
    assert.deepEqual(maps.counts, new Map([["fragments", 0], ["metrics", 1], ["underlays", 0], ["rule_hits", 2], ["quotas", 1], ["event_budgets", 0]]));
    await maps.look(() => STATE, now + 601_000_000_000n);
    assert.deepEqual([maps.counts.get("rule_hits"), maps.counts.get("quotas")], [1, 0]);
  });

  it("rule_hits, really filled up to 85 %, is warned of", async () => {
    const hits = map("rule_hits");
    const count = Math.ceil(hits.maxEntries * 0.85);
    const keys = Uint8Array.from({ length: count * 4 }, (_, i) => (Math.floor(i / 4) >> (8 * (i % 4))) & 0xff);
    assert.equal(hits.updateBatch({ keys, values: new Uint8Array(count * hits.valueSize), count }).error, undefined);
    const maps = new ProgramMaps((name) => port.map(name));
    const warnings = (): readonly { readonly part: string }[] => new MapPressure().warnings([...maps.counts].map(([name, entries]) => ({ map: name, entries, capacity: map(name).maxEntries })));
    await maps.look(() => undefined, 0n);
    assert.deepEqual(warnings().map(({ part }) => part), ["map rule_hits"]);
    await maps.look(() => STATE, 0n);
    assert.deepEqual(warnings(), [], "the counters of gone rules have made room");
  });

  it("100,000 connections come whole, and for a reader that waits the agent keeps next to nothing", async (t) => {
    fillFlows(map("flows"), FLOWS);
    const serving = once(server, "connection");
    const slow = connect(socket);
    t.after(() => slow.destroy());
    slow.write("ct\n");
    const [served] = (await serving) as [Socket];
    await once(slow, "readable");
    const rows = await read("ct");
    assert.equal(rows.length, FLOWS);
    assert.equal(new Set(rows.map((row) => `${row.source.port} ${row.destination.port}`)).size, FLOWS);
    assert.ok(served.writableLength < 2 << 20, `${served.writableLength} bytes wait`);
  });

  it("no connection is kept when its reader has gone", async () => {
    const open = (): Promise<number> => new Promise((told, refused) => server.getConnections((error, count) => (error === null ? told(count) : refused(error))));
    for (const deadline = Date.now() + 60_000; (await open()) > 0; await sleep(50)) assert.ok(Date.now() < deadline, `${await open()} connections`);
  });

  it("an unknown table is refused by name, and a table that breaks off is no whole table", async () => {
    const asked = connect(socket);
    asked.end("nonsense\n");
    const answer = (await asked.setEncoding("utf8").toArray()).join("");
    assert.match(answer, /^\{"error":"this agent has no table \\"nonsense\\""\}\n$/);
  });
}

const IDENTITIES: ReadonlyMap<number, readonly string[]> = new Map([[300, ["k8s:app=api"]], [301, ["k8s:app=frontend"]]]);

function facts(): ConstructorParameters<typeof Names>[0] {
  return {
    node: "node-1",
    clockOffsetNs: BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint(),
    nowNs: process.hrtime.bigint(),
    ruleName: (rule) => STATE.ruleNames.get(rule),
    labels: (identity) => IDENTITIES.get(identity),
    address: () => undefined,
    endpoint: (id) => (id === 4 ? { namespace: "production", pod: "api-1" } : undefined),
    device: () => undefined,
    portClass: () => undefined,
  };
}

function encoded<T>(codec: Codec<T>, value: T): Uint8Array {
  const bytes = new Uint8Array(codec.size);
  codec.encode(value, new DataView(bytes.buffer));
  return bytes;
}

/** On the last CPU. */
function putPerCpu<T>(map: LibbpfMap, key: Uint8Array, codec: Codec<T>, value: T): void {
  const bytes = new Uint8Array(map.valueSize);
  bytes.set(encoded(codec, value), map.valueSize - map.cpuStride);
  map.update(key, bytes);
}

function fillFlows(map: LibbpfMap, count: number): void {
  const keys = new Uint8Array(count * flowKeyCodec.size);
  const values = new Uint8Array(count * flowStateCodec.size);
  const [keyView, valueView] = [new DataView(keys.buffer), new DataView(values.buffer)];
  const [low, high] = [parseAddress("10.0.0.2"), parseAddress("10.0.0.3")];
  const state = { expires: 2 ** 31, flags: CT_FROM_LOW, sourceIdentity: 301, destinationIdentity: 300, sourceGeneration: 1, destinationGeneration: 1, egressRule: 0, ingressRule: ALLOW, quota: 0, moved: 0, packets: 1n, bytes: 60n };
  for (let i = 0; i < count; i++) {
    flowKeyCodec.encode({ low, high, lowPort: i % 60_000, highPort: Math.floor(i / 60_000), protocol: 6, zone: 0 }, keyView, i * flowKeyCodec.size);
    flowStateCodec.encode(state, valueView, i * flowStateCodec.size);
  }
  assert.equal(map.updateBatch({ keys, values, count }).error, undefined);
}
