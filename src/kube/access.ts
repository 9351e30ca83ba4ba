/**
 * Credentials of every kind that @kubernetes/client-node's KubeConfig reads; the server addresses may be given by the
 * caller in order of preference. Not in index.ts: who imports this loads that library.
 */
import { KubeConfig } from "@kubernetes/client-node";
import type { RequestOptions } from "node:https";
import { join } from "node:path";
import { ConfigError } from "../lib/errors.ts";
import { SERVICE_ACCOUNT_DIRECTORY, serverUrl } from "./credentials.ts";
import type { Credentials, TlsIdentity } from "./credentials.ts";

export interface KubeAccessOptions {
  /** A configuration that is loaded already, such as the one a command line's options chose; wins over the rest. */
  readonly config?: KubeConfig | undefined;
  /** A kubeconfig file; absent: the pod's service account. */
  readonly kubeconfig?: string | undefined;
  /** Where the service account's token and ca.crt are mounted. */
  readonly serviceAccountDirectory?: string | undefined;
  /** Base URLs in order of preference, such as https://10.0.0.1:6443; required without a kubeconfig. */
  readonly servers?: readonly string[] | undefined;
}

export class KubeAccess implements Credentials {
  readonly servers: readonly string[];
  readonly #options: KubeAccessOptions;
  #config: KubeConfig;

  constructor(options: KubeAccessOptions) {
    this.#options = options;
    this.#config = loadConfig(options);
    const ownServer = this.#config.getCurrentCluster()?.server;
    const given = options.servers ?? [];
    const servers = given.length > 0 ? given : ownServer === undefined ? [] : [ownServer];
    if (servers.length === 0) throw new ConfigError("servers", "no address of the API server is known");
    this.servers = servers.map((server) => serverUrl(server));
  }

  /** The configuration for users of client-node; its server is the first of the list. */
  get kubeConfig(): KubeConfig {
    return this.#config;
  }

  /** Reads certificates and tokens again: they rotate under the same path. */
  reload(): void {
    this.#config = loadConfig(this.#options);
  }

  /** Headers of one request. Tokens of service accounts are read again from their file every minute. */
  async headers(): Promise<Readonly<Record<string, string>>> {
    const options: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(options.headers ?? {})) headers[name] = String(value);
    if (options.auth !== undefined && options.auth !== null) {
      headers["Authorization"] = `Basic ${Buffer.from(options.auth).toString("base64")}`;
    }
    return headers;
  }

  async tls(): Promise<TlsIdentity> {
    const options: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    return {
      ca: options.ca,
      cert: options.cert,
      key: options.key,
      ...(options.rejectUnauthorized === undefined ? {} : { rejectUnauthorized: options.rejectUnauthorized }),
      ...(options.servername === undefined ? {} : { servername: options.servername }),
    };
  }
}

function loadConfig(options: KubeAccessOptions): KubeConfig {
  if (options.config !== undefined) return options.config;
  const config = new KubeConfig();
  if (options.kubeconfig !== undefined) {
    config.loadFromFile(options.kubeconfig);
    return config;
  }
  const directory = options.serviceAccountDirectory ?? SERVICE_ACCOUNT_DIRECTORY;
  const server = options.servers?.[0];
  if (server === undefined) throw new ConfigError("servers", "a service account needs the address of the API server");
  config.loadFromClusterAndUser(
    { name: "cluster", server: serverUrl(server), caFile: join(directory, "ca.crt"), skipTLSVerify: false },
    { name: "user", authProvider: { name: "tokenFile", config: { tokenFile: join(directory, "token") } } },
  );
  return config;
}
