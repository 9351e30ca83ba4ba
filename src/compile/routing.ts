/** The routing decision that the settings mean: one reader, for operator and agent. Pure. */
import { ConfigError } from "../lib/errors.ts";
import { canonicalJson, contentHash } from "../lib/hash.ts";
import { familyOf, formatCidr, parseCidr } from "../lib/ip.ts";
import type { Family } from "../lib/ip.ts";
import type { RoutingDecision } from "./state.ts";

/** Value of a setting by its key; undefined or empty: not set. */
export type ReadSetting = (key: string) => string | undefined;

const DEFAULT_TUNNEL_PORT = "8472";

/** Throws ConfigError with the key's name for anything that is wrong. */
export function readRouting(read: ReadSetting): RoutingDecision {
  const text = (key: string, absent: string): string => read(key)?.trim() || absent;
  const flag = (key: string, absent: boolean): boolean => {
    const value = text(key, String(absent));
    if (value !== "true" && value !== "false") throw new ConfigError(key, `${JSON.stringify(value)} is neither true nor false`);
    return value === "true";
  };
  const mode = text("routing-mode", "tunnel");
  if (mode !== "tunnel" && mode !== "native") throw new ConfigError("routing-mode", `${JSON.stringify(mode)} is neither tunnel nor native`);
  const directRoutes = flag("auto-direct-node-routes", false);
  if (directRoutes && mode !== "native") throw new ConfigError("auto-direct-node-routes", "routes to other nodes' pods are written with routing-mode native only");
  const port = text("tunnel-port", DEFAULT_TUNNEL_PORT);
  if (!/^[0-9]+$/.test(port) || Number(port) < 1 || Number(port) > 65_535) throw new ConfigError("tunnel-port", `${JSON.stringify(port)} is no number from 1 to 65535`);
  const unmasqueraded = [
    ...readCidrs("ipv4-native-routing-cidr", text("ipv4-native-routing-cidr", ""), 4),
    ...readCidrs("ipv6-native-routing-cidr", text("ipv6-native-routing-cidr", ""), 6),
    ...readCidrs("non-masquerade-cidrs", text("non-masquerade-cidrs", ""), undefined),
  ];
  return {
    mode,
    tunnelPort: Number(port),
    directRoutes,
    masquerade: { ipv4: flag("enable-ipv4-masquerade", true), ipv6: flag("enable-ipv6-masquerade", true) },
    unmasqueraded: [...new Set(unmasqueraded)].sort(),
  };
}

/** Equal for equal decisions, whoever computes it. */
export function routingHash(decision: RoutingDecision): string {
  return contentHash(canonicalJson(decision));
}

function readCidrs(key: string, list: string, family: Family | undefined): string[] {
  return list.split(",").map((text) => text.trim()).filter((text) => text !== "").map((text) => {
    try {
      const cidr = parseCidr(text, { maskHostBits: true });
      if (family === undefined || familyOf(cidr.address) === family) return formatCidr(cidr);
    } catch {
      // Said below.
    }
    throw new ConfigError(key, `${JSON.stringify(text)} is no CIDR${family === undefined ? "" : ` of IPv${family}`}`);
  });
}
