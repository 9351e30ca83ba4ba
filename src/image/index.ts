/**
 * Images and the chart repository: what the product is shipped as.
 *
 * Writes OCI archives without a registry and without Docker (`oci.ts`), builds the product's image
 * (`build.ts`), and packages and serves the Helm chart (`chart-repo.ts`). Development tooling: nothing
 * that runs in a cluster imports it.
 */
export { canonicalRef, tagOf, writeOciArchive, type ImageConfig, type OciArchive } from "./oci.ts";
