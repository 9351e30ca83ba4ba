/** The operator as a process. */
import { type ChildProcess, spawn } from "node:child_process";
import { openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiServer } from "./apiserver.ts";

export class OperatorProcess {
  readonly log: string;
  readonly #child: ChildProcess;

  constructor(server: ApiServer, directory: string, name: string) {
    this.log = join(directory, `${name}.log`);
    const out = openSync(this.log, "a");
    this.#child = spawn(process.execPath, [join(import.meta.dirname, "../../src/operator/main.ts")], {
      env: { ...process.env, KUBECONFIG: server.kubeconfig, CILIUM_CONFIG_DIRECTORY: join(directory, "config"), POD_NAME: name, POD_NAMESPACE: "kube-system" },
      stdio: ["ignore", out, out],
    });
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<number | null> {
    if (this.#child.exitCode !== null) return this.#child.exitCode;
    const { promise, resolve } = Promise.withResolvers<number | null>();
    this.#child.once("exit", (code) => resolve(code));
    this.#child.kill(signal);
    return promise;
  }

  get text(): string {
    return readFileSync(this.log, "utf8");
  }
}
