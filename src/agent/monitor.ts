/** `monitor.sock`: every event as one line of JSON to everyone who is connected. A slow reader loses events and is told how many. */
import type { Socket } from "node:net";
import type { MonitorEvent } from "../hubble/index.ts";
import { listenLocally } from "./local-socket.ts";

export interface MonitorServerOptions {
  readonly path: string;
  readonly node: string;
  readonly now: () => Date;
  /** So many events did not reach a reader. */
  readonly onLost: (count: number) => void;
}

/** What may wait for one reader; beyond it events are counted, not kept. */
const MAX_PENDING_BYTES = 4 << 20;

export class MonitorServer {
  readonly #options: MonitorServerOptions;
  /** Reader -> events that it lost. */
  readonly #readers = new Map<Socket, number>();

  constructor(options: MonitorServerOptions) {
    this.#options = options;
  }

  /** Nobody listens: decoding and naming can be saved. */
  get idle(): boolean {
    return this.#readers.size === 0;
  }

  async listen(): Promise<void> {
    await listenLocally(this.#options.path, (socket) => this.#accept(socket));
  }

  publish(events: readonly MonitorEvent[]): void {
    if (this.idle || events.length === 0) return;
    const text = `${events.map((event) => JSON.stringify(event)).join("\n")}\n`;
    for (const [reader, lost] of this.#readers) {
      if (reader.writableLength > MAX_PENDING_BYTES) {
        this.#readers.set(reader, lost + events.length);
        this.#options.onLost(events.length);
        continue;
      }
      if (lost > 0) reader.write(`${JSON.stringify(this.#lost(lost))}\n`);
      this.#readers.set(reader, 0);
      reader.write(text);
    }
  }

  #lost(count: number): MonitorEvent {
    const { node, now } = this.#options;
    return { time: now().toISOString(), type: "lost", node, count, where: "client-buffer" };
  }

  #accept(socket: Socket): void {
    this.#readers.set(socket, 0);
    socket.on("close", () => this.#readers.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.resume();
  }
}
