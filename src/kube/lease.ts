/**
 * Leader election on a coordination.k8s.io Lease, so that one replica at a time writes. A holder that could not
 * renew in time stops before another may start: it counts from the moment that it asked, the others from the moment
 * that they saw the lease change, both on their own monotonic clock. Clocks of machines are never compared.
 */
import { sleep } from "../lib/backoff.ts";
import { asError } from "../lib/errors.ts";
import type { Component, Health } from "../lib/lifecycle.ts";
import type { Logger } from "../lib/log.ts";
import type { Lease } from "../api/core.ts";
import type { KubeClient } from "./client.ts";
import { isConflict, isNotFound } from "./errors.ts";
import { LEASES } from "./kinds.ts";

export interface Leadership {
  /** The lease's transition number: grows with each change of leader. Writes carry it. */
  readonly transitions: number;
  /** Fires when leadership is lost or the process ends: nothing may be written afterwards. */
  readonly signal: AbortSignal;
}

export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly logger: Logger;
  readonly namespace: string;
  readonly name: string;
  /** Unique among the replicas, such as the pod's name. */
  readonly identity: string;
  /** Leads until the signal fires. When it ends or throws, leadership is given back. */
  readonly lead: (leadership: Leadership) => Promise<void>;
  readonly leaseMs?: number;
  /** A holder gives up this long after its last renewal; smaller than leaseMs. */
  readonly renewDeadlineMs?: number;
  readonly retryMs?: number;
}

interface Observed {
  readonly resourceVersion: string;
  readonly sinceMs: number;
}

export class LeaderElection implements Component {
  readonly name = "leader-election";
  readonly #options: Required<LeaderElectionOptions>;
  readonly #abort = new AbortController();
  #observed: Observed | undefined;
  #leading: Leadership | undefined;
  #failure: Error | undefined;
  #done: Promise<void> | undefined;

  constructor(options: LeaderElectionOptions) {
    this.#options = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000, ...options };
  }

  get leading(): boolean {
    return this.#leading !== undefined;
  }

  start(signal: AbortSignal): Promise<void> {
    this.#done = this.#run(AbortSignal.any([signal, this.#abort.signal]));
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }

  health(): Health {
    if (this.#failure !== undefined) return { level: "degraded", message: "lease cannot be renewed", error: this.#failure };
    return { level: "ok", message: this.leading ? "leading" : "standing by" };
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { retryMs, logger } = this.#options;
    while (!signal.aborted) {
      try {
        const transitions = await this.#acquire(signal);
        this.#failure = undefined;
        if (transitions !== undefined) await this.#leadUntilLost(transitions, signal);
      } catch (thrown) {
        if (signal.aborted) break;
        this.#failure = asError(thrown);
        logger.warn("lease not acquired", { error: this.#failure });
      }
      await sleep(retryMs * (1 + Math.random() * 0.2), signal);
    }
  }

  /** The transition number when the lease is ours now. */
  async #acquire(signal: AbortSignal): Promise<number | undefined> {
    const { client, namespace, name, identity, leaseMs } = this.#options;
    const current = await client.get(LEASES, { namespace, name }, signal);
    if (current === undefined) return this.#write(undefined, 0, signal);
    const version = current.metadata.resourceVersion ?? "";
    if (this.#observed?.resourceVersion !== version) this.#observed = { resourceVersion: version, sinceMs: performance.now() };
    const holder = current.spec?.holderIdentity ?? "";
    const expired = performance.now() - this.#observed.sinceMs > Math.max(leaseMs, (current.spec?.leaseDurationSeconds ?? 0) * 1000);
    if (holder !== "" && holder !== identity && !expired) return undefined;
    return this.#write(current, (current.spec?.leaseTransitions ?? 0) + 1, signal);
  }

  /** Writes the lease as ours, on that version only; undefined when another was faster. */
  async #write(current: Lease | undefined, transitions: number, signal: AbortSignal): Promise<number | undefined> {
    const { client, namespace, name, identity, leaseMs } = this.#options;
    const now = new Date().toISOString().replace("Z", "000Z");
    const acquireTime = current?.spec?.holderIdentity === identity ? (current.spec.acquireTime ?? now) : now;
    const lease: Lease = {
      metadata: { ...(current?.metadata ?? { namespace, name }) },
      spec: { holderIdentity: identity, leaseDurationSeconds: Math.ceil(leaseMs / 1000), acquireTime, renewTime: now, leaseTransitions: transitions },
    };
    try {
      if (current === undefined) await client.create(LEASES, lease, signal);
      else await client.replace(LEASES, lease, signal);
      return transitions;
    } catch (thrown) {
      if (isConflict(thrown) || isNotFound(thrown)) return undefined;
      throw thrown;
    }
  }

  async #leadUntilLost(transitions: number, signal: AbortSignal): Promise<void> {
    const { lead, logger } = this.#options;
    const lost = new AbortController();
    const leadership: Leadership = { transitions, signal: AbortSignal.any([signal, lost.signal]) };
    this.#leading = leadership;
    logger.info("leading", { transitions });
    const ended = lead(leadership)
      .catch((thrown: unknown) => logger.error("leader failed", { error: asError(thrown) }))
      .finally(() => lost.abort());
    try {
      await this.#renew(transitions, leadership.signal);
    } finally {
      // Whatever happened: nothing writes in this term any more before the next one may begin.
      lost.abort();
      await ended;
      this.#leading = undefined;
    }
    logger.info("no longer leading", { transitions });
    await this.#release(transitions);
  }

  /** Renews until the signal fires, another holds the lease, or the deadline passed. */
  async #renew(transitions: number, signal: AbortSignal): Promise<void> {
    const { client, namespace, name, identity, retryMs, renewDeadlineMs, logger } = this.#options;
    let renewedMs = performance.now();
    while (!signal.aborted) {
      await sleep(retryMs, signal);
      if (signal.aborted) return;
      const askedMs = performance.now();
      const limit = AbortSignal.any([signal, AbortSignal.timeout(Math.max(1, Math.round(renewDeadlineMs - (askedMs - renewedMs))))]);
      try {
        const current = await client.get(LEASES, { namespace, name }, limit);
        if (current?.spec?.holderIdentity !== identity || current.spec.leaseTransitions !== transitions) return;
        if ((await this.#write(current, transitions, limit)) !== undefined) {
          renewedMs = askedMs;
          this.#failure = undefined;
        }
      } catch (thrown) {
        this.#failure = asError(thrown);
        logger.warn("lease not renewed", { error: this.#failure });
      }
      if (performance.now() - renewedMs >= renewDeadlineMs) return;
    }
  }

  /** Hands the lease back, so that another replica need not wait for it to expire. */
  async #release(transitions: number): Promise<void> {
    const { client, namespace, name, identity, logger } = this.#options;
    const limit = AbortSignal.timeout(2_000);
    try {
      // A renewal that was cut off may still arrive and take the version that we read: then once more.
      for (let held = true; held && !limit.aborted; ) {
        const current = await client.get(LEASES, { namespace, name }, limit);
        if (current?.spec?.holderIdentity !== identity || current.spec.leaseTransitions !== transitions) return;
        held = !(await this.#handBack(current, limit));
      }
    } catch (thrown) {
      logger.info("lease not handed back", { error: asError(thrown) });
    }
  }

  async #handBack(current: Lease, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#options.client.replace(LEASES, { ...current, spec: { ...current.spec, holderIdentity: "", leaseDurationSeconds: 1 } }, signal);
      return true;
    } catch (thrown) {
      if (isConflict(thrown)) return false;
      throw thrown;
    }
  }
}
