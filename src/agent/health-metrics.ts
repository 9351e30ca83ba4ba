/**
 * Figures of the other nodes' health, under the names that the field has for them. Of all together: figures of each node on each
 * node would be the square of the nodes over the cluster; `cilium routing peers` has those.
 */
import { stateOf } from "../inspect/index.ts";
import type { Metrics } from "../lib/metrics.ts";
import type { HealthReport, HealthType } from "./node-health.ts";

export type ReadHealth = () => HealthReport | undefined;

const TYPES = ["endpoint", "node"] as const;
const STATES = ["reachable", "unreachable", "unknown"] as const;
const LATENCY_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

export interface HealthMetrics {
  observe(type: HealthType, seconds: number): void;
  /** Brings the figures up to date. */
  read(): void;
}

export function healthMetrics(metrics: Metrics, report: ReadHealth): HealthMetrics {
  const status = metrics.gauge("node_health_connectivity_status", "Other nodes by whether they answer this one: by the way of their pods' packets (endpoint), and at their own address (node)", ["type", "status"]);
  const latency = metrics.histogram("node_health_connectivity_latency_seconds", "Time until another node answered", LATENCY_BUCKETS, ["type", "protocol"]);
  return {
    observe: (type, seconds) => latency.observe({ type, protocol: "icmp" }, seconds),
    read() {
      const peers = report()?.peers ?? [];
      for (const type of TYPES) {
        const states = peers.map(({ probes }) => stateOf(probes.filter((probe) => probe.type === type)));
        for (const state of STATES) status.set({ type, status: state }, states.filter((each) => each === state).length);
      }
    },
  };
}
