/** `cilium endpoint list`: the pods that agents manage. */
import type { CiliumEndpoint } from "../api/gen/ciliumendpoints.ts";
import type { Cluster } from "./cluster.ts";
import { ENDPOINTS } from "./kinds.ts";
import { table } from "./table.ts";

export async function listEndpoints({ client }: Cluster, node: string | undefined): Promise<readonly CiliumEndpoint[]> {
  const { items } = await client.list(ENDPOINTS);
  return items
    .filter((endpoint) => node === undefined || endpoint.status?.networking.nodeName === node)
    .toSorted((a, b) => name(a).localeCompare(name(b)));
}

export function endpointsText(endpoints: readonly CiliumEndpoint[]): string {
  return table(
    ["POD", "NODE", "ID", "IDENTITY", "STATE", "ADDRESSES", "LABELS"],
    endpoints.map((endpoint) => {
      const { status } = endpoint;
      if (status === undefined) return [name(endpoint), "-", "-", "-", "-", "-", "-"];
      const addresses = status.networking.addressing.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]).filter((each) => each !== undefined);
      const labels = (status.identity.labels ?? []).join(" ");
      return [name(endpoint), status.networking.nodeName, String(status.id), String(status.identity.id), status.state, addresses.join(","), labels];
    }),
  );
}

function name({ metadata }: CiliumEndpoint): string {
  return `${metadata.namespace}/${metadata.name}`;
}
