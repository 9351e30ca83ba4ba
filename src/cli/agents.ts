/** The agents of a cluster, asked from outside: the command runs itself in their pods through the API server's exec. */
import { PassThrough, Writable } from "node:stream";
import { Exec, type V1Status } from "@kubernetes/client-node";
import { asError } from "../lib/errors.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import { PODS, type Pod } from "./kinds.ts";

const CONTAINER = "cilium-agent";

/** Of all nodes, or of those that are named; one of these without an agent is an error. */
export async function runningAgents(cluster: Cluster, nodes: readonly string[]): Promise<readonly Pod[]> {
  const { items } = await cluster.client.list(PODS, { namespace: cluster.namespace, labelSelector: "k8s-app=cilium" });
  const running = items.filter((pod) => pod.status?.phase === "Running" && pod.metadata.deletionTimestamp === undefined);
  for (const node of nodes) {
    if (!running.some((pod) => pod.spec?.nodeName === node)) throw new CliError(`--node ${node}: no agent runs there`);
  }
  const wanted = nodes.length === 0 ? running : running.filter((pod) => nodes.includes(pod.spec?.nodeName ?? ""));
  if (wanted.length === 0) throw new CliError(`no agent runs in namespace ${cluster.namespace}: is the chart installed there?`);
  return wanted;
}

export interface AgentExec {
  readonly cluster: Cluster;
  readonly agent: Pod;
  /** Ends with its standard input, which `signal` closes. */
  readonly command: readonly string[];
  /** Takes what the command prints; it is not ended. */
  readonly lines: PassThrough;
  readonly signal: AbortSignal;
  readonly connected?: () => void;
}

export const nodeOf = (agent: Pod): string => agent.spec?.nodeName ?? agent.metadata.name;

/** Resolves when the command has ended well, or the signal has fired; rejects with what it said. */
export async function execInAgent({ cluster, agent, command, lines, signal, connected }: AgentExec): Promise<void> {
  // Frames that are on their way when the stream ends find it closed.
  lines.on("error", () => undefined);
  const words: Buffer[] = [];
  const errors = new Writable({
    write(chunk: Buffer, _encoding, done): void {
      words.push(chunk);
      done();
    },
  });
  const stdin = new PassThrough();
  const where = `agent on ${nodeOf(agent)}`;
  await new Promise<void>((resolve, reject) => {
    const ended = (status: V1Status): void => {
      if (status.status === "Success" || signal.aborted) resolve();
      else reject(new CliError(`${where}: ${Buffer.concat(words).toString("utf8").trim() || (status.message ?? "the stream broke")}`));
    };
    new Exec(cluster.config)
      .exec(agent.metadata.namespace ?? cluster.namespace, agent.metadata.name, CONTAINER, [...command], lines, errors, stdin, false, ended)
      .then((socket) => {
        connected?.();
        socket.onclose = () => (signal.aborted ? resolve() : reject(new CliError(`${where}: the connection closed`)));
        const stop = (): void => {
          stdin.end();
          socket.close();
          resolve();
        };
        if (signal.aborted) stop();
        else signal.addEventListener("abort", stop, { once: true });
      })
      .catch((cause: unknown) => reject(new CliError(`${where}: exec failed`, asError(cause))));
  });
}
