/** Parts of a process that start in order and stop in reverse. */
import { asError } from "./errors.ts";
import type { Logger } from "./log.ts";

export type Health =
  | { readonly level: "ok"; readonly message: string }
  | { readonly level: "degraded"; readonly message: string; readonly error: Error };

export interface Component {
  readonly name: string;
  /** Resolves when others may rely on the component. The signal fires when the process ends. */
  start(signal: AbortSignal): Promise<void>;
  /** Releases what start took. It is called once, also when start failed half way, and leaves the data path alone. */
  stop(): Promise<void>;
  health(): Health;
}

export class Lifecycle {
  readonly #logger: Logger;
  readonly #components: Component[] = [];
  readonly #started: Component[] = [];
  readonly #abort = new AbortController();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  append(component: Component): void {
    this.#components.push(component);
  }

  /** Starts all in order. When one fails, those that were touched are stopped in reverse and the error is thrown. */
  async start(): Promise<void> {
    for (const component of this.#components) {
      this.#started.push(component);
      try {
        await component.start(this.#abort.signal);
      } catch (thrown) {
        this.#logger.error("component failed to start", { name: component.name, error: asError(thrown) });
        await this.stop();
        throw thrown;
      }
    }
  }

  /** Stops in reverse order; a component that fails to stop does not keep the others from stopping. */
  async stop(): Promise<void> {
    this.#abort.abort();
    for (let component = this.#started.pop(); component !== undefined; component = this.#started.pop()) {
      try {
        await component.stop();
      } catch (thrown) {
        this.#logger.error("component failed to stop", { name: component.name, error: asError(thrown) });
      }
    }
  }

  /** Health of every component by name, in start order. */
  health(): ReadonlyMap<string, Health> {
    return new Map(this.#components.map((component) => [component.name, component.health()]));
  }
}

export const OK: Health = { level: "ok", message: "" };
