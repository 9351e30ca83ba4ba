import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";

import { run } from "./process.ts";

/** Who a certificate speaks for, as the API server reads it: CN is the user, O the groups. */
export interface Subject {
  readonly commonName: string;
  readonly organization?: string;
}

export interface CertificateRequest {
  readonly name: string;
  readonly authority: string;
  readonly subject: Subject;
  readonly usage: "serverAuth" | "clientAuth";
  /** As openssl writes them: `DNS:kubernetes`, `IP:10.96.0.1`. */
  readonly altNames?: readonly string[];
}

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

const VALID_DAYS = "3650";

/** The cluster's own certificate authority: files in one directory, each made once. */
export class Pki {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  }

  files(name: string): KeyPair {
    return { cert: join(this.dir, `${name}.crt`), key: join(this.dir, `${name}.key`) };
  }

  async authority(name: string, commonName: string): Promise<KeyPair> {
    const files = this.files(name);
    if (existsSync(files.cert)) return files;
    writeKey(files.key);
    await run(["openssl", "req", "-x509", "-new", "-key", files.key, "-subj", `/CN=${commonName}`, "-days", VALID_DAYS, "-out", `${files.cert}.part`,
      "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]);
    await run(["mv", `${files.cert}.part`, files.cert]);
    return files;
  }

  async certificate(request: CertificateRequest): Promise<KeyPair> {
    const files = this.files(request.name);
    if (existsSync(files.cert)) return files;
    const { commonName, organization } = request.subject;
    const subject = `${organization === undefined ? "" : `/O=${organization}`}/CN=${commonName}`;
    const extensions = ["basicConstraints=CA:FALSE", "keyUsage=critical,digitalSignature", `extendedKeyUsage=${request.usage}`];
    if (request.altNames !== undefined) extensions.push(`subjectAltName=${request.altNames.join(",")}`);
    const authority = this.files(request.authority);
    writeKey(files.key);
    const signingRequest = await run(["openssl", "req", "-new", "-key", files.key, "-subj", subject]);
    const extensionFile = join(this.dir, `${request.name}.ext`);
    writeFileSync(extensionFile, `${extensions.join("\n")}\n`);
    await run(["openssl", "x509", "-req", "-CA", authority.cert, "-CAkey", authority.key, "-days", VALID_DAYS, "-extfile", extensionFile, "-out", `${files.cert}.part`], { input: signingRequest });
    await run(["mv", `${files.cert}.part`, files.cert]);
    return files;
  }

  /** The key that signs service account tokens. */
  serviceAccountKey(): { readonly private: string; readonly public: string } {
    const files = { private: join(this.dir, "sa.key"), public: join(this.dir, "sa.pub") };
    if (!existsSync(files.public)) {
      const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
      writeFileSync(files.private, privateKey.export({ type: "pkcs1", format: "pem" }), { mode: 0o600 });
      writeFileSync(files.public, publicKey.export({ type: "spki", format: "pem" }));
    }
    return files;
  }
}

function writeKey(file: string): void {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  writeFileSync(file, privateKey.export({ type: "sec1", format: "pem" }), { mode: 0o600 });
}

/** A kubeconfig that carries its certificates, so that it can be copied anywhere. JSON is YAML. */
export function kubeconfig(server: string, authorityCert: string, user: string, client: KeyPair): string {
  const base64 = (file: string): string => readFileSync(file).toString("base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "local",
    clusters: [{ name: "local", cluster: { server, "certificate-authority-data": base64(authorityCert) } }],
    users: [{ name: user, user: { "client-certificate-data": base64(client.cert), "client-key-data": base64(client.key) } }],
    contexts: [{ name: "local", context: { cluster: "local", user } }],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
