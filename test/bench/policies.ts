/** The policies of the benchmark, in the part of the language that is built. */
import { type BenchCluster, NAMESPACE, until } from "./cluster.ts";
import { CILIUM_NETWORK_POLICIES, type KubeObject, type ObjectMeta } from "../../src/kube/index.ts";
import { PINGPONG_PORT, STREAM_PORT } from "./traffic.ts";

export const CLIENT = "bench-client";
export const SERVER = "bench-server";
export const JUDGED = "bench-judged";

interface PolicyObject extends KubeObject {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

const selector = (app: string): object => ({ matchLabels: { app } });
const toPorts = [{ ports: [STREAM_PORT, PINGPONG_PORT].map((port) => ({ port: String(port), protocol: "TCP" })) }];

/** Both ends of the measured traffic are under a policy that names the other end and the ports. */
const TRAFFIC_POLICIES = [
  { metadata: metadata("bench-server"), spec: { endpointSelector: selector(SERVER), ingress: [{ fromEndpoints: [selector(CLIENT)], toPorts }] } },
  { metadata: metadata("bench-client"), spec: { endpointSelector: selector(CLIENT), egress: [{ toEndpoints: [selector(SERVER)], toPorts }] } },
];

/** Closes the judged pod to everyone that it does not name: nobody is called that. */
export const CLOSING_POLICY = {
  metadata: metadata("bench-closing"),
  spec: { endpointSelector: selector(JUDGED), ingress: [{ fromEndpoints: [selector("bench-nobody")] }] },
};

/** Creates the policies of the traffic and waits until they are in force on every node. */
export async function enforceTrafficPolicies({ client }: BenchCluster): Promise<void> {
  for (const policy of TRAFFIC_POLICIES) await client.create(CILIUM_NETWORK_POLICIES, policy as never);
  for (const { metadata: { name } } of TRAFFIC_POLICIES) {
    await until(`policy ${name} is enforced`, async () => {
      const policy = (await client.get(CILIUM_NETWORK_POLICIES, { namespace: NAMESPACE, name })) as PolicyObject | undefined;
      return policy?.status?.conditions?.some(({ type, status }) => type === "Enforced" && status === "True") === true ? true : undefined;
    });
  }
}

function metadata(name: string): ObjectMeta {
  return { name, namespace: NAMESPACE };
}
