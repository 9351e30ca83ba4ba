/** `make cli`: puts `cilium`, and links to the kubectl and Helm that the local cluster uses, into ./bin. */
import { chmod, mkdir, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { helm, kubernetes } from "../cluster/binaries/catalog.ts";
import { findProject } from "../cluster/binaries/find.ts";
import { describeError } from "../lib/errors.ts";
import { toolsConfig } from "./config.ts";

/** Finds the checkout through its own place, so that it runs from any folder and through links. */
const WRAPPER = `#!/bin/sh
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
exec "$root/node_modules/.bin/node" "$root/src/cli/main.ts" "$@"
`;

async function main(): Promise<void> {
  const { bin, kubernetesVersion, search } = toolsConfig();
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const cluster = kubernetes(kubernetesVersion);
  const kubectl = { ...cluster, binaries: cluster.binaries.filter(({ name }) => name === "kubectl") };
  const found = { ...(await findProject(kubectl, { ...search, say })), ...(await findProject(helm(), { ...search, say })) };
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, "cilium"), WRAPPER);
  await chmod(join(bin, "cilium"), 0o755);
  for (const [name, path] of Object.entries(found)) {
    // The file itself: what is found on PATH may be a link of the local cluster, which may be a link to ours.
    const file = await realpath(path);
    await rm(join(bin, name), { force: true });
    await symlink(file, join(bin, name));
  }
  process.stdout.write(`${bin}: cilium, ${Object.keys(found).join(", ")}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`make cli: ${describeError(error)}\n`);
  process.exitCode = 1;
}
