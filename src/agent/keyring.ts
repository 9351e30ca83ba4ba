/**
 * This node's keys: the present one, and the one that replaces it. The private ones are in the devices and in this process's
 * memory alone; a file says which device has which epoch, so that a process that starts goes on in the middle of a rotation.
 */
import { generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { WireGuardState } from "../kernel/index.ts";
import { writeAtomic } from "../lib/files.ts";
import { firstTurn } from "./key-rotation.ts";
import type { KeyTurn, NodeKey } from "./key-rotation.ts";
import type { PublishedKeys } from "./objects.ts";

/** As the file keeps it. */
interface KeyRecord extends NodeKey {
  /** Number of its device. */
  readonly slot: number;
}

export interface HeldKey extends KeyRecord {
  readonly privateKey: string;
}

/** Of each slot's device; undefined: there is none. */
export type SlotStates = readonly (WireGuardState | undefined)[];

export class Keyring {
  readonly #file: string;
  readonly #port: () => number;
  #keys: readonly HeldKey[] | undefined;

  /** @param port the first of the two, as it is now */
  constructor(file: string, port: () => number) {
    this.#file = file;
    this.#port = port;
  }

  /** None before the first device was there. */
  get keys(): readonly HeldKey[] {
    return this.#keys ?? [];
  }

  get published(): PublishedKeys | undefined {
    const [present, next] = this.keys;
    if (present === undefined) return undefined;
    const shown = ({ publicKey, port, epoch, created }: HeldKey): NodeKey => ({ publicKey, port, epoch, created });
    return { ...shown(present), ...(next === undefined ? {} : { next: shown(next) }) };
  }

  /** Of the present key and the next one, whichever. */
  get ports(): readonly number[] {
    return [this.#port(), this.#port() + 1];
  }

  /** Once: what the devices have, by the file; else any key that a device has; else a fresh one for the first device, when it is there. */
  async restore(states: SlotStates, others: readonly (readonly NodeKey[])[], nowMs: number): Promise<void> {
    if (this.#keys !== undefined) return;
    const records = await this.#read();
    const held = records.flatMap((record): HeldKey[] => {
      const { publicKey, privateKey } = states[record.slot] ?? {};
      return publicKey === record.publicKey && privateKey !== undefined ? [{ ...record, privateKey }] : [];
    });
    if (held.length > 0) {
      this.#keys = held;
      return;
    }
    const turn = firstTurn(records[0]?.epoch ?? 0, others, nowMs);
    const adopted = states.flatMap((state, slot) => (state?.publicKey === undefined || state.privateKey === undefined ? [] : [{ slot, publicKey: state.publicKey, privateKey: state.privateKey }]))[0];
    if (adopted === undefined && states[0] === undefined) return; // the first device is on its way
    await this.#keep([this.#made(turn, adopted?.slot ?? 0, adopted ?? keyPair())]);
  }

  /** A fresh key in the device of `slot`, beside the present one. */
  async begin(turn: KeyTurn, slot: number): Promise<void> {
    const [present] = this.keys;
    if (present === undefined || present.slot === slot) throw new Error("a key is replaced by one in another device");
    await this.#keep([present, this.#made(turn, slot, keyPair())]);
  }

  /** The new one is forgotten: its epoch is nobody's. */
  async giveUp(): Promise<void> {
    await this.#keep(this.keys.slice(0, 1));
  }

  /** The new one is the present one from now on. */
  async finish(): Promise<void> {
    await this.#keep(this.keys.slice(-1));
  }

  #made({ epoch, created }: KeyTurn, slot: number, pair: KeyPair): HeldKey {
    const port = this.ports.find((one) => one !== this.#keys?.[0]?.port) ?? this.#port();
    return { publicKey: pair.publicKey, privateKey: pair.privateKey, port, epoch, created, slot };
  }

  /** On disk first: a key that the file does not name is not taken up again. */
  async #keep(keys: readonly HeldKey[]): Promise<void> {
    const records = keys.map(({ publicKey, port, epoch, created, slot }): KeyRecord => ({ publicKey, port, epoch, created, slot }));
    await writeAtomic(this.#file, `${JSON.stringify({ keys: records })}\n`, { mode: 0o600 });
    this.#keys = keys;
  }

  /** What cannot be read is as if it were not there: the devices' keys are taken then, or fresh ones are made. */
  async #read(): Promise<readonly KeyRecord[]> {
    try {
      return (JSON.parse(await readFile(this.#file, "utf8")) as { readonly keys: readonly KeyRecord[] }).keys;
    } catch {
      return [];
    }
  }
}

interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

function keyPair(): KeyPair {
  const jwk = generateKeyPairSync("x25519").privateKey.export({ format: "jwk" });
  const base64 = (text: string | undefined): string => Buffer.from(text ?? "", "base64url").toString("base64");
  return { privateKey: base64(jwk.d), publicKey: base64(jwk.x) };
}
