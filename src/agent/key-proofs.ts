/**
 * Which peers have answered under a key in such a way that what is sent to them by it arrives.
 *
 * A handshake alone does not say so to its initiator. On a busy machine its repetition may be on its way when the answer
 * comes; the other end then replaces a session that it has never heard used (WireGuard's whitepaper, section 6.2), and if the
 * second answer is lost, the initiator sends by one that nobody knows, until WireGuard's timers notice: 15 s of silence.
 * So something else than handshakes has to have come from the peer: data, of which a keepalive is the least. It sends
 * them under a session only that it has heard used. A version that does not know this is silent when it has nothing to say:
 * a handshake that has stood for long enough counts as well.
 */
import type { PeerState, WireGuardState } from "../kernel/index.ts";

/** Bytes of a handshake's two messages on the wire (section 5.4). */
const [INITIATION, ANSWER] = [148, 92];
/** More of them are not made while a key is replaced: one in 5 s, and each after a loss. */
const HANDSHAKE_MESSAGES = 8;
/** Longer than WireGuard's timers take to find that a session is dead (15 s). */
const LONG_SECONDS = 20;

export class KeyProofs {
  /** undefined before the first look. */
  #proven: ReadonlyMap<string, number> | undefined;

  /**
   * What the devices say now. A peer that was proven stays so while it is there: many bytes may add up to handshakes too. For
   * that reason what the first look finds counts as proven to the process before: a way that it took, and that others may rely
   * on, is not taken back.
   */
  observe(states: Iterable<WireGuardState>, nowMs: number): void {
    const peers = [...states].flatMap((state) => [...state.peers.values()]);
    const isLong = ({ lastHandshake }: PeerState): boolean => nowMs / 1000 - lastHandshake >= LONG_SECONDS;
    const before = this.#proven;
    const isProven = (peer: PeerState): boolean => peer.lastHandshake > 0 && (before === undefined || before.has(peer.publicKey) || !areHandshakes(peer.received) || isLong(peer));
    this.#proven = new Map(peers.filter(isProven).map(({ publicKey }) => [publicKey, before?.get(publicKey) ?? nowMs]));
  }

  /** By public key since when, by the clock of the looks. */
  get proven(): ReadonlyMap<string, number> {
    return this.#proven ?? new Map();
  }
}

function areHandshakes(received: number): boolean {
  for (let initiations = 0; initiations <= HANDSHAKE_MESSAGES; initiations++) {
    const answers = (received - initiations * INITIATION) / ANSWER;
    if (Number.isInteger(answers) && answers >= 0 && answers + initiations <= HANDSHAKE_MESSAGES) return true;
  }
  return false;
}
