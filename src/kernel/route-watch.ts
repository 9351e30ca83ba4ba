/** Tells when the kernel loses routes or rules of ours: `ip monitor` in a child process, which sees what anybody deletes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { sleep } from "../lib/backoff.ts";
import { POD_DEVICE_PREFIX, ROUTE_PROTOCOL, UNREACHABLE_PROTOCOL } from "./links.ts";

const AGAIN_MS = 1000;
/**
 * A route or rule of ours that is deleted; and any change of a device that is no pod's, since the kernel takes the routes of a
 * device that goes down without a word for each.
 */
const LOSS = new RegExp(`^Deleted .* proto (${ROUTE_PROTOCOL}|${UNREACHABLE_PROTOCOL})\\b|^(Deleted )?\\d+: (?!${POD_DEVICE_PREFIX}|tmp)`);

/** The route to one pod: with the pod it goes too, which is none of anybody's business. */
const POD_ROUTE = new RegExp(`^Deleted (\\S+) dev ${POD_DEVICE_PREFIX}`);

/**
 * Until the signal aborts. May call `onLoss` without a loss, never the reverse, except while the process is started again.
 * `pod` is the address whose route is gone; undefined: anything else, or it is not known what.
 */
export async function watchRoutes(onLoss: (pod: string | undefined) => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const child = spawn("ip", ["-oneline", "monitor", "route", "rule", "link"], { stdio: ["ignore", "pipe", "ignore"] });
    const end = (): void => void child.kill();
    signal.addEventListener("abort", end, { once: true });
    createInterface({ input: child.stdout }).on("line", (line) => void (LOSS.test(line) && onLoss(POD_ROUTE.exec(line)?.[1])));
    await once(child, "close").catch(() => undefined); // cannot be started: tried again
    signal.removeEventListener("abort", end);
    if (signal.aborted) return;
    await sleep(AGAIN_MS, signal);
    onLoss(undefined);
  }
}
