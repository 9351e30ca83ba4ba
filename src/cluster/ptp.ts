import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { type ClusterConfig, controlNetns, nodeIdentities } from "./config.ts";
import { routePods } from "./network.ts";

/** CNI=ptp: the reference plugins, with static routes between the nodes. No policy, no translation. */
export async function configurePtp(config: ClusterConfig, podCidrs: ReadonlyMap<string, readonly string[]>): Promise<void> {
  const nodes = nodeIdentities(config);
  for (const node of nodes) {
    const dir = join(node.disk, "etc/cni/net.d");
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, "10-ptp.conflist"), JSON.stringify(conflist(podCidrs.get(node.name) ?? []), null, 2));
  }
  await Promise.all([controlNetns(config), ...nodes.map((node) => node.netns)].map((netns) => routePods(config, netns, podCidrs)));
}

function conflist(podCidrs: readonly string[]): object {
  return {
    cniVersion: "1.0.0",
    name: "ptp",
    plugins: [{
      type: "ptp",
      ipMasq: false,
      ipam: { type: "host-local", ranges: podCidrs.map((subnet) => [{ subnet }]), routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }] },
    }],
  };
}
