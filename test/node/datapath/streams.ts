/**
 * One end of a stream of UDP datagrams, as a process of a pod: `serve <port>` answers the first datagram with one every
 * other millisecond; `ask <address> <port>` sends that one datagram and counts; `flood <address> <port>` sends for ever;
 * `count <port>` counts. With the end of standard input it prints how many datagrams it sent or got.
 * `late <port>` answers each datagram after up to LATE_MS; `anew <address> <port>` asks every other millisecond from another
 * port, and prints how often it was not answered, and how often it asked; of a line, how often it has asked so far.
 */
import { createSocket, type Socket } from "node:dgram";
import { setTimeout as sleep } from "node:timers/promises";

const LATE_MS = 20;
/** An answer later than this is lost; long, for a machine that stands still meanwhile. */
const PATIENCE_MS = 5000;

const [role, ...args] = process.argv.slice(2);
const socket = createSocket("udp4");
let count = 0;
let timer: NodeJS.Timeout | undefined;

function send(port: number, address: string): void {
  timer ??= setInterval(() => {
    count++;
    socket.send("x", port, address);
  }, 2);
}

/** Every socket is a flow of its own. */
class Anew {
  readonly #open = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;
  #asked = 0;

  constructor(address: string, port: number) {
    this.#timer = setInterval(() => this.#ask(address, port), 2);
  }

  #ask(address: string, port: number): void {
    const one = createSocket("udp4");
    this.#asked++;
    this.#open.add(one);
    one.on("error", () => undefined).on("message", () => { if (this.#open.delete(one)) one.close(); });
    one.send("x", port, address);
  }

  get asked(): number {
    return this.#asked;
  }

  async end(): Promise<string> {
    clearInterval(this.#timer);
    for (const until = Date.now() + PATIENCE_MS; this.#open.size > 0 && Date.now() < until;) await sleep(20);
    return `${this.#open.size} ${this.#asked}`;
  }
}

socket.on("error", () => undefined);
if (role === "serve") socket.bind(Number(args[0])).on("message", (_, { port, address }) => send(port, address));
if (role === "count") socket.bind(Number(args[0])).on("message", () => count++);
if (role === "flood") send(Number(args[1]), args[0] ?? "");
if (role === "ask") socket.bind(0, () => socket.send("x", Number(args[1]), args[0])).on("message", () => count++);
if (role === "late") socket.bind(Number(args[0])).on("message", (_, { port, address }) => setTimeout(() => socket.send("x", port, address), Math.random() * LATE_MS));
const anew = role === "anew" ? new Anew(args[0] ?? "", Number(args[1])) : undefined;
process.stdout.write("ready\n");
if (anew !== undefined) process.stdin.on("data", () => process.stdout.write(`${anew.asked}\n`));
process.stdin.on("end", () => {
  clearInterval(timer);
  void Promise.resolve(anew?.end() ?? String(count)).then((text) => process.stdout.write(`${text}\n`, () => process.exit(0)));
}).resume();
