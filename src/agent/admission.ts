/** Admission of a pod to the network: its identity is known and its rule set is in the kernel of this node. */
import { CniError, CniErrorCode } from "../cni/index.ts";
import type { Admission, Admitted, PodRef } from "../cni/index.ts";
import { describeError } from "../lib/errors.ts";
import type { Change } from "./change.ts";
import type { PodIdentities } from "./identities.ts";
import type { PodRow } from "./objects.ts";
import { namesOf } from "./objects.ts";

export interface PodAdmissionOptions {
  /** `namespace/name` -> pod of this node. */
  readonly pods: ReadonlyMap<string, PodRow>;
  /** The pod as the API server has it now. */
  readonly fetchPod: (pod: PodRef, signal: AbortSignal) => Promise<PodRow | undefined>;
  readonly identities: PodIdentities;
  readonly isEnforced: (identity: number) => boolean;
  /** Notified when any of the above may have changed. */
  readonly change: Change;
  readonly limitMs: number;
}

export class PodAdmission implements Admission {
  readonly #options: PodAdmissionOptions;

  constructor(options: PodAdmissionOptions) {
    this.#options = options;
  }

  async admit(ref: PodRef, signal: AbortSignal): Promise<Admitted> {
    const { change, limitMs } = this.#options;
    const deadlineMs = performance.now() + limitMs;
    let fetched: PodRow | undefined;
    for (let first = true; ; first = false) {
      if (first && this.#cached(ref) === undefined) fetched = await this.#fetch(ref, signal);
      const outcome = this.#judge(this.#cached(ref) ?? fetched);
      if (typeof outcome !== "string") return outcome;
      const leftMs = deadlineMs - performance.now();
      if (signal.aborted) throw new CniError(CniErrorCode.tryAgainLater, "the pod is being deleted");
      if (leftMs <= 0) throw new CniError(CniErrorCode.tryAgainLater, `the pod stays without network: ${outcome}`, `waited ${limitMs / 1000} s`);
      await change.wait(leftMs, signal);
    }
  }

  #cached(ref: PodRef): PodRow | undefined {
    const row = this.#options.pods.get(`${ref.namespace}/${ref.name}`);
    // Another UID is another pod of the same name: the cache is behind.
    return row !== undefined && isSandboxOf(row, ref) ? row : undefined;
  }

  async #fetch(ref: PodRef, signal: AbortSignal): Promise<PodRow | undefined> {
    let row: PodRow | undefined;
    try {
      row = await this.#options.fetchPod(ref, signal);
    } catch (thrown) {
      throw new CniError(CniErrorCode.tryAgainLater, "the pod is not known to the agent and the API server does not answer", describeError(thrown), thrown);
    }
    if (row === undefined || !isSandboxOf(row, ref)) {
      throw new CniError(CniErrorCode.tryAgainLater, "the pod does not exist (any more)", `${ref.namespace}/${ref.name} ${ref.uid}`);
    }
    return row;
  }

  /** Admitted, or what is missing. */
  #judge(pod: PodRow | undefined): Admitted | string {
    if (pod === undefined) return "it is not known to the agent";
    if (pod.hostNetwork) throw new CniError(CniErrorCode.environment, "a pod of the host's network is not attached");
    const identity = this.#options.identities.of(pod);
    if (identity.id === undefined) return identity.missing;
    if (!this.#options.isEnforced(identity.id)) return `the policy of its identity ${identity.id} is not in force on this node yet`;
    return { pod: { namespace: pod.namespace, name: pod.name, uid: pod.uid }, identity: identity.id, ...namesOf(pod.namedPorts) };
  }
}

function isSandboxOf(row: PodRow, { uid }: PodRef): boolean {
  return uid === "" || row.sandboxUid === uid;
}
