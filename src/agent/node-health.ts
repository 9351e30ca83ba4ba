/**
 * Which other nodes answer, and how fast: ICMP echo to the router address of each, which takes the way that its pods'
 * packets take (tunnel, WireGuard, or neither), and to the node's own address. The other node's kernel answers, so nothing
 * listens for it, and what encryption forbids is not sent in clear.
 *
 * Few at a time, however many there are: each node is asked in turn, at most `PEERS_PER_SECOND`.
 */
import { randomBytes } from "node:crypto";
import { TOKEN_BYTES } from "../kernel/index.ts";
import type { EchoPort } from "../kernel/index.ts";
import { describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";

/** As users of the field know them: `endpoint` is the way to the node's pods. */
export type HealthType = "endpoint" | "node";
export type HealthState = "reachable" | "unreachable" | "unknown";

export interface HealthAddress {
  readonly type: HealthType;
  /** Canonical text. */
  readonly address: string;
}

export interface HealthPeer {
  readonly name: string;
  readonly addresses: readonly HealthAddress[];
}

/** What is known of one address. */
export interface HealthProbe extends HealthAddress {
  readonly state: HealthState;
  /** Of the last answer. */
  readonly latencySeconds: number | undefined;
  /** Since the last question that was answered or given up. */
  readonly ageSeconds: number | undefined;
}

export interface PeerHealth {
  readonly name: string;
  readonly probes: readonly HealthProbe[];
}

export interface HealthReport {
  /** Why nobody can be asked; undefined: they are. */
  readonly failure: string | undefined;
  readonly peers: readonly PeerHealth[];
}

export const PEERS_PER_SECOND = 10;
const TICK_MS = 200;
const PEERS_PER_TICK = (PEERS_PER_SECOND * TICK_MS) / 1000;
/** Nobody is asked more often. */
const PERIOD_MS = 10_000;
const ANSWER_MS = 1_000;
/** One lost packet is no failure. */
const TRIES = 3;

interface Known extends HealthAddress {
  readonly node: string;
  state: HealthState;
  latencySeconds?: number;
  knownAtMs?: number;
}

interface Peer {
  readonly peer: HealthPeer;
  readonly known: readonly Known[];
  /** When it may be asked again. */
  dueMs: number;
}

interface Question {
  readonly known: Known;
  readonly atNs: bigint;
  readonly atMs: number;
  readonly tries: number;
}

export interface NodeHealthOptions {
  readonly echo: EchoPort;
  readonly logger: Logger;
  /** All other nodes as of now. */
  readonly current: () => Iterable<HealthPeer>;
  readonly nowMs: () => number;
  readonly onAnswer: (type: HealthType, seconds: number) => void;
}

export class NodeHealth {
  readonly #options: NodeHealthOptions;
  /** In the order in which they are asked. */
  #peers = new Map<string, Peer>();
  /** By token. */
  readonly #questions = new Map<string, Question>();
  #isMoved = true;
  #failure: string | undefined;

  constructor(options: NodeHealthOptions) {
    this.#options = options;
  }

  /** Other nodes may be others than before. */
  touch(): void {
    this.#isMoved = true;
  }

  /** Until the signal aborts. */
  run(signal: AbortSignal): void {
    const timer = setInterval(() => this.tick(), TICK_MS);
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      this.#options.echo.close();
    }, { once: true });
  }

  /** One turn: takes what has come, gives up what is late, and asks those whose turn it is. */
  tick(): void {
    try {
      if (this.#isMoved) this.#follow(this.#options.current());
      this.#isMoved = false;
      const { replies, isCutOff } = this.#options.echo.received((token) => this.#questions.has(token));
      for (const { from, token, atNs } of replies) this.#answered(from, token, atNs);
      // Whose answer is still to be read is not late; nor is anybody else asked before, or questions would grow without end.
      if (isCutOff) return;
      this.#giveUp();
      this.#ask();
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  report(): HealthReport {
    const nowMs = this.#options.nowMs();
    const peers = [...this.#peers.values()].map(({ peer, known }): PeerHealth => ({
      name: peer.name,
      probes: known.map(({ type, address, state, latencySeconds, knownAtMs }) => ({ type, address, state, latencySeconds, ageSeconds: knownAtMs === undefined ? undefined : Math.max(0, Math.round((nowMs - knownAtMs) / 1000)) })),
    }));
    return { failure: this.#failure, peers };
  }

  /** Of one that was there what is known stays; one that is new is asked first. */
  #follow(peers: Iterable<HealthPeer>): void {
    const next = new Map<string, Peer>();
    const wanted = new Map([...peers].map((peer) => [peer.name, peer] as const));
    for (const peer of wanted.values()) if (!isSame(this.#peers.get(peer.name)?.peer, peer)) next.set(peer.name, { peer, known: peer.addresses.map((address) => ({ node: peer.name, ...address, state: "unknown" })), dueMs: 0 });
    const kept = [...this.#peers].filter(([name]) => wanted.has(name) && !next.has(name));
    for (const [name, peer] of kept) next.set(name, peer);
    this.#peers = next;
    const current = new Set(kept.flatMap(([, { known }]) => known));
    for (const [token, { known }] of this.#questions) if (!current.has(known)) this.#questions.delete(token);
  }

  #ask(): void {
    const nowMs = this.#options.nowMs();
    for (let turn = 0; turn < PEERS_PER_TICK; turn++) {
      const [next] = this.#peers;
      if (next === undefined || next[1].dueMs > nowMs) return;
      const [name, peer] = next;
      this.#peers.delete(name);
      this.#peers.set(name, peer);
      peer.dueMs = nowMs + PERIOD_MS;
      for (const known of peer.known) this.#send(known, 1);
    }
  }

  #send(known: Known, tries: number): void {
    const { echo, nowMs } = this.#options;
    const token = randomBytes(TOKEN_BYTES);
    this.#questions.set(token.toString("hex"), { known, atNs: echo.nowNs(), atMs: nowMs(), tries });
    // What could not leave comes back as little as what was lost.
    echo.send(known.address, token);
    this.#failure = undefined;
  }

  /** A token is no other's guess, and the address that was asked answers itself. */
  #answered(from: string, token: string, atNs: bigint): void {
    const question = this.#questions.get(token);
    if (question === undefined || question.known.address !== from) return;
    this.#questions.delete(token);
    const { known, atMs } = question;
    const nowMs = this.#options.nowMs();
    // The clock of the kernel's stamp may be put forward or back meanwhile; the other one knows how long it was at most.
    const atMost = (nowMs - atMs) / 1000;
    const stamped = Number(atNs - question.atNs) / 1e9;
    known.latencySeconds = stamped >= 0 && stamped <= atMost ? stamped : atMost;
    known.knownAtMs = nowMs;
    this.#state(known, "reachable");
    this.#options.onAnswer(known.type, known.latencySeconds);
  }

  #giveUp(): void {
    const nowMs = this.#options.nowMs();
    for (const [token, { known, atMs, tries }] of this.#questions) {
      // In the order in which they were asked.
      if (nowMs - atMs < ANSWER_MS) return;
      this.#questions.delete(token);
      if (tries < TRIES) {
        this.#send(known, tries + 1);
        continue;
      }
      known.knownAtMs = nowMs;
      this.#state(known, "unreachable");
    }
  }

  #state(known: Known, state: HealthState): void {
    const before = known.state;
    known.state = state;
    if (state === before || (before === "unknown" && state === "reachable")) return;
    const { logger } = this.#options;
    const { node, type, address } = known;
    if (state === "unreachable") logger.warn("a node does not answer", { node, type, address });
    else logger.info("a node answers again", { node, type, address });
  }

  /** Told once; nobody is known to be reached or not any more. */
  #fail(thrown: unknown): void {
    const failure = isMissingRight(thrown) ? "the agent lacks NET_RAW (securityContext.capabilities.ciliumAgent): no other node can be asked" : describeError(thrown);
    this.#questions.clear();
    for (const { known } of this.#peers.values()) for (const one of known) one.state = "unknown";
    if (failure === this.#failure) return;
    this.#failure = failure;
    this.#options.logger.warn("other nodes cannot be asked whether they answer", { failure });
  }
}

function isMissingRight(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && (thrown.code === "EPERM" || thrown.code === "EACCES");
}

function isSame(a: HealthPeer | undefined, b: HealthPeer): boolean {
  return a !== undefined && JSON.stringify(a.addresses) === JSON.stringify(b.addresses);
}
