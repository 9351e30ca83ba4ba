/** The encryption decision that the settings mean: one reader, for operator and agent. Pure. */
import { ConfigError } from "../lib/errors.ts";
import type { ReadSetting } from "./routing.ts";
import type { RoutingDecision } from "./state.ts";

/** Between nodes pods' packets travel inside WireGuard. */
export interface EncryptionDecision {
  /** UDP port of every node's WireGuard device. */
  readonly port: number;
}

const WIREGUARD_PORT = 51_871;

/** undefined: not encrypted. Throws ConfigError with the key's name for what is wrong or not built. */
export function readEncryption(read: ReadSetting, routing: RoutingDecision): EncryptionDecision | undefined {
  const enabled = read("encryption-enabled")?.trim() || "false";
  const type = read("encryption-type")?.trim() || "wireguard";
  if (enabled !== "true" && enabled !== "false") throw new ConfigError("encryption-enabled", `${JSON.stringify(enabled)} is neither true nor false`);
  if (type !== "wireguard") throw new ConfigError("encryption-type", `${JSON.stringify(type)} is not built; wireguard is`);
  if (enabled === "false") return undefined;
  if (routing.mode !== "tunnel") throw new ConfigError("encryption-enabled", `encryption with routing-mode ${routing.mode} is not built yet; use tunnel`);
  if (routing.tunnelPort === WIREGUARD_PORT) throw new ConfigError("tunnel-port", `${WIREGUARD_PORT} is WireGuard's while encryption is on`);
  return { port: WIREGUARD_PORT };
}
