import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { ClusterError, CommandError } from "../errors.ts";
import { capture, processIdentity, run } from "../process.ts";
import type { Binary, Project } from "./catalog.ts";

/**
 * Builds binaries from the project's Go module into the cache. Each appears there by a rename: whole or not at all, and
 * two builds at once end with the same result.
 */
export async function buildProject(project: Project, binaries: readonly Binary[], cache: string, say: (line: string) => void): Promise<void> {
  await requireGo(project);
  say(`${project.name} ${project.version}: building from its Go module, about ${project.buildMinutes} min (once; kept in ${cache})`);
  await mkdir(cache, { recursive: true });
  await removeAbandoned(cache);
  const work = await mkdtemp(join(cache, `${WORK_PREFIX}${process.pid}-`));
  try {
    await writeFile(join(work, "go.mod"), await goMod(project, work));
    await go(["get", `${project.module}@${project.version}`], work);
    for (const binary of binaries) {
      const out = join(work, "out", binary.name);
      await go(["build", "-mod=mod", "-trimpath", "-ldflags", project.ldflags, "-o", out, binary.package], work);
      await rename(out, join(cache, binary.name));
      say(`${project.name} ${project.version}: ${binary.name} built`);
    }
  } catch (error) {
    if (error instanceof CommandError && error.output.includes("no space left")) throw new ClusterError(`disk full while building ${project.name}`, `free space where ${cache} and the Go cache are`);
    throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

const WORK_PREFIX = ".build-";

/** What a killed build left behind. */
async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const owner = name.startsWith(WORK_PREFIX) ? Number(name.slice(WORK_PREFIX.length).split("-")[0]) : Number.NaN;
    if (!Number.isNaN(owner) && processIdentity(owner) === undefined) await rm(join(cache, name), { recursive: true, force: true });
  }
}

async function requireGo(project: Project): Promise<void> {
  const found = await capture(["go", "version"]).catch(() => undefined);
  const version = /go(\d+)\.(\d+)/.exec(found?.stdout ?? "");
  const remedy = "install Go 1.21 or newer (it fetches the toolchain it needs), or put the binaries on PATH or in KUBE_BIN";
  if (version === null) throw new ClusterError(`${project.name} ${project.version} is neither here nor downloadable, and there is no Go to build it`, remedy);
  if (Number(version[1]) === 1 && Number(version[2]) < 21) throw new ClusterError(`Go ${version[1]}.${version[2]} is too old to build ${project.name} ${project.version}`, remedy);
}

async function goMod(project: Project, work: string): Promise<string> {
  const lines = ["module build", "", "go 1.26.0", ""];
  if (project.stagingVersion !== undefined) {
    const upstream = JSON.parse(await go(["mod", "download", "-json", `${project.module}@${project.version}`], work)) as { readonly GoMod: string };
    for (const module of stagingModules(await readFile(upstream.GoMod, "utf8"))) lines.push(`replace ${module} => ${module} ${project.stagingVersion}`);
  }
  return `${lines.join("\n")}\n`;
}

/** Modules that a go.mod takes from its own tree (`k8s.io/api => ./staging/src/k8s.io/api`) are published on their own. */
export function stagingModules(goModText: string): string[] {
  return [...goModText.matchAll(/^\s*(?:replace\s+)?(\S+)\s+=>\s+\.\/staging\/\S+$/gm)].map((match) => match[1] ?? "");
}

function go(args: readonly string[], cwd: string): Promise<string> {
  return run(["go", ...args], { cwd, env: { CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOWORK: "off" } });
}
