/** Probes for the kubelet on loopback; metrics too, and for those that the configuration names. */
import { HttpServer, textAnswer } from "../lib/http.ts";
import type { HttpAnswer } from "../lib/http.ts";
import type { Logger } from "../lib/log.ts";
import type { AgentConfig } from "./config.ts";

export interface HealthServersOptions {
  readonly config: Pick<AgentConfig, "healthPort" | "prometheusPort" | "prometheusAllowFrom">;
  readonly logger: Logger;
  readonly render: () => Promise<{ readonly contentType: string; readonly body: string }>;
  /** Why the agent is not ready; undefined when it is. */
  readonly notReady: () => string | undefined;
}

export class HealthServers {
  readonly #options: HealthServersOptions;

  constructor(options: HealthServersOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { config, logger, render, notReady } = this.#options;
    const routes = new Map<string, () => HttpAnswer>([
      // Alive is: the event loop answers. A missing API server or operator is no reason to be restarted.
      ["/healthz", () => textAnswer(200, "ok\n")],
      ["/readyz", () => {
        const reason = notReady();
        return textAnswer(reason === undefined ? 200 : 503, `${reason ?? "ok"}\n`);
      }],
    ]);
    await new HttpServer({ name: "health", allowFrom: [], port: config.healthPort, logger, routes }).start();
    if (config.prometheusPort === 0) return;
    const metrics = new Map([["/metrics", async () => ({ status: 200, ...(await render()) })]]);
    await new HttpServer({ name: "metrics", allowFrom: config.prometheusAllowFrom, port: config.prometheusPort, logger, routes: metrics }).start();
  }
}
