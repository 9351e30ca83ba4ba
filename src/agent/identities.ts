/** Which identity a pod has: its security-relevant labels, looked up among the CiliumIdentity objects. */
import { IdentityTable, formatLabels, identityLabels, labelsKey } from "../model/index.ts";
import type { Labels } from "../model/index.ts";
import type { IdentityRow, PodRow } from "./objects.ts";

/** What is known of one pod's identity. */
export type PodIdentity =
  | { readonly id: number; readonly labels: readonly string[] }
  | { readonly id: undefined; readonly missing: string };

export class PodIdentities {
  readonly #namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>;
  readonly #named: (namespace: string) => readonly string[];
  readonly #table = new IdentityTable();

  /**
   * @param namespaces name -> labels; a live view.
   * @param named the churning labels that are part of identities in a namespace, as the node state says.
   */
  constructor(namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>, named: (namespace: string) => readonly string[] = () => []) {
    this.#namespaces = namespaces;
    this.#named = named;
  }

  changed(row: IdentityRow | undefined, previous: IdentityRow | undefined): void {
    if (row !== undefined) this.#table.set(row.id, row.labels);
    else if (previous !== undefined) this.#table.remove(previous.id);
  }

  labels(id: number): Labels | undefined {
    return this.#table.labels.get(id);
  }

  of(pod: PodRow): PodIdentity {
    const namespaceLabels = this.#namespaces.get(pod.namespace);
    if (namespaceLabels === undefined) return { id: undefined, missing: `namespace ${pod.namespace} is not known to the agent yet` };
    const labels = identityLabels(
      { metadata: { name: pod.name, labels: pod.labels }, spec: { serviceAccountName: pod.serviceAccount } },
      { metadata: { name: pod.namespace, labels: namespaceLabels } },
      this.#named(pod.namespace),
    );
    const id = this.#table.numberOf(labelsKey(labels));
    return id === undefined ? { id, missing: "the operator has not given its labels an identity yet" } : { id, labels: formatLabels(labels) };
  }
}
