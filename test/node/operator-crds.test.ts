/** The operator and definitions that are there already, of an older version, on a real API server. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { load } from "js-yaml";
import { CRDS, LEASES } from "../../src/kube/index.ts";
import type { KubeClient } from "../../src/kube/index.ts";
import { sleep } from "../../src/lib/backoff.ts";
import { startApiServer } from "../support/apiserver.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { clientOf, eventually } from "../support/cluster-objects.ts";

const root = join(import.meta.dirname, "..", "..");
const NAME = "ciliumnetworkpolicies.cilium.io";
const OLD_DESCRIPTION = "As an older version described it.";

interface Definition {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly versions: readonly { additionalPrinterColumns?: unknown[]; readonly schema: { readonly openAPIV3Schema: { description?: string } } }[] };
}

function definition(): Definition {
  return load(readFileSync(join(root, "crds", "ciliumnetworkpolicies.yaml"), "utf8")) as Definition;
}

/** Without columns, and described otherwise. */
function older(): Definition {
  const crd = definition();
  for (const version of crd.spec.versions) {
    delete version.additionalPrinterColumns;
    version.schema.openAPIV3Schema.description = OLD_DESCRIPTION;
  }
  return crd;
}

describe("definitions of an older version", () => {
  let server: ApiServer;
  let client: KubeClient;
  const directory = mkdtempSync(join(tmpdir(), "cilium-crds-"));
  const log = join(directory, "operator.log");

  function startOperator(createCrds: boolean): ChildProcess {
    const config = join(directory, String(createCrds));
    mkdirSync(config, { recursive: true });
    for (const [key, value] of [["crds-create", String(createCrds)], ["operator-prometheus-port", "0"], ["operator-health-port", "0"]] as const) writeFileSync(join(config, key), value);
    const out = openSync(log, "w");
    return spawn(process.execPath, [join(root, "src", "operator", "main.ts")], {
      env: { ...process.env, KUBECONFIG: server.kubeconfig, CILIUM_CONFIG_DIRECTORY: config, POD_NAME: `crds-${createCrds}`, POD_NAMESPACE: "kube-system" },
      stdio: ["ignore", out, out],
    });
  }

  async function end(operator: ChildProcess): Promise<void> {
    if (operator.exitCode !== null) return;
    operator.kill("SIGTERM");
    await once(operator, "exit");
  }

  const installed = async (): Promise<Definition> => (await client.get(CRDS, { name: NAME })) as unknown as Definition;
  const description = async (): Promise<string | undefined> => (await installed()).spec.versions[0]?.schema.openAPIV3Schema.description;

  before(async () => {
    server = await startApiServer();
    client = clientOf(server.kubeconfig);
    await client.create(CRDS, older() as never);
  });

  after(async () => {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  test("with crds-create=false they are left alone, and no other is made", async () => {
    const operator = startOperator(false);
    try {
      await eventually("it leads", () => readFileSync(log, "utf8").includes("leading"), 20_000);
      // It writes them first of all.
      await sleep(1500);
      assert.equal(await description(), OLD_DESCRIPTION);
      assert.equal((await client.list(CRDS)).items.length, 1);
    } finally {
      await end(operator);
    }
  });

  test("a standby makes what is absent and leaves the rest to the leader: who leads may be of a version that does not know them", async () => {
    const lease = { namespace: "kube-system", name: "cilium-operator" };
    const renew = async (): Promise<unknown> => client.patch(LEASES, lease, { spec: { holderIdentity: "another", leaseDurationSeconds: 15, renewTime: new Date().toISOString().replace("Z", "000Z") } });
    await renew();
    const operator = startOperator(true);
    try {
      await eventually("all are there", async () => {
        await renew();
        return (await client.list(CRDS)).items.length === readdirSync(join(root, "crds")).length;
      }, 60_000);
      assert.equal(await description(), OLD_DESCRIPTION);
      assert.doesNotMatch(readFileSync(log, "utf8"), /"leading"/);
    } finally {
      await end(operator);
      await client.delete(LEASES, lease);
    }
  });

  test("otherwise they are brought to this version, columns and all", async () => {
    const operator = startOperator(true);
    try {
      const wanted = definition().spec.versions[0];
      await eventually("upgraded", async () => (await description()) === wanted?.schema.openAPIV3Schema.description, 30_000);
      const columns = (await installed()).spec.versions[0]?.additionalPrinterColumns;
      assert.equal(columns?.length, wanted?.additionalPrinterColumns?.length);
    } finally {
      await end(operator);
    }
  });

  test("a definition of Kubernetes' own kind that somebody else installed stays as it is; one that the operator made does not", async () => {
    const theirs = (): Definition => load(readFileSync(join(root, "crds", "clusternetworkpolicies.yaml"), "utf8")) as Definition;
    const { name, labels } = theirs().metadata as { readonly name: string; readonly labels?: Record<string, string> };
    const describedAs = async (description: string, owned: boolean): Promise<void> => {
      const crd = theirs();
      for (const version of crd.spec.versions) version.schema.openAPIV3Schema.description = description;
      const metadata = { ...crd.metadata, labels: owned ? labels : { "app.kubernetes.io/managed-by": null } };
      await client.patch(CRDS, { name }, { ...crd, metadata });
    };
    const descriptionNow = async (): Promise<string | undefined> => ((await client.get(CRDS, { name })) as unknown as Definition).spec.versions[0]?.schema.openAPIV3Schema.description;
    await describedAs(OLD_DESCRIPTION, false);
    let operator = startOperator(true);
    try {
      // It comes last by name: the others are done by then.
      await eventually("it leads and writes", () => readFileSync(log, "utf8").includes("all sources synced"), 60_000);
      assert.equal(await descriptionNow(), OLD_DESCRIPTION);
    } finally {
      await end(operator);
    }
    await describedAs("Ours, of an older version.", true);
    operator = startOperator(true);
    try {
      await eventually("upgraded", async () => (await descriptionNow()) === theirs().spec.versions[0]?.schema.openAPIV3Schema.description, 60_000);
    } finally {
      await end(operator);
    }
  });
});
