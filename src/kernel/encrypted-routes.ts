/**
 * Which packets the routing gives to WireGuard: the tunnel's own, to the nodes in a table of ours. A rule leads there by
 * protocol and port, so WireGuard's packets, which are on another port, take the node's other routes and never themselves.
 * Rule and routes are known by their protocol number.
 */
import { check } from "./command.ts";
import type { Run } from "./command.ts";
import { Links, ROUTE_PROTOCOL } from "./links.ts";

/** Number of the routing table. */
export const ENCRYPTED_TABLE = 193;
/** Behind `local` (0), before `main` (32766). */
const RULE_PRIORITY = 193;

export interface EncryptedRoute {
  /** A node's address. */
  readonly destination: string;
  /** This node's, of the same family. */
  readonly source: string;
  /** WireGuard's. */
  readonly device: string;
}

interface ShownRule {
  readonly priority: number;
  readonly table?: string;
  readonly ipproto?: string;
  readonly dport?: number;
}

interface ShownRoute {
  readonly dst: string;
  readonly dev: string;
  readonly prefsrc?: string;
}

const FAMILIES = ["-4", "-6"] as const;
type Family = (typeof FAMILIES)[number];
const familyOf = (ip: string): Family => (ip.includes(":") ? "-6" : "-4");

export class EncryptedRoutes {
  readonly #run: Run;
  readonly #links: Links;

  constructor(run: Run) {
    this.#run = run;
    this.#links = new Links(run);
  }

  /** UDP to `port` takes these routes; what has none takes the node's others. */
  async sync(port: number, routes: readonly EncryptedRoute[]): Promise<void> {
    for (const family of FAMILIES) {
      await this.#syncRoutes(family, routes.filter(({ destination }) => familyOf(destination) === family));
      await this.#syncRule(family, port);
    }
  }

  async remove(): Promise<void> {
    for (const family of FAMILIES) {
      await this.#syncRule(family, undefined);
      await this.#syncRoutes(family, []);
    }
  }

  async #syncRule(family: Family, port: number | undefined): Promise<void> {
    const { status, stdout } = await this.#run(["ip", "-json", family, "rule", "show"]);
    if (status !== 0) return; // a kernel without the family: nothing of it leaves
    const shown = JSON.parse(stdout) as readonly ShownRule[];
    const ours = shown.filter((rule) => rule.table === String(ENCRYPTED_TABLE));
    const isRight = (rule: ShownRule): boolean => rule.priority === RULE_PRIORITY && rule.ipproto === "udp" && rule.dport === port;
    const lines = ours.filter((rule) => !isRight(rule)).map((rule) => `${family} rule delete priority ${rule.priority} table ${ENCRYPTED_TABLE}`);
    if (port !== undefined && !ours.some(isRight)) lines.push(`${family} rule add priority ${RULE_PRIORITY} ipproto udp dport ${port} table ${ENCRYPTED_TABLE} protocol ${ROUTE_PROTOCOL}`);
    for (const line of lines) await check(this.#run, ["ip", ...line.split(" ")] as unknown as [string, ...string[]]);
  }

  async #syncRoutes(family: Family, routes: readonly EncryptedRoute[]): Promise<void> {
    const wanted = new Map(routes.map((route) => [route.destination, route]));
    // A table without routes is an error to iproute2, not an empty list.
    const { status, stdout } = await this.#run(["ip", "-json", family, "route", "show", "table", String(ENCRYPTED_TABLE)]);
    const shown = status === 0 && stdout.trim() !== "" ? (JSON.parse(stdout) as readonly ShownRoute[]) : [];
    const lines: string[] = [];
    for (const { dst, dev, prefsrc } of shown) {
      const route = wanted.get(dst);
      if (route !== undefined && route.source === prefsrc && route.device === dev) wanted.delete(dst);
      else if (!wanted.has(dst)) lines.push(`route delete ${dst} dev ${dev} table ${ENCRYPTED_TABLE}`);
    }
    // Replaced in one step: a destination that changes its device is never without a route.
    for (const { destination, source, device } of wanted.values()) lines.push(`route replace ${destination} dev ${device} table ${ENCRYPTED_TABLE} proto ${ROUTE_PROTOCOL} src ${source}`);
    await this.#links.batch(lines);
  }
}
