/** Entry point of the operator: reads the configuration, wires the parts, ends on SIGTERM. */
import { hostname } from "node:os";
import { KubeAccess } from "../kube/access.ts";
import { HttpTransport, KubeClient, KubeEventRecorder, LeaderElection } from "../kube/index.ts";
import { asError } from "../lib/errors.ts";
import { HttpServer, textAnswer } from "../lib/http.ts";
import type { HttpAnswer } from "../lib/http.ts";
import { Lifecycle } from "../lib/lifecycle.ts";
import type { Health } from "../lib/lifecycle.ts";
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
    routing: config.routing,
    encryption: config.encryption,
    policyOptions: config.policyOptions,
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
  for (const server of servers(config, logger, metrics, election, () => operator.health())) lifecycle.append(server);
  lifecycle.append({
    name: "operator",
    start: () => operator.start(),
    stop: () => Promise.resolve(operator.stop()),
    health: () => operator.health(),
  });
  lifecycle.append(election);
  return lifecycle;
}

/**
 * Alive is: the event loop answers; restarting one that waits for the API server would help nobody. Ready is: it follows
 * everything, as leader or standing by.
 */
function servers(config: OperatorConfig, logger: Logger, metrics: Metrics, election: LeaderElection, health: () => Health): HttpServer[] {
  const leading = metrics.gauge("lease_held", "1 while this replica holds the lease");
  const probes = new Map<string, () => HttpAnswer>([
    ["/healthz", () => textAnswer(200, "ok\n")],
    ["/readyz", () => {
      const { level, message } = health();
      if (level !== "ok") return textAnswer(503, `${message}\n`);
      return textAnswer(200, election.leading ? "ok, leading\n" : "ok, standing by\n");
    }],
  ]);
  const probeServer = new HttpServer({ name: "health", port: config.healthPort, allowFrom: [], logger, routes: probes });
  if (config.metricsPort === 0) return [probeServer];
  const render = async (): Promise<HttpAnswer> => {
    leading.set(election.leading ? 1 : 0);
    return { status: 200, ...(await metrics.render()) };
  };
  return [probeServer, new HttpServer({ name: "metrics", port: config.metricsPort, allowFrom: config.metricsAllowFrom, logger, routes: new Map([["/metrics", render]]) })];
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
