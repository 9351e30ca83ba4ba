/**
 * Keeps a cluster-wide object named default, which stands for some of the chart's values: there while they want it, with
 * the spec that they mean, and a status that says what the nodes' agents say of themselves. An object that somebody else made is
 * never changed or deleted; its status says whether it is in force. Of those with other names, which users make, nothing but
 * the status is written.
 */
import { DEFAULT_OBJECT } from "../compile/index.ts";
import type { KubeClient } from "../kube/client.ts";
import { isConflict, isNotFound } from "../kube/errors.ts";
import type { EventRecorder } from "../kube/events.ts";
import type { KubeObject, ResourceType } from "../kube/resource.ts";
import type { Source } from "../kube/source.ts";
import { canonicalJson } from "../lib/hash.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import type { CiliumNodeReport, NodeRow } from "./rows.ts";

const OURS = { "app.kubernetes.io/managed-by": "cilium-operator" };
const NAMED = 10;

interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
}

export type Verdict = Pick<Condition, "status" | "reason" | "message">;

interface Told extends KubeObject {
  readonly spec: object;
  readonly status?: { readonly conditions: readonly Condition[] };
}

export interface NodeSources {
  readonly nodes: Source<NodeRow>;
  readonly ciliumNodes: Source<CiliumNodeReport>;
  /** Why a node is not heard from: what it said before need not hold. Absent, all are. */
  readonly unheard?: (node: string) => string | undefined;
}

/** One node that is not as it should be. */
export interface FailingNode {
  readonly name: string;
  readonly message: string;
}

export interface DefaultObject<T extends Told> {
  readonly type: ResourceType<T>;
  readonly objects: Source<T>;
  /** undefined: the chart's values want no object. */
  readonly spec: T["spec"] | undefined;
  /** Pure but for what the sources hold. `now`: RFC 3339, in seconds. */
  status(object: T, now: string): NonNullable<T["status"]>;
}

export interface KeeperOptions<T extends Told> {
  readonly client: KubeClient;
  readonly events: EventRecorder;
  readonly kept: DefaultObject<T>;
  readonly now: () => Date;
}

export class DefaultObjectKeeper<T extends Told> implements Reconciler {
  readonly #options: KeeperOptions<T>;

  constructor(options: KeeperOptions<T>) {
    this.#options = options;
  }

  /** @param key name of the object */
  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, kept: { type, objects, spec } } = this.#options;
    const object = objects.objects.get(key);
    if (key !== DEFAULT_OBJECT) {
      if (object !== undefined) await this.#tell(object, signal);
    } else if (object === undefined) {
      if (spec !== undefined) await this.#create(spec, signal);
    } else if (spec === undefined && isOurs(object)) await client.delete(type, { name: DEFAULT_OBJECT }, { signal });
    else if (spec !== undefined && isOurs(object) && !isEqual(object.spec, spec)) await this.#change(object, spec, signal);
    else await this.#tell(object, signal);
    return {};
  }

  /** Where the answer is not what was sent the definition is of another version, and drops words: no event follows, and it would be told never. */
  async #change(object: T, spec: T["spec"], signal: AbortSignal): Promise<void> {
    const { client, kept: { type } } = this.#options;
    const now = await client.patch(type, object.metadata, { spec: mergeOf(object.spec, spec) }, signal);
    if (!isEqual(now.spec, spec)) await this.#tell(now, signal);
  }

  async #create(spec: T["spec"], signal: AbortSignal): Promise<void> {
    const { client, kept: { type } } = this.#options;
    const object: Told = { metadata: { name: DEFAULT_OBJECT, labels: OURS }, spec };
    await client.create<KubeObject>(type, object, signal).catch((thrown: unknown) => {
      if (!isConflict(thrown)) throw thrown; // there already: the watch is behind
    });
  }

  async #tell(object: T, signal: AbortSignal): Promise<void> {
    const { client, events, kept, now } = this.#options;
    const status = kept.status(object, now().toISOString().replace(/\.\d+Z$/, "Z"));
    if (canonicalJson(object.status ?? null) === canonicalJson(status)) return;
    try {
      await client.patchStatus(kept.type, object.metadata, status, signal, object.metadata.uid);
    } catch (thrown) {
      if (isNotFound(thrown)) return;
      throw thrown;
    }
    const [was, is] = [object.status?.conditions[0], status.conditions[0]];
    if (is !== undefined && (was?.status !== is.status || was.reason !== is.reason)) await events.record(kept.type, object, is.status === "True" ? "Normal" : "Warning", is.reason, is.message);
  }
}

/** The merge patch (RFC 7396) that makes `spec` of what is there: what somebody else wrote into it goes, however deep. */
function mergeOf(there: object, spec: object): object {
  const now = new Map<string, unknown>(Object.entries(there));
  const gone = [...now.keys()].filter((word) => !Object.hasOwn(spec, word)).map((word) => [word, null] as const);
  const wanted = Object.entries(spec).map(([word, value]: [string, unknown]) => {
    const was = now.get(word);
    return [word, isWords(was) && isWords(value) ? mergeOf(was, value) : value] as const;
  });
  return Object.fromEntries([...gone, ...wanted]);
}

function isEqual(one: object, other: object): boolean {
  return canonicalJson(one) === canonicalJson(other);
}

function isWords(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isOurs(object: KubeObject): boolean {
  return Object.entries(OURS).every(([key, value]) => object.metadata.labels?.[key] === value);
}

/** The condition Ready. */
export function readyCondition(object: Told, found: Verdict, now: string): Condition {
  return conditionOf(object, "Ready", found, now);
}

/**
 * The condition Conflict of an object that selects nodes: whether another one speaks for some of them.
 * @param speakers of each node that `object` selects, the name of the object that speaks for it
 */
export function conflictCondition(object: Told, speakers: ReadonlyMap<string, string>, now: string): Condition {
  const others = [...speakers].filter(([, by]) => by !== object.metadata.name).sort(([a], [b]) => (a < b ? -1 : 1)).map(([node, by]) => ({ name: `${node} (${by})` }));
  return conditionOf(object, "Conflict", others.length === 0
    ? { status: "False", reason: "None", message: "it speaks for every node that it selects" }
    : { status: "True", reason: "Overridden", message: `another object, of greater priority or older, speaks for ${others.length} of ${speakers.size} nodes that it selects: ${namesOf(others)}` }, now);
}

/** The time of the last transition stays while the status does. */
function conditionOf(object: Told, type: string, found: Verdict, now: string): Condition {
  const before = object.status?.conditions.find((condition) => condition.type === type);
  return { type, ...found, observedGeneration: object.metadata.generation ?? 0, lastTransitionTime: before?.status === found.status ? before.lastTransitionTime : now };
}

/** Every node of the cluster, and what its agent says of the matter, or why it says nothing now; undefined: it never said anything. */
export function saidByNodes<R extends { readonly message?: string }>({ nodes, ciliumNodes, unheard }: NodeSources, matter: (report: CiliumNodeReport) => R | undefined): ReadonlyMap<string, R | undefined> {
  return new Map([...nodes.objects.keys()].map((name) => {
    const report = ciliumNodes.objects.get(name);
    const said = report && matter(report);
    const problem = unheard?.(name);
    return [name, said === undefined || problem === undefined ? said : { ...said, message: `not heard from: ${problem}` }] as const;
  }));
}

/** Those of which `shortfall` has something to say, by name. */
export function failingNodes<R>(nodes: ReadonlyMap<string, R>, shortfall: (row: R) => string | undefined): FailingNode[] {
  return [...nodes].flatMap(([name, row]) => {
    const message = shortfall(row);
    return message === undefined ? [] : [{ name, message }];
  }).sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function firstOf(failing: readonly FailingNode[]): readonly FailingNode[] {
  return failing.slice(0, NAMED);
}

/** Names for a sentence: the first ten, and how many more. */
export function namesOf(failing: readonly Pick<FailingNode, "name">[]): string {
  return `${failing.slice(0, NAMED).map(({ name }) => name).join(", ")}${failing.length > NAMED ? `, and ${failing.length - NAMED} more` : ""}`;
}
