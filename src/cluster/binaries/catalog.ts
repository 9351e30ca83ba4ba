/**
 * The programs of other projects that a cluster is made of, and where each comes from. One entry per project: the rest
 * of this folder finds, downloads and builds from these entries alone.
 */
export interface Project {
  readonly name: string;
  /** With the leading v, as the project tags it; also the name of its folder in the cache. */
  readonly version: string;
  readonly binaries: readonly Binary[];
  readonly module: string;
  readonly ldflags: string;
  /** The project's modules live in one repository and must be pinned to the same release (staging modules). */
  readonly stagingVersion?: string;
  /** What a build takes on two cores with a cold Go cache. */
  readonly buildMinutes: number;
}

/** Whose binaries can be downloaded; the others publish their source alone. */
export interface PublishedProject extends Project {
  readonly download: Download;
}

export function isPublished(project: Project): project is PublishedProject {
  return "download" in project;
}

export interface Binary {
  readonly name: string;
  readonly package: string;
  /** Arguments that make the program print its version, and the text that the right version prints. */
  readonly versionArgs: readonly string[];
  readonly versionText: string;
}

/** Paths below the project's base address. An archive is a tar.gz that has the binary somewhere under its own name. */
export interface Download {
  readonly base: string;
  readonly archive: boolean;
  path(binary: string): string;
  checksumPath(binary: string): string;
}

/** Node's name of the processor → Go's, which all these projects use in their file names. */
const GO_ARCH: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

export function goArch(): string {
  return GO_ARCH[process.arch] ?? process.arch;
}

const KUBERNETES_COMMANDS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"] as const;

export function kubernetes(release: string): PublishedProject {
  const version = `v${release}`;
  const [major = "", minor = "", patch = ""] = release.split(".");
  const stamp = (name: string, value: string): string => `-X k8s.io/component-base/version.${name}=${value}`;
  return {
    name: "kubernetes",
    version,
    binaries: KUBERNETES_COMMANDS.map((name) => ({
      name,
      package: `k8s.io/kubernetes/cmd/${name}`,
      versionArgs: name === "kubectl" ? ["version", "--client"] : ["--version"],
      versionText: name === "kubectl" ? `Client Version: ${version}\n` : `Kubernetes ${version}\n`,
    })),
    module: "k8s.io/kubernetes",
    ldflags: ["-s -w", stamp("gitVersion", version), stamp("gitMajor", major), stamp("gitMinor", minor), `-X k8s.io/client-go/pkg/version.gitVersion=${version}`].join(" "),
    stagingVersion: `v0.${minor}.${patch}`,
    buildMinutes: 6,
    download: {
      base: "https://dl.k8s.io",
      archive: false,
      path: (binary) => `/release/${version}/bin/linux/${goArch()}/${binary}`,
      checksumPath: (binary) => `/release/${version}/bin/linux/${goArch()}/${binary}.sha256`,
    },
  };
}

export function etcd(): PublishedProject {
  const release = "3.6.14";
  const path = `/etcd-io/etcd/releases/download/v${release}`;
  return {
    name: "etcd",
    version: `v${release}`,
    binaries: [{ name: "etcd", package: "go.etcd.io/etcd/server/v3", versionArgs: ["--version"], versionText: `etcd Version: ${release}\n` }],
    module: "go.etcd.io/etcd/server/v3",
    ldflags: "-s -w",
    buildMinutes: 0.5,
    download: { base: "https://github.com", archive: true, path: () => `${path}/etcd-v${release}-linux-${goArch()}.tar.gz`, checksumPath: () => `${path}/SHA256SUMS` },
  };
}

export function helm(): PublishedProject {
  const version = "v4.3.1";
  const file = `/helm-${version}-linux-${goArch()}.tar.gz`;
  return {
    name: "helm",
    version,
    binaries: [{ name: "helm", package: "helm.sh/helm/v4/cmd/helm", versionArgs: ["version", "--template", "{{.Version}}."], versionText: `${version}.` }],
    module: "helm.sh/helm/v4",
    ldflags: `-s -w -X helm.sh/helm/v4/internal/version.version=${version}`,
    buildMinutes: 2,
    download: { base: "https://get.helm.sh", archive: true, path: () => file, checksumPath: () => `${file}.sha256sum` },
  };
}

export function coredns(): PublishedProject {
  const release = "1.15.0";
  const file = `/coredns/coredns/releases/download/v${release}/coredns_${release}_linux_${goArch()}.tgz`;
  return {
    name: "coredns",
    version: `v${release}`,
    binaries: [{ name: "coredns", package: "github.com/coredns/coredns", versionArgs: ["-version"], versionText: `CoreDNS-${release}\n` }],
    module: "github.com/coredns/coredns",
    ldflags: "-s -w",
    buildMinutes: 2,
    download: { base: "https://github.com", archive: true, path: () => file, checksumPath: () => `${file}.sha256` },
  };
}

const CNI_PLUGINS = { loopback: "main", ptp: "main", "host-local": "ipam" } as const;

export function cniPlugins(): PublishedProject {
  const version = "v1.9.1";
  const file = `/containernetworking/plugins/releases/download/${version}/cni-plugins-linux-${goArch()}-${version}.tgz`;
  return {
    name: "cni-plugins",
    version,
    binaries: Object.entries(CNI_PLUGINS).map(([name, kind]) => ({
      name,
      package: `github.com/containernetworking/plugins/plugins/${kind}/${name}`,
      versionArgs: [],
      versionText: `plugin ${version}\n`,
    })),
    module: "github.com/containernetworking/plugins",
    ldflags: `-s -w -X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=${version}`,
    buildMinutes: 0.3,
    download: { base: "https://github.com", archive: true, path: () => file, checksumPath: () => `${file}.sha256` },
  };
}

/** In the product's image, for nodes whose kernel has no WireGuard. */
export function wireguardGo(): Project {
  return {
    name: "wireguard-go",
    version: "v0.0.0-20260522210424-ecfc5a8d5446",
    // Its source has said this release since then; the cache is by the version above.
    binaries: [{ name: "wireguard-go", package: "golang.zx2c4.com/wireguard", versionArgs: ["--version"], versionText: "wireguard-go v0.0.20250522\n" }],
    module: "golang.zx2c4.com/wireguard",
    ldflags: "-s -w",
    buildMinutes: 0.3,
  };
}
