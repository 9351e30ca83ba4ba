/** Network namespaces by their files. A namespace is its (device, inode); the path is only a name for it. */
import { stat } from "node:fs/promises";
import { codeOf } from "../lib/errors.ts";
import { CniError, CniErrorCode } from "./errors.ts";

export interface NetnsOptions {
  /** The node's own namespace, such as /proc/self/ns/net: the agent runs in it. */
  readonly host: string;
  /** Where the node's /proc is mounted in the agent's container; undefined when it is /proc. */
  readonly hostProc: string | undefined;
  /** Of a file that is some namespace: whether it is one of the network. */
  readonly isNetwork: (path: string) => boolean;
}

export class NetnsResolver {
  readonly #options: NetnsOptions;

  constructor(options: NetnsOptions) {
    this.#options = options;
  }

  /** The path under which the agent sees the namespace that the runtime names `netns`. */
  path(netns: string): string {
    const { hostProc } = this.#options;
    return hostProc !== undefined && netns.startsWith("/proc/") ? hostProc + netns.slice("/proc".length) : netns;
  }

  /** Its id, or undefined when there is no such namespace. */
  async find(netns: string): Promise<string | undefined> {
    try {
      const { dev, ino } = await stat(this.path(netns));
      return `${dev}:${ino}`;
    } catch {
      return undefined;
    }
  }

  /** The namespace of that id no longer has this name. A file that is no namespace proves nothing: false. */
  async isGone(netns: string, id: string): Promise<boolean> {
    const host = await stat(this.#options.host);
    try {
      const { dev, ino } = await stat(this.path(netns));
      return dev === host.dev && `${dev}:${ino}` !== id;
    } catch (thrown) {
      return codeOf(thrown) === "ENOENT";
    }
  }

  /** The id of a namespace that a pod may be attached in; throws CniError for any other file. */
  async requirePod(netns: string): Promise<string> {
    if (!netns.startsWith("/") || netns.split("/").includes("..")) throw new CniError(CniErrorCode.environment, "CNI_NETNS is no absolute path", netns.slice(0, 200));
    const host = await stat(this.#options.host);
    const found = await stat(this.path(netns)).catch((thrown: unknown) => {
      throw new CniError(CniErrorCode.environment, "CNI_NETNS cannot be opened", netns.slice(0, 200), thrown);
    });
    if (found.dev !== host.dev || !this.#options.isNetwork(this.path(netns))) throw new CniError(CniErrorCode.environment, "CNI_NETNS is no network namespace", netns);
    if (found.ino === host.ino) throw new CniError(CniErrorCode.environment, "CNI_NETNS is the node's own network namespace", netns);
    return `${found.dev}:${found.ino}`;
  }
}
