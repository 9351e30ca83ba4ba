/**
 * Where the API server is, without a service load balancer: that would be kube-proxy, which may itself need the
 * pod network that this agent brings. Candidates in order of preference; the transport tries one after the other.
 */
import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import { writeAtomic } from "../lib/files.ts";
import type { Logger } from "../lib/log.ts";
import { asError } from "../lib/errors.ts";

export interface ApiServerSources {
  /** From the configuration: when given it is the only one. */
  readonly configured: string | undefined;
  /** File with the address that answered last. */
  readonly lastGoodFile: string;
  readonly kubeconfigs: readonly string[];
  /** From the environment of the pod. */
  readonly service: string | undefined;
}

export const KUBELET_KUBECONFIGS = ["/etc/kubernetes/kubelet.conf"] as const;

/** Distinct URLs, best first; empty when nothing is known. */
export async function apiServerCandidates(sources: ApiServerSources): Promise<readonly string[]> {
  if (sources.configured !== undefined) return [sources.configured];
  const lastGood = (await readFile(sources.lastGoodFile, "utf8").catch(() => "")).trim();
  const found = [lastGood];
  for (const path of sources.kubeconfigs) found.push((await serverOfKubeconfig(path)) ?? "");
  found.push(sources.service ?? "");
  return [...new Set(found.filter((url) => URL.canParse(url)))];
}

/** Server of the current context; undefined when the file is absent or says nothing. Credentials are not looked at. */
async function serverOfKubeconfig(path: string): Promise<string | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  let config: Kubeconfig | null;
  try {
    config = load(text) as Kubeconfig | null;
  } catch {
    return undefined;
  }
  const context = config?.contexts?.find((item) => item.name === config["current-context"])?.context?.cluster;
  const cluster = config?.clusters?.find((item) => item.name === context) ?? config?.clusters?.[0];
  return typeof cluster?.cluster?.server === "string" ? cluster.cluster.server : undefined;
}

interface Kubeconfig {
  readonly "current-context"?: string;
  readonly contexts?: readonly { readonly name?: string; readonly context?: { readonly cluster?: string } }[];
  readonly clusters?: readonly { readonly name?: string; readonly cluster?: { readonly server?: unknown } }[];
}

/** Remembers the address that answers, for a start without any of the other sources. */
export function rememberServer(file: string, logger: Logger): (server: string) => void {
  return (server) => {
    writeAtomic(file, `${server}\n`, { mode: 0o600 }).catch((thrown: unknown) => logger.warn("the API server's address could not be kept on disk", { error: asError(thrown) }));
  };
}
