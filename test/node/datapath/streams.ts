/**
 * One end of a stream of UDP datagrams, as a process of a pod: `serve <port>` answers the first datagram with one every
 * other millisecond; `ask <address> <port>` sends that one datagram and counts; `flood <address> <port>` sends for ever;
 * `count <port>` counts. With the end of standard input it prints how many datagrams it sent or got.
 */
import { createSocket } from "node:dgram";

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

socket.on("error", () => undefined);
if (role === "serve") socket.bind(Number(args[0])).on("message", (_, { port, address }) => send(port, address));
if (role === "count") socket.bind(Number(args[0])).on("message", () => count++);
if (role === "flood") send(Number(args[1]), args[0] ?? "");
if (role === "ask") socket.bind(0, () => socket.send("x", Number(args[1]), args[0])).on("message", () => count++);
process.stdout.write("ready\n");
process.stdin.on("end", () => {
  clearInterval(timer);
  process.stdout.write(`${count}\n`, () => process.exit(0));
}).resume();
