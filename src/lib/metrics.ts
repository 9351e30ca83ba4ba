/** The metrics of one process: a prom-client registry of its own, never the library's global one. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { QueueObserver } from "./queue.ts";

export interface Metrics {
  readonly registry: Registry;
  counter<L extends string>(name: string, help: string, labels?: readonly L[]): Counter<L>;
  gauge<L extends string>(name: string, help: string, labels?: readonly L[]): Gauge<L>;
  /** A gauge of whole numbers that are exact also beyond 2^53, where the library's are not: for the kernel's counters. */
  exact<L extends string>(name: string, help: string, labels: readonly L[]): ExactGauge<L>;
  histogram<L extends string>(name: string, help: string, buckets: readonly number[], labels?: readonly L[]): Histogram<L>;
  /** Text exposition format and its content type, for /metrics. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
}

export class ExactGauge<L extends string> {
  readonly #name: string;
  readonly #help: string;
  readonly #labels: readonly L[];
  readonly #values = new Map<string, bigint>();

  constructor(name: string, help: string, labels: readonly L[]) {
    this.#name = name;
    this.#help = help;
    this.#labels = labels;
  }

  set(labels: Readonly<Record<L, string>>, value: bigint): void {
    const escaped = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
    this.#values.set(this.#labels.map((name) => `${name}="${escaped(labels[name])}"`).join(","), value);
  }

  reset(): void {
    this.#values.clear();
  }

  /** Prometheus' text exposition format. */
  render(): string {
    const lines = [...this.#values].map(([labels, value]) => `${this.#name}{${labels}} ${value}\n`);
    return `# HELP ${this.#name} ${this.#help}\n# TYPE ${this.#name} gauge\n${lines.join("")}`;
  }
}

/** Every metric's name is `<prefix>_<name>`; the process's own figures (memory, event loop) are included. */
export function createMetrics(prefix: string): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: `${prefix}_` });
  const common = <L extends string>(name: string, help: string, labels: readonly L[]) => ({
    name: `${prefix}_${name}`,
    help,
    labelNames: [...labels],
    registers: [registry],
  });
  const exact: ExactGauge<string>[] = [];
  return {
    registry,
    exact: <L extends string>(name: string, help: string, labels: readonly L[]) => {
      const gauge = new ExactGauge<L>(`${prefix}_${name}`, help, labels);
      exact.push(gauge);
      return gauge;
    },
    counter: (name, help, labels = []) => new Counter(common(name, help, labels)),
    gauge: (name, help, labels = []) => new Gauge(common(name, help, labels)),
    histogram: (name, help, buckets, labels = []) => new Histogram({ ...common(name, help, labels), buckets: [...buckets] }),
    async render() {
      return { contentType: registry.contentType, body: `${(await registry.metrics()).trimEnd()}\n${exact.map((gauge) => gauge.render()).join("")}` };
    },
  };
}

/** Depth, outcomes and durations of work queues. */
export function queueObserver(metrics: Metrics): QueueObserver {
  const handled = metrics.counter("queue_handled_total", "Keys that a work queue handled, by outcome", ["queue", "outcome"]);
  const seconds = metrics.histogram("queue_seconds", "Time to handle one key", [0.001, 0.01, 0.1, 1, 10], ["queue"]);
  const depth = metrics.gauge("queue_depth", "Keys that wait or are being handled", ["queue"]);
  return {
    handled(queue, outcome, took) {
      handled.inc({ queue, outcome });
      seconds.observe({ queue }, took);
    },
    depth(queue, keys) {
      depth.set({ queue }, keys);
    },
  };
}
