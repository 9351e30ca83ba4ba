import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ClusterError, CommandError } from "../errors.ts";
import { capture, processIdentity, run } from "../process.ts";
import { type Binary, goArch, type Project } from "./catalog.ts";

/**
 * Builds binaries from the project's Go module into the cache. Each appears there by a rename: whole or not at all, and
 * two builds at once end with the same result.
 */
export async function buildProject(project: Project, binaries: readonly Binary[], cache: string, say: (line: string) => void): Promise<void> {
  const command = await goCommand(`${project.name} ${project.version}`);
  say(`${project.name} ${project.version}: building from its Go module, about ${project.buildMinutes} min (once; kept in ${cache})`);
  await mkdir(cache, { recursive: true });
  await removeAbandoned(cache);
  const work = await mkdtemp(join(cache, `${WORK_PREFIX}${process.pid}-`));
  try {
    await writeFile(join(work, "go.mod"), await goMod(project, (args) => go(command, args, work)));
    await go(command, ["get", `${project.module}@${project.version}`], work);
    for (const binary of binaries) {
      const out = join(work, "out", binary.name);
      await go(command, ["build", "-mod=mod", "-trimpath", "-ldflags", project.ldflags, "-o", out, binary.package], work);
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

const GO_VERSION = "1.26.0";

/** Go 1.21 and newer fetch the toolchain that go.mod asks for; for an older one we fetch it, from the same place. `what` is to be built. */
export async function goCommand(what: string): Promise<string> {
  const found = await capture(["go", "version"]).catch(() => undefined);
  const version = /go(\d+)\.(\d+)/.exec(found?.stdout ?? "");
  if (version === null) {
    throw new ClusterError(`${what} is neither here nor downloadable, and there is no Go to build it`, "install Go (apt-get install golang-go), or put the binaries on PATH or in KUBE_BIN");
  }
  return Number(version[1]) > 1 || Number(version[2]) >= 21 ? "go" : await fetchToolchain();
}

/** The toolchain is a module like any other, verified like any other; module files are not executable. */
async function fetchToolchain(): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "go-toolchain-"));
  try {
    await writeFile(join(work, "go.mod"), "module toolchain\n");
    const { Dir } = JSON.parse(await go("go", ["mod", "download", "-json", `golang.org/toolchain@v0.0.1-go${GO_VERSION}.linux-${goArch()}`], work)) as { readonly Dir: string };
    await run(["sh", "-c", 'chmod -R u+w "$0" && chmod +x "$0"/bin/* "$0"/pkg/tool/*/*', Dir]);
    return join(Dir, "bin/go");
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function goMod(project: Project, goHere: (args: readonly string[]) => Promise<string>): Promise<string> {
  const lines = ["module build", "", `go ${GO_VERSION}`, ""];
  if (project.stagingVersion !== undefined) {
    const upstream = JSON.parse(await goHere(["mod", "download", "-json", `${project.module}@${project.version}`])) as { readonly GoMod: string };
    for (const module of stagingModules(await readFile(upstream.GoMod, "utf8"))) lines.push(`replace ${module} => ${module} ${project.stagingVersion}`);
  }
  return `${lines.join("\n")}\n`;
}

/** Modules that a go.mod takes from its own tree (`k8s.io/api => ./staging/src/k8s.io/api`) are published on their own. */
export function stagingModules(goModText: string): string[] {
  return [...goModText.matchAll(/^\s*(?:replace\s+)?(\S+)\s+=>\s+\.\/staging\/\S+$/gm)].map((match) => match[1] ?? "");
}

function go(command: string, args: readonly string[], cwd: string): Promise<string> {
  return run([command, ...args], { cwd, env: { CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOWORK: "off" } });
}
