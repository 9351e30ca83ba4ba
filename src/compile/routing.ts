/** The routing decision that the settings mean: one reader, for operator and agent; and what an object says otherwise. Pure. */
import type { CiliumRouting } from "../api/gen/ciliumroutings.ts";
import { ConfigError } from "../lib/errors.ts";
import { canonicalJson, contentHash } from "../lib/hash.ts";
import { familyOf, formatCidr, parseCidr } from "../lib/ip.ts";
import type { Family } from "../lib/ip.ts";
import type { RoutingDecision } from "./state.ts";
import { NODE_SELECTOR, unknownWord } from "./words.ts";
import type { Words } from "./words.ts";

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
  if (mode !== "tunnel" && mode !== "native" && mode !== "auto") throw new ConfigError("routing-mode", `${JSON.stringify(mode)} is none of tunnel, native, auto`);
  const directRoutes = flag("auto-direct-node-routes", false);
  if (directRoutes && mode === "tunnel") throw new ConfigError("auto-direct-node-routes", "routes to other nodes' pods are written with routing-mode native and auto only");
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
    directRoutes: directRoutes || mode === "auto",
    masquerade: { ipv4: flag("enable-ipv4-masquerade", true), ipv6: flag("enable-ipv6-masquerade", true) },
    unmasqueraded: [...new Set(unmasqueraded)].sort(),
    ...masqueradeFrom(readCidrs("masquerade-source-cidrs", text("masquerade-source-cidrs", ""), undefined)),
  };
}

type Spec = CiliumRouting["spec"];

/** What an object may say. */
const WORDS: Words = {
  priority: true, nodeSelector: NODE_SELECTOR, mode: true,
  tunnel: { protocol: true, port: true },
  native: { directNodeRoutes: true, cidrs: true },
  masquerade: { ipv4: true, ipv6: true, excludedCIDRs: true, sourceCIDRs: true },
};

/** What spec.native.directNodeRoutes cannot be; null: it is a choice. */
const NEVER = { tunnel: true, auto: false, native: null } as const;

/** What is wrong with an object beyond its schema, in a sentence; undefined: nothing. */
export function routingProblem(spec: Spec, values: RoutingDecision): string | undefined {
  const unknown = unknownWord(spec, WORDS, "spec");
  if (unknown !== undefined) return `${unknown}: not known, or not built yet`;
  const { mode, tunnel, native, masquerade } = spec;
  if (tunnel?.port !== undefined && tunnel.port !== values.tunnelPort) return `spec.tunnel.port: all nodes have one, the chart's value tunnelPort (${values.tunnelPort})`;
  if (native?.directNodeRoutes === NEVER[mode]) return "spec.native.directNodeRoutes: routes are written with mode auto always, with tunnel never";
  return wrongCidr("spec.native.cidrs", native?.cidrs) ?? wrongCidr("spec.masquerade.excludedCIDRs", masquerade?.excludedCIDRs) ?? wrongCidr("spec.masquerade.sourceCIDRs", masquerade?.sourceCIDRs);
}

function wrongCidr(path: string, texts: readonly string[] = []): string | undefined {
  const at = texts.findIndex((text) => canonicalCidr(text) === undefined);
  return at === -1 ? undefined : `${path}[${at}]: ${JSON.stringify(texts[at])} is no CIDR`;
}

/** What an object that is right says for its nodes; of what it leaves out the chart's values hold. */
export function nodeRouting({ mode, native, masquerade }: Spec, values: RoutingDecision): RoutingDecision {
  const { excludedCIDRs, sourceCIDRs = values.masqueradeFrom, ipv4 = values.masquerade.ipv4, ipv6 = values.masquerade.ipv6 } = masquerade ?? {};
  const excluded = excludedCIDRs === undefined && native?.cidrs === undefined ? values.unmasqueraded : [...(excludedCIDRs ?? []), ...(native?.cidrs ?? [])];
  return {
    mode,
    tunnelPort: values.tunnelPort,
    directRoutes: mode === "auto" || (mode === "native" && (native?.directNodeRoutes ?? values.directRoutes)),
    masquerade: { ipv4, ipv6 },
    unmasqueraded: canonical(excluded),
    ...masqueradeFrom(sourceCIDRs),
  };
}

const canonical = (texts: readonly string[]): string[] => [...new Set(texts.flatMap((text) => canonicalCidr(text) ?? []))].sort();

/** The field; absent where nothing is said, as it is of operators and agents that do not know it. */
function masqueradeFrom(cidrs: readonly string[] = []): Pick<RoutingDecision, "masqueradeFrom"> {
  return cidrs.length === 0 ? {} : { masqueradeFrom: canonical(cidrs) };
}

function canonicalCidr(text: string): string | undefined {
  try {
    return formatCidr(parseCidr(text, { maskHostBits: true }));
  } catch {
    return undefined;
  }
}

/**
 * What a decision comes to where pods' packets between nodes are encrypted: in every mode they go through the tunnel, which is
 * inside WireGuard, so that a key proves which node sent them. The mode then says how pods and the outside reach each other.
 */
export function encryptedRouting(decision: RoutingDecision, isEncrypted: boolean): RoutingDecision {
  return isEncrypted ? { ...decision, mode: "tunnel", directRoutes: false } : decision;
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
