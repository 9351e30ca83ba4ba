/** What the form of application rules and names does not say: which stand where, and whether they can be meant. */
import type { CiliumNetworkPolicy } from "./gen/ciliumnetworkpolicies.ts";
import { applicationRulesOf, namesOf } from "./application-rules.ts";
import type { ApplicationRules, HttpRule, KafkaRule, NameSelector } from "./application-rules.ts";
import { KAFKA_REQUESTS } from "./kafka-requests.ts";
import { sectionsOf, specsOf } from "./meaning.ts";
import type { Section, SectionItem } from "./meaning.ts";
import type { Problem } from "./problem.ts";
import { expressionProblem } from "./regular-expressions.ts";

type Ports = NonNullable<SectionItem["toPorts"]>[number];
/** Where the rules stand. */
interface Place {
  readonly section: Section;
  readonly isOfNodes: boolean;
}

/** Form (RFC 9110, 5.1) of a header's name. */
const HEADER = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Of a policy whose form, and that of its rules, is right. */
export function checkApplication(policy: CiliumNetworkPolicy, problems: Problem[]): void {
  for (const { path, spec } of specsOf(policy)) {
    for (const section of sectionsOf(spec)) {
      section.items.forEach((item, index) => {
        const at = `${path}.${section.name}[${index}]`;
        namesOf(item)?.forEach((name, number) => checkName(name, `${at}.toFQDNs[${number}]`, problems));
        item.toPorts?.forEach((ports, number) => checkPorts(ports, { section, isOfNodes: spec.nodeSelector !== undefined }, `${at}.toPorts[${number}]`, problems));
      });
    }
  }
}

/** The kinds that are there. */
export function kindsOf({ http, kafka, dns, l7proto, l7 }: ApplicationRules): readonly ("http" | "kafka" | "dns" | "l7")[] {
  const generic = l7proto ?? l7;
  return [...(http === undefined ? [] : ["http" as const]), ...(kafka === undefined ? [] : ["kafka" as const]), ...(dns === undefined ? [] : ["dns" as const]), ...(generic === undefined ? [] : ["l7" as const])];
}

function checkPorts(ports: Ports, place: Place, path: string, problems: Problem[]): void {
  const rules = applicationRulesOf(ports);
  if (rules === undefined) return;
  const [kind, ...others] = kindsOf(rules);
  const at = `${path}.rules`;
  if (kind === undefined) return void problems.push({ path: at, message: "says nothing; write http, kafka, dns or l7proto" });
  if (others.length > 0) return void problems.push({ path: at, message: "has one of http, kafka, dns and l7proto; write one list of ports for each" });
  checkPlace(kind, place, at, problems);
  ports.ports.forEach((port, index) => checkPort(port, kind, `${path}.ports[${index}]`, problems));
  rules.http?.forEach((rule, index) => checkHttp(rule, `${at}.http[${index}]`, problems));
  rules.kafka?.forEach((rule, index) => checkKafka(rule, `${at}.kafka[${index}]`, problems));
  rules.dns?.forEach((name, index) => checkName(name, `${at}.dns[${index}]`, problems));
  if (rules.l7 !== undefined && rules.l7proto === undefined) problems.push({ path: `${at}.l7`, message: "needs l7proto, the parser that these are for" });
  rules.l7?.forEach((rule, index) => {
    if (Object.hasOwn(rule, "")) problems.push({ path: `${at}.l7[${index}]`, message: "has a key without a name" });
  });
}

function checkPlace(kind: ReturnType<typeof kindsOf>[number], { section, isOfNodes }: Place, path: string, problems: Problem[]): void {
  if (section.direction === "ingress" && kind === "dns") problems.push({ path: `${path}.dns`, message: "DNS is judged where it is asked: write the rule in egress" });
  else if (isOfNodes && kind !== "dns") problems.push({ path, message: "nodes have no rules on requests but those of DNS" });
}

function checkPort({ port, endPort = 0, protocol = "ANY" }: Ports["ports"][number], kind: string, path: string, problems: Problem[]): void {
  if (port === "0") problems.push({ path: `${path}.port`, message: "rules on requests need a port: 0 is every one" });
  if (kind === "dns") {
    if (protocol === "SCTP") problems.push({ path: `${path}.protocol`, message: "DNS is asked by UDP and TCP" });
    if (endPort > Number(port)) problems.push({ path: `${path}.endPort`, message: "DNS rules take no range of ports" });
  } else if (protocol !== "TCP") problems.push({ path: `${path}.protocol`, message: `rules on requests are for TCP, not for ${protocol}` });
}

function checkHttp({ headers = [], headerMatches = [], ...expressions }: HttpRule, path: string, problems: Problem[]): void {
  for (const field of ["method", "path", "host"] as const) {
    const problem = expressionProblem(expressions[field] ?? "");
    if (problem !== undefined) problems.push({ path: `${path}.${field}`, message: `the expression ${problem}` });
  }
  headers.forEach((header, index) => checkHeader(header.split(":", 1)[0] ?? "", `${path}.headers[${index}]`, problems));
  headerMatches.forEach(({ name }, index) => checkHeader(name, `${path}.headerMatches[${index}].name`, problems));
}

function checkHeader(name: string, path: string, problems: Problem[]): void {
  if (!HEADER.test(name)) problems.push({ path, message: `${JSON.stringify(name)} is not the name of a header` });
}

function checkKafka({ role, apiKey }: KafkaRule, path: string, problems: Problem[]): void {
  if (role !== undefined && apiKey !== undefined) problems.push({ path, message: "a rule has either role or apiKey" });
  if (apiKey !== undefined && !KAFKA_REQUESTS.has(apiKey.toLowerCase())) problems.push({ path: `${path}.apiKey`, message: `${JSON.stringify(apiKey)} is no request of Kafka` });
}

function checkName({ matchName, matchPattern }: NameSelector, path: string, problems: Problem[]): void {
  if ((matchName === undefined) === (matchPattern === undefined)) problems.push({ path, message: "has either matchName or matchPattern" });
}
