import type { CgroupLayout } from "./cgroup.ts";
import type { ClusterConfig } from "./config.ts";

export async function preflight(_config: ClusterConfig, _layout: CgroupLayout): Promise<string[]> {
  return [];
}
