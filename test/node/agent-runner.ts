/**
 * The agent as a process of its own in a network namespace, for agent-lab.ts. Arguments: a JSON file (`RunnerOptions`),
 * and perhaps `uninstall`, or `kill` and where (`KillPoint`).
 */
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { Agent } from "../../src/agent/agent.ts";
import type { AgentConfig } from "../../src/agent/config.ts";
import { KubeAccess } from "../../src/kube/access.ts";
import { HttpTransport, KubeClient } from "../../src/kube/index.ts";
import { createLogger } from "../../src/lib/log.ts";
import { uninstall } from "../../src/agent/uninstall.ts";
import { dieAt } from "./kill-points.ts";
import type { KillPoint } from "./kill-points.ts";

export interface RunnerOptions {
  readonly config: AgentConfig;
  readonly kubeconfig: string;
  /** The API server's port, and the socket behind which it is: the namespace has no way to it. */
  readonly port: number;
  readonly socket: string;
}

const options = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as RunnerOptions;
const logger = createLogger({ component: "agent", level: "info" });

async function run(): Promise<void> {
  createServer((client) => {
    const server = connect(options.socket);
    client.pipe(server).pipe(client);
    client.on("error", () => server.destroy());
    server.on("error", () => client.destroy());
  }).listen(options.port, "127.0.0.1");
  const agent = new Agent(options.config, logger, new AbortController().signal, async (_config, log) => {
    const transport = new HttpTransport(new KubeAccess({ kubeconfig: options.kubeconfig }), log);
    return { transport, client: new KubeClient(transport) };
  });
  await agent.start();
}

if (process.argv[3] === "kill") dieAt(JSON.parse(process.argv[4] ?? "") as KillPoint);
await (process.argv[3] === "uninstall" ? uninstall(options.config, logger) : run());
