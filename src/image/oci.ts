/**
 * Writes container images as one tar that both `ctr image import` (OCI image layout 1.0: oci-layout,
 * index.json, blobs/) and `docker load` (manifest.json beside them) take.
 *
 * Reproducible: equal layers and equal config give equal bytes. No entry carries the time of the build.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { rename, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { pack, type Pack } from "tar-stream";

export interface ImageConfig {
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  /** `NAME=value`, in the order given. */
  readonly env?: readonly string[];
  readonly user?: string;
  readonly workingDir?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface OciArchive {
  /** The archive to write. It appears whole or not at all. */
  readonly file: string;
  /** `name:tag`; a name without a registry is Docker Hub's library, as container runtimes read it. */
  readonly ref: string;
  /** Paths of uncompressed layer tars, lowest first. */
  readonly layers: readonly string[];
  readonly config: ImageConfig;
}

interface Blob {
  readonly digest: string;
  readonly size: number;
}

interface FileBlob extends Blob {
  readonly file: string;
}

interface TextBlob extends Blob {
  readonly text: string;
}

const MEDIA = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;

const EPOCH = new Date(0);

export async function writeOciArchive({ file, ref, layers, config }: OciArchive): Promise<void> {
  const layerBlobs = await Promise.all(layers.map(hashFile));
  const configBlob = jsonBlob(imageConfig(config, layerBlobs));
  const manifestBlob = jsonBlob({
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: { mediaType: MEDIA.config, digest: configBlob.digest, size: configBlob.size },
    layers: layerBlobs.map(({ digest, size }) => ({ mediaType: MEDIA.layer, digest, size })),
  });
  const unfinished = `${file}.${process.pid}.part`;
  const tar = pack();
  const written = pipeline(tar, createWriteStream(unfinished));
  try {
    await Promise.all([written, fill(tar, ref, manifestBlob, configBlob, layerBlobs)]);
  } catch (error) {
    tar.destroy();
    throw error;
  }
  await rename(unfinished, file);
}

/** `cilium:1` → `docker.io/library/cilium:1`: the name under which the runtime looks an image up. */
export function canonicalRef(ref: string): string {
  const [first = "", ...rest] = ref.split("/");
  if (rest.length === 0) return `docker.io/library/${ref}`;
  const hasRegistry = first === "localhost" || /[.:]/.test(first);
  return hasRegistry ? ref : `docker.io/${ref}`;
}

/** Tag of a ref; `latest` when it names none. */
export function tagOf(ref: string): string {
  return /:([^:/]+)$/.exec(ref)?.[1] ?? "latest";
}

async function fill(
  tar: Pack,
  ref: string,
  manifest: TextBlob,
  config: TextBlob,
  layers: readonly FileBlob[],
): Promise<void> {
  await addText(tar, "oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  await addText(tar, "index.json", JSON.stringify(index(ref, manifest)));
  await addText(tar, "manifest.json", JSON.stringify(dockerManifest(ref, config, layers)));
  await addText(tar, blobPath(manifest), manifest.text);
  await addText(tar, blobPath(config), config.text);
  const distinct = new Map(layers.map((layer) => [layer.digest, layer]));
  for (const layer of distinct.values()) await addFile(tar, layer);
  tar.finalize();
}

function index(ref: string, manifest: Blob): object {
  return {
    schemaVersion: 2,
    mediaType: MEDIA.index,
    manifests: [
      {
        mediaType: MEDIA.manifest,
        digest: manifest.digest,
        size: manifest.size,
        platform: platform(),
        annotations: {
          "io.containerd.image.name": canonicalRef(ref),
          "org.opencontainers.image.ref.name": tagOf(ref),
        },
      },
    ],
  };
}

function dockerManifest(ref: string, config: Blob, layers: readonly Blob[]): object {
  return [{ Config: blobPath(config), RepoTags: [canonicalRef(ref)], Layers: layers.map(blobPath) }];
}

function imageConfig(config: ImageConfig, layers: readonly Blob[]): object {
  return {
    created: EPOCH.toISOString(),
    ...platform(),
    config: {
      User: config.user,
      Env: config.env,
      Entrypoint: config.entrypoint,
      Cmd: config.cmd,
      WorkingDir: config.workingDir,
      Labels: config.labels,
    },
    // Layers are not compressed, so a layer's digest is also its diff id.
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.digest) },
    history: layers.map(() => ({ created: EPOCH.toISOString() })),
  };
}

function platform(): { architecture: string; os: string } {
  return { architecture: process.arch === "x64" ? "amd64" : process.arch, os: "linux" };
}

function blobPath({ digest }: Blob): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function jsonBlob(value: object): TextBlob {
  const text = JSON.stringify(value);
  const digest = `sha256:${createHash("sha256").update(text).digest("hex")}`;
  return { digest, size: Buffer.byteLength(text), text };
}

async function hashFile(file: string): Promise<FileBlob> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  return { digest: `sha256:${hash.digest("hex")}`, size: (await stat(file)).size, file };
}

async function addText(tar: Pack, name: string, text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    tar.entry({ name, mode: 0o644, mtime: EPOCH }, text, (error) => (error ? reject(error) : resolve()));
  });
}

async function addFile(tar: Pack, blob: FileBlob): Promise<void> {
  const entry = tar.entry({ name: blobPath(blob), size: blob.size, mode: 0o644, mtime: EPOCH });
  await pipeline(createReadStream(blob.file, { highWaterMark: 1 << 20 }), entry);
}
