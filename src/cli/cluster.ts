/** The cluster a command speaks to: chosen as kubectl chooses it. */
import { existsSync } from "node:fs";
import { KubeConfig } from "@kubernetes/client-node";
import { createLogger } from "../lib/log.ts";
import { KubeAccess } from "../kube/access.ts";
import { KubeClient } from "../kube/client.ts";
import { HttpTransport } from "../kube/transport.ts";
import { CliError } from "./errors.ts";

/** What client-node's loadFromDefault falls back to when there is no configuration at all. */
const CLIENT_NODE_GUESS = "http://localhost:8080";

export interface ClusterOptions {
  /** A kubeconfig file; else KUBECONFIG, else ~/.kube/config, else the pod's service account. */
  readonly kubeconfig?: string;
  readonly context?: string;
  /** Where the chart is installed. */
  readonly namespace: string;
}

export interface Cluster {
  readonly config: KubeConfig;
  readonly client: KubeClient;
  readonly namespace: string;
  close(): void;
}

export function openCluster(options: ClusterOptions): Cluster {
  const config = loadKubeConfig(options);
  const transport = new HttpTransport(new KubeAccess({ config }), createLogger({ component: "cli", level: "error" }));
  return { config, client: new KubeClient(transport), namespace: options.namespace, close: () => transport.close() };
}

/** False only when nothing names a cluster; what is named and wrong is told when it is opened. */
export function hasCluster(options: ClusterOptions): boolean {
  if (options.kubeconfig !== undefined || options.context !== undefined) return true;
  const config = new KubeConfig();
  config.loadFromDefault();
  return isCluster(config);
}

function isCluster(config: KubeConfig): boolean {
  const cluster = config.getCurrentCluster();
  return cluster !== null && cluster.server !== CLIENT_NODE_GUESS;
}

function loadKubeConfig({ kubeconfig, context }: ClusterOptions): KubeConfig {
  const config = new KubeConfig();
  if (kubeconfig === undefined) {
    config.loadFromDefault();
  } else {
    if (!existsSync(kubeconfig)) throw new CliError(`--kubeconfig ${kubeconfig}: no such file`);
    config.loadFromFile(kubeconfig);
  }
  if (context !== undefined) {
    if (config.getContextObject(context) === null) {
      const known = config.getContexts().map((each) => each.name);
      throw new CliError(`--context ${context}: not in the kubeconfig (it has ${known.join(", ") || "none"})`);
    }
    config.setCurrentContext(context);
  }
  if (!isCluster(config)) throw new CliError("no cluster: give --kubeconfig or set KUBECONFIG");
  return config;
}
