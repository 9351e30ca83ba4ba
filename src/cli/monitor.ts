/**
 * `cilium monitor`: drops and verdicts as they happen.
 *
 * In an agent's pod it reads the agent's socket. From outside it runs itself in every agent's pod through the
 * API server's exec and merges the lines, so nothing but kubectl's own rights is needed.
 */
import { setMaxListeners } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { PassThrough, type Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describeError } from "../lib/errors.ts";
import type { MonitorEvent } from "../hubble/event.ts";
import { renderEvent } from "../hubble/render.ts";
import { execInAgent, runningAgents } from "./agents.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import type { Pod } from "./kinds.ts";

export interface MonitorFilter {
  readonly types: ReadonlySet<string>;
  /** As in the events, in lower case; empty: all. */
  readonly verdicts?: ReadonlySet<string>;
  /** Events of which either side is in this namespace. */
  readonly namespace?: string | undefined;
  /** Events of which either side is this pod. */
  readonly pod?: string | undefined;
}

export interface MonitorOutput {
  readonly json: boolean;
  write(line: string): void;
  warn(line: string): void;
  /** An agent answers. */
  connected?(): void;
}

const LOOK_AGAIN_MS = 2000;

/** Events of the agent behind `socket` until it ends or `signal` fires. */
export async function monitorSocket(socket: string, filter: MonitorFilter, output: MonitorOutput, signal: AbortSignal): Promise<void> {
  const stream = connect(socket);
  signal.addEventListener("abort", () => stream.destroy(), { once: true });
  const failed = new Promise<never>((_, reject) => {
    stream.once("error", (cause) => reject(new CliError(`cannot read the agent's events at ${socket}`, cause)));
  });
  failed.catch(() => undefined);
  await Promise.race([printEvents(stream, filter, output, signal), failed]);
}

/**
 * Events of all agents, or of those on `nodes`, until `signal` fires. An agent that restarts, or comes with a new
 * node, is followed as soon as it runs; what happened in between is not seen, and a warning says that.
 */
export async function monitorCluster(
  cluster: Cluster,
  nodes: readonly string[],
  filter: MonitorFilter,
  output: MonitorOutput,
  signal: AbortSignal,
): Promise<void> {
  // One stream per node listens to it.
  setMaxListeners(0, signal);
  const followed = new Map<string, Promise<void>>();
  const seen = { connected: false, failure: undefined as unknown };
  const follow = async (agent: Pod): Promise<void> => {
    try {
      await monitorAgent(cluster, agent, filter, output, signal, () => {
        seen.connected = true;
        output.connected?.();
      });
    } catch (error) {
      seen.failure = error;
      if (seen.connected && !signal.aborted) output.warn(`${describeError(error)}; trying again`);
    } finally {
      followed.delete(agent.metadata.name);
    }
  };
  let agents = await runningAgents(cluster, nodes);
  while (!signal.aborted) {
    for (const agent of agents) {
      if (!followed.has(agent.metadata.name)) followed.set(agent.metadata.name, follow(agent));
    }
    await sleep(LOOK_AGAIN_MS, undefined, { signal }).catch(() => undefined);
    if (!seen.connected && followed.size === 0) throw seen.failure;
    // A server that does not answer now, or agents that are all restarting, end nothing.
    agents = await runningAgents(cluster, nodes).catch(() => []);
  }
  await Promise.all(followed.values());
}

async function monitorAgent(
  cluster: Cluster,
  agent: Pod,
  filter: MonitorFilter,
  output: MonitorOutput,
  signal: AbortSignal,
  connected: () => void,
): Promise<void> {
  const lines = new PassThrough();
  const printed = printEvents(lines, filter, output, signal);
  // The far side ends with its standard input, so nothing is left behind in the pod when we go.
  const command = ["cilium", "monitor", "--until-stdin-ends", "-o", "json", ...[...filter.types].flatMap((type) => ["--type", type]), ...[...(filter.verdicts ?? [])].flatMap((verdict) => ["--verdict", verdict.toUpperCase()])];
  await execInAgent({ cluster, agent, command, lines, signal, connected }).finally(() => lines.end());
  await printed;
}

async function printEvents(stream: Readable, filter: MonitorFilter, output: MonitorOutput, signal: AbortSignal): Promise<void> {
  for await (const line of createInterface({ input: stream, signal })) {
    const event = parseEvent(line);
    if (event === undefined) output.warn(`not an event: ${line.slice(0, 200)}`);
    else if (matches(event, filter)) output.write(output.json ? line : `${event.node}  ${renderEvent(event)}`);
  }
}

export function parseEvent(line: string): MonitorEvent | undefined {
  try {
    const value = JSON.parse(line) as MonitorEvent;
    return typeof value.type === "string" && typeof value.time === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Lost events always match: a filter must not hide that something may be missing. */
export function matches(event: MonitorEvent, filter: MonitorFilter): boolean {
  if (event.type === "lost") return true;
  if (filter.types.size > 0 && !filter.types.has(event.type)) return false;
  if (filter.verdicts !== undefined && filter.verdicts.size > 0 && !filter.verdicts.has(event.verdict)) return false;
  const sides = [event.source, event.destination, ...(event.endpoint === undefined ? [] : [event.endpoint])];
  if (filter.namespace !== undefined && !sides.some((side) => side.namespace === filter.namespace)) return false;
  return filter.pod === undefined || sides.some((side) => side.pod === filter.pod || `${side.namespace}/${side.pod}` === filter.pod);
}
