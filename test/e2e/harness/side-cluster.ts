/** A cluster beside the one that all files share, of one node unless told otherwise: made by one file for itself, and removed. */
import { mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

import { clusterConfig, type ClusterConfig, clusterPaths, controlAddresses } from "../../../src/cluster/config.ts";
import { run } from "../../../src/cluster/process.ts";

/** cluster.ts has it too, and reads the environment when it is imported: not before `adopt`. */
const ROOT = resolve(import.meta.dirname, "../../..");

export interface SideCluster {
  /** For files of the test; removed with the cluster. */
  readonly work: string;
  readonly config: ClusterConfig;
  /** Of a shell of this cluster's user. */
  readonly env: Readonly<Record<string, string>>;
  make(...args: string[]): Promise<string>;
  kubectl(...args: string[]): Promise<string>;
  helm(...args: string[]): Promise<string>;
  /** The cluster, with our image on its nodes; `nodes`: so many at first, and more by `make("cluster")`. */
  start(nodes?: number): Promise<void>;
  /** `helm repo add` and `helm install` of the chart, and both workloads rolled out. */
  install(...values: string[]): Promise<void>;
  /** From here on this process's harness (cluster.ts, which must not have been imported yet) speaks to this cluster. */
  adopt(): void;
  remove(): Promise<void>;
}

/** `number` tells its subnets and its chart repository's port from those of the other files: 64..254; 8879 is the shared repository. */
export function sideCluster(name: string, number: number, settings: Readonly<Record<string, string>> = {}): SideCluster {
  const work = mkdtempSync(`/var/tmp/e2e-${name}-`);
  const all = {
    CLUSTER_NAME: `e2e${name}`.slice(0, 9), CLUSTER_DIR: join(work, "state"), CLUSTER_SUBNET: `172.29.${number}.0/24`, CLUSTER_SUBNET6: `fd00:172:29:${number.toString(16)}::/64`,
    NODES: "1", CNI: "none", KUBE_PROXY: "0", CHART_REPO_PORT: String(18_800 + number), ...settings,
  };
  const config = clusterConfig({ ...process.env, ...all });
  const paths = clusterPaths(config);
  const env = {
    ...all, KUBECONFIG: paths.kubeconfig, PATH: `${paths.bin}:${process.env["PATH"] ?? ""}`,
    HELM_CONFIG_HOME: join(work, "helm/config"), HELM_CACHE_HOME: join(work, "helm/cache"), HELM_DATA_HOME: join(work, "helm/data"),
  };
  // On the command line, where they win over what the caller's make has.
  const variables = ["NODES", "K8S", "CNI", "KUBE_PROXY", "CHART_REPO_PORT"].flatMap((key) => (key in all ? [`${key}=${String(all[key as keyof typeof all])}`] : []));
  const make = (...args: string[]): Promise<string> => run(["make", "-s", "-C", ROOT, ...variables, ...args], { env, timeoutMs: 900_000 });
  const kubectl = (...args: string[]): Promise<string> => run(["kubectl", ...args], { env, timeoutMs: 400_000 });
  const helm = (...args: string[]): Promise<string> => run(["helm", ...args], { env, timeoutMs: 400_000 });
  return {
    work, config, env, make, kubectl, helm,
    start: async (nodes = config.nodes) => {
      await make("cluster", `NODES=${nodes}`);
      await make("cluster-load", `ARCHIVE=${join(ROOT, "build/image/cilium.tar")}`);
    },
    install: async (...values) => {
      await make("chart-repo");
      await helm("repo", "add", "cilium", `http://127.0.0.1:${all.CHART_REPO_PORT}`);
      const set = ["operator.replicas=1", `k8sServiceHost=${controlAddresses(config).ipv4}`, ...values];
      await helm("install", "cilium", "cilium/cilium", "--namespace", "kube-system", ...set.flatMap((value) => ["--set", value]));
      await kubectl("-n", "kube-system", "rollout", "status", "deployment/cilium-operator", "--timeout=360s");
      await kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=360s");
    },
    adopt: () => void Object.assign(process.env, all),
    remove: async () => {
      await make("cluster-down", "chart-repo-stop");
      rmSync(work, { recursive: true, force: true });
    },
  };
}
