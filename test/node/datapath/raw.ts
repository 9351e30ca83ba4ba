/** Frames past the stack, into a namespace of the lab and out of it. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Long: a machine that stands still for some seconds has lost nothing. */
const PATIENCE_MS = 20_000;

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

export class Raw {
  readonly #folder = mkdtempSync(join(tmpdir(), "raw-"));
  readonly #ears: Ear[] = [];

  constructor() {
    execFileSync("gcc", ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", this.#program, join(import.meta.dirname, "raw.c")]);
  }

  get #program(): string {
    return join(this.#folder, "raw");
  }

  send(namespace: string, frames: readonly Uint8Array[], device = "eth0"): void {
    execFileSync("ip", ["netns", "exec", namespace, this.#program, "send", device], { input: frames.map((frame) => `${Buffer.from(frame).toString("hex")}\n`).join("") });
  }

  async hear(namespace: string, what: "hear" | "datagrams" = "hear", where = "eth0"): Promise<Ear> {
    const child = spawn("ip", ["netns", "exec", namespace, this.#program, what, where], { stdio: ["ignore", "pipe", "inherit"] });
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
