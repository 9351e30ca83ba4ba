/**
 * What only a proxy can judge of a connection, or know of an address: rules on requests, and names of DNS. The rules that ports
 * decide carry references to them, by content: equal sets have one id in every policy, on every node and after every restart. Pure.
 */
import type { ApplicationRules, HeaderMatch, HttpRule, KafkaRule, NameSelector } from "../api/application-rules.ts";
import { KAFKA_REQUESTS, KAFKA_ROLES } from "../api/kafka-requests.ts";
import { canonicalJson, contentHash } from "../lib/hash.ts";

/** Content hash of a set of rules (lower-case hex, 16 digits). */
export type ApplicationRulesId = string;
/** Likewise of names. */
export type NamesId = string;

export interface ApplicationReference {
  /** A request passes that one of these means; absent: every one. */
  readonly rules?: ApplicationRulesId;
  /** The peers are the addresses that DNS tells of these; absent: the rule's peer. */
  readonly names?: NamesId;
}

/** `parser` names what reads the stream: http, kafka, dns, or a policy's own word. Rules in one order, each once. */
export interface ApplicationRuleSet {
  readonly parser: string;
  readonly rules: readonly (HttpMatch | KafkaMatch | DnsName | Readonly<Record<string, string>>)[];
}

/** Expressions, matched as a whole. */
export interface HttpMatch {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly headers: readonly HeaderMatch[];
}

export interface KafkaMatch {
  /** Numbers of the protocol; absent: any request. */
  readonly requests?: readonly number[];
  readonly apiVersion?: number;
  readonly clientID?: string;
  readonly topic?: string;
}

/** A name of DNS in lower case without the last dot, or a pattern of such. */
export type DnsName = Pick<NameSelector, "matchName" | "matchPattern">;

export interface ApplicationParts {
  readonly ruleSets: ReadonlyMap<ApplicationRulesId, ApplicationRuleSet>;
  readonly names: ReadonlyMap<NamesId, readonly DnsName[]>;
}

/** Collects those of a policy. */
export class ApplicationCollector implements ApplicationParts {
  readonly ruleSets = new Map<ApplicationRulesId, ApplicationRuleSet>();
  readonly names = new Map<NamesId, readonly DnsName[]>();

  get isEmpty(): boolean {
    return this.ruleSets.size + this.names.size === 0;
  }

  addRules(rules: ApplicationRules): ApplicationRulesId {
    const set = ruleSetOf(rules);
    const id = contentHash(canonicalJson(set));
    this.ruleSets.set(id, set);
    return id;
  }

  addNames(selectors: readonly NameSelector[]): NamesId {
    const names = inOrder(selectors.map(dnsName));
    const id = contentHash(canonicalJson(["names", names]));
    this.names.set(id, names);
    return id;
  }
}

function ruleSetOf({ http, kafka, dns, l7proto = "", l7 = [] }: ApplicationRules): ApplicationRuleSet {
  if (http !== undefined) return { parser: "http", rules: inOrder(http.map(httpMatch)) };
  if (kafka !== undefined) return { parser: "kafka", rules: inOrder(kafka.map(kafkaMatch)) };
  if (dns !== undefined) return { parser: "dns", rules: inOrder(dns.map(dnsName)) };
  return { parser: l7proto, rules: inOrder(l7) };
}

/** One that means a request is enough, so that order and repetition mean nothing. */
function inOrder<T>(rules: readonly T[]): readonly T[] {
  return [...new Map(rules.map((rule) => [canonicalJson(rule), rule]))].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, rule]) => rule);
}

/** An empty expression asks nothing. */
function httpMatch({ headers = [], headerMatches = [], ...expressions }: HttpRule): HttpMatch {
  const asked = (["method", "path", "host"] as const).flatMap((field) => ((expressions[field] ?? "") === "" ? [] : [[field, expressions[field]] as const]));
  const named = headers.map((text): HeaderMatch => {
    const colon = text.indexOf(":");
    return colon < 0 ? { name: text } : { name: text.slice(0, colon), value: text.slice(colon + 1).trim() };
  });
  // Names of headers have no case (RFC 9110, 5.1).
  const all = [...named, ...headerMatches].map((match) => ({ ...match, name: match.name.toLowerCase() }));
  return { ...Object.fromEntries(asked), headers: inOrder(all) };
}

function kafkaMatch({ role, apiKey = "", apiVersion = "", clientID = "", topic = "" }: KafkaRule): KafkaMatch {
  const requests = role === undefined ? [apiKey.toLowerCase()] : (KAFKA_ROLES[role] ?? []);
  const numbers = requests.flatMap((name) => KAFKA_REQUESTS.get(name) ?? []).sort((a, b) => a - b);
  return {
    ...(numbers.length === 0 ? {} : { requests: numbers }),
    ...(apiVersion === "" ? {} : { apiVersion: Number(apiVersion) }),
    ...(clientID === "" ? {} : { clientID }),
    ...(topic === "" ? {} : { topic }),
  };
}

function dnsName({ matchName, matchPattern }: NameSelector): DnsName {
  const canonical = (text: string): string => text.toLowerCase().replace(/\.$/, "");
  return matchName === undefined ? { matchPattern: canonical(matchPattern ?? "") } : { matchName: canonical(matchName) };
}
