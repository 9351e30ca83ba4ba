/** The encryption decision that the settings mean: one reader, for operator and agent. Pure. */
import type { CiliumEncryption } from "../api/gen/ciliumencryptions.ts";
import { ConfigError } from "../lib/errors.ts";
import type { ReadSetting } from "./routing.ts";
import type { RoutingDecision } from "./state.ts";
import { NODE_SELECTOR, unknownWord } from "./words.ts";
import type { Words } from "./words.ts";

/** Annotation of the CiliumEncryption: its value, a time, asks that keys which were made before be replaced. */
export const KEYS_NOT_BEFORE = "cilium.io/keys-not-before";

/** Who encrypts: the kernel where it can, else a process; always a process; never one. */
export type Userspace = "auto" | "always" | "never";

/** Between nodes pods' packets travel inside WireGuard. */
export interface EncryptionDecision {
  /** UDP port of every node's WireGuard; while a key is replaced the next one is in use too. */
  readonly port: number;
  /** Seconds after which a silent node says that it is there; 0: it is silent. */
  readonly persistentKeepalive: number;
  /** A key that is older is replaced; undefined: never for its age. */
  readonly keyRotationMs: number | undefined;
  readonly userspace: Userspace;
}

/** What may differ from node to node. */
export type NodeEncryptionSettings = Omit<EncryptionDecision, "userspace">;

/** What an object may say. */
const WORDS: Readonly<Record<keyof CiliumEncryption["spec"], Words>> = {
  type: true, priority: true, nodeSelector: NODE_SELECTOR, port: true, persistentKeepalive: true, keyRotationSeconds: true, userspace: true,
};

const WIREGUARD_PORT = 51_871;
const SECOND_MS = 1000;
const UNITS: Readonly<Record<string, number>> = { m: 60 * SECOND_MS, h: 3600 * SECOND_MS, d: 86_400 * SECOND_MS };
/** Of a UDP port, and of WireGuard's keepalive. */
const MOST = 65_535;

/** undefined: not encrypted. Throws ConfigError with the key's name for what is wrong or not built. */
export function readEncryption(read: ReadSetting, routing: Pick<RoutingDecision, "tunnelPort">): EncryptionDecision | undefined {
  const enabled = choice(read, "encryption-enabled", "false", ["true", "false"]);
  const type = read("encryption-type")?.trim() || "wireguard";
  if (type !== "wireguard") throw new ConfigError("encryption-type", `${JSON.stringify(type)} is not built; wireguard is`);
  const decision = {
    port: whole(read, "encryption-port", WIREGUARD_PORT, 1, MOST - 1),
    persistentKeepalive: whole(read, "encryption-persistent-keepalive", 0, 0, MOST),
    keyRotationMs: interval(read, "encryption-key-rotation-interval"),
    userspace: choice(read, "encryption-userspace", "auto", ["auto", "always", "never"]),
  };
  if (enabled === "false") return undefined;
  const { port } = decision;
  if (routing.tunnelPort === port || routing.tunnelPort === port + 1) throw new ConfigError("tunnel-port", `${port} and ${port + 1} are WireGuard's while encryption is on`);
  return decision;
}

/** What is wrong with an object beyond its schema, in a sentence; undefined: nothing. One that is wrong speaks for no node. */
export function encryptionProblem(spec: CiliumEncryption["spec"], { tunnelPort }: Pick<RoutingDecision, "tunnelPort">): string | undefined {
  const unknown = unknownWord(spec, WORDS, "spec");
  if (unknown !== undefined) return `${unknown}: not known, or not built yet`;
  const { port } = spec;
  if (port !== undefined && (port === tunnelPort || port + 1 === tunnelPort)) return `spec.port: ${port} and ${port + 1} would be WireGuard's, and ${tunnelPort} is the tunnel's`;
  return undefined;
}

/** What the object says for its nodes; of what it leaves out the chart's values hold. */
export function nodeEncryption({ port, persistentKeepalive, keyRotationSeconds }: CiliumEncryption["spec"], values: NodeEncryptionSettings): NodeEncryptionSettings {
  const keyRotationMs = keyRotationSeconds === undefined ? values.keyRotationMs : keyRotationSeconds * SECOND_MS || undefined;
  return { port: port ?? values.port, persistentKeepalive: persistentKeepalive ?? values.persistentKeepalive, keyRotationMs };
}

function choice<T extends string>(read: ReadSetting, key: string, absent: T, of: readonly T[]): T {
  const text = read(key)?.trim() || absent;
  const found = of.find((one) => one === text);
  if (found === undefined) throw new ConfigError(key, `${JSON.stringify(text)} is none of ${of.join(", ")}`);
  return found;
}

function whole(read: ReadSetting, key: string, absent: number, least: number, most: number): number {
  const text = read(key)?.trim() || String(absent);
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || value < least || value > most) throw new ConfigError(key, `${JSON.stringify(text)} is no whole number from ${least} to ${most}`);
  return value;
}

/** `90m`, `24h`, `30d`; `0`: undefined. */
function interval(read: ReadSetting, key: string): number | undefined {
  const text = read(key)?.trim() || "0";
  if (text === "0") return undefined;
  const [, number = "", unit = ""] = /^([1-9][0-9]{0,4})([mhd])$/.exec(text) ?? [];
  if (number === "") throw new ConfigError(key, `${JSON.stringify(text)} is neither 0 nor a number with m, h or d`);
  return Number(number) * (UNITS[unit] ?? 0);
}
