/** The traffic measurements: every arm once in each round, one after the other, the order turned from round to round. */
import type { BenchConfig } from "./config.ts";
import { type Path, pingPong, type Sample, stream } from "./traffic.ts";

/** ours; the plain peer; the peer with the kernel's VXLAN between its nodes, with wireguard-go, and with the VXLAN in wireguard-go. */
export type Arm = "cilium" | "ptp" | "vxlan" | "wireguard" | "vxlan in wireguard";
/** The last two are across nodes too, when ours routes natively and when it encrypts. */
export type Place = "same node" | "across nodes" | "natively" | "encrypted";
export type Kind = "stream" | "round trips" | "connections";

export interface Series {
  readonly kind: Kind;
  readonly place: Place;
  readonly arm: Arm;
  /** One per round. */
  readonly samples: readonly Sample[];
}

export type Paths = Readonly<Partial<Record<Place, Readonly<Partial<Record<Arm, Path>>>>>>;

export const KINDS: readonly Kind[] = ["stream", "round trips", "connections"];
export const PLACES: readonly Place[] = ["same node", "across nodes", "natively", "encrypted"];

export async function trafficRounds(paths: Paths, { rounds, seconds }: BenchConfig, say: (text: string) => void, kinds: readonly Kind[] = KINDS): Promise<readonly Series[]> {
  const measure: Readonly<Record<Kind, (path: Path) => Promise<Sample>>> = {
    "stream": (path) => stream(path, seconds.stream),
    "round trips": (path) => pingPong(path, "rr", seconds.roundTrips),
    "connections": (path) => pingPong(path, "crr", seconds.connections),
  };
  const samples = new Map<string, Sample[]>();
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) {
      for (const place of PLACES) {
        const arms = Object.entries(paths[place] ?? {}) as [Arm, Path][];
        const turned = arms.map((_, index) => arms[(index + round) % arms.length] as [Arm, Path]);
        for (const [arm, path] of turned) {
          const key = JSON.stringify({ kind, place, arm });
          const sample = await measure[kind](path);
          samples.set(key, [...(samples.get(key) ?? []), sample]);
        }
      }
    }
    say(`round ${round + 1} of ${rounds}`);
  }
  return [...samples].map(([key, values]) => ({ ...(JSON.parse(key) as Pick<Series, "kind" | "place" | "arm">), samples: values }));
}
