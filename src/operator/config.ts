/** The operator's settings: files of /etc/cilium/config (one per key) and the environment. The only reader of both. */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { isIPv6 } from "node:net";
import { readEncryption, readPolicyOptions, readRouting } from "../compile/index.ts";
import type { EncryptionDecision, PolicyOptions, RoutingDecision } from "../compile/index.ts";
import { ConfigError, describeError } from "../lib/errors.ts";
import { parseCidrList } from "../lib/ip.ts";
import type { Cidr } from "../lib/ip.ts";
import { isLogLevel } from "../lib/log.ts";
import type { LogLevel } from "../lib/log.ts";

export interface OperatorConfig {
  readonly logLevel: LogLevel;
  /** Whether the operator applies and upgrades the CRDs. */
  readonly createCrds: boolean;
  /** Base URLs of the API server in order of preference; empty: the kubeconfig's. */
  readonly servers: readonly string[];
  readonly kubeconfig: string | undefined;
  readonly namespace: string;
  /** Unique among the replicas. */
  readonly identity: string;
  readonly routing: RoutingDecision;
  /** undefined: none. */
  readonly encryption: EncryptionDecision | undefined;
  readonly policyOptions: PolicyOptions;
  readonly healthPort: number;
  /** 0: no metrics. */
  readonly metricsPort: number;
  /** Who may ask for metrics beside the node itself. */
  readonly metricsAllowFrom: readonly Cidr[];
  /** How long an identity must be unused before its number is free again. */
  readonly identityQuietMs: number;
}

/** Where the ConfigMap is mounted. */
const CONFIG_DIRECTORY = "/etc/cilium/config";

export function readConfig(env: NodeJS.ProcessEnv): OperatorConfig {
  const keys = readKeys(nonEmpty(env["CILIUM_CONFIG_DIRECTORY"]) ?? CONFIG_DIRECTORY);
  const kubeconfig = nonEmpty(env["KUBECONFIG"]);
  const servers = serversOf(keys, env);
  if (kubeconfig === undefined && servers.length === 0) {
    throw new ConfigError("k8s-service-host", "no API server is known: not in the configuration, not in KUBERNETES_SERVICE_HOST, and no KUBECONFIG");
  }
  const level = keys.get("log-level") ?? "info";
  if (!isLogLevel(level)) throw new ConfigError("log-level", `${JSON.stringify(level)} is not debug, info, warn or error`);
  const routing = readRouting((key) => keys.get(key));
  return {
    logLevel: level,
    createCrds: boolean(keys, "crds-create", true),
    servers: kubeconfig === undefined || nonEmpty(keys.get("k8s-service-host")) !== undefined ? servers : [],
    kubeconfig,
    namespace: nonEmpty(env["POD_NAMESPACE"]) ?? "kube-system",
    identity: nonEmpty(env["POD_NAME"]) ?? nonEmpty(env["HOSTNAME"]) ?? `cilium-operator-${process.pid}`,
    routing,
    encryption: readEncryption((key) => keys.get(key), routing),
    policyOptions: readPolicyOptions((key) => keys.get(key)),
    healthPort: integer(keys, "operator-health-port", 9891, 0, 65535),
    metricsPort: integer(keys, "operator-prometheus-port", 9963, 0, 65535),
    metricsAllowFrom: cidrs(keys, "operator-prometheus-allow-from"),
    identityQuietMs: integer(keys, "identity-quiet-seconds", 900, 1, 86_400) * 1000,
  };
}

/** A ConfigMap volume: each key is a file; names that start with two dots are the volume's own. */
function readKeys(directory: string): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (!name.startsWith("..") && statSync(path).isFile()) keys.set(name, readFileSync(path, "utf8").trim());
  }
  return keys;
}

function serversOf(keys: ReadonlyMap<string, string>, env: NodeJS.ProcessEnv): readonly string[] {
  const servers: string[] = [];
  const add = (host: string | undefined, port: string | undefined): void => {
    if (host === undefined) return;
    const url = `https://${isIPv6(host) ? `[${host}]` : host}:${port ?? "443"}`;
    if (!servers.includes(url)) servers.push(url);
  };
  add(nonEmpty(keys.get("k8s-service-host")), nonEmpty(keys.get("k8s-service-port")));
  add(nonEmpty(env["KUBERNETES_SERVICE_HOST"]), nonEmpty(env["KUBERNETES_SERVICE_PORT"]));
  return servers;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === "" ? undefined : text;
}

function boolean(keys: ReadonlyMap<string, string>, key: string, absent: boolean): boolean {
  const text = nonEmpty(keys.get(key));
  if (text === undefined) return absent;
  if (text !== "true" && text !== "false") throw new ConfigError(key, `${JSON.stringify(text)} is neither true nor false`);
  return text === "true";
}

function cidrs(keys: ReadonlyMap<string, string>, key: string): readonly Cidr[] {
  try {
    return parseCidrList(keys.get(key) ?? "");
  } catch (thrown) {
    throw new ConfigError(key, describeError(thrown));
  }
}

function integer(keys: ReadonlyMap<string, string>, key: string, absent: number, least: number, greatest: number): number {
  const text = nonEmpty(keys.get(key));
  if (text === undefined) return absent;
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || value < least || value > greatest) throw new ConfigError(key, `${JSON.stringify(text)} is not a number from ${least} to ${greatest}`);
  return value;
}
