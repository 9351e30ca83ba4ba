/** A cluster for one file, beside the shared one: made with our chart, and taken down at the end. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

import { clusterConfig, clusterPaths } from "../../../src/cluster/config.ts";
import { run } from "../../../src/cluster/process.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

export interface OwnCluster {
  /** For what the test keeps meanwhile; removed with the cluster. */
  readonly folder: string;
  remove(): Promise<void>;
}

export interface OwnClusterSpec {
  /** At most nine letters and digits, of no other cluster of the machine. */
  readonly name: string;
  readonly subnet: string;
  readonly subnet6: string;
  readonly chartPort: number;
  readonly nodes: number;
  readonly podCidrSize?: number;
  /** false: nodes that wait for a network; the test loads images and installs. */
  readonly isInstalled?: boolean;
}

/** From here on this process's harness (cluster.ts, which must not have been imported yet) speaks to that cluster. */
export async function ownCluster(spec: OwnClusterSpec): Promise<OwnCluster> {
  const folder = mkdtempSync(`/var/tmp/e2e-${spec.name}-`);
  Object.assign(process.env, {
    CLUSTER_NAME: spec.name, CLUSTER_DIR: join(folder, "state"), CLUSTER_SUBNET: spec.subnet, CLUSTER_SUBNET6: spec.subnet6,
    CHART_REPO_PORT: String(spec.chartPort), NODES: String(spec.nodes), CNI: "cilium", KUBE_PROXY: "1", ...(spec.podCidrSize !== undefined && { POD_CIDR_SIZE: String(spec.podCidrSize) }),
  });
  const paths = clusterPaths(clusterConfig());
  const env = {
    KUBECONFIG: paths.kubeconfig, PATH: `${paths.bin}:${process.env["PATH"] ?? ""}`,
    HELM_CONFIG_HOME: join(folder, "helm/config"), HELM_CACHE_HOME: join(folder, "helm/cache"), HELM_DATA_HOME: join(folder, "helm/data"),
  };
  const make = (...args: string[]): Promise<string> => run(["make", "-s", "-C", ROOT, ...args], { env, timeoutMs: 400_000 });
  const remove = async (): Promise<void> => {
    await make("cluster-down", "chart-repo-stop");
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await make("cluster", `NODES=${spec.nodes}`, "CNI=cilium", "KUBE_PROXY=1");
    if (spec.isInstalled !== false) {
      await make("cluster-load", `ARCHIVE=${join(ROOT, "build/image/cilium.tar")}`);
      await make("chart-repo");
      await run(["helm", "repo", "add", "cilium", `http://127.0.0.1:${spec.chartPort}`], { env });
      await run(["helm", "install", "cilium", "cilium/cilium", "--namespace", "kube-system"], { env });
    }
  } catch (error) {
    await remove();
    throw error;
  }
  mkdirSync(join(folder, "log"));
  return { folder, remove };
}
