/** Objects of a small cluster, and an agent that only reads and acknowledges, for tests of the control plane. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import type { Node, Pod } from "../../src/api/core.ts";
import type { CiliumNetworkPolicy } from "../../src/api/index.ts";
import { FEED_FORMATS, NodeStateReader, statusName } from "../../src/feed/index.ts";
import type { DeliveredState } from "../../src/feed/index.ts";
import { KubeAccess } from "../../src/kube/access.ts";
import { CILIUM_ENDPOINTS, CILIUM_NETWORK_POLICIES, CILIUM_NODE_STATES, HttpTransport, KubeClient, NAMESPACES, NODES, PODS, isConflict } from "../../src/kube/index.ts";
import { sleep } from "../../src/lib/backoff.ts";
import { createLogger } from "../../src/lib/log.ts";
import type { Logger } from "../../src/lib/log.ts";

export const silent: Logger = createLogger({ component: "test", level: "error", stream: new Writable({ write: (_chunk, _encoding, done) => done() }) });

export function clientOf(kubeconfig: string): KubeClient {
  return new KubeClient(new HttpTransport(new KubeAccess({ kubeconfig }), silent));
}

/** Tries until `probe` gives something, or fails with what it gave last. */
export async function eventually<T>(what: string, probe: () => Promise<T | undefined | false> | T | undefined | false, timeoutMs = 90_000): Promise<T> {
  const end = performance.now() + timeoutMs;
  let error: unknown;
  while (performance.now() < end) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (thrown) {
      error = thrown;
    }
    await sleep(20);
  }
  throw new Error(`${what}: not in ${timeoutMs} ms`, { cause: error });
}

export async function createNode(client: KubeClient, name: string): Promise<string> {
  const node = await client.create(NODES, { metadata: { name } } as Node);
  return node.metadata.uid ?? "";
}

export async function createNamespace(client: KubeClient, name: string, labels: Record<string, string> = {}): Promise<void> {
  await client.create(NAMESPACES, { metadata: { name, labels } });
}

export async function createPod(client: KubeClient, namespace: string, name: string, node: string, labels: Record<string, string>): Promise<void> {
  const spec = { nodeName: node, containers: [{ name: "main", image: "none" }], terminationGracePeriodSeconds: 0 };
  await client.create(PODS, { metadata: { namespace, name, labels }, spec } as Pod);
}

/** What the agent writes for a pod that it has set up. */
export async function createEndpoint(client: KubeClient, namespace: string, name: string, node: string, identity: number): Promise<void> {
  await client.create(CILIUM_ENDPOINTS, {
    metadata: { namespace, name },
    status: { id: 1, identity: { id: identity }, state: "ready", networking: { addressing: [], node: "192.0.2.1", nodeName: node } },
  });
}

/** The agent's pod, Ready or not. */
export async function setAgentPod(client: KubeClient, node: string, ready: boolean): Promise<void> {
  const ref = { namespace: "kube-system", name: `cilium-${node}` };
  if ((await client.get(PODS, ref)) === undefined) await createPod(client, ref.namespace, ref.name, node, { "k8s-app": "cilium" });
  const condition = { type: "Ready", status: ready ? "True" : "False", lastTransitionTime: "2026-01-02T03:04:05Z" };
  await client.patchStatus(PODS, ref, { phase: "Running", conditions: [condition] });
}

export function policy(namespace: string, name: string, spec: unknown): CiliumNetworkPolicy {
  return { metadata: { namespace, name }, spec: spec as NonNullable<CiliumNetworkPolicy["spec"]> };
}

export async function getPolicy(client: KubeClient, namespace: string, name: string): Promise<CiliumNetworkPolicy> {
  const object = await client.get(CILIUM_NETWORK_POLICIES, { namespace, name });
  if (object === undefined) throw new Error(`no policy ${namespace}/${name}`);
  return object;
}

export function condition(object: CiliumNetworkPolicy, type: string): { status: string; reason: string; message: string; observedGeneration: number } {
  const found = object.status?.conditions?.find((candidate) => candidate.type === type);
  return { status: found?.status ?? "", reason: found?.reason ?? "", message: found?.message ?? "", observedGeneration: found?.observedGeneration ?? 0 };
}

/** Reads the node's state and says that it is in force. `answer` may be changed while it runs. */
export class FakeAgent {
  readonly states: DeliveredState[] = [];
  readonly directory = mkdtempSync(join(tmpdir(), "cilium-agent-"));
  failure: { part: string; message: string } | undefined;
  failedPolicies: string[] | undefined;
  formats: readonly number[] = FEED_FORMATS;
  silent = false;
  readonly #client: KubeClient;
  readonly #node: string;
  readonly #abort = new AbortController();
  readonly #reader: NodeStateReader;

  constructor(client: KubeClient, node: string, nodeUid: string) {
    this.#client = client;
    this.#node = node;
    this.#reader = new NodeStateReader({
      transport: client.transport,
      logger: silent,
      node,
      nodeUid: () => nodeUid,
      path: join(this.directory, "node-state.json"),
      onState: (delivered) => {
        this.states.push(delivered);
        if (!this.silent) this.#acknowledgeSoon();
      },
      onFailure: () => undefined,
      onSynced: () => undefined,
    });
  }

  async start(): Promise<void> {
    await this.#reader.start(this.#abort.signal);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#reader.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  get latest(): DeliveredState | undefined {
    return this.states.at(-1);
  }

  /** As the agent: until it succeeds or ends. */
  #acknowledgeSoon(): void {
    const attempt = async (): Promise<void> => {
      while (!this.#abort.signal.aborted) {
        try {
          return await this.acknowledge();
        } catch {
          await sleep(100, this.#abort.signal);
        }
      }
    };
    void attempt();
  }

  async acknowledge(): Promise<void> {
    const latest = this.latest;
    if (latest === undefined) return;
    const name = statusName(this.#node);
    try {
      await this.#client.create(CILIUM_NODE_STATES, { metadata: { name }, node: this.#node });
    } catch (thrown) {
      if (!isConflict(thrown)) throw thrown;
    }
    await this.#client.patchStatus(CILIUM_NODE_STATES, { name }, {
      appliedRevision: latest.revision,
      appliedHash: latest.hash,
      formats: this.formats,
      failures: this.failure === undefined ? null : [this.failure],
      failedPolicies: this.failedPolicies ?? null,
    });
  }
}
