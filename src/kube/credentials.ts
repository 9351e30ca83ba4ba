/** What a transport must know: where the API server is and who we are. */
import { readFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import { join } from "node:path";
import { ConfigError } from "../lib/errors.ts";

export interface TlsIdentity {
  readonly ca?: RequestOptions["ca"];
  readonly cert?: RequestOptions["cert"];
  readonly key?: RequestOptions["key"];
  readonly rejectUnauthorized?: boolean;
  readonly servername?: string;
}

export interface Credentials {
  /** Base URLs in order of preference; at least one. */
  readonly servers: readonly string[];
  /** Headers of one request, with the token as it is now. */
  headers(): Promise<Readonly<Record<string, string>>>;
  tls(): Promise<TlsIdentity>;
  /** Certificates and tokens may have been rotated under the same path. */
  reload(): void;
}

export const SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * The service account of a pod, read from its files. An agent needs no more, and on every node it saves the memory of
 * a client library that knows every way to log in (84 MB, measured).
 */
export class ServiceAccount implements Credentials {
  readonly servers: readonly string[];
  readonly #directory: string;

  constructor(servers: readonly string[], directory = SERVICE_ACCOUNT_DIRECTORY) {
    if (servers.length === 0) throw new ConfigError("servers", "no address of the API server is known");
    this.servers = servers.map((server) => serverUrl(server));
    this.#directory = directory;
  }

  /** The kubelet replaces the token long before it ends, so it is read for every request. */
  async headers(): Promise<Readonly<Record<string, string>>> {
    const token = await readFile(join(this.#directory, "token"), "utf8");
    return { Authorization: `Bearer ${token.trim()}` };
  }

  async tls(): Promise<TlsIdentity> {
    return { ca: await readFile(join(this.#directory, "ca.crt")) };
  }

  reload(): void {
    // Nothing is kept.
  }
}

/** The URL without what does not belong to a base; throws ConfigError for anything that is no http(s) URL. */
export function serverUrl(text: string): string {
  if (!URL.canParse(text)) throw new ConfigError("servers", `${JSON.stringify(text)} is not a URL`);
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw new ConfigError("servers", `${text} is neither https nor http`);
  return `${url.protocol}//${url.host}${url.pathname.replace(/\/$/, "")}`;
}
