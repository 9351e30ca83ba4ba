/** Parts of rows as the cells of a table show them. */
import { protocolName } from "../hubble/index.ts";
import type { EventRule } from "../hubble/index.ts";
import type { PolicyRef } from "../compile/state.ts";
import type { IdentityWords, PeerWords } from "./names.ts";

/** Of a list that a line has no room for, so many are shown; the other formats have them all. */
const SHOWN = 4;
const ICMP: readonly number[] = [1, 58];
const WHOLE_PORT = 16;
const PORTS = 0x1_0000;

export const NONE = "-";

export function listText(items: readonly (string | number)[], separator = " "): string {
  if (items.length === 0) return NONE;
  const more = items.length > SHOWN ? `${separator}… ${items.length - SHOWN} more` : "";
  return `${items.slice(0, SHOWN).join(separator)}${more}`;
}

export const labelsText = (labels: readonly string[]): string => (labels.length === 0 ? NONE : labels.join(" "));

export function identityText({ identity, labels }: IdentityWords): string {
  return labels.length === 0 ? String(identity) : `${identity} (${labels.join(" ")})`;
}

export function peerWordsText(peer: PeerWords): string {
  switch (peer.kind) {
    case "any":
      return "any";
    case "identity":
      return identityText(peer);
    case "addresses":
      return peer.cidrs.length === 0 ? `addresses of class ${peer.class}` : `addresses ${listText(peer.cidrs)}`;
    case "named-ports":
      return `${identityText(peer)} with ${listText(peer.ports, ",")}`;
  }
}

/** `namespace/name`, or the name alone of a kind of the whole cluster. */
export function policyName({ namespace, name }: Pick<PolicyRef, "namespace" | "name">): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

export const policyText = (policy: PolicyRef): string => `${policy.kind} ${policyName(policy)}`;

/** The policy and the rule in it that a rule's number stands for. */
export function ruleText(rule: EventRule | undefined): string {
  if (rule === undefined) return NONE;
  if (rule.references.length === 0) return `rule ${rule.id}`;
  const policies = listText(rule.references.map(policyText), ", ");
  return rule.kind === "default-deny" ? `default deny of ${policies}` : `${policies} ${rule.path}`.trim();
}

/** `TCP 80`, `UDP 8000-8003`, `TCP`, `ICMPv4 type 8`, `any`. */
export function portText(protocol: number, port: number, prefix: number): string {
  if (protocol === 0 && prefix === 0) return "any";
  const name = protocol === 0 ? "any" : protocolName(protocol);
  if (prefix === 0) return name;
  if (ICMP.includes(protocol)) return `${name} type ${port}`;
  return prefix === WHOLE_PORT ? `${name} ${port}` : `${name} ${port}-${port + PORTS / 2 ** prefix - 1}`;
}

export function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** Names of the bits that are set, of `[bit, name]`. */
export function flagWords(flags: number, names: readonly (readonly [number, string])[]): string[] {
  return names.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
}

export function durationText(seconds: number): string {
  if (seconds < 120) return `${seconds}s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)}m` : `${Math.floor(seconds / 3600)}h`;
}
