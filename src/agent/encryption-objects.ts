/** What is said of this node's encryption: by the object that speaks for it, else by the chart's values. Pure. */
import { DEFAULT_OBJECT, encryptionProblem, nodeEncryption, objectFor } from "../compile/index.ts";
import type { EncryptionDecision, NodeLabels } from "../compile/index.ts";
import type { SaidOfNode } from "./encryption.ts";
import { isTime } from "./key-rotation.ts";
import type { RotationWish } from "./key-rotation.ts";
import type { EncryptionRow } from "./objects.ts";

export interface EncryptionWords {
  /** The chart's. */
  readonly values: EncryptionDecision;
  readonly tunnelPort: number;
  readonly objects: Iterable<EncryptionRow>;
  /** The node's. */
  readonly labels: NodeLabels;
}

export interface NodeWords {
  readonly said: SaidOfNode;
  readonly wish: RotationWish;
}

/** The values are in the settings: the object default, which shows them, may be of other values than this agent was started with. */
export function wordsFor({ values, tunnelPort, objects, labels }: EncryptionWords): NodeWords {
  const all = [...objects];
  const users = all.filter(({ metadata, spec }) => metadata.name !== DEFAULT_OBJECT && encryptionProblem(spec, { tunnelPort }) === undefined);
  const object = objectFor(users, labels);
  const { port, persistentKeepalive, keyRotationMs } = object === undefined ? values : nodeEncryption(object.spec, values);
  const by = object === undefined ? {} : { object: object.metadata.name, objectGeneration: object.metadata.generation ?? 0 };
  const asked = [all.find(({ metadata }) => metadata.name === DEFAULT_OBJECT), object].flatMap((row) => row?.keysNotBefore ?? []);
  return { said: { port, keepalive: persistentKeepalive, by }, wish: { intervalMs: keyRotationMs, notBefore: latest(asked) } };
}

/** One that is no time comes first, so that it is told. */
function latest(times: readonly string[]): string | undefined {
  return times.find((text) => !isTime(text)) ?? times.toSorted((a, b) => Date.parse(b) - Date.parse(a))[0];
}
