/** A machine beside the nodes: on their switch, in no cluster. */
import { CONFIG, must, node, NODES } from "./cluster.ts";
import { controlNetns } from "../../../src/cluster/config.ts";
import { Site } from "./pods.ts";

export interface Outside {
  readonly site: Site;
  readonly ipv4: string;
  readonly ipv6: string;
  remove(): Promise<void>;
}

/** `number` is the last octet of its addresses; choose one that no node has. */
export async function plugInOutside(number: number): Promise<Outside> {
  const netns = `${CONFIG.name}-e2e-out${number}`;
  const port = `e2eout${number}`;
  const ipv4 = `${CONFIG.subnet4}.${number}`;
  const ipv6 = `${CONFIG.subnet6}::${number.toString(16)}`;
  const control = controlNetns(CONFIG);
  const remove = async (): Promise<void> => {
    await must(["sh", "-c", `ip -n ${control} link del ${port} 2>/dev/null; ip netns del ${netns} 2>/dev/null; true`]);
  };
  await remove();
  await must(["ip", "netns", "add", netns]);
  await must(["ip", "-n", control, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", netns]);
  await must(["ip", "-n", control, "link", "set", port, "master", "switch", "up"]);
  for (const line of ["link set lo up", "link set eth0 up", `addr add ${ipv4}/24 dev eth0`, `-6 addr add ${ipv6}/64 dev eth0 nodad`]) {
    await must(["ip", "-n", netns, ...line.split(" ")]);
  }
  return { site: new Site(`outside-${number}`, ["nsenter", `--net=/run/netns/${netns}`, "--"]), ipv4, ipv6, remove };
}

/** A node itself, as one that asks and serves with its own addresses. */
export function nodeSite(number: number): Site {
  const { name, netns } = node(number);
  return new Site(name, ["nsenter", `--net=/run/netns/${netns}`, "--"]);
}

export const nodeCount = NODES.length;
