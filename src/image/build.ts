/** `make image`: builds/updates build/image/cilium.tar, the one image of operator, agent and CLI. */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { describeError } from "../lib/errors.ts";
import { imageBuildConfig } from "./config.ts";
import { productLayer, rootfsLayer, runtimeLayer } from "./layers.ts";
import { writeOciArchive } from "./oci.ts";

async function main(): Promise<void> {
  const started = performance.now();
  const config = imageBuildConfig();
  const ref = `cilium:${config.version}`;
  await mkdir(dirname(config.archive), { recursive: true });
  const product = await step("product", () => productLayer(config));
  const runtime = await step("node and packages", () => runtimeLayer(config));
  const rootfs = await step("root file system (about a minute when not cached)", () => rootfsLayer(config));
  await step("archive", async () => {
    await writeOciArchive({
      file: config.archive,
      ref,
      layers: [rootfs, runtime, product],
      config: {
        cmd: ["cilium", "version"],
        env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NODE_ENV=production"],
        workingDir: "/",
        labels: {
          "org.opencontainers.image.title": "cilium",
          "org.opencontainers.image.version": config.version,
          "org.opencontainers.image.licenses": "Apache-2.0",
        },
      },
    });
    return config.archive;
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  print(`${ref}  ${await megabytes(config.archive)} MB  ${seconds} s  ${config.archive}`);
}

async function step(name: string, work: () => Promise<string>): Promise<string> {
  const started = performance.now();
  const file = await work();
  print(`  ${name}: ${await megabytes(file)} MB, ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return file;
}

async function megabytes(file: string): Promise<string> {
  return ((await stat(file)).size / 1e6).toFixed(1);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`make image: ${describeError(error)}\n`);
  process.exitCode = 1;
}
