/**
 * What an agent's view of the cluster costs, without a cluster: its own tables, state and applier in this process, fed
 * with what the API server would stream. The kernel's maps count and keep nothing, so that what remains is the agent's.
 *
 *   node --expose-gc test/bench/agent-memory.ts SETTLE_MS [PODS ...]   one JSON line for each number of pods, ascending
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { Enforcer } from "../../src/agent/enforcer.ts";
import { LocalState } from "../../src/agent/local-state.ts";
import { reachingBy } from "../../src/agent/reach.ts";
import { Tables } from "../../src/agent/tables.ts";
import type { NodeState } from "../../src/compile/state.ts";
import * as types from "../../src/kernel/gen/types.ts";
import type { BatchMap } from "../../src/kernel/port.ts";
import type { ApiRequest, Transport } from "../../src/kube/transport.ts";
import { createLogger } from "../../src/lib/log.ts";
import { MapApplier, type MapName } from "../../src/targets/index.ts";

const NODES = 200;
const APPS = 1000;
const BATCH = 200;
const CHANGES = 200;
const CREATED = "2026-01-01T00:00:00Z";
const NOTHING: NodeState = {
  subjects: new Map(), ruleSets: new Map(), selectors: new Map(), ruleNames: new Map(), policies: new Map(),
  routing: { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] },
};
const LOCAL = { name: "node-here", uid: "n", internalIps: ["192.168.0.1"], routerIps: ["10.255.0.1"], podCidrs: ["10.255.0.0/24"] };

/** A watch that is fed by hand. */
class Stream {
  #queue: Uint8Array[] = [];
  #wake = Promise.withResolvers<void>();
  #version = 1;

  send(type: string, object: object): void {
    const metadata = { resourceVersion: String(++this.#version), ...(object as { metadata?: object }).metadata };
    this.#queue.push(Buffer.from(`${JSON.stringify({ type, object: { ...object, metadata } })}\n`));
    this.#wake.resolve();
  }

  listed(): void {
    this.send("BOOKMARK", { metadata: { annotations: { "k8s.io/initial-events-end": "true" } } });
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunks = this.#queue;
      this.#queue = [];
      yield* chunks;
      if (this.#queue.length > 0) continue;
      await this.#wake.promise;
      this.#wake = Promise.withResolvers<void>();
    }
  }
}

/** Writes succeed and are counted. */
class CountingMap implements BatchMap {
  readonly name: string;
  readonly keySize = 16;
  readonly valueSize = types.peerCodec.size;
  readonly maxEntries = 1 << 24;
  written = 0;

  constructor(name: string) {
    this.name = name;
  }
  lookup = (): undefined => undefined;
  update = (): void => void this.written++;
  delete = (): boolean => true;
  entries = (): Iterable<never> => [];
  updateBatch = ({ count }: { count: number }): { done: number; error: undefined } => ((this.written += count), { done: count, error: undefined });
  deleteBatch = (_: Uint8Array, count: number): { done: number; error: undefined } => ({ done: count, error: undefined });
  batches = (): Iterable<never> => [];
}

const namespaceOf = (pod: number): string => `scale-${pod % 50}`;
const managedFields = [{ manager: "cilium-agent", operation: "Apply", apiVersion: "cilium.io/v2", time: CREATED, fieldsType: "FieldsV1", fieldsV1: { "f:metadata": { "f:ownerReferences": {} }, "f:status": { "f:id": {}, "f:identity": {}, "f:networking": {}, "f:state": {} } } }];

function endpoint(pod: number, identity = 256 + (pod % APPS)): object {
  const [node, host] = [pod % NODES, Math.floor(pod / NODES) + 2];
  return {
    apiVersion: "cilium.io/v2", kind: "CiliumEndpoint",
    metadata: { name: `application-${pod.toString(36)}-${pod}`, namespace: namespaceOf(pod), uid: `00000000-0000-4000-8000-${String(pod).padStart(12, "0")}`, creationTimestamp: CREATED, managedFields, ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: `pod-${pod}`, uid: `11111111-0000-4000-8000-${String(pod).padStart(12, "0")}` }] },
    status: {
      id: host % 65_536, state: "ready", identity: { id: identity, labels: [`k8s:app=app-${pod % APPS}`, `k8s:io.kubernetes.pod.namespace=${namespaceOf(pod)}`] },
      networking: { addressing: [{ ipv4: `10.${node}.${host >> 8}.${host & 255}`, ipv6: `fd00:10:${node.toString(16)}::${host.toString(16)}` }], node: `198.18.0.${node}`, nodeName: `node-${node}` },
    },
  };
}

export interface MemoryFigures {
  readonly pods: number;
  /** Held after a collection: heap and buffers. */
  readonly heldKiB: number;
  /** Before that collection, as the machine sees it. */
  readonly anonymousKiB: number;
  /** Of one pod's change, of many one after the other: processor time, and entries written. */
  readonly changeMs: number;
  readonly writes: number;
}

async function main(settleMs: number, steps: readonly number[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "cilium-memory-"));
  const streams = new Map<string, Stream>();
  const streamOf = (kind: string): Stream => {
    const stream = streams.get(kind) ?? new Stream();
    streams.set(kind, stream);
    return stream;
  };
  const transport: Transport = {
    json: () => Promise.reject(new Error("nothing but watches")),
    stream: ({ path }: ApiRequest) => Promise.resolve(streamOf(path.slice(path.lastIndexOf("/") + 1)).read()),
  };
  const logger = createLogger({ component: "bench", level: "error" });
  const tables = new Tables({ transport, logger, nodeName: LOCAL.name, encrypts: false, folder });
  const maps = Object.fromEntries((["interfaces", "endpoints", "ipcache", "cidrs", "nodes", "subjects", "policy", "blocks", "host"] as const).map((name) => [name, new CountingMap(name)])) as unknown as Record<MapName, CountingMap>;
  const objects = { identities: tables.identities.objects, nodes: tables.nodes.objects, apiServers: tables.apiServers.objects, endpoints: tables.endpoints.objects, attachments: new Map(), pods: new Map(), areApiServersKnown: () => true };
  const state = new LocalState(LOCAL, objects, reachingBy("tunnel"));
  const enforcer = new Enforcer({ applier: new MapApplier({ maps, nowMs: () => performance.now(), firstGeneration: 1, rememberOpen: () => undefined }), state, logger, isUsable: () => tables.isUsable, isSynced: () => true, onReport: () => undefined });
  const abort = new AbortController();
  await tables.start(abort.signal);
  const moved = (table: "identities" | "nodes"): void => (state.moved(table), enforcer.touch());
  for (const table of ["identities", "nodes"] as const) tables[table].subscribe({ changed: () => moved(table), synced: () => moved(table) });
  tables.endpoints.subscribe({ changed: (_, row, previous) => void (state.endpointMoved(row, previous) && enforcer.touchPeers()), synced: () => enforcer.touch() });
  for (let node = 0; node < NODES; node++) streamOf("ciliumnodes").send("ADDED", { metadata: { name: `node-${node}`, uid: `n${node}` }, spec: { addresses: [{ type: "InternalIP", ip: `198.18.0.${node}` }], ipam: { podCIDRs: [`10.${node}.0.0/16`, `fd00:10:${node.toString(16)}::/64`] } } });
  for (let app = 0; app < APPS; app++) streamOf("ciliumidentities").send("ADDED", { metadata: { name: String(256 + app), uid: `i${app}` }, "security-labels": { "k8s:app": `app-${app}` } });
  for (const kind of ["nodes", "pods", "namespaces", "ciliumnodes", "ciliumidentities", "ciliumendpoints", "endpointslices"]) streamOf(kind).listed();
  enforcer.assign({ state: NOTHING, revision: 1, hash: "" });
  await until(() => maps.ipcache.written >= NODES);
  let pods = 0;
  for (const step of steps) {
    for (; pods < step; pods++) {
      streamOf("ciliumendpoints").send("ADDED", endpoint(pods));
      if (pods % BATCH === 0) await until(() => tables.endpoints.objects.size > pods - BATCH);
    }
    await until(() => maps.ipcache.written >= NODES + 2 * step);
    const before = process.cpuUsage();
    const loaded = maps.ipcache.written;
    for (let change = 0; change < Math.min(CHANGES, step); change++) {
      const written = maps.ipcache.written;
      streamOf("ciliumendpoints").send("MODIFIED", endpoint(change, 256 + ((change + 1 + (step & 511)) % APPS)));
      await until(() => maps.ipcache.written > written);
    }
    const { user, system } = process.cpuUsage(before);
    const writes = (maps.ipcache.written - loaded) / CHANGES;
    const figures: MemoryFigures = { pods, ...(await held(settleMs)), changeMs: (user + system) / 1000 / CHANGES, writes };
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    // What was written above counts once more.
    maps.ipcache.written = NODES + 2 * step;
  }
  abort.abort();
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  process.exit(0); // the watches are never told to end
}

async function held(settleMs: number): Promise<Pick<MemoryFigures, "heldKiB" | "anonymousKiB">> {
  const collect = globalThis.gc;
  if (collect === undefined) throw new Error("node needs --expose-gc");
  // What is being written to disk, and what is gathered, comes to an end.
  await sleep(settleMs);
  const anonymousKiB = Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
  for (let i = 0; i < 3; i++) collect();
  const { heapUsed, external } = process.memoryUsage();
  return { heldKiB: Math.round((heapUsed + external) / 1024), anonymousKiB };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(1);
}

const [settleMs = 0, ...steps] = process.argv.slice(2).map(Number);
await main(settleMs, steps);
