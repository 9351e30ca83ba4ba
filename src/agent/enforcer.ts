/**
 * Keeps the kernel equal to what the node knows: gathers changes for a moment, applies, tries again what failed.
 * The applier holds the order of writes; this class only decides when.
 */
import type { NodeState } from "../compile/state.ts";
import { Backoff } from "../lib/backoff.ts";
import { describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Applier, ApplyReport } from "../targets/index.ts";
import type { LocalState } from "./local-state.ts";

/** A NodeState and where it comes from. */
export interface Assignment {
  readonly state: NodeState;
  readonly revision: number;
  readonly hash: string;
}

export interface EnforcerOptions {
  readonly applier: Applier;
  readonly state: LocalState;
  readonly logger: Logger;
  /** What the state is made of is there, if only from the disk: else an apply would take away what it does not see. */
  readonly isUsable: () => boolean;
  /** Every source has told all that it has. */
  readonly isSynced: () => boolean;
  readonly onReport: (report: ApplyReport, assignment: Assignment, seconds: number) => void;
}

/** Long enough to see a burst of one change as one, short against the 10 ms from receipt to judged. */
const GATHER_MS = 3;
/**
 * A pod of another node is followed alone (a tenth of a millisecond at 50,000 pods), but a rollout moves thousands of them, and
 * what fits in no map is looked at again each time: such changes gather that many times as long as the last one took, so that
 * they never cost more than a fifth of a processor. What waits is closed, and an address rests longer than this before it is
 * given again.
 */
const PEERS_REST = 4;
const PEERS_MOST_MS = 2000;
/** The applier leaves replaced entries for a moment to programs that still read them. */
const SWEEP_MS = 1_500;

export class Enforcer {
  readonly #options: EnforcerOptions;
  readonly #backoff = new Backoff({ firstMs: 200, maxMs: 30_000 });
  #assignment: Assignment | undefined;
  #report: ApplyReport | undefined;
  #timer: NodeJS.Timeout | undefined;
  #sweepTimer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #isPeersTurn = false;
  #peersTookMs = 0;

  constructor(options: EnforcerOptions) {
    this.#options = options;
  }

  get assignment(): Assignment | undefined {
    return this.#assignment;
  }

  /** Of the last apply; undefined before the first. */
  get report(): ApplyReport | undefined {
    return this.#report;
  }

  assign(assignment: Assignment): void {
    this.#assignment = assignment;
    this.touch();
  }

  /** The kernel holds the current rule set of this identity. */
  isEnforced(identity: number): boolean {
    return this.#report?.enforced.has(identity) === true && this.#assignment?.state.subjects.has(identity) === true;
  }

  /** Something that the state is made of has changed. */
  touch(): void {
    this.#schedule(GATHER_MS);
  }

  /** The pod of another node came, changed or went. */
  touchPeers(): void {
    this.#isPeersTurn = true;
    this.#schedule(Math.min(PEERS_MOST_MS, Math.max(GATHER_MS, PEERS_REST * this.#peersTookMs)));
  }

  /** Applies at once, for a caller that waits for its own change. undefined while too little is known to apply. */
  applyNow(): ApplyReport | undefined {
    this.#cancel();
    const assignment = this.#assignment;
    const { applier, state, isUsable, isSynced, onReport, logger } = this.#options;
    if (assignment === undefined || !isUsable()) return undefined;
    const startedMs = performance.now();
    const report = applier.apply(state.desired(assignment.state, isSynced()));
    this.#report = report;
    const tookMs = performance.now() - startedMs;
    if (this.#isPeersTurn) this.#peersTookMs = tookMs;
    this.#isPeersTurn = false;
    this.#sweepTimer ??= setTimeout(() => this.sweep(), SWEEP_MS).unref();
    if (report.ok) {
      this.#backoff.reset();
    } else {
      const retryMs = this.#backoff.next();
      for (const part of report.parts) {
        for (const failure of part.failures.slice(0, 5)) logger.error("not applied", { part: part.part, subject: failure.subject, error: describeError(failure.error), retryMs });
      }
      this.#schedule(retryMs);
    }
    if (report.againMs !== undefined) this.#schedule(report.againMs);
    onReport(report, assignment, tookMs / 1000);
    return report;
  }

  /** Deletes what nothing refers to any more. */
  sweep(): void {
    clearTimeout(this.#sweepTimer);
    this.#sweepTimer = undefined;
    const removed = this.#options.applier.sweep();
    if (removed > 0) this.#options.logger.debug("policy entries swept", { removed });
  }

  #schedule(delayMs: number): void {
    const dueMs = performance.now() + delayMs;
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    this.#cancel();
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => this.#run(), delayMs);
  }

  #run(): void {
    this.#timer = undefined;
    try {
      this.applyNow();
    } catch (thrown) {
      // A defect, not a refusal of the kernel: what is in the kernel stays, and it is tried again.
      this.#options.logger.error("apply failed", { error: thrown });
      this.#schedule(this.#backoff.next());
    }
  }

  #cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
