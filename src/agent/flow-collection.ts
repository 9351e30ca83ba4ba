/** When conntrack is collected: the fuller it is, the more often (targets/flows.ts says what goes). */
import { asError } from "../lib/errors.ts";
import { sleep } from "../lib/backoff.ts";
import type { Logger } from "../lib/log.ts";
import { PRESSURE, nextWalkMs } from "../targets/index.ts";
import type { FlowCollector, FlowsReport } from "../targets/index.ts";

const AGAIN_AFTER_ERROR_MS = 30_000;

export interface FlowCollectionOptions {
  readonly flows: FlowCollector;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** A walk is over: `flows.count` is new. */
  readonly onWalked: () => void;
}

/** Until the signal ends it. A walk that fails is tried again later. */
export async function collectFlows({ flows, logger, signal, onWalked }: FlowCollectionOptions): Promise<void> {
  let wasPressed = false;
  while (!signal.aborted) {
    const startedMs = performance.now();
    try {
      const report = await flows.collect(Number(process.hrtime.bigint() / 1_000_000_000n));
      const fill = (report.seen - report.deleted) / report.maxEntries;
      onWalked();
      wasPressed = tellPressure(report, wasPressed, logger);
      await sleep(nextWalkMs({ fill, tookMs: performance.now() - startedMs }), signal);
    } catch (thrown) {
      if (signal.aborted) return;
      logger.error("collecting flows", { error: asError(thrown) });
      await sleep(AGAIN_AFTER_ERROR_MS, signal);
    }
  }
}

/** Once when it begins and once when it ends. */
function tellPressure({ seen, deleted, early, maxEntries, error }: FlowsReport, wasPressed: boolean, logger: Logger): boolean {
  if (error !== undefined) logger.error("some flows were not deleted", { error });
  const isPressed = seen >= PRESSURE * maxEntries;
  if (isPressed && !wasPressed) logger.warn("conntrack is nearly full: flows that are not established go early", { entries: seen, capacity: maxEntries, expired: deleted - early, early });
  if (!isPressed && wasPressed) logger.info("conntrack has room again", { entries: seen - deleted, capacity: maxEntries });
  return isPressed;
}
