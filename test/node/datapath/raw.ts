/** Frames past the stack, into a network namespace and out of it. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Long: a machine that stands still for some seconds has lost nothing. */
const PATIENCE_MS = 60_000;

export class Ear {
  readonly heard: string[] = [];
  readonly #child: ChildProcess;
  #arrived: (() => void) | undefined;

  constructor(child: ChildProcess, lines: AsyncIterable<string>) {
    this.#child = child;
    void this.#listen(lines);
  }

  async #listen(lines: AsyncIterable<string>): Promise<void> {
    for await (const line of lines) {
      this.heard.push(line);
      this.#arrived?.();
    }
  }

  has(text: string): boolean {
    return this.heard.some((line) => line.includes(Buffer.from(text).toString("hex")));
  }

  /** Until a frame holds the text. */
  async waitFor(matches: (frame: string) => boolean, what: string): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!this.heard.some(matches)) {
      const left = deadline - Date.now();
      assert.ok(left > 0, `never heard: ${what}; heard ${this.heard.join("\n")}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#arrived = () => { clearTimeout(timer); resolve(); };
      });
    }
  }

  close(): void {
    this.#child.kill();
  }
}

/** The name of a network namespace, or the command that enters one. */
export type Where = string | readonly string[];
const enter = (where: Where): readonly string[] => (typeof where === "string" ? ["ip", "netns", "exec", where] : where);

export class Raw {
  readonly #folder = mkdtempSync(join(tmpdir(), "raw-"));
  readonly #ears: Ear[] = [];

  constructor() {
    execFileSync("gcc", ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", this.#program, join(import.meta.dirname, "raw.c")]);
  }

  get #program(): string {
    return join(this.#folder, "raw");
  }

  send(from: Where, frames: readonly Uint8Array[], device = "eth0"): void {
    const [file = "", ...args] = [...enter(from), this.#program, "send", device];
    execFileSync(file, args, { input: frames.map((frame) => `${Buffer.from(frame).toString("hex")}\n`).join("") });
  }

  async hear(at: Where, what: "hear" | "datagrams" = "hear", where = "eth0"): Promise<Ear> {
    const [file = "", ...args] = [...enter(at), this.#program, what, where];
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout });
    await once(lines, "line");
    const ear = new Ear(child, lines);
    this.#ears.push(ear);
    return ear;
  }

  close(): void {
    for (const ear of this.#ears) ear.close();
    rmSync(this.#folder, { recursive: true });
  }
}
