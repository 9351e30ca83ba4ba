/**
 * What preflight says of the agent's own node: logged with meaning and remedy when it starts, and told as warnings of the
 * acknowledgement as long as it holds. It stops nothing: what cannot work fails by itself, and then the log says why.
 */
import type { Logger } from "../lib/log.ts";
import { asError } from "../lib/errors.ts";
import { gather, judge, problems } from "../preflight/index.ts";
import type { Facts, Finding, GatherOptions, Range } from "../preflight/index.ts";
import type { AgentConfig } from "./config.ts";
import type { MapWarning } from "./map-fill.ts";
import type { CiliumNodeRow } from "./objects.ts";
import type { LocalNode } from "./peers.ts";

const MAX_WARNINGS = 20;
const MAX_MESSAGE = 500;

export interface NodePreflightOptions {
  readonly config: AgentConfig;
  readonly logger: Logger;
  readonly local: () => LocalNode;
  /** The other nodes, and perhaps this one. */
  readonly nodes: () => Iterable<CiliumNodeRow>;
  /** Tests have facts of their own. */
  readonly gather?: (options: GatherOptions) => Promise<Facts>;
}

export class NodePreflight {
  readonly #options: NodePreflightOptions;
  #problems: readonly Finding[] = [];

  constructor(options: NodePreflightOptions) {
    this.#options = options;
  }

  /** Looks again; logs what was not there before. Resolves to whether anything is another than it was. */
  async look(): Promise<boolean> {
    const { config, logger, gather: read = gather } = this.#options;
    const before = new Set(this.#problems.map(text));
    try {
      const plan = {
        ...config.routing, enableIPv6: config.enableIPv6, cniExclusive: config.cniExclusive, cniConfPath: config.cniConfPath, ranges: this.#ranges(),
      };
      this.#problems = problems(judge(await read({ plan, bpfObjects: config.paths.bpfObjects, load: false })));
    } catch (thrown) {
      logger.warn("the node could not be checked", { error: asError(thrown) });
      return false;
    }
    for (const finding of this.#problems.filter((each) => !before.has(text(each)))) {
      const { check, verdict, message, meaning, remedy } = finding;
      logger[verdict === "blocker" ? "error" : "warn"](`preflight: ${message}`, { check, meaning, remedy });
    }
    return before.size !== this.#problems.length || this.#problems.some((each) => !before.has(text(each)));
  }

  warnings(): readonly MapWarning[] {
    return this.#problems.slice(0, MAX_WARNINGS).map((finding) => ({ part: `preflight ${finding.check}`, message: text(finding).slice(0, MAX_MESSAGE) }));
  }

  /** For the condition of the Node; empty when there is nothing to say. */
  get summary(): string {
    const count = this.#problems.length;
    return count === 0 ? "" : `; preflight found ${count} ${count === 1 ? "problem" : "problems"}, which \`cilium preflight\` tells`;
  }

  #ranges(): Range[] {
    const local = this.#options.local();
    const others = [...this.#options.nodes()].filter(({ name }) => name !== local.name);
    return [local, ...others].flatMap(({ name, podCidrs, internalIps }) => [
      ...podCidrs.map((cidr) => ({ of: `pods of ${name}`, kind: "pods" as const, cidr })),
      ...internalIps.map((cidr) => ({ of: `node ${name}`, kind: "node" as const, cidr })),
    ]);
  }
}

function text({ message, meaning = "", remedy = "" }: Finding): string {
  return `${message}: ${meaning}; ${remedy}`;
}
