/**
 * `make chart-repo`: packages the Helm chart, writes its index, and serves both on loopback in the
 * background, so that `helm repo add cilium http://127.0.0.1:PORT` works as with any chart repository.
 *
 *   chart-repo.ts start [--port N]   package, (re)start the server; prints the URL
 *   chart-repo.ts stop [--port N]    end the server; not running is success
 *   chart-repo.ts serve --port N     the server itself, in the foreground
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createReadStream, openSync } from "node:fs";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { CodedError, describeError } from "../lib/errors.ts";
import { findProject } from "../cluster/binaries/find.ts";
import { helm } from "../cluster/binaries/catalog.ts";
import { CHART_REPO_PORT, chartRepoConfig, type ChartRepoConfig } from "./config.ts";
import { run } from "./run.ts";

const START_TIMEOUT_MS = 10_000;

/** From the server to `start`, once: it listens, or cannot. */
interface Report {
  readonly problem?: string;
}

async function start(config: ChartRepoConfig, port: number): Promise<void> {
  const url = `http://127.0.0.1:${port}`;
  await stop(config);
  await rm(config.folder, { recursive: true, force: true });
  await mkdir(config.folder, { recursive: true });
  const found = await findProject(helm(), { ...config.search, say: (line) => process.stderr.write(`${line}\n`) });
  const tool = found["helm"] ?? "helm";
  await run(tool, ["package", config.chart, "--destination", config.folder]);
  await run(tool, ["repo", "index", config.folder, "--url", url]);
  const log = openSync(config.logFile, "a");
  const self = fileURLToPath(import.meta.url);
  const server = spawn(process.execPath, [self, "serve", "--port", String(port)], { detached: true, stdio: ["ignore", log, log, "ipc"] });
  try {
    const problem = await problemOf(server);
    if (problem !== undefined) throw new CodedError("CHART_REPO", `${problem}; its log is ${config.logFile}`);
  } catch (error) {
    server.kill();
    throw error;
  }
  await writeFile(config.pidFile, `${server.pid}\n`);
  server.disconnect();
  server.unref();
  process.stdout.write(`${url}\n`);
}

/** What keeps the server from serving, in its own words; undefined once it listens. */
async function problemOf(server: ChildProcess): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  const late = setTimeout(() => resolve(`the server does not listen after ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS);
  server.once("message", ({ problem }: Report) => resolve(problem));
  server.once("exit", (code, signal) => resolve(`the server ended with ${signal ?? code}`));
  server.once("error", reject);
  return promise.finally(() => clearTimeout(late));
}

async function stop(config: ChartRepoConfig): Promise<void> {
  const pid = await runningPid(config);
  if (pid !== undefined) {
    process.kill(pid, "SIGTERM");
    while ((await runningPid(config)) !== undefined) await sleep(50);
  }
  await rm(config.pidFile, { force: true });
}

/** The server's process; a reused number is recognised by its command line and is not ours to end. */
async function runningPid(config: ChartRepoConfig): Promise<number | undefined> {
  const pid = Number(await readFile(config.pidFile, "utf8").catch(() => ""));
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return commandLine.includes("chart-repo") ? pid : undefined;
}

function serve(folder: string, port: number): void {
  const server = createServer((request, response) => {
    answer(folder, request, response).catch((error: unknown) => {
      response.destroy();
      process.stderr.write(`${describeError(error)}\n`);
    });
  });
  server.once("error", (error: NodeJS.ErrnoException) => {
    const problem = error.code === "EADDRINUSE" ? `port ${port} is taken by another program: choose a free one, such as make chart-repo CHART_REPO_PORT=18879` : describeError(error);
    process.stderr.write(`chart-repo: ${problem}\n`);
    process.exitCode = 1;
    report({ problem });
  });
  server.listen(port, "127.0.0.1", () => report({}));
  process.once("SIGTERM", () => server.close());
}

/** In the foreground nobody waits for it. */
function report(message: Report): void {
  process.send?.(message);
  process.channel?.unref();
}

/** One flat folder: a request can name a file in it and nothing else. */
async function answer(folder: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const name = basename(new URL(request.url ?? "/", "http://localhost").pathname);
  const file = join(folder, name);
  const known = name === "index.yaml" || name.endsWith(".tgz") ? await stat(file).catch(() => undefined) : undefined;
  if (request.method !== "GET" || known === undefined) {
    response.writeHead(404).end();
    return;
  }
  const type = name.endsWith(".tgz") ? "application/gzip" : "application/yaml";
  response.writeHead(200, { "content-type": type, "content-length": known.size, connection: "close" });
  createReadStream(file).pipe(response);
}

function toPort(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 65535) throw new CodedError("CHART_REPO", `--port ${text}: not a port`);
  return value;
}

async function main(): Promise<void> {
  const program = new Command("chart-repo");
  const withPort = (command: Command): Command => command.option("--port <number>", "TCP port on 127.0.0.1", toPort, CHART_REPO_PORT);
  withPort(program.command("start")).action(async ({ port }: { port: number }) => start(chartRepoConfig(port), port));
  withPort(program.command("serve")).action(({ port }: { port: number }) => serve(chartRepoConfig(port).folder, port));
  withPort(program.command("stop")).action(async ({ port }: { port: number }) => stop(chartRepoConfig(port)));
  await program.parseAsync();
}

try {
  await main();
} catch (error) {
  process.stderr.write(`chart-repo: ${describeError(error)}\n`);
  process.exitCode = 1;
}
