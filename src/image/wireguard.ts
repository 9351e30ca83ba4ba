/** Puts wireguard-go, for nodes whose kernel has no WireGuard, where it is asked for: `wireguard.ts FILE`. */
import { copyFile, mkdir, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { wireguardGo } from "../cluster/binaries/catalog.ts";
import { findProject } from "../cluster/binaries/find.ts";
import { describeError } from "../lib/errors.ts";
import { toolsConfig } from "./config.ts";

async function main(file: string): Promise<void> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const found = await findProject(wireguardGo(), { ...toolsConfig().search, say });
  const unfinished = `${file}.${process.pid}.part`;
  await mkdir(dirname(file), { recursive: true });
  await copyFile(found["wireguard-go"] ?? "", unfinished);
  await rename(unfinished, file);
}

try {
  await main(process.argv[2] ?? "");
} catch (error) {
  process.stderr.write(`wireguard-go: ${describeError(error)}\n`);
  process.exitCode = 1;
}
