/**
 * Requests and answers of the plugin: parsing with every limit checked, and the result in the version that the
 * network configuration asks for (CNI specification 1.1.0; 0.3.1 and 0.4.0 mark each address with its family).
 */
import { CniError, CniErrorCode } from "./errors.ts";
import type { PodRef } from "./ports.ts";

export const CNI_VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];
export const CNI_COMMANDS = ["ADD", "DEL", "CHECK", "GC", "STATUS"] as const;
export type CniCommand = (typeof CNI_COMMANDS)[number];

const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
const DNS_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const MAX_INTERFACE_NAME = 15; // IFNAMSIZ less the terminator

export interface ValidAttachment {
  readonly containerID: string;
  readonly ifname: string;
}

export interface CniRequest {
  readonly command: CniCommand;
  readonly containerId: string;
  readonly netns: string;
  readonly ifname: string;
  readonly pod: PodRef | undefined;
  readonly cniVersion: CniVersion;
  /** Attachments that the runtime still has; GC only. */
  readonly valid: readonly ValidAttachment[];
  /** The result of ADD as the runtime remembers it; CHECK only. */
  readonly previous: Readonly<Record<string, unknown>> | undefined;
}

export interface CniInterface {
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly sandbox?: string;
}

export interface CniAddress {
  readonly address: string;
  readonly gateway: string;
  /** Index in `interfaces`. */
  readonly interface: number;
}

export interface CniRoute {
  readonly dst: string;
  readonly gw: string;
}

export interface CniResult {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniAddress[];
  readonly routes: readonly CniRoute[];
}

type JsonObject = Readonly<Record<string, unknown>>;

function parseObject(text: string, what: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw new CniError(CniErrorCode.decode, `${what} is no JSON`, "", thrown);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CniError(CniErrorCode.decode, `${what} is no JSON object`);
  }
  return value as JsonObject;
}

function text(from: JsonObject, key: string): string {
  const value = from[key] ?? "";
  if (typeof value !== "string") throw new CniError(CniErrorCode.decode, `${key} is no string`);
  return value;
}

/** The pod of CNI_ARGS (`K=V;K=V`); undefined when the runtime names none. */
function parsePod(args: string): PodRef | undefined {
  const values = new Map<string, string>();
  for (const pair of args.split(";")) {
    const equals = pair.indexOf("=");
    if (equals > 0) values.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const namespace = values.get("K8S_POD_NAMESPACE") ?? "";
  const name = values.get("K8S_POD_NAME") ?? "";
  const uid = values.get("K8S_POD_UID") ?? "";
  if (namespace === "" && name === "") return undefined;
  if (!DNS_NAME.test(namespace) || !DNS_NAME.test(name) || !/^[a-zA-Z0-9-]{0,64}$/.test(uid)) {
    throw new CniError(CniErrorCode.environment, "CNI_ARGS names no valid pod", JSON.stringify({ namespace, name, uid }));
  }
  return { namespace, name, uid };
}

function parseVersion(config: JsonObject): CniVersion {
  const wanted = text(config, "cniVersion");
  const found = CNI_VERSIONS.find((version) => version === wanted);
  if (found !== undefined) return found;
  throw new CniError(CniErrorCode.incompatibleVersion, `cniVersion ${JSON.stringify(wanted)} is not supported`, `supported: ${CNI_VERSIONS.join(", ")}`);
}

function parseValid(config: JsonObject): ValidAttachment[] {
  const list = config["cni.dev/valid-attachments"] ?? config["cni.dev/attachments"];
  // Without the list nothing may be judged unknown: removing all would cut every pod of the node.
  if (!Array.isArray(list)) throw new CniError(CniErrorCode.invalidConfig, "GC without cni.dev/valid-attachments");
  return list.map((item: unknown) => {
    const entry = typeof item === "object" && item !== null ? (item as JsonObject) : {};
    if (typeof entry.containerID !== "string" || typeof entry.ifname !== "string") {
      throw new CniError(CniErrorCode.invalidConfig, "cni.dev/valid-attachments holds an entry without containerID and ifname");
    }
    return { containerID: entry.containerID, ifname: entry.ifname };
  });
}

/** Parses one line of the plugin. Throws CniError; `versionOf` tells in which version to answer it. */
export function parseRequest(line: string): CniRequest {
  const request = parseObject(line, "the request");
  const command = CNI_COMMANDS.find((known) => known === request.command);
  if (command === undefined) throw new CniError(CniErrorCode.environment, `CNI_COMMAND ${JSON.stringify(request.command)} is no known command`);
  const config = parseObject(text(request, "config"), "the network configuration");
  const containerId = text(request, "containerId");
  const ifname = text(request, "ifname");
  if (command === "ADD" || command === "CHECK" || command === "DEL") checkNames(containerId, ifname);
  const previous = config.prevResult;
  return {
    command,
    containerId,
    ifname,
    netns: text(request, "netns"),
    pod: command === "ADD" ? parsePod(text(request, "args")) : undefined,
    // DEL must succeed whatever an older configuration says.
    cniVersion: command === "DEL" ? versionOf(line) : parseVersion(config),
    valid: command === "GC" ? parseValid(config) : [],
    previous: typeof previous === "object" && previous !== null ? (previous as JsonObject) : undefined,
  };
}

function checkNames(containerId: string, ifname: string): void {
  if (!CONTAINER_ID.test(containerId)) throw new CniError(CniErrorCode.environment, "CNI_CONTAINERID is no valid container id", JSON.stringify(containerId.slice(0, 200)));
  const tooLong = Buffer.byteLength(ifname) > MAX_INTERFACE_NAME;
  // The kernel's own rule, dev_valid_name() in net/core/dev.c.
  if (ifname === "" || tooLong || ifname === "." || ifname === ".." || /[/:\s\u0000]/.test(ifname) || ifname === "lo") {
    throw new CniError(CniErrorCode.environment, "CNI_IFNAME is no valid name of an interface", JSON.stringify(ifname.slice(0, 100)));
  }
}

/** The version to answer in; the newest when the request does not tell a known one. */
export function versionOf(line: string): CniVersion {
  try {
    return parseVersion(parseObject(text(parseObject(line, "the request"), "config"), "the network configuration"));
  } catch {
    return "1.1.0";
  }
}

/** The result of ADD as JSON text of that version. */
export function formatResult(result: CniResult, cniVersion: CniVersion): string {
  const old = cniVersion === "0.3.1" || cniVersion === "0.4.0";
  const interfaces = result.interfaces.map(({ mtu, ...rest }) => (cniVersion === "1.1.0" ? { ...rest, mtu } : rest));
  const ips = result.ips.map((ip) => (old ? { version: ip.address.includes(":") ? "6" : "4", ...ip } : ip));
  return JSON.stringify({ cniVersion, interfaces, ips, routes: result.routes, dns: {} });
}

export function formatError(error: CniError, cniVersion: CniVersion): string {
  return JSON.stringify({ cniVersion, code: error.cniCode, msg: error.message, details: error.details });
}
