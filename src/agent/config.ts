/** The agent's settings: files of the ConfigMap, one per key, and NODE_NAME. The only reader of the environment. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { encryptedRouting, readEncryption, readRouting } from "../compile/index.ts";
import type { EncryptionDecision, RoutingDecision } from "../compile/index.ts";
import { ConfigError, describeError } from "../lib/errors.ts";
import { parseCidrList } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import { isLogLevel } from "../lib/log.ts";
import type { LogLevel } from "../lib/log.ts";

export interface AgentConfig {
  readonly nodeName: string;
  readonly enableIPv4: boolean;
  readonly enableIPv6: boolean;
  readonly routing: RoutingDecision;
  /** undefined: none. */
  readonly encryption: EncryptionDecision | undefined;
  /** 0: taken from the underlay device. */
  readonly mtu: number;
  /** Underlay devices; empty: those with the node's addresses. */
  readonly devices: readonly string[];
  readonly cniExclusive: boolean;
  readonly cniConfPath: string;
  readonly cniBinPath: string;
  /** `https://host:port` as configured; undefined: found out. */
  readonly apiServer: string | undefined;
  /** As the kubelet put it into the environment; needs a working service load balancer. */
  readonly apiServerOfService: string | undefined;
  readonly logLevel: LogLevel;
  readonly monitorVerdicts: boolean;
  readonly healthPort: number;
  /** 0: no metrics. */
  readonly prometheusPort: number;
  /** Who may ask for metrics beside the node itself. */
  readonly prometheusAllowFrom: readonly Cidr[];
  readonly mapSizes: MapSizes;
  readonly paths: Paths;
}

export interface MapSizes {
  readonly policy: number;
  readonly ipcache: number;
  readonly conntrack: number;
  readonly endpoints: number;
}

export interface Paths {
  readonly run: string;
  readonly state: string;
  readonly pins: string;
  readonly bpfObjects: string;
  readonly plugin: string;
  readonly hostProc: string;
}

const CONFIG_DIRECTORY = "/etc/cilium/config";
const PATHS: Paths = {
  run: "/var/run/cilium",
  state: "/var/lib/cilium",
  pins: "/sys/fs/bpf/cilium",
  bpfObjects: "/opt/cilium/bpf",
  plugin: "/opt/cilium/bin/cilium-cni",
  hostProc: "/host/proc",
};

type Read = (key: string) => string | undefined;

function reader(directory: string): Read {
  return (key) => {
    try {
      return readFileSync(join(directory, key), "utf8").trim();
    } catch {
      return undefined;
    }
  };
}

function flag(read: Read, key: string, absent: boolean): boolean {
  const value = read(key) ?? "";
  if (value === "") return absent;
  if (value !== "true" && value !== "false") throw new ConfigError(key, `${JSON.stringify(value)} is neither true nor false`);
  return value === "true";
}

function count(read: Read, key: string, absent: number, min: number, max: number): number {
  const text = read(key) ?? "";
  if (text === "") return absent;
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || value < min || value > max) throw new ConfigError(key, `${JSON.stringify(text)} is no number from ${min} to ${max}`);
  return value;
}

function name(read: Read, key: string, absent: string, pattern: RegExp): string {
  const value = read(key) ?? "";
  if (value === "") return absent;
  if (!pattern.test(value)) throw new ConfigError(key, `${JSON.stringify(value)} does not match ${String(pattern)}`);
  return value;
}

function serverUrl(host: string | undefined, port: number): string | undefined {
  if (host === undefined || host === "") return undefined;
  const url = `https://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port}`;
  if (!URL.canParse(url)) throw new ConfigError("k8s-service-host", `${JSON.stringify(host)} is no host`);
  return url;
}

function cidrs(read: Read, key: string): readonly Cidr[] {
  try {
    return parseCidrList(read(key) ?? "");
  } catch (thrown) {
    throw new ConfigError(key, describeError(thrown));
  }
}

function logLevel(read: Read): LogLevel {
  const value = read("log-level") ?? "";
  if (value === "") return "info";
  if (!isLogLevel(value)) throw new ConfigError("log-level", `${JSON.stringify(value)} is none of error, warn, info, debug`);
  return value;
}

export interface ConfigSource {
  readonly directory?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** Throws ConfigError with the key's name for anything that is wrong; absent keys take their defaults. */
export function loadConfig(source: ConfigSource = {}): AgentConfig {
  const read = reader(source.directory ?? CONFIG_DIRECTORY);
  const environment = source.environment ?? process.env;
  const nodeName = environment.NODE_NAME ?? "";
  if (nodeName === "") throw new ConfigError("NODE_NAME", "the environment does not name the node");
  const absolute = /^\/[^\0]*$/;
  const servicePort = Number(environment.KUBERNETES_SERVICE_PORT ?? "443");
  const routing = readRouting(read);
  const encryption = readEncryption(read, routing);
  return {
    nodeName,
    enableIPv4: flag(read, "enable-ipv4", true),
    enableIPv6: flag(read, "enable-ipv6", true),
    routing: encryptedRouting(routing, encryption !== undefined),
    encryption,
    mtu: count(read, "mtu", 0, 0, 65_535),
    devices: (read("devices") ?? "").split(",").map((device) => device.trim()).filter((device) => device !== ""),
    cniExclusive: flag(read, "cni-exclusive", true),
    cniConfPath: name(read, "cni-conf-path", "/etc/cni/net.d", absolute),
    cniBinPath: name(read, "cni-bin-path", "/opt/cni/bin", absolute),
    apiServer: serverUrl(read("k8s-service-host"), count(read, "k8s-service-port", 6443, 1, 65_535)),
    apiServerOfService: serverUrl(environment.KUBERNETES_SERVICE_HOST, servicePort),
    logLevel: logLevel(read),
    monitorVerdicts: flag(read, "monitor-verdicts", true),
    healthPort: count(read, "health-port", 9879, 1, 65_535),
    prometheusPort: count(read, "prometheus-port", 9962, 0, 65_535),
    prometheusAllowFrom: cidrs(read, "prometheus-allow-from"),
    mapSizes: {
      policy: count(read, "bpf-policy-map-max", 65_536, 256, 1 << 24),
      ipcache: count(read, "bpf-ipcache-max", 131_072, 256, 1 << 24),
      conntrack: count(read, "bpf-ct-max", 262_144, 256, 1 << 24),
      endpoints: count(read, "bpf-endpoints-max", 1024, 16, 65_535),
    },
    paths: PATHS,
  };
}
