/** Entry point of the operator: reads the configuration, wires the parts, ends on SIGTERM. */
import { hostname } from "node:os";
import { KubeAccess } from "../kube/access.ts";
import { HttpTransport, KubeClient, KubeEventRecorder, LeaderElection } from "../kube/index.ts";
import { asError } from "../lib/errors.ts";
import { HttpServer, textAnswer } from "../lib/http.ts";
import type { HttpAnswer } from "../lib/http.ts";
import { Lifecycle } from "../lib/lifecycle.ts";
import { createLogger } from "../lib/log.ts";
import type { Logger } from "../lib/log.ts";
import { createMetrics, queueObserver } from "../lib/metrics.ts";
import type { Metrics } from "../lib/metrics.ts";
import { readConfig } from "./config.ts";
import type { OperatorConfig } from "./config.ts";
import { CiliumOperator } from "./operator.ts";

function wire(config: OperatorConfig, logger: Logger): Lifecycle {
  const metrics = createMetrics("cilium_operator");
  const access = new KubeAccess({ kubeconfig: config.kubeconfig, servers: config.servers });
  const transport = new HttpTransport(access, logger, (server) => logger.info("API server", { server }));
  const client = new KubeClient(transport);
  const operator = new CiliumOperator({
    access,
    client,
    logger,
    events: new KubeEventRecorder(client, logger, "cilium-operator", config.identity),
    observer: queueObserver(metrics),
    namespace: config.namespace,
    createCrds: config.createCrds,
    routing: { mode: "tunnel", tunnelPort: config.tunnelPort, masquerade: config.masquerade },
    identityQuietMs: config.identityQuietMs,
  });
  const election = new LeaderElection({
    client,
    logger,
    namespace: config.namespace,
    name: "cilium-operator",
    identity: `${config.identity}_${hostname()}`,
    lead: (leadership) => operator.lead(leadership),
  });
  const lifecycle = new Lifecycle(logger);
  for (const server of servers(config, logger, metrics, election)) lifecycle.append(server);
  lifecycle.append({
    name: "operator",
    start: () => operator.start(),
    stop: () => Promise.resolve(operator.stop()),
    health: () => operator.health(),
  });
  lifecycle.append(election);
  return lifecycle;
}

/** A replica that stands by or waits for the API server is healthy: restarting it would help nobody. */
function servers(config: OperatorConfig, logger: Logger, metrics: Metrics, election: LeaderElection): HttpServer[] {
  const leading = metrics.gauge("lease_held", "1 while this replica holds the lease");
  const healthz = (): HttpAnswer => textAnswer(200, election.leading ? "ok, leading\n" : "ok, standing by\n");
  const metricsText = async (): Promise<HttpAnswer> => {
    leading.set(election.leading ? 1 : 0);
    return { status: 200, ...(await metrics.render()) };
  };
  const server = (name: string, port: number, path: string, handler: () => Promise<HttpAnswer> | HttpAnswer): HttpServer =>
    new HttpServer({ name, port, logger, routes: new Map([[path, handler]]) });
  const health = server("health", config.healthPort, "/healthz", healthz);
  return config.metricsPort === 0 ? [health] : [health, server("metrics", config.metricsPort, "/metrics", metricsText)];
}

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const logger = createLogger({ component: "operator", level: config.logLevel });
  const lifecycle = wire(config, logger);
  const stop = (signal: string): void => {
    logger.info("stopping", { signal });
    lifecycle.stop().then(
      () => process.exit(0),
      (thrown: unknown) => {
        logger.error("stop failed", { error: asError(thrown) });
        process.exit(1);
      },
    );
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  await lifecycle.start();
  logger.info("started", { identity: config.identity });
}

main().catch((thrown: unknown) => {
  createLogger({ component: "operator", level: "error" }).error("cannot start", { error: asError(thrown) });
  process.exit(1);
});
