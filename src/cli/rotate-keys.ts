/** `cilium encryption rotate`: asks the agents, by the object that they all follow, for other keys. */
import { KEYS_NOT_BEFORE } from "../compile/index.ts";
import { isNotFound } from "../kube/errors.ts";
import { CILIUM_ENCRYPTIONS } from "../kube/kinds.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";

/** @returns the time before which keys must not have been made */
export async function rotateKeys({ client }: Cluster, now: Date): Promise<string> {
  const at = now.toISOString();
  try {
    await client.patch(CILIUM_ENCRYPTIONS, { name: "default" }, { metadata: { annotations: { [KEYS_NOT_BEFORE]: at } } });
  } catch (thrown) {
    if (isNotFound(thrown)) throw new CliError("nothing is encrypted: the cluster has no CiliumEncryption default (the chart's value encryption.enabled)");
    throw thrown;
  }
  return at;
}
