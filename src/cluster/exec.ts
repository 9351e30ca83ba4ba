import { spawn } from "node:child_process";

import { type ClusterConfig, clusterConfig, findNode } from "./config.ts";
import { inNode } from "./node.ts";
import { capture, type Output, type RunOptions } from "./process.ts";
import { runningConfig } from "./settings.ts";

/**
 * Runs a command inside a node (its network, mount, UTS and cgroup namespaces) and returns what it said. The cluster is
 * the one that the environment names, unless another is given.
 */
export function nodeExec(node: string, argv: readonly string[], options: RunOptions & { readonly config?: ClusterConfig } = {}): Promise<Output> {
  const { config = runningConfig(clusterConfig()), ...runOptions } = options;
  return capture(inNode(config, findNode(config, node), argv), runOptions);
}

/** As nodeExec, on our own terminal; resolves to the exit status. */
export function nodeShell(config: ClusterConfig, node: string, argv: readonly string[]): Promise<number> {
  const [command = "", ...args] = inNode(config, findNode(config, node), argv);
  return new Promise((done, fail) => {
    const child = spawn(command, args, { stdio: "inherit" });
    child.on("error", fail);
    child.on("close", (code) => done(code ?? 1));
  });
}
