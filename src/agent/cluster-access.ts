/** The connection to the API server. */
import { join } from "node:path";
import { HttpTransport, KubeClient, ServiceAccount } from "../kube/index.ts";
import { ConfigError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { KUBELET_KUBECONFIGS, apiServerCandidates, rememberServer } from "./api-server.ts";
import type { AgentConfig } from "./config.ts";

export interface ClusterAccess {
  readonly transport: HttpTransport;
  readonly client: KubeClient;
}

/** Throws ConfigError when no address of the API server is known at all. Nothing is sent yet. */
export async function openCluster(config: AgentConfig, logger: Logger): Promise<ClusterAccess> {
  const lastGoodFile = join(config.paths.state, "apiserver");
  const servers = await apiServerCandidates({
    configured: config.apiServer,
    lastGoodFile,
    kubeconfigs: KUBELET_KUBECONFIGS,
    service: config.apiServerOfService,
  });
  if (servers.length === 0) throw new ConfigError("k8s-service-host", "no address of the API server is known: set the chart value k8sServiceHost");
  logger.info("addresses of the API server, in the order in which they are tried", { servers });
  const transport = new HttpTransport(new ServiceAccount(servers), logger, rememberServer(lastGoodFile, logger));
  return { transport, client: new KubeClient(transport) };
}
