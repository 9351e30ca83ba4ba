/** Address blocks of the policy languages. */
import { parseBlock } from "../api/meaning.ts";
import { canonicalJson } from "../lib/hash.ts";
import { cidrContains, formatCidr, parseCidr } from "../lib/ip.ts";
import type { CidrBlock, CidrPeers, PeerScope } from "./state.ts";

/** All IPv4 addresses, as 16 bytes ::ffff:0:0/96. */
const ALL_IPV4 = parseCidr("0.0.0.0/0");
export const OF_NODES: ReadonlySet<PeerScope> = new Set(["nodes"]);
const SCOPES: readonly PeerScope[] = ["world", "nodes", "pods"];

/** Blocks in canonical text, each once; equal peers are equal texts. The blocks must be well-formed. */
export function cidrPeers(blocks: readonly { readonly cidr: string; readonly except?: readonly string[] | undefined }[], scopes: ReadonlySet<PeerScope>): CidrPeers {
  const canonical = blocks.map(({ cidr, except }) => canonicalBlock(cidr, except ?? []));
  const byText = new Map(canonical.map((block) => [canonicalJson(block), block]));
  return { kind: "cidrs", blocks: [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, block]) => block), scopes: SCOPES.filter((scope) => scopes.has(scope)) };
}

/** In the datapath's 16 bytes a short IPv6 prefix would hold all of IPv4, which it does not mean: `::/0` is IPv6 alone. */
function canonicalBlock(text: string, except: readonly string[]): CidrBlock {
  const cidr = parseBlock(text);
  const exceptions = new Set(except.map((inner) => formatCidr(parseBlock(inner))));
  if (cidr.prefix < ALL_IPV4.prefix && cidrContains(cidr, ALL_IPV4.address)) exceptions.add(formatCidr(ALL_IPV4));
  return { cidr: formatCidr(cidr), except: [...exceptions].sort() };
}
