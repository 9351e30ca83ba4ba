/** Where builds find and put things; the only file of this folder that reads the environment. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

export interface ImageBuildConfig {
  readonly root: string;
  readonly cache: string;
  readonly version: string;
  readonly archive: string;
}

export function imageBuildConfig(env: NodeJS.ProcessEnv = process.env): ImageBuildConfig {
  const root = resolve(import.meta.dirname, "..", "..");
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  return {
    root,
    cache: join(env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "cilium-dev"),
    version,
    archive: join(root, "build", "image", "cilium.tar"),
  };
}
