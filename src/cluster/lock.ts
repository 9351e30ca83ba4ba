import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import { ClusterError } from "./errors.ts";
import { processIdentity, readPidFile } from "./process.ts";

/**
 * Runs `work` as the only command that changes this cluster. The lock is a file with our process id and start time: one
 * left by a killed command names no live process and is taken over.
 */
export async function withLock<T>(file: string, command: string, work: () => Promise<T>): Promise<T> {
  acquire(file, command);
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

function acquire(file: string, command: string): void {
  mkdirSync(dirname(file), { recursive: true });
  const mine = `${file}.${process.pid}`;
  writeFileSync(mine, `${process.pid} ${processIdentity(process.pid)?.startTime ?? ""} ${command}\n`);
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        linkSync(mine, file); // Fails when it exists: exactly one of two commands at once gets it, with its content.
        return;
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
      }
      const owner = readPidFile(file);
      if (owner !== undefined) throw new ClusterError(`another command (${ownerName(file)}, process ${owner.pid}) is at work on this cluster`, "wait until it ends, or end it, then try again");
      rmSync(file, { force: true });
    }
    throw new ClusterError(`the lock ${file} cannot be taken`, "remove it if no make cluster runs");
  } finally {
    rmSync(mine, { force: true });
  }
}

function ownerName(file: string): string {
  try {
    return readFileSync(file, "utf8").trim().split(" ").slice(2).join(" ");
  } catch {
    return "unknown";
  }
}
