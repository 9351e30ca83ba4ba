/** Our cluster while it routes natively: all nodes change over by a CiliumRouting, as a user would do it, and back. */
import { type BenchCluster, until } from "./cluster.ts";
import { CILIUM_ROUTINGS } from "../../src/kube/index.ts";

const NAME = "bench-native";

export async function whileNative<T>(cluster: BenchCluster, task: () => Promise<T>): Promise<T> {
  const { client, config } = cluster;
  await client.delete(CILIUM_ROUTINGS, { name: NAME }); // of an earlier run
  await client.create(CILIUM_ROUTINGS, { metadata: { name: NAME }, spec: { mode: "native", native: { directNodeRoutes: true }, nodeSelector: {} } });
  try {
    await inForce(cluster, NAME, `${config.nodes}/${config.nodes}`);
    return await task();
  } finally {
    await client.delete(CILIUM_ROUTINGS, { name: NAME });
    await inForce(cluster, "default", `${config.nodes}/${config.nodes}`);
  }
}

async function inForce({ client }: BenchCluster, name: string, nodes: string): Promise<void> {
  await until(`CiliumRouting ${name} is in force on ${nodes} nodes`, async () => {
    const { metadata, status } = (await client.get(CILIUM_ROUTINGS, { name })) ?? {};
    const isReady = status?.conditions.some(({ type, status: is }) => type === "Ready" && is === "True") === true;
    return isReady && status.nodes === nodes && status.observedGeneration === metadata?.generation ? true : undefined;
  });
}
