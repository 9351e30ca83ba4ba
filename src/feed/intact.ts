/** Whether an object of a node's state holds what its name and its hashes say: nobody has changed it by hand. */
import type { CiliumNodeState } from "../api/gen/ciliumnodestates.ts";
import { hashOf, manifestHash } from "./document.ts";
import { carriedName, partName } from "./names.ts";

export function isIntact({ metadata, node, manifest, part }: CiliumNodeState): boolean {
  if (part !== undefined) return metadata.name === partName(node, part.hash) && hashOf(part.data) === part.hash;
  if (manifest === undefined) return true;
  const isListed = ({ name, hash, data }: (typeof manifest.parts)[number]): boolean =>
    data === undefined ? name === partName(node, hash) : name === carriedName(node, hash) && hashOf(data) === hash;
  return manifest.hash === manifestHash(manifest.parts.map(({ hash }) => hash)) && manifest.parts.every(isListed);
}
